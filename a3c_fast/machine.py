"""What this process may use of the machine: processors, memory and threads, the limits of its cgroups included.

Containers, batch systems and systemd limit a process by cgroups (Linux, cgroups(7)), of which `os.cpu_count()` and
`SC_PHYS_PAGES` know nothing. A file that is missing, unreadable or odd sets no limit.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from a3c_fast.errors import ConfigError

_PROC = Path("/proc/self")
# Files of version 2 and of version 1, whose "no limit" is a number larger than any memory.
_MEMORY_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")


def cores(proc: Path = _PROC) -> int:
    """Processors that this process may use at a time, at least 1: its affinity and the quotas of its cgroups.

    Part of a processor counts as one. `proc` is the process's folder in /proc.
    """
    quotas = [quota for folder in _cgroups(proc, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, quotas)]))


def is_bound() -> bool:
    """Whether this process may use only some of its parent's processors, as by numactl(8) or taskset(1)."""
    try:
        return os.sched_getaffinity(0) < os.sched_getaffinity(os.getppid())
    except OSError:  # the parent has ended
        return False


def memory_bytes(proc: Path = _PROC) -> int:
    """Bytes that this process may hold: the machine's memory, the limits of its cgroups and its own (setrlimit(2)).

    `proc` is the process's folder in /proc.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    for folder in _cgroups(proc, "memory"):
        limits += [_number(_read(folder / name)) for name in _MEMORY_LIMITS]
    # -1 is what sysconf and getrlimit say where they know no number.
    return min((limit for limit in limits if limit > 0), default=2**62)


def require_threads(count: int, field: str, value: Any) -> None:
    """Raises `ConfigError` when this process cannot have `count` more threads; `field` is the setting to lower.

    EnvPool would wait for ever for those that it cannot start. Limits are those of the user (ulimit -u), of a cgroup
    (pids.max) and of memory for the threads' stacks: only trying tells.
    """
    from a3c_fast import _core

    available = _core.threads_available(count)
    if available < count:
        allowed = f"the system gives this process {available} more threads where {count} are needed: it must be lower"
        raise ConfigError(field, value, allowed)


def _quota(cgroup: Path) -> float | None:
    """Processors of a cgroup: its CPU time in a period, by the length of the period."""
    of_version_2 = _read(cgroup / "cpu.max").split()
    of_version_1 = [_read(cgroup / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    for words in (of_version_2, of_version_1):
        if len(words) == 2:
            quota, period = map(_number, words)
            if quota > 0 and period > 0:
                return quota / period
    return None


def _cgroups(proc: Path, controller: str) -> Iterator[Path]:
    """The folders of the cgroups that this process is in, for a controller, and of all above them that can be seen."""
    lines = [line.split(":", 2) for line in _read(proc / "cgroup").splitlines()]
    paths = {controllers: path for _, controllers, path in (line for line in lines if len(line) == 3)}
    for line in _read(proc / "mountinfo").splitlines():
        mount, dash, file_system = line.partition(" - ")
        fields, kind = mount.split(), file_system.split()
        if not dash or len(fields) < 5 or not kind:
            continue
        root, point = (Path(_unescaped(field)) for field in fields[3:5])
        for controllers, path in paths.items():
            if kind[0] == "cgroup2":
                # "0::/path". In a hybrid system version 1 has the controllers, and no such file is there.
                belongs = controllers == ""
            else:
                belongs = kind[0] == "cgroup" and len(kind) > 2 and controller in controllers.split(",")
                belongs = belongs and controller in kind[2].split(",")
            if belongs:
                yield from _upwards(point, _inside(Path(path), root))


def _inside(path: Path, root: Path) -> Path:
    """A cgroup's path below a mount that shows the hierarchy from `root` on.

    It is the mount itself where the path is not below it: a container that was given its own cgroup's folder as root,
    while /proc names the path on the host.
    """
    if ".." in path.parts or not path.is_relative_to(root):
        return Path()
    return path.relative_to(root)


def _upwards(point: Path, inside: Path) -> Iterator[Path]:
    for folder in (inside, *inside.parents) if inside.parts else (inside,):
        yield point / folder


def _unescaped(field: str) -> str:
    r"""A path as mountinfo writes it, \040 for a space."""
    for character in (" ", "\t", "\n", "\\"):
        field = field.replace(f"\\{ord(character):03o}", character)
    return field


def _read(path: Path) -> str:
    """The text of a small file, empty where there is none to be had."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int:
    """A whole number, 0 where there is none: "max", nothing, or something odd."""
    try:
        return int(text)
    except ValueError:
        return 0
