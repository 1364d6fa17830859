"""Commands and scripts in processes of their own, as a user meets them.

Importing torch, EnvPool and TensorBoard costs seconds a process. `start` and `run` therefore fork from one server that
has imported them and never run a thread of its own; `run_cold` is the command exactly as a shell starts it.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import a3c_fast
from a3c_fast.envs import ActionSpec, EnvSpec, ObservationSpec, Part

# Seconds for whatever takes moments on an idle machine: a hang is found, and nothing depends on speed. Beside busy
# processes of a higher priority all takes a hundred times as long, for which `bench.soak load` says another number.
PATIENCE = float(os.environ.get("A3C_TEST_PATIENCE", "600"))

TRAIN = "a3c_fast.train"
EVALUATE = "a3c_fast.evaluate"
FAKE = "a3c_fast/Fake-v0"
FAKE_IMAGE = "a3c_fast/FakeImage-v0"
FAKE_CONTINUOUS = "a3c_fast/FakeContinuous-v0"
FAKE_MULTI = "a3c_fast/FakeMulti-v0"

# Runs of earlier versions, each as its own code wrote it.
DATA = Path(__file__).parent / "data"

# The promise of metrics.jsonl, and what it holds beyond.
METRICS_KEYS = {
    *("step", "frames", "wall_seconds", "steps_per_second", "episodes", "mean_return_100", "policy_loss"),
    *("value_loss", "entropy", "grad_norm", "learning_rate", "updates"),
}
EXTRA_METRICS_KEYS = {
    *("mean_length_100", "mean_return_20", "std_return_100", "skipped_updates", "entropy_coef", "evaluation_return"),
    *("explained_variance", "approx_kl", "clip_fraction", "hosts"),
}

_SERVER = """
import gc, json, os, runpy, sys, time
import envpool.atari, envpool.classic_control, envpool.registration, gymnasium, matplotlib.figure, rich.progress
import tensorboard.compat.proto.event_pb2, tensorboard.summary.writer.record_writer, tyro
import a3c_fast.checkpoint, a3c_fast.cli, a3c_fast.trainer

def wait(pid, seconds):
    deadline = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)

def become(order):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(os.open(order["files"][number - 1], os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(order["cwd"])
    module, *sys.argv[1:] = order["arguments"]
    if module == "-c":
        code = sys.argv.pop(1)
        sys.argv[0] = "-c"
        exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)

gc.collect()
gc.freeze()  # the last collection of a child would copy every page: half a second
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        print(json.dumps(wait(order["wait"], order["seconds"])), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        become(order)
        sys.exit()
    print(pid, flush=True)
"""


@dataclass(frozen=True)
class Result:
    """How a process ended: its exit status (-N when signal N killed it) and what it wrote."""

    status: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one sentence of a refusal: asserts that there is nothing else."""
        lines = self.stderr.splitlines()
        assert len(lines) == 1, self
        assert lines[0].startswith("error: "), self
        assert self.stdout == "", self
        return lines[0].removeprefix("error: ")


class Process:
    """A forked process; its output goes to files (or to a terminal given as `stdout`)."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path | None, stdout: str | None) -> None:
        self._directory = tempfile.TemporaryDirectory()
        where = Path(self._directory.name)
        self._files = [Path(stdout) if stdout else where / "stdout", where / "stderr"]
        order = {
            "arguments": arguments,
            "cwd": str(cwd or where),
            "files": [str(path) for path in self._files],
        }
        self.pid = int(_ask(order))
        self._status: int | None = None

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self, seconds: float = 0) -> bool:
        """Whether it has ended, after at most `seconds`."""
        if self._status is None:
            self._status = json.loads(_ask({"wait": self.pid, "seconds": seconds}))
        return self._status is not None

    def result(self) -> Result:
        """Waits for the end; kills the process and fails the test when it does not come."""
        if not self.ended(PATIENCE):
            self.send(signal.SIGKILL)
            self.ended(PATIENCE)
            raise AssertionError(f"no end within {PATIENCE} s: {self._result()}")
        return self._result()

    def until(self, condition: Callable[[], Any]) -> None:
        """Waits until `condition()`; fails when the process ends before."""

        def came() -> bool:
            # The end is looked at first: what the process did last still counts.
            ended = self.ended()
            found = bool(condition())
            assert found or not ended, self._result()
            return found

        wait_until(came)

    def stdout(self) -> str:
        path = self._files[0]
        return path.read_text() if path.is_file() else ""

    def stderr(self) -> str:
        path = self._files[1]
        return path.read_text() if path.exists() else ""

    def _result(self) -> Result:
        return Result(self._status or 0, self.stdout(), self.stderr())


def observation_spec(shape: tuple[int, ...], dtype: str = "float32") -> ObservationSpec:
    """Of one array: numbers, or an image where it has several dimensions."""
    return ObservationSpec((Part("", dtype, tuple(shape), "array" if len(shape) > 1 else "numbers"),))


def env_spec(shape: tuple[int, ...] = (4,), dtype: str = "float32", choices: tuple[int, ...] = (3,)) -> EnvSpec:
    """One array that is observed, and discrete actions."""
    return EnvSpec(observation_spec(shape, dtype), ActionSpec(choices))


def as_rows(observations: Any) -> Any:
    """One array a sample [N, ...] as the core has them: rows of bytes."""
    return np.ascontiguousarray(observations).reshape(len(observations), -1).view(np.uint8)


def wait_until(condition: Callable[[], Any]) -> None:
    """Waits until `condition()`; fails the test when it never comes."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not come within {PATIENCE} s"
        time.sleep(0.01)


def start(*arguments: str, cwd: Path | None = None, stdout: str | None = None) -> Process:
    """Starts a module with its flags, or "-c" with a script and its arguments, and returns."""
    return Process(tuple(map(str, arguments)), cwd, stdout)


def run(*arguments: str, cwd: Path | None = None) -> Result:
    """As `start`, and waits for the end."""
    return start(*arguments, cwd=cwd).result()


def popen_cold(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """`python -m MODULE FLAGS` as a shell starts it."""
    command = [sys.executable, "-m", *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=_environment(), **pipes)


def run_cold(*arguments: str, cwd: Path) -> Result:
    return end_of(popen_cold(*arguments, cwd=cwd))


def end_of(process: subprocess.Popen[str]) -> Result:
    """Waits for the end of a process; kills it and fails the test when it does not come."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"no end within {PATIENCE} s: {stdout} {stderr}") from None
    return Result(process.returncode, stdout or "", stderr or "")


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of its own."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def snapshot_of_files(directory: Path) -> dict[Path, tuple[int, bytes]]:
    """All files below a directory, with when they were written and what is in them."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.rglob("*") if path.is_file()}


def read_lines(run_dir: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl, read without the package's help."""
    path = run_dir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def assert_strictly_growing(lines: list[dict[str, Any]]) -> None:
    steps = [line["step"] for line in lines]
    assert all(a < b for a, b in itertools.pairwise(steps)), steps


def _environment() -> dict[str, str]:
    # The package that the tests import, also for a process in another directory.
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}  # pytest-xdist's
    return {**own, "PYTHONPATH": str(Path(a3c_fast.__file__).parents[1])}


@functools.cache
def _server() -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    command = [sys.executable, "-c", _SERVER]
    server = subprocess.Popen(command, env=_environment(), start_new_session=True, **pipes)
    atexit.register(server.kill)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n", "the server of the tests did not start"
    return server


def _ask(order: dict[str, Any]) -> str:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(order) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    assert answer, "the server of the tests died"
    return answer
