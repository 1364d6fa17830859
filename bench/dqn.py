"""`python -m bench.dqn`: A3C beside DQN, the comparison that Mnih et al. 2016 begin with. Needs the extra `bench`.

Stable-Baselines3's DQN with the settings of its zoo for Atari, and a3c_fast with its defaults, each in a process of its
own for the same wall time on the same machine, or for 10 million steps where they take less: return, steps and peak
memory. Both play 30 whole episodes in our evaluation pool at the end, DQN greedily, A3C sampled.
"""

from __future__ import annotations

import json as json_module
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from a3c_fast.cli import parse
from a3c_fast.config import Config
from a3c_fast.errors import ConfigError
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine

_SECONDS_BETWEEN_POINTS = 5.0


@dataclass(frozen=True)
class Arguments:
    """Trains DQN and A3C for the same wall time."""

    game: str = "Pong"
    """Atari game."""
    minutes: float = 10.0
    """Training time of each."""
    episodes: int = 30
    """Episodes of the evaluation at the end."""
    agent: Literal["both", "dqn", "a3c"] = "both"
    """Run one of them, in this process, and print its JSON."""
    plot: Path | None = None
    """Draw return against wall time and steps into this PNG."""
    json: bool = False
    """Print one JSON object."""


class _QNetwork(torch.nn.Module):
    """A DQN as `evaluate` plays it: the greatest value is the greatest logit."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def initial_state(self, num_envs: int) -> torch.Tensor:
        """Nothing is remembered."""
        return torch.zeros(num_envs, 0)

    def step(self, observations: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Values of the actions."""
        values = self.network(observations)
        return values, values.max(1).values, state


def dqn(args: Arguments) -> dict[str, Any]:
    """Trains Stable-Baselines3's DQN."""
    import ale_py
    import gymnasium
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    from a3c_fast.evaluate import evaluate

    class Watch(BaseCallback):  # type: ignore[misc, unused-ignore]  # Any where Stable-Baselines3 is not installed
        """Ends after the time, and keeps the curve."""

        def __init__(self) -> None:
            super().__init__()
            self.begin = self.next_point = time.perf_counter()
            self.curve: list[dict[str, Any]] = []

        def _on_step(self) -> bool:
            now = time.perf_counter()
            if now >= self.next_point and self.model.ep_info_buffer:
                self.next_point = now + _SECONDS_BETWEEN_POINTS
                returns = [episode["r"] for episode in self.model.ep_info_buffer]
                point = {"step": self.num_timesteps, "seconds": now - self.begin}
                self.curve.append({**point, "mean_return_100": sum(returns) / len(returns)})
            return now - self.begin < 60 * args.minutes

    gymnasium.register_envs(ale_py)
    # Returns of whole games with raw rewards; lives and the signs of rewards for the agent.
    env_kwargs = {"frameskip": 1, "repeat_action_probability": 0.0}
    env = VecFrameStack(make_atari_env(f"ALE/{args.game}-v5", n_envs=1, seed=1, env_kwargs=env_kwargs), 4)
    model = DQN(
        "CnnPolicy",
        env,
        learning_rate=1e-4,
        buffer_size=100_000,
        learning_starts=100_000,
        batch_size=32,
        train_freq=4,
        gradient_steps=1,
        target_update_interval=1_000,
        exploration_fraction=0.1,
        exploration_final_eps=0.01,
        seed=1,
        device="cpu",
    )
    watch = Watch()
    model.learn(10_000_000, callback=watch)
    seconds = time.perf_counter() - watch.begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    policy = _QNetwork(model.policy.q_net).eval()
    result = evaluate(policy, Config(env_id=f"{args.game}-v5"), episodes=args.episodes, greedy=True)  # type: ignore[arg-type]
    return _result(model.num_timesteps, seconds, peak, result, watch.curve)


def a3c(args: Arguments) -> dict[str, Any]:
    """Trains a3c_fast."""
    from a3c_fast.evaluate import evaluate
    from a3c_fast.trainer import Trainer
    from bench.time_to_score import train_and_watch

    config = Config(env_id=f"{args.game}-v5", max_minutes=args.minutes)
    with Trainer(config) as trainer:
        curve = train_and_watch(trainer, config.total_steps, _SECONDS_BETWEEN_POINTS)
        stats = trainer.stats()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = evaluate(trainer.policy(), config, episodes=args.episodes)
        resolved = trainer.config.to_json()
    return {**_result(stats["step"], stats["wall_seconds"], peak, result, curve), "config": resolved}


def _result(steps: int, seconds: float, peak_kib: int, score: dict[str, Any], curve: list[Any]) -> dict[str, Any]:
    return {
        "steps": steps,
        "wall_seconds": seconds,
        "peak_memory_mib": round(peak_kib / 1024),
        "final_return": score["mean_return"],
        "std_return": score["std_return"],
        "protocol": score["protocol"],
        "curve": curve,
    }


def measure(args: Arguments) -> dict[str, Any]:
    """Both, one after the other."""
    facts = machine()
    agents: dict[str, Any] = {}
    for agent in ("dqn", "a3c"):
        command = [sys.executable, "-m", "bench.dqn", "--agent", agent, "--game", args.game, "--json"]
        command += ["--minutes", str(args.minutes), "--episodes", str(args.episodes)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:  # it has said why
            raise SystemExit(done.returncode)
        agents[agent] = json_module.loads(done.stdout)
    return {"game": args.game, "minutes": args.minutes, "agents": agents, "machine": facts}


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.dqn")
    check_positive(args, "minutes", "episodes")
    if args.agent != "both":
        if args.plot is not None:
            raise ConfigError("plot", str(args.plot), "it shows both agents, so agent must be both")
        print(json_module.dumps({"dqn": dqn, "a3c": a3c}[args.agent](args)))
        return
    result = measure(args)
    if args.plot is not None:
        from bench.plots import learning_curves

        curves = {name: [agent["curve"]] for name, agent in result["agents"].items()}
        learning_curves(curves, args.plot, f"{args.game}, {args.minutes:g} minutes of each")
    if args.json:
        print(json_module.dumps(result))
        return
    for name, agent in result["agents"].items():
        print(
            f"{name}: mean return {agent['final_return']:.1f} after {agent['steps']:,} steps in "
            f"{agent['wall_seconds'] / 60:.1f} minutes, at most {agent['peak_memory_mib']:,} MiB"
        )


if __name__ == "__main__":
    main()
