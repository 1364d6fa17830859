"""How far a run is, in a Jupyter notebook: a bar, its numbers and its curve below the cell that trains."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from a3c_fast.progress import time_left

if TYPE_CHECKING:
    from a3c_fast.config import Config

_WIDTH, _HEIGHT = 480, 120  # of the curve, in pixels
_BETWEEN_SECONDS = 0.5
_MOST_POINTS = 400  # of the curve: of twice as many every second one is left out


def in_notebook() -> bool:
    """Whether this is a cell of a notebook: IPython runs, and what it shows goes to a kernel's frontend."""
    ipython = sys.modules.get("IPython")  # who is in a notebook has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class Board:
    """What is shown below a cell, changed in place by `show`. Made in the thread that runs the cell."""

    def __init__(self, config: Config) -> None:
        from IPython.display import HTML, display

        self._config = config
        self._html = HTML
        self._points: list[tuple[int, float]] = []
        self._shown = -1.0
        self._handle = display(HTML(""), display_id=True)

    def is_due(self) -> bool:
        """Whether the last `show` is long enough ago for people to see a difference."""
        return time.monotonic() - self._shown >= _BETWEEN_SECONDS

    def show(self, line: Mapping[str, Any]) -> None:
        """The numbers of `Trainer.stats()`."""
        self._shown = time.monotonic()
        if line["mean_return_100"] is not None:
            self._points.append((line["step"], line["mean_return_100"]))
            if len(self._points) >= 2 * _MOST_POINTS:
                del self._points[1:-1:2]
        self._handle.update(self._html(page(self._config, line, self._points)))


def page(config: Config, line: Mapping[str, Any], points: list[tuple[int, float]]) -> str:
    """HTML of a run's numbers and of the curve through `points`, (step, mean return) each."""
    mean = "-" if line["mean_return_100"] is None else f"{line['mean_return_100']:,.1f}"
    words = [f"{line['step']:,} of {config.total_steps:,} steps", f"mean return {mean}"]
    if line["steps_per_second"] > 0:
        left = time_left(config, line, line["steps_per_second"])
        words += [f"{line['steps_per_second']:,.0f} steps/s", f"{left} left"]
    else:
        words.append(f"{line['wall_seconds']:,.1f} s of training")
    return (
        f"<div><b>{escape(config.env_id)}</b>&ensp;{'&ensp;·&ensp;'.join(words)}</div>"
        f'<progress style="width:{_WIDTH}px" max="{config.total_steps}" value="{line["step"]}"></progress>'
        + (_curve(points) if len(points) > 1 else "")
    )


def _curve(points: list[tuple[int, float]]) -> str:
    """A picture of the curve, with its least and its largest return beside it."""
    low, high = min(y for _, y in points), max(y for _, y in points)
    first, last = points[0][0], points[-1][0]
    across, up = _WIDTH / max(1, last - first), (_HEIGHT - 8) / ((high - low) or 1)
    path = " ".join(f"{across * (x - first):.1f},{_HEIGHT - 4 - up * (y - low):.1f}" for x, y in points)
    text = 'font-size="11" font-family="sans-serif" fill="currentColor"'
    return (
        f'<svg width="{_WIDTH + 70}" height="{_HEIGHT}" role="img" aria-label="mean return against steps">'
        f'<polyline points="{path}" fill="none" stroke="#1f77b4" stroke-width="2"/>'
        f'<text x="{_WIDTH + 6}" y="12" {text}>{high:,.1f}</text>'
        f'<text x="{_WIDTH + 6}" y="{_HEIGHT - 4}" {text}>{low:,.1f}</text></svg>'
    )
