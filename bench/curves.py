"""`python -m bench.curves --plot PNG NAME=PATH ...`: the learning curves of several runs in one picture.

A path is a run directory or the JSON of `bench.time_to_score`, whose seeds have one colour and whose evaluations are
dots. Several paths of one name have one colour, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from a3c_fast.cli import parse
from a3c_fast.errors import ConfigError
from bench.command import errors_in_one_sentence
from bench.plots import Points, learning_curves


@dataclass(frozen=True)
class Arguments:
    """Draws the learning curves of several runs into one picture."""

    runs: Positional[Annotated[tuple[str, ...], arg(metavar="NAME=PATH ...")]]
    """Names of the curves, and run directories or files of bench.time_to_score."""
    plot: Path
    """The PNG."""
    title: str = ""
    """Above the picture."""
    window: Literal[20, 100] = 20
    """Training episodes of a mean."""


def curves_of(path: Path) -> tuple[list[Points], list[Points]]:
    """The curves and the evaluations of a run directory or a file of bench.time_to_score."""
    from a3c_fast import metrics

    if (path / metrics.METRICS_FILE).exists():
        return [[{**line, "seconds": line["wall_seconds"]} for line in metrics.read(path)]], []
    runs: Sequence[dict[str, Any]] = json.loads(path.read_text())["runs"]
    return [run["curve"] for run in runs], [run["evaluations"] for run in runs]


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.curves")
    if not args.runs:
        raise ConfigError("runs", args.runs, "there must be at least one NAME=PATH")
    mean = f"mean_return_{args.window}"
    curves: dict[str, list[Points]] = {}
    dots: dict[str, list[Points]] = {}
    for run in args.runs:
        name, equals, path = run.partition("=")
        if not equals:
            raise ConfigError("runs", run, "each must be NAME=PATH")
        try:
            found, evaluations = curves_of(Path(path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError("runs", run, f"{path} is no run directory or file of bench.time_to_score") from error
        drawn = [[point for point in curve if point.get(mean) is not None] for curve in found]
        if not any(drawn):
            raise ConfigError("runs", run, f"it has no mean over {args.window} episodes")
        curves.setdefault(name, []).extend(drawn)
        if evaluations:
            dots.setdefault(name, []).extend(evaluations)
    learning_curves(curves, args.plot, args.title, window=args.window, dots=dots)


if __name__ == "__main__":
    main()
