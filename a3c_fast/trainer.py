"""`Trainer`: the engine of C++ workers as a Python object. It starts, observes, saves and stops; it never steps."""

from __future__ import annotations

import dataclasses
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from a3c_fast import _core, envs
from a3c_fast import checkpoint as checkpoints
from a3c_fast.config import Config, check_memory, check_model
from a3c_fast.core_config import kernels_of, model_config, train_config
from a3c_fast.errors import CheckpointError, WorkerError
from a3c_fast.metrics import MetricsWriter, RateMeter
from a3c_fast.policy import ActorCritic, make_policy, to_flat, to_named
from a3c_fast.run_directory import RunDirectory
from a3c_fast.versions import versions

_SLICE_SECONDS = 0.1  # how long a wait stays away from Python, and so from signal handlers

_live: weakref.WeakSet[Trainer] = weakref.WeakSet()


class Trainer:
    """Trains an A3C agent in C++ threads.

        with Trainer(Config(env_id="CartPole-v1")) as trainer:
            trainer.run()

    All settings are checked, and the environments made, before a thread starts: a `ConfigError` or `CheckpointError`
    is raised by the constructor. No method holds the GIL while it waits, and workers never take it. Methods are for
    one thread at a time, but for `stats()`, `stop()` and `request_stop()`, which any thread may call at any time.
    After a fork the trainer is the parent's: every method of the child's copy raises `RuntimeError`.
    """

    def __init__(self, config: Config, *, clients: Sequence[_core.EnvClient] | None = None) -> None:
        """Makes environments, network and workers; with `config.resume`, loads the newest checkpoint of `run_dir`.

        `clients` replaces the environments of `config.env_id`, one for each worker.
        """
        num_workers = len(clients) if clients is not None else config.num_workers or len(os.sched_getaffinity(0))
        self.config = dataclasses.replace(config, num_workers=num_workers)
        self._engine: _core.Engine | None = None
        self._metrics: MetricsWriter | None = None
        self._owner_pid = os.getpid()
        self._writing = threading.RLock()  # held while metrics and checkpoints are written, and by the end of stop()
        # (when this stretch began, or None; seconds of the finished ones): replaced as a whole, so read without a lock
        self._clock: tuple[float | None, float] = (None, 0.0)
        self._episodes_before = 0  # in the run when this trainer resumed it: their returns are not kept
        self._run_directory: RunDirectory | None = None

        self._layout = envs.observation_layout(config)
        check_model(self.config, self._layout[0])
        check_memory(self.config, self._layout)
        self.isa = kernels_of(self.config, self._layout)
        if self.config.run_dir is not None:
            self._run_directory = RunDirectory(self.config.run_dir, self.config)
        resumed = self._run_directory.resumed if self._run_directory else None
        first_step = resumed.step if resumed else 0
        self.config = resumed.measured(self.config) if resumed else envs.measure_observations(self.config)
        if clients is None:
            clients = self._make_clients(first_step)
        self._engine = _core.Engine(train_config(self.config), model_config(self.config, self._layout), list(clients))
        self._rate = RateMeter()
        self._next_log = self._next_checkpoint = 0.0
        self._saved_step = -1
        if resumed:
            self._load(resumed)
        if self._run_directory is not None:
            self._run_directory.write_config(self.config)
            self._metrics = MetricsWriter(self._run_directory.path, first_step)
        _live.add(self)

    # Running ---------------------------------------------------------------------------------------------------------

    def run(self, until: int | None = None, *, watch: Callable[[], None] | None = None) -> dict[str, Any]:
        """Trains until `until` agent steps (all of `total_steps` by default) and returns the last `stats()`.

        `watch` is called twice a second. Raises `WorkerError` when a worker fails or hangs. Where there is a `run_dir`,
        everything is saved either way.
        """
        self.start(until)
        try:
            while not self.wait(0.5):
                if watch is not None:
                    watch()
        except WorkerError as failure:
            try:
                self.stop()
            except (CheckpointError, OSError) as error:  # must not hide why the run ended
                failure.add_note(f"what was learned since the last checkpoint is lost: {error}")
            raise
        finally:
            self.stop()
        return self.stats()

    def start(self, until: int | None = None) -> None:
        """Starts the workers and returns; `wait()` and `stop()` end it."""
        engine = self._require()
        engine.start(self.config.total_steps if until is None else until)
        now = time.monotonic()
        self._clock = (now, self._clock[1])
        self._rate = RateMeter()
        self._rate.update(now, engine.stats()["steps"])
        self._next_log = now + self.config.log_every_seconds
        self._next_checkpoint = now + self.config.checkpoint_every_seconds

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the workers have ended, at most `timeout` seconds; True when they have.

        Meanwhile it writes metrics and checkpoints that are due, and ends the run at `max_minutes` and
        `stop_at_return`. Raises `WorkerError` when a worker failed.
        """
        engine = self._require()
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            remaining = max(0.0, deadline - time.monotonic())
            ended = engine.wait(min(_SLICE_SECONDS, remaining))
            if engine.failure is not None:
                raise WorkerError(*engine.failure)
            if ended:
                return True
            self._observe()
            if time.monotonic() >= deadline:
                return False

    def request_stop(self) -> None:
        """Asks the workers to end at their next environment step; does not wait."""
        self._require().request_stop()

    def stop(self) -> None:
        """Ends the workers, waits for them, and writes the last metrics and a checkpoint. Does nothing twice."""
        engine = self._require()
        engine.request_stop()
        engine.wait(self.config.watchdog_seconds)
        with self._writing:
            if self._clock[0] is None:
                return
            line = self.stats()
            self._clock = (None, line["wall_seconds"])
            if self._metrics is not None:
                if line["step"] != self._saved_step:
                    self.save()
                if line["step"] > self._metrics.last_step:
                    self._metrics.write(line)

    def close(self) -> None:
        """Stops and lets go of everything; other methods raise afterwards. Does nothing twice."""
        if self._engine is None:
            return
        if self._owner_pid != os.getpid():  # after a fork: the files and the lock are the parent's
            self._engine = None
            return
        try:
            self.stop()
        finally:
            self._engine = None
            _live.discard(self)
            try:
                if self._metrics is not None:
                    self._metrics.close()
            finally:
                self._metrics = None
                if self._run_directory is not None:
                    self._run_directory.close()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Observing -------------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """The numbers of a metrics.jsonl line, as they are now.

        step, frames, updates, episodes, skipped_updates are counts of the whole run; wall_seconds is training time;
        steps_per_second is over the last ten seconds; mean_return_100 and mean_length_100 are over the last 100
        training episodes, mean_return_20 over the last 20; the losses, entropy (nats) and grad_norm (before clipping)
        over each worker's last 100 updates; learning_rate and entropy_coef as they are by now. None where there is
        nothing yet.
        """
        core = self._require().stats()
        now = time.monotonic()
        rate = self._rate.update(now, core["steps"]) if self._clock[0] is not None else 0.0
        line: dict[str, Any] = {
            "step": core.pop("steps"),
            "frames": 0,
            "wall_seconds": self._wall_seconds(),
            "steps_per_second": rate,
        }
        line["frames"] = line["step"] * self.config.frame_skip
        line |= {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in core.items()
        }
        return line

    def stage_seconds(self) -> dict[str, float]:
        """Where the workers' time has gone since the trainer was opened: seconds of all workers together, by stage.

        In the order in which a worker passes through them, of finished rollouts; together they are the workers'
        whole time. `wait_for_environment` is the time asleep while EnvPool's threads step.
        """
        seconds: dict[str, float] = self._require().stage_seconds()
        return seconds

    @property
    def running(self) -> bool:
        """Whether any worker runs."""
        return self._require().running

    # The network -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The parameters by name, as copies; while workers run, a mixture of nearby versions."""
        engine = self._require()
        named = to_named(engine.parameters(), engine.parameter_specs)
        return {name: torch.from_numpy(value) for name, value in named.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Replaces the parameters and clears the optimizer's statistics and count of updates; the step count stays.

        Raises `ValueError` for another network's and for numbers that are not finite, `RuntimeError` while workers run.
        """
        engine = self._require()
        named = {name: value.detach().cpu().numpy() for name, value in state.items()}
        for name, value in named.items():
            if not np.isfinite(value).all():
                raise ValueError(f"{name} has numbers that are not finite")
        stats = engine.stats()
        engine.load(
            parameters=self._flat(named),
            statistics={},
            steps=stats["steps"],
            updates=0,  # Adam's correction for moments that begin at 0 goes by it
            episodes=stats["episodes"],
        )

    def policy(self) -> ActorCritic:
        """The network as a module of its own, with the parameters of now: observations -> (logits, values).

        One with an LSTM is stepped through an episode with its `step()`.
        """
        shape, _, num_actions = self._layout
        module = make_policy(self.config, shape, num_actions)
        module.load_state_dict(self.state_dict())
        return module.eval()

    def save(self, path: str | Path | None = None) -> Path:
        """Writes a checkpoint to `path` (*.safetensors), or among those of the run directory; returns its path.

        At rest it holds all that continues the run exactly, but for EnvPool's environments, which begin new episodes
        on resume. While workers run it is a Hogwild snapshot without their random numbers.
        """
        with self._writing:
            return self._save(path)

    # Inside ----------------------------------------------------------------------------------------------------------

    def _save(self, path: str | Path | None) -> Path:
        engine = self._require()
        core = engine.stats()
        parameters = engine.parameters()
        if not np.isfinite(parameters).all():
            raise CheckpointError("the parameters are not finite, so no checkpoint is written: the last one stands")
        specs = engine.parameter_specs
        at_rest = not engine.running and engine.failure is None
        content = checkpoints.Checkpoint(
            config=self.config.to_json(),
            step=core["steps"],
            updates=core["updates"],
            episodes=core["episodes"],
            wall_seconds=self._wall_seconds(),
            parameters=to_named(parameters, specs),
            statistics={name: to_named(flat, specs) for name, flat in engine.statistics().items()},
            workers=[engine.worker_state(i) for i in range(engine.num_workers)] if at_rest else [],
            versions=versions(),
        )
        if path is not None:
            return checkpoints.save(content, Path(path))
        if self._run_directory is None:
            raise ValueError("path is None, but without a run_dir it must name a file")
        directory = self._run_directory.checkpoints
        saved = checkpoints.save(content, directory / f"{checkpoints.file_stem(content.step)}.safetensors")
        checkpoints.prune(directory, self.config.keep_checkpoints)
        self._saved_step = content.step
        return saved

    def _require(self) -> _core.Engine:
        if self._owner_pid != os.getpid():
            raise RuntimeError("this Trainer belongs to the process that made it and cannot be used after a fork")
        if self._engine is None:
            raise RuntimeError("this Trainer is closed")
        return self._engine

    def _wall_seconds(self) -> float:
        started_at, before = self._clock
        return before + (0.0 if started_at is None else time.monotonic() - started_at)

    def _observe(self) -> None:
        """Does what is due: metrics, a checkpoint, the end of the run."""
        now = time.monotonic()
        with self._writing:
            if self._metrics is not None and now >= self._next_log:
                self._next_log = now + self.config.log_every_seconds
                self._metrics.write(self.stats())
            if self._metrics is not None and now >= self._next_checkpoint:
                self._next_checkpoint = now + self.config.checkpoint_every_seconds
                self.save()
        if self.config.max_minutes and self._wall_seconds() >= 60 * self.config.max_minutes:
            self.request_stop()
        if self.config.stop_at_return is not None:
            core = self._require().stats()
            if (
                core["episodes"] - self._episodes_before >= 100
                and core["mean_return_100"] >= self.config.stop_at_return
            ):
                self.request_stop()

    def _make_clients(self, first_step: int) -> list[_core.EnvClient]:
        per_worker = self.config.envs_per_worker
        # A resumed run gets other seeds than the run had at its beginning, or it would see the same starts again.
        seeds = envs.env_seeds(self.config.seed, first_step, self.config.num_workers * per_worker)
        # Scripted environments are continued from their saved state, which belongs to their first seed.
        if self.config.family == "fake":
            seeds = envs.env_seeds(self.config.seed, 0, len(seeds))
        return [
            envs.make_client(self.config, seeds[i * per_worker : (i + 1) * per_worker])
            for i in range(self.config.num_workers)
        ]

    def _flat(self, named: Mapping[str, Any]) -> Any:
        engine = self._require()
        return to_flat(named, engine.parameter_specs, engine.parameters().size)

    def _load(self, saved: checkpoints.Checkpoint) -> None:
        engine = self._require()
        try:
            engine.load(
                parameters=self._flat(saved.parameters),
                statistics={name: self._flat(values) for name, values in saved.statistics.items()},
                steps=saved.step,
                updates=saved.updates,
                episodes=saved.episodes,
            )
        except ValueError as error:
            raise CheckpointError(f"the checkpoint in {self.config.run_dir} is of another network: {error}") from error
        assert self._run_directory is not None
        checkpoints.set_aside(self._run_directory.checkpoints, saved.step)
        self._clock = (None, saved.wall_seconds)
        self._episodes_before = saved.episodes
        self._saved_step = saved.step
        same_workers = len(saved.workers) == engine.num_workers
        same_envs = saved.config.get("envs_per_worker") == self.config.envs_per_worker
        if same_workers and same_envs:
            for i, state in enumerate(saved.workers):
                engine.load_worker_state(i, state)


def _forget_after_fork() -> None:
    """The child of a fork has none of the threads: joining them, or freeing what they use, would hang or crash."""
    for trainer in list(_live):
        if trainer._engine is not None:
            trainer._engine.abandon()


os.register_at_fork(after_in_child=_forget_after_fork)
