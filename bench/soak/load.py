"""`python -m bench.soak load`: the test suite on a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.soak.report import Report

POSITIVE = ("busy",)

_ROOT = Path(__file__).parents[2]
_PATIENCE = 3600  # seconds for a single wait of a test


@dataclass(frozen=True)
class Arguments:
    """Runs the test suite beside busy processes, to which it is nice; every test must pass."""

    busy: int = 2
    """Processes that keep a core busy each."""
    nice: int = 19
    """How nice the tests are to these: 19 leaves them a hundredth of a core."""
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
            str(args.nice),
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-q",
            "--basetemp",
            str(directory / "pytest"),
        ]
        command += [f"--timeout={4 * _PATIENCE}", *args.tests]
        patient = {**os.environ, "A3C_TEST_PATIENCE": str(_PATIENCE)}
        done = subprocess.run(command, cwd=_ROOT, env=patient, capture_output=True, text=True, check=False)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    lines = done.stdout.splitlines()
    report.done[lines[-1] if lines else "no summary"] += 1
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    report.check(done.returncode == 0, "; ".join(failed) or f"pytest: {done.stdout[-1000:]} {done.stderr[-1000:]}")
