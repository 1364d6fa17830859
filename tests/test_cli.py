"""`a3c-fast train` as a shell starts it: refusals, help, what a run leaves behind, and resuming it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import pty
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    EXTRA_METRICS_KEYS,
    FAKE,
    METRICS_KEYS,
    TRAIN,
    Result,
    assert_strictly_growing,
    read_lines,
    run,
    run_cold,
    start,
)

from a3c_fast import checkpoint as checkpoints
from a3c_fast import tags
from a3c_fast.config import Config

# Flags, and what the sentence on standard error must name: the field or flag, the value, what is allowed.
REFUSALS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("--env-id", "Pogn-v5"), ("env_id", "'Pogn-v5'", "Pong-v5")),
    (("--env-id", ""), ("env_id", "''")),
    (("--env-id=Chess-v1",), ("env_id", "'Chess-v1'", "2 players")),
    (("--env-id", "SparrowMahjong-v1"), ("env_id", "'SparrowMahjong-v1'", "3 players")),
    (("--env-id", "Sudoku-v0"), ("env_id", "'Sudoku-v0'", "puzzles")),
    (("--env-id", "HalfCheetah-v4", "--model", "paper"), ("model", "'paper'", "use mlp")),
    (("--env-id", "CartPole-v1", "--separate-value", "--lstm-size", "8"), ("separate_value", "LSTM")),
    (("--learning-rate", "-1"), ("learning_rate", "-1", "above 0")),
    (("--learning-rate", "0"), ("learning_rate", "0", "above 0")),
    (("--learning-rate", "nan"), ("learning_rate", "nan", "above 0")),
    (("--learning-rate", "inf"), ("learning_rate", "inf", "at most 1000")),
    (("--learning-rate", "abc"), ("learning_rate", "'abc'", "above 0")),
    (("--learning_rate", "abc"), ("learning_rate", "'abc'", "above 0")),
    (("--num-workers", "-3"), ("num_workers", "-3", "from 0 to 4096")),
    (("--t-max", "0"), ("t_max", "0", "from 1 to")),
    (("--t-max", "2.5"), ("t_max", "2.5", "whole number")),
    (("--total-steps", "1e-6"), ("total_steps", "1e-6", "whole number")),
    (("--total-steps",), ("total-steps",)),
    (("--model", "x"), ("model", "'x'", "paper", "nature", "mlp")),
    (("--model", "Paper"), ("model", "'Paper'", "did you mean paper?")),
    (("--precision", "fp16"), ("precision", "'fp16'", "fp32")),
    (
        ("--env-id", "CartPole-v1", "--precision", "bf16"),
        ("precision", "'bf16'", "only paper and nature", "auto or fp32"),
    ),
    (("--gamma", "1.5"), ("gamma", "1.5", "at most 1")),
    (("--envs-per-worker", "8", "--envs-per-update", "3"), ("envs_per_update", "3", "envs_per_worker, which is 8")),
    (("--hidden-sizes", "64", "0"), ("hidden_sizes", "(64, 0)", "1 to 65536")),
    (("--keep-checkpoints", "1"), ("keep_checkpoints", "1", "from 2")),
    (("--bogus-flag", "3"), ("--bogus-flag", "--help")),
    (("positional",), ("positional",)),
    (("CartPole-v1",), ("'CartPole-v1'", "--env-id CartPole-v1")),
    *(
        ((flag, "1"), (flag.partition("=")[0], f"did you mean {meant}?"))
        for flag, meant in {
            "--lr": "--learning-rate",
            "--LR": "--learning-rate",
            "--lr=3": "--learning-rate",
            "--learning-rat": "--learning-rate",
            "--steps": "--total-steps",
            "--timesteps": "--total-steps",
            "--num-envs": "--envs-per-worker",
            "--n_envs": "--envs-per-worker",
            "--env": "--env-id",
            "--game": "--env-id",
            "--workers": "--num-workers",
            "--output": "--run-dir",
            "--logdir": "--run-dir",
            "--num-workerz": "--num-workers",
            "--totalsteps": "--total-steps",
            "--epochs": "--update-epochs",
        }.items()
    ),
    (("--env-id", "PongNoFrameskip-v4"), ("env_id", "'PongNoFrameskip-v4'", "did you mean Pong-v5?")),
    (("--env-id", "ALE/Pong-v5"), ("env_id", "'ALE/Pong-v5'", "did you mean Pong-v5?")),
    (("--run-dir", ""), ("run_dir", "''", "path of a directory")),
    (("--run-dir=",), ("run_dir", "''", "path of a directory")),
    (("--env-id", "CartPole-v1", "--stack-num", "4"), ("stack_num", "4", "CartPole-v1 is no Atari game")),
    (("--env-id", "CartPole-v1", "--frame-skip", "4"), ("frame_skip", "4", "CartPole-v1 is no Atari game")),
    (("--env-id", "CartPole-v1", "--sticky-probability", "0.25"), ("sticky_probability", "0.25", "CartPole-v1")),
    (("--episodic-life", "--env-id", "CartPole-v1"), ("episodic_life", "True", "CartPole-v1")),
    (("--env-id", "CartPole-v1", "--model", "paper"), ("model", "'paper'", "CartPole-v1", "mlp")),
    (("--env-id", "CartPole-v1", "--model", "nature"), ("model", "'nature'", "CartPole-v1", "mlp")),
    (("--resume",), ("resume", "True", "run_dir")),
    (("--resume", "--run-dir", "missing", "--t-max", "0"), ("t_max", "0")),
    (("--env-id", FAKE, "--run-dir", "/dev/null/below"), ("run_dir", "'/dev/null/below'", "Not a directory")),
    (("--env-id", FAKE, "--run-dir", "/dev/null"), ("run_dir", "'/dev/null'")),
    (("--env-id", FAKE, "--run-dir", "/proc/none"), ("run_dir", "'/proc/none'")),
]


def refused(result: Result, *parts: str) -> None:
    assert result.status == 2, result
    sentence = result.error
    for part in parts:
        assert part in sentence, sentence


@pytest.mark.parametrize(("flags", "parts"), REFUSALS, ids=[" ".join(flags) for flags, _ in REFUSALS])
def test_a_bad_setting_is_one_sentence_and_nothing_begins(
    tmp_path: Path, flags: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(run(TRAIN, *flags, cwd=tmp_path), *parts)
    assert list(tmp_path.iterdir()) == []


def test_a_narrow_terminal_does_not_break_the_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    refused(run_cold(TRAIN, "--total-steps", cwd=tmp_path), "--total-steps", "Expected 1 value")


def test_help_names_every_field(tmp_path: Path) -> None:
    result = run_cold(TRAIN, "--help", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    for field in dataclasses.fields(Config):
        assert re.search(rf"--{field.name.replace('_', '-')}[ ,\n]", result.stdout), field.name
    assert list(tmp_path.iterdir()) == []


def test_help_shows_the_defaults_of_the_environment(tmp_path: Path) -> None:
    texts = [run(TRAIN, *flags, "--help", cwd=tmp_path).stdout for flags in ((), ("--env-id", "CartPole-v1"))]
    found = [" ".join(text.split()) for text in texts]
    assert "default: paper" in found[0]
    assert "default: mlp" in found[1]


# A run directory -----------------------------------------------------------------------------------------------------


def check_run_dir(run_dir: Path, result: Result) -> list[dict[str, Any]]:
    """What every finished run leaves behind; returns its lines of metrics."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    names = {path.name for path in run_dir.iterdir() if not path.name.startswith(".")}
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    assert names - events == {"config.json", "metrics.jsonl", "sessions.json", "checkpoints", "curve.png"}
    assert events

    config = Config.from_json(json.loads((run_dir / "config.json").read_text()))
    lines = read_lines(run_dir)
    assert_strictly_growing(lines)
    for line in lines:
        assert set(line) == METRICS_KEYS | EXTRA_METRICS_KEYS
        assert all(value is None or type(value) in (int, float) for value in line.values())
        assert line["frames"] == line["step"] * config.frame_skip
    last = lines[-1]
    assert last["learning_rate"] == pytest.approx(config.learning_rate * max(0, 1 - last["step"] / config.total_steps))
    assert f"{last['step']:,} steps ({last['frames']:,} frames)" in result.stdout

    board = EventAccumulator(str(run_dir))
    board.Reload()
    found = {tag for tag in board.Tags()["scalars"] if not tag.startswith("stages/")}
    assert found == {*tags.of_metrics(dict.fromkeys(last, 0.0)), "rollout/ep_rew", "rollout/ep_len"}
    assert board.Scalars("train/entropy_loss")[-1].step == last["step"]
    assert board.Scalars("train/entropy_loss")[-1].value == pytest.approx(-last["entropy"], rel=1e-6)

    assert (run_dir / "curve.png").read_bytes().startswith(b"\x89PNG")
    newest = checkpoints.load_newest(run_dir / "checkpoints")
    assert newest.step == last["step"]
    assert newest.config == config.to_json()
    return lines


def test_a_run_on_cartpole(tmp_path: Path) -> None:
    flags = ("--env-id", "CartPole-v1", "--total-steps", "30000", "--seed", "7", "--log-every-seconds", "0.01")
    result = run_cold(TRAIN, *flags, "--run-dir", "new/run", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    lines = check_run_dir(tmp_path / "new/run", result)
    assert len(lines) > 1
    last = lines[-1]
    config = json.loads((tmp_path / "new/run/config.json").read_text())
    assert (config["seed"], config["env_id"], config["total_steps"]) == (7, "CartPole-v1", 30000)
    assert config["num_workers"] == len(os.sched_getaffinity(0))
    # A rollout of each worker is the most by which a run ends late.
    rollout = config["envs_per_worker"] * config["t_max"]
    assert 30000 <= last["step"] < 30000 + config["num_workers"] * rollout
    assert last["episodes"] > 100
    assert 8 < last["mean_return_100"] <= 500
    assert last["mean_return_100"] == last["mean_length_100"]  # CartPole pays 1 a step
    assert 0 < last["entropy"] < 0.6932
    assert last["skipped_updates"] == 0
    assert last["updates"] >= 30000 / rollout


def test_a_run_without_a_directory_makes_one_of_its_own(tmp_path: Path) -> None:
    result = run(TRAIN, "--env-id", FAKE, "--total-steps", "20000", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"a3c_fast-Fake-v0-\d{8}-\d{6}-[0-9a-f]{6}", run_dir.name)
    lines = check_run_dir(run_dir, result)
    assert f"saved in runs/{run_dir.name}" in result.stdout
    assert lines[-1]["updates"] > 0


def test_flags_may_have_underscores_and_equals_signs(tmp_path: Path) -> None:
    flags = (
        f"--env_id={FAKE}",
        "--total_steps=2000",
        "--run_dir=r",
        "--num-workers=1",
        "--learning-rate-decay-power=0",
    )
    result = run(TRAIN, *flags, "--hidden-sizes", "8", "16", cwd=tmp_path)
    assert result.status == 0, result
    config = json.loads((tmp_path / "r/config.json").read_text())
    assert (config["env_id"], config["hidden_sizes"], config["learning_rate_decay_power"]) == (FAKE, [8, 16], 0)
    assert read_lines(tmp_path / "r")[-1]["learning_rate"] == config["learning_rate"]


# A run that its minutes end, in rollouts of a single step: there are some of them however slow the machine is.
_SMALL = ("--num-workers", "1", "--envs-per-worker", "1", "--envs-per-update", "1", "--t-max", "1")
THREE_SECONDS = ("--env-id", FAKE, *_SMALL, "--max-minutes", "0.05", "--total-steps", "1000000000000")


def test_a_terminal_sees_the_progress(tmp_path: Path) -> None:
    terminal, other_end = pty.openpty()
    os.set_blocking(terminal, False)
    process = start(TRAIN, *THREE_SECONDS, "--run-dir", "r", cwd=tmp_path, stdout=os.ttyname(other_end))
    shown = b""
    ended = False
    while not ended:
        ended = process.ended(0.05)
        with contextlib.suppress(BlockingIOError):  # nothing new
            shown += os.read(terminal, 1 << 16)
    result = process.result()
    os.close(other_end)
    os.close(terminal)
    assert (result.status, result.stderr) == (0, "")
    assert b"steps/s" in shown
    assert b"done: " in shown
    assert read_lines(tmp_path / "r")[-1]["wall_seconds"] >= 3


def test_max_minutes_ends_the_run(tmp_path: Path) -> None:
    result = run(TRAIN, *THREE_SECONDS, "--run-dir", "r", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    last = check_run_dir(tmp_path / "r", result)[-1]
    assert last["wall_seconds"] >= 3
    assert 0 < last["step"] < 10**12


def test_stop_at_return_ends_the_run(tmp_path: Path) -> None:
    flags = ("--env-id", FAKE, "--stop-at-return", "20", "--total-steps", "1000000000000")
    result = run(TRAIN, *flags, "--run-dir", "r", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    last = read_lines(tmp_path / "r")[-1]
    assert last["episodes"] >= 100
    assert last["step"] < 10**12


# Resuming ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 20,000 steps on CartPole."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    flags = ("--env-id", "CartPole-v1", "--total-steps", "20000", "--num-workers", "1", "--learning-rate", "0.001")
    result = run(TRAIN, *flags, "--t-max", "16", "--run-dir", str(run_dir))
    assert result.status == 0, result
    return run_dir


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to go on with."""
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "run"))


def snapshot(run_dir: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run_dir)): path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}


def test_a_directory_with_a_run_is_not_overwritten(copy: Path) -> None:
    before = snapshot(copy)
    refused(run(TRAIN, "--env-id", "CartPole-v1", "--run-dir", str(copy)), "run_dir", f"'{copy}'", "--resume")
    assert snapshot(copy) == before
    for path in (copy / "checkpoints").iterdir():  # a run that was killed before its first checkpoint
        path.unlink()
    refused(run(TRAIN, "--env-id", "CartPole-v1", "--run-dir", str(copy)), "run_dir", f"'{copy}'")


def test_resuming_a_finished_run_changes_nothing(copy: Path) -> None:
    before = snapshot(copy)
    result = run(TRAIN, "--resume", "--run-dir", str(copy))
    assert (result.status, result.stderr) == (0, "")
    assert snapshot(copy) == before
    assert "has its 20,000 steps: it is at step 20," in result.stdout
    assert f"--run-dir {copy} --resume --total-steps 40" in result.stdout


def test_a_resumed_run_keeps_its_settings_and_goes_on(copy: Path) -> None:
    before = read_lines(copy)
    result = run(TRAIN, f"--run-dir={copy}", "--resume", "--total-steps", "40000")
    assert (result.status, result.stderr) == (0, "")
    lines = check_run_dir(copy, result)
    assert lines[: len(before)] == before
    first, last = before[-1], lines[-1]
    assert 40000 <= last["step"] < 41000
    for name in ("updates", "episodes", "wall_seconds"):
        assert last[name] > first[name], name
    config = json.loads((copy / "config.json").read_text())
    assert (config["learning_rate"], config["t_max"], config["num_workers"]) == (0.001, 16, 1)
    assert (config["total_steps"], config["env_id"]) == (40000, "CartPole-v1")


def test_the_schedule_goes_on_where_it_was(tmp_path: Path) -> None:
    flags = ("--env-id", FAKE, "--num-workers", "1", "--run-dir", "r", "--log-every-seconds", "0.01")
    first = start(TRAIN, *flags, "--total-steps", "1000000000", cwd=tmp_path)
    first.until(lambda: len(read_lines(tmp_path / "r")) >= 2)
    first.send(signal.SIGINT)
    assert first.result().status == 130
    step = read_lines(tmp_path / "r")[-1]["step"]
    total = 4 * step
    second = run(TRAIN, "--resume", "--run-dir", "r", "--total-steps", str(total), cwd=tmp_path)
    assert second.status == 0, second
    lines = read_lines(tmp_path / "r")
    assert_strictly_growing(lines)
    later = [line for line in lines if line["step"] > step]
    rates = [line["learning_rate"] for line in later]
    default = Config(env_id=FAKE).learning_rate
    for line in later:
        assert line["learning_rate"] == pytest.approx(default * max(0, 1 - line["step"] / total))
    assert rates[0] < 0.76 * default
    assert rates[-1] == 0
    wall = [line["wall_seconds"] for line in lines]
    assert wall == sorted(wall)


def test_lines_beyond_the_checkpoint_are_cut_on_resume(copy: Path) -> None:
    lines = read_lines(copy)
    last = lines[-1]
    beyond = [{**last, "step": last["step"] + n, "entropy": 99.0} for n in (1, 500)]
    text = "".join(json.dumps(line) + "\n" for line in beyond)
    with (copy / "metrics.jsonl").open("a") as file:
        file.write(text + text[:40])  # and half a line, as a kill leaves it
    result = run(TRAIN, "--resume", "--run-dir", str(copy), "--total-steps", "25000")
    assert (result.status, result.stderr) == (0, "")
    after = read_lines(copy)
    assert_strictly_growing(after)
    assert after[: len(lines)] == lines
    assert all(line["entropy"] < 1 for line in after)


def test_a_damaged_newest_checkpoint_is_warned_of_and_an_older_one_taken(copy: Path) -> None:
    (old,) = checkpoints.paths(copy / "checkpoints")
    whole = checkpoints.load(old)
    newer = copy / "checkpoints" / f"{checkpoints.file_stem(whole.step + 4000)}.safetensors"
    checkpoints.save(dataclasses.replace(whole, step=whole.step + 4000), newer)
    newer.write_bytes(newer.read_bytes()[:-1])
    result = run(TRAIN, "--resume", "--run-dir", str(copy), "--total-steps", "22000")
    assert result.status == 0, result
    assert len(result.stderr.splitlines()) == 1, result
    assert result.stderr.startswith(f"warning: checkpoint {newer} is damaged")
    assert f"from step {whole.step:,} " in result.stdout
    after = read_lines(copy)
    assert 22000 <= after[-1]["step"] < 23000
    again = run(TRAIN, "--resume", "--run-dir", str(copy), "--total-steps", "22000")
    assert f"is at step {after[-1]['step']:,}" in again.stdout, again


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--model", "nature"), ("model", "'nature'")),
        (("--hidden-sizes", "32", "32"), ("hidden_sizes", "32", "(64, 64)")),
        (("--total-steps", "1000"), ("total_steps", "1000", "is at step")),
        (("--env-id", "Acrobot-v1"), ("env_id", "'Acrobot-v1'", "'CartPole-v1'")),
        (("--env-id", "Pong-v5"), ("env_id", "'Pong-v5'", "'CartPole-v1'")),
        (("--optimizer", "rmsprop"), ("optimizer", "'rmsprop'", "'adam'")),
        (("--t-max", "0"), ("t_max", "0")),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_another_network_does_not_go_on_with_it(copy: Path, flags: tuple[str, ...], parts: tuple[str, ...]) -> None:
    before = snapshot(copy)
    refused(run(TRAIN, "--resume", "--run-dir", str(copy), *flags), *parts)
    after = snapshot(copy)
    after.pop(".lock", None)
    before.pop(".lock", None)
    assert after == before


DAMAGED = ["", "{", "[]", "3", '"x"', '{"env_id": 3}', '{"env_id": ["Pong-v5"]}', '{"wrokers": 1}', '{"seed": null}']


@pytest.mark.parametrize("text", DAMAGED)
def test_where_the_settings_are_damaged_those_of_the_checkpoint_are_taken(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text, encoding="utf-8")
    result = run(TRAIN, "--resume", "--run-dir", str(copy), "--total-steps", "21000")
    assert result.status == 0, result
    assert result.stderr.startswith(f"warning: {copy / 'config.json'} is not as it was written")
    assert len(result.stderr.splitlines()) == 1
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    assert (config["t_max"], config["learning_rate"], config["total_steps"]) == (16, 0.001, 21000)


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_settings_without_a_checkpoint_are_one_sentence(copy: Path, text: str) -> None:
    for path in (copy / "checkpoints").iterdir():
        path.unlink()
    (copy / "config.json").write_text(text, encoding="utf-8")
    before = snapshot(copy)
    refused(run(TRAIN, "--resume", "--run-dir", str(copy)), "config.json")
    assert snapshot(copy) == before


def test_where_the_settings_are_missing_those_of_the_checkpoint_are_taken(copy: Path) -> None:
    (copy / "config.json").unlink()
    result = run(TRAIN, "--resume", "--run-dir", str(copy), "--total-steps", "21000")
    assert (result.status, result.stderr) == (0, "")
    assert json.loads((copy / "config.json").read_text(encoding="utf-8"))["t_max"] == 16


# Start or go on ------------------------------------------------------------------------------------------------------


def test_one_command_starts_and_goes_on_and_says_which(tmp_path: Path) -> None:
    command = (TRAIN, "--env-id", FAKE, "--run-dir", "r", "--resume", "--num-workers", "1", "--t-max", "9")
    began = run(*command, "--total-steps", "2e3", cwd=tmp_path)
    assert (began.status, began.stderr) == (0, "")
    assert began.stdout.startswith(f"{FAKE} starts in r: ")
    step = read_lines(tmp_path / "r")[-1]["step"]
    went_on = run(*command, "--total-steps", "1e4", cwd=tmp_path)
    assert (went_on.status, went_on.stderr) == (0, "")
    assert went_on.stdout.startswith(f"{FAKE} goes on from step {step:,} in r: ")
    before = snapshot(tmp_path / "r")
    again = run(*command, "--total-steps", "1e4", cwd=tmp_path)
    assert (again.status, again.stderr) == (0, "")
    assert again.stdout.startswith("the run in r has its 10,000 steps: it is at step 10,")
    assert snapshot(tmp_path / "r") == before


def test_a_run_that_died_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    command = (TRAIN, "--env-id", FAKE, "--run-dir", "r", "--resume", "--log-every-seconds", "0.1")
    command = (*command, "--checkpoint-every-seconds", "1e6")
    first = start(*command, "--total-steps", "1e12", "--seed", "7", cwd=tmp_path)
    first.until(lambda: len(read_lines(tmp_path / "r")) >= 2)
    first.send(9)
    assert first.result().status == -9
    refused(run(TRAIN, "--env-id", FAKE, "--run-dir", "r", cwd=tmp_path), "run_dir", "'r'", "--resume")
    again = run(*command, "--total-steps", "5000", cwd=tmp_path)
    assert (again.status, again.stderr) == (0, "")
    assert again.stdout.startswith(f"{FAKE} begins again in r, since the run there had no checkpoint yet: ")
    assert json.loads((tmp_path / "r/config.json").read_text(encoding="utf-8"))["seed"] == 7  # the run's own settings


def test_the_printed_commands_go_on_and_evaluate(tmp_path: Path) -> None:
    run_dir = tmp_path / "a run's"
    flags = ("--env-id", "CartPole-v1", "--num-workers", "1", "--total-steps", "2000")
    result = run(TRAIN, *flags, "--run-dir", str(run_dir), cwd=tmp_path)
    commands = [shlex.split(line.partition(":")[2]) for line in result.stdout.splitlines()[-2:]]
    assert [command[:2] for command in commands] == [["a3c-fast", "train"], ["a3c-fast", "evaluate"]]
    goes_on, evaluates = (run("a3c_fast", *command[1:], cwd=tmp_path) for command in commands)
    assert (goes_on.status, goes_on.stderr, evaluates.status, evaluates.stderr) == (0, "", 0, "")
    assert "goes on from step 2," in goes_on.stdout


def test_a_run_whose_minutes_are_over_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    assert run(TRAIN, *THREE_SECONDS, "--run-dir", "r", cwd=tmp_path).status == 0
    before = snapshot(tmp_path / "r")
    for more in ((), ("--max-minutes", "5e-2")):
        again = run(TRAIN, "--resume", "--run-dir", "r", *more, cwd=tmp_path)
        assert (again.status, again.stderr) == (0, "")
        assert again.stdout.startswith("the run in r has its 0.05 minutes: it is at step ")
        further = re.search(r"--run-dir r --resume --max-minutes ([0-9.]+)", again.stdout)
        assert further is not None, again
        assert float(further[1]) >= 0.1  # twice as many
    refused(run(TRAIN, "--resume", "--run-dir", "r", "--max-minutes", "0.005", cwd=tmp_path), "max_minutes", "beyond")
    assert snapshot(tmp_path / "r") == before


def test_runs_that_begin_together_have_directories_of_their_own(tmp_path: Path) -> None:
    processes = [start(TRAIN, "--env-id", FAKE, "--total-steps", "1000", cwd=tmp_path) for _ in range(4)]
    assert [process.result().status for process in processes] == [0] * 4
    assert len(list((tmp_path / "runs").iterdir())) == 4


def test_the_kernels_named_in_the_environment_are_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for env_id in ("Pong-v5", "CartPole-v1"):
        monkeypatch.setenv("A3C_FAST_ISA", "sse")
        refused(run_cold(TRAIN, "--env-id", env_id, cwd=tmp_path), "A3C_FAST_ISA is 'sse', but", "avx2", "libtorch")
        monkeypatch.setenv("A3C_FAST_ISA", "")
        flags = ("--env-id", env_id, "--total-steps", "100", "--num-workers", "1", "--envs-per-worker", "1")
        assert run_cold(TRAIN, *flags, "--run-dir", f"r-{env_id}", cwd=tmp_path).status == 0
    monkeypatch.setenv("A3C_FAST_ISA", "avx2")
    computes = "avx2 computes in fp32 and not in bf16"
    why = computes if platform.machine() == "x86_64" else "this CPU does not have avx2"
    sentence = f"A3C_FAST_ISA is 'avx2', but {why}"
    refused(run_cold(TRAIN, "--env-id", "Pong-v5", "--precision", "bf16", cwd=tmp_path), sentence)


def test_two_processes_do_not_train_in_one_directory(tmp_path: Path) -> None:
    flags = ("--env-id", FAKE, "--total-steps", "1000000000", "--run-dir", "r", "--checkpoint-every-seconds", "0.1")
    first = start(TRAIN, *flags, cwd=tmp_path)
    first.until(lambda: list(tmp_path.glob("r/checkpoints/*.safetensors")))
    refused(run(TRAIN, "--resume", "--run-dir", "r", cwd=tmp_path), "run_dir", "'r'", "another process")
    first.send(15)
    assert first.result().status == 143
