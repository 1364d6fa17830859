"""Settings that rank 0 changes in the course of a run, for the other hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from a3c_fast.config import Config
from a3c_fast.hosts.store import HostsStore
from a3c_fast.schedules import LIVE_FIELDS, Schedule, checked, parse

_KEY = "changes"


class Changes:
    """All of a run, oldest first, as the store has them: rank 0 adds and publishes, the others take and apply them."""

    def __init__(self) -> None:
        self._all: list[tuple[str, float | str]] = []  # appended to by rank 0's program; else by the exchange's thread
        self._inherited: dict[str, float | str] = {}
        self._known = 0  # how many are published; of the exchange's thread
        self._applied: list[tuple[str, float | str]] = []  # of another host than rank 0; of the exchange's thread
        self.apply: Callable[[Mapping[str, Any]], None] = lambda _: None
        """Changes settings of this host, as `Trainer.set`."""

    def begin(self, store: HostsStore, config: Config, *, goes_on: bool) -> None:
        """By rank 0: goes on with those of a rank 0 before this one.

        Where a run `goes_on` with a store that knows of none, hosts may: they are told what is set now.
        """
        if store.check(_KEY):
            self._all = _read(store)
            self._known = len(self._all)
            self._inherited = dict(self._all)
        elif goes_on:
            schedules = checked(config.schedules)
            self._all = [
                (name, str(schedules[name]) if name in schedules else getattr(config, name)) for name in LIVE_FIELDS
            ]

    def apply_inherited(self, config: Config) -> None:
        """By rank 0, before a run: what one before it has changed, and this one does not know of."""
        inherited, self._inherited = self._inherited, {}
        for name, value in inherited.items():
            schedules = checked(config.schedules)
            if value != (str(schedules[name]) if name in schedules else getattr(config, name)):
                self.apply({name: parse(value) if isinstance(value, str) else value})

    def add(self, settings: Mapping[str, Any]) -> None:
        """By rank 0's program: numbers, or schedules in their place."""
        self._all += [(name, str(value) if isinstance(value, Schedule) else value) for name, value in settings.items()]

    def publish(self, store: HostsStore) -> bool:
        """By rank 0: whether there are any that the others have not been told of."""
        changes = list(self._all)
        if len(changes) == self._known:
            return False
        store.set(_KEY, msgspec.json.encode(changes).decode())
        self._known = len(changes)
        return True

    def take(self, store: HostsStore) -> None:
        """By the others: applies those that are new."""
        if not store.check(_KEY):
            return
        found = _read(store)
        known = 0  # all that are applied, but for a new store, which has none of them
        while known < min(len(found), len(self._applied)) and found[known] == self._applied[known]:
            known += 1
        for name, value in found[known:]:
            self.apply({name: parse(value) if isinstance(value, str) else value})
        self._applied = found


def _read(store: HostsStore) -> list[tuple[str, float | str]]:
    return msgspec.json.decode(store.get(_KEY), type=list[tuple[str, float | str]])
