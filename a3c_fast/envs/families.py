"""EnvPool's families of environments: what each is called, what it needs, and what is told of its arrays.

The names are those of EnvPool's modules: atari, mujoco.gym, minigrid and so on; `gymnasium` are those of a user, and
`fake` scripted ones of our own.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from a3c_fast.envs import parts, processes, scripted
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


def family_of(env_id: str) -> Family:
    """The family of an environment. Raises `ConfigError` for one that does not exist or cannot be trained on."""
    if not isinstance(env_id, str):
        raise ConfigError("env_id", env_id, "it must be the name of an environment")
    if processes.is_named(env_id):
        return "gymnasium"
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
    if family == "gymnasium":
        return _spec_of_users(env_id)
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


def _spec_of_users(env_id: str) -> EnvSpec:
    try:
        return processes.spec_of(env_id)
    except ConfigError as error:
        name = env_id.partition(":")[2]
        if name not in import_envpool().registration.registry.specs:
            raise
        raise ConfigError("env_id", env_id, f"{error.allowed}; did you mean {name}, which is EnvPool's?") from error


def envs_at_once(env_id: str) -> int:
    """How many environments a user's VectorEnv has; 0 where environments are made one by one."""
    return processes.envs_at_once(env_id) if processes.is_named(env_id) else 0


def max_episode_steps(env_id: str) -> int:
    """After how many steps an environment ends its episodes; 0 or 2^31 - 1 where it does not say."""
    if processes.is_named(env_id):
        return processes.max_episode_steps(env_id)
    return int(import_envpool().make_spec(env_id, **options_of(family_of(env_id))).config.max_episode_steps)


def _what_is_missing(family: Family, error: ImportError) -> str:
    if family == "procgen":
        return "Procgen needs the system's Qt 5, on Debian and Ubuntu: apt-get install libqt5gui5"
    return f"EnvPool's {family} cannot be loaded: {str(error).splitlines()[0]}"


def _observation(env_id: str, arrays: Mapping[str, Any]) -> ObservationSpec:
    found: list[Part] = []
    for key, array in arrays.items():
        name = key.removeprefix("obs").removeprefix(":")
        has_image = any(part.is_array for part in found)
        found.append(parts.part(name, array, may_be_image=not has_image))
    spec = placed(found)
    parts.check_size(env_id, spec)
    return spec


def _action(env_id: str, array: Any, *, is_choice: bool) -> ActionSpec:
    """`is_choice`: its numbers are whole, whatever their type."""
    shape = parts.shape_of(array)
    low, high = (np.broadcast_to(np.asarray(bound), shape).ravel() for bound in (array.minimum, array.maximum))
    if is_choice:
        first = int(low.min())
        if (low != first).any() or (high < low).any():
            raise ConfigError("env_id", env_id, "its choices begin with different numbers, which is not supported")
        return ActionSpec(choices=tuple(int(n) - first + 1 for n in high), first=first)
    return ActionSpec(
        low=tuple(map(parts.low_of, low)),
        high=tuple(map(parts.high_of, high)),
    )
