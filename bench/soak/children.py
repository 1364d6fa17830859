"""`python -m bench.soak children`: environments in child processes that break in every way, at random steps."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.soak.faulty import FAULTS, Faulty
from bench.soak.processes import GENEROUS, shortened
from bench.soak.report import Report

POSITIVE = ("rounds", "most_workers", "most_steps", "patience")
# Signals that a child is sent at a random moment, and what the run must then say.
SIGNALS = {
    "is sent SIGKILL": (signal.SIGKILL, "the process of the environments was killed by signal 9, Killed"),
    "is sent SIGTERM": (signal.SIGTERM, "the process of the environments was killed by signal 15, Terminated"),
    "is sent SIGSTOP": (signal.SIGSTOP, "the environments have not stepped within "),
}


@dataclass(frozen=True)
class Arguments:
    """Breaks environments in child processes; each run must say how, and leave no process, file or memory behind."""

    rounds: int = 1000
    """Runs, each of which one environment or process of breaks."""
    most_workers: int = 3
    """A run has up to so many workers, each with a process."""
    most_steps: int = 300
    """An environment breaks at one of its first so many steps."""
    patience: float = 2.0
    """`watchdog_seconds` of the runs in which something hangs."""
    many: int = 0
    """Also one run of so many workers, which trains CartPole for a hundred steps each and ends."""
    most_minutes: float = 1000.0
    """No round begins later."""
    seed: int = 1
    """Of all that is random."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Left:
    """What a process has that a run must give back. Shared memory has no name, and goes with its files."""

    children: frozenset[int]
    files: int
    threads: int
    mapped: int

    @staticmethod
    def now() -> Left:
        """As it is."""
        gc.collect()
        children = ""
        for path in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                children += path.read_text()
        return Left(
            frozenset(map(int, children.split())),
            len(os.listdir("/proc/self/fd")),  # noqa: PTH208
            len(list(Path("/proc/self/task").iterdir())),
            Path("/proc/self/maps").read_text().count("memfd:a3c_fast"),
        )


def soak(args: Arguments, directory: Path, report: Report) -> None:
    """The program."""
    numbers = random.Random(args.seed)
    until = time.monotonic() + 60 * args.most_minutes
    before: Left | None = None
    for i in range(args.rounds):
        if time.monotonic() > until:
            break
        how = numbers.choice([*FAULTS, *SIGNALS])
        workers = numbers.randint(1, args.most_workers)
        where = f"round {i}, {how}, {workers} workers"
        _round(args, how, workers, numbers, directory / f"token_{i}", where, report)
        if before is None:  # what the first run opens for good
            before = Left.now()
        _check_left(before, where, report)
    if args.many:
        _many(args.many, report)
        if before is not None:
            _check_left(before, f"{args.many} workers", report)


def _round(
    args: Arguments, how: str, workers: int, numbers: random.Random, token: Path, where: str, report: Report
) -> None:
    """One run that breaks."""
    from a3c_fast import Config, Trainer, WorkerError

    number, sentence = SIGNALS.get(how) or (None, FAULTS[how])
    hangs = "not stepped" in sentence
    config = Config(
        num_workers=workers,
        envs_per_worker=numbers.randint(1, 4),
        t_max=8,
        total_steps=10**12,
        watchdog_seconds=args.patience if hangs else GENEROUS,
    )
    make = partial(Faulty, how, numbers.randint(1, args.most_steps), token)
    begin = time.monotonic()
    try:
        with Trainer(config, env=make) as trainer:
            if number is not None:
                pids = sorted(Left.now().children)
                wait = numbers.uniform(0, 0.5)
                threading.Timer(wait, os.kill, (numbers.choice(pids), number)).start()
            trainer.run()
        report.fail(f"{where}: the run ended without an error")
    except WorkerError as error:
        report.check(sentence in str(error), f"{where}: the run said {shortened(str(error))!r}")
    report.done[how] += 1
    seconds = time.monotonic() - begin
    report.check(seconds < GENEROUS / 2, f"{where}: it took {seconds:.0f} seconds")


def _check_left(before: Left, where: str, report: Report) -> None:
    """Threads and processes may need a moment to be gone."""
    deadline = time.monotonic() + GENEROUS
    while (now := Left.now()) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    report.check(now == before, f"{where}: there is {now}, and before there was {before}")


def _many(workers: int, report: Report) -> None:
    """A run of very many processes."""
    from a3c_fast import Config, Trainer

    config = Config(
        env_id="gymnasium:CartPole-v1",
        num_workers=workers,
        envs_per_worker=1,
        total_steps=100 * workers,
        watchdog_seconds=GENEROUS,
    )
    begin = time.monotonic()
    with Trainer(config) as trainer:
        made = time.monotonic()
        children = len(Left.now().children)
        report.check(children == workers, f"{workers} workers have {children} processes")
        step = trainer.run()["step"]
        trained = time.monotonic()
        report.check(step >= 100 * workers, f"{workers} workers made {step} steps")
    report.done["processes of one run"] += children
    report.done["seconds until they were made"] += round(made - begin)
    report.done["seconds until they were closed"] += round(time.monotonic() - trained)
