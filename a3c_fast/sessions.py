"""sessions.json: from when to when a run was trained, on what, and where its workers' time went."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import msgspec

from a3c_fast import files
from a3c_fast.machine import cores
from a3c_fast.paths import shown
from a3c_fast.versions import versions

SESSIONS_FILE = "sessions.json"
_MOST_BYTES = 16 * 2**20


class Session(msgspec.Struct):
    """A trainer's time with a run. The first begins the run, and each of the others is a resume."""

    began: float
    """Seconds since 1970."""
    first_step: int
    first_wall_seconds: float
    last_step: int
    """Of the newest checkpoint, as all that follows."""
    last_wall_seconds: float
    stage_seconds: dict[str, float]
    """As `Trainer.stage_seconds()`."""
    kernels: str
    cores: int
    versions: dict[str, str]


def read(run_dir: Path) -> list[Session]:
    """Those of a run, oldest first; none where there is no such file or it is damaged.

    Raises `OSError` with the path when it is there and cannot be read.
    """
    return _read(run_dir) or []


class Sessions:
    """Those of a run directory, the newest of which is under way."""

    def __init__(self, run_dir: Path, first_step: int, first_wall_seconds: float, kernels: str) -> None:
        """Begins one at `first_step`, 0 for a run that begins. Raises `OSError` with the path."""
        self._path = run_dir / SESSIONS_FILE
        found = _read(run_dir)
        if found is None:
            aside = files.unused(run_dir / f"damaged_{SESSIONS_FILE}")
            self._path.rename(aside)
            warnings.warn(f"{shown(self._path)} is damaged: it is kept as {aside.name}", stacklevel=2)
        # What came after the checkpoint that the run goes on from is lost, and so is a run that begins again.
        self._sessions = [session for session in found or [] if session.first_step <= first_step and first_step > 0]
        now = Session(
            began=time.time(),
            first_step=first_step,
            first_wall_seconds=first_wall_seconds,
            last_step=first_step,
            last_wall_seconds=first_wall_seconds,
            stage_seconds={},
            kernels=kernels,
            cores=cores(),
            versions=versions(),
        )
        self._sessions.append(now)
        self._write()

    def update(self, step: int, wall_seconds: float, stage_seconds: Mapping[str, float]) -> None:
        """How far the one under way has come. Raises `OSError` with the path."""
        newest = self._sessions[-1]
        newest.last_step, newest.last_wall_seconds = step, wall_seconds
        newest.stage_seconds = {name: round(seconds, 4) for name, seconds in stage_seconds.items()}
        self._write()

    def _write(self) -> None:
        files.write(self._path, msgspec.json.format(msgspec.json.encode(self._sessions), indent=1))


def _read(run_dir: Path) -> list[Session] | None:
    """None where the file is damaged."""
    try:
        content = files.read(run_dir / SESSIONS_FILE, _MOST_BYTES)
    except FileNotFoundError:
        return []
    try:
        return msgspec.json.decode(content, type=list[Session])
    except (ValueError, RecursionError):
        return None
