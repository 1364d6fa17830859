"""`python -m bench.embedding`: what a run costs the program around it, and what the program costs the run.

`loop`: a Python loop in the main thread, counted alone, beside training, and beside C programs that spin, as many as
training has busy threads. `events`: training's steps a second with nobody listening, with a reader that pulls every
event, and with a callback that sleeps. `pauses`: how long `pause()` takes until no worker computes, and `resume()`
until the run has gone on. Rounds take turns; the figures are medians.
"""

from __future__ import annotations

import contextlib
import json as json_module
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from a3c_fast.cli import parse
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine

_FOREVER = 10**15
_SPINS = "int main(void) { volatile unsigned long n = 0; for (;;) ++n; }"


@dataclass(frozen=True)
class Arguments:
    """What a run costs the program around it, and what the program costs the run."""

    what: Positional[Literal["loop", "events", "pauses"]]
    """Which of the three."""
    env_id: str = "CartPole-v1"
    """The environment that is trained."""
    rounds: int = 7
    """Rounds of `loop` and `events`."""
    seconds: float = 4.0
    """Of each round of each kind."""
    pauses: int = 1000
    """Pauses of `pauses`."""
    json: bool = False
    """Print one JSON object."""


def _trainer(env_id: str, **settings: Any) -> Any:
    from a3c_fast import Config, Trainer

    return Trainer(Config(env_id, total_steps=_FOREVER, **settings))


def _counted(seconds: float) -> float:
    """Rounds of a Python loop a second, by the clock of the wall."""
    count, begin = 0, time.perf_counter()
    end = begin + seconds
    while time.perf_counter() < end:
        for _ in range(1000):
            count += 1
    return count / (time.perf_counter() - begin)


@contextlib.contextmanager
def _training(args: Arguments, report: dict[str, Any]) -> Iterator[None]:
    with _trainer(args.env_id) as trainer:
        trainer.start()
        time.sleep(0.5)
        before = (time.process_time(), time.thread_time(), time.perf_counter())
        yield
        busy, own, wall = (
            now - then
            for now, then in zip((time.process_time(), time.thread_time(), time.perf_counter()), before, strict=True)
        )
        report.setdefault("cores_of_training", []).append((busy - own) / wall)
        trainer.stop()


@contextlib.contextmanager
def _spinning(program: Path, count: int) -> Iterator[None]:
    spinners = [subprocess.Popen([program]) for _ in range(count)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def loop(args: Arguments) -> dict[str, Any]:
    """Rounds of the loop a second: alone, beside training, beside as many spinning C programs as cores."""
    compiler = shutil.which("cc") or shutil.which("c++")
    if compiler is None:
        raise RuntimeError("no C compiler is there for the program that spins")
    report: dict[str, Any] = {"alone": [], "training": [], "spinning": []}
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        source, program = Path(directory) / "spin.c", Path(directory) / "spin"
        source.write_text(_SPINS)
        subprocess.run([compiler, "-O1", "-o", program, source], check=True)
        for _ in range(args.rounds):
            report["alone"].append(_counted(args.seconds))
            with _training(args, report):
                report["training"].append(_counted(args.seconds))
            with _spinning(program, cores):
                report["spinning"].append(_counted(args.seconds))
    medians = {name: statistics.median(report[name]) for name in ("alone", "training", "spinning")}
    report["share_beside_training"] = medians["training"] / medians["alone"]
    report["share_beside_spinning"] = medians["spinning"] / medians["alone"]
    report["spinning_programs"] = cores
    return report


def events(args: Arguments) -> dict[str, Any]:
    """Training steps a second of its own clock, and events a second."""
    from a3c_fast import Episode

    report: dict[str, Any] = {"nobody": [], "pulled": [], "sleeping": [], "events_pulled_per_second": [], "dropped": []}
    with _trainer(args.env_id, learning_rate=1e-9) as trainer:  # it learns nothing: its episodes stay short

        def round_of(name: str, work: Callable[[float], None]) -> None:
            before = trainer.stats()
            begin = time.perf_counter()
            work(begin + args.seconds)
            trainer.stop()
            after = trainer.stats()
            seconds = after["wall_seconds"] - before["wall_seconds"]
            report[name].append((after["step"] - before["step"]) / seconds)

        def nobody(end: float) -> None:
            trainer.start()
            time.sleep(max(0.0, end - time.perf_counter()))

        def pulled(end: float) -> None:
            reader, count = trainer.events(), 0
            while time.perf_counter() < end:
                count += sum(isinstance(event, Episode) for event in reader.pull(0.05))
            report["events_pulled_per_second"].append(count / args.seconds)
            report["dropped"].append(reader.dropped)

        def sleeping(end: float) -> None:
            def sleep(_: Any) -> None:
                left = end - time.perf_counter()
                if left > 0:
                    time.sleep(min(0.05, left))
                elif trainer.running:
                    trainer.request_stop()

            trainer.run(on_event=sleep)

        kinds = {"nobody": nobody, "pulled": pulled, "sleeping": sleeping}
        for name, work in kinds.items():  # a warm-up
            round_of(name, work)
        for values in report.values():
            values.clear()
        for _ in range(args.rounds):
            for name, work in kinds.items():
                round_of(name, work)
    for name in ("pulled", "sleeping"):
        ratios = [there / nobody for there, nobody in zip(report[name], report["nobody"], strict=True)]
        report[f"ratio_{name}"] = statistics.median(ratios)
    return report


def pauses(args: Arguments) -> dict[str, Any]:
    """Seconds until no worker computes, and until the run has gone on."""
    taken, resumed = [], []
    with _trainer(args.env_id) as trainer:
        trainer.start()
        while trainer.stats()["step"] == 0:
            time.sleep(0.01)
        for _ in range(args.pauses):
            begin = time.perf_counter()
            if not trainer.pause():
                raise RuntimeError("the run ended")
            taken.append(time.perf_counter() - begin)
            if trainer.running:
                raise RuntimeError("a worker runs in a paused run")
            step = trainer.stats()["step"]
            begin = time.perf_counter()
            trainer.resume()
            while trainer.stats()["step"] == step:
                time.sleep(0.001)
            resumed.append(time.perf_counter() - begin)
    return {
        "pauses": len(taken),
        "median_seconds": statistics.median(taken),
        "most_seconds": max(taken),
        "median_seconds_to_a_step": statistics.median(resumed),
        "most_seconds_to_a_step": max(resumed),
    }


def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.embedding")
    with errors_in_one_sentence():
        check_positive(args, "rounds", "seconds", "pauses")
        about = machine()
        report = {"loop": loop, "events": events, "pauses": pauses}[args.what](args)
    report = {"what": args.what, "env_id": args.env_id, **report, "machine": about}
    if args.json:
        print(json_module.dumps(report))
        return
    for name, value in report.items():
        if isinstance(value, (int, float)):
            print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
