"""Alternating rounds: the machine's speed drifts, so what is compared is timed in turn, and medians are quoted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

# Makes about so many steps and returns how many they were.
Steps = Callable[[int], int]


def rate(make: Steps, steps: int) -> float:
    """Steps a second of one round."""
    begin = time.perf_counter()
    made = make(steps)
    return made / (time.perf_counter() - begin)


def warm_up(make: Steps, seconds: float) -> int:
    """Runs the thing twice, briefly, and returns the steps of a round that lasts about `seconds`."""
    rate(make, 2_000)
    return max(2_000, round(rate(make, 4_000) * seconds))


def alternate(kinds: Mapping[str, Steps], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Steps a second of each kind in each round, A B A B ..., after a warm-up of each."""
    steps = {name: warm_up(make, seconds) for name, make in kinds.items()}
    figures: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, make in kinds.items():
            figures[name].append(rate(make, steps[name]))
    return figures
