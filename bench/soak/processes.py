"""Commands and functions in processes of their own, started as a shell starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import a3c_fast

GENEROUS = 3600.0  # seconds: whatever takes longer hangs, on however busy a machine

# Two roots: the package may be the installed one, and `bench` never is.
_PATH = os.pathsep.join(str(Path(file).parents[level]) for file, level in ((a3c_fast.__file__, 1), (__file__, 2)))
# A process that crashes, or is aborted because it hangs, tells where its threads were.
_ENVIRONMENT = {**os.environ, "PYTHONPATH": _PATH, "PYTHONFAULTHANDLER": "1"}


@dataclass(frozen=True)
class Result:
    """How a process ended: its exit status (-N when signal N killed it, None when it hung) and what it wrote."""

    status: int | None
    stdout: str
    stderr: str

    def __str__(self) -> str:
        how = "it hung" if self.status is None else f"status {self.status}"
        return f"{how}, stdout {shortened(self.stdout)!r}, stderr {shortened(self.stderr)!r}"


def shortened(text: str, most: int = 1500) -> str:
    """A text for a report: how a crash begins, and how a traceback ends."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


class Process:
    """A Python process; what it writes goes to files, so that no full pipe ever stops it."""

    def __init__(self, *arguments: str | Path) -> None:
        """`arguments` are those of the interpreter, e.g. "-m", "a3c_fast.train", "--help"."""
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  (they live as long as this object)
        self._process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=self._files[0],
            stderr=self._files[1],
            env=_ENVIRONMENT,
            cwd=tempfile.gettempdir(),
        )
        weakref.finalize(self, self._process.kill)  # however this program ends, and nothing where it has ended

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def stdout(self) -> str:
        """All that it has written on standard output by now."""
        return _content(self._files[0])

    def until(self, condition: Callable[[], object], seconds: float = GENEROUS) -> bool:
        """Waits for a condition; False when the process ends before, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.runs or time.monotonic() > deadline:
                return bool(condition())
            time.sleep(0.01)
        return True

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def kill(self) -> Result:
        """`kill -9`, and how the process had ended if it ended before."""
        self._process.kill()
        return self.result()

    def result(self, seconds: float = GENEROUS) -> Result:
        """Waits for the end; a process that does not end within so many seconds hangs, and is ended."""
        hung = False
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            hung = True
            self._process.send_signal(signal.SIGABRT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return Result(None if hung else self._process.returncode, self.stdout, _content(self._files[1]))


def _content(file: Any) -> str:
    # pread: the process writes at the position that both share.
    number = file.fileno()
    return os.pread(number, os.fstat(number).st_size, 0).decode(errors="replace")


def call(function: Callable[..., Any], *arguments: Any) -> Process:
    """A program that calls a function of a module of this folder and prints what it returns as JSON, its last line.

    `arguments` must be what JSON has.
    """
    script = (
        "import json, sys\n"
        f"from {function.__module__} import {function.__name__}\n"
        f"print(json.dumps({function.__name__}(*json.loads(sys.argv[1]))))\n"
    )
    return Process("-c", script, json.dumps(arguments))


def returned(result: Result) -> Any:
    """What the function of `call` returned; None where it did not come so far."""
    if result.status != 0 or not result.stdout.strip():
        return None
    return json.loads(result.stdout.splitlines()[-1])
