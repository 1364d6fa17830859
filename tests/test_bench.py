"""The programs under bench/ run and count what they say, on environments that cost nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from a3c_fast import Config
from a3c_fast.core_config import kernels_of
from a3c_fast.envs import spec_of
from bench.netns.namespace import why_not
from bench.updates import predict

ROOT = Path(__file__).parents[1]
CARTPOLE = Config(env_id="CartPole-v1")


def run(program: str, *flags: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"bench.{program}", *flags, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_throughput() -> None:
    result = run("throughput", "--env-id", "CartPole-v1", "--num-workers", "1", "--rounds", "3", "--seconds", "0.2")
    rounds = result["rounds"]
    assert len(rounds["ceiling"]) == len(rounds["training"]) == 3
    assert result["ratio"] == sorted(rounds["ratio"])[1]
    assert rounds["ratio"] == [a / b for a, b in zip(rounds["training"], rounds["ceiling"], strict=True)]
    assert result["ratio"] > 0


def test_the_stages_are_the_whole_time() -> None:
    result = run("stages", "--env-id", "CartPole-v1", "--num-workers", "1", "--seconds", "5")
    isa = kernels_of(CARTPOLE, spec_of(CARTPOLE))
    forward = "autograd_forward" if isa == "libtorch" else "dense_forward"
    assert {"pull", forward, "wait_for_environment", "push"} <= set(result["microseconds_per_step"])
    # What is missing is the start and the end of the workers, which take their time on a busy machine.
    whole = result["workers_per_step_rate"]
    assert 0.5 * whole < result["sum_of_stages"] < 1.001 * whole


def test_vector() -> None:
    result = run("vector", "--num-workers", "1", "--num-envs", "2", "--rounds", "3", "--seconds", "0.1")
    rounds = result["rounds"]
    assert {"a3c_fast", "alone", "gymnasium sync", "gymnasium async"} <= rounds.keys()
    assert (
        result["ratio"]["alone"] == sorted(a / b for a, b in zip(rounds["a3c_fast"], rounds["alone"], strict=True))[1]
    )
    assert all(figure > 0 for figures in rounds.values() for figure in figures)


def test_kernels() -> None:
    flags = ("--env-id", "Pendulum-v1", "--hidden-sizes", "8", "--batches", "3", "--rounds", "3", "--seconds", "0.01")
    forward, update = run("kernels", *flags)["microseconds_per_sample"]
    assert (forward["pass"], update["pass"]) == ("forward", "update")
    for one in (forward, update):
        assert one["kernels"] == pytest.approx(1e6 / sorted(one["rounds"]["kernels"])[1])
        assert one["ratio"] > 0


def test_networks() -> None:
    result = run("networks", "--env-id", "CartPole-v1", "--rounds", "3", "--seconds", "0.1")
    names = {"kernels", "libtorch", "bench.networks:Mlp", "a3c_fast.networks:Gru"}
    assert set(result["microseconds"]) == names
    assert set(result["rounds"]) == {*names, "ceiling"}
    assert all(cost > 0 for costs in result["microseconds"].values() for cost in costs.values())
    libtorch = result["rounds"]["libtorch"]
    assert (
        result["of_libtorch"]["kernels"]
        == sorted(a / b for a, b in zip(result["rounds"]["kernels"], libtorch, strict=True))[1]
    )


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_netns() -> None:
    result = run("netns", "--hosts", "2", "--wires", "10ms-100mbit", "--rounds", "2", "--megabytes", "0.5")
    (wire,) = result["results"]
    assert wire["round_trip_ms"] >= 20
    assert wire["stream_mbit"] <= 100
    assert wire["all_reduce_ms"] == sum(wire["rounds"]["all_reduce_ms"]) / 2
    assert result["cut"]["dropped"] >= 3


def test_time_to_score() -> None:
    flags = ("--env-id", "CartPole-v1", "--num-workers", "1", "--target", "60", "--eval-every", "20000")
    result = run("time_to_score", *flags, "--eval-margin", "20", "--episodes", "10", "--most-minutes", "1000")
    (only,) = result["runs"]
    assert result["num_reached"] == 1
    assert only["reached"]
    assert only["final_return"] == only["evaluations"][-1]["mean_return"]
    assert only["evaluations"][-1]["mean_return"] >= 60
    assert all(one["mean_return"] < 60 for one in only["evaluations"][:-1])
    assert only["training_seconds"] <= only["wall_seconds"] == only["evaluations"][-1]["seconds"]
    assert only["steps"] == only["evaluations"][-1]["step"]


def test_units() -> None:
    small = ("--num-workers", "1", "--envs-per-worker", "1", "--t-max", "8", "--update-epochs", "1")
    result = run("units", *small, "--learning-rate-warmup", "0", "--learning-rate", "1", "--at", "0", "60")
    first, last = result["points"]
    assert (first["step"], last["step"] >= 60) == (0, True)
    assert set(first["dead"]) == {"conv1", "conv2", "fc1"}
    assert first["value_std"] > 0
    assert max(first["dead"].values()) < max(last["dead"].values()) <= 1  # at such a rate nothing survives


def test_workers() -> None:
    flags = ("--env-id", "CartPole-v1", "--total-steps", "20000", "--workers", "1", "3", "--seeds", "2")
    result = run("workers", *flags, "--interval", "0.1")
    assert list(result["curves"]) == ["1", "3"]
    for runs in result["curves"].values():
        assert len(runs) == 2
        assert all(run[-1]["step"] >= 20_000 for run in runs)
        assert all(a["step"] <= b["step"] for run in runs for a, b in pairwise(run))


def test_updates() -> None:
    flags = ("--env-id", "CartPole-v1", "--workers", "1", "3", "--rounds", "1", "--seconds", "0.4")
    result = run("updates", *flags)
    hidden = 64
    assert result["parameters"] == 4 * hidden + hidden + hidden * hidden + hidden + 3 * hidden + 3
    for count in ("1", "3"):
        steps, updates = result["steps_per_second"][count], result["updates_per_second"][count]
        config = result["config"]
        assert steps / updates == pytest.approx(config["t_max"] * config["envs_per_update"], rel=0.2)
        # No figure of speed: every thread makes one update at least, in the 0.1 s of a round or after them.
        assert result["updates_alone_per_second"][count] >= int(count) / 0.1


def test_the_model_of_a_big_machine() -> None:
    # An update takes 1,000 us by one core and 1,050 by several, and moves 28 MB of 280 GB a second.
    model = predict(alone=100.0, training=1000.0, contended=150.0, parameters=1_000_000, gigabytes_a_second=280.0)
    assert model["1"] == {"efficiency": 1.0, "gigabytes_a_second": 28.0}
    assert model["2"] == {"efficiency": 0.952, "gigabytes_a_second": 53.33}
    assert model["8"] == {"efficiency": 0.952, "gigabytes_a_second": 213.33}
    assert model["16"] == {"efficiency": 0.625, "gigabytes_a_second": 280.0}  # 10,000 updates of 16,000 are made


def test_curves(tmp_path: Path) -> None:
    def draw(*runs: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench.curves", "--plot", str(tmp_path / "curves.png"), *runs]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)

    results = ROOT / "bench" / "results"
    (tmp_path / "list.json").write_text("[]")
    drawn = draw(
        f"three seeds={results / 'time_to_score_cartpole.json'}", f"run={results / 'beam_rider_10_million_steps'}"
    )
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (0, "", "")
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    for run, sentence in {
        "nameless": "error: runs is 'nameless', but each must be NAME=PATH",
        f"a={results / 'tuning' / 'pong_living_lr_1e-3'}": "it has no mean over 20 episodes",
        f"a={tmp_path}": "is no run directory or file of bench.time_to_score",
        f"a={results / 'memory_pong.json'}": "is no run directory or file of bench.time_to_score",
        f"a={tmp_path / 'list.json'}": "is no run directory or file of bench.time_to_score",
    }.items():
        refused = draw(run)
        assert refused.returncode == 2
        assert sentence in refused.stderr
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("program", "flags", "sentence"),
    [
        ("throughput", ("--env-id", "Pogn-v5"), "env_id is 'Pogn-v5'"),
        ("scaling", ("--env-id", "Pogn-v5"), "env_id is 'Pogn-v5'"),
        ("time_to_score", ("--t-max", "0"), "t_max is 0"),
        (
            "time_to_score",
            ("--max-minutes", "5"),
            "max_minutes is 5.0, but python -m bench.time_to_score ends its runs",
        ),
        ("units", ("--env-id", "CartPole-v1"), "model is 'mlp'"),
        ("workers", ("--stop-at-return", "5"), "stop_at_return is 5.0"),
        ("workers", ("--num-workers", "2"), "num_workers is '2', but python -m bench.workers sets it itself"),
        ("workers", ("--workers", "0", "1"), "workers is (0, 1), but it must be greater than 0"),
        ("time_to_score", ("--run-dir", "r"), "run_dir is 'r', but python -m bench.time_to_score keeps none"),
        ("time_to_score", ("--target", "abc"), ""),
        ("time_to_score", ("--episodes", "0"), "episodes is 0, but it must be greater than 0"),
        ("throughput", ("--rounds", "0"), "rounds is 0, but it must be greater than 0"),
        ("scaling", ("--rounds", "0"), "rounds is 0, but it must be greater than 0"),
        ("peers", ("--seconds", "0"), "seconds is 0.0, but it must be greater than 0"),
        ("stages", ("--seconds", "-1"), "seconds is -1.0, but it must be greater than 0"),
        ("updates", ("--workers", "2", "4"), "workers is (2, 4), but one of them must be 1"),
        ("netns", ("--hosts", "1"), "hosts is (1,), but each number must be between 2 and 100"),
        ("dqn", ("--minutes", "0"), "minutes is 0.0, but it must be greater than 0"),
        ("dqn", ("--agent", "a3c", "--plot", "x.png"), "plot is 'x.png', but it shows both agents"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(program: str, flags: tuple[str, ...], sentence: str) -> None:
    command = [sys.executable, "-m", f"bench.{program}", *flags]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: {sentence}")
    assert refused.stderr.count("\n") == 1
