"""`python -m bench.stages`: where a training step's time goes, stage by stage.

A worker's whole time, in microseconds a step: together the stages are workers / (steps a second). What the worker
waits is the emulator's time and the idle time; the processor time beside it tells them apart.
"""

from __future__ import annotations

import json as json_module
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a3c_fast.cli import parse
from a3c_fast.config import Config
from bench import throughput
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import Steps, warm_up


@dataclass(frozen=True)
class Arguments(throughput.Settings):
    """Measures where a training step's time goes."""

    seconds: float = 20.0
    """Length of the measurement, about."""
    plot: Path | None = None
    """Draw a stacked bar into this PNG."""
    json: bool = False
    """Print one JSON object."""


def processor_seconds() -> float:
    """User and system time of all threads of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(config: Config, seconds: float) -> dict[str, Any]:
    """Microseconds of a worker a step by stage, steps a second, and the cores kept busy by training and ceiling."""
    from a3c_fast.trainer import Trainer

    def timed(make: Steps) -> tuple[float, float]:
        steps = warm_up(make, seconds)
        processor, begin = processor_seconds(), time.perf_counter()
        made = make(steps)
        elapsed = time.perf_counter() - begin
        return made / elapsed, (processor_seconds() - processor) / elapsed

    facts = machine()
    with Trainer(config) as trainer:
        workers = trainer.config.num_workers
        limit, limit_cores = timed(throughput.ceiling_steps(config, workers))
        make = throughput.training_steps(trainer)
        before: dict[str, float] = {}
        first_step = 0

        def make_and_note(steps: int) -> int:
            nonlocal before, first_step
            before, first_step = trainer.stage_seconds(), trainer.stats()["step"]
            return make(steps)

        rate, cores = timed(make_and_note)
        steps = trainer.stats()["step"] - first_step
        stages = {
            name: 1e6 * (value - before.get(name, 0.0)) / steps for name, value in trainer.stage_seconds().items()
        }
        resolved = trainer.config.to_json()
    return {
        "microseconds_per_step": stages,
        "sum_of_stages": sum(stages.values()),
        "workers_per_step_rate": 1e6 * workers / rate,
        "train_steps_per_second": rate,
        "train_busy_cores": cores,
        "ceiling_steps_per_second": limit,
        "ceiling_busy_cores": limit_cores,
        "config": resolved,
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.stages")
    check_positive(args, "seconds")
    result = measure(throughput.configure(args), args.seconds)
    if args.plot:
        from bench.plots import stack

        stack(result["microseconds_per_step"], args.plot, f"{args.env_id}: a worker's time, microseconds a step")
    if args.json:
        print(json_module.dumps(result))
        return
    for name, microseconds in result["microseconds_per_step"].items():
        print(f"{name:24}{microseconds:9.2f} us")
    print(f"{'sum of the stages':24}{result['sum_of_stages']:9.2f} us")
    print(f"{'workers / (steps/s)':24}{result['workers_per_step_rate']:9.2f} us")
    for kind in ("train", "ceiling"):
        rate, cores = result[f"{kind}_steps_per_second"], result[f"{kind}_busy_cores"]
        print(f"{kind:8}{rate:8,.0f} steps/s, {cores:.2f} cores busy, {1e6 * cores / rate:.1f} us of a core a step")


if __name__ == "__main__":
    main()
