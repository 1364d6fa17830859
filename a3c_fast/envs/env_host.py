"""What holds the environments of one worker, as the program that trains sees it: a child process, or a thread.

Both run child/process.py: they are told and say what there is in lines of JSON over a socket, and then hand steps over
in memory, see cpp/env/process/process_client.h.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from a3c_fast.envs.spec import EnvSpec
from a3c_fast.errors import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt

    from a3c_fast._core import EnvClient

_MESSAGE_BYTES = 16384
_BEGIN_SECONDS = 120.0  # to import what is needed and make the environments
CLOSE_SECONDS = 2.0  # to close them: who has waited for the end of a run is to have it soon
_ORDER = 1 << 32  # what an order that is no step adds to `go`, which counts steps by 1

_hosts: weakref.WeakKeyDictionary[EnvClient, weakref.ref[EnvHost]] = weakref.WeakKeyDictionary()


def host_of(client: EnvClient) -> EnvHost | None:
    """What holds the environments that a client steps, where they are a user's."""
    found = _hosts.get(client)
    return None if found is None else found()


class _SaidError(Exception):
    """What the other side said went wrong, or how it ended, as the end of a sentence."""


class EnvHost:
    """The environments of one worker, one for each seed, or without seeds as many as are made at a time."""

    NOUN, NOUNS = "", ""
    """What it is, for sentences."""
    DESCRIPTORS = 0
    """How many files it keeps open."""

    close: weakref.finalize[[], Any]
    """Closes the environments and lets go of everything; at the latest with this object and this process."""

    _end: End
    _pidfd: int  # tells that it has ended; -1 where that is told as a failure

    def __init__(self, env_id: str, seeds: Sequence[int], render_mode: str) -> None:
        self._env_id = env_id
        self._num_envs = len(seeds)
        self._facts: dict[str, Any] | None = None
        self._job = {
            "num_envs": self._num_envs,
            "seeds": [int(seed) for seed in seeds],
            "render_mode": render_mode,
        }
        self._socket, self._theirs = socket.socketpair()
        self._memory = os.memfd_create("a3c_fast_environments", os.MFD_CLOEXEC)
        self._go, self._done = (os.eventfd(0, os.EFD_CLOEXEC) for _ in range(2))

    def facts(self) -> dict[str, Any]:
        """What its environments show and take. Raises `ConfigError` when they cannot be made."""
        if self._facts is None:
            try:
                self._facts, _ = self._hear(_BEGIN_SECONDS, "made")
            except _SaidError as error:
                raise ConfigError("env_id", self._env_id, str(error)) from None
            self._end.has_begun = True
        return self._facts

    def client(self, spec: EnvSpec, limit_seconds: float) -> EnvClient:
        """Its environments, which show and take what `spec` says, as the core steps them; they are now reset."""
        from a3c_fast._core import EnvClient

        facts = self.facts()
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
        self._end.busy = layout["busy"]
        client = EnvClient.process(
            owner=self,
            spec=spec.core(self._num_envs),
            layout=layout,
            memory=self._memory,
            go=self._go,
            done=self._done,
            pidfd=self._pidfd,
            limit_seconds=limit_seconds,
        )
        _hosts[client] = weakref.ref(self)
        return client

    def frame(self, limit_seconds: float) -> npt.NDArray[np.uint8]:
        """What its first environment looks like, [height, width, 3]; between the core's recv() and send().

        Raises `RuntimeError` in one sentence where it cannot be drawn.
        """
        self._say({"order": "render"})
        os.eventfd_write(self._go, _ORDER)
        try:
            message, blob = self._hear(limit_seconds, "drawn")
        except _SaidError as error:
            raise RuntimeError(f"{self._env_id} cannot be drawn: {error}") from None
        return np.frombuffer(blob, np.uint8).reshape(message["shape"])

    def _how_it_ended(self) -> str:
        """The middle of a sentence."""
        raise NotImplementedError

    def _say(self, message: Mapping[str, Any], blob: bytes = b"") -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died, and what it said tells why
            self._socket.sendall(json.dumps({**message, "bytes": len(blob)}).encode() + b"\n" + blob)

    def _hear(self, limit_seconds: float, done: str) -> tuple[dict[str, Any], bytes]:
        """A message, and the bytes that follow it, for which its environment is made or drawn."""
        deadline = time.monotonic() + limit_seconds
        heard = bytearray()
        message: dict[str, Any] | None = None
        while message is None or len(heard) < message["bytes"]:
            if not readable(self._socket.fileno(), deadline - time.monotonic()):
                raise _SaidError(f"its {self.NOUN} has not {done} it within {limit_seconds:g} seconds")
            try:
                received = self._socket.recv(1 << 20)
            except ConnectionResetError:
                received = b""
            if not received:
                raise _SaidError(f"its {self.NOUN} ended{self._how_it_ended()} before it was {done}")
            heard += received
            if message is None and b"\n" in heard:
                line, _, rest = bytes(heard).partition(b"\n")
                message, heard = json.loads(line), bytearray(rest)
                if "error" in message:
                    raise _SaidError(message["error"])
        return message, bytes(heard)


class End:
    """Ends what holds environments, and lets go of what was shared with it. In a fork it is the parent's and stays.

    Not a method of the host, which would then live for ever.
    """

    def __init__(self, talk: socket.socket, memory: int, go: int, others: Sequence[int]) -> None:
        self._owner = os.getpid()
        self._talk, self._memory, self._go = talk, memory, go
        self._descriptors = (memory, go, *others)
        self.has_begun = False  # there are environments to close
        self.busy = -1  # where in memory it says whether it steps; -1 before it has been asked to

    def __call__(self) -> None:
        try:
            if self._owner == os.getpid():
                self.end()
        finally:
            self._talk.close()
            for descriptor in self._descriptors:
                os.close(descriptor)

    def end(self) -> None:
        """In the process that began it."""
        raise NotImplementedError

    def hangs(self) -> bool:
        """Whether it is in a step, for whose end nobody waits any more."""
        return self.busy >= 0 and os.pread(self._memory, 1, self.busy) == b"\1"

    def ask_to_close(self) -> None:
        """Tells it to close its environments; it may have ended."""
        with contextlib.suppress(OSError):
            self._talk.shutdown(socket.SHUT_WR)
        os.eventfd_write(self._go, _ORDER)


def readable(descriptor: int, seconds: float) -> bool:
    """Waits until there is something to read, or for so long."""
    poll = select.poll()  # select() takes no descriptor from 1024 on
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * max(0.0, seconds)))


def _layout(spec: EnvSpec, num_envs: int, *, has_finals: bool) -> dict[str, int]:
    """Where the arrays of a step lie in shared memory: ProcessLayout in cpp/env/process/process_client.h."""
    sizes = {
        "observations": num_envs * spec.observation.row_bytes,
        "rewards": 8 * num_envs,
        "flags": num_envs,
        "masks": num_envs * sum(spec.action.choices) if spec.action.masked else 0,
        "finals": num_envs * spec.observation.row_bytes if has_finals else 0,
        "actions": 8 * num_envs * spec.action.size,
        "message": _MESSAGE_BYTES,
        "busy": 1,
    }
    layout, at = {}, 0
    for name, size in sizes.items():
        layout[name] = at
        at = (at + size + 63) // 64 * 64
    if not has_finals:
        layout["finals"] = 0
    return {**layout, "message_bytes": _MESSAGE_BYTES, "size": at}
