"""`python -m bench.updates`: how far training is from the limit of the one vector that all workers update.

For each number of workers, more of them than cores allowed, in alternating rounds: how many updates a second training
makes, and how many as many threads make that do nothing but pull and push the shared parameters, which is the limit.
Both run on as many cores as there are workers, or on all.

Then a model on paper of one machine with more cores. An update takes a core T microseconds in training alone; by
several cores it takes the difference more that the updates alone show, because every cache line of the vectors was
last written by another core. It moves 28 bytes for each parameter: 4 that are pulled, and 12 of the parameter and
Adam's two moments that are read and written. Where N cores would move more than `--gigabytes-a-second`, the memory
that they share is the limit. More cores than that are several hosts: a process for each part of the memory.
"""

from __future__ import annotations

import dataclasses
import json as json_module
import os
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a3c_fast.cli import parse
from a3c_fast.errors import ConfigError
from bench import throughput
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import warm_up

if TYPE_CHECKING:
    from a3c_fast.config import Config

_BYTES = 28  # moved for each parameter by an update
_MODELLED = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # cores


@dataclass(frozen=True)
class Arguments(throughput.Settings):
    """Measures how far training is from the limit of the shared parameters."""

    workers: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """Numbers of workers, 1 among them."""
    rounds: int = 5
    """Rounds of each number."""
    seconds: float = 4.0
    """Length of a round, about, of each kind."""
    gigabytes_a_second: float = 204.8
    """Of the model: what the memory that all cores share can move; eight channels of DDR4-3200."""
    json: bool = False
    """Print one JSON object."""


def predict(
    alone: float, training: float, contended: float, parameters: int, gigabytes_a_second: float
) -> dict[str, dict[str, float]]:
    """Efficiency against one core, and gigabytes a second that are moved, by number of cores.

    Microseconds of an update by one core: `alone` of the updates alone, and `training` of training; `contended` is that
    of the updates alone, a core, where every core makes them.
    """
    several = training + max(0.0, contended - alone)
    most = 1e9 * gigabytes_a_second / (_BYTES * parameters)  # updates a second of all cores
    found = {}
    for cores in _MODELLED:
        updates = min(1e6 * cores / (training if cores == 1 else several), most)
        found[str(cores)] = {
            "efficiency": round(updates * training / (1e6 * cores), 3),
            "gigabytes_a_second": round(1e-9 * updates * _BYTES * parameters, 2),
        }
    return found


def measure(config: Config, args: Arguments) -> dict[str, Any]:
    """Updates a second of training and alone by number of workers, round by round, and the model of more cores."""
    from a3c_fast import _core
    from a3c_fast.core_config import optimizer_config
    from a3c_fast.trainer import Trainer

    facts = machine()
    cores = sorted(os.sched_getaffinity(0))
    rounds: dict[str, dict[str, list[float]]] = {
        kind: {str(count): [] for count in args.workers} for kind in ("steps", "updates", "updates_alone")
    }
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cores)
        trainers, steps = {}, {}
        for count in args.workers:
            os.sched_setaffinity(0, cores[:count])  # threads inherit it of the thread that starts them
            trainers[count] = stack.enter_context(Trainer(dataclasses.replace(config, num_workers=count)))
            steps[count] = warm_up(throughput.training_steps(trainers[count]), args.seconds)
        parameters = sum(value.numel() for value in trainers[args.workers[0]].state_dict().values())
        resolved = trainers[args.workers[0]].config
        optimizer = optimizer_config(resolved)
        for _ in range(args.rounds):
            for count, trainer in trainers.items():
                os.sched_setaffinity(0, cores[:count])
                before = trainer.stats()
                throughput.training_steps(trainer)(steps[count])
                after = trainer.stats()
                seconds = after["wall_seconds"] - before["wall_seconds"]
                for kind, name in (("steps", "step"), ("updates", "updates")):
                    rounds[kind][str(count)].append(round((after[name] - before[name]) / seconds, 1))
                alone = _core.update_alone(
                    parameters=parameters, optimizer=optimizer, threads=count, seconds=args.seconds / 4
                )
                rounds["updates_alone"][str(count)].append(round(4 * alone / args.seconds, 1))
    medians = {kind: {count: statistics.median(v) for count, v in found.items()} for kind, found in rounds.items()}
    most = str(max(count for count in args.workers if count <= len(cores)))  # one on each core
    model = predict(
        alone=1e6 / medians["updates_alone"]["1"],
        training=1e6 / medians["updates"]["1"],
        contended=1e6 * int(most) / medians["updates_alone"][most],
        parameters=parameters,
        gigabytes_a_second=args.gigabytes_a_second,
    )
    return {
        "parameters": parameters,
        "steps_per_second": medians["steps"],
        "updates_per_second": medians["updates"],
        "updates_alone_per_second": medians["updates_alone"],
        "model": {"gigabytes_a_second": args.gigabytes_a_second, "cores": model},
        "rounds": rounds,
        "config": resolved.to_json(),
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.updates")
    check_positive(args, "workers", "rounds", "seconds", "gigabytes_a_second")
    if 1 not in args.workers:
        raise ConfigError("workers", args.workers, "one of them must be 1, which the others are compared with")
    result = measure(throughput.configure(args), args)
    if args.json:
        print(json_module.dumps(result))
        return
    for count, steps in result["steps_per_second"].items():
        updates, alone = (result[name][count] for name in ("updates_per_second", "updates_alone_per_second"))
        print(
            f"{count:>4} workers: {steps:8,.0f} steps/s, {updates:6,.0f} updates/s of {alone:8,.0f} that are possible"
        )
    for count, predicted in result["model"]["cores"].items():
        print(
            f"{count:>4} cores, by the model: efficiency {predicted['efficiency']:.2f}, "
            f"{predicted['gigabytes_a_second']:.1f} GB/s"
        )


if __name__ == "__main__":
    main()
