"""`a3c_fast.list_envs`, as a function and as a command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from a3c_fast import Config, envs, list_envs
from a3c_fast.envs import listing
from a3c_fast.errors import ConfigError
from a3c_fast.imports import import_envpool
from a3c_fast.list_envs import main


def test_every_environment_is_listed_once() -> None:
    entries = list_envs()
    ids = [entry["id"] for entry in entries]
    assert sorted(ids) == sorted(import_envpool().registration.registry.specs)
    families = [entry["family"] for entry in entries]
    assert families == sorted(families)
    for entry in entries:
        assert entry["trainable"] == (not entry["why"])
        assert bool(entry["observation"] and entry["action"]) == entry["trainable"]
        # What was tried can be trained on, but where Qt is missing here.
        assert entry["trainable"] or not entry["tried"] or entry["needs"]
        assert bool(entry["needs"]) == (entry["family"] == "procgen")


def test_an_entry_is_what_a_training_has() -> None:
    (entry,) = list_envs("HalfCheetah-v4")
    spec = envs.spec_of(Config(env_id="HalfCheetah-v4"))
    assert entry["observation"] == str(spec.observation) == "float64[17]"
    assert entry["action"] == str(spec.action) == "Box(6) from -1 to 1"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("cheetah", {"HalfCheetah-v3", "HalfCheetah-v4", "HalfCheetah-v5", "CheetahRun-v1"}),
        ("CartPole-v?", {"CartPole-v0", "CartPole-v1"}),
        ("cartpole-v[1]", {"CartPole-v1"}),
        ("no such thing", set()),
    ],
)
def test_patterns(pattern: str, expected: set[str]) -> None:
    assert {entry["id"] for entry in list_envs(pattern)} == expected


def test_a_family_is_a_pattern() -> None:
    assert {entry["family"] for entry in list_envs("toy_text")} == {"toy_text"}
    for pattern in ("mujoco.*", "mujoco"):
        assert {entry["family"] for entry in list_envs(pattern)} >= {"mujoco.gym", "mujoco.dmc"}
    with pytest.raises(ConfigError, match="pattern is 3, but it must be a string"):
        list_envs(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("version", "tried"), [("1.2.5", True), ("1.2.4", False)])
def test_what_was_tried_goes_by_envpools_version(
    version: str, tried: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "tried.txt").write_text(f"EnvPool {version}\nTaxi-v3\n")
    monkeypatch.setattr(listing.resources, "files", lambda package: tmp_path)
    listing._tried.cache_clear()
    try:
        found = {entry["id"]: entry["tried"] for entry in list_envs("toy_text")}
    finally:
        listing._tried.cache_clear()
    assert found.pop("Taxi-v3") is tried
    assert not any(found.values())


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["CartPole-v?"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "classic_control:"
    assert lines[2].split() == ["CartPole-v1", "float32[4]", "->", "Discrete(2)"]
    assert lines[3].startswith("2 of 2 can be trained on, ")


def test_the_command_as_json_is_the_function(capsys: pytest.CaptureFixture[str]) -> None:
    main(["toy_text", "--json"])
    assert json.loads(capsys.readouterr().out) == list_envs("toy_text")


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["nowhere"], 1, "no environment's name has 'nowhere' in it"),
        (["one", "two"], 2, "pattern is 'one two', but one pattern is allowed: put it in quotes"),
    ],
)
def test_the_command_fails_in_a_sentence(
    arguments: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == status
    assert sentence in capsys.readouterr().err
