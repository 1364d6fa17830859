"""Settings that have no effect beside others, such as the decay of an optimizer that is not used.

Refused is what belongs to something that is not there. `entropy_coef` 0, `t_max` 1 and `evaluate_every` 0 make others
idle, too, and refuse none: a sweep begins there. Nor is anything refused that says of itself that it is not there, as
`lstm_size` 0 beside a network of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from a3c_fast.envs.families import family_of, spec_of
from a3c_fast.schedules import REPLACED

if TYPE_CHECKING:
    from a3c_fast.config import Config


def why_without_effect(name: str, config: Config) -> str:
    """Why the setting has no effect among these, as the end of a sentence; empty where it has one."""
    for scheduled, replaced in REPLACED.items():
        if name in replaced and any(item.startswith(f"{scheduled}=") for item in config.schedules):
            return f"{scheduled} follows a schedule: leave one of them out"
    reason = _REASONS.get(name)
    return reason(config) if reason is not None else ""


def _beside_network(config: Config) -> str:
    if config.network is None:
        return ""
    return f"it is of the networks of a3c_fast, and {config.network} takes their place: leave one of them out"


def _of_mlp(config: Config) -> str:
    if config.network is None and config.model != "mlp":
        return f"it is of the mlp, and the model is {config.model}: leave it out"
    return _beside_network(config)


def _of_continuous_actions(config: Config) -> str:
    is_continuous = family_of(config.env_id) != "atari" and spec_of(config.env_id).action.is_continuous
    if not is_continuous:
        return f"it is of continuous actions, and those of {config.env_id} are discrete: leave it out"
    return _beside_network(config)


def _of_lstm(config: Config) -> str:
    return _beside_network(config) if config.lstm_size else ""


def _of_separate_value(config: Config) -> str:
    return _beside_network(config) if config.separate_value else ""


def _of_pixels(config: Config) -> str:
    if config.network is None or (config.observation_offset, config.observation_scale) == (0, 1):
        return ""
    from a3c_fast.network_factory import wants_measured  # which imports torch

    if wants_measured(config.network):
        return ""
    return f"{config.network} does not take it: leave it out, or give it a parameter of this name"


def _of_numbers(config: Config) -> str:
    if not config.normalize_observations:  # that nothing is done is true of images, too
        return ""
    if family_of(config.env_id) != "atari" and spec_of(config.env_id).observation.num_features > 0:
        return ""
    return f"it is of numbers that are observed, and {config.env_id} shows images alone: leave it out"


def _of_epochs(config: Config) -> str:
    return "it has no effect where update_epochs is 1: leave it out" if config.update_epochs == 1 else ""


def _of_scheduled(config: Config) -> str:
    if config.update_epochs == 1 and any(item.startswith("clip_coef=") for item in config.schedules):
        return "clip_coef has no effect where update_epochs is 1: leave it out"
    return ""


def _of_decay(config: Config) -> str:
    return "it has no effect where entropy_decay_steps is 0: leave it out" if config.entropy_decay_steps == 0 else ""


def _of_rmsprop(config: Config) -> str:
    return "" if config.optimizer == "rmsprop" else f"it is of rmsprop, and the optimizer is {config.optimizer}"


def _of_adam(config: Config) -> str:
    return "" if config.optimizer == "adam" else f"it is of adam, and the optimizer is {config.optimizer}"


_REASONS: Mapping[str, Callable[[Config], str]] = {
    "model": _beside_network,
    "hidden_sizes": _of_mlp,
    "activation": _of_mlp,
    "separate_value": _of_separate_value,
    "initial_log_std": _of_continuous_actions,
    "lstm_size": _of_lstm,
    "observation_offset": _of_pixels,
    "observation_scale": _of_pixels,
    "normalize_observations": _of_numbers,
    "clip_coef": _of_epochs,
    "schedules": _of_scheduled,
    "entropy_final_fraction": _of_decay,
    "rmsprop_alpha": _of_rmsprop,
    "adam_beta1": _of_adam,
    "adam_beta2": _of_adam,
}
