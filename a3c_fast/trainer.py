"""`Trainer`: the engine of C++ workers as a Python object. It starts, observes, saves and stops; it never steps."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import platform
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import torch

from a3c_fast import _core, envs
from a3c_fast import checkpoint as checkpoints
from a3c_fast.assembly import check_threads, make_clients, make_engine, make_network
from a3c_fast.calls import before_the_end, counted, end_with_the_process
from a3c_fast.config import Config, check_model
from a3c_fast.core_config import kernels_of, lacks_kernels
from a3c_fast.errors import CheckpointError, ConfigError, WorkerError
from a3c_fast.events import Ended, Event, Events, Reason
from a3c_fast.hosts import Hosts
from a3c_fast.learned import Learned
from a3c_fast.machine import cores
from a3c_fast.memory import check_memory
from a3c_fast.network_factory import register
from a3c_fast.notebook import Board, in_notebook
from a3c_fast.observing import Policy
from a3c_fast.paths import shown
from a3c_fast.record import Record
from a3c_fast.run_directory import RunDirectory
from a3c_fast.schedules import LIVE_FIELDS
from a3c_fast.stored_run import StoredRun
from a3c_fast.supervisor import Supervisor
from a3c_fast.telling import tell
from a3c_fast.trackers import Tracker
from a3c_fast.tracking import make_trackers
from a3c_fast.values import real_number, whole_number

_FINISH_SECONDS = 10.0  # for the thread of a run that has ended to be done with it
_POLL_SECONDS = 0.02  # between two looks at how far a run is
_SLICE_SECONDS = 0.1  # how long a wait stays away from Python, and so from signal handlers

_live: weakref.WeakSet[Trainer] = weakref.WeakSet()
_supervisors: weakref.WeakSet[Supervisor] = weakref.WeakSet()


class Trainer:
    """Trains an A3C agent in C++ threads.

        with Trainer(Config(env_id="CartPole-v1")) as trainer:
            trainer.run()

    All settings are checked, and the environments made, before a thread starts: a `ConfigError` or `CheckpointError`
    is raised by the constructor. No method holds the GIL while it waits, and workers never take it. Any thread may call
    any method at any time; what the state of the run does not allow raises `RuntimeError` and changes nothing
    (docs/architecture.md has the table). After a fork the trainer is the parent's: every method of the child's copy
    raises `RuntimeError`. A trainer that is not closed is closed, and what it learned saved, when it is dropped, with a
    `ResourceWarning`, and when the interpreter ends.
    """

    _engine: _core.Engine | None = None
    _run_directory: RunDirectory | None = None
    _record: Record | None = None

    def __init__(
        self,
        config: Config,
        *,
        env: Callable[[], Any] | envs.InProcess | None = None,
        network: Any = None,
        clients: Sequence[_core.EnvClient] | None = None,
        checkpoint: checkpoints.Checkpoint | None = None,
        trackers: Sequence[Tracker] = (),
        hosts: Hosts | None = None,
    ) -> None:
        """Makes environments, network and workers; with `config.resume`, loads the newest checkpoint of `run_dir`.

        `env`, a callable that makes one gymnasium environment, takes the place of `config.env_id`: settings that were
        not said have the defaults of its kind. It is called in processes of its own, or, as `InProcess(env)`, in
        threads of this one, see docs/environments.md.
        `network`, a torch.nn.Module, its class, or a callable that makes one, takes the place of `config.model`; the
        latter two are given the observation space and the action space where they take two arguments, see
        docs/networks.md. The workers train a copy of it.
        `clients` replaces the environments of `config.env_id`, one for each worker. `checkpoint` is what the run begins
        with, see `from_checkpoint`. `trackers` follow the run besides those of `config.track`, see docs/tracking.md.
        `hosts` are the others that train the same agent, see docs/hosts.md.
        """
        self._owner_pid = os.getpid()
        self.hosts = hosts
        self._supervisor: Supervisor | None = None  # of the last run that has begun; guarded by _record.writing
        self._reason: Reason | None = None  # why that run was asked to end; any thread may be the first to say one
        self._env_threads: set[int] = set()  # idents of those that step environments in this process
        self._last_stats: dict[str, Any] = {}
        try:
            if env is not None:
                config = config.replace(env_id=envs.register(env))
            if network is not None:
                config = _with_network(config, network)
            self._open(config, clients, checkpoint, trackers)
        except BaseException:
            self._release()
            raise
        _live.add(self)
        end_with_the_process()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        *,
        env: Callable[[], Any] | envs.InProcess | None = None,
        network: Any = None,
        trackers: Sequence[Tracker] = (),
        **settings: Any,
    ) -> Trainer:
        """A trainer that goes on with a run in its directory, or from a checkpoint (*.safetensors) as a run of its own.

            Trainer.from_checkpoint("runs/pong", total_steps=20_000_000)

        It has the settings of the run, but for those that are given. A run that goes on from a checkpoint has no
        directory unless `run_dir` says one, which must be empty; it begins with the checkpoint's parameters, statistics
        of the optimizer and counts. `env` and `network` are given as they were to `Trainer`, where they cannot be
        imported by their names, and `trackers` as to `Trainer`. Raises `ConfigError` and `CheckpointError` as that.
        """
        place = Path(path).expanduser()
        if env is not None:  # before the settings are read, which may name them
            envs.register(env)
        if network is not None:
            register(network)
        if place.is_dir():
            for name in settings.keys() & {"run_dir", "resume"}:
                raise ConfigError(name, settings[name], "a run goes on in its own directory: leave it out")
            stored = StoredRun.read(place)
            if stored.config is None:
                raise CheckpointError(f"there is no run in {shown(place)}")
            config = stored.config.replace(**settings, run_dir=place, resume=True)
            return cls(config, env=env, network=network, trackers=trackers)
        if not place.exists() and place.suffix != ".safetensors":
            raise CheckpointError(f"{shown(place)} is no run directory and no checkpoint: there is no such file")
        saved = checkpoints.load(place)
        config = Config.from_json(saved.config).replace(run_dir=None, resume=False).replace(**settings)
        return cls(config, env=env, network=network, checkpoint=saved, trackers=trackers)

    def _open(
        self,
        config: Config,
        clients: Sequence[_core.EnvClient] | None,
        checkpoint: checkpoints.Checkpoint | None,
        trackers: Sequence[Tracker],
    ) -> None:
        hosts = self.hosts
        if hosts is not None:
            config = hosts.own_settings(config)
            if not hosts.is_first:
                config = hosts.agree(config)
        following = make_trackers(config, trackers) if hosts is None or hosts.is_first else {}
        all_cores = cores() if hosts is None else hosts.num_workers
        num_workers = len(clients) if clients is not None else config.num_workers or all_cores
        self.config = dataclasses.replace(config, num_workers=num_workers)
        spec = envs.spec_of(config)
        check_model(self.config, spec)
        if self.config.network is None:
            check_memory(self.config, spec)
        check_threads(self.config)
        self.isa = kernels_of(self.config, spec)
        if lacks_kernels(self.config, spec):
            tell(
                f"a3c_fast has no kernels for this CPU ({platform.machine()}): LibTorch computes the network instead, "
                "and training is slower"
            )
        if self.config.run_dir is not None:
            self._run_directory = RunDirectory(self.config.run_dir, self.config)
        self.kind = self._run_directory.kind if self._run_directory else "new"
        resumed = (self._run_directory.resumed if self._run_directory else None) or checkpoint
        self.config = resumed.measured(self.config) if resumed else envs.measure_observations(self.config)
        network = make_network(self.config, spec, resumed) if self.config.network is not None else None
        first_step = resumed.step if resumed else 0
        if hosts is not None and hosts.is_first:
            self.config = hosts.agree(self.config, first_step)
        if clients is None:
            # A resumed run gets other seeds than it had at its beginning, or it would see the same starts again.
            clients = make_clients(self.config, first_step if hosts is None else hosts.stream(first_step))
        self._env_threads = {ident for client in clients if (ident := envs.thread_of(client)) is not None}
        first_worker = 0 if hosts is None else hosts.first_worker
        self._engine = make_engine(self.config, spec, network, list(clients), first_worker)
        if hosts is not None:
            hosts.check_network(self._engine, {} if network is None else network.constants())
        self._record = Record(
            self._engine,
            self.config,
            spec,
            network,
            kernels=self.isa,
            run_directory=self._run_directory,
            resumed=resumed,
            trackers=following,
            hosts=lambda: 1 if hosts is None else hosts.stats.hosts,
        )

    # Running ---------------------------------------------------------------------------------------------------------

    @counted
    def run(
        self,
        until: int | None = None,
        *,
        watch: Callable[[], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        progress: bool = True,
    ) -> dict[str, Any]:
        """Trains until `until` agent steps (all of `total_steps` by default) and returns the last `stats()`.

        `watch` is called twice a second, `on_event` with all that `events()` tells; both by this thread, so that no
        worker waits for them, and what they raise ends the run and is raised. Ends early, without an error, when
        another thread calls `stop()` or `close()`. Raises `WorkerError` when a worker fails or hangs. Where there is a
        `run_dir`, everything is saved either way. In a notebook a bar, the numbers and the curve are shown below the
        cell, unless `progress` is False.
        """
        begun = False
        board = Board(self.config) if progress and in_notebook() else None
        events = None if on_event is None else self._new_reader()
        try:
            try:
                self.start(until)
            except (ConfigError, _core.StateError, _ClosedError):
                raise
            except BaseException:  # a signal's handler raised, perhaps when the workers had begun
                begun = True
                raise
            begun = True
            while not self.wait(0.5 if events is None else 0):
                for event in events.pull(0.5) if events is not None else ():
                    assert on_event is not None
                    on_event(event)
                if watch is not None:
                    watch()
                if board is not None and board.is_due():
                    board.show(self.stats())
            for event in events.pull() if events is not None else ():
                assert on_event is not None
                on_event(event)
        except WorkerError as failure:
            begun = False
            try:
                with contextlib.suppress(_ClosedError):
                    self.stop()
            except (CheckpointError, OSError) as error:  # must not hide why the run ended
                failure.add_note(f"what was learned since the last checkpoint is not saved: {error}")
            raise
        except _ClosedError:
            if not begun:
                raise
        finally:
            if begun:
                with contextlib.suppress(_ClosedError):
                    self.stop()
        with self._kept().writing:
            line = self._last_stats if self._engine is None else self.stats()
        if board is not None:
            board.show(line)
        return line

    @counted
    def start(self, until: int | None = None) -> None:
        """Starts the workers, which end at `until` agent steps (`total_steps` by default), and returns.

        A thread looks after them, whoever waits or not: it writes metrics and checkpoints when they are due, has the
        agent evaluated where `evaluate_every` says so, ends the run at its limits, and saves everything at its end. It
        keeps the trainer until then. A file that cannot be written is told of in a warning, once, and tried again when
        it is next due.

        Raises `RuntimeError` when they run already or when one has failed, and `ConfigError` for steps beyond
        `total_steps`, where the learning rate has fallen to its end.
        """
        engine = self._require()
        earlier = self._supervisor
        if earlier is not None and not engine.under_way:
            self._kept().abandon_evaluation()
            earlier.wait(_FINISH_SECONDS)  # what it still does belongs to the run before
        most = self.config.total_steps
        until = most if until is None else whole_number("until", until, 0, most)
        record = self._kept()
        if self.hosts is not None:
            self._join(engine, self.hosts, until)
        try:
            with record.writing:
                before = engine.stats()
                run = engine.start(until)
                self._reason = None
                record.begin(before)
                supervisor = Supervisor(engine, run, self._look, self._finish)
                try:
                    supervisor.start()
                except BaseException:  # no thread is left for it
                    self._wait_for_workers(engine, engine.request_stop())
                    raise
                self._supervisor = supervisor
                if record.tracking is not None:
                    record.tracking.begin()
                _supervisors.add(supervisor)
        except BaseException:
            if self.hosts is not None:
                self.hosts.leave()
            raise

    @counted
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the workers have ended and everything is saved, at most `timeout` seconds; True when it is.

        Raises `WorkerError` when a worker failed.
        """
        engine, supervisor = self._require(), self._supervisor
        self._refuse_own_environments("wait")
        seconds = None if timeout is None else _seconds(timeout)
        if supervisor is not None and not supervisor.wait(seconds):
            return False
        if engine.failure is not None:
            raise WorkerError(*engine.failure)
        if supervisor is not None and supervisor.error is not None:
            raise supervisor.error
        if self.hosts is not None:
            self.hosts.raise_error()
        return True

    def metrics(self, every_steps: int = 10_000, *, until: int | None = None) -> Iterator[dict[str, Any]]:
        """Numbers of `stats()` whenever `every_steps` more agent steps are done, and at the end of the run.

            for line in trainer.metrics(every_steps=10_000):
                print(line["step"], line["mean_return_100"])

        Starts a run to `until` agent steps, all of `total_steps` by default, unless one is under way. Who is slow gets
        the newest numbers and not those between. Leaving the loop leaves the run as it is. Raises as `start`, `wait`.
        """
        every = whole_number("every_steps", every_steps, 1)
        if not self._require().under_way:
            self.start(until)
        return self._metrics_of_the_run(every)

    def _metrics_of_the_run(self, every: int) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(_ClosedError):  # by another thread: nothing more comes
            next_step = self.stats()["step"] + every
            told = -1
            ended = False
            while not ended:
                ended = self.wait(_POLL_SECONDS)
                line = self.stats()
                if line["step"] >= next_step or (ended and line["step"] != told):
                    told = line["step"]
                    next_step = told // every * every + every
                    yield line

    def events(self, *, until: int | None = None) -> Events:
        """What happens in a run, as it happens: episodes, metrics, checkpoints and the end.

            for event in trainer.events():
                if isinstance(event, a3c_fast.Episode):
                    print(event.episode_return)

        An iterator that waits for the next event and ends with the run; its `pull(timeout)` returns those that there
        are. Starts a run to `until` agent steps, all of `total_steps` by default, unless one is under way, of which it
        tells from now on. No worker waits for a reader: of what it is too slow for the oldest is dropped and counted.
        """
        events = self._new_reader()
        if not self._require().under_way:
            self.start(until)
        return events

    def _new_reader(self) -> Events:
        self._require()
        record = self._kept()
        with record.writing:
            self._require()
            return record.new_reader()

    @counted
    def pause(self) -> bool:
        """Has the workers stand still, with all that they have, and waits until they do; True when they do.

        They stop at their next environment step or update. False where the run has ended meanwhile or is about to.
        Paused time is no training time. Does nothing twice; raises `RuntimeError` before the first `start()`.
        """
        engine = self._require()
        self._refuse_own_environments("pause")
        paused = engine.pause()
        while paused and not engine.wait_until_paused(_SLICE_SECONDS):
            paused = engine.phase == "paused"
        return paused

    @counted
    def resume(self) -> bool:
        """Lets the workers of a paused run go on as if nothing had been; False where the run has ended meanwhile."""
        engine, record = self._require(), self._kept()
        with record.writing:
            record.go_on()
        return engine.resume()

    @counted
    def request_stop(self) -> None:
        """Asks workers that run to end at their next environment step; does not wait."""
        self._request_stop(self._require(), "stopped")
        self._kept().abandon_evaluation()
        if self.hosts is not None:
            self.hosts.interrupt()

    @counted
    def stop(self) -> None:
        """Ends the workers, waits for them, and writes the last metrics and a checkpoint. Does nothing twice.

        Raises `OSError` or `CheckpointError` where that checkpoint cannot be written; then the next `stop()`, or
        `close()`, tries again.
        """
        engine = self._require()
        self._refuse_own_environments("stop")
        record = self._kept()
        record.abandon_evaluation()
        self._wait_for_the_end(engine, self._request_stop(engine, "stopped"))
        with record.writing:
            self._require()
            record.save_what_is_not_saved()

    @counted
    def close(self) -> None:
        """Stops and lets go of everything; other methods raise afterwards. Does nothing twice."""
        if self._is_a_copy():  # the files are the original's, and the lock may be held by a thread that is not here
            self._engine = None
            return
        engine = self._engine
        if engine is None:
            return
        self._refuse_own_environments("close")
        # What interrupts this, such as a signal's handler, leaves the trainer open: close() can be called again. Others
        # may write until the workers have ended: the environments of the program may be among them.
        engine.refuse_starts()
        record = self._kept()
        record.abandon_evaluation()
        self._wait_for_the_end(engine, self._request_stop(engine, "stopped"))
        with record.writing:
            if self._engine is None:  # another thread's close() came first
                return
            failure = None
            try:
                record.save_what_is_not_saved()
            except Exception as error:
                failure = error
            self._last_stats = record.stats(engine)
            record.publish(Ended(self._reason_of(engine), self._last_stats["step"]))
            supervisor, tracking = self._supervisor, record.tracking
            self._release()
        if supervisor is not None and not supervisor.is_this_thread():
            supervisor.wait(_FINISH_SECONDS)  # until it lets go of the engine
        if tracking is not None:
            tracking.wait()
        if failure is not None:
            raise failure

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except (CheckpointError, OSError) as failure:
            if error is None:
                raise
            error.add_note(f"what was learned since the last checkpoint is lost: {failure}")  # must not hide why

    def __del__(self) -> None:
        if self._engine is None or self._is_a_copy():
            return
        text = None if self._engine.phase == "ready" else f"{self!r} was dropped without close()"
        self._close_whatever_happens()
        if text is not None:
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a Trainer cannot be copied or pickled: its threads and its files are its own; see save()")

    def __repr__(self) -> str:
        state = "closed" if self._engine is None else "of another process" if self._is_a_copy() else self._engine.phase
        return f"<Trainer of {self.config.env_id}, {state}>"

    # Observing -------------------------------------------------------------------------------------------------------

    @counted
    def stats(self) -> dict[str, Any]:
        """The numbers of a metrics.jsonl line, as they are now.

        step, frames, updates, episodes, skipped_updates are counts of the whole run; wall_seconds is training time;
        steps_per_second is over the last ten seconds; mean_return_100 and mean_length_100 are over the last 100
        training episodes, of all hosts, std_return_100 is the standard deviation of their returns, mean_return_20 over
        the last 20; the losses, entropy (nats), grad_norm (before clipping), approx_kl (nats) and clip_fraction over
        each worker's last 100 updates; explained_variance over the samples of each worker's last 100 rollouts, with
        the values that acted; learning_rate and entropy_coef as they are by now; hosts is how many train together now;
        evaluation_return is the mean return of the newest evaluation. docs/tracking.md says more of each. None where
        there is nothing yet.
        """
        return self._kept().stats(self._require())

    @counted
    def stage_seconds(self) -> dict[str, float]:
        """Where the workers' time has gone since the trainer was opened: seconds of all workers together, by stage.

        In the order in which a worker passes through them, of finished rollouts; together they are the workers'
        whole time. `wait_for_environment` is the time asleep while EnvPool's threads step.
        """
        seconds: dict[str, float] = self._require().stage_seconds()
        return seconds

    @counted
    def set(self, **settings: Any) -> None:
        """Changes settings of the run from the next update on, by their names in `Config`, at any time.

            trainer.set(learning_rate=1e-4, entropy_coef=0.001)

        learning_rate, entropy_coef, value_coef, clip_coef and max_grad_norm. What falls in the course of the run,
        `learning_rate` and `entropy_coef`, goes on falling, from the new value. A `Schedule` in the place of a number
        is followed from then on, by the steps of the whole run; a number ends one. `config`, the checkpoints and
        config.json have it, and a run that goes on goes on with it; `changes` says when it was. Raises `ConfigError`
        for another setting and for a value that cannot be; then nothing has changed. Of several hosts rank 0 changes
        them for all; the others raise `RuntimeError`.
        """
        self._require()
        for name, value in settings.items():
            if name not in LIVE_FIELDS:
                raise ConfigError(name, value, f"only {', '.join(LIVE_FIELDS)} can change while a run is under way")
        if self.hosts is not None and not self.hosts.is_first:
            raise RuntimeError("set() is for rank 0, whose changes all hosts follow")
        self._change(settings)
        if self.hosts is not None:
            self.hosts.tell_of_change(settings)

    @property
    def changes(self) -> list[tuple[int, str, float | str]]:
        """What `set` has changed in the whole run: (agent step, name, number or schedule), oldest first."""
        return list(self._kept().changes)

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The lines of evaluations.jsonl, those of the whole run that `evaluate_every` asked for, oldest first."""
        evaluations = self._kept().evaluations
        return [] if evaluations is None else [msgspec.to_builtins(line) for line in evaluations.lines]

    @property
    def running(self) -> bool:
        """Whether any worker runs: not before `start()`, not while the run is paused, and not after its end."""
        return self._require().running

    # The network -----------------------------------------------------------------------------------------------------

    @counted
    def state_dict(self) -> dict[str, torch.Tensor]:
        """The parameters by name, as copies; while workers run, a mixture of nearby versions.

        Where observations are normalized, `observation_mean` and `observation_variance` are among them; of a network of
        your own, its buffers, frozen parameters and the further names of tied ones, too.
        """
        return self._learned().state_dict()

    @counted
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replaces the parameters and clears the optimizer's statistics and count of updates; the step count stays.

        `state` has a tensor or an array of real numbers by each name, of any floating-point or whole type; where
        `observation_mean` or `observation_variance` is missing, it stays as it is.
        Raises `ValueError` for another network's and for numbers that are not finite as float32, `TypeError` for what
        are no real numbers, `RuntimeError` while workers run.
        """
        self._learned().load_state_dict(state)

    @counted
    def policy(self) -> Policy:
        """The network as a module of its own, with the parameters of now: observations -> (outputs, values).

        One with an LSTM is stepped through an episode with its `step()`.
        """
        return self._learned().policy()

    @counted
    def save(self, path: str | Path | None = None) -> Path:
        """Writes a checkpoint to `path` (*.safetensors), or among those of the run directory; returns its path.

        Nothing but a checkpoint is replaced: `ConfigError` where `path` is something else, `OSError` with the path
        where it cannot be written.

        At rest it holds all that continues the run exactly, but for EnvPool's environments, which begin new episodes
        on resume. While workers run it is a Hogwild snapshot without their random numbers.
        """
        self._require()
        record = self._kept()
        with record.writing:
            self._require()
            return record.save(path)

    # Inside ----------------------------------------------------------------------------------------------------------

    def _request_stop(self, engine: _core.Engine, reason: Reason) -> int:
        """Of a run that is under way, for a reason unless it has one; returns its number."""
        if engine.under_way and self._reason is None:
            self._reason = reason
        return engine.request_stop()

    def _reason_of(self, engine: _core.Engine) -> Reason:
        return "failed" if engine.failure is not None else self._reason or "total_steps"

    def _change(self, settings: Mapping[str, Any]) -> None:
        record = self._kept()
        with record.writing:
            self._require()
            record.change(settings)
            self.config = record.config

    def _join(self, engine: _core.Engine, hosts: Hosts, until: int) -> None:
        """The other hosts, before a run."""
        if engine.under_way:
            raise RuntimeError("cannot start while the workers run: stop them first")

        def stop() -> None:
            self._request_stop(engine, "stopped")

        hosts.begin(engine, self.config, until, stop, self._change)

    def _wait_for_workers(self, engine: _core.Engine, run: int) -> None:
        """Until each of them has ended, failed, or been given up. In slices, for signal handlers."""
        while not engine.wait_for(run, _SLICE_SECONDS):
            pass

    def _wait_for_the_end(self, engine: _core.Engine, run: int) -> None:
        """The same, and until the other hosts have what this one has learned. Without the lock of what is written."""
        self._wait_for_workers(engine, run)
        if self.hosts is not None:
            self.hosts.end(self._reason_of(engine))

    def _release(self) -> None:
        """Lets go of everything, whatever fails on the way."""
        engine, self._engine, self._supervisor = self._engine, None, None
        _live.discard(self)
        with contextlib.ExitStack() as last_first:
            if self._run_directory is not None:
                last_first.callback(self._run_directory.close)
            if self._record is not None:
                last_first.callback(self._record.close)
            if engine is not None:
                last_first.callback(engine.close)
            if self.hosts is not None:
                last_first.callback(self.hosts.close)

    def _close_whatever_happens(self) -> None:
        """Where nobody would see an error."""
        try:
            self.close()
        except Exception as error:
            tell(f"what {self!r} learned since its last checkpoint is lost: {error}")

    def _refuse_own_environments(self, call: str) -> None:
        """Raises `RuntimeError` where an environment of this process calls what waits for the step that it is in."""
        if threading.get_ident() in self._env_threads:
            raise RuntimeError(
                f"{call}() waits for the workers, and this environment is one that they wait for: an environment can "
                "call request_stop()"
            )

    def _is_a_copy(self) -> bool:
        return self._owner_pid != os.getpid()

    def _require(self) -> _core.Engine:
        if self._is_a_copy():
            raise RuntimeError("this Trainer belongs to the process that made it and cannot be used after a fork")
        engine = self._engine
        if engine is None:
            raise _ClosedError("this Trainer is closed")
        return engine

    def _kept(self) -> Record:
        """Of a trainer that has been made; it is there when the trainer is closed, too."""
        assert self._record is not None
        return self._record

    def _learned(self) -> Learned:
        return self._kept().learned(self._require())

    def _look(self) -> None:
        """By the thread that looks after a run: does what is due, and ends the run at its limits."""
        record = self._kept()
        with record.writing_unless_closed() as engine:
            try:
                reason = None if engine is None else record.look(ends=self._reason is not None)
            except BaseException:  # ends the run
                self._reason = self._reason or "failed"
                raise
        if engine is not None and reason is not None:
            self._request_stop(engine, reason)

    def _finish(self) -> None:
        """By that thread, at the end of the run."""
        engine = self._engine
        if engine is not None:
            if self.hosts is not None:
                self.hosts.end(self._reason_of(engine))
            self._kept().finish(self._reason_of(engine))


def _with_network(config: Config, network: Any) -> Config:
    name = register(network)
    if config.network not in (None, name):
        raise ConfigError(
            "network", config.network, f"another one, {name}, is given to the Trainer: leave one of them out"
        )
    return config.replace(network=name)


class _ClosedError(RuntimeError):
    """A call that came after close()."""


def _seconds(timeout: Any) -> float:
    return math.inf if timeout == math.inf else real_number("timeout", timeout, -math.inf)


@before_the_end
def _close_all() -> None:
    """What is learned in daemon threads is saved, and neither a worker nor a supervisor outlives the interpreter."""
    for trainer in list(_live):
        if not trainer._is_a_copy():
            trainer._close_whatever_happens()
    for supervisor in list(_supervisors):
        supervisor.join(_FINISH_SECONDS)
