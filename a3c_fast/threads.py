"""Work of ours in a thread of its own, while the caller's handles signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SLICE_SECONDS = 0.1  # how long a wait stays away from Python, and so from signal handlers


def in_a_thread(make: Callable[[], T], name: str, meanwhile: Callable[[], None] = lambda: None) -> T:
    """What `make` returns or raises, called in a new thread; `meanwhile` is called again and again by the caller's.

    What the caller's thread has set in torch is not set there, and a pool of threads that LibTorch makes for it is not
    the caller's: after a fork the child could not use that one.
    """
    made: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            made.append(make())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name=f"a3c_fast {name}")
    thread.start()
    while thread.is_alive():
        thread.join(_SLICE_SECONDS)
        meanwhile()
    if failed:
        raise failed[0]
    return made[0]
