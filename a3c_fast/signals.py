"""Signals that ask a run to end: Ctrl-C, a batch system's, a lost connection."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a3c_fast.trainer import Trainer

# SIGUSR1 is what Slurm sends ahead of a time limit. SIGQUIT ends the process unsaved, as it always does.
_ASKS_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_SHOW_CURSOR = "\x1b[?25h"  # rich hides it while it shows progress


class Signals:
    """The first signal asks the run to end; the second, or one before there is a run, leaves the process at once.

    An exception instead could get lost in the middle of an import, or come out of it as one of another kind. In a
    program that is more than the command (`of_process` False) such a signal is the program's: its own handlers are put
    back and the signal is raised again. A signal that is ignored stays ignored (nohup, jobs in the background), and one
    that a handler outside Python has stays with it.
    As a context it puts the handlers back. Off the main thread, where Python allows none, it handles nothing.
    """

    def __init__(self, *, of_process: bool) -> None:
        self.received: int | None = None
        self._of_process = of_process
        self._trainer: Trainer | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _ASKS_TO_END:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = before
                    signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()

    def watch_over(self, trainer: Trainer) -> None:
        """From now on there is a run to end."""
        self._trainer = trainer

    def _put_back(self) -> None:
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._trainer is not None and self.received is None:
            self.received = number
            with contextlib.suppress(RuntimeError):  # it may be closed already
                self._trainer.request_stop()
            return
        if not self._of_process:
            self.received = number
            self._put_back()
            signal.raise_signal(number)
            return
        name = signal.Signals(number).name
        if self._trainer is None:
            _tell("interrupted before the run began: nothing to save\n")
        elif os.isatty(2):
            _tell(f"\n{_SHOW_CURSOR}left by a second signal, {name}, before all was saved\n")
        os._exit(128 + number)


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # standard error may be closed
        os.write(2, text.encode())
