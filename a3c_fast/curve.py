"""curve.png: how a run learns, drawn while it does and at its end."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a3c_fast import evaluation_log, files, metrics, sessions
from a3c_fast.human_scores import SCORES
from a3c_fast.imports import import_matplotlib

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.run_directory import RunDirectory

CURVE_FILE = "curve.png"
FIRST_SECONDS = 20.0
"""After the beginning of a run it is drawn for the first time."""
EVERY_SECONDS = 60.0
"""Later on."""
_MOST_SHOWN = 1e100  # matplotlib computes with squares of what it shows
_SHORT_SECONDS = 120.0  # below which time is in seconds
_COLOR = "#2a78d6"


class CurveOfRun:
    """curve.png of a run directory that is held.

    While workers run it is drawn in a thread of its own, for it takes some tenths of a second of Python: the thread
    that looks after a run does not wait for it, and workers never hold the GIL.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._thread: threading.Thread | None = None
        self._error: OSError | MemoryError | None = None  # of that thread, once it has ended

    def begin(self, config: Config) -> None:
        """Begins to draw, unless that is under way. One thread at a time may ask.

        Raises `OSError` with the path where the curve could not be written the last time.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        error, self._error = self._error, None
        self._thread = threading.Thread(target=self._run, args=(config,), name="a3c_fast curve", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system gives no thread: the next time it may
            self._thread = None
        if error is not None:
            raise error

    def finish(self, config: Config) -> None:
        """Draws it for the last time; not where the directory is no longer the run's. Raises `OSError` likewise."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        try:
            self._directory.require_own()
        except OSError:
            return
        draw_curve(self._directory.path, config)

    def _run(self, config: Config) -> None:
        try:
            self._directory.require_own()
            draw_curve(self._directory.path, config)
        except (OSError, MemoryError) as error:
            self._error = error


def draw_curve(run_dir: Path, config: Config | None) -> None:
    """Draws the mean training return of the last 100 episodes and the evaluations against agent steps and time.

    With one standard deviation of each, the scores of random play and of humans where the literature has them, and
    where the run was resumed. Raises `OSError` with the path when it cannot be written; what was there stays.
    """
    import_matplotlib()
    from matplotlib.figure import Figure  # no pyplot: it is not thread-safe and may want a display

    names = ("mean_return_100", "wall_seconds")
    lines = [line for line in metrics.read(run_dir) if all(_can_be_shown(line.get(name)) for name in names)]
    evaluations = [
        e for e in evaluation_log.read(run_dir) if _can_be_shown(e.mean_return) and _can_be_shown(e.std_return)
    ]
    resumes = sessions.read(run_dir)[1:]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    if config is not None:
        figure.suptitle(f"{config.env_id}, seed {config.seed}", fontsize=12, fontweight="bold")
    axes = figure.subplots(1, 2, sharey=True)
    is_short = not lines or lines[-1]["wall_seconds"] < _SHORT_SECONDS
    for axis, in_time in zip(axes, (False, True), strict=True):
        scale = 1.0 if is_short or not in_time else 1 / 60
        key = "wall_seconds" if in_time else "step"
        _returns(axis, [line[key] * scale for line in lines], lines)
        if evaluations:
            _evaluations(axis, [getattr(e, key) * scale for e in evaluations], evaluations)
        for i, session in enumerate(resumes):
            at = session.first_wall_seconds * scale if in_time else session.first_step
            axis.axvline(at, color="0.45", linewidth=1, linestyle="--", label="" if i else "resumed")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlim(left=0)
    axes[0].set(xlabel="agent steps", ylabel="return")
    axes[0].xaxis.set_major_formatter(_short)
    axes[1].set(xlabel="seconds of training" if is_short else "minutes of training")
    if config is not None and config.env_id in SCORES:
        _references(axes, *SCORES[config.env_id])
    if lines or evaluations:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    files.write(run_dir / CURVE_FILE, image.getvalue())


def _can_be_shown(value: float | None) -> bool:
    return value is not None and abs(value) <= _MOST_SHOWN


def _returns(axis: Any, x: Sequence[float], lines: Sequence[dict[str, Any]]) -> None:
    means = [line["mean_return_100"] for line in lines]
    axis.plot(x, means, color=_COLOR, linewidth=1.6, label="training, mean of 100 episodes" if lines else "")
    with_spread = [line.get("std_return_100") for line in lines]
    if any(_can_be_shown(value) for value in with_spread):
        spread = [value if _can_be_shown(value) else 0.0 for value in with_spread]
        low = [mean - std for mean, std in zip(means, spread, strict=True)]
        high = [mean + std for mean, std in zip(means, spread, strict=True)]
        axis.fill_between(x, low, high, color=_COLOR, alpha=0.15, linewidth=0, label="their standard deviation")


def _evaluations(axis: Any, x: Sequence[float], evaluations: Sequence[evaluation_log.Line]) -> None:
    axis.errorbar(
        x,
        [e.mean_return for e in evaluations],
        [e.std_return for e in evaluations],
        fmt="o",
        color="#c2410c",
        markersize=4,
        capsize=2,
        linewidth=1,
        label="evaluations, standard deviation",
        zorder=3,
    )


def _references(axes: Sequence[Any], random: float, human: float) -> None:
    """Lines where they are so near that the curve is seen beside them, and else words at the edge."""
    low, high = axes[0].get_ylim()
    size = high - low
    for value, name in ((human, f"human {human:,g}"), (random, f"random play {random:,g}")):
        near = low - 1.2 * size <= value <= high + 1.2 * size
        for axis in axes:
            if near:
                axis.axhline(value, color="0.35", linewidth=1, linestyle=":")
        axis = axes[1]
        if near:
            place = {"xy": (1, value), "xycoords": ("axes fraction", "data"), "va": "bottom", "ha": "right"}
        elif value > high:  # where the curve begins, it is low
            axis, name = axes[0], f"{name} is above"
            place = {"xy": (0.02, 0.99), "xycoords": "axes fraction", "va": "top", "ha": "left"}
        else:
            name += " is below"
            place = {"xy": (1, 0.01), "xycoords": "axes fraction", "va": "bottom", "ha": "right"}
        axis.annotate(name, fontsize=8, color="0.35", **place)


def _short(value: float, _: Any) -> str:
    """Of an agent step."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
