"""Settings in files: TOML, YAML and a run's directory, presets, and what is written of a configuration."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from helpers import FAKE, FAKE_CONTINUOUS, FAKE_IMAGE
from hypothesis import given, settings
from hypothesis import strategies as st

from a3c_fast import Config, ConfigError, config_files, stored_settings
from a3c_fast.defaults import PRESETS
from a3c_fast.train import configure, main

KINDS = ("toml", "yaml")


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def need(kind: str) -> None:
    if kind == "yaml":
        pytest.importorskip("yaml", reason="a configuration in YAML needs PyYAML")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'env_id = "CartPole-v1"\nlearning_rate = 7e-4\ntotal_steps = 1_000\nhidden_sizes = [32, 16]\n'),
        ("a.yaml", "env_id: CartPole-v1\nlearning_rate: 7e-4\ntotal_steps: 1_000\nhidden_sizes: [32, 16]\n"),
        ("a.yml", '"env_id": "CartPole-v1"\nlearning_rate: 0.7E-3\ntotal_steps: 1e3\nhidden_sizes:\n- 32\n- 16\n'),
    ],
)
def test_a_file_goes_before_defaults_and_flags_before_a_file(tmp_path: Path, name: str, text: str) -> None:
    need(name.partition(".y")[1] and "yaml")
    path = written(tmp_path / name, text)
    said: dict[str, Any] = {"env_id": "CartPole-v1", "learning_rate": 7e-4, "total_steps": 1000}
    said["hidden_sizes"] = (32, 16)
    assert Config.from_file(path) == Config(**said)
    assert Config.from_file(path, total_steps=5, update_epochs=1) == Config(
        **{**said, "total_steps": 5}, update_epochs=1
    )
    flags = ["--config", str(path), "--total-steps", "5", "--env-id", "Acrobot-v1", "--run-dir", "r"]
    assert configure(flags) == Config(**{**said, "total_steps": 5, "env_id": "Acrobot-v1"}, run_dir="r")
    # What the file says was said, and what it does not say was not.
    assert Config.from_file(path).replace(update_epochs=1) == Config(**said, update_epochs=1)


# Texts, and what the sentence names beside the file.
WRONG: list[tuple[str, str, tuple[str, ...]]] = [
    ("a.toml", "lr = 3", ("lr is 3 in ", "no such setting", "did you mean learning_rate?")),
    ("a.toml", "num-workers = 3", ("num-workers is 3 in ", "did you mean num_workers?")),
    ("a.toml", "xyzzy = 3", ("xyzzy is 3 in ", "a3c-fast train --help")),
    ("a.toml", "_origin = 3", ("_origin is 3 in ", "no such setting")),
    ("a.toml", "[learning]\ngamma = 0.9", ("learning is {'gamma': 0.9} in", "in no tables")),
    ("a.toml", 'gamma = "0.9"', ("gamma is '0.9' in ", "must be a number, and this is text")),
    ("a.toml", "gamma = true", ("gamma is True in ", "must be a number")),
    ("a.toml", "gamma = 2", ("gamma is 2 in ", "at most 1")),
    ("a.toml", "t_max = 2.5", ("t_max is 2.5 in ", "whole number")),
    ("a.toml", 'reward_clip = "yes"', ("reward_clip is 'yes' in ", "true or false")),
    ("a.toml", "hidden_sizes = [0]", ("hidden_sizes is (0,) in ", "65536")),
    ("a.toml", 'model = "papr"', ("model is 'papr' in ", "did you mean paper?")),
    ("a.toml", 'preset = "papr"', ("preset is 'papr' in ", "did you mean paper?")),
    ("a.toml", "rmsprop_alpha = 0.5", ("rmsprop_alpha is 0.5 in ", "the optimizer is adam")),
    ("a.toml", "gamma = 1\ngamma = 0.9", ("it is no TOML", "Cannot overwrite a value")),
    ("a.toml", "gamma = = 1", ("it is no TOML", "line 1")),
    ("a.json", "{}", ("is not the config.json of a run",)),
    ("a.json", "{", ("is no JSON",)),
    ("a.txt", "gamma = 1", ("must end in .toml, .yaml or .yml",)),
    ("a.yaml", "gama: 0.9", ("gama is 0.9 in ", "did you mean gamma?")),
    ("a.yaml", "gamma: '0.9'", ("gamma is '0.9' in ", "must be a number, and this is text")),
    ("a.yaml", "gamma: yes", ("gamma is 'yes' in ", "must be a number")),
    ("a.yaml", "reward_clip: off", ("reward_clip is 'off' in ", "true or false")),
    ("a.yaml", "log_every_seconds: 1:30", ("log_every_seconds is '1:30' in ", "must be a number")),
    ("a.yaml", "t_max:", ("t_max is None in ", "leave it out")),
    ("a.yaml", "gamma: 1\nseed: 2\ngamma: 0.9", ("it is no YAML", "'gamma' comes twice", "line 3")),
    ("a.yaml", "a: &x 1\nb: *x", ("it is no YAML", "aliases")),
    ("a.yaml", "[1, 2]", ("it must name settings",)),
    ("a.yaml", "? [a]\n: 1", ("it is no YAML", "a key must be a name")),
    ("a.yaml", "gamma: !!python/name:os.system", ("it is no YAML",)),
    ("a.yaml", "gamma: [", ("it is no YAML", "line ")),
    ("a.yaml", "resume: !!bool maybe", ("it is no YAML",)),
    ("a.yaml", "seed: !!timestamp x", ("it is no YAML",)),
    ("a.yaml", "[" * 2000, ("it is no YAML",)),
    ("a.toml", 'hidden_sizes = ["64"]', ("hidden_sizes", "it must be a list of numbers")),
]


@pytest.mark.parametrize(("name", "text", "parts"), WRONG, ids=[f"{name} {text[:20]!r}" for name, text, _ in WRONG])
def test_a_wrong_file_is_one_sentence_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, parts: tuple[str, ...]
) -> None:
    need(name.partition(".y")[1] and "yaml")
    path = written(tmp_path / name, text)
    with pytest.raises(ConfigError) as caught:
        Config.from_file(path)
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(path), "--run-dir", str(tmp_path / "run")])
    sentence = capsys.readouterr().err
    assert (ended.value.code, sentence) == (2, f"error: {caught.value}\n")
    for part in (str(path), *parts):
        assert part in sentence
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"env_id = '\xff'")
    for name, reason in (("none.toml", "No such file"), ("bytes.toml", "UTF-8"), ("", "has no config.json of a run")):
        with pytest.raises(ConfigError, match=reason):
            Config.from_file(tmp_path / name)


def test_plain_values_of_yaml_are_those_of_its_version_1_2() -> None:
    need("yaml")
    text = "{a: 7e-4, b: 1E5, c: off, d: 010, e: 1:30, f: 2001-01-01, g: ~, h: .5, i: -3, j: true, k: 1_0, l: <<, m: =}"
    expected = {"a": 7e-4, "b": 1e5, "c": "off", "d": 10, "e": "1:30", "f": "2001-01-01", "g": None, "h": 0.5, "i": -3}
    assert config_files.parsed(text, "yaml", "a") == {**expected, "j": True, "k": 10, "l": "<<", "m": "="}


# Runs as files -------------------------------------------------------------------------------------------------------


def test_the_directory_of_a_run_gives_what_was_said_for_it(tmp_path: Path) -> None:
    run = Config(env_id="CartPole-v1", t_max=9, seed=7, run_dir=tmp_path)
    values = stored_settings.sealed(stored_settings.portable(run.to_json()))
    path = written(tmp_path / "config.json", json.dumps(values))
    for place in (tmp_path, path):
        assert Config.from_file(place) == run.replace(run_dir=None)
        assert Config.from_file(place, update_epochs=1) == run.replace(run_dir=None, update_epochs=1)
    assert config_files.read(tmp_path) == {"env_id": "CartPole-v1", "t_max": 9, "seed": 7}
    written(path, json.dumps({**values, "seed": 8}))
    with pytest.raises(ConfigError, match="not as the run wrote it"):
        Config.from_file(tmp_path)


def test_the_same_command_starts_a_run_and_goes_on_with_it(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.toml", f'env_id = "CartPole-v1"\nt_max = 9\nrun_dir = "{tmp_path}/run"\nresume = true\n'
    )
    first = configure(["--config", str(file)])
    (tmp_path / "run").mkdir()
    stored = first.replace(learning_rate=0.5, update_epochs=1)
    values = stored_settings.sealed(stored_settings.portable(stored.to_json()))
    written(tmp_path / "run/config.json", json.dumps(values))
    again = configure(["--config", str(file), "--seed", "3"])  # the run's, but for what file and flags say
    assert again == stored.replace(seed=3)
    assert configure(["--config", str(file), "--t-max", "7"]).t_max == 7
    written(file, file.read_text() + 'model = "paper"\n')
    with pytest.raises(ConfigError, match=r"model is 'paper' in .*a\.toml, but the run in .* was made with 'mlp'"):
        configure(["--config", str(file)])
    assert configure(["--config", str(file), "--model", "mlp"]).model == "mlp"


# Writing -------------------------------------------------------------------------------------------------------------

_numbers = st.floats(1e-12, 1)
CONFIGS = st.fixed_dictionaries(
    {"env_id": st.sampled_from(["Pong-v5", "CartPole-v1", "Pendulum-v1", FAKE, FAKE_CONTINUOUS, FAKE_IMAGE])},
    optional={
        "preset": st.sampled_from(list(PRESETS)),
        "total_steps": st.integers(1, 2**62),
        "update_epochs": st.integers(1, 4),
        "t_max": st.integers(1, 100_000),
        "learning_rate": _numbers,
        "gamma": _numbers,
        "optimizer_eps": st.floats(1e-30, 1),
        "max_minutes": st.floats(0, 1e300),
        "stop_at_return": st.none() | st.floats(-1e300, 1e300),
        "lstm_size": st.integers(0, 9),
        "optimizer": st.sampled_from(["adam", "rmsprop"]),
        "reward_clip": st.just(False),
        "schedules": st.just(("entropy_coef=0.1@0,0.0@end",)),
        "run_dir": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9),
    },
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(said=CONFIGS)
def test_what_is_written_reads_back(kind: Any, said: dict[str, Any]) -> None:
    need(kind)
    config = Config(**said)
    text = config_files.text_of(config, kind)
    source = config_files.parsed(text, kind, "a")
    for name, value in source.items():
        config_files._check(name, value, "a")
    again = Config.merged({}, file=source, source="a")
    assert again == config
    assert config_files.text_of(again, kind) == text
    assert all(line.startswith("#") or name in source for name, line in _lines(text, kind))


def _lines(text: str, kind: str) -> list[tuple[str, str]]:
    return [(line.partition(" =" if kind == "toml" else ":")[0], line) for line in text.splitlines() if line]


def test_both_kinds_say_the_same_and_every_setting_is_named() -> None:
    need("yaml")
    for config in (Config(), Config(env_id="Pendulum-v1", preset="paper-lstm", learning_rate=1e-5)):
        texts = [config_files.text_of(config, kind) for kind in ("toml", "yaml")]
        assert tomllib.loads(texts[0]) == config_files.parsed(texts[1], "yaml", "a")
        for text in texts:
            for name in set(config.to_json()) - {"format", "resume"}:
                assert name in text.replace(":", " ").split()


@pytest.mark.parametrize("kind", KINDS)
def test_print_config_prints_such_a_file_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    need(kind)
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as ended:
        main(["--env-id", FAKE, "--t-max", "7", "--print-config", kind])
    assert ended.value.code == 0
    assert list(tmp_path.iterdir()) == []
    path = written(tmp_path / f"a.{kind}", out.getvalue())
    assert Config.from_file(path) == Config(env_id=FAKE, t_max=7)
    # A file that says the defaults of everything refuses no flag beside which one of them is idle.
    assert configure(["--config", str(path), "--optimizer", "rmsprop"]).optimizer == "rmsprop"


def test_to_file_makes_a_file_and_replaces_none(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, seed=9)
    config.to_file(tmp_path / "a.toml")
    assert Config.from_file(tmp_path / "a.toml") == config
    before = (tmp_path / "a.toml").read_bytes()
    with pytest.raises(ConfigError, match="there is such a file already"):
        Config(env_id=FAKE).to_file(tmp_path / "a.toml")
    assert (tmp_path / "a.toml").read_bytes() == before
    with pytest.raises(ConfigError, match=r"it must end in \.toml"):
        config.to_file(tmp_path / "a.ini")


def test_without_pyyaml_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(ImportError, match="install a3c-fast with the extra `yaml`"):
        Config.from_file(written(tmp_path / "a.yaml", "seed: 2"))


# Presets -------------------------------------------------------------------------------------------------------------


def test_a_preset_is_a_file_of_settings_with_defaults_of_their_own(tmp_path: Path) -> None:
    for name, values in PRESETS.items():
        for env_id in ("Pong-v5", "CartPole-v1", "HalfCheetah-v4"):
            config = Config(env_id=env_id, preset=name)
            assert {key: getattr(config, key) for key in values} == dict(values)
        path = written(tmp_path / f"{name}.toml", f'preset = "{name}"\n')
        assert Config.from_file(path) == Config(preset=name)
        for key, value in values.items():
            config_files._check(key, value, name)
    assert Config(preset="paper-lstm", lstm_size=0) == Config(preset="paper").replace(preset="paper-lstm", lstm_size=0)
    assert {**PRESETS["paper"], "lstm_size": 256} == PRESETS["paper-lstm"]


def test_files_of_presets_are_those_that_are_named() -> None:
    from importlib import resources

    found = {path.name.removesuffix(".toml") for path in (resources.files("a3c_fast") / "presets").iterdir()}
    assert found | {"default"} == set(PRESETS)


def test_what_is_stronger_goes_before_a_preset(tmp_path: Path) -> None:
    path = written(tmp_path / "a.toml", 'preset = "paper"\nt_max = 7\n')
    config = configure(["--config", str(path), "--gamma", "0.5"])
    assert (config.t_max, config.gamma, config.num_workers, config.optimizer) == (7, 0.5, 16, "rmsprop")
    assert configure(["--config", str(path), "--preset", "default"]).replace(run_dir=None) == Config(t_max=7)
