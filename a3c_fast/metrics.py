"""What a run writes down about itself: metrics.jsonl, TensorBoard events and curve.png."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a3c_fast.checkpoint import write_atomically

METRICS_FILE = "metrics.jsonl"


class RateMeter:
    """Steps a second over the last `window` seconds."""

    def __init__(self, window: float = 10.0) -> None:
        self._window = window
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, now: float, step: int) -> float:
        """The rate at time `now` (seconds, any origin) and step count `step`; 0 before any time has passed."""
        self._samples.append((now, step))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._window:
            self._samples.popleft()
        then, before = self._samples[0]
        return (step - before) / (now - then) if now > then else 0.0


def read(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last line cut short by a crash is left out."""
    path = run_dir / METRICS_FILE
    if not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


class MetricsWriter:
    """Appends to metrics.jsonl and to the TensorBoard events of a run directory.

    `first_step` is where the run goes on: lines beyond it, written after the checkpoint that it goes on from, are cut.
    """

    def __init__(self, run_dir: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._run_dir = run_dir
        kept = [line for line in read(run_dir) if line["step"] <= first_step]
        write_atomically(run_dir / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = (run_dir / METRICS_FILE).open("a", buffering=1)
        self._board = SummaryWriter(str(run_dir), purge_step=first_step + 1 if first_step else None)
        self.last_step = kept[-1]["step"] if kept else -1

    def write(self, line: Mapping[str, Any]) -> None:
        """One line of metrics, numbers or None by name."""
        self._file.write(json.dumps(line) + "\n")
        self.last_step = int(line["step"])
        for name, value in line.items():
            if name != "step" and value is not None:
                self._board.add_scalar(f"train/{name}", value, self.last_step)

    def close(self) -> None:
        """Flushes everything and draws curve.png."""
        self._file.close()
        self._board.close()
        draw_curve(self._run_dir)


def draw_curve(run_dir: Path) -> None:
    """curve.png: the mean training return of the last 100 episodes against agent steps and against time."""
    from matplotlib.figure import Figure  # no pyplot: it is not thread-safe and may want a display

    lines = [line for line in read(run_dir) if line["mean_return_100"] is not None]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    returns = [line["mean_return_100"] for line in lines]
    axes[0].plot([line["step"] for line in lines], returns)
    axes[0].set(xlabel="agent steps", ylabel="mean return, last 100 training episodes")
    axes[1].plot([line["wall_seconds"] / 60 for line in lines], returns)
    axes[1].set(xlabel="minutes")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(run_dir / "curve.png", dpi=120)
