"""What a run writes down and tells as it goes: metrics, checkpoints, evaluations, the curve, events, trackers."""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from a3c_fast import _core
from a3c_fast import checkpoint as checkpoints
from a3c_fast.config import Config
from a3c_fast.curve import EVERY_SECONDS, FIRST_SECONDS, CurveOfRun
from a3c_fast.envs import EnvSpec
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.evaluation_log import Line, reached
from a3c_fast.evaluations import Evaluations
from a3c_fast.events import Ended, Evaluated, Event, Events, Metrics, Reason, Saved
from a3c_fast.learned import Learned
from a3c_fast.metrics import MetricsWriter, RateMeter
from a3c_fast.run_directory import RunDirectory
from a3c_fast.schedules import Schedule, without_schedule
from a3c_fast.schedules import checked as checked_schedules
from a3c_fast.sessions import Sessions
from a3c_fast.telling import tell
from a3c_fast.trackers import Tracker
from a3c_fast.tracking import Tracking
from a3c_fast.user_network import UserNetwork

_SLICE_SECONDS = 0.1  # how long a wait stays away from what it waits with


class Record:
    """Of one trainer. `writing` guards all of it: methods are called with it held, but for those that say otherwise."""

    def __init__(
        self,
        engine: _core.Engine,
        config: Config,
        spec: EnvSpec,
        network: UserNetwork | None,
        *,
        kernels: str,
        run_directory: RunDirectory | None,
        resumed: checkpoints.Checkpoint | None,
        trackers: Mapping[str, Tracker],
        hosts: Callable[[], int] = lambda: 1,
    ) -> None:
        """Loads `resumed` into the engine, and begins the files. Raises `OSError` with the path of one that fails."""
        self.writing = threading.RLock()
        self.engine: _core.Engine | None = engine  # None once it is closed
        self.config = config
        self.hosts = hosts  # how many train together now
        self._spec = spec
        self._network = network
        self._run_directory = run_directory
        self.changes: list[tuple[int, str, float | str]] = [] if resumed is None else list(resumed.changes)
        self.told: dict[str, str] = {}  # what could not be written, and the failure that the user knows of
        # Steps, updates, whether at rest, and number of changes, of the newest checkpoint.
        self._saved: tuple[int, int, bool, int] | None = None
        self._readers: weakref.WeakSet[Events] = weakref.WeakSet()
        self._told_step = -1  # of the newest line of metrics that readers were told
        self._rate = RateMeter()
        self._began = (0, 0.0)  # steps and seconds of training when the last run did
        self._next_log = self._next_checkpoint = self._next_curve = 0.0
        self._metrics: MetricsWriter | None = None
        self._sessions: Sessions | None = None
        self._curve: CurveOfRun | None = None
        self.evaluations: Evaluations | None = None
        self.tracking: Tracking | None = None
        first_step = resumed.step if resumed else 0
        goes_on = run_directory is not None and run_directory.kind == "resumed"
        try:
            if resumed is not None:
                self.learned(engine).load(resumed)
            if resumed is not None and run_directory is not None and goes_on:
                checkpoints.set_aside(run_directory.checkpoints, resumed.step)
                self._saved = (resumed.step, resumed.updates, bool(resumed.workers), len(resumed.changes))
            if run_directory is not None:
                run_directory.write_config(config)
                self._metrics = MetricsWriter(run_directory.path, first_step)
                first_seconds = resumed.wall_seconds if resumed else 0.0
                self._sessions = Sessions(run_directory.path, first_step, first_seconds, kernels)
                self._curve = CurveOfRun(run_directory)
            if config.evaluate_every:
                self.evaluations = Evaluations(config, run_directory, first_step)
            if run_directory is not None or trackers:
                self.tracking = Tracking(engine, config, kernels, (first_step, goes_on), trackers, tell)
        except BaseException:
            self.close()
            raise

    # What it is of ---------------------------------------------------------------------------------------------------

    def learned(self, engine: _core.Engine) -> Learned:
        """What the engine has learned. Any thread may ask, without the lock."""
        return Learned(engine, self.config, self._spec, self._network)

    def stats(self, engine: _core.Engine) -> dict[str, Any]:
        """As `Trainer.stats`. Any thread may ask, without the lock."""
        core = engine.stats()
        del core["known_episodes"]
        line: dict[str, Any] = {
            "step": core.pop("steps"),
            "frames": 0,
            "wall_seconds": core.pop("wall_seconds"),
            "steps_per_second": 0.0,
        }
        if engine.running:
            line["steps_per_second"] = self._rate.update(time.monotonic(), line["step"])
        line["frames"] = line["step"] * self.config.frame_skip
        returns = [value for value, _ in engine.recent_episodes()]
        core["std_return_100"] = statistics.pstdev(returns) if returns and all(map(math.isfinite, returns)) else None
        line |= {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in core.items()
        }
        lines = self.evaluations.lines if self.evaluations is not None else []
        line["hosts"] = self.hosts()
        line["evaluation_return"] = lines[-1].mean_return if lines else None
        return line

    def change(self, settings: Mapping[str, Any]) -> None:
        """As `Trainer.set`, of settings that may change. Raises `ConfigError`; then nothing has changed."""
        assert self.engine is not None
        config = _with_settings(self.config, settings)
        schedules = checked_schedules(config.schedules)
        step = self.engine.stats()["steps"]
        for name in settings:
            schedule = schedules.get(name)
            if schedule is None:
                self.engine.set(name, getattr(config, name))
            else:
                self.engine.set_schedule(name, schedule.through(config.total_steps))
            self.changes.append((step, name, getattr(config, name) if schedule is None else str(schedule)))
        self.config = config
        if self._run_directory is not None:
            with self.told_once("config.json"):
                self._run_directory.write_config(config)

    # Telling ---------------------------------------------------------------------------------------------------------

    def new_reader(self) -> Events:
        """Who hears of events from now on."""
        assert self.engine is not None
        events = Events(self.engine)
        self._readers.add(events)
        return events

    def publish(self, event: Event) -> None:
        """To readers and trackers."""
        for reader in list(self._readers):
            reader.add(event)
        if self.tracking is not None:
            with self.told_once("TensorBoard"):
                self.tracking.hear(event)

    @contextlib.contextmanager
    def told_once(self, what: str) -> Iterator[None]:
        """A file that cannot be written must not end a healthy run: it is told of once, until it could be written."""
        try:
            yield
        except (OSError, MemoryError) as error:
            if self.told.get(what) != str(error):
                self.told[what] = str(error)
                tell(f"{what} could not be written, which is tried again when it is next due: {error}")
        else:
            self.told.pop(what, None)

    # In the course of a run ------------------------------------------------------------------------------------------

    def begin(self, before: Mapping[str, Any]) -> None:
        """A run has begun; `before` are the engine's `stats()` from before that."""
        now = time.monotonic()
        if self.evaluations is not None:
            self.evaluations.renew()
        self._began = (before["steps"], before["wall_seconds"])
        self._rate = RateMeter()
        self._next_log = now + self.config.log_every_seconds
        self._next_checkpoint = now + self.config.checkpoint_every_seconds
        self._next_curve = now + FIRST_SECONDS

    def go_on(self) -> None:
        """After a pause, whose time is in no rate."""
        self._rate = RateMeter()

    def look(self, *, ends: bool) -> Reason | None:
        """Does what is due. Why the run should end now, unless it `ends` already."""
        assert self.engine is not None
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + self.config.log_every_seconds
            self.write_metrics()
        if self.tracking is not None:
            with self.told_once("TensorBoard"):
                self.tracking.look()
        if self._run_directory is not None and now >= self._next_checkpoint:
            self._next_checkpoint = now + self.config.checkpoint_every_seconds
            with self.told_once("a checkpoint"):
                self.save(None)
        reason = self._look_at_evaluations(ends=ends)
        if self._curve is not None and now >= self._next_curve:
            self._next_curve = now + EVERY_SECONDS
            with self.told_once("the curve"):
                self._curve.begin(self.config)
        return reason or self._limit(self.engine.stats())

    def _limit(self, core: Mapping[str, Any]) -> Reason | None:
        if self.config.max_minutes and core["wall_seconds"] >= 60 * self.config.max_minutes:
            return "max_minutes"
        goal = self.config.stop_at_return
        if goal is not None and core["known_episodes"] >= 100 and core["mean_return_100"] >= goal:
            return "stop_at_return"
        return None

    def write_metrics(self) -> None:
        """No new line where no rollout has ended since the last: steps rise from line to line."""
        engine = self.engine
        assert engine is not None
        line = self.stats(engine)
        if not engine.running:  # the last line of a run has the rate of all of it
            steps, seconds = line["step"] - self._began[0], line["wall_seconds"] - self._began[1]
            line["steps_per_second"] = steps / seconds if seconds > 0 else 0.0
        if line["step"] > self._told_step:
            self._told_step = line["step"]
            self.publish(Metrics(line))
        if self._metrics is not None and line["step"] > self._metrics.last_step:
            with self.told_once("metrics"):
                self._metrics.write(line)

    def save(self, path: str | Path | None) -> Path:
        """As `Trainer.save`."""
        assert self.engine is not None
        content = self.learned(self.engine).checkpoint(list(self.changes))
        if path is not None:
            return checkpoints.save(content, Path(path).expanduser())
        if self._run_directory is None:
            raise ValueError("path is None, but without a run_dir it must name a file")
        saved = self._run_directory.save(content, self.config.keep_checkpoints)
        if self._sessions is not None:
            with self.told_once("sessions.json"):
                self._sessions.update(content.step, content.wall_seconds, self.engine.stage_seconds())
        self.publish(Saved(content.step, saved))
        self._saved = (content.step, content.updates, bool(content.workers), len(content.changes))
        return saved

    def save_what_is_not_saved(self) -> None:
        """With no worker running, unless another thread has begun a run again."""
        engine = self.engine
        assert engine is not None
        if engine.phase == "ready":
            return
        core = engine.stats()
        is_saved = self._saved == (core["steps"], core["updates"], engine.phase != "failed", len(self.changes))
        if self._run_directory is not None and not is_saved:
            self.save(None)
        self.write_metrics()

    # Its end ---------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing_unless_closed(self) -> Iterator[_core.Engine | None]:
        """Takes the lock, for the thread that looks after the run: the engine, or None where all is closed."""
        while not self.writing.acquire(timeout=_SLICE_SECONDS):
            if self.engine is None:
                yield None
                return
        try:
            yield self.engine
        finally:
            self.writing.release()

    def finish(self, reason: Reason) -> None:
        """At the end of a run, without the lock: saves everything. What fails is tried again by stop() or close()."""
        with self.writing_unless_closed() as engine:
            if engine is None or engine.under_way:
                return
            with contextlib.suppress(CheckpointError, OSError, MemoryError):
                self.save_what_is_not_saved()
                self.write_metrics()
        self._evaluate_the_end(reason)
        with self.writing_unless_closed() as engine:
            if engine is not None and not engine.under_way:
                self.publish(Ended(reason, engine.stats()["steps"]))

    def abandon_evaluation(self) -> None:
        """Nobody waits for one that is under way. Any thread may say so, without the lock."""
        if self.evaluations is not None:
            self.evaluations.abandon()

    def close(self) -> None:
        """Lets go of the files, whatever fails on the way."""
        self.engine = None
        with contextlib.ExitStack() as last_first:
            if self._curve is not None:
                last_first.enter_context(self.told_once("the curve"))
                last_first.callback(self._curve.finish, self.config)
            if self._metrics is not None:
                last_first.callback(self._metrics.close)
            if self.tracking is not None:
                last_first.enter_context(self.told_once("TensorBoard"))
                last_first.callback(self.tracking.end)
        self._metrics = self._curve = self.tracking = None  # which holds the engine

    # Evaluations -----------------------------------------------------------------------------------------------------

    def _look_at_evaluations(self, *, ends: bool) -> Reason | None:
        """Takes one that is done, begins one that is due unless the run `ends`."""
        evaluations, engine = self.evaluations, self.engine
        if evaluations is None:
            return None
        assert engine is not None
        found = evaluations.take()
        if isinstance(found, str):
            tell(f"an evaluation failed, and the run goes on without it: {found}")
        with self.told_once("an evaluation"):
            evaluations.write()
        if isinstance(found, Line):
            self.publish(Evaluated(found.step, msgspec.to_builtins(found), found.best))
        if (reason := reached(self.config, evaluations.lines)) is not None:
            return reason
        if not ends and evaluations.is_due(engine.stats()["steps"]):
            evaluations.begin(self.learned(engine), list(self.changes))
        return None

    def _evaluate_the_end(self, reason: Reason) -> None:
        """Waits for the evaluation under way, and for one of what was learned last, unless somebody ended the run."""
        evaluations = self.evaluations
        if evaluations is None:
            return
        if reason in ("stopped", "failed"):
            evaluations.abandon()
        last = reason in ("stop_at_evaluation", "evaluate_patience")  # it has been made
        while True:
            while not evaluations.wait(_SLICE_SECONDS):
                pass
            with self.writing_unless_closed() as engine:
                if engine is None or engine.under_way:
                    return
                self._look_at_evaluations(ends=True)
                if last:
                    return
                last = True
                if evaluations.is_new(engine.stats()["steps"]):
                    with contextlib.suppress(CheckpointError, RuntimeError):
                        evaluations.begin(self.learned(engine), list(self.changes))


def _with_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """`config` with settings that may change while it runs: numbers, or schedules in their place."""
    schedules: dict[str, Schedule] = checked_schedules(config.schedules)
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        if value is None:
            raise ConfigError(name, value, "it must be a number or a schedule")
        schedules.pop(name, None)
        if isinstance(value, Schedule):
            schedules[name] = value
            changes |= without_schedule(name)
        else:
            changes[name] = value
    return config.replace(schedules=schedules, **changes)
