"""Settings as they are stored, in config.json and in checkpoints, by this version and by every one before it.

The one place that says what a setting meant that a stored configuration does not have, and what became of one that no
longer is. A stored configuration has the number of its format; those of the first format have none, and which fields
they have tells how old they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from a3c_fast.errors import ConfigError

if TYPE_CHECKING:
    from a3c_fast.config import Config

FORMAT = 2
_SEAL = "sha256"

# What a run did that was made before the setting was there. Every setting is either here or as old as the package. The
# order is that in which they came.
MEANT_BEFORE: Mapping[str, Any] = {
    "preset": "default",  # all that a preset says is stored, too
    "update_epochs": 1,
    "clip_coef": 0.2,  # of no effect with one epoch
    "normalize_advantages": False,
    "lstm_size": 0,
    "learning_rate_warmup": 0,
    "observation_offset": 0.0,
    "observation_scale": 1.0,
    "entropy_decay_steps": 0,
    "entropy_final_fraction": 0.2,  # of no effect where it does not decay
    "learning_rate_decay_power": 1.0,
    "activation": "tanh",
    "separate_value": False,
    "initial_log_std": -0.5,  # of no effect: there were no continuous actions
    "normalize_observations": False,
    "normalize_rewards": False,
    "network": None,
    "schedules": [],
    "evaluate_every": 0,
    "evaluate_episodes": 10,  # of no effect, as what follows: there were no evaluations
    "evaluate_greedy": False,
    "stop_at_evaluation": None,
    "evaluate_patience": 0,
    "track": [],
    "exchange_every_seconds": 0.0,  # of no effect, as what follows: there was one host
    "host_timeout_seconds": 10.0,
}

# What defines the network and the game: all that is needed to play.
PLAYING_FIELDS = (
    "env_id",
    "model",
    "network",
    "hidden_sizes",
    "activation",
    "separate_value",
    "lstm_size",
    "normalize_observations",
    "normalize_rewards",
    "observation_offset",
    "observation_scale",
    "precision",
    "frame_skip",
    "stack_num",
    "noop_max",
    "sticky_probability",
    "episodic_life",
    "reward_clip",
)


def portable(values: Mapping[str, Any]) -> dict[str, Any]:
    """`Config.to_json()` for a file: the directory may be moved, and whether a run goes on is said when it is begun."""
    return {**values, "run_dir": None, "resume": False}


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with a hash, so that a file which is read back tells whether it is as it was written."""
    return {**values, _SEAL: _hash(values)}


def is_changed(values: Mapping[str, Any]) -> bool:
    """Whether the hash of `sealed` is another, or is missing though it is not the first format, which had none."""
    return (_SEAL in values or values.get("format", 1) != 1) and values.get(_SEAL) != _hash(values)


def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings of any version by their present names and meanings; fields that nobody knows stay.

    Those of a newer version come back as they are.
    """
    number = _format_of(values)
    given = {name: value for name, value in values.items() if name != _SEAL}
    if number > FORMAT:
        return given
    new = {**MEANT_BEFORE, **given, "format": FORMAT}
    if number == 1:
        new = portable(new)  # they said where and how the run was begun
        if "learning_rate_decay" in new:  # true or false: linearly to 0, or not at all
            decays = new.pop("learning_rate_decay")
            if "learning_rate_decay_power" not in values:
                new["learning_rate_decay_power"] = 1.0 if decays else 0.0
        if new["preset"] == "reuse":  # the name of what later became the default
            new["preset"] = "default"
        if "entropy_decay_steps" not in values and new.get("precision") == "auto":  # bfloat16 came together with it
            new["precision"] = "fp32"
    return new


def settings(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The fields `names` of a stored configuration, which are all that this version has.

    Raises `ConfigError` for one that `values` do not have, and for one of theirs that is none of `names`.
    """
    new = upgrade(values)
    newer = _newer(new.pop("format"))
    for name in new:
        if name not in names:
            raise ConfigError(name, new[name], f"this version of a3c_fast has no such field{newer}")
    for name in names:
        if name not in new:
            raise ConfigError(name, None, f"stored settings must have every field that they had from the first{newer}")
    return new


def playing(values: Mapping[str, Any]) -> Config:
    """What a stored configuration says of the network and the game; all else is at its default.

    Raises `ConfigError` when it does not say all of that. What it says of training, which a newer version may say in
    another way, does not matter.
    """
    from a3c_fast.config import Config

    new = upgrade(values)
    for name in PLAYING_FIELDS:
        if name not in new:
            raise ConfigError(name, None, f"stored settings must say it{_newer(new['format'])}")
    # A network of the user's own is made of random numbers of the run's seed; what is played has seeds of its own.
    seed = {"seed": new["seed"]} if new["network"] is not None and "seed" in new else {}
    return Config.of_stored({name: new[name] for name in PLAYING_FIELDS} | seed)


@dataclass(frozen=True)
class NetworkSettings:
    """What makes the network of a run, by the names of `Config`, and nothing that EnvPool would have to be asked."""

    env_id: str
    model: str
    network: str | None
    hidden_sizes: tuple[int, ...]
    activation: str
    separate_value: bool
    lstm_size: int
    observation_offset: float
    observation_scale: float
    normalize_observations: bool
    seed: int


def network(values: Mapping[str, Any]) -> NetworkSettings:
    """What a stored configuration says of the network. Raises `ConfigError` when it does not say all of that."""
    new = upgrade(values)
    names = [field.name for field in fields(NetworkSettings)]
    for name in names:
        if name not in new:
            raise ConfigError(name, None, f"stored settings must say it{_newer(new['format'])}")
    return NetworkSettings(**{**{name: new[name] for name in names}, "hidden_sizes": tuple(new["hidden_sizes"])})


def _hash(values: Mapping[str, Any]) -> str:
    unsealed = {name: value for name, value in values.items() if name != _SEAL}
    canonical = json.dumps(unsealed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _format_of(values: Mapping[str, Any]) -> int:
    if not isinstance(values, Mapping):
        raise ConfigError("config", values, "it must be a JSON object")
    number = values.get("format", 1)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigError("format", number, f"stored settings have a format from 1 to {FORMAT}")
    return number


def _newer(number: int) -> str:
    return f": a newer one wrote these settings, in format {number}" if number > FORMAT else ""
