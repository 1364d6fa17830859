"""`python -m bench.soak jobs`: several jobs on one run directory at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.soak.job import Job, check_first_step, end_well, newest_step
from bench.soak.report import Report

POSITIVE = ("rounds", "jobs")


@dataclass(frozen=True)
class Arguments:
    """Starts several jobs on one run directory together: one must train, the others say so; kills it, and again."""

    rounds: int = 20
    """Times that the jobs are started."""
    jobs: int = 3
    """Jobs started together."""
    json: bool = False
    """Print one JSON object."""


def soak(args: Arguments, directory: Path, report: Report) -> None:
    """The program."""
    run_dir = directory / "run"
    for i in range(args.rounds):
        jobs = [Job(run_dir) for _ in range(args.jobs)]
        try:
            if not _one_trains(jobs, run_dir, f"round {i}", report):
                return
        finally:
            for job in jobs:
                job.kill()
        report.done["rounds"] += 1
    end_well(run_dir, report)


def _one_trains(jobs: list[Job], run_dir: Path, where: str, report: Report) -> bool:
    newest = newest_step(run_dir, report)
    # Each either announces what it trains or ends. Who announces and ends later is found out below.
    if not report.check(all(job.announced() or not job.runs for job in jobs), f"{where}: a job hangs at its start"):
        return False
    training = [job for job in jobs if job.runs]
    refused = [job.result() for job in jobs if not job.runs]
    for result in refused:
        lines = result.stderr.splitlines()
        said = len(lines) == 1 and lines[0].startswith("error: ") and "another process" in lines[0]
        report.check(result.status == 2 and said, f"{where}: a job beside another was not refused: {result}")
        report.done["refused"] += 1
    if not report.check(len(training) == 1, f"{where}: {len(training)} of {len(jobs)} train: {[*map(str, refused)]}"):
        return False
    (only,) = training
    check_first_step(only, newest, report)
    if only.until(lambda: newest_step(run_dir, report) > newest):
        return True
    report.fail(f"{where}: the job saves nothing new: {only.result(0)}")
    return False
