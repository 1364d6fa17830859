"""The evaluations that were made while a run trained, as its directory has them: evaluations.jsonl."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from a3c_fast import files

EVALUATIONS_FILE = "evaluations.jsonl"
_MOST_BYTES = 64 * 2**20


class StoredEvaluation(msgspec.Struct):
    """A line of the file; what else the line has is left out."""

    step: int
    wall_seconds: float
    mean_return: float
    std_return: float = 0.0
    episodes: int | None = None
    best: bool = False
    """Whether none before it had a higher mean return."""


_LINE = msgspec.json.Decoder(StoredEvaluation)


def read(run_dir: Path) -> list[StoredEvaluation]:
    """Those of a run in the order of their steps; lines that are none, such as one cut short, are left out.

    Raises `OSError` with the path when the file is there and cannot be read.
    """
    try:
        content = files.read(run_dir / EVALUATIONS_FILE, _MOST_BYTES)
    except FileNotFoundError:
        return []
    found = []
    for text in content.split(b"\n"):
        try:
            line = _LINE.decode(text)
        except (ValueError, RecursionError):
            continue
        if all(map(math.isfinite, (line.wall_seconds, line.mean_return, line.std_return))):
            found.append(line)
    return sorted(found, key=lambda line: line.step)
