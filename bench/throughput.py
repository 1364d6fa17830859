"""`python -m bench.throughput`: training steps a second beside what the emulator alone can do.

The ceiling is the same client, pools, threads and environments with random actions and no network. Both are timed in
alternating rounds in one process; the figures are medians over the rounds.
"""

from __future__ import annotations

import json as json_module
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from a3c_fast.cli import parse
from a3c_fast.config import Config, PrecisionName
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import Steps, alternate

if TYPE_CHECKING:
    from a3c_fast.trainer import Trainer


@dataclass(frozen=True)
class Settings:
    """What is measured: the defaults where nothing else is said, but each rollout learned from once."""

    env_id: str = "Pong-v5"
    """EnvPool's name of the environment."""
    model: Literal["paper", "nature", "mlp"] | None = None
    """Network; the environment's default without it."""
    network: str | None = None
    """One of your own instead, as module:name."""
    lstm_size: int = 0
    """Units of an LSTM behind the torso; 0 is the feed-forward agent."""
    precision: PrecisionName = "auto"
    """Arithmetic of the network."""
    num_workers: int = 0
    """Worker threads; 0 takes one a core."""
    envs_per_worker: int | None = None
    """Environments of a worker; the environment's default without it."""
    envs_per_update: int | None = None
    """Environments of an update; the default without it."""
    t_max: int | None = None
    """Steps of a rollout; the environment's default without it."""
    update_epochs: int = 1
    """Times that a rollout is learned from; 1 is A3C."""


@dataclass(frozen=True)
class Arguments(Settings):
    """Measures training throughput beside the ceiling of the environments alone."""

    rounds: int = 5
    """Rounds of each kind."""
    seconds: float = 8.0
    """Length of a round, about."""
    json: bool = False
    """Print one JSON object."""


def configure(args: Settings) -> Config:
    """The settings that are measured: the defaults where nothing else is said, and `update_epochs`."""
    given = {
        name: getattr(args, name)
        for name in ("model", "network", "envs_per_worker", "envs_per_update", "t_max")
        if getattr(args, name) is not None
    }
    return Config(
        env_id=args.env_id,
        num_workers=args.num_workers,
        lstm_size=args.lstm_size,
        precision=args.precision,
        update_epochs=args.update_epochs,
        total_steps=2**40,  # the learning rate stays what it is
        **given,
    )


def training_steps(trainer: Trainer) -> Steps:
    """Makes training steps with a trainer at rest, and leaves it at rest."""

    def make(steps: int) -> int:
        before: int = trainer.stats()["step"]
        trainer.start(until=before + steps)
        trainer.wait()
        trainer.stop()
        return int(trainer.stats()["step"]) - before

    return make


def ceiling_steps(config: Config, num_workers: int) -> Steps:
    """Makes random steps with pools of its own, like those of training in everything."""
    from a3c_fast import _core, envs

    per_worker = config.envs_per_worker
    seeds = envs.env_seeds(config.seed, 2**33, num_workers * per_worker)
    clients = [envs.make_client(config, seeds[i * per_worker : (i + 1) * per_worker]) for i in range(num_workers)]
    return lambda steps: _core.step_randomly(clients, steps, config.seed)


def measure(config: Config, rounds: int, seconds: float) -> dict[str, Any]:
    """Steps a second of the ceiling and of training, round by round, and the medians."""
    from a3c_fast.trainer import Trainer

    facts = machine()
    with Trainer(config) as trainer:
        kinds = {"ceiling": ceiling_steps(config, trainer.config.num_workers), "training": training_steps(trainer)}
        figures = alternate(kinds, rounds, seconds)
        resolved, isa = trainer.config.to_json(), trainer.isa
    ratios = [train / limit for train, limit in zip(figures["training"], figures["ceiling"], strict=True)]
    return {
        "ceiling_steps_per_second": statistics.median(figures["ceiling"]),
        "train_steps_per_second": statistics.median(figures["training"]),
        "ratio": statistics.median(ratios),
        "rounds": {**figures, "ratio": ratios},
        "isa": isa,
        "config": resolved,
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.throughput")
    check_positive(args, "rounds", "seconds")
    result = measure(configure(args), args.rounds, args.seconds)
    if args.json:
        print(json_module.dumps(result))
        return
    print(
        f"ceiling {result['ceiling_steps_per_second']:,.0f} steps/s, training "
        f"{result['train_steps_per_second']:,.0f} steps/s, ratio {result['ratio']:.3f} "
        f"(medians of {args.rounds} alternating rounds)"
    )


if __name__ == "__main__":
    main()
