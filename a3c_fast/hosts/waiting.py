"""A wait of which somebody who looks on must not have to guess what it is for."""

from __future__ import annotations

import time
from collections.abc import Callable

SAY_AFTER_SECONDS = 5.0  # hosts that a launcher starts together are there within three


class Waiting:
    """One wait, which says once what it is for where it takes longer than others."""

    def __init__(self, tell: Callable[[str], None], sentence: str) -> None:
        self._tell, self._sentence = tell, sentence
        self._began: float | None = time.monotonic()

    def look(self) -> None:
        """Called again and again while it lasts."""
        if self._began is not None and time.monotonic() - self._began > SAY_AFTER_SECONDS:
            self._began = None
            self._tell(self._sentence)
