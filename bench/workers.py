"""`python -m bench.workers`: what asynchrony does to learning, as Mnih et al. 2016 show it in figures 3 and 4.

Trains with 1, 2, 4 ... workers of one environment each, more of them than cores allowed, and keeps the mean return of
the last 100 training episodes against steps. Every other flag is one of `a3c-fast train`.
"""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a3c_fast.config import Config
from bench.command import check_positive, errors_in_one_sentence, parse_with_training
from bench.machine import machine
from bench.time_to_score import train_and_watch


@dataclass(frozen=True)
class Arguments:
    """Trains with more and more workers; also takes the flags of `a3c-fast train`."""

    workers: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Numbers of workers."""
    seeds: int = 3
    """Runs of each, with the seeds `seed`, `seed` + 1 ..."""
    interval: float = 0.5
    """Seconds between two points of a curve."""
    plot: Path | None = None
    """Draw return against wall time and steps into this PNG."""
    json: bool = False
    """Print one JSON object."""


def measure(config: Config, args: Arguments) -> dict[str, Any]:
    """The curves of all runs, by number of workers."""
    from a3c_fast.trainer import Trainer

    facts = machine()
    curves: dict[str, list[list[dict[str, Any]]]] = {}
    for workers in args.workers:
        curves[str(workers)] = []
        for seed in range(config.seed, config.seed + args.seeds):
            with Trainer(config.replace(num_workers=workers, seed=seed)) as trainer:
                curves[str(workers)].append(train_and_watch(trainer, config.total_steps, args.interval))
    return {"env_id": config.env_id, "curves": curves, "config": config.to_json(), "machine": facts}


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    sets = ("num_workers", "envs_per_worker", "envs_per_update")
    args, config = parse_with_training(Arguments, "python -m bench.workers", sets=sets)
    check_positive(args, "workers", "seeds", "interval")
    result = measure(config.replace(envs_per_worker=1, envs_per_update=1), args)
    if args.plot is not None:
        from bench.plots import learning_curves

        named = {f"{workers} worker{'' if workers == '1' else 's'}": runs for workers, runs in result["curves"].items()}
        learning_curves(named, args.plot, config.env_id)
    if args.json:
        print(json_module.dumps(result))
        return
    for workers, runs in result["curves"].items():
        last = [run[-1] if run else None for run in runs]
        returns = ", ".join(
            f"{point['mean_return_100']:.1f} in {point['seconds']:.0f} s" if point else "no episode" for point in last
        )
        print(f"{workers:>3} workers: {returns}")


if __name__ == "__main__":
    main()
