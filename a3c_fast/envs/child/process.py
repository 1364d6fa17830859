"""The process, or the thread: it makes the environments, steps them, and hands each step over.

What it is told and says while it begins are lines of JSON over a socket; then a step goes back and forth in shared
memory, see cpp/env/process/process_client.h, with an eventfd for each direction. Orders of another kind come over the
socket, too; `go` says that there is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .environments import Separate, Vector, made, maker
from .shown import Shown
from .spaces import RefusedError, described, leaves

_F_SETSIG = 10
_STEP = 1  # what `go` counts; an order counts more
_HERE = str(Path(__file__).parent)


class Parent:
    """The other end of the socket."""

    def __init__(self, descriptor: int) -> None:
        import socket

        self._socket = socket.socket(fileno=descriptor)
        self._stream = self._socket.makefile("rb")

    def hear(self) -> tuple[dict[str, Any], bytes] | None:
        """A line and the bytes that follow it; None where the parent has said goodbye."""
        line = self._stream.readline()
        if not line:
            return None
        message = json.loads(line)
        return message, self._stream.read(message.get("bytes", 0))

    def say(self, message: dict[str, Any], blob: bytes = b"") -> None:
        self._socket.sendall(json.dumps({**message, "bytes": len(blob)}).encode() + b"\n" + blob)

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


def die_with(lifeline: int) -> None:
    """The kernel kills this process when the parent's end of a pipe closes, even in a loop of C that holds the GIL.

    Not by PR_SET_PDEATHSIG, which follows the thread that made this process and not the parent.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        if os.read(lifeline, 1) == b"":  # it was closed before
            os._exit(1)


def trace(error: BaseException) -> str:
    """An exception as a sentence, and below it where it came from, without the frames of this package."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(Path(frame.filename).parent) != _HERE]
    said = "".join(traceback.format_exception_only(error)).strip()
    return f"the environment raised {said}\n" + "".join(traceback.format_list(frames)).rstrip()


def sentence(error: BaseException) -> str:
    """An exception in one sentence, with the place that it came from."""
    if isinstance(error, RefusedError):
        return str(error)
    said, *frames = trace(error).split("\n  File ")
    place = frames[-1].splitlines()[0] if frames else ""
    return " ".join(said.split()) + (f" ({place})" if place else "")


def main() -> None:
    """The process. The arguments are the file descriptors SOCKET MEMORY GO DONE LIFELINE."""
    descriptors = [int(argument) for argument in sys.argv[1:]]
    socket, memory, go, done, lifeline = descriptors
    for descriptor in descriptors:  # not for the processes that environments start
        os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent's, which ends this process in its own time
    os.dup2(2, 1)  # what environments print must not be taken for the program's own output
    die_with(lifeline)

    def make_of(job: dict[str, Any], blob: bytes) -> Callable[[], Any]:
        sys.path[:] = job["path"]
        return maker(job["name"], blob, job["render_mode"])

    if not serve(Parent(socket), make_of, memory, go, done):
        sys.stderr.flush()
        os._exit(1)


def run_in_thread(make_of: Callable[[str], Callable[[], Any]], socket: int, memory: int, go: int, done: int) -> None:
    """The same in a thread of the program that trains; `make_of` a render_mode, and file descriptors of its own."""
    parent = Parent(socket)
    try:
        serve(parent, lambda job, _: make_of(job["render_mode"]), memory, go, done)
    finally:
        parent.close()
        for descriptor in (memory, go, done):
            os.close(descriptor)


def serve(
    parent: Parent, make_of: Callable[[dict[str, Any], bytes], Callable[[], Any]], memory: int, go: int, done: int
) -> bool:
    """Makes environments and steps them until told to end; returns False where something went wrong, which it told.

    `make_of` gives what makes one, from the first message and its bytes.
    """
    tell: Callable[[BaseException], None] = lambda error: parent.say({"error": sentence(error)})  # noqa: E731
    envs: Separate | Vector | None = None
    try:
        order = parent.hear()
        if order is None:
            return True
        job, blob = order
        envs = made(make_of(job, blob), job["num_envs"])
        begun = envs.reset([*job["seeds"], *range(envs.num_envs)][: envs.num_envs])
        parent.say(facts_of(envs, begun))
        order = parent.hear()
        if order is None or "layout" not in order[0]:
            return True
        plan, _ = order
        layout = plan["layout"]
        view = mmap.mmap(memory, layout["size"])
        tell = lambda error: _tell(error, view, layout, done)  # noqa: E731
        shown = Shown(plan, view, envs.action_space, envs.num_envs)
        for i, (observation, info) in enumerate(begun):
            shown.begin(i, observation, info)
        step_all(envs, shown, memoryview(view)[layout["busy"] :], go, done, parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            tell(error)
        return False
    finally:
        _close(envs)
    return True


def _close(envs: Separate | Vector | None) -> None:
    """Closes what has been made; what goes wrong is written to standard error, since nobody listens any more."""
    try:
        if envs is not None:
            envs.close()
    except BaseException as error:
        print(trace(error), file=sys.stderr, flush=True)


def _tell(error: BaseException, view: mmap.mmap, layout: dict[str, int], done: int) -> None:
    """In shared memory, to the core, that something went wrong."""
    text = str(error) if isinstance(error, RefusedError) else trace(error)
    message, room = layout["message"], layout["message_bytes"] - 4
    said = text.encode(errors="replace")[:room]
    view[message + 4 : message + 4 + len(said)] = said
    struct.pack_into("=I", view, message, len(said))
    view[layout["busy"]] = 0
    os.eventfd_write(done, 1)


def facts_of(envs: Separate | Vector, begun: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    """What the environments show and take, and when their episodes end."""
    return {
        "observation": [described(space, path) for path, space in leaves(envs.observation_space)],
        "paths": [list(path) for path, _ in leaves(envs.observation_space)],
        "action": [described(space, path) for path, space in leaves(envs.action_space)],
        "max_episode_steps": int(getattr(envs.spec, "max_episode_steps", None) or 0),
        "num_envs": envs.num_envs if isinstance(envs, Vector) else 0,
        "steps_at_once": envs.steps_at_once,
        "masked": "action_mask" in begun[0][1],
        "frames_per_second": envs.frames_per_second,
    }


def step_all(envs: Separate | Vector, shown: Shown, busy: memoryview, go: int, done: int, parent: Parent) -> None:
    """Hands over what is shown, and steps when it is told to, until it is told to end."""
    step, write, read = envs.stepper(shown), os.eventfd_write, os.eventfd_read
    while True:
        busy[0] = 0
        write(done, 1)
        while (told := read(go)) != _STEP:
            if not obey(envs, parent):
                return
            if told & _STEP:
                break
        busy[0] = 1
        step()


def obey(envs: Separate | Vector, parent: Parent) -> bool:
    """Follows an order that is no step; returns whether there will be more."""
    order = parent.hear()
    if order is not None and order[0]["order"] == "render":
        try:
            frame = envs.frame()
            parent.say({"shape": frame.shape}, frame.tobytes())
        except Exception as error:
            parent.say({"error": sentence(error)})
        return True
    return False
