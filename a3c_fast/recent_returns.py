"""How far apart the returns of the last training episodes are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from a3c_fast._core import Engine

_WINDOW = 100  # episodes, as for the means of the core


class RecentReturns:
    """Of the last 100 episodes of an engine; `earlier` are those before it went on, oldest first."""

    def __init__(self, earlier: Sequence[float] = ()) -> None:
        self._earlier = list(earlier)

    def std(self, engine: Engine) -> float | None:
        """Their standard deviation, None before the first. Any thread may ask."""
        _, told = engine.episodes_since(max(0, engine.episodes_added() - _WINDOW), _WINDOW)
        returns = [*self._earlier, *(episode[0] for episode in told)][-_WINDOW:]
        if not returns or not all(map(math.isfinite, returns)):
            return None
        return statistics.pstdev(returns)
