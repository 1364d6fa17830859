"""`python -m bench.soak kills`: `kill -9` at random moments, and the same command again after each."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.soak.job import Job, check_first_step, end_well, metrics_of, newest_step
from bench.soak.report import Report

POSITIVE = ("kills", "kills_per_run", "most_seconds")


@dataclass(frozen=True)
class Arguments:
    """Kills CartPole runs at random moments; the same command must go on each time where the last checkpoint was."""

    kills: int = 100
    """Kills, of all runs together."""
    kills_per_run: int = 10
    """Kills of one run directory."""
    most_seconds: float = 3.0
    """A kill comes up to so many seconds after the start, of the process or of its training."""
    seed: int = 1
    """Of the moments."""
    json: bool = False
    """Print one JSON object."""


def soak(args: Arguments, directory: Path, report: Report) -> None:
    """The program."""
    numbers = random.Random(args.seed)
    left = args.kills
    while left > 0:
        run_dir = directory / f"run_{left}"
        count = min(left, args.kills_per_run)
        if _kill_again_and_again(run_dir, count, args.most_seconds, numbers, report):
            end_well(run_dir, report)
        left -= count


def _kill_again_and_again(run_dir: Path, count: int, most: float, numbers: random.Random, report: Report) -> bool:
    """Returns whether the run always went on."""
    newest = -1
    kept: list[dict[str, Any]] = []  # the metrics that must stay
    for i in range(count):
        job = Job(run_dir)
        # The first two come early: before it trains, and about when it writes its first checkpoint.
        trains = i == 1 or (i > 1 and numbers.random() < 0.7)
        if trains and job.announced():
            check_first_step(job, newest, report)
        time.sleep(numbers.uniform(0, 0.3 if i == 1 else most))
        if not job.runs:
            report.fail(f"kill {i - 1} of {run_dir.name} left what does not go on: {job.result()}")
            return False
        job.kill()
        report.done["kills while it trained" if trains else "kills at any moment from the start"] += 1
        before, newest = newest, newest_step(run_dir, report)
        report.check(newest >= before, f"kill {i} of {run_dir.name}: newest checkpoint from {before:,} to {newest:,}")
        lines = metrics_of(run_dir)
        report.check(lines[: len(kept)] == kept, f"kill {i} of {run_dir.name}: metrics before step {before:,} are gone")
        kept = [line for line in lines if line["step"] <= newest]
    return True
