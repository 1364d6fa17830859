"""`python -m bench.soak load`: the test suite on a busy machine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.soak.report import Report

POSITIVE = ("busy",)

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Arguments:
    """Runs the test suite at nice 19 beside busy processes; every test must pass."""

    busy: int = 2
    """Processes that keep a core busy each."""
    tests: tuple[str, ...] = ()
    """These tests instead of all."""
    json: bool = False
    """Print one JSON object."""


def soak(args: Arguments, directory: Path, report: Report) -> None:
    """The program."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.busy)]
    try:
        # -P: the tests are of the package that is installed, not of the folder in which pytest starts.
        command = [
            "nice",
            "-n",
            "19",
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-q",
            "--basetemp",
            str(directory / "pytest"),
        ]
        done = subprocess.run([*command, *args.tests], cwd=_ROOT, capture_output=True, text=True, check=False)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    lines = done.stdout.splitlines()
    report.done[lines[-1] if lines else "no summary"] += 1
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    report.check(done.returncode == 0, "; ".join(failed) or f"pytest: {done.stdout[-1000:]} {done.stderr[-1000:]}")
