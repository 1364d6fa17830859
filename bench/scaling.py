"""`python -m bench.scaling`: training steps a second with 1, 2, 4 ... workers, each pinned to as many cores."""

from __future__ import annotations

import dataclasses
import json as json_module
import os
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from a3c_fast.cli import parse
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import Steps, alternate
from bench.throughput import Arguments as ThroughputArguments
from bench.throughput import configure, training_steps


@dataclass(frozen=True)
class Arguments:
    """Measures how training scales with workers and cores."""

    env_id: str = "Pong-v5"
    """EnvPool's name of the environment."""
    rounds: int = 5
    """Rounds of each number of workers."""
    seconds: float = 6.0
    """Length of a round, about."""
    json: bool = False
    """Print one JSON object."""


def worker_counts(cores: int) -> list[int]:
    """The powers of two up to the number of cores, and that number."""
    return sorted({2**i for i in range(cores.bit_length()) if 2**i <= cores} | {cores})


def measure(args: Arguments) -> dict[str, Any]:
    """Steps a second for each number of workers, round by round, and the efficiency against one worker."""
    from a3c_fast.trainer import Trainer

    facts = machine()
    cores = sorted(os.sched_getaffinity(0))
    config = configure(ThroughputArguments(env_id=args.env_id))
    kinds: dict[str, Steps] = {}
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cores)
        for count in worker_counts(len(cores)):
            # Threads inherit the affinity of the thread that starts them: pools here, workers at every start.
            os.sched_setaffinity(0, cores[:count])
            trainer = stack.enter_context(Trainer(dataclasses.replace(config, num_workers=count)))
            kinds[str(count)] = _pinned(training_steps(trainer), cores[:count])
        figures = alternate(kinds, args.rounds, args.seconds)
    medians = {count: statistics.median(values) for count, values in figures.items()}
    speedups = {
        count: statistics.median(n / one for n, one in zip(values, figures["1"], strict=True))
        for count, values in figures.items()
    }
    return {
        "steps_per_second": medians,
        "speedup": speedups,
        "efficiency": {count: speedup / int(count) for count, speedup in speedups.items()},
        "rounds": figures,
        "config": config.to_json(),
        "machine": facts,
    }


def _pinned(make: Steps, cores: list[int]) -> Steps:
    def pinned(steps: int) -> int:
        os.sched_setaffinity(0, cores)
        return make(steps)

    return pinned


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.scaling")
    check_positive(args, "rounds", "seconds")
    result = measure(args)
    if args.json:
        print(json_module.dumps(result))
        return
    for count, figure in result["steps_per_second"].items():
        speedup, efficiency = result["speedup"][count], result["efficiency"][count]
        print(f"{count:>4} workers: {figure:>9,.0f} steps/s, {speedup:.2f}x one worker, efficiency {efficiency:.2f}")


if __name__ == "__main__":
    main()
