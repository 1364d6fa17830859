"""The thread that looks after a run while its workers learn, whoever waits for it or not."""

from __future__ import annotations

import os
import select
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a3c_fast._core import Engine

_INTERVAL_SECONDS = 0.1  # between two looks at a run


class Supervisor:
    """Of one run of an engine, by its number: calls `look` again and again until it has ended, and then `finish`.

    What one of them raises ends the run and is its `error`.
    """

    def __init__(self, engine: Engine, run: int, look: Callable[[], None], finish: Callable[[], None]) -> None:
        # Readable once the run is finished. No lock of Python's: who waits may be interrupted by a signal's handler, in
        # which the trainer is used, too.
        self._done = os.eventfd(0, os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._done)
        self.error: BaseException | None = None  # written before _done is
        # In a list, since the thread keeps its arguments until it has ended: who hears that the run is finished must be
        # the only one who holds the trainer and its engine.
        self._held: list[Any] = [engine, run, look, finish]
        self._thread = threading.Thread(target=self._run, name="a3c_fast supervisor", daemon=True)

    def start(self) -> None:
        """Begins. Raises `RuntimeError` where the system gives no thread."""
        self._thread.start()

    def wait(self, seconds: float | None) -> bool:
        """Waits until the run is finished, at most so long; whether it is."""
        poll = select.poll()
        poll.register(self._done, select.POLLIN)
        return bool(poll.poll(None if seconds is None else min(1000 * max(0.0, seconds), 2**31 - 1)))

    def is_this_thread(self) -> bool:
        """Whether its thread is the one that asks."""
        return self._thread is threading.current_thread()

    def join(self, seconds: float) -> None:
        """Waits until the thread has ended, at most so long; at once where it is this one."""
        if not self.is_this_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._supervise(*self._held)
        except BaseException as error:
            self.error = error
        finally:
            self._held.clear()
            os.eventfd_write(self._done, 1)

    @staticmethod
    def _supervise(engine: Engine, run: int, look: Callable[[], None], finish: Callable[[], None]) -> None:
        try:
            while not engine.wait_for(run, _INTERVAL_SECONDS):
                look()
        except BaseException:
            engine.request_stop()
            while not engine.wait_for(run, _INTERVAL_SECONDS):
                pass
            raise
        finish()
