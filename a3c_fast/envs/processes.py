"""Environments of a user in child processes: what they are called, what they show and take, and one worker's of them.

An environment of a user is named `module:name`: a callable of a module that makes one environment, or an environment
that the module registers with gymnasium. A callable that is given to `Trainer` is named so too, and known here for as
long as the program lives.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from a3c_fast.envs import parts
from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec, Part, placed
from a3c_fast.errors import ConfigError

if TYPE_CHECKING:
    from a3c_fast._core import EnvClient

_CHILD = Path(__file__).with_name("child.py")
_MESSAGE_BYTES = 16384
_BEGIN_SECONDS = 120.0  # for a process to import what it needs and make its environments

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
    return _facts(env_id, _registered.get(env_id, b""))[0]


def envs_at_once(env_id: str) -> int:
    """How many environments a VectorEnv has; 0 where they are made one by one."""
    return _facts(env_id, _registered.get(env_id, b""))[2]


def max_episode_steps(env_id: str) -> int:
    """After how many steps its registration ends an episode; 0 where it does not say."""
    return _facts(env_id, _registered.get(env_id, b""))[1]


def make_clients(env_id: str, spec: EnvSpec, seeds: Sequence[Sequence[int]], limit_seconds: float) -> list[EnvClient]:
    """The environments of several workers, each in a process of its own, as the core steps them."""
    processes: list[EnvProcess] = []
    try:
        processes.extend(EnvProcess(env_id, of_worker) for of_worker in seeds)
        return [process.client(spec, limit_seconds) for process in processes]
    except BaseException:
        for process in processes:
            process.close()
        raise


@functools.lru_cache(maxsize=256)
def _facts(env_id: str, blob: bytes) -> tuple[EnvSpec, int, int]:
    """What it shows and takes, when its episodes end, and how many are made at once."""
    module, _, name = env_id.partition(":")
    if not blob and (module in ("", "__main__") or not name or "<" in name or "#" in name):
        raise ConfigError(
            "env_id",
            env_id,
            "it must be module:name; what a program makes of its own is given as Trainer(config, env=...)",
        )
    process = EnvProcess(env_id, [])
    try:
        facts = process.facts()
    finally:
        process.close()
    spec = EnvSpec(_observation(env_id, facts), _action(env_id, facts))
    return spec, int(facts["max_episode_steps"]), int(facts["num_envs"])


class EnvProcess:
    """A child process with the environments of one worker, one for each seed. Ends with this object and this process.

    Without seeds it has as many as are made at a time.
    """

    def __init__(self, env_id: str, seeds: Sequence[int]) -> None:
        self._env_id = env_id
        self._num_envs = len(seeds)
        self._facts: dict[str, Any] | None = None
        self._buffer = b""
        blob = _registered.get(env_id, b"")
        ours, theirs = socket.socketpair()
        lifeline, alive = os.pipe()
        self._socket = ours
        self._memory = os.memfd_create("a3c_fast_environments", os.MFD_CLOEXEC)
        self._go, self._done = (os.eventfd(0, os.EFD_CLOEXEC) for _ in range(2))
        passed = (theirs.fileno(), self._memory, self._go, self._done, lifeline)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", str(_CHILD), *map(str, passed)],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                env={"OMP_NUM_THREADS": "1", **os.environ},
            )
        except BaseException:
            ours.close()
            for descriptor in (self._memory, self._go, self._done, alive):
                os.close(descriptor)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self._pidfd = os.pidfd_open(self._child.pid)
        # Not a method of this object, which would then live for ever.
        descriptors = (self._memory, self._go, self._done, self._pidfd, alive)
        self.close = weakref.finalize(self, _end, os.getpid(), self._child, ours, descriptors)
        job = {
            "path": [path or str(Path.cwd()) for path in sys.path],
            "name": env_id,
            "num_envs": self._num_envs,
            "seeds": [int(seed) for seed in seeds],
            "bytes": len(blob),
        }
        self._say(job, blob)

    def facts(self) -> dict[str, Any]:
        """What its environments show and take. Raises `ConfigError` when they cannot be made."""
        if self._facts is None:
            self._facts = self._hear()
        return self._facts

    def client(self, spec: EnvSpec, limit_seconds: float) -> EnvClient:
        """Its environments as the core steps them, which the child now resets."""
        from a3c_fast._core import EnvClient

        facts = self.facts()
        if EnvSpec(_observation(self._env_id, facts), _action(self._env_id, facts)) != spec:
            raise ConfigError("env_id", self._env_id, "its spaces change from one process to the next")
        layout = _layout(spec, self._num_envs, has_finals=facts["steps_at_once"])
        os.ftruncate(self._memory, layout["size"])
        observation = spec.observation
        paths = {leaf["name"]: path for leaf, path in zip(facts["observation"], facts["paths"], strict=True)}
        plan = {
            "parts": [vars(part) | {"path": paths[part.name]} for part in observation.parts],
            "array_shape": list(observation.array_shape),
            "array_type": observation.array_type,
            "features_offset": observation.features_offset,
            "row_bytes": observation.row_bytes,
            "mask_width": sum(spec.action.choices) if spec.action.masked else 0,
            "layout": layout,
        }
        self._say(plan)
        return EnvClient.process(
            owner=self,
            spec=spec.core(self._num_envs),
            layout=layout,
            memory=self._memory,
            go=self._go,
            done=self._done,
            pidfd=self._pidfd,
            limit_seconds=limit_seconds,
        )

    def _say(self, message: Mapping[str, Any], blob: bytes = b"") -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died, and what it said tells why
            self._socket.sendall(json.dumps(message).encode() + b"\n" + blob)

    def _hear(self) -> dict[str, Any]:
        deadline = time.monotonic() + _BEGIN_SECONDS
        while not self._buffer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if not select.select([self._socket], [], [], max(0.0, left))[0]:
                raise self._refused(f"its process has not made it within {_BEGIN_SECONDS:g} seconds")
            try:
                received = self._socket.recv(1 << 16)
            except ConnectionResetError:
                received = b""
            if not received:
                raise self._refused(f"its process ended with status {self._child.wait()} before it was made")
            self._buffer += received
        message: dict[str, Any] = json.loads(self._buffer)
        self._buffer = b""
        if "error" in message:
            raise self._refused(message["error"])
        return message

    def _refused(self, reason: str) -> ConfigError:
        return ConfigError("env_id", self._env_id, reason)


def _end(owner: int, child: subprocess.Popen[bytes], talk: socket.socket, descriptors: Sequence[int]) -> None:
    """Ends a child process, and lets go of what was shared with it. In a fork it is the parent's and stays."""
    talk.close()
    for descriptor in descriptors:
        os.close(descriptor)
    if owner == os.getpid():
        child.kill()
        child.wait()


def _layout(spec: EnvSpec, num_envs: int, *, has_finals: bool) -> dict[str, int]:
    """Where the arrays of a step lie in shared memory: ProcessLayout in cpp/env/process/process_client.h."""
    sizes = {
        "observations": num_envs * spec.observation.row_bytes,
        "rewards": 4 * num_envs,
        "flags": num_envs,
        "masks": num_envs * sum(spec.action.choices) if spec.action.masked else 0,
        "finals": num_envs * spec.observation.row_bytes if has_finals else 0,
        "actions": 8 * num_envs * spec.action.size,
        "message": _MESSAGE_BYTES,
    }
    layout, at = {}, 0
    for name, size in sizes.items():
        layout[name] = at
        at = (at + size + 63) // 64 * 64
    if not has_finals:
        layout["finals"] = 0
    return {**layout, "message_bytes": _MESSAGE_BYTES, "size": at}


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
