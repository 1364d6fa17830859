"""What the numbers of a run are called where people look for them: by the names of Stable-Baselines3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

STEP = "time/total_timesteps"

# Of a line of metrics. What is not here is `train/` and its own name; what has none is told elsewhere.
_OF_METRICS: Mapping[str, str | None] = {
    "step": STEP,
    "frames": "time/frames",
    "wall_seconds": "time/time_elapsed",
    "steps_per_second": "time/fps",
    "episodes": "time/episodes",
    "mean_return_100": "rollout/ep_rew_mean",
    "mean_length_100": "rollout/ep_len_mean",
    "mean_return_20": "rollout/ep_rew_mean_20",
    "std_return_100": "rollout/ep_rew_std",
    "policy_loss": "train/policy_gradient_loss",
    "entropy_coef": "train/ent_coef",
    "updates": "train/n_updates",
    "hosts": "time/hosts",
    "evaluation_return": None,
}
# Of the score of an evaluation; what is not here is not told.
_OF_EVALUATION: Mapping[str, str] = {
    "mean_return": "eval/mean_reward",
    "std_return": "eval/std_reward",
    "min_return": "eval/min_reward",
    "max_return": "eval/max_reward",
    "mean_length": "eval/mean_ep_length",
    "human_normalized": "eval/human_normalized",
}
# What says how good a run was, for tables of runs.
SCORES = ("rollout/ep_rew_mean", "eval/mean_reward", "time/fps")


def of_metrics(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of `Trainer.stats()` that are there, by tag."""
    values = _numbers({_OF_METRICS.get(name, f"train/{name}"): value for name, value in line.items()})
    if (entropy := values.pop("train/entropy", None)) is not None:
        values["train/entropy_loss"] = -entropy  # a part of the loss: it falls where the entropy rises
    return values


def of_stages(seconds: Mapping[str, float]) -> dict[str, float]:
    """Shares of the workers' time, from 0 to 1, by tag; nothing where no time has passed."""
    total = sum(seconds.values())
    return {f"stages/{name}": value / total for name, value in seconds.items()} if total > 0 else {}


def of_episode(episode_return: float, length: int) -> dict[str, float]:
    """A single episode, by tag."""
    return _numbers({"rollout/ep_rew": episode_return, "rollout/ep_len": length})


def of_evaluation(score: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation's score, by tag."""
    return _numbers({tag: score.get(name) for name, tag in _OF_EVALUATION.items()})


def _numbers(values: Mapping[str | None, Any]) -> dict[str, float]:
    return {tag: float(value) for tag, value in values.items() if tag and value is not None and math.isfinite(value)}
