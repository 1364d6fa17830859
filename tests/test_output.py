"""Commands whose standard output or error is closed, full, gone or of a poor alphabet; progress without a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import EVALUATE, FAKE, PATIENCE, TRAIN, popen_cold, read_lines, run, wait_until

from a3c_fast.config import Config
from a3c_fast.output import Output
from a3c_fast.progress import Progress

TRAINS = f"{sys.executable} -m {TRAIN} --env-id {FAKE} --total-steps 2000 --num-workers 1 --run-dir r"
EVALUATES = f"{sys.executable} -m {EVALUATE} r --episodes 2"


def shell(command: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """Status and standard error of a command of the shell, whose standard output is its own affair."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    lines = done.stderr.decode().splitlines(keepends=True)
    return done.returncode, "".join(line for line in lines if not line.startswith("bash: warning: setlocale"))


@pytest.mark.parametrize(
    "redirection",
    [">&-", ">/dev/full", "| head -0; (exit ${PIPESTATUS[0]})", "2>&-", "2>/dev/full", ">&- 2>&- <&-"],
)
def test_it_trains_whatever_happens_to_its_output(tmp_path: Path, redirection: str) -> None:
    status, error = shell(f"{TRAINS} {redirection}", tmp_path)
    assert status == 0, error
    assert len(error.splitlines()) <= 1, error
    assert "Traceback" not in error
    assert read_lines(tmp_path / "r")[-1]["step"] >= 2000
    assert sorted(path.name for path in (tmp_path / "r/checkpoints").iterdir())


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "2>&-", "2>/dev/full", ">&- 2>&- <&-"])
def test_a_refusal_has_its_status_whatever_happens_to_its_output(tmp_path: Path, redirection: str) -> None:
    status, error = shell(f"{TRAINS} --t-max 0 {redirection}", tmp_path)
    assert status == 2
    assert len(error.splitlines()) <= 1, error


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "xx_XX.odd"},
        {"PYTHONIOENCODING": "utf-16"},
    ],
    ids=lambda value: " ".join(value),
)
def test_it_trains_in_a_poor_alphabet(tmp_path: Path, environment: dict[str, str]) -> None:
    name = "é" if "PYTHONIOENCODING" in environment else "r"
    status, error = shell(TRAINS.replace("--run-dir r", f"--run-dir {name}"), tmp_path, **environment)
    assert (status, error) == (0, "")
    assert read_lines(tmp_path / name)[-1]["step"] >= 2000
    assert shell(f"{sys.executable} -m {TRAIN} --help", tmp_path, **environment) == (0, "")


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    assert shell(f"{TRAINS} --run-dir $'\\xff'", tmp_path) == (0, "")
    (run_dir,) = tmp_path.iterdir()
    assert os.fsencode(run_dir.name) == b"\xff"
    assert read_lines(run_dir)[-1]["step"] >= 2000


def test_scores_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    trained = run(TRAIN, "--env-id", "CartPole-v1", "--total-steps", "500", "--run-dir", "r", cwd=tmp_path)
    assert trained.status == 0
    for redirection in (">&-", ">/dev/full", "| head -0; (exit ${PIPESTATUS[0]})"):
        status, error = shell(f"{EVALUATES} {redirection}", tmp_path)
        assert status == 1, redirection
        assert error.startswith("error: standard output cannot be written"), error
        assert len(error.splitlines()) == 1, error


def test_a_terminal_that_goes_away_ends_the_run_as_a_lost_connection_does(tmp_path: Path) -> None:
    """The run is the leader of a session on a terminal, which is closed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        command = TRAINS.replace("2000", "1000000000000").split()
        os.execv(sys.executable, [*command, "--log-every-seconds", "0.1"])
    shown = b""
    while b" steps/s" not in shown or len(read_lines(tmp_path / "r")) < 2:
        shown += os.read(terminal, 1 << 16)
    os.close(terminal)  # the system sends SIGHUP
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert list((tmp_path / "r/checkpoints").iterdir())


def test_the_last_line_of_a_bar_is_that_of_the_end(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.environ.update(COLUMNS="80", LINES="24", TERM="xterm")
        os.execv(sys.executable, TRAINS.replace("2000", "300000").split())
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    lines = [line for line in re.split(r"[\r\n]|\x1b\[2K", shown.decode()) if "steps/s" in line]
    assert " 0 steps/s" not in lines[-1]
    assert "0:00:00 left" in lines[-1]


def test_without_a_terminal_there_is_a_line_every_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    line: dict[str, Any] = {"step": 0, "steps_per_second": 0.0, "mean_return_100": None, "wall_seconds": 0.0}
    with Progress(Output(), Config(total_steps=10**6), line, clock=lambda: now) as progress:
        times = []
        for second in range(400):
            now = 100.0 + second
            more = {"step": 500 * second, "steps_per_second": 500.0, "mean_return_100": 21.5, "wall_seconds": second}
            progress.show({**line, **more})
            if capsys.readouterr().out:
                times.append(second)
        now += 10_000  # the machine slept
        progress.show({**line, "step": 200_000, "steps_per_second": 500.0})
        assert capsys.readouterr().out == "step 200,000 of 1,000,000, 500 steps/s, mean return -, 0:26:40 left\n"
        progress.show(line)
        progress.end(line)
        assert capsys.readouterr().out == ""
    assert times == [10, 30, 60, 120, 180, 240, 300, 360]


def test_a_job_without_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    process = popen_cold(*TRAINS.replace("2000", "1000000000000").split()[2:], cwd=tmp_path)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(3)]  # at the start, after 10 and 30 seconds
    finally:
        process.kill()
        process.communicate()
    assert " starts in r: " in lines[0]
    assert all(" of 1,000,000,000,000, " in line and " steps/s, mean return " in line for line in lines[1:])


class Failing(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_output_never_raises_and_says_once_that_it_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output()
    monkeypatch.setattr(sys, "stdout", Failing())
    for _ in range(3):
        output.say("a line")
    assert output.lost is not None
    assert capsys.readouterr().err == "warning: standard output cannot be written: No space left on device\n"
    monkeypatch.setattr(sys, "stderr", Failing())
    output.complain("a complaint")
    for stream in (None, io.StringIO()):
        if stream is not None:
            stream.close()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        Output().say("a line")
        Output().complain("a line")
        assert not Output().isatty()


def test_a_reader_who_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", TRAIN, "--env-id", FAKE, "--run-dir", "r", "--num-workers", "1"]
    command += ["--total-steps", "1e12", "--checkpoint-every-seconds", "0.2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    end = os.open(f"/proc/{process.pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(end, b"x" * 512)
    os.close(end)
    wait_until(lambda: list(tmp_path.glob("r/checkpoints/step_*")))
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
