"""`python -m bench.scores`: what agents score that were trained for so many steps, on several seeds.

Trains by the flags of `a3c-fast train`, of which every other flag is one, to the end of `--total-steps`, and
plays whole episodes in a pool of its own: once with sampled actions and once with the most probable ones, as others
evaluate continuous control. The time is that of training, without the making of environments and the evaluations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_module
import statistics
import sys
from dataclasses import dataclass
from typing import Any

from a3c_fast.config import Config
from a3c_fast.machine import cores
from bench.command import check_positive, errors_in_one_sentence, parse_with_training
from bench.machine import machine
from bench.time_to_score import train_and_watch


@dataclass(frozen=True)
class Arguments:
    """Scores of trained agents; also takes the flags of `a3c-fast train`."""

    seeds: int = 5
    """Runs, with the seeds `seed`, `seed` + 1 ..."""
    episodes: int = 100
    """Episodes of each evaluation."""
    curve_every: float = 5.0
    """Seconds between two points of the curve of training returns."""
    json: bool = False
    """Print one JSON object."""


def one_run(config: Config, args: Arguments) -> dict[str, Any]:
    """Trains with one seed and evaluates."""
    from a3c_fast.evaluate import evaluate
    from a3c_fast.trainer import Trainer

    with Trainer(config) as trainer:
        curve = train_and_watch(trainer, config.total_steps, args.curve_every)
        stats, policy, config = trainer.stats(), trainer.policy(), trainer.config
    run: dict[str, Any] = {
        "seed": config.seed,
        "steps": stats["step"],
        "updates": stats["updates"],
        "training_seconds": round(stats["wall_seconds"], 2),
        "training_return": stats["mean_return_100"],
    }
    for greedy in (False, True):
        score = evaluate(policy, config, episodes=args.episodes, num_threads=cores(), greedy=greedy)
        kept = ("mean_return", "std_return", "min_return", "max_return", "mean_length", "protocol")
        run["greedy" if greedy else "sampled"] = {name: score[name] for name in kept}
    print(f"seed {config.seed}: {_in_words(run)}", file=sys.stderr, flush=True)
    return {**run, "curve": curve}


def _in_words(run: dict[str, Any]) -> str:
    return (
        f"{run['sampled']['mean_return']:.1f} sampled, {run['greedy']['mean_return']:.1f} greedy, after "
        f"{run['steps']:,} steps in {run['training_seconds']:.1f} s"
    )


def measure(config: Config, args: Arguments) -> dict[str, Any]:
    """All runs, and means over seeds. SIGINT gives up the run under way and those after."""
    facts = machine()
    runs: list[dict[str, Any]] = []
    with contextlib.suppress(KeyboardInterrupt):
        seeds = range(config.seed, config.seed + args.seeds)
        runs.extend(one_run(dataclasses.replace(config, seed=seed), args) for seed in seeds)
    return {
        "env_id": config.env_id,
        **{
            kind: statistics.fmean(run[kind]["mean_return"] for run in runs) if runs else None
            for kind in ("sampled", "greedy")
        },
        "median_training_seconds": statistics.median(run["training_seconds"] for run in runs) if runs else None,
        "runs": runs,
        "config": config.to_json(),
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args, config = parse_with_training(Arguments, "python -m bench.scores")
    check_positive(args, "seeds", "episodes", "curve_every")
    result = measure(config, args)
    if args.json:
        print(json_module.dumps(result))
    elif result["runs"]:
        print(f"{result['env_id']}: {result['sampled']:.1f} sampled, {result['greedy']:.1f} greedy")


if __name__ == "__main__":
    main()
