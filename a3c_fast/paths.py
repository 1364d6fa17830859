"""Paths as people read them."""

from __future__ import annotations

import os
from pathlib import Path


def shown(path: str | os.PathLike[str]) -> str:
    """`path` from the working directory where it is below it, else as it is; never like a flag.

    It is text that every stream can print: bytes that are no UTF-8 come as \\xNN.
    """
    try:
        below = Path(path).relative_to(Path.cwd())
        path = f"./{below}" if str(below).startswith("-") else below
    except (OSError, ValueError):  # the working directory is gone, or the path is elsewhere
        pass
    return os.fsencode(path).decode("utf-8", "backslashreplace")
