"""`python -m bench.peers`: the same game in the same rounds by what people use today. Needs the extra `bench`.

- Stable-Baselines3 A2C, 16 environments, its own CnnPolicy (the layers of our `nature`), DummyVecEnv and SubprocVecEnv
- a textbook A3C in Python (bench/textbook_a3c.py), the paper's network, one process a core
- a3c_fast with both networks
"""

from __future__ import annotations

import json as json_module
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a3c_fast.cli import parse
from a3c_fast.machine import cores
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import Steps, alternate
from bench.throughput import Arguments as ThroughputArguments
from bench.throughput import configure, training_steps

_ENVS = 16


@dataclass(frozen=True)
class Arguments:
    """Measures training steps a second of a3c_fast and of its peers, in alternating rounds."""

    game: str = "Pong"
    """Atari game."""
    rounds: int = 5
    """Rounds of each."""
    seconds: float = 8.0
    """Length of a round, about."""
    json: bool = False
    """Print one JSON object."""
    plot: Path | None = None
    """Draw the bars into this PNG."""


def stable_baselines(game: str, vec_env: str) -> tuple[Steps, Any]:
    """Steps of Stable-Baselines3's A2C with its default settings for Atari, and the vector environment to close."""
    from stable_baselines3 import A2C
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    from bench.textbook_a3c import make_atari

    class_ = {"dummy": DummyVecEnv, "subproc": SubprocVecEnv}[vec_env]
    makers = [_Maker(make_atari, game, seed) for seed in range(_ENVS)]
    envs = class_(makers, start_method="spawn") if vec_env == "subproc" else class_(makers)
    model = A2C("CnnPolicy", envs, n_steps=5, ent_coef=0.01, vf_coef=0.25, seed=1, device="cpu")
    model.learn(_ENVS * 5)

    def make(steps: int) -> int:
        before: int = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return int(model.num_timesteps) - before

    return make, envs


class _Maker:
    """A picklable thunk: SubprocVecEnv sends it to another process."""

    def __init__(self, make: Any, game: str, seed: int) -> None:
        self.make, self.game, self.seed = make, game, seed

    def __call__(self) -> Any:
        return self.make(self.game, self.seed)


def measure(args: Arguments) -> dict[str, Any]:
    """Steps a second of everybody, round by round, and our ratios to each."""
    from a3c_fast.trainer import Trainer
    from bench.textbook_a3c import TextbookA3C

    facts = machine()
    kinds: dict[str, Steps] = {}
    configs: dict[str, Any] = {}
    with ExitStack() as stack:
        for model in ("paper", "nature"):
            config = configure(ThroughputArguments(env_id=f"{args.game}-v5", model=model))
            trainer = stack.enter_context(Trainer(config))
            configs[f"a3c_fast {model}"] = trainer.config.to_json()
            kinds[f"a3c_fast {model}"] = training_steps(trainer)
        for vec_env in ("dummy", "subproc"):
            make, envs = stable_baselines(args.game, vec_env)
            stack.callback(envs.close)
            kinds[f"SB3 A2C {vec_env}"] = make
        textbook = TextbookA3C(args.game, cores())
        stack.callback(textbook.close)
        kinds["textbook A3C"] = textbook.make_steps
        figures = alternate(kinds, args.rounds, args.seconds)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    best_sb3 = max((name for name in medians if name.startswith("SB3")), key=medians.__getitem__)

    def ratio(ours: str, theirs: str) -> float:
        return statistics.median(a / b for a, b in zip(figures[ours], figures[theirs], strict=True))

    return {
        "steps_per_second": medians,
        "ratio_to_stable_baselines3": {
            "same_network": "nature",
            "peer": best_sb3,
            "ratio": ratio("a3c_fast nature", best_sb3),
        },
        "ratio_to_textbook_a3c": {"same_network": "paper", "ratio": ratio("a3c_fast paper", "textbook A3C")},
        "rounds": figures,
        "game": args.game,
        "configs": configs,
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.peers")
    check_positive(args, "rounds", "seconds")
    result = measure(args)
    if args.plot is not None:
        from bench.plots import bars

        bars(result["steps_per_second"], args.plot, f"{args.game}, training steps a second")
    if args.json:
        print(json_module.dumps(result))
        return
    for name, figure in result["steps_per_second"].items():
        print(f"{name:>18}: {figure:>8,.0f} steps/s")
    sb3, textbook = result["ratio_to_stable_baselines3"], result["ratio_to_textbook_a3c"]
    print(f"{sb3['ratio']:.2f}x {sb3['peer']} (nature), {textbook['ratio']:.2f}x the textbook A3C (paper)")


if __name__ == "__main__":
    main()
