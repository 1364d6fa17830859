"""Which environments there are, and which of them can be trained on."""

from __future__ import annotations

import fnmatch
import functools
from importlib import resources
from typing import Any

from a3c_fast.envs import scripted
from a3c_fast.envs.families import family_of, spec_of
from a3c_fast.errors import ConfigError
from a3c_fast.imports import import_envpool

# What a family needs beside EnvPool.
_NEEDS = {"procgen": "the system's Qt 5, which is libqt5gui5 on Debian and Ubuntu"}


def list_envs(pattern: str = "") -> list[dict[str, Any]]:
    """EnvPool's environments whose id or family matches `pattern`, in the order of their families and ids.

    `pattern` is a part of a name, as in "pong", or has wildcards, as in "MiniGrid-*" and "mujoco.gym"; capitals do not
    matter. Each is a dict of `id`, `family`, `observation` and `action` (what it shows and takes, in words), `needs`
    (beside EnvPool, empty for nothing), `trainable`, `why` not, empty where it is, and `tried`: whether a training, its
    resumption and an evaluation with the installed version of EnvPool are on record.
    """
    if not isinstance(pattern, str):
        raise ConfigError("pattern", pattern, "it must be a string")
    registry = import_envpool().registration.registry
    found = [(str(home).removeprefix("envpool."), env_id) for env_id, (home, *_) in registry.specs.items()]
    return [_entry(family, env_id) for family, env_id in sorted(found) if _matches(pattern, family, env_id)]


def scripted_envs() -> list[dict[str, Any]]:
    """The same of those that are for tests."""
    return [_entry("fake", env_id) for env_id in scripted.SPECS]


@functools.cache
def _tried() -> frozenset[str]:
    """What `python -m bench.census` has tried; nothing where that was another version of EnvPool than the installed."""
    version, *ids = (resources.files("a3c_fast.envs") / "tried.txt").read_text("utf-8").splitlines()
    return frozenset(ids if version == f"EnvPool {import_envpool().__version__}" else ())


def _matches(pattern: str, family: str, env_id: str) -> bool:
    pattern = pattern.lower()
    if any(character in pattern for character in "*?["):
        return any(fnmatch.fnmatchcase(name.lower(), pattern) for name in (family, env_id))
    return pattern in env_id.lower() or pattern == family.lower() or family.lower().startswith(f"{pattern}.")


def _entry(family: str, env_id: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": env_id, "family": family, "observation": "", "action": ""}
    entry.update(needs=_NEEDS.get(family, ""), trainable=True, why="", tried=env_id in _tried())
    try:
        family_of(env_id)
        spec = spec_of(env_id)
    except ConfigError as error:
        return {**entry, "trainable": False, "why": error.allowed}
    return {**entry, "observation": str(spec.observation), "action": str(spec.action)}
