"""A sample of the census: an environment of each family trains, goes on from its checkpoint and is evaluated."""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE

from a3c_fast import list_envs
from bench import census

# The quickest to make that has what is its family's own; all of them are tried by `python -m bench.census`.
SAMPLE = {
    "atari": "Pong-v5",
    "box2d": "LunarLander-v3",
    "classic_control": "MountainCarContinuous-v0",
    "gfootball": "gfootball/academy_empty_goal_close-v1",
    "highway": "Highway-v0",
    "jumanji": "FlatPack-v0",
    "minigrid": "MiniGrid-Empty-5x5-v0",
    "mujoco.dmc": "CheetahRun-v1",
    "mujoco.gym": "Hopper-v4",
    "mujoco.metaworld": "MetaWorld/Reach-v3",
    "mujoco.myosuite": "myoElbowPose1D6MFixed-v0",
    "mujoco.playground": "CartpoleBalance-v1",
    "mujoco.robotics": "FetchReach-v4",
    "pgx": "Play2048-v1",
    "procgen": "CoinrunEasy-v0",
    "toy_text": "Taxi-v3",
    "vizdoom": "D1Basic-v1",
}


def test_the_sample_has_every_family() -> None:
    assert {entry["family"] for entry in list_envs()} == set(SAMPLE)


@pytest.mark.parametrize("family", SAMPLE)
def test_an_environment_trains_goes_on_and_is_evaluated(family: str) -> None:
    result = census.trial(SAMPLE[family], family, census.Arguments(seconds=PATIENCE))
    if family == "procgen" and result["outcome"] == "refused":
        assert "Procgen needs" in result["why"]
        pytest.skip("Procgen needs the system's Qt 5")
    assert result["outcome"] == "trained", result
    assert result["updates"] > 0
    assert result["step"] >= (200 if family in census.SLOW else 2000)


@pytest.mark.parametrize("env_id", ["Chess-v1", "IntersectionMultiAgent-v1"])
def test_a_refusal_is_a_sentence(env_id: str) -> None:
    result = census.trial(env_id, "pgx", census.Arguments())
    assert result["outcome"] == "refused"
    assert result["why"].startswith(f"env_id is '{env_id}', but it has 2 players")


def fails(env_id: str, steps: int, changes: dict[str, Any], directory: str) -> None:
    Path(directory, "said").write_text("a warning\na sentence\n")
    if env_id == "hangs":
        multiprocessing.Event().wait()
    sys.exit(3)


def test_what_breaks_and_what_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "train_and_evaluate", fails)
    assert census.trial("breaks", "pgx", census.Arguments())["why"] == "exit status 3: a sentence"
    hangs = census.trial("hangs", "pgx", census.Arguments(seconds=2))
    assert hangs == {"outcome": "broke", "why": "it hangs: no end after 2 seconds"}


def test_the_command_goes_on_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    def trial(env_id: str, family: str, args: census.Arguments) -> dict[str, Any]:
        tried.append(env_id)
        return {"outcome": "broke" if len(tried) == 2 else "trained", "seconds": 1.0}

    monkeypatch.setattr(census, "trial", trial)
    output = tmp_path / "census.jsonl"
    for every, status in ((4, 1), (2, 1)):
        monkeypatch.setattr(
            sys, "argv", ["census", "--output", str(output), "--pattern", "classic_control", "--every", str(every)]
        )
        with pytest.raises(SystemExit) as caught:
            census.main()
        assert caught.value.code == status
    ids = [entry["id"] for entry in list_envs("classic_control")]
    assert sorted(tried) == sorted(ids[::2])
    assert {json.loads(line)["id"] for line in output.read_text().splitlines()} == set(tried)
    assert capsys.readouterr().out.splitlines()[-1] == f"{len(tried) - 1} trained, 1 broke"
