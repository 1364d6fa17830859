"""Files of a run on disk: written whole or not at all, read with a limit, and never through what is no plain file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

# Of a file that is being written: short, so that it is allowed wherever the file's own name is. Earlier versions took
# the name of the file with the process behind it.
_TEMPORARY = re.compile(r"\.a3c_fast\.[0-9]+\.[0-9a-f]{8}\.tmp|\.step_[0-9]+\.(safetensors|json)\.[0-9]+\.tmp")


def read(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises `OSError` with the reason and the path, also for a pipe, a device and a larger file: none of them is waited
    for or read.
    """
    with _of(path):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        os.close(file)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with os.fdopen(file, "rb") as stream, _of(path):
        status = os.fstat(file)
        # No more room than it needs is asked for, and one byte tells whether it has grown beyond the limit.
        content = stream.read(min(limit, status.st_size + 2**20) + 1) if status.st_size <= limit else b""
        if max(status.st_size, len(content)) > limit:
            raise OSError(errno.EFBIG, f"it is larger than the {limit / 2**20:,.0f} MiB that are read", str(path))
        return content


def write(path: Path, content: bytes) -> None:
    """Puts `content` at `path`, whole or not at all, and on disk before it returns.

    What was there is replaced and not written to: another name of the same file keeps its content. Raises `OSError`
    with the path, and leaves no other file behind.
    """
    os.close(_replace(path, content))


def probe(directory: Path) -> None:
    """Raises `OSError` with the path where no file can be made in `directory`."""
    with _of(directory):
        file, temporary = _new(directory)
        os.close(file)
        temporary.unlink()


def unused(path: Path) -> Path:
    """`path`, or the first of the same name with a number that is free."""
    free, number = path, 1
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return free


def is_regular(path: Path) -> bool:
    """Whether `path` itself, and not what it may link to, is a regular file."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def clear_temporary(directory: Path) -> None:
    """Deletes what a writer that was killed left in `directory`, of which the caller has the lock."""
    for path in directory.iterdir():
        if _TEMPORARY.fullmatch(path.name) and is_regular(path):
            path.unlink(missing_ok=True)


class AppendedFile:
    """A new file that grows by whole pieces: one that cannot be written to its end is taken back."""

    def __init__(self, path: Path, content: bytes = b"", *, replace: bool = False) -> None:
        """Begins with `content`. Raises `FileExistsError` where there is a file, unless it may be replaced."""
        self.path = path
        self._file: int | None = _replace(path, content) if replace else _create(path, content)

    def append(self, piece: bytes) -> None:
        """Adds `piece`; a file that was deleted begins anew. Raises `OSError` with the path."""
        with _of(self.path):
            if self._file is None:
                raise OSError(errno.EBADF, "it is closed", str(self.path))
            if os.fstat(self._file).st_nlink == 0:
                again = _create(self.path, b"")
                os.close(self._file)
                self._file = again
            size = os.lseek(self._file, 0, os.SEEK_END)
            try:
                _write_all(self._file, piece)
            except BaseException:
                with contextlib.suppress(OSError):  # the first error is the one to tell
                    os.ftruncate(self._file, size)
                raise

    def close(self) -> None:
        """Does nothing twice."""
        if self._file is not None:
            file, self._file = self._file, None
            with _of(self.path):
                os.close(file)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            with contextlib.suppress(OSError):
                self.close()


def _replace(path: Path, content: bytes) -> int:
    """As `write`; returns the open file."""
    with _of(path):
        file, temporary = _new(path.parent)
        try:
            _write_all(file, content)
            os.fsync(file)
            temporary.replace(path)
        except BaseException:
            os.close(file)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        try:
            _sync_directory(path.parent)
        except BaseException:
            os.close(file)
            raise
        return file


def _create(path: Path, content: bytes) -> int:
    with _of(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            _write_all(file, content)
        except BaseException:
            os.close(file)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        return file


def _new(directory: Path) -> tuple[int, Path]:
    """An empty file of a name that nobody has, open for writing."""
    temporary = directory / f".a3c_fast.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(temporary, flags, 0o666), temporary


def _write_all(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def _sync_directory(directory: Path) -> None:
    """Puts a rename on disk."""
    try:
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # a directory that may be written and not read
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # some network file systems have none
            raise
    finally:
        os.close(file)


@contextlib.contextmanager
def _of(path: Path) -> Iterator[None]:
    """An `OSError` from here names `path`, whatever name or descriptor it came from."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
