"""Network namespaces that have no name: they live as long as a process, a descriptor or a socket holds them.

A name under /run/netns would outlive a program that is killed; of these nothing is left, whatever happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

TUN = "/dev/net/tun"
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x1, 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def inside(namespace: int) -> Iterator[None]:
    """The calling thread, and the processes, threads and sockets that it starts here, are in `namespace`.

    Other threads stay where they are. `namespace` is a descriptor.
    """
    before = _own()
    try:
        _checked(_libc.setns(namespace, _CLONE_NEWNET))
        try:
            yield
        finally:
            _checked(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def new() -> int:
    """The descriptor of a new namespace. Raises `OSError` where the process may not make one."""
    before = _own()
    try:
        _checked(_libc.unshare(_CLONE_NEWNET))
        try:
            return _own()
        finally:
            _checked(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def new_tun(name: str) -> int:
    """The descriptor of a new interface of the calling thread's namespace: it reads and writes whole IP packets.

    The interface goes with the descriptor. The kernel is told of no offloads, so no packet is larger than the MTU and
    each has its checksum. Raises `OSError` where the process may not make one.
    """
    device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except BaseException:
        os.close(device)
        raise
    return device


def ip(*commands: str, pass_fds: Sequence[int] = ()) -> None:
    """Commands of `ip` in the calling thread's namespace. Raises `RuntimeError` with what it says."""
    done = subprocess.run(
        ["ip", "-batch", "-"],
        input="\n".join(commands),
        pass_fds=pass_fds,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"ip says: {' '.join(done.stderr.split())}")


def processes_in(namespaces: Collection[int]) -> set[int]:
    """The processes that are in one of the namespaces, without those that have ended."""
    those = {os.fstat(namespace).st_ino for namespace in namespaces}
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if (path / "ns" / "net").stat().st_ino in those:
                found.add(int(path.name))
    return found


def kill_all(namespaces: Collection[int], spare: int) -> None:
    """Kills every process in the namespaces but the process `spare`, and those that they start meanwhile."""
    killed: set[int] = set()
    # A process that has been killed starts no other: where all that are found have been, there are no more.
    while found := processes_in(namespaces) - killed - {spare}:
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        killed |= found


def why_not() -> str | None:
    """Why there can be no hosts on this machine, in one sentence; None where there can."""
    if shutil.which("ip") is None:
        return "hosts need the command ip, of iproute2, which is not here"
    try:
        namespace = new()
    except OSError as error:
        return f"hosts need the right to make network namespaces, as root has it, but: {error.strerror}"
    try:
        with inside(namespace):
            os.close(new_tun("probe"))
    except OSError as error:
        return f"hosts need {TUN}, but: {error.strerror}"
    finally:
        os.close(namespace)
    return None
