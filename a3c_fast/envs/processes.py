"""Environments of a user in child processes: what they are called, what they show and take, and one worker's of them.

An environment of a user is named `module:name`: a callable of a module that makes one environment, or an environment
that the module registers with gymnasium. A callable that is given to `Trainer` is named so too, and known here for as
long as the program lives.
"""

from __future__ import annotations

import contextlib
import functools
import math
import resource
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from a3c_fast.envs import parts
from a3c_fast.envs.env_process import EnvProcess
from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec, Part, placed
from a3c_fast.errors import ConfigError
from a3c_fast.machine import cores

if TYPE_CHECKING:
    from a3c_fast._core import EnvClient

DRAWN = "rgb_array"  # the render_mode of environments that draw themselves
_SPARE_DESCRIPTORS = 64  # for everything else that a run opens

_registered: dict[str, bytes] = {}  # pickled callables by their names; written under _lock
_lock = threading.Lock()


def is_named(env_id: str) -> bool:
    """Whether an environment is a user's by its name."""
    return ":" in env_id


def register(make: Callable[[], Any]) -> str:
    """Takes a callable that makes one environment; the name by which it is found again.

    Raises `ConfigError` for what cannot be called or cannot cross into a child process.
    """
    if not callable(make):
        raise ConfigError("env", make, "it must be a callable that makes one environment")
    import cloudpickle

    try:
        blob: bytes = cloudpickle.dumps(make)
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            "env", make, f"it cannot be sent to the process that makes its environments ({said})"
        ) from error
    unwrapped = make.func if isinstance(make, functools.partial) else make
    module = getattr(unwrapped, "__module__", None) or type(unwrapped).__module__
    name = getattr(unwrapped, "__qualname__", None) or type(unwrapped).__qualname__
    with _lock:
        for number in range(1, 1_000_000):
            env_id = f"{module}:{name}" if number == 1 else f"{module}:{name}#{number}"
            if _registered.setdefault(env_id, blob) == blob:
                return env_id
    raise AssertionError


def spec_of(env_id: str) -> EnvSpec:
    """What an environment shows and takes, as a child process that makes one says.

    Raises `ConfigError` for one that cannot be made or trained on.
    """
    return _facts(env_id, _registered.get(env_id, b"")).spec


def envs_at_once(env_id: str) -> int:
    """How many environments a VectorEnv has; 0 where they are made one by one."""
    return _facts(env_id, _registered.get(env_id, b"")).envs_at_once


def max_episode_steps(env_id: str) -> int:
    """After how many steps its registration ends an episode; 0 where it does not say."""
    return _facts(env_id, _registered.get(env_id, b"")).max_episode_steps


def frames_per_second(env_id: str) -> float:
    """Of a video that its `render()` draws; 0 where it has no render_mode `rgb_array`."""
    return _facts(env_id, _registered.get(env_id, b""), DRAWN).frames_per_second


def make_clients(
    env_id: str, spec: EnvSpec, seeds: Sequence[Sequence[int]], limit_seconds: float, render_mode: str = ""
) -> list[EnvClient]:
    """The environments of several workers, each in a process of its own, as the core steps them.

    As many processes begin at a time as the machine has use for: each is waited for with a limit.
    """
    _check_descriptors(len(seeds))
    blob = _registered.get(env_id, b"")
    processes: list[EnvProcess] = []
    try:
        for i, of_worker in enumerate(seeds):
            if i >= (at_once := 2 * cores()):
                processes[i - at_once].facts()
            processes.append(EnvProcess(env_id, blob, of_worker, render_mode))
        for process in processes:
            facts = process.facts()
            if EnvSpec(_observation(env_id, facts), _action(env_id, facts)) != spec:
                raise ConfigError("env_id", env_id, "its spaces change from one process to the next")
        return [process.client(spec, limit_seconds) for process in processes]
    except BaseException:
        for process in processes:
            process.close()
        raise


def _check_descriptors(num_processes: int) -> None:
    """Raises `ConfigError` where the program may not open as many files as the processes need."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = EnvProcess.DESCRIPTORS * num_processes
    with contextlib.suppress(OSError):  # no /proc: what cannot be opened will be told then
        opened = sum(1 for _ in Path("/proc/self/fd").iterdir())
        if opened + needed + _SPARE_DESCRIPTORS > most:
            raise ConfigError(
                "num_workers",
                num_processes,
                f"their processes need {needed:,} open files beside {opened:,} that there are, and the limit is "
                f"{most:,} (ulimit -n)",
            )


class _Facts(NamedTuple):
    spec: EnvSpec
    max_episode_steps: int  # 0: its registration does not say
    envs_at_once: int  # 0: they are made one by one
    frames_per_second: float  # 0: it draws none


@functools.lru_cache(maxsize=256)
def _facts(env_id: str, blob: bytes, render_mode: str = "") -> _Facts:
    """What a process that makes one says of an environment."""
    module, _, name = env_id.partition(":")
    if not blob and (module in ("", "__main__") or not name or "<" in name or "#" in name):
        raise ConfigError(
            "env_id",
            env_id,
            "it must be module:name; what a program makes of its own is given as Trainer(config, env=...)",
        )
    process = EnvProcess(env_id, blob, [], render_mode)
    try:
        facts = process.facts()
    finally:
        process.close()
    spec = EnvSpec(_observation(env_id, facts), _action(env_id, facts))
    return _Facts(spec, facts["max_episode_steps"], facts["num_envs"], facts["frames_per_second"])


def _observation(env_id: str, facts: Mapping[str, Any]) -> ObservationSpec:
    found: list[Part] = []
    for leaf in facts["observation"]:
        if leaf["kind"] != "Text":  # left out
            found.append(_part(leaf, may_be_image=not any(part.is_array for part in found)))
    if not found:
        raise ConfigError("env_id", env_id, "its observations are nothing but text, which is not supported")
    spec = placed(found)
    parts.check_size(env_id, spec)
    return spec


def _part(leaf: Mapping[str, Any], *, may_be_image: bool) -> Part:
    name, shape, dtype = leaf["name"], tuple(leaf["shape"]), leaf["dtype"]
    if leaf["kind"] == "MultiDiscrete" and len(set(leaf["first"])) == 1 and max(leaf["values"]) <= parts.MOST_VALUES:
        return Part(name, dtype, shape, "one_hot", first=leaf["first"][0], values=max(leaf["values"]))
    if "low" in leaf:
        low, high = min(leaf["low"]), max(leaf["high"])
    else:
        low = min(leaf["first"])
        high = max(first + values - 1 for first, values in zip(leaf["first"], leaf["values"], strict=True))
    array = SimpleNamespace(dtype=dtype, shape=shape, minimum=low, maximum=high)
    return parts.part(name, array, may_be_image=may_be_image)


def _action(env_id: str, facts: Mapping[str, Any]) -> ActionSpec:
    leaves = facts["action"]
    continuous = [leaf["kind"] == "Box" and np.dtype(leaf["dtype"]).kind == "f" for leaf in leaves]
    names = ", ".join(f"{leaf['kind']}" for leaf in leaves) or "none"
    if not leaves or any(leaf["kind"] == "Text" for leaf in leaves):
        raise ConfigError("env_id", env_id, f"its actions, {names}, are not supported")
    if all(continuous):
        low = [parts.low_of(value) for leaf in leaves for value in leaf["low"]]
        high = [parts.high_of(value) for leaf in leaves for value in leaf["high"]]
        if not low:
            raise ConfigError("env_id", env_id, "its actions have no components")
        return ActionSpec(low=tuple(low), high=tuple(high))
    if any(continuous):
        raise ConfigError("env_id", env_id, f"its actions are choices and numbers together ({names}): not supported")
    choices: list[int] = []
    for leaf in leaves:
        if leaf["kind"] == "Box":
            raise ConfigError("env_id", env_id, "its actions are a Box of whole numbers: MultiDiscrete is supported")
        choices += leaf["values"]
    if not choices or not all(math.isfinite(n) and n >= 1 for n in choices):
        raise ConfigError("env_id", env_id, "its actions have no components")
    return ActionSpec(choices=tuple(choices), masked=bool(facts["masked"]))
