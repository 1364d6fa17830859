"""`python -m bench.soak exits`: the main program ends while daemon threads are inside a trainer."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.soak.processes import Result, call, returned
from bench.soak.report import Report

POSITIVE = ("programs",)

CALLS = ("run", "wait", "stats", "state_dict", "policy")


@dataclass(frozen=True)
class Arguments:
    """Ends programs with a thread in run(), wait(), stats() ...; all must be saved, with status 0 and not a word."""

    programs: int = 100
    """Programs for each call; every second one has a run directory."""
    calls: tuple[str, ...] = CALLS
    """What the daemon thread does."""
    seed: int = 1
    """Of the moments."""
    json: bool = False
    """Print one JSON object."""


def soak(args: Arguments, directory: Path, report: Report) -> None:
    """The program."""
    numbers = random.Random(args.seed)
    programs = [
        (name, str(directory / f"{name}_{i}") if i % 2 == 0 else None, numbers.uniform(0, 0.5))
        for i in range(args.programs)
        for name in args.calls
    ]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(lambda program: call(end_meanwhile, *program).result(), programs)
        for (name, run_dir, _), result in zip(programs, results, strict=True):
            _check(name, run_dir, result, report)


def _check(name: str, run_dir: str | None, result: Result, report: Report) -> None:
    report.done[f"{name}: status {result.status}"] += 1
    well = report.check(result.status == 0 and not result.stderr, f"the end with a thread in {name}(): {result}")
    if well and run_dir is not None:
        from a3c_fast import checkpoint as checkpoints
        from a3c_fast.errors import CheckpointError

        try:
            saved = checkpoints.load_newest(Path(run_dir) / "checkpoints").step
        except CheckpointError:
            saved = -1
        step = returned(result)
        report.check(saved >= step > 0, f"the end with a thread in {name}(): step {step:,} came, {saved:,} is saved")


def end_meanwhile(name: str, run_dir: str | None, seconds: float) -> int:
    """Comes to the end of the program after so many seconds, while a daemon thread is in run() or loops over `name`.

    Returns the step that had come by then.
    """
    from a3c_fast import Config, Trainer

    directory = Path(run_dir) if run_dir is not None else None
    trainer = Trainer(Config(env_id="CartPole-v1", num_workers=2, total_steps=10**12, run_dir=directory))

    def observe() -> None:
        call = getattr(trainer, name)
        while call() is not True:  # wait() is over then, and the others go on for ever
            pass

    if name != "run":
        trainer.start()
    threading.Thread(target=trainer.run if name == "run" else observe, daemon=True).start()
    while trainer.stats()["step"] == 0:
        time.sleep(0.01)
    time.sleep(seconds)
    return int(trainer.stats()["step"])
