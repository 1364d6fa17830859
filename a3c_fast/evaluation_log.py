"""evaluations.jsonl: what evaluations while a run trained have found, and what limits they have come to."""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from a3c_fast import files

if TYPE_CHECKING:
    from a3c_fast.config import Config

EVALUATIONS_FILE = "evaluations.jsonl"
BEST_FILE = "best.safetensors"
_MOST_BYTES = 2**28


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of evaluations.jsonl."""

    step: int
    """Agent steps of the run when it began."""
    wall_seconds: float
    """Training time by then."""
    mean_return: float
    std_return: float
    min_return: float
    max_return: float
    mean_length: float
    """Agent steps of an episode."""
    episodes: int
    greedy: bool
    seconds: float
    """How long it took."""
    best: bool
    """Whether no earlier one of the run had as high a mean return."""
    human_normalized: float | None = None
    """A fraction, where the literature has the score of a human."""


def read(run_dir: Path) -> list[Line]:
    """The lines of a run's evaluations.jsonl, by their steps; what is none is left out.

    Raises `OSError` with the path when the file is there and cannot be read.
    """
    return read_whole(run_dir)[0]


def read_whole(run_dir: Path) -> tuple[list[Line], bool]:
    """The same, and whether the file holds nothing else."""
    try:
        content = files.read(run_dir / EVALUATIONS_FILE, _MOST_BYTES)
    except FileNotFoundError:
        return [], True
    except OSError as error:
        if error.errno == errno.EFBIG:  # no run writes so much
            return [], False
        raise
    lines: list[Line] = []
    texts = [text for text in content.split(b"\n") if text]
    for text in texts:
        with contextlib.suppress(ValueError, RecursionError):
            line = msgspec.json.decode(text, type=Line)
            if 0 <= line.step < 2**62 and math.isfinite(line.mean_return):
                lines.append(line)
    return sorted(lines, key=lambda line: line.step), len(lines) == len(texts)


def text_of(lines: Sequence[Line]) -> bytes:
    """The inverse of `read`."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def best_of(lines: Sequence[Line]) -> Line | None:
    """The first of those with the highest mean return."""
    return max(lines, key=lambda line: line.mean_return, default=None)


def reached(config: Config, lines: Sequence[Line]) -> Literal["stop_at_evaluation", "evaluate_patience"] | None:
    """Which limit of `config` the evaluations of a run have come to."""
    best = best_of(lines)
    if best is None:
        return None
    if config.stop_at_evaluation is not None and best.mean_return >= config.stop_at_evaluation:
        return "stop_at_evaluation"
    since = sum(line.step > best.step for line in lines)
    return "evaluate_patience" if 0 < config.evaluate_patience <= since else None
