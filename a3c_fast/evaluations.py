"""Evaluations while a run trains: each in a thread of its own, of what had been learned when it began."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from a3c_fast import _core, files
from a3c_fast import checkpoint as checkpoints
from a3c_fast.config import Config
from a3c_fast.evaluation_log import BEST_FILE, EVALUATIONS_FILE, Line, best_of, read_whole
from a3c_fast.learned import Learned
from a3c_fast.paths import shown
from a3c_fast.run_directory import RunDirectory

if TYPE_CHECKING:
    from a3c_fast.observing import Policy

_POLL_SECONDS = 0.02
_KEPT = ("mean_return", "std_return", "min_return", "max_return", "mean_length", "episodes", "human_normalized")


@dataclass
class _Job:
    """An evaluation under way. Its thread writes what came of it before it sets `done`."""

    checkpoint: checkpoints.Checkpoint
    abandoned: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    score: Mapping[str, Any] | None = None
    seconds: float = 0.0
    failure: str = ""


class Evaluations:
    """Of one trainer. `Record.writing` guards all but `abandon` and `wait`, which any thread may call."""

    def __init__(self, config: Config, run_directory: RunDirectory | None, first_step: int) -> None:
        """Reads what there is. A file with more than lines of ours in it is kept under another name.

        Raises `OSError` with the path of a file that cannot be read.
        """
        self._config = config
        self._run_directory = run_directory
        self._job: _Job | None = None
        self._abandoned = False
        self.lines: list[Line] = []
        self._unwritten = False  # lines
        if run_directory is not None:
            self.lines, is_whole = read_whole(run_directory.path)
            if not is_whole:
                path = run_directory.path / EVALUATIONS_FILE
                aside = files.unused(run_directory.path / f"damaged_{EVALUATIONS_FILE}")
                path.rename(aside)
                warnings.warn(f"{shown(path)} is damaged: it is kept as {aside.name}", stacklevel=2)
                self._unwritten = True
        self._best: checkpoints.Checkpoint | None = None  # that is not yet written
        self._has_best = run_directory is not None and (run_directory.path / BEST_FILE).exists()
        self._next_step = self._after(first_step)

    def is_due(self, step: int) -> bool:
        """Whether one should begin at this step: none is under way, and it is far enough."""
        return self._job is None and not self._abandoned and step >= self._next_step

    def is_new(self, step: int) -> bool:
        """Whether none has been made of what was learned by this step."""
        return step > 0 and all(line.step != step for line in self.lines)

    def begin(self, learned: Learned, changes: list[tuple[int, str, float | str]]) -> None:
        """Evaluates what is learned by now, in a thread of its own.

        Raises `CheckpointError` where parameters are not finite, `RuntimeError` where the system gives no thread.
        """
        content = learned.checkpoint(changes)
        self._next_step = self._after(content.step)
        if self._abandoned:
            return
        job = _Job(content)
        policy = learned.policy_of(content)
        thread = threading.Thread(
            target=_play, args=(job, policy, self._config, learned.engine), name="a3c_fast evaluation", daemon=True
        )
        self._job = job
        try:
            thread.start()
        except BaseException:
            self._job = None
            raise

    def wait(self, seconds: float) -> bool:
        """Waits until none is under way that was not abandoned, at most so long; whether that is so."""
        job = self._job
        return job is None or job.abandoned or job.done.wait(seconds)

    def abandon(self) -> None:
        """What is under way ends at its next step and comes to nothing, and none begins until `renew`."""
        self._abandoned = True
        if (job := self._job) is not None:
            job.abandoned = True

    def renew(self) -> None:
        """For the next run of the trainer."""
        self._abandoned = False

    def take(self) -> Line | str | None:
        """What has come of one that is done, once: its line, or why it failed. None where there is nothing to tell."""
        job = self._job
        if job is None or not (job.done.is_set() or job.abandoned):
            return None
        self._job = None
        if job.abandoned:
            return None
        if job.score is None:
            return job.failure
        best = best_of(self.lines)
        line = Line(
            step=job.checkpoint.step,
            wall_seconds=job.checkpoint.wall_seconds,
            greedy=self._config.evaluate_greedy,
            seconds=round(job.seconds, 3),
            best=best is None or job.score["mean_return"] > best.mean_return,
            **{name: job.score[name] for name in _KEPT},
        )
        self.lines.append(line)
        self._unwritten = True
        if line.best or not self._has_best:  # somebody may have taken it away
            self._best, self._has_best = job.checkpoint, True
        return line

    def write(self) -> None:
        """What the directory does not have yet: lines, then the best checkpoint.

        Raises `OSError` with the path of a file that cannot be written; then the next call tries again.
        """
        if self._run_directory is None:
            return
        if self._unwritten:
            self._run_directory.write_evaluations(self.lines)
            self._unwritten = False
        if self._best is not None:
            self._run_directory.save_best(self._best)
            self._best = None

    def _after(self, step: int) -> int:
        return (step // self._config.evaluate_every + 1) * self._config.evaluate_every


def _play(job: _Job, policy: Policy, config: Config, engine: _core.Engine) -> None:
    # Here, so that the command of this name is not imported before it is run.
    from a3c_fast.evaluate import InterruptedEvaluation, evaluate

    def keep_going() -> bool:
        while engine.phase == "paused" and not job.abandoned:
            time.sleep(_POLL_SECONDS)
        return not job.abandoned

    begin = time.monotonic()
    try:
        job.score = evaluate(
            policy,
            config,
            episodes=config.evaluate_episodes,
            greedy=config.evaluate_greedy,
            seed=config.seed,
            keep_going=keep_going,
        )
    except InterruptedEvaluation:
        job.abandoned = True
    except Exception as error:
        job.failure = str(error)  # without the frames, whose environments would stay
    job.seconds = time.monotonic() - begin
    job.done.set()
