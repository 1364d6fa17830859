"""The thread that looks after a run while its workers learn, whoever waits for it or not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from a3c_fast._core import Engine

_INTERVAL_SECONDS = 0.1  # between two looks at a run


class Supervisor:
    """Of one run of an engine, by its number: calls `look` again and again until it has ended, and then `finish`.

    What one of them raises ends the run and is its `error`.
    """

    def __init__(self, engine: Engine, run: int, look: Callable[[], None], finish: Callable[[], None]) -> None:
        self._done = threading.Event()
        self.error: BaseException | None = None  # written before _done is set
        self._thread = threading.Thread(
            target=self._supervise, args=(engine, run, look, finish), name="a3c_fast supervisor", daemon=True
        )

    def start(self) -> None:
        """Begins. Raises `RuntimeError` where the system gives no thread."""
        self._thread.start()

    def wait(self, seconds: float | None) -> bool:
        """Waits until the run is finished, at most so long; whether it is."""
        return self._done.wait(None if seconds is None else min(max(0.0, seconds), threading.TIMEOUT_MAX))

    def join(self) -> None:
        """Waits until the thread has ended, unless it is this one."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _supervise(self, engine: Engine, run: int, look: Callable[[], None], finish: Callable[[], None]) -> None:
        try:
            try:
                while not engine.wait_for(run, _INTERVAL_SECONDS):
                    look()
            except BaseException:
                engine.request_stop()
                while not engine.wait_for(run, _INTERVAL_SECONDS):
                    pass
                raise
            finish()
        except BaseException as error:
            self.error = error
        finally:
            # Where nobody else holds the trainer, it is let go of here, before anybody hears that the run has ended.
            del engine, look, finish
            self._done.set()
