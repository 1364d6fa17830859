"""The calls into a3c_fast that are under way in any thread, so that the end of the interpreter can wait for them.

Python ends daemon threads where they next ask for the GIL, and one that is inside an extension then takes the whole
process with it. So before the interpreter ends, calls that have begun come to their end, and those that would begin, or
that fail then, wait for ever, which for a daemon thread is no longer than the process lives.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_PATIENCE_SECONDS = 10.0  # with a call that does not come to its end, say in a function of the user's


class Calls:
    """The number of threads that are inside; a context manager around each call, which may contain others."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nobody is inside."""
        # Reentrant: a collection of garbage in the middle of its use may close a trainer.
        self._changed = threading.Condition(threading.RLock())
        self._inside = 0  # guarded by _changed
        self._ending_thread: int | None = None  # guarded by _changed: the one that ends the interpreter
        self._own = threading.local()  # `depth`: calls of this thread inside each other

    def __enter__(self) -> None:
        depth: int = getattr(self._own, "depth", 0)
        if depth == 0:
            with self._changed:
                may_enter = self._ending_thread in (None, threading.get_ident())
                self._inside += may_enter
            if not may_enter:
                _wait_for_ever()
        self._own.depth = depth + 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._own.depth = depth = max(0, getattr(self._own, "depth", 0) - 1)
        if depth > 0:
            return
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()
            may_return = kind is None or self._ending_thread in (None, threading.get_ident())
        if not may_return:  # what it waited for was closed under it: nobody needs to be told
            _wait_for_ever()

    def may_end_here(self) -> None:
        """For long calls, where nothing is half done: does not return once the interpreter ends."""
        with self._changed:
            if self._ending_thread in (None, threading.get_ident()):
                return
            self._inside -= 1
            self._changed.notify_all()
        _wait_for_ever()

    def refuse(self) -> None:
        """Lets no other thread begin a call from here on."""
        with self._changed:
            self._ending_thread = threading.get_ident()

    def wait(self, seconds: float) -> None:
        """Waits until no thread is inside, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside == 0, seconds)


calls = Calls()
_before_the_end: list[Callable[[], None]] = []


def counted(function: Callable[P, R]) -> Callable[P, R]:
    """The function or method as one of the calls."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with calls:
            return function(*args, **kwargs)

    return call


def before_the_end(function: Callable[[], None]) -> Callable[[], None]:
    """Has the function called when the interpreter ends, once no other thread can begin a call."""
    _before_the_end.append(function)
    return function


def end_with_the_process() -> None:
    """Has that happen also where multiprocessing ends a child that it has forked, which calls nothing of atexit's."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _end, exitpriority=0)


def end_before_what_is_registered() -> None:
    """Has it happen before what others have registered with atexit until now, which it may need."""
    atexit.unregister(_end)
    atexit.register(_end)


@atexit.register
def _end() -> None:
    calls.refuse()
    for function in _before_the_end:
        function()
    calls.wait(_PATIENCE_SECONDS)


def _wait_for_ever() -> None:
    threading.Event().wait()


def _begin_anew_after_fork() -> None:
    # The threads that were inside, or that held the lock, are not here.
    calls.reset()


os.register_at_fork(after_in_child=_begin_anew_after_fork)
