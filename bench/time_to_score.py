"""`python -m bench.time_to_score`: how long until the agent is good.

Trains until the mean return of whole episodes in an evaluation pool of its own (no-op starts, raw rewards, sampled
actions) reaches `--target`. Training stands still meanwhile, and the clock does not. The training episodes say when an
evaluation is worth its time, and nothing else. Every other flag is one of `a3c-fast train`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_module
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a3c_fast.config import Config
from a3c_fast.machine import cores
from bench.command import check_positive, errors_in_one_sentence, parse_with_training
from bench.machine import machine

if TYPE_CHECKING:
    from a3c_fast.trainer import Trainer


@dataclass(frozen=True)
class Arguments:
    """Measures the time until an evaluation reaches a score; also takes the flags of `a3c-fast train`."""

    target: float = 18.0
    """Mean return that the evaluation must reach."""
    seeds: int = 1
    """Runs, with the seeds `seed`, `seed` + 1 ..."""
    eval_every: int = 50_000
    """Fewest agent steps between two evaluations."""
    eval_margin: float = 1.0
    """Evaluate once the mean of the last 20 training episodes is so near to the target."""
    episodes: int = 30
    """Episodes of an evaluation."""
    most_minutes: float = 30.0
    """Give a run up after so long, with a last look."""
    plot: Path | None = None
    """Draw return against wall time and steps into this PNG."""
    json: bool = False
    """Print one JSON object."""


def one_run(config: Config, args: Arguments) -> dict[str, Any]:
    """Trains with one seed until the target or the limit.

    `wall_seconds` is all of it from when the environments and the network are made, evaluations included.
    """
    from a3c_fast.evaluate import evaluate
    from a3c_fast.trainer import Trainer

    evaluations: list[dict[str, Any]] = []
    curve: list[dict[str, Any]] = []
    with Trainer(config) as trainer:
        begin = time.perf_counter()

        def passed() -> float:
            return time.perf_counter() - begin

        def over() -> bool:
            return trainer.stats()["step"] >= config.total_steps or passed() >= 60 * args.most_minutes

        def worth_a_look(stats: dict[str, Any]) -> bool:
            looked = evaluations[-1]["step"] if evaluations else 0
            mean = stats["mean_return_20"]
            near = mean is not None and mean >= args.target - args.eval_margin
            return (near and stats["step"] >= looked + args.eval_every) or over()

        reached = False
        while not (reached or (evaluations and over())):
            before = passed()
            part = train_and_watch(trainer, config.total_steps, 5.0, worth_a_look)
            curve += [{**point, "seconds": round(before + point["seconds"], 2)} for point in part]
            score = evaluate(trainer.policy(), config, episodes=args.episodes, num_threads=cores())["mean_return"]
            evaluations.append({"step": trainer.stats()["step"], "seconds": passed(), "mean_return": score})
            print(f"seed {config.seed}: {evaluations[-1]}", file=sys.stderr, flush=True)
            reached = score >= args.target
        stats = trainer.stats()
        return {
            "seed": config.seed,
            "reached": reached,
            "wall_seconds": evaluations[-1]["seconds"],
            "training_seconds": stats["wall_seconds"],
            "steps": stats["step"],
            "frames": stats["frames"],
            "final_return": evaluations[-1]["mean_return"],
            "evaluations": evaluations,
            "curve": curve,
        }


def train_and_watch(
    trainer: Trainer, until: int, interval: float, enough: Callable[[dict[str, Any]], bool] = lambda _: False
) -> list[dict[str, Any]]:
    """Trains until a step, or until the statistics are `enough`, and returns the mean returns of training on the way,
    every `interval` seconds."""
    curve: list[dict[str, Any]] = []
    begin = time.perf_counter()
    trainer.start(until=until)
    done = False
    while not done:
        done = trainer.wait(interval)
        stats = trainer.stats()
        if stats["mean_return_100"] is not None:
            seconds = round(time.perf_counter() - begin, 2)
            means = {name: stats[name] for name in ("mean_return_100", "mean_return_20")}
            curve.append({"step": stats["step"], "seconds": seconds, **means})
        done = done or enough(stats)
    trainer.stop()
    return curve


def measure(config: Config, args: Arguments) -> dict[str, Any]:
    """All runs, and the medians of those that reached the target. SIGINT gives up the run under way and those after."""
    facts = machine()
    runs: list[dict[str, Any]] = []
    with contextlib.suppress(KeyboardInterrupt):
        seeds = range(config.seed, config.seed + args.seeds)
        runs.extend(one_run(dataclasses.replace(config, seed=seed), args) for seed in seeds)
    reached = [run for run in runs if run["reached"]]
    return {
        "env_id": config.env_id,
        "target": args.target,
        "num_seeds": args.seeds,
        "num_reached": len(reached),
        "runs": runs,
        "median_minutes": statistics.median(run["wall_seconds"] for run in reached) / 60 if reached else None,
        "median_steps": statistics.median(run["steps"] for run in reached) if reached else None,
        "config": config.to_json(),
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args, config = parse_with_training(Arguments, "python -m bench.time_to_score")
    check_positive(args, "seeds", "eval_every", "episodes", "most_minutes")
    result = measure(config, args)
    if args.plot is not None:
        from bench.plots import learning_curves

        runs = {f"seed {run['seed']}": run for run in result["runs"]}
        curves = {name: [run["curve"]] for name, run in runs.items()}
        dots = {name: [run["evaluations"]] for name, run in runs.items()}
        learning_curves(curves, args.plot, config.env_id, window=20, dots=dots)
    if args.json:
        print(json_module.dumps(result))
        return
    for run in result["runs"]:
        outcome = "reached" if run["reached"] else "not reached"
        print(
            f"seed {run['seed']}: {outcome} in {run['wall_seconds'] / 60:.1f} minutes, {run['steps']:,} steps "
            f"({run['frames']:,} frames), mean return {run['final_return']:.2f}"
        )
    if result["median_minutes"] is not None:
        print(f"median {result['median_minutes']:.1f} minutes, {result['median_steps']:,.0f} steps")


if __name__ == "__main__":
    main()
