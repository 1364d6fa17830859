"""EnvPool's families of environments: what each is called, what it needs, and what is told of its arrays.

The names are those of EnvPool's modules: atari, mujoco.gym, minigrid and so on; `fake` are scripted ones of our own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from a3c_fast.envs import scripted
from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec, Part, placed
from a3c_fast.errors import ConfigError
from a3c_fast.imports import import_envpool
from a3c_fast.suggestions import environments_like

Family = str
Problem = Literal["atari", "image", "continuous", "discrete", "fake"]

# What is said to EnvPool beside the settings. vizdoom: its buttons as one choice of those that make sense together.
_OPTIONS: Mapping[Family, Mapping[str, Any]] = {"vizdoom": {"use_combined_action": True}}

# Environments that EnvPool 1.2 lists and cannot make, or whose making kills the process, with the reason.
_BROKEN: Mapping[str, str] = {
    **dict.fromkeys(
        ("Sudoku-v0", "Jumanji/Sudoku-v0", "Sudoku-very-easy-v0", "Jumanji/Sudoku-very-easy-v0"),
        "its puzzles are not part of EnvPool's package",
    ),
    **dict.fromkeys(("Cig-v1", "MultiDuel-v1"), "it is made for several players over a network, and kills the process"),
    "VizdoomCustom-v1": "its scenario is a file that must be given",
}

_MOST_VALUES = 1024  # that a part is made one-hot for
_MOST_NUMBERS = 2**16
_MOST_PIXELS = 2**22
_UNBOUNDED = 1e9  # bounds from here on are none: some are 1e10, some the largest number that there is
_SMALLEST_BOUND = 1e-30  # and some lower ones the smallest positive number that there is


def family_of(env_id: str) -> Family:
    """The family of an environment. Raises `ConfigError` for one that does not exist or cannot be trained on."""
    if not isinstance(env_id, str):
        raise ConfigError("env_id", env_id, "it must be the name of an EnvPool environment")
    return _family_of(env_id)


@functools.lru_cache(maxsize=4096)
def _family_of(env_id: str) -> Family:
    if env_id in scripted.SPECS:
        return "fake"
    registry = import_envpool().registration.registry
    entry = registry.specs.get(env_id)
    if entry is None:
        close = environments_like(env_id, list(registry.specs))
        hint = f"did you mean {' or '.join(close)}?" if close else "a3c_fast.list_envs() names those that there are"
        raise ConfigError("env_id", env_id, f"EnvPool has no such environment; {hint}")
    if env_id in _BROKEN:
        raise ConfigError("env_id", env_id, f"this environment is not supported: {_BROKEN[env_id]}")
    return str(entry[0]).removeprefix("envpool.")


def options_of(family: Family) -> Mapping[str, Any]:
    """What EnvPool is told of every environment of a family."""
    return _OPTIONS.get(family, {})


def problem_of(env_id: str) -> Problem:
    """What kind of problem an environment is, which decides the defaults. Raises as `spec_of`."""
    family = family_of(env_id)
    if family == "fake":
        return "fake"
    if family == "atari":
        return "atari"
    spec = spec_of(env_id)
    if spec.observation.array_shape:
        return "image"
    return "continuous" if spec.action.is_continuous else "discrete"


@functools.lru_cache(maxsize=4096)
def spec_of(env_id: str, stack_num: int | None = None) -> EnvSpec:
    """What an environment shows and takes; `stack_num` of an Atari game.

    Raises `ConfigError` for one that does not exist or cannot be trained on.
    """
    family = family_of(env_id)
    if family == "fake":
        return scripted.SPECS[env_id]
    options = dict(options_of(family))
    if stack_num is not None:
        options["stack_num"] = stack_num
    try:
        spec = import_envpool().make_spec(env_id, **options)
    except ImportError as error:
        raise ConfigError("env_id", env_id, _what_is_missing(family, error)) from error
    except RuntimeError as error:
        raise ConfigError("env_id", env_id, f"EnvPool cannot make it: {str(error).splitlines()[0]}") from error
    players = int(spec.config.max_num_players)
    if players != 1:
        raise ConfigError("env_id", env_id, f"it has {players} players, and environments of one player are supported")
    # The arrays themselves and not gymnasium's spaces, which warn of their bounds when they are made.
    arrays = {key: array for key, array in spec.action_array_spec.items() if key not in ("env_id", "players.env_id")}
    if list(arrays) != ["action"]:
        raise ConfigError("env_id", env_id, f"its actions, {', '.join(arrays)}, are not supported: one array is")
    observations = {key: array for key, array in spec.state_array_spec.items() if key.split(":")[0] == "obs"}
    is_choice = "use_combined_action" in options or np.issubdtype(arrays["action"].dtype, np.integer)
    return EnvSpec(_observation(env_id, observations), _action(env_id, arrays["action"], is_choice=is_choice))


def max_episode_steps(env_id: str) -> int:
    """After how many steps EnvPool ends an episode; 0 or 2^31 - 1 where it does not say."""
    return int(import_envpool().make_spec(env_id, **options_of(family_of(env_id))).config.max_episode_steps)


def _what_is_missing(family: Family, error: ImportError) -> str:
    if family == "procgen":
        return "Procgen needs the system's Qt 5, on Debian and Ubuntu: apt-get install libqt5gui5"
    return f"EnvPool's {family} cannot be loaded: {str(error).splitlines()[0]}"


def _shape(array: Any) -> tuple[int, ...]:
    """Without the dimension of players, which EnvPool writes as -1."""
    return tuple(int(extent) for extent in array.shape if extent != -1)


def _observation(env_id: str, arrays: Mapping[str, Any]) -> ObservationSpec:
    parts: list[Part] = []
    for key, array in arrays.items():
        name = key.removeprefix("obs").removeprefix(":")
        has_image = any(part.is_array for part in parts)
        parts.append(_part(name, array, may_be_image=not has_image))
    spec = placed(parts)
    pixels = math.prod(spec.array_shape) if spec.array_shape else 0
    if pixels > _MOST_PIXELS:
        image = next(part for part in parts if part.is_array)
        raise ConfigError(
            "env_id",
            env_id,
            f"its images are too large: {pixels:,} bytes in {image}, and {_MOST_PIXELS:,} are supported",
        )
    if spec.num_features > _MOST_NUMBERS:
        largest = max(parts, key=lambda part: part.num_features)
        raise ConfigError(
            "env_id",
            env_id,
            f"its observations are too large: {spec.num_features:,} numbers, most of them in {largest}, and "
            f"{_MOST_NUMBERS:,} are supported",
        )
    return spec


def _part(name: str, array: Any, *, may_be_image: bool) -> Part:
    dtype, shape = np.dtype(array.dtype), _shape(array)
    low, high = float(np.min(array.minimum)), float(np.max(array.maximum))
    if may_be_image and dtype == np.uint8 and len(shape) == 3:
        # Of the two that may be the channels, the shorter one is.
        return Part(name, "uint8", shape, "channels_last" if shape[-1] < shape[0] else "array")
    if dtype.kind not in "iub":
        return Part(name, dtype.name, shape, "numbers")
    values = int(high) - int(low) + 1
    if not shape and dtype.kind != "b" and 2 < values <= _MOST_VALUES:
        return Part(name, dtype.name, shape, "one_hot", first=int(low), values=values)
    # Whole numbers between bounds are brought near to 1: a texture's bytes, a step count, a card.
    largest = max(abs(low), abs(high))
    return Part(name, dtype.name, shape, "numbers", scale=1 / largest if 1 < largest < 2**30 else 1.0)


def _action(env_id: str, array: Any, *, is_choice: bool) -> ActionSpec:
    """`is_choice`: its numbers are whole, whatever their type."""
    shape = _shape(array)
    low, high = (np.broadcast_to(np.asarray(bound), shape).ravel() for bound in (array.minimum, array.maximum))
    if is_choice:
        first = int(low.min())
        if (low != first).any() or (high < low).any():
            raise ConfigError("env_id", env_id, "its choices begin with different numbers, which is not supported")
        return ActionSpec(choices=tuple(int(n) - first + 1 for n in high), first=first)
    return ActionSpec(
        low=tuple(-math.inf if x <= -_UNBOUNDED or 0 < x < _SMALLEST_BOUND else float(x) for x in low),
        high=tuple(math.inf if x >= _UNBOUNDED else float(x) for x in high),
    )
