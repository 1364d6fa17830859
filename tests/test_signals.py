"""What signals and kill leave behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import PATIENCE, end_of, wait_until

from a3c_fast import checkpoint as checkpoints
from a3c_fast.metrics import read


def start(run_dir: Path, *flags: str, env_id: str = "a3c_fast/Fake-v0") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "a3c_fast.train", "--env-id", env_id, "--run-dir", str(run_dir)]
    return subprocess.Popen(
        [*command, "--total-steps", "1000000000000", "--log-every-seconds", "0.2", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def until(process: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    """Waits until `condition()`; fails when the process ends before."""

    def came() -> bool:
        assert process.poll() is None, end(process)
        return bool(condition())

    wait_until(came)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    result = end_of(process)
    return result.status, result.stderr


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)]
)
@pytest.mark.parametrize("env_id", ["a3c_fast/Fake-v0", "CartPole-v1"])
def test_in_the_middle(tmp_path: Path, number: int, status: int, env_id: str) -> None:
    process = start(tmp_path, env_id=env_id)
    until(process, lambda: len(read(tmp_path)) >= 2)
    process.send_signal(number)
    found, stderr = end(process)
    assert (found, stderr) == (status, "")
    saved = checkpoints.load_newest(tmp_path / "checkpoints")
    assert saved.step == read(tmp_path)[-1]["step"] > 0
    assert saved.workers


# How far the command has come when the signal does: a library that it has loaded, or a file that it has made.
LIBRARIES = ("", "_multiarray_umath", "libtorch_cpu", "a3c_fast_core")
FILES = (".lock", "config.json", "metrics.jsonl", "checkpoints")


def has_loaded(process: subprocess.Popen[str], library: str) -> bool:
    return library in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")


@pytest.mark.parametrize("moment", [*LIBRARIES, *FILES])
def test_at_the_start(tmp_path: Path, moment: str) -> None:
    process = start(tmp_path)
    if moment in FILES:
        until(process, (tmp_path / moment).exists)
    else:
        until(process, lambda: has_loaded(process, moment))
    process.send_signal(signal.SIGTERM)
    found, stderr = end(process)
    # Before Python has come to the command's first line the system's default ends the process.
    assert found in ((143,) if moment in FILES else (143, -signal.SIGTERM))
    assert stderr in ("", "interrupted before the run began: nothing to save\n")


def test_between_the_environments_and_the_workers(tmp_path: Path) -> None:
    script = f"""
import os, signal
from a3c_fast import train
train._announce = lambda output, trainer: os.kill(os.getpid(), signal.SIGTERM)
train.main(["--env-id", "a3c_fast/Fake-v0", "--total-steps", "1000000000000", "--run-dir", {str(tmp_path)!r}])
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert end(process) == (143, "")


def test_while_the_network_is_made(tmp_path: Path) -> None:
    """That may take minutes in C++, where no handler of Python's runs; here it takes for ever."""
    script = """
import ctypes
from a3c_fast import _core, train
def never(*args):
    mutex = ctypes.create_string_buffer(64)
    print("begins", flush=True)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
_core.Engine = never
train.main()
"""
    command = [sys.executable, "-c", script, "--env-id", "a3c_fast/Fake-v0", "--run-dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    process.send_signal(signal.SIGTERM)
    assert end(process) == (143, "interrupted before the run began: nothing to save\n")


def test_after_the_end(tmp_path: Path) -> None:
    script = f"""
import os, signal
from a3c_fast import trainer
close = trainer.Trainer.close
def close_and_signal(self):
    close(self)
    os.kill(os.getpid(), signal.SIGTERM)
trainer.Trainer.close = close_and_signal
from a3c_fast import train
train.main(["--env-id", "a3c_fast/Fake-v0", "--total-steps", "1000", "--run-dir", {str(tmp_path)!r}])
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert end(process) == (143, "")


def test_during_saves(tmp_path: Path) -> None:
    process = start(tmp_path, "--checkpoint-every-seconds", "0.001")
    until(process, lambda: len(checkpoints.paths(tmp_path / "checkpoints")) >= 3)
    process.send_signal(signal.SIGINT)
    assert end(process)[0] == 130
    assert checkpoints.load_newest(tmp_path / "checkpoints").step > 0


def test_quit_is_the_systems(tmp_path: Path) -> None:
    process = start(tmp_path)
    until(process, lambda: len(read(tmp_path)) >= 1)
    process.send_signal(signal.SIGQUIT)
    assert end(process)[0] == -signal.SIGQUIT


def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    process = start(tmp_path)
    until(process, lambda: len(read(tmp_path)) >= 1)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    found, stderr = end(process)
    assert found in (130, 143)  # whichever came first: the end of the run or the second signal
    assert "Traceback" not in stderr


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_leaves_a_tidy_terminal(tmp_path: Path, second: int) -> None:
    """Both signals come before the run can end: at the first it is told to, at the second it has not seen that."""
    script = f"""
import os, signal
from a3c_fast import train
def twice(output, trainer):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), {int(second)})
train._announce = twice
train.main()
"""
    terminal, other_end = os.openpty()
    flags = ["--env-id", "a3c_fast/Fake-v0", "--run-dir", str(tmp_path), "--total-steps", "1000000"]
    process = subprocess.Popen([sys.executable, "-c", script, *flags], stdout=other_end, stderr=other_end)
    assert process.wait(PATIENCE) == 128 + second
    os.close(other_end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    name = signal.Signals(second).name
    assert shown == f"\r\n\x1b[?25hleft by a second signal, {name}, before all was saved\r\n"
    assert len(shown) < 80


def test_kill_before_the_first_checkpoint(tmp_path: Path) -> None:
    process = start(tmp_path, "--checkpoint-every-seconds", "1e6")
    until(process, lambda: len(read(tmp_path)) >= 1)
    process.kill()
    end(process)
    found, stderr = end(start(tmp_path))
    assert found == 2
    assert "a run that ended before its first checkpoint is already there: choose another" in stderr


def test_kill_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    numbers = random.Random(1)
    for repetition in range(5):
        flags = ["--checkpoint-every-seconds", "0.01", *(["--resume"] if repetition else [])]
        process = start(tmp_path, *flags)
        before = {path.name for path in checkpoints.paths(tmp_path / "checkpoints")}
        until(process, lambda before=before: {p.name for p in checkpoints.paths(tmp_path / "checkpoints")} - before)
        time.sleep(numbers.uniform(0.1, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        assert end(process)[0] == -signal.SIGKILL
        assert checkpoints.load_newest(tmp_path / "checkpoints").step > 0
