"""Several hosts that train one agent together, each with an engine of its own.

    torchrun --nnodes 2 --nproc-per-node 1 ... -m a3c_fast.train --env-id Pong-v5

`launch` says which of them this one is, `settings` what must be the same on all, `rounds` who trains together, `group`
how they talk, and `exchange` what they tell each other while the workers go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from a3c_fast import _core
from a3c_fast.config import Config
from a3c_fast.events import Reason
from a3c_fast.hosts import settings
from a3c_fast.hosts.changes import Changes
from a3c_fast.hosts.exchange import End, Exchange, ExchangeStats, Outcome
from a3c_fast.hosts.launch import Launch
from a3c_fast.hosts.network import own_address
from a3c_fast.hosts.rounds import Rounds
from a3c_fast.hosts.settings import NothingLeft
from a3c_fast.hosts.store import HostsStore
from a3c_fast.machine import cores
from a3c_fast.threads import in_a_thread

__all__ = ["ExchangeStats", "Hosts", "HostsError", "Launch", "NothingLeft"]

_START_PATIENCE = 600.0  # seconds for rank 0 to begin
_POLL_SECONDS = 0.02  # between two looks at what another thread does
_SLICE_SECONDS = 0.1  # how long a wait stays away from Python, and so from signal handlers
_END_PATIENCE = 120.0  # for a last exchange, and for a rank 0 that may come back for what was learned
_LINGER_SECONDS = 5.0
_STREAMS = 2**40  # of the seeds of environments: more than the steps of a run, which are those of rank 0


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
        self._changes = Changes()
        self._rounds: Rounds | None = None
        self._exchange: Exchange | None = None
        self._outcome = Outcome(version=0 if launch.rank == 0 else -1)
        self._runs = 0  # that have begun in this process
        self._first_step = 0  # of rank 0
        self._begun = 0  # how often this host has begun, over all its processes
        self._interrupted = False

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
        """One for each core, of which processes of the same machine have their shares."""
        return max(1, cores() // self.launch.local_world_size)

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
        own_address(self.launch.address)  # raises where the interface that is named is none
        self._rounds = self._connect(config)
        store = self._rounds.store
        self._begun = int(store.add(f"begun/{self.launch.rank}", 1)) - 1
        if self.is_first:
            self._changes.begin(store)
            settings.publish(store, config, first_step)
            return config
        config, self._first_step = settings.agreed(store, config, self._waiting_for_first())
        return self.own_settings(config)

    def _waiting_for_first(self) -> Callable[[], None]:
        began = time.monotonic()

        def wait() -> None:
            time.sleep(_SLICE_SECONDS)
            if self._interrupted:
                raise HostsError("interrupted while it waited for rank 0")
            if time.monotonic() - began > _START_PATIENCE:
                raise HostsError(f"{self.launch} has waited ten minutes for rank 0, which has not begun")

        return wait

    def dismiss(self, config: Config, reason: str) -> None:
        """By rank 0, which has nothing to do: lets no other host wait for it."""
        if self.is_first:
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
        tell: Callable[[str], None],
        request_stop: Callable[[], None],
        change: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Joins the others, with the engine at rest, and exchanges from then on.

        Takes from them the newest parameters that there are. Raises `HostsError` where it cannot, or is interrupted.
        """
        self._interrupted = False
        self._changes.apply = change
        assert self._rounds is not None
        version = self._outcome.version
        if self._exchange is not None:  # a further run, in which all begin with what rank 0 has
            if not self._exchange.done.is_set():
                raise HostsError("the exchange of the run before has not come to its end")
            version = version + 1 if self.is_first else -1
        if self.is_first:
            self._changes.apply_inherited(config)
        self._exchange = exchange = Exchange(
            engine,
            self.launch,
            self._rounds,
            lambda: Rounds(self.launch, config.host_timeout_seconds),
            run=self._runs,
            until=until,
            every=config.exchange_every_seconds,
            timeout=config.host_timeout_seconds,
            version=version,
            tell=tell,
            stop=request_stop,
            changes=self._changes,
        )
        self._runs += 1
        self._outcome = exchange.outcome
        try:
            while not exchange.joined.is_set():  # no lock, as signal handlers may come by
                time.sleep(_POLL_SECONDS)
                if self._interrupted:
                    raise HostsError("interrupted while it waited for other hosts")
        except BaseException:
            exchange.give_up()
            raise
        self.raise_error()
        if exchange.done.is_set():
            raise HostsError("interrupted while it waited for other hosts")

    def tell_of_change(self, change: Mapping[str, Any]) -> None:
        """By rank 0: settings that it has changed, which the others then change too."""
        self._changes.add(change)

    def interrupt(self) -> None:
        """Whoever waits for others to begin with does so no longer."""
        self._interrupted = True

    def end(self, reason: Reason) -> None:
        """The workers of this host have ended. Waits for the last exchange, at most as long as one that fails takes."""
        exchange = self._exchange
        if exchange is None:
            return
        if exchange.joined.is_set():
            exchange.end(self._how(reason, exchange))
        else:  # no run has begun
            exchange.give_up()
        began = time.monotonic()
        while not exchange.done.is_set():
            time.sleep(_POLL_SECONDS)
            if self._interrupted:
                exchange.end("aborts" if self.is_first else "leaves")
            if time.monotonic() - began > _END_PATIENCE:
                exchange.give_up()
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
        if self._outcome.error is not None:
            raise HostsError(self._outcome.error)

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

    def _how(self, reason: Reason, exchange: Exchange) -> End:
        if reason == "total_steps" or exchange.outcome.was_stopped:
            return "ended"
        if reason == "failed" or not self.is_first:
            return "leaves"
        return "aborts" if reason == "stopped" else "stops"

    def _connect(self, config: Config) -> Rounds:
        """To the store, for which it waits: rank 0 may begin later. Raises `HostsError` where it does not come."""
        opens = self.is_first and not self.launch.store_is_there
        began = time.monotonic()
        while True:
            try:
                # In a thread, while this one handles signals.
                return in_a_thread(lambda: Rounds(self.launch, config.host_timeout_seconds, opens=opens), "store")
            except RuntimeError as error:
                if opens or time.monotonic() - began > _START_PATIENCE:
                    where = f"{self.launch.address}:{self.launch.port}"
                    doing = "opened" if opens else "reached"
                    raise HostsError(f"the store of the hosts at {where} cannot be {doing}: {error}") from error
            if self._interrupted:
                raise HostsError("interrupted while it waited for rank 0")
