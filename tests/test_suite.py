"""bench.suite: a list of games, several seeds each, one after the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, read_lines, wait_until

from a3c_fast.human_scores import human_normalized
from bench.energy import Energy
from bench.suite import GAMES, atari_5_median, summary

ROOT = Path(__file__).parents[1]


def suite(output: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.suite", "--output", str(output), "--num-workers", "1", "--json", *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, start_new_session=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def test_the_predicted_median_is_that_of_what_others_published() -> None:
    scores = {  # CleanRL's PPO with EnvPool at 10 million steps, whose Atari-5 median is 76 %
        "BattleZone-v5": 24_284.0,
        "DoubleDunk-v5": -6.8,
        "NameThisGame-v5": 5_750.0,
        "Phoenix-v5": 14_474.0,
        "Qbert-v5": 17_246.0,
    }
    normalized = {game: human_normalized(game, score) for game, score in scores.items()}
    assert None not in normalized.values()
    found = atari_5_median({game: score for game, score in normalized.items() if score is not None})
    assert found == pytest.approx(0.76, abs=0.005)
    assert set(scores) < set(GAMES)
    assert atari_5_median({"Qbert-v5": 1.0}) is None


def test_a_suite_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    output = tmp_path / "suite"
    flags = ("--games", "CartPole-v1", "--seeds", "2", "--episodes", "3")
    long = (*flags, "--total-steps", "100_000_000", "--log-every-seconds", "0.2")
    process = suite(output, *long)
    first = output / "CartPole-v1_seed_1"
    wait_until(lambda: (first / "metrics.jsonl").exists() and read_lines(first))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    status, out, err = end(process)
    assert (status, out) == (130, "")
    assert err.endswith("stopped: the same command goes on from here\n")
    assert list(first.glob("checkpoints/*"))  # saved
    assert not (output / "suite.json").exists()

    status, out, err = end(suite(output, *flags, "--total-steps", "1000"))
    assert (status, out) == (2, "")
    assert (
        err
        == f"error: total_steps is 1000, but {first} was made with 100000000: other settings need another --output\n"
    )

    output = tmp_path / "short"
    short = (*flags, "--total-steps", "2000")
    status, out, err = end(suite(output, *short))
    assert status == 0, err
    result: dict[str, Any] = json.loads(out)
    assert result == json.loads((output / "suite.json").read_text())
    runs = result["games"]["CartPole-v1"]["runs"]
    assert [run["seed"] for run in runs] == [1, 2]
    assert all(run["step"] >= 2000 and run["score"]["episodes"] == 3 for run in runs)
    assert (output / "suite.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"

    (output / "CartPole-v1_seed_2" / "suite_run.json").unlink()  # as if it had been stopped before the last evaluation
    status, out, err = end(suite(output, *short))
    assert (status, err) == (0, "CartPole-v1_seed_2: trains to 2,000 steps\n")
    again = json.loads(out)["games"]["CartPole-v1"]["runs"]
    assert again[0] == runs[0]
    assert again[1]["score"] == runs[1]["score"]


def result_of(env_id: str, seed: int, mean_return: float) -> dict[str, Any]:
    human = human_normalized(env_id, mean_return)
    score = {"mean_return": mean_return, "human_normalized": human}
    return {"env_id": env_id, "seed": seed, "step": 10, "training_seconds": 30.0, "score": score}


def test_what_games_are_together() -> None:
    results = [result_of("Breakout-v5", 1, 1.7), result_of("Breakout-v5", 2, 30.5), result_of("Qbert-v5", 1, 163.9)]
    found = summary([*results, result_of("CartPole-v1", 1, 500.0)], {"gamma": "0.9"})
    assert list(found["games"]) == ["Breakout-v5", "Qbert-v5", "CartPole-v1"]
    assert found["games"]["Breakout-v5"]["mean_return"] == pytest.approx(16.1)
    assert [game["human_normalized"] for game in found["games"].values()] == [pytest.approx(0.5), 0.0, None]
    assert found["human_normalized_median"] == pytest.approx(0.25)
    assert (found["atari_5_median"], found["training_minutes"]) == (None, 2.0)
    assert found["settings"] == {"gamma": "0.9"}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--games", "Pomg-v5"), "env_id is 'Pomg-v5', but EnvPool"),
        (("--env-id", "Pong-v5"), "env_id is 'Pong-v5', but python -m bench.suite has --games"),
        (("--run-dir", "r"), "run_dir is 'r', but python -m bench.suite has --output"),
        (("--stop-at-evaluation", "3"), "stop_at_evaluation is 3.0, but python -m bench.suite ends its runs by rules"),
        (("--games", "a/b:c", "a_b:c"), "env_id is"),
        (("--seeds", "0"), "seeds is 0, but it must be greater than 0"),
    ],
)
def test_what_no_suite_can_be(flags: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    status, out, err = end(suite(tmp_path / "suite", *flags))
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {sentence}")
    assert not (tmp_path / "suite").exists()


def counter(root: Path, number: int, name: str, value: str) -> None:
    zone = root / f"intel-rapl:{number}"
    zone.mkdir(exist_ok=True)
    for file, text in {"name": name, "energy_uj": value, "max_energy_range_uj": "1000000000"}.items():
        (zone / file).write_text(f"{text}\n")


def test_energy_is_that_of_all_packages(tmp_path: Path) -> None:
    assert Energy(tmp_path).joules() is None  # no machine that tells
    counter(tmp_path, 0, "package-0", "5000000")
    counter(tmp_path, 1, "package-1", "999000000")
    counter(tmp_path, 2, "psys", "1")
    energy = Energy(tmp_path)
    counter(tmp_path, 0, "package-0", "7500000")
    counter(tmp_path, 1, "package-1", "1000000")  # turned over
    counter(tmp_path, 2, "psys", "900000000")
    assert energy.joules() == pytest.approx(2.5 + 2.0)
    counter(tmp_path, 1, "package-1", "999500000")
    energy.look()
    counter(tmp_path, 1, "package-1", "500000")
    assert energy.joules() == pytest.approx(2.5 + 2.0 + 998.5 + 1.0)
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert energy.joules() is None
