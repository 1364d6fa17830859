"""Brings numbers to one tracker, in a thread of its own: who sends them never waits for it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping

from a3c_fast.calls import end_before_what_is_registered
from a3c_fast.events import Reason
from a3c_fast.trackers import RunInfo, Tracker

_MOST_WAITING = 1000  # values that a tracker may be behind: minutes of a run


class Courier:
    """Of one tracker, from its start to its finish. `tell` is given what went wrong, in the courier's thread."""

    def __init__(self, name: str, tracker: Tracker, tell: Callable[[str], None]) -> None:
        self.name = name
        self._tracker = tracker
        self._tell = tell
        # Its put() may be interrupted by a signal's handler that puts something, too.
        self._waiting: queue.SimpleQueue[tuple[Mapping[str, float], int] | Reason] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._dropped = 0  # of those who send, one at a time: it was too slow for them
        self._lost = 0  # of the thread alone: the tracker raised
        self._failed = False  # of the thread alone
        self._is_done = False  # written by the thread, before it ends

    def start(self, run: RunInfo) -> None:
        """Begins. Raises `RuntimeError` where the system gives no thread."""
        self._thread = threading.Thread(
            target=self._follow, args=(run,), name=f"a3c_fast tracker {self.name}", daemon=True
        )
        self._thread.start()

    def send(self, values: Mapping[str, float], step: int) -> None:
        """By one thread at a time; of what the tracker is too slow for the oldest is dropped."""
        if self._waiting.qsize() >= _MOST_WAITING:
            with contextlib.suppress(queue.Empty):  # the tracker was quicker
                self._waiting.get_nowait()
                self._dropped += 1
        self._waiting.put((values, step))

    def end(self, reason: Reason) -> None:
        """Has the tracker finish when it has all that was sent; does not wait."""
        self._waiting.put(reason)

    def wait(self, seconds: float) -> None:
        """Waits until the tracker has finished, at most so long, and tells what it does not have."""
        if self._thread is None:
            return
        self._thread.join(seconds)
        if not self._is_done:
            self._tell(
                f"the tracker {self.name} has not finished within {seconds:.3g} s and is left behind: "
                f"{self._waiting.qsize() + self._dropped:,} values may be missing there"
            )

    def _follow(self, run: RunInfo) -> None:
        try:
            if self._did("start", lambda: self._tracker.start(run), "the run goes on without it"):
                end_before_what_is_registered()  # the tracker may have: it would finish before the run has ended
                self._bring()
        finally:
            self._is_done = True

    def _bring(self) -> None:
        while not isinstance(item := self._waiting.get(), str):
            values, step = item
            if not self._did("log", lambda values=values, step=step: self._tracker.log(values, step), "it goes on"):  # type: ignore[misc]
                self._lost += 1
        self._did("finish", lambda: self._tracker.finish(item), "its end may be missing")
        if missing := self._dropped + self._lost:
            self._tell(
                f"the tracker {self.name} has not got {missing:,} values: it was too slow for {self._dropped:,} and "
                f"failed with {self._lost:,}"
            )

    def _did(self, method: str, call: Callable[[], None], then: str) -> bool:
        """Whether the tracker did it; the first failure is told."""
        try:
            call()
        except BaseException as error:  # one that raises SystemExit ends its thread no more than the run
            if not self._failed:
                self._failed = True
                self._tell(f"the tracker {self.name} failed in {method}(), and {then}: {type(error).__name__}: {error}")
            return False
        return True
