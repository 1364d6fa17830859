"""Environments of a user: what they are called, what they show and take, and one worker's of them.

An environment of a user is named `module:name`: a callable of a module that makes one environment, or an environment
that the module registers with gymnasium. A callable that is given to `Trainer` is named so too, and known here for as
long as the program lives. They live in child processes, and with `in-process:` before the name in threads.
"""

from __future__ import annotations

import contextlib
import functools
import math
import resource
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from a3c_fast.envs import parts
from a3c_fast.envs.child.environments import drawing, maker
from a3c_fast.envs.env_host import EnvHost
from a3c_fast.envs.env_process import EnvProcess
from a3c_fast.envs.env_thread import EnvThread
from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec, Part, placed
from a3c_fast.errors import ConfigError
from a3c_fast.machine import cores

if TYPE_CHECKING:
    from a3c_fast._core import EnvClient

DRAWN = "rgb_array"  # the render_mode of environments that draw themselves
_SPARE_DESCRIPTORS = 64  # for everything else that a run opens

_IN_PROCESS = "in-process:"

_registered: dict[str, bytes] = {}  # pickled callables by their names; written under _lock
_registered_in_process: dict[str, Callable[[], Any]] = {}  # written under _lock
_lock = threading.Lock()


@dataclass(frozen=True)
class InProcess:
    """Environments that live in the program that trains, for `Trainer(config, env=InProcess(make))`.

    For those that cannot live in a child process: they share an object with the program, or cannot be pickled. `make`
    is a callable that makes one; it, and all methods of the environments of a worker, are called by one thread for each
    worker. They step under the GIL, one thread at a time, and what else the program does in Python slows them down.
    """

    make: Callable[[], Any]


def is_named(env_id: str) -> bool:
    """Whether an environment is a user's by its name."""
    return ":" in env_id


def where_stepped(env_id: str) -> str:
    """`process` or `thread`."""
    return _kind(env_id).NOUN


def _kind(env_id: str) -> type[EnvHost]:
    return EnvThread if env_id.startswith(_IN_PROCESS) else EnvProcess


def register(make: Callable[[], Any] | InProcess) -> str:
    """Takes a callable that makes one environment; the name by which it is found again.

    Raises `ConfigError` for what cannot be called or cannot cross into a child process.
    """
    if isinstance(make, InProcess):
        _check_callable(make.make)
        return _named(_IN_PROCESS, make.make, make.make, _registered_in_process)
    _check_callable(make)
    import cloudpickle

    try:
        blob: bytes = cloudpickle.dumps(make)
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            "env",
            make,
            f"it cannot be sent to the process that makes its environments ({said}); InProcess(it) needs not be sent",
        ) from error
    return _named("", make, blob, _registered)


def _check_callable(make: Any) -> None:
    if not callable(make):
        raise ConfigError("env", make, "it must be a callable that makes one environment")


def _named(prefix: str, make: Any, kept: Any, among: dict[str, Any]) -> str:
    """The name of a callable, under which it is kept."""
    unwrapped = make.func if isinstance(make, functools.partial) else make
    module = getattr(unwrapped, "__module__", None) or type(unwrapped).__module__
    name = getattr(unwrapped, "__qualname__", None) or type(unwrapped).__qualname__
    with _lock:
        for number in range(1, 1_000_000):
            env_id = f"{prefix}{module}:{name}" + (f"#{number}" if number > 1 else "")
            if among.setdefault(env_id, kept) == kept:
                return env_id
    raise AssertionError


def spec_of(env_id: str) -> EnvSpec:
    """What an environment shows and takes, as a child process that makes one says.

    Raises `ConfigError` for one that cannot be made or trained on.
    """
    return _facts(env_id, _is_registered(env_id)).spec


def envs_at_once(env_id: str) -> int:
    """How many environments a VectorEnv has; 0 where they are made one by one."""
    return _facts(env_id, _is_registered(env_id)).envs_at_once


def max_episode_steps(env_id: str) -> int:
    """After how many steps its registration ends an episode; 0 where it does not say."""
    return _facts(env_id, _is_registered(env_id)).max_episode_steps


def frames_per_second(env_id: str) -> float:
    """Of a video that its `render()` draws; 0 where it has no render_mode `rgb_array`."""
    return _facts(env_id, _is_registered(env_id), DRAWN).frames_per_second


def make_clients(
    env_id: str, spec: EnvSpec, seeds: Sequence[Sequence[int]], limit_seconds: float, render_mode: str = ""
) -> list[EnvClient]:
    """The environments of several workers, each in a process or thread of its own, as the core steps them.

    As many of them begin at a time as the machine has use for: each is waited for with a limit.
    """
    kind = _kind(env_id)
    _check_descriptors(len(seeds), kind)
    hosts: list[EnvHost] = []
    try:
        for i, of_worker in enumerate(seeds):
            if i >= (at_once := 2 * cores()):
                hosts[i - at_once].facts()
            hosts.append(_host(env_id, of_worker, render_mode))
        for host in hosts:
            facts = host.facts()
            if EnvSpec(_observation(env_id, facts), _action(env_id, facts)) != spec:
                raise ConfigError("env_id", env_id, f"its spaces change from one {kind.NOUN} to the next")
        return [host.client(spec, limit_seconds) for host in hosts]
    except BaseException:
        for host in hosts:
            host.close()
        raise


def _is_registered(env_id: str) -> bool:
    return env_id in _registered or env_id in _registered_in_process


def _host(env_id: str, seeds: Sequence[int], render_mode: str) -> EnvHost:
    """What begins to make the environments of a worker."""
    if not env_id.startswith(_IN_PROCESS):
        return EnvProcess(env_id, _registered.get(env_id, b""), seeds, render_mode)
    make, name = _registered_in_process.get(env_id), env_id.removeprefix(_IN_PROCESS)
    make_of = functools.partial(maker, name, b"") if make is None else functools.partial(drawing, make)
    return EnvThread(env_id, make_of, seeds, render_mode)


def _check_descriptors(num_hosts: int, kind: type[EnvHost]) -> None:
    """Raises `ConfigError` where the program may not open as many files as they need."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = kind.DESCRIPTORS * num_hosts
    with contextlib.suppress(OSError):  # no /proc: what cannot be opened will be told then
        opened = sum(1 for _ in Path("/proc/self/fd").iterdir())
        if opened + needed + _SPARE_DESCRIPTORS > most:
            raise ConfigError(
                "num_workers",
                num_hosts,
                f"their {kind.NOUNS} need {needed:,} open files beside {opened:,} that there are, and the limit is "
                f"{most:,} (ulimit -n)",
            )


class _Facts(NamedTuple):
    spec: EnvSpec
    max_episode_steps: int  # 0: its registration does not say
    envs_at_once: int  # 0: they are made one by one
    frames_per_second: float  # 0: it draws none


@functools.lru_cache(maxsize=256)
def _facts(env_id: str, is_registered: bool, render_mode: str = "") -> _Facts:
    """What a process, or a thread, that makes one says of an environment."""
    module, _, name = env_id.removeprefix(_IN_PROCESS).partition(":")
    if not is_registered and (module in ("", "__main__") or not name or "<" in name or "#" in name):
        raise ConfigError(
            "env_id",
            env_id,
            "it must be module:name; what a program makes of its own is given as Trainer(config, env=...)",
        )
    host = _host(env_id, [], render_mode)
    try:
        facts = host.facts()
    finally:
        host.close()
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
    starts: list[int] = []
    for leaf in leaves:
        if leaf["kind"] == "Box":
            raise ConfigError("env_id", env_id, "its actions are a Box of whole numbers: MultiDiscrete is supported")
        choices += leaf["values"]
        starts += leaf["first"]
    if not choices or not all(math.isfinite(n) and n >= 1 for n in choices):
        raise ConfigError("env_id", env_id, "its actions have no components")
    return ActionSpec(tuple(choices), masked=bool(facts["masked"]), starts=tuple(starts) if any(starts) else ())
