"""The exchange between hosts, with engines in plain NumPy in the place of ours, and calls that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers import PATIENCE, wait_until
from test_hosts import free_port

from a3c_fast.hosts import exchange
from a3c_fast.hosts.changes import Changes
from a3c_fast.hosts.exchange import Exchange
from a3c_fast.hosts.group import Group
from a3c_fast.hosts.launch import Launch
from a3c_fast.hosts.rounds import Rounds, over_key

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class PlainEngine:
    """What an `Exchange` needs of an engine; it learns 1 whenever something is taken, in its own parameter."""

    num_counts = 4

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.theta, self.steps = np.zeros(size), 0.0
        self.agreed, self.agreed_steps = np.zeros(size), 0.0
        self.taken, self.taken_steps = np.zeros(size), 0.0
        self.learned = 0
        self.episodes: list[float] = []  # its own, one whenever something is learned
        self.heard: list[float] = []
        self.runs = rank == 0  # the others begin with what it has
        self.has_begun = False

    def learn(self) -> None:
        self.theta[self.rank] += self.runs
        self.steps += self.runs
        self.learned += self.runs
        self.episodes += [1000.0 * self.rank + self.learned] * self.runs

    def episodes_added(self) -> int:
        return len(self.episodes)

    def episodes_since(self, first: int, most: int) -> tuple[int, list[tuple[float, int, int, int]]]:
        return first, [(value, 7, 0, 0) for value in self.episodes[first : first + most]]

    def hear_episodes(self, episodes: list[tuple[float, int]]) -> None:
        assert all(length == 7 for _, length in episodes)
        self.heard += [value for value, _ in episodes]

    def parameters(self) -> Floats:
        return self.theta.astype(np.float32)

    def stats(self) -> dict[str, float]:
        return {"steps": self.steps}

    def agree(self) -> None:
        self.agreed, self.agreed_steps = self.theta.copy(), self.steps

    def take_difference(self, difference: Floats, counts: Doubles) -> None:
        self.learn()
        self.taken, self.taken_steps = self.theta - self.agreed, self.steps - self.agreed_steps
        difference[:], counts[:] = self.taken, [self.taken_steps, 0, 0, 0]
        self.learn()  # and goes on

    def give_back(self) -> None:
        self.taken, self.taken_steps = np.zeros_like(self.theta), 0.0

    def add_total(self, total: Floats, counts: Doubles) -> None:
        self._become(self.agreed + total, self.agreed_steps + counts[0])

    def adopt(self, agreed: Floats, counts: Doubles) -> None:
        self._become(agreed.astype(float), counts[0])
        self.runs = True

    def _become(self, agreed: npt.NDArray[np.float64], steps: float) -> None:
        self.theta += (agreed - self.agreed) - self.taken
        self.steps += (steps - self.agreed_steps) - self.taken_steps
        self.agreed, self.agreed_steps = agreed.copy(), steps
        self.give_back()

    def read_agreement(self, agreed: Floats, counts: Doubles) -> None:
        agreed[:], counts[:] = self.agreed, [self.agreed_steps, 0, 0, 0]

    def snapshot(self) -> dict[str, Any]:
        return {"statistics": {}, "wall_seconds": 0.0, "recent_episodes": []}

    def load(self, *, parameters: Floats, steps: int, **_: Any) -> None:
        self.theta, self.steps = parameters.astype(float), float(steps)


class Flaky(Group):
    """A group whose calls fail now and then: before they are made, or when they are done everywhere."""

    failures: list[tuple[int, int, str]] = []  # noqa: RUF012  (place, number of the call, "before" or "after")
    calls = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.place = args[1]
        self.calls = 0

    def add(self, tensor: torch.Tensor) -> None:
        self.calls += 1
        for failure in self.failures:
            if failure[:2] == (self.place, self.calls) and failure[2] == "before":
                self.failures.remove(failure)
                raise RuntimeError("the network is down")
        super().add(tensor)
        for failure in self.failures:
            if failure[:2] == (self.place, self.calls):
                self.failures.remove(failure)
                raise RuntimeError("the network broke down")


class Job:
    """Exchanges of several hosts, with engines of their own, over one store."""

    def __init__(self, size: int) -> None:
        self.size, self._port = size, free_port()
        self.engines = [PlainEngine(rank, size) for rank in range(size)]
        self.said: list[str] = []
        self.stopped: list[int] = []
        self.rounds = [self._connect(rank) for rank in range(size)]

    def _connect(self, rank: int) -> Rounds:
        launch = Launch(rank, self.size, 1, "127.0.0.1", self._port, False, "none")
        return Rounds(launch, 30, opens=rank == 0 and not hasattr(self, "rounds"))

    def exchange(self, rank: int) -> Exchange:
        return Exchange(
            self.engines[rank],  # type: ignore[arg-type]
            Launch(rank, self.size, 1, "127.0.0.1", self._port, False, "none"),
            self.rounds[rank],
            lambda: self._connect(rank),
            run=0,
            until=10**9,
            every=0.01,
            timeout=PATIENCE,
            version=0 if rank == 0 else -1,
            tell=self.said.append,
            stop=lambda: self.stopped.append(rank),
            changes=Changes(),
        )


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "failures",
    [
        [],
        [(0, 3, "before")],
        [(1, 3, "before")],
        [(0, 4, "after")],  # the counts of the second exchange are everywhere, and one host does not know
        [(1, 4, "after")],
        [(1, 3, "after"), (0, 6, "after"), (1, 2, "before"), (0, 2, "after")],
    ],
)
def test_what_hosts_learn_is_counted_once_whatever_fails(
    monkeypatch: pytest.MonkeyPatch, size: int, failures: list[tuple[int, int, str]]
) -> None:
    monkeypatch.setattr(exchange, "Group", Flaky)
    monkeypatch.setattr(Flaky, "failures", list(failures))
    job = Job(size)
    engines, exchanges = job.engines, [job.exchange(rank) for rank in range(size)]
    wait_until(lambda: all(each.outcome.stats.exchanges > 20 for each in exchanges) and not Flaky.failures)
    for each in exchanges:
        each.end("ended")
    wait_until(lambda: all(each.done.is_set() for each in exchanges))
    assert [each.outcome.error for each in exchanges] == [None] * size
    learned = [engine.learned for engine in engines]
    for engine in engines:
        # All but what was learned during the last exchange, of which there is no next.
        own_last = np.zeros(size)
        own_last[engine.rank] = 1
        assert (engine.agreed == np.array(learned) - 1).all()
        assert (engine.theta == engine.agreed + own_last).all()
        assert engine.agreed_steps == sum(learned) - size
    assert len({each.outcome.version for each in exchanges}) == 1
    if not failures:
        for engine in engines:
            others = [other.episodes for other in engines if other is not engine]
            for episodes in others:  # of the last two nobody was told: they were learned in the last exchange
                told = [value for value in engine.heard if value in set(episodes)]
                assert told == episodes[: len(told)]
                assert len(told) >= len(episodes) - 2
            assert len(engine.heard) == sum(len([v for v in engine.heard if v in set(e)]) for e in others)


def test_what_is_not_finite_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_PATIENCE", 0.1)
    monkeypatch.setattr(exchange, "_MOST_SECONDS", 0.1)
    job = Job(3)
    exchanges = [job.exchange(rank) for rank in range(3)]
    wait_until(lambda: all(each.outcome.stats.exchanges > 3 for each in exchanges))
    job.engines[1].theta[1] = np.nan
    wait_until(exchanges[1].done.is_set)
    assert exchanges[1].outcome.error == (
        "host 1 of 3 has learned what is no finite number, and keeps it from the others"
    )
    assert job.stopped == [1]
    others = (exchanges[0], exchanges[2])
    before = [each.outcome.stats.exchanges for each in others]
    wait_until(lambda: all(each.outcome.stats.exchanges > n + 3 for each, n in zip(others, before, strict=True)))
    for each in others:
        each.end("ended")
    wait_until(lambda: all(each.done.is_set() for each in others))
    assert [each.outcome.error for each in others] == [None, None]
    assert np.isfinite(job.engines[0].theta).all()
    assert np.isfinite(job.engines[2].theta).all()


@pytest.mark.parametrize("how", ["aborts", "stops"])
def test_who_comes_when_the_first_host_has_left_hears_of_it(how: exchange.End) -> None:
    job = Job(2)
    first = job.exchange(0)  # which waits for the other
    first.end(how)
    wait_until(first.done.is_set)
    other = job.exchange(1)
    wait_until(other.done.is_set)
    assert other.outcome.was_stopped
    assert other.outcome.was_aborted == (how == "aborts")
    assert other.outcome.error is None
    assert job.stopped == [1]


def test_the_end_is_said_when_all_have_it() -> None:
    job = Job(2)
    exchanges = [job.exchange(0), job.exchange(1)]
    wait_until(lambda: all(each.outcome.stats.exchanges > 1 for each in exchanges))
    exchanges[0].end("ended")
    count = exchanges[1].outcome.stats.exchanges
    wait_until(lambda: exchanges[1].outcome.stats.exchanges > count + 3)
    store = Rounds(Launch(1, 2, 1, "127.0.0.1", job._port, False, "none"), 30).store
    assert not store.check(over_key(0))  # a first host that is killed now may still come back to the other
    exchanges[1].end("ended")
    wait_until(lambda: all(each.done.is_set() for each in exchanges))
    assert store.get(over_key(0)) == b"ended"
    assert job.stopped == []
