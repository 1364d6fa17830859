"""The start-or-go-on command of one run directory, and what can be read there while and after it runs."""

from __future__ import annotations

import json
import re
import signal
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

from a3c_fast import checkpoint as checkpoints
from a3c_fast.errors import CheckpointError
from bench.soak.processes import Process
from bench.soak.report import Report

NEVER = 10**15  # agent steps that no run comes to


class Job(Process):
    """`a3c-fast train --run-dir R --resume` on CartPole, the same command each time."""

    def __init__(self, run_dir: Path) -> None:
        flags = ("--env-id", "CartPole-v1", "--run-dir", run_dir, "--resume", "--total-steps", str(NEVER))
        often = ("--checkpoint-every-seconds", "0.2", "--log-every-seconds", "0.1")
        super().__init__("-m", "a3c_fast.train", *flags, *often)

    def announced(self) -> bool:
        """Waits for the line that tells what is trained; False when the process ends before or hangs."""
        return self.until(lambda: "\n" in self.stdout)

    @property
    def first_step(self) -> int:
        """The step at which it goes on, as it has announced it; 0 where it starts."""
        found = re.search(r"from step ([\d,]+)", self.stdout)
        return int(found[1].replace(",", "")) if found else 0


def newest_step(run_dir: Path, report: Report) -> int:
    """The step of the newest whole checkpoint, -1 where there is none; a damaged one is noted."""
    directory = run_dir / "checkpoints"
    if not checkpoints.paths(directory):
        return -1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            step = checkpoints.load_newest(directory).step
        except CheckpointError as error:
            report.fail(f"no checkpoint in {directory} is whole: {error}")
            return -1
    for warning in caught:
        report.fail(f"a checkpoint is damaged: {warning.message}")
    return step


def metrics_of(run_dir: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl, read without the package's help."""
    path = run_dir / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]


def check_first_step(job: Job, newest: int, report: Report) -> None:
    """A job goes on at the newest whole checkpoint, or starts where there is none."""
    first = job.first_step
    report.check(first == max(newest, 0), f"the newest checkpoint was of step {newest:,}, the job began at {first:,}")


def end_well(run_dir: Path, report: Report) -> None:
    """One more job goes on, learns, is asked to end, and leaves whole files that `evaluate` reads."""
    newest = newest_step(run_dir, report)
    job = Job(run_dir)
    if not job.announced():
        report.fail(f"the last job did not go on: {job.result(0)}")
        return
    check_first_step(job, newest, report)
    report.check(job.until(lambda: newest_step(run_dir, report) > newest), "the last job saved nothing new")
    job.send(signal.SIGTERM)
    result = job.result()
    report.check(result.status == 128 + signal.SIGTERM, f"the last job did not end as it must: {result}")
    steps = [line["step"] for line in metrics_of(run_dir)]
    for a, b in pairwise(steps):
        report.check(a < b, f"the steps of {run_dir}/metrics.jsonl do not rise: {b:,} comes after {a:,}")
    newest = newest_step(run_dir, report)
    report.check(steps[-1:] == [newest], f"metrics end at {steps[-1:]}, the newest checkpoint is of step {newest:,}")
    evaluated = Process("-m", "a3c_fast.evaluate", run_dir, "--episodes", "2", "--json").result()
    step = json.loads(evaluated.stdout)["step"] if evaluated.status == 0 else None
    report.check(step == newest, f"evaluate did not play the checkpoint of step {newest:,}: {evaluated}")
