"""Standard output and standard error of a command, which may be closed, full, gone, or of a poor alphabet."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

_PLAIN_LINES = str.maketrans("│─╭╮╰╯━╸╺", "|-++++-- ")
_MOMENT_MILLISECONDS = 200  # for a reader who is only slow
_CLEAR_LINE = "\r\x1b[2K"


class Output:
    """What a command tells goes through one of these. Nothing of it raises: a training run needs no listener.

    It can be written to as a text file. The streams are those that `sys` has at the time. `lost` is why standard output
    could not be written, None as long as it could; with `says_so` standard error is told once, unless the reader went
    away. `has_bar` says that the last line of the terminal is a bar, which others are written over. Without `waits`
    what a reader who does not read would hold up is left out: no full pipe or stopped terminal stops a run.
    """

    def __init__(self, *, says_so: bool = True, waits: bool = True) -> None:
        self.lost: OSError | None = None
        self.has_bar = False
        self._says_so = says_so
        self._waits = waits

    def say(self, line: str) -> None:
        """A line on standard output, at once."""
        self.write(f"{line}\n")
        self.flush()

    def complain(self, line: str) -> None:
        """A line on standard error."""
        if self._waits or _takes_more(sys.stderr):
            _write(sys.stderr, f"{_CLEAR_LINE if self.has_bar else ''}{line}\n")

    def write(self, text: str) -> int:
        """Text for standard output."""
        if self._waits or _takes_more(sys.stdout):
            self._keep(_write(sys.stdout, text, flush=False))
        return len(text)

    def flush(self) -> None:
        """Brings what was written out."""
        if self._waits or _takes_more(sys.stdout):
            self._keep(_write(sys.stdout, ""))

    def isatty(self) -> bool:
        """Whether a person at a terminal reads it."""
        try:
            return sys.stdout is not None and sys.stdout.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """The number of the file, which rich asks for the width of the terminal."""
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return sys.stdout.fileno()

    @property
    def encoding(self) -> str:
        """The alphabet."""
        return _encoding(sys.stdout)

    @contextlib.contextmanager
    def warnings_in_one_line(self) -> Iterator[None]:
        """Python's warnings as lines of standard error, without the place in the code that they come from."""
        before = warnings.showwarning
        warnings.showwarning = lambda message, *_, **__: self.complain(f"warning: {message}")
        try:
            yield
        finally:
            warnings.showwarning = before

    def _keep(self, error: OSError | None) -> None:
        if error is None or self.lost is not None:
            return
        self.lost = error
        # A reader that has read enough, or a terminal that was closed, went away on purpose.
        if self._says_so and error.errno not in (errno.EPIPE, errno.EIO, errno.EBADF):
            self.complain(f"warning: standard output cannot be written: {error.strerror}")


def occupy_standard_files() -> None:
    """Opens the null device where standard input, output or error is closed.

    Else the next file that is opened, say a checkpoint, gets the number of one of them, and with it whatever a library
    writes there.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def let_go_of_what_is_unwritten() -> None:
    """Flushes both streams; one that cannot be is led to the null device.

    Python flushes once more at exit, and would turn the exit status into 120.
    """
    for stream in (sys.stdout, sys.stderr):
        if _write(stream, "") is None:
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()


def _takes_more(stream: TextIO | None) -> bool:
    """Whether it takes a few lines, which are less than the page that a pipe then has room for, without waiting."""
    try:
        number = stream.fileno() if stream is not None else -1
    except (AttributeError, OSError, ValueError):  # no file of the system
        return True
    if number < 0:
        return True
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return bool(poll.poll(_MOMENT_MILLISECONDS))  # also where there is an error, which the write then tells


def _write(stream: TextIO | None, text: str, *, flush: bool = True) -> OSError | None:
    """Writes what can be written; the error where nothing can be."""
    if stream is None:
        return OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        if text:
            stream.write(_spelled(text, _encoding(stream)))
        if flush:
            stream.flush()
    except OSError as error:
        return error
    except ValueError as error:  # the file object is closed
        return OSError(errno.EBADF, str(error))
    return None


def _encoding(stream: TextIO | None) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _spelled(text: str, encoding: str) -> str:
    """`text` in letters that the encoding has, with escapes for others, such as bytes of a path that are no text."""
    try:
        text.encode(encoding)
    except UnicodeError:
        return text.translate(_PLAIN_LINES).encode(encoding, "backslashreplace").decode(encoding)
    return text
