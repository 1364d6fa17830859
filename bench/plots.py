"""Pictures from the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure


def bars(values: Mapping[str, float], path: Path, title: str) -> None:
    """A horizontal bar for each value, the number at its end."""
    figure = Figure(figsize=(7, 0.5 * len(values) + 1.2), layout="constrained")
    axis = figure.subplots()
    names = list(values)[::-1]
    drawn = axis.barh(names, [values[name] for name in names])
    axis.bar_label(drawn, fmt="{:,.0f}", padding=3)
    axis.set_title(title)
    axis.margins(x=0.12)
    figure.savefig(path, dpi=120)


def stack(values: Mapping[str, float], path: Path, title: str) -> None:
    """One bar of all the values, the largest named; what is under a hundredth of the whole is not drawn by name."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axis = figure.subplots()
    whole = sum(values.values())
    left = 0.0
    for index, (name, value) in enumerate(values.items()):
        label = f"{name} {value:.1f}" if value >= 0.01 * whole else None
        axis.barh([0], [value], left=left, color=f"C{index % 10}", hatch="/" if index >= 10 else None, label=label)
        left += value
    axis.set(title=title, yticks=[], xlim=(0, whole))
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=120)


Points = Sequence[Mapping[str, float]]


def learning_curves(
    curves: Mapping[str, Sequence[Points]],
    path: Path,
    title: str,
    *,
    window: int = 100,
    dots: Mapping[str, Sequence[Points]] | None = None,
) -> None:
    """The mean return of the last `window` training episodes against wall time and against steps.

    Each name has one curve or several of one colour. `dots` are evaluations, by the names of the curves.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_time, by_steps = figure.subplots(1, 2, sharey=True)
    for axis, horizontal, unit in ((by_time, "seconds", 60), (by_steps, "step", 1e6)):
        for index, (name, runs) in enumerate(curves.items()):
            for points, key, style in (
                *((run, f"mean_return_{window}", "-") for run in runs),
                *((run, "mean_return", "o") for run in (dots or {}).get(name, ())),
            ):
                x = [point[horizontal] / unit for point in points]
                label = name if points is runs[0] else None
                axis.plot(x, [point[key] for point in points], style, color=f"C{index}", label=label)
    by_time.set(title=title, xlabel="minutes", ylabel=f"mean return of {window} training episodes")
    by_steps.set(xlabel="million agent steps")
    for axis in (by_time, by_steps):
        axis.grid(alpha=0.3)
    by_time.legend(title="dots: evaluations" if dots else None)
    figure.savefig(path, dpi=120)


def panels(
    curves: Mapping[str, Sequence[Points]],
    dots: Mapping[str, Points],
    levels: Mapping[str, float],
    path: Path,
) -> None:
    """A panel for each name: the mean return of the last 100 training episodes of its runs against steps, its
    evaluations as dots, and a level that is marked."""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (name, runs) in zip(axes, curves.items(), strict=False):
        for points in runs:
            axis.plot([point["step"] / 1e6 for point in points], [point["mean_return_100"] for point in points])
        for point in dots.get(name, ()):
            axis.plot(point["step"] / 1e6, point["mean_return"], "ko")
        if name in levels:
            axis.axhline(levels[name], color="gray", linestyle=":", linewidth=1)
        axis.set(title=name, xlabel="million agent steps")
        axis.grid(alpha=0.3)
    for axis in axes[len(curves) :]:
        axis.remove()
    figure.savefig(path, dpi=120)
