"""Imports that change the program they happen in, done so that it stays as it was.

EnvPool imports matplotlib.pyplot for the viewers of some games, and sets MPLBACKEND and MPLCONFIGDIR for it; gymnasium
sets PYGAME_HIDE_SUPPORT_PROMPT and a filter of warnings. And matplotlib cannot be imported where MPLBACKEND names a
backend that is not installed, as a notebook's does in the programs that it starts. Training needs none of that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_lock = threading.RLock()  # the environment and the filters are the process's


def _begin_anew_after_fork() -> None:
    global _lock  # a thread that is not here could have held it
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_begin_anew_after_fork)


def import_envpool() -> Any:
    """EnvPool with its registry; environment variables and filters of warnings stay as they were.

    Raises `ImportError` in one sentence where it is not installed.
    """
    with _lock:
        if "envpool.registration" not in sys.modules:
            matplotlib = import_matplotlib()
            with _unchanged(), warnings.catch_warnings():
                # Else EnvPool names a folder of its own, and makes it.
                os.environ["MPLCONFIGDIR"] = matplotlib.get_configdir()
                try:
                    import envpool.registration
                except ModuleNotFoundError as error:
                    if error.name != "envpool":
                        raise
                    said = "EnvPool is not installed, and all environments but gymnasium's need it: pip install envpool"
                    raise ImportError(said) from None
    import envpool.registration

    return envpool


def import_matplotlib() -> Any:
    """matplotlib with the backend that MPLBACKEND names, or with its own choice where that backend does not exist."""
    with _lock:
        if "matplotlib" not in sys.modules:
            logger = logging.getLogger("matplotlib")
            level = logger.level
            logger.setLevel(logging.ERROR)  # where there is no home it warns of its temporary folder
            try:
                with _unchanged():
                    backend = os.environ.pop("MPLBACKEND", "")
                    import matplotlib

                    matplotlib.get_configdir()
            finally:
                logger.setLevel(level)
            if backend:
                with contextlib.suppress(ValueError):
                    matplotlib.rcParams["backend"] = backend
    import matplotlib

    return matplotlib


@contextlib.contextmanager
def _unchanged() -> Iterator[None]:
    """Puts the environment variables back."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in {*before, *os.environ}:
            if name not in before:
                del os.environ[name]
            elif os.environ.get(name) != before[name]:
                os.environ[name] = before[name]
