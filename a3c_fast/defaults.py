"""The default of every setting that depends on the environment, on `update_epochs` or on a preset.

From the weakest on: those of the kind of problem, of the number of epochs, of the family, of the preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal, get_args

from a3c_fast.config_files import parsed
from a3c_fast.envs.families import Family, Problem

PresetName = Literal["default", "paper", "paper-lstm"]

# What other environments than games of Atari do not have, at the one value that means so.
NO_EMULATOR: Mapping[str, Any] = {
    "frame_skip": 1,
    "stack_num": 1,
    "noop_max": 0,
    "episodic_life": False,
    "reward_clip": False,
}

_NOT_NORMALIZED: Mapping[str, Any] = {"normalize_observations": False, "normalize_rewards": False}
_NORMALIZED: Mapping[str, Any] = {"normalize_observations": True, "normalize_rewards": True}

# The same everywhere, where no preset says otherwise.
_EVERYWHERE: Mapping[str, Any] = {
    "hidden_sizes": (64, 64),
    "initial_log_std": -0.5,
    "lstm_size": 0,
    "entropy_final_fraction": 0.2,
    "rmsprop_alpha": 0.99,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
}

# By the kind of problem: a game of Atari, other images, actions that are continuous, and what is left. The first game
# and the small tasks of classic control are learned as they are; where nothing is known of the scale of observations
# and rewards, they are normalized.
PROBLEM_DEFAULTS: dict[Problem, Mapping[str, Any]] = {
    "atari": {
        **_EVERYWHERE,
        "total_steps": 10_000_000,
        "num_workers": 0,
        "envs_per_worker": 16,
        "envs_per_update": 2,
        "t_max": 20,
        "update_epochs": 2,
        "clip_coef": 0.1,
        "normalize_advantages": False,
        "model": "paper",
        "activation": "tanh",
        "separate_value": False,
        **_NOT_NORMALIZED,
        "optimizer": "adam",
        "learning_rate": 3e-4,
        "learning_rate_decay_power": 1.0,
        "learning_rate_warmup": 20_000,
        "gamma": 0.99,
        "gae_lambda": 1.0,
        "entropy_coef": 0.01,
        "entropy_decay_steps": 2_000_000,
        "value_coef": 0.25,
        "max_grad_norm": 2.5,
        "optimizer_eps": 1e-5,
        "observation_offset": "auto",
        "observation_scale": "auto",
        "frame_skip": 4,
        "stack_num": 4,
        "noop_max": 30,
        "episodic_life": True,
        "reward_clip": True,
    },
    "discrete": {
        **_EVERYWHERE,
        "total_steps": 1_000_000,
        "num_workers": 0,
        "envs_per_worker": 8,
        "update_epochs": 4,
        "clip_coef": 0.1,
        "model": "mlp",
        "activation": "tanh",
        "separate_value": False,
        **_NORMALIZED,
        "optimizer": "adam",
        "learning_rate_decay_power": 1.0,
        "learning_rate_warmup": 0,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "entropy_decay_steps": 0,
        "max_grad_norm": 10.0,
        "optimizer_eps": 1e-5,
        "observation_offset": 0.0,
        "observation_scale": 1.0,
        **NO_EMULATOR,
    },
}
PROBLEM_DEFAULTS["image"] = {
    **PROBLEM_DEFAULTS["atari"],
    "gae_lambda": 0.95,
    "normalize_rewards": True,
    **NO_EMULATOR,
}
PROBLEM_DEFAULTS["continuous"] = {
    **PROBLEM_DEFAULTS["discrete"],
    "envs_per_worker": 64,
    "update_epochs": 10,
    "clip_coef": 0.2,
    "separate_value": True,
    "max_grad_norm": 0.5,
    "entropy_coef": 0.0,
}

# What is known better of a family's problems of a kind.
# Where an environment takes tens of megabytes and tenths of a second to make, there are fewer of them, with longer
# rollouts.
_FEWER: Mapping[str, Any] = {"envs_per_worker": 16, "t_max": 64, "envs_per_update": 1}
_FEW: Mapping[str, Any] = {"envs_per_worker": 4, "t_max": 64, "envs_per_update": 1}
FAMILY_DEFAULTS: Mapping[tuple[Problem, Family], Mapping[str, Any]] = {
    ("continuous", "box2d"): {"t_max": 128, "envs_per_update": 1},
    ("continuous", "classic_control"): {
        "envs_per_worker": 8,
        "t_max": 64,
        "envs_per_update": 1,
        "update_epochs": 20,
        "clip_coef": 0.1,
        "activation": "relu",
        "learning_rate": 5e-4,
        "gamma": 0.95,
        "value_coef": 0.5,
    },
    ("continuous", "mujoco.dmc"): _FEWER,
    ("continuous", "mujoco.metaworld"): _FEWER,
    ("continuous", "mujoco.myosuite"): _FEW,
    ("continuous", "mujoco.playground"): _FEW,
    # Chosen on FetchReach, whose goal is seldom reached at first: while nothing happens, normalized advantages are
    # noise of deviation 1.
    ("continuous", "mujoco.robotics"): {
        **_FEWER,
        "normalize_advantages": False,
        "learning_rate": 1e-3,
        "gamma": 0.95,
    },
    ("image", "gfootball"): {"envs_per_worker": 8},
    ("image", "vizdoom"): {"envs_per_worker": 8},
    ("discrete", "box2d"): {"t_max": 128, "envs_per_update": 1},
    ("discrete", "classic_control"): _NOT_NORMALIZED,
    ("discrete", "toy_text"): _NOT_NORMALIZED,
}

# Those that depend on the epochs too: first where a rollout is learned from once, which is A3C, then
# where it is learned from again. docs/tuning.md has the runs.
EPOCH_DEFAULTS: dict[Problem, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "discrete": (
        {
            "envs_per_update": 8,
            "t_max": 32,
            "normalize_advantages": False,
            "learning_rate": 2e-3,
            "entropy_coef": 0.01,
            "value_coef": 0.05,
        },
        {
            "envs_per_update": 2,
            "t_max": 64,
            "normalize_advantages": True,
            "learning_rate": 1e-3,
            "entropy_coef": 0.02,
            "value_coef": 0.02,
        },
    ),
    "continuous": (
        {
            "envs_per_update": 8,
            "t_max": 32,
            "normalize_advantages": False,
            "learning_rate": 7e-4,
            "value_coef": 0.5,
        },
        {
            "envs_per_update": 2,
            "t_max": 32,
            "normalize_advantages": True,
            "learning_rate": 3e-4,
            "value_coef": 0.25,
        },
    ),
}
# The scripted environments of the tests.
PROBLEM_DEFAULTS["fake"] = {
    **PROBLEM_DEFAULTS["discrete"],
    **EPOCH_DEFAULTS["discrete"][0],
    **_NOT_NORMALIZED,
    "update_epochs": 1,
}


def _preset(name: str) -> dict[str, Any]:
    return parsed((resources.files("a3c_fast") / "presets" / f"{name}.toml").read_text("utf-8"), "toml", name)


# What a preset says instead of the defaults of the family: presets/NAME.toml, some of those here.
PRESETS: Mapping[PresetName, Mapping[str, Any]] = {
    name: {} if name == "default" else _preset(name) for name in get_args(PresetName)
}


def defaults_of(problem: Problem, family: Family, preset: PresetName, update_epochs: Any) -> dict[str, Any]:
    """The defaults for an environment, a preset and a number of epochs, None for the default number."""
    of_problem, of_preset = PROBLEM_DEFAULTS[problem], PRESETS[preset]
    if update_epochs is None:
        update_epochs = {**of_problem, **of_preset}["update_epochs"]
    once, again = EPOCH_DEFAULTS.get(problem, ({}, {}))
    return {
        **of_problem,
        **(once if update_epochs == 1 else again),
        **FAMILY_DEFAULTS.get((problem, family), {}),
        **of_preset,
    }
