"""What happens in a run, as it happens: for the program that trains, in its own thread and at its own pace."""

from __future__ import annotations

import contextlib
import os
import select
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from a3c_fast._core import Engine

Reason = Literal[
    "total_steps", "max_minutes", "stop_at_return", "stop_at_evaluation", "evaluate_patience", "stopped", "failed"
]

_MOST_WAITING = 10_000  # events beside episodes, of which the core keeps 65,536
_MOST_AT_ONCE = 4096  # episodes


@dataclass(frozen=True, slots=True)
class Episode:
    """A training episode that has ended."""

    episode_return: float
    """Its rewards as the environment pays them."""
    length: int
    """Agent steps."""
    worker: int
    step: int
    """Agent steps of the whole run that had been learned from by then."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """A line of metrics, every `log_every_seconds`: the keys of `Trainer.stats()`."""

    line: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint among those of the run directory."""

    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation that was made while the run went on."""

    step: int
    """Agent steps of the run when it began."""
    score: Mapping[str, Any]
    """The line of evaluations.jsonl: `mean_return`, `std_return`, `episodes` and more."""
    best: bool
    """Whether no earlier one of the run had as high a mean return."""

    @property
    def mean_return(self) -> float:
        """Of its episodes, as the environment pays them."""
        return float(self.score["mean_return"])


@dataclass(frozen=True, slots=True)
class Ended:
    """The run has ended, and everything is saved."""

    reason: Reason
    """`total_steps`: it has all that it was to have."""
    step: int


Event = Episode | Metrics | Saved | Evaluated | Ended


class Events:
    """The events of one run for one reader, from when this was made on: an iterator, which waits for the next one.

    It ends after `Ended`. Nobody waits for a reader: of what it is too slow for the oldest is `dropped`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._next_episode = engine.episodes_added()
        # One end each, of a deque whose operations are whole: no lock, since who reads may be interrupted by a signal's
        # handler that closes the trainer, for which the supervisor must not have to wait for the reader.
        self._waiting: deque[Event] = deque()
        self._changed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._changed)
        self._ended = False  # written after the last event is there
        self._dropped_events = 0  # of those who add, with `Record.writing` held
        self._dropped_episodes = 0  # of the reader alone, as what follows
        self._read: deque[Event] = deque()

    @property
    def dropped(self) -> int:
        """How many events came and went before they were read."""
        return self._dropped_events + self._dropped_episodes

    def add(self, event: Event) -> None:
        """By those who hold `Record.writing`."""
        if len(self._waiting) >= _MOST_WAITING:
            with contextlib.suppress(IndexError):  # the reader was quicker
                self._waiting.popleft()
                self._dropped_events += 1
        self._waiting.append(event)
        self._ended = self._ended or isinstance(event, Ended)
        os.eventfd_write(self._changed, 1)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while not self._read:
            if self._ended and not self._waiting:
                raise StopIteration
            self._read.extend(self.pull(0.05))
        return self._read.popleft()

    def pull(self, timeout: float = 0.0) -> list[Event]:
        """All that there are now; where there is none, waits for one at most `timeout` seconds, about."""
        if not (found := self._pulled()) and timeout > 0:
            poll = select.poll()
            poll.register(self._changed, select.POLLIN)
            poll.poll(min(1000 * timeout, 2**31 - 1))
            found = self._pulled()
        return found

    def _pulled(self) -> list[Event]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._changed)
        others: list[Event] = []  # before the episodes: all of them come before Ended
        with contextlib.suppress(IndexError):
            while True:
                others.append(self._waiting.popleft())
        found: list[Event] = []
        while True:
            first, episodes = self._engine.episodes_since(self._next_episode, _MOST_AT_ONCE)
            self._dropped_episodes += first - self._next_episode
            self._next_episode = first + len(episodes)
            found += [Episode(*episode) for episode in episodes]
            if len(episodes) < _MOST_AT_ONCE:
                return found + others
