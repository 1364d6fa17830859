"""What a run writes down about itself in numbers: metrics.jsonl."""

from __future__ import annotations

import errno
import json
import math
import sys
import threading
import warnings
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from a3c_fast import files
from a3c_fast.paths import shown

METRICS_FILE = "metrics.jsonl"
_MOST_BYTES = 2**30
_MOST = sys.float_info.max  # that a whole number may be, which could else be larger than any float


class RateMeter:
    """Steps a second over the last `window` seconds; any thread may ask."""

    def __init__(self, window: float = 10.0) -> None:
        self._window = window
        self._lock = threading.RLock()  # reentrant, for signal handlers
        self._samples: deque[tuple[float, int]] = deque()  # guarded by _lock

    def update(self, now: float, step: int) -> float:
        """The rate at time `now` (seconds, any origin) and step count `step`; 0 before any time has passed."""
        with self._lock:
            self._samples.append((now, step))
            while len(self._samples) > 2 and now - self._samples[1][0] >= self._window:
                self._samples.popleft()
            then, before = self._samples[0]
        return (step - before) / (now - then) if now > then else 0.0


def read(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl: objects with a step and finite numbers or null; what is none of them is left out.

    Raises `OSError` with the path when the file is there and cannot be read.
    """
    lines, _ = _read(run_dir)
    return lines


def holds_metrics(run_dir: Path) -> bool:
    """Whether metrics.jsonl is of a run: it has such a line, or at most the beginning of one."""
    lines, is_whole = _read(run_dir)
    return bool(lines) or is_whole


class MetricsWriter:
    """Appends to metrics.jsonl of a run directory.

    `first_step` is where the run goes on: lines beyond it, written after the checkpoint that it goes on from, are cut.
    Nothing else is lost: a file with more than lines of metrics in it, and that of a run that begins again, is kept
    under another name.
    """

    def __init__(self, run_dir: Path, first_step: int) -> None:
        """Raises `OSError` with the path when a file cannot be written."""
        path = run_dir / METRICS_FILE
        lines, is_whole = _read(run_dir)
        if lines and first_step == 0:
            path.rename(files.unused(run_dir / f"earlier_{METRICS_FILE}"))
            lines = []
        elif not is_whole:
            aside = files.unused(run_dir / f"damaged_{METRICS_FILE}")
            path.rename(aside)
            warnings.warn(f"{shown(path)} is damaged: it is kept as {aside.name}", stacklevel=2)
        kept = [line for line in lines if line["step"] <= first_step]
        self._file = files.AppendedFile(path, b"".join(map(_text, kept)), replace=True)
        self.last_step = kept[-1]["step"] if kept else -1

    def write(self, line: Mapping[str, Any]) -> None:
        """One line of metrics, numbers or None by name.

        Raises `OSError` with the path of the file that cannot be written, which is then as it was, and may be tried
        again.
        """
        line = {name: value if value is None or math.isfinite(value) else None for name, value in line.items()}
        self._file.append(_text(line))
        self.last_step = int(line["step"])

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()


_BEGINNING = b'{"step": '  # of a line, which is all that a writer that was killed may have left of the last one
_LINE = msgspec.json.Decoder(dict[str, int | float | None])


def _read(run_dir: Path) -> tuple[list[dict[str, Any]], bool]:
    """The lines of metrics.jsonl, and whether the file holds nothing else but the beginning of a last line."""
    path = run_dir / METRICS_FILE
    try:
        content = files.read(path, _MOST_BYTES)
    except FileNotFoundError:
        return [], True
    except OSError as error:
        if error.errno == errno.EFBIG:  # no run writes so much
            return [], False
        raise
    lines, is_whole = [], True
    *_, last = texts = [text for text in content.split(b"\n") if text] or [b""]
    for text in texts:
        try:
            line = _LINE.decode(text)
        except (ValueError, RecursionError):
            line = {}
        step = line.get("step")
        possible = all(value is None or abs(value) <= _MOST for value in line.values())
        if possible and isinstance(step, int) and 0 <= step < 2**62:
            lines.append(line)
        elif text is not last or not (text.startswith(_BEGINNING) or _BEGINNING.startswith(text)):
            is_whole = False
    return lines, is_whole


def _text(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, allow_nan=False).encode("utf-8") + b"\n"
