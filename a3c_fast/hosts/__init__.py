"""Several hosts that train one agent together, each with an engine of its own.

    torchrun --nnodes 2 --nproc-per-node 1 ... -m a3c_fast.train --env-id Pong-v5

`launch` says which of them this one is, `settings` what must be the same on all, `rounds` who trains together, `group`
how they talk, `reach` whether they can, and `exchange` what they tell each other while the workers go on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from a3c_fast import _core
from a3c_fast.config import Config
from a3c_fast.events import Reason
from a3c_fast.hosts import settings
from a3c_fast.hosts.changes import Changes
from a3c_fast.hosts.exchange import End, Exchange
from a3c_fast.hosts.launch import Launch
from a3c_fast.hosts.network import own_address
from a3c_fast.hosts.outcome import ExchangeStats, Outcome
from a3c_fast.hosts.rounds import Rounds
from a3c_fast.hosts.settings import NothingLeft
from a3c_fast.hosts.store import HostsStore
from a3c_fast.hosts.waiting import Waiting
from a3c_fast.machine import cores, is_bound
from a3c_fast.telling import tell
from a3c_fast.threads import in_a_thread

__all__ = ["ExchangeStats", "Hosts", "HostsError", "Launch", "NothingLeft"]

_START_PATIENCE = 600.0  # seconds for rank 0 to begin
_POLL_SECONDS = 0.02  # between two looks at what another thread does
_SLICE_SECONDS = 0.1  # how long a wait stays away from Python, and so from signal handlers
_END_PATIENCE = 120.0  # for a last exchange, and for a rank 0 that may come back for what was learned
_LINGER_SECONDS = 5.0
_STREAMS = 2**40  # of the seeds of environments: more than the steps of a run, which are those of rank 0

_trainers = itertools.count()  # of this process, one after another: all hosts number them alike


class HostsError(RuntimeError):
    """The other hosts, or the store where they meet, cannot be reached; or rank 0 has ended the run."""


class Hosts:
    """The other hosts of a run, for a `Trainer` that is one of them.

        with Trainer(config, hosts=Hosts.of_launcher()) as trainer:
            trainer.run()

    The same program runs on each. Rank 0 keeps the run directory, evaluates and ends the run; the others take its
    settings, but for the numbers of their workers and environments. One that is lost is gone for the others after
    `host_timeout_seconds` at most; one that comes back, or comes late, begins with what the others have by then.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self._forget()

    def _forget(self) -> None:
        """What belongs to one trainer."""
        self._changes = Changes()
        self._rounds: Rounds | None = None
        self._exchange: Exchange | None = None
        self._outcome = Outcome(version=0 if self.launch.rank == 0 else -1)
        self._run = 0  # the number of the next one
        self._first_step = 0  # of rank 0
        self._begun = 0  # how often this host has begun, over all its processes
        self._interrupted = False
        self._has_given_up = False  # waiting for the end of the others
        self._error: str | None = None  # because of that
        self._timeout, self._trainer = 0.0, 0

    @classmethod
    def of_launcher(cls) -> Hosts | None:
        """By what torchrun, or another launcher that sets its variables, says; None where this is the only process.

        Raises `ConfigError` where the variables are not what they must be.
        """
        launch = Launch.of_environment()
        return None if launch is None else cls(launch)

    # Before anything is made -----------------------------------------------------------------------------------------

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.launch.rank == 0

    @property
    def num_workers(self) -> int:
        """One for each core. Processes of one machine that nobody has bound to cores of their own have their shares."""
        return max(1, cores() // (1 if is_bound() else self.launch.local_world_size))

    def own_settings(self, config: Config) -> Config:
        """What this host does of them: others than rank 0 keep no files and evaluate nothing."""
        if self.is_first:
            return config
        return config.replace(
            run_dir=None,
            resume=False,
            max_minutes=0,
            stop_at_return=None,
            evaluate_every=0,
            stop_at_evaluation=None,
            evaluate_patience=0,
            track=(),
        )

    def agree(self, config: Config, first_step: int = 0) -> Config:
        """The settings that all hosts have, with what rank 0 has measured, once it has begun at `first_step`.

        Raises `ConfigError` where this host's contradict them, `NothingLeft` where rank 0 has nothing to do, and
        `HostsError` where it does not begin.
        """
        self._forget()
        self._rounds = self._connect(config)
        store = self._rounds.store
        self._begun = int(store.add(f"begun/{self.launch.rank}", 1)) - 1
        if self.is_first:
            self._changes.begin(store, config, goes_on=first_step > 0)
            self._run = settings.begin_run(store)
            settings.publish(store, config, first_step)
            return config
        config, self._first_step = settings.agreed(store, config, self._waiting_for_first())
        self._run = settings.current_run(store)
        return self.own_settings(config)

    def _waiting_for_first(self) -> Callable[[], None]:
        began = time.monotonic()
        waiting = Waiting(self._tell, "waits for rank 0 to begin, for ten minutes at most")

        def wait() -> None:
            time.sleep(_SLICE_SECONDS)
            waiting.look()
            if self._interrupted:
                raise HostsError("interrupted while it waited for rank 0")
            if time.monotonic() - began > _START_PATIENCE:
                raise HostsError(f"{self.launch} has waited ten minutes for rank 0, which has not begun")

        return wait

    def dismiss(self, config: Config, reason: str) -> None:
        """By rank 0, which has nothing to do: lets no other host wait for it."""
        if self.is_first:
            self._forget()
            self._rounds = self._connect(config)
            settings.publish_nothing_left(self._rounds.store, reason)
            if not self.launch.store_is_there:
                time.sleep(_LINGER_SECONDS)  # the store ends with this process

    def stream(self, first_step: int) -> int:
        """Of the seeds of this host's environments: others than it had before, and than other hosts have."""
        if self.is_first:
            return first_step
        return self._first_step + _STREAMS * (self.launch.rank + self.launch.world_size * self._begun)

    @property
    def first_worker(self) -> int:
        """The number of this host's first worker among those of all hosts, of which none has more than 4,096."""
        if self.is_first:
            return 0
        number = self.launch.rank + self.launch.world_size * self._begun
        return (self._first_step % 2**24) * 2**40 + 4096 * (number % 2**28)

    def check_network(self, engine: _core.Engine, constants: Mapping[str, torch.Tensor]) -> None:
        """Raises `ConfigError` where it is another than that of rank 0, or has other `constants`."""
        assert self._rounds is not None
        wait = self._waiting_for_first()
        settings.require_same_network(self._rounds.store, engine, constants, self.launch.rank, wait)

    # A run -----------------------------------------------------------------------------------------------------------

    def begin(
        self,
        engine: _core.Engine,
        config: Config,
        until: int,
        request_stop: Callable[[], None],
        change: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Joins the others, with the engine at rest, and exchanges from then on.

        Takes from them the newest parameters that there are. Raises `HostsError` where it cannot, or is interrupted,
        and `NothingLeft` where rank 0 has ended the run meanwhile.
        """
        self._interrupted = self._has_given_up = False
        self._changes.apply = change
        assert self._rounds is not None
        version = self._outcome.version
        if self._exchange is not None:  # a further run, in which all begin with what rank 0 has
            if not self._exchange.done.is_set():
                raise HostsError("the exchange of the run before has not come to its end")
            version = version + 1 if self.is_first else -1
            if self.is_first:
                settings.set_run(self._rounds.store, self._run)
        if self.is_first:
            self._changes.apply_inherited(config)
        self._exchange = exchange = Exchange(
            engine,
            self.launch,
            self._rounds,
            lambda: Rounds(self.launch, config.host_timeout_seconds, trainer=self._trainer),
            run=self._run,
            until=until,
            every=config.exchange_every_seconds,
            timeout=config.host_timeout_seconds,
            version=version,
            tell=self._tell,
            stop=request_stop,
            changes=self._changes,
        )
        self._run += 1
        self._outcome = exchange.outcome
        waiting = Waiting(self._tell, "waits for the other hosts to begin")
        try:
            while not exchange.joined.is_set():  # no lock, as signal handlers may come by
                time.sleep(_POLL_SECONDS)
                waiting.look()
                if self._interrupted:
                    raise HostsError("interrupted while it waited for other hosts")
        except BaseException:
            exchange.give_up()
            raise
        self.raise_error()
        if exchange.done.is_set():
            if exchange.outcome.was_aborted:
                raise HostsError("rank 0 has ended the run before it had all its steps")
            if exchange.outcome.was_stopped:
                raise NothingLeft("rank 0 has ended the run")
            raise HostsError("interrupted while it waited for other hosts")

    def tell_of_change(self, change: Mapping[str, Any]) -> None:
        """By rank 0: settings that it has changed, which the others then change too."""
        self._changes.add(change)

    def interrupt(self) -> None:
        """Whoever waits for others to begin with does so no longer."""
        self._interrupted = True

    def end(self, reason: Reason) -> None:
        """The workers of this host have ended. Waits for the last exchange, for two minutes at most.

        A rank 0 that was stopped may soon be killed, and waits for others no longer than for one that is silent.
        """
        exchange = self._exchange
        if exchange is None or self._has_given_up:
            return
        how = self._how(reason, exchange)
        if exchange.joined.is_set():
            exchange.end(how)
        else:  # no run has begun
            exchange.give_up()
        began = time.monotonic()
        while not exchange.done.is_set():
            time.sleep(_POLL_SECONDS)
            if self._interrupted and how not in ("aborts", "leaves"):
                how, began = ("aborts" if self.is_first else "leaves"), time.monotonic()
                exchange.end(how)
            if time.monotonic() - began > (self._timeout if how == "aborts" else _END_PATIENCE):
                self._has_given_up = True
                exchange.give_up()
                if self.is_first:
                    self._tell("other hosts have not ended, and what they have learned last is not with the rest")
                elif how == "ended":
                    self._error = (
                        "the other hosts have not ended, and what this one has learned last is not with the rest"
                    )
                return

    def leave(self) -> None:
        """No run has begun after all."""
        if self._exchange is not None:
            self._exchange.end("leaves")

    @property
    def leaves_something(self) -> bool:
        """Whether a thread of this process waits for a store that hangs, which the interpreter's end could meet."""
        return HostsStore.was_silent

    @property
    def was_aborted(self) -> bool:
        """Whether rank 0 was stopped, and this host with it, before the run had all that it was to have."""
        return not self.is_first and self._outcome.was_aborted

    def raise_error(self) -> None:
        """Raises `HostsError` where this host could not go on, and its run has ended for that."""
        error = self._outcome.error or self._error
        if error is not None:
            raise HostsError(error)

    def close(self) -> None:
        """Exchanges nothing more. Does nothing twice."""
        self.interrupt()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.give_up()
        self._rounds = None

    @property
    def stats(self) -> ExchangeStats:
        """What has been exchanged in the run that has begun last."""
        return self._outcome.stats

    # Inside ----------------------------------------------------------------------------------------------------------

    def _tell(self, sentence: str) -> None:
        tell(f"{self.launch}: {sentence}")

    def _how(self, reason: Reason, exchange: Exchange) -> End:
        if reason == "total_steps" or exchange.outcome.was_stopped:
            return "ended"
        if reason == "failed" or not self.is_first:
            return "leaves"
        return "aborts" if reason == "stopped" else "stops"

    def _connect(self, config: Config) -> Rounds:
        """To the store, for which it waits: rank 0, or its name, may be there later.

        Raises `HostsError` where it does not come, `ConfigError` for a network interface that is none.
        """
        opens = self.is_first and not self.launch.store_is_there
        self._timeout, self._trainer = config.host_timeout_seconds, next(_trainers)
        began = time.monotonic()
        where = f"the store of the hosts at {self.launch.address}:{self.launch.port}"
        waiting = Waiting(self._tell, f"waits for {where}, for ten minutes at most")

        def connect() -> Rounds:
            return Rounds(self.launch, self._timeout, trainer=self._trainer, opens=opens)

        while True:
            try:
                own_address(self.launch.address)
                return in_a_thread(connect, "store", waiting.look)  # while this one handles signals
            except (RuntimeError, OSError) as error:
                has_no_name_yet = isinstance(error, OSError)
                if (opens and not has_no_name_yet) or time.monotonic() - began > _START_PATIENCE:
                    doing = "opened" if opens else "reached"
                    raise HostsError(f"{where} cannot be {doing}: {error}") from error
                time.sleep(_SLICE_SECONDS)
            if self._interrupted:
                raise HostsError("interrupted while it waited for rank 0")
