"""`python -m bench.control`: training steps a second on continuous control, beside Stable-Baselines3.

Needs the extra `bench`. Its A2C and PPO with their own default settings and an `mlp` of two layers of 64, over a pool
of EnvPool with as many threads as there are cores, in alternating rounds with a3c_fast by its defaults and with
`--update-epochs 1`.
"""

from __future__ import annotations

import json as json_module
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from a3c_fast.cli import parse
from a3c_fast.machine import cores
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import Steps, alternate
from bench.throughput import training_steps

_ENVS = 16


@dataclass(frozen=True)
class Arguments:
    """Measures training steps a second of a3c_fast and of Stable-Baselines3, in alternating rounds."""

    env_id: str = "HalfCheetah-v4"
    """An environment of EnvPool with one array of numbers and continuous actions."""
    rounds: int = 5
    """Rounds of each."""
    seconds: float = 8.0
    """Length of a round, about."""
    json: bool = False
    """Print one JSON object."""


def stable_baselines(env_id: str, algorithm: str) -> Steps:
    """Steps of one of its algorithms."""
    import stable_baselines3
    from stable_baselines3.common.vec_env import VecMonitor

    class_ = getattr(stable_baselines3, algorithm)
    model = class_("MlpPolicy", VecMonitor(_pool(env_id)), seed=1, device="cpu")
    model.learn(_ENVS * model.n_steps)

    def make(steps: int) -> int:
        before: int = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return int(model.num_timesteps) - before

    return make


def _pool(env_id: str) -> Any:
    """A pool of EnvPool as Stable-Baselines3 wants it: an environment that is done is reset within the same step."""
    from stable_baselines3.common.vec_env import VecEnv

    from a3c_fast.imports import import_envpool

    pool = import_envpool().make(
        env_id, "gymnasium", num_envs=_ENVS, num_threads=cores(), seed=list(range(1, _ENVS + 1))
    )

    class Pool(VecEnv):  # type: ignore[misc]  # where Stable-Baselines3 is not installed it is anything
        def __init__(self) -> None:
            super().__init__(_ENVS, pool.observation_space, pool.action_space)

        def reset(self) -> Any:
            return pool.reset()[0]

        def step_async(self, actions: Any) -> None:
            self.actions = actions

        def step_wait(self) -> Any:
            observations, rewards, terminated, truncated, _ = pool.step(self.actions.astype(pool.action_space.dtype))
            done = terminated | truncated
            infos: list[dict[str, Any]] = [{} for _ in range(_ENVS)]
            ended = np.nonzero(done)[0]
            for i in ended:
                infos[i] = {"terminal_observation": observations[i].copy(), "TimeLimit.truncated": bool(truncated[i])}
            if len(ended):
                observations[ended] = pool.reset(ended)[0]
            return observations, rewards, done, infos

        def close(self) -> None: ...

        def get_attr(self, attr_name: str, indices: Any = None) -> Any:
            return [None] * _ENVS

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
            return [None] * _ENVS

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> Any:
            return [False] * _ENVS

    return Pool()


def measure(args: Arguments) -> dict[str, Any]:
    """Steps a second of everybody, round by round, and our ratios to each of theirs."""
    from a3c_fast import Config
    from a3c_fast.trainer import Trainer

    facts = machine()
    kinds: dict[str, Steps] = {}
    configs: dict[str, Any] = {}
    with ExitStack() as stack:
        for name, settings in (("a3c_fast", {}), ("a3c_fast once", {"update_epochs": 1})):
            config = Config(env_id=args.env_id, total_steps=10**12, **settings)  # type: ignore[arg-type]
            trainer = stack.enter_context(Trainer(config))
            configs[name] = trainer.config.to_json()
            kinds[name] = training_steps(trainer)
        for algorithm in ("A2C", "PPO"):
            kinds[f"SB3 {algorithm}"] = stable_baselines(args.env_id, algorithm)
        figures = alternate(kinds, args.rounds, args.seconds)

    def ratio(ours: str, theirs: str) -> float:
        return statistics.median(a / b for a, b in zip(figures[ours], figures[theirs], strict=True))

    return {
        "env_id": args.env_id,
        "steps_per_second": {name: statistics.median(values) for name, values in figures.items()},
        "ratio": {"PPO": ratio("a3c_fast", "SB3 PPO"), "A2C": ratio("a3c_fast once", "SB3 A2C")},
        "rounds": figures,
        "configs": configs,
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.control")
    check_positive(args, "rounds", "seconds")
    result = measure(args)
    if args.json:
        print(json_module.dumps(result))
        return
    for name, figure in result["steps_per_second"].items():
        print(f"{name:>14}: {figure:>9,.0f} steps/s")
    print(f"{result['ratio']['PPO']:.1f}x PPO by the defaults, {result['ratio']['A2C']:.1f}x A2C with one epoch")


if __name__ == "__main__":
    main()
