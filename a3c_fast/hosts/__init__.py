"""Several hosts that train one agent together, each with an engine of its own.

    torchrun --nnodes 2 --nproc-per-node 1 ... -m a3c_fast.train --env-id Pong-v5

`launch` says which of them this one is, `settings` what must be the same on all, `rounds` who trains together, `group`
how they talk, and `exchange` what they tell each other while the workers go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from a3c_fast import _core
from a3c_fast.config import Config
from a3c_fast.events import Reason
from a3c_fast.hosts import settings
from a3c_fast.hosts.changes import Changes
from a3c_fast.hosts.exchange import End, Exchange, ExchangeStats, Outcome
from a3c_fast.hosts.launch import Launch
from a3c_fast.hosts.rounds import Rounds
from a3c_fast.hosts.settings import NothingLeft
from a3c_fast.machine import cores
from a3c_fast.threads import in_a_thread
from a3c_fast.versions import versions

__all__ = ["ExchangeStats", "Hosts", "HostsError", "Launch", "NothingLeft"]

_START_PATIENCE = 600.0  # seconds for rank 0 to begin
_POLL_SECONDS = 0.02  # between two looks at what another thread does
_SLICE_SECONDS = 0.1  # how long a wait stays away from Python, and so from signal handlers
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

    def agree(self, config: Config) -> Config:
        """The settings that all hosts have, with what rank 0 has measured, once it has begun.

        Raises `ConfigError` where this host's contradict them, `HostsError` where rank 0 does not begin.
        """
        self._rounds = self._connect(config)
        store = self._rounds.store
        self._begun = int(store.add(f"begun/{self.launch.rank}", 1)) - 1
        version = versions()["a3c_fast"]
        if self.is_first:
            self._changes.begin(store)
            settings.publish(store, config, version)
            return config
        began = time.monotonic()

        def wait() -> None:
            time.sleep(_SLICE_SECONDS)
            if self._interrupted:
                raise HostsError("interrupted while it waited for rank 0")
            if time.monotonic() - began > _START_PATIENCE:
                raise HostsError(f"{self.launch} has waited ten minutes for rank 0, which has not begun")

        return self.own_settings(settings.agreed(store, config, version, wait))

    def dismiss(self, config: Config, reason: str) -> None:
        """By rank 0, which has nothing to do: lets no other host wait for it."""
        settings.publish_nothing_left(self._connect(config).store, reason)

    def stream(self, first_step: int) -> int:
        """Of the seeds of this host's environments: others than it had before, and than other hosts have."""
        return first_step if self.is_first else _STREAMS * (self.launch.rank + self.launch.world_size * self._begun)

    @property
    def first_worker(self) -> int:
        """The number of this host's first worker among those of all hosts, of which none has more than 4,096."""
        return 0 if self.is_first else 4096 * (self.launch.rank + self.launch.world_size * self._begun)

    def check_network(self, engine: _core.Engine) -> None:
        """Raises `ConfigError` where it is another than that of rank 0."""
        assert self._rounds is not None
        settings.require_same_network(self._rounds.store, engine, self.launch.rank)

    # A run -----------------------------------------------------------------------------------------------------------

    def begin(
        self,
        engine: _core.Engine,
        config: Config,
        until: int,
        tell: Callable[[str], None],
        request_stop: Callable[[], None],
        change: Callable[[Mapping[str, Any]], None],
    ) -> bool:
        """Joins the others, with the engine at rest, and exchanges from then on; False where it was interrupted.

        Takes from them the newest parameters that there are. Raises `HostsError` where it cannot.
        """
        self._interrupted = False
        self._changes.apply = change
        assert self._rounds is not None
        version = self._outcome.version
        if self._exchange is not None and self.is_first:  # a further run: the others take it from this host
            version += 1
        self._exchange = exchange = Exchange(
            engine,
            self.launch,
            self._rounds,
            lambda: Rounds(self.launch, config.host_timeout_seconds),
            until=until,
            every=config.exchange_every_seconds,
            timeout=config.host_timeout_seconds,
            version=version,
            tell=tell,
            stop=request_stop,
            changes=self._changes,
        )
        self._outcome = exchange.outcome
        while not exchange.joined.is_set():  # no lock, as signal handlers may come by
            time.sleep(_POLL_SECONDS)
            if self._interrupted:
                exchange.give_up()
                return False
        self.raise_error()
        return True

    def tell_of_change(self, change: Mapping[str, Any]) -> None:
        """By rank 0: settings that it has changed, which the others then change too."""
        self._changes.add(change)

    def interrupt(self) -> None:
        """Whoever waits for others to begin with does so no longer."""
        self._interrupted = True

    def end(self, reason: Reason) -> None:
        """The workers of this host have ended. Waits for the last exchange, at most as long as one that fails takes."""
        exchange = self._exchange
        if exchange is not None:
            exchange.end(self._how(reason, exchange))
            while not exchange.done.is_set():
                time.sleep(_POLL_SECONDS)

    def leave(self) -> None:
        """No run has begun after all."""
        if self._exchange is not None:
            self._exchange.end("leaves")

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
