"""The directory of a run: one trainer at a time, its settings, its metrics and its checkpoints."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from a3c_fast import checkpoint as checkpoints
from a3c_fast import files, stored_settings
from a3c_fast.board import BOARD_PREFIX
from a3c_fast.config import STRUCTURAL_FIELDS, Config
from a3c_fast.curve import CURVE_FILE
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.evaluation_log import BEST_FILE, EVALUATIONS_FILE, Line, text_of
from a3c_fast.metrics import METRICS_FILE, holds_metrics
from a3c_fast.paths import shown
from a3c_fast.sessions import SESSIONS_FILE
from a3c_fast.tracking import TRACKING_FILE

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
LOCK_FILE = ".lock"
_LOCK_LINE = b"a3c_fast: held by the process that trains in this directory\n"
_MOST_CONFIG_BYTES = 2**20
_CONFIG_FIELDS = {"env_id", "num_workers", "t_max", "checkpoint_every_seconds"}  # of every version's config.json
_held: weakref.WeakSet[RunDirectory] = weakref.WeakSet()

Kind = Literal["new", "restarted", "resumed"]


class RunDirectory:
    """Made, locked and judged when the object is made, and held until `close`.

    `kind` is "new" where there was no run, "resumed" where one goes on from `resumed`, its newest checkpoint, and
    "restarted" where one died before its first checkpoint and begins again.

    Nothing outside the directory is written, renamed or deleted: a link under one of the names of a run is refused,
    before anything is written. The directory itself may be one.
    """

    def __init__(self, path: Path, config: Config) -> None:
        """Raises `ConfigError` where `config` and the directory disagree, `CheckpointError` where no run can go on."""
        self.path = path
        self.checkpoints = path / CHECKPOINTS
        self.kind: Kind = "new"
        self.resumed: checkpoints.Checkpoint | None = None
        made = self._make()
        self._lock_file: IO[bytes] | None = None
        made_lock = False
        try:
            self._refuse_links()
            made_lock = self._lock()
            self._refuse_links()
            self._judge(config, made_lock)
            self._prepare()
        except BaseException:
            if made_lock:  # what was no run's stays as it was
                (path / LOCK_FILE).unlink(missing_ok=True)
            for directory in made:
                with contextlib.suppress(OSError):  # it is not empty
                    directory.rmdir()
            self.close()
            raise
        _held.add(self)

    def require_own(self) -> None:
        """Raises `OSError` with the path where the directory is no longer the one whose lock is held.

        It may have been moved and another made in its place, a link to it may lead elsewhere by now, or its lock was
        deleted, and another process may train there.
        """
        path = self.path / LOCK_FILE
        assert self._lock_file is not None
        try:
            is_own = os.path.samestat(path.lstat(), os.fstat(self._lock_file.fileno()))
        except OSError as error:
            if not self.path.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path)) from error
            is_own = False
        if not is_own:
            raise OSError(
                errno.ESTALE, "it was moved, or its lock was deleted, while the run went on", shown(self.path)
            )

    def write_config(self, config: Config) -> None:
        """The settings of the run as config.json. Raises `OSError` with the path."""
        self.require_own()
        values = stored_settings.sealed(stored_settings.portable(config.to_json()))
        files.write(self.path / CONFIG_FILE, json.dumps(values, indent=1, allow_nan=False).encode("utf-8"))

    def save(self, checkpoint: checkpoints.Checkpoint, keep: int) -> Path:
        """Adds a checkpoint and deletes all but the newest `keep`; returns its path. Raises `OSError` with a path."""
        self.require_own()
        if self.checkpoints.is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link", shown(self.checkpoints))
        self.checkpoints.mkdir(exist_ok=True)  # never the directory of the run itself: its lock would be gone
        path = self.checkpoints / f"{checkpoints.file_stem(checkpoint.step)}.safetensors"
        _save(checkpoint, path)
        checkpoints.prune(self.checkpoints, keep)
        return path

    def save_best(self, checkpoint: checkpoints.Checkpoint) -> None:
        """Replaces best.safetensors. Raises `OSError` with the path."""
        self.require_own()
        _save(checkpoint, self.path / BEST_FILE)

    def write_evaluations(self, lines: Sequence[Line]) -> None:
        """All of evaluations.jsonl. Raises `OSError` with the path."""
        self.require_own()
        files.write(self.path / EVALUATIONS_FILE, text_of(lines))

    def close(self) -> None:
        """Lets another trainer in. Does nothing twice."""
        _held.discard(self)
        lock_file, self._lock_file = self._lock_file, None
        if lock_file is not None:
            with contextlib.suppress(OSError):  # there are none here
                fcntl.flock(lock_file, fcntl.LOCK_UN)
            lock_file.close()

    def forget(self) -> None:
        """After a fork, in the child: the lock is the parent's, and ends with it."""
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    # Inside ----------------------------------------------------------------------------------------------------------

    def _make(self) -> list[Path]:
        """The directories that were made, innermost first."""
        missing = []
        for directory in (self.path, *self.path.parents):
            if os.path.lexists(directory):
                break
            missing.append(directory)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(f"it cannot be made: {error.strerror}") from error
        return missing

    def _refuse_links(self) -> None:
        """Raises `ConfigError` where a name that a run writes is there and is not what it must be."""
        try:
            names = [path.name for path in self.path.iterdir()]
        except OSError as error:
            raise self._refused(f"it cannot be read: {error.strerror}") from error
        for name in sorted(names):
            ours = (
                *(CONFIG_FILE, CHECKPOINTS, LOCK_FILE, METRICS_FILE, CURVE_FILE, SESSIONS_FILE),
                *(EVALUATIONS_FILE, BEST_FILE, TRACKING_FILE),
            )
            if name not in ours and not name.startswith(BOARD_PREFIX):
                continue
            try:
                mode = (self.path / name).lstat().st_mode
            except FileNotFoundError:  # gone since
                continue
            if stat.S_ISLNK(mode):
                raise self._refused(f"its {name} is a symbolic link, and a run writes nothing outside its directory")
            is_right = stat.S_ISDIR(mode) if name == CHECKPOINTS else stat.S_ISREG(mode)
            if not is_right:
                kind = "directory" if name == CHECKPOINTS else "regular file"
                raise self._refused(f"its {name} is no {kind}: choose another")

    def _lock(self) -> bool:
        """Takes an advisory lock that the system lets go with the process; True when its file was made for that."""
        path = self.path / LOCK_FILE
        made = False
        while True:
            try:
                made = self._make_lock_file(path) or made
                flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                self._lock_file = os.fdopen(os.open(path, flags), "r+b", buffering=0)
            except FileNotFoundError:
                if not self.path.is_dir():
                    raise self._refused("it was deleted while the run began") from None
                continue  # somebody who was refused took it away again
            except OSError as error:
                raise self._refused(f"its {LOCK_FILE} cannot be written: {error.strerror}") from error
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                    self._lock_file.close()
                    self._lock_file = None
                    raise self._refused("another process trains in it: choose another") from error
                warnings.warn(
                    f"{shown(self.path)} cannot be locked ({error.strerror}): nothing keeps another process from "
                    "training in it, too",
                    stacklevel=4,
                )
                return made
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), os.fstat(self._lock_file.fileno())):
                    return made
            self._lock_file.close()  # that of a file that is no longer there
            self._lock_file = None

    def _make_lock_file(self, path: Path) -> bool:
        """Whether it was not there. It appears together with its line, or somebody might take it for another's."""
        if os.path.lexists(path):
            return False
        temporary = path.with_name(f".a3c_fast.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        files.AppendedFile(temporary, _LOCK_LINE).close()
        try:
            os.link(temporary, path, follow_symlinks=False)
        except (FileExistsError, FileNotFoundError):  # another made it, or clears up what is left of writers
            return False
        except OSError:  # a file system without hard links
            with contextlib.suppress(FileExistsError):
                files.AppendedFile(path, _LOCK_LINE).close()
                return True
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _judge(self, config: Config, made_lock: bool) -> None:
        """Sets `kind` and `resumed`; raises where there is no run of ours to go on with, or none to be begun."""
        has_checkpoints = bool(checkpoints.candidates(self.checkpoints))
        has_settings = _read_settings(self.path) is not None
        assert self._lock_file is not None
        line = os.pread(self._lock_file.fileno(), len(_LOCK_LINE) + 1, 0)
        # Those of earlier versions are empty, and so is anybody's: what is beside them tells.
        if line != _LOCK_LINE and (line or not (has_checkpoints or has_settings)):
            raise self._refused(f"its {LOCK_FILE} is not of a3c_fast: choose another")
        has_metrics = (self.path / METRICS_FILE).exists()
        if not has_checkpoints:
            begun = has_settings or (line == _LOCK_LINE and not made_lock)
            of_no_run = {
                CONFIG_FILE: not has_settings,
                METRICS_FILE: not (begun and holds_metrics(self.path)),
                CURVE_FILE: not begun,
                EVALUATIONS_FILE: not begun,
                BEST_FILE: not begun,
                SESSIONS_FILE: not begun,
                CHECKPOINTS: not begun,
            }
            for name, is_of_no_run in of_no_run.items():
                if is_of_no_run and (self.path / name).exists():
                    raise self._refused(f"its {name} is of no run of a3c_fast: choose another")
        if has_checkpoints:
            if not config.resume:
                reason = "a run is already there"
                raise self._refused(f"{reason}: choose another, or go on with it by --resume (resume=True)")
            self.resumed = checkpoints.load_newest(self.checkpoints)
            self._check_structure(config, self.resumed)
            self.kind = "resumed"
        elif has_settings or has_metrics:
            if not config.resume:
                reason = "a run that ended before its first checkpoint is already there"
                raise self._refused(f"{reason}: choose another, or begin it again by --resume (resume=True)")
            self.kind = "restarted"

    def _prepare(self) -> None:
        """What of the first write can fail, fails now."""
        try:
            files.probe(self.path)
            self.checkpoints.mkdir(exist_ok=True)
            files.probe(self.checkpoints)
            for directory in (self.path, self.checkpoints):
                files.clear_temporary(directory)
            if self.kind != "resumed":  # of a run that begins again
                for name in (EVALUATIONS_FILE, BEST_FILE):
                    if (self.path / name).exists():
                        (self.path / name).rename(files.unused(self.path / f"earlier_{name}"))
        except OSError as error:
            where = Path(str(error.filename or self.path))
            name = f"its {CHECKPOINTS}" if where == self.checkpoints else "it"
            raise self._refused(f"{name} cannot be written: {error.strerror}") from error

    def _check_structure(self, config: Config, resumed: checkpoints.Checkpoint) -> None:
        for name in STRUCTURAL_FIELDS:
            ours, theirs = config.to_json()[name], resumed.config.get(name)
            if ours not in (theirs, "auto"):
                reason = f"the run in {shown(self.path)} was made with {theirs!r} and goes on with it"
                raise ConfigError(name, ours, reason)

    def _refused(self, reason: str) -> ConfigError:
        return ConfigError("run_dir", shown(self.path), reason)


def _save(checkpoint: checkpoints.Checkpoint, path: Path) -> None:
    try:
        checkpoints.save(checkpoint, path)
    except ConfigError as error:
        raise OSError(errno.EEXIST, error.allowed, shown(path)) from error


def stored_config(path: Path) -> Config | None:
    """The settings of the run in a directory: those of config.json, or of the newest checkpoint where it is damaged.

    None where there is no run. Raises `CheckpointError` where no file says them whole, `ConfigError` for settings that
    this version does not have.
    """
    values = _read_settings(path)
    is_sure = values is not None and values.get("format") is not None and not stored_settings.is_changed(values)
    if values is not None and is_sure:
        return Config.from_json(values)
    name = shown(path / CONFIG_FILE)
    if checkpoints.candidates(path / CHECKPOINTS):
        if (path / CONFIG_FILE).exists() and (values is None or stored_settings.is_changed(values)):
            warnings.warn(f"{name} is not as it was written: the settings are those of the checkpoint", stacklevel=2)
        return Config.from_json(checkpoints.load_newest(path / CHECKPOINTS).config)
    if values is not None and stored_settings.is_changed(values):
        raise CheckpointError(f"{name} is not as it was written, and no checkpoint says the settings of the run")
    return None if values is None else Config.from_json(values)


def _read_settings(path: Path) -> dict[str, Any] | None:
    """What config.json holds, None where it is missing, damaged or somebody else's."""
    try:
        values = msgspec.json.decode(files.read(path / CONFIG_FILE, _MOST_CONFIG_BYTES), type=dict[str, Any])
    except (OSError, ValueError, RecursionError):
        return None
    return values if values.keys() >= _CONFIG_FIELDS else None


def _forget_after_fork() -> None:
    for directory in list(_held):
        directory.forget()


os.register_at_fork(after_in_child=_forget_after_fork)
