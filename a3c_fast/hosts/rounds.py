"""Who trains together: rounds of hosts that meet at a store of torch.distributed.

A host that wants to be among the others, or that has lost one of them, calls the next round. All that come to a round
before it is closed are its members, and then exchange until the next round is called. Whoever comes first to see that
nobody more is to be waited for closes it. A host that is gone is waited for as long as `patience` says, and no host
waits for the one that called.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from a3c_fast.hosts.launch import Launch
from a3c_fast.hosts.store import HostsStore

_SLICE_SECONDS = 0.05  # between two looks at a round that is open


class Member(msgspec.Struct, frozen=True):
    """What a host says of itself when it comes to a round."""

    rank: int
    address: str
    """IP."""
    version: int
    """Of the agreement that it has: how often it was exchanged, -1 where it has none."""
    exchanged_in: int = 0
    """The round of the last of these exchanges."""
    steps: int = 0
    """Of all hosts, by that agreement."""
    port: int = 0
    """Where others find out whether they reach this host."""
    silent: tuple[int, ...] = ()
    """Ranks that this host does not reach."""

    @property
    def age(self) -> tuple[bool, int, int]:
        """The newest agreement has the most steps: a rank 0 that begins again counts its exchanges from 0."""
        return self.version >= 0, self.steps, self.version

    @property
    def agreement(self) -> tuple[int, int, int]:
        """What tells it from any other."""
        return self.version, self.exchanged_in, self.steps


@dataclass(frozen=True)
class Round:
    """One that is closed."""

    number: int
    members: tuple[Member, ...]
    place: int
    """Of this host among the members."""


class Abandoned(Exception):  # noqa: N818 no error
    """This host does not want to wait any more."""


class LeftOut(Exception):  # noqa: N818 the sentence says what is wrong
    """This host does not reach another one, and the others go on without it."""


class Rounds:
    """The rounds of a run. One thread uses it. What it raises where the store cannot be reached is `RuntimeError`."""

    def __init__(self, launch: Launch, timeout: float, *, trainer: int = 0, opens: bool = False) -> None:
        """Connects to the store, or `opens` it. Each call waits at most `timeout` seconds for an answer.

        `trainer` is the number of the trainer among those that the processes make one after another, from 0 on.
        """
        self._launch = launch
        self.store = HostsStore(launch, timeout, trainer=trainer, opens=opens)

    def newest(self) -> int:
        """The number of the round that was called last; 0 before the first."""
        return int(self.store.add("rounds", 0))

    def call(self, after: int) -> None:
        """Calls the round after that one, unless somebody else has."""
        if self.newest() == after:
            # The counter of add() is a number in decimal digits, and empty before its first use.
            self.store.compare_set("rounds", str(after), str(after + 1))

    def come(self, member: Member, patience: tuple[float, float], given_up: Callable[[], bool]) -> Round:
        """To the newest round: waits until it is closed.

        `patience` is for hosts that do not come, in seconds, in the first round and in later ones.

        Where it was closed without this host it calls the next one. Raises `Abandoned` once `given_up` says so, and
        `LeftOut` where the others go on without this host, which does not reach all of them.
        """
        while True:
            number = self.newest()
            found = self._come_to(number, member, patience[number > 1], given_up)
            if found is not None:
                return found
            self.call(number)

    def group_store(self, number: int) -> Store:
        """Where the members of a round find each other."""
        return PrefixStore(f"round/{number}/group", self.store.plain)

    def _come_to(self, number: int, member: Member, patience: float, given_up: Callable[[], bool]) -> Round | None:
        name = f"round/{number}"
        closed = f"{name}/closed"
        if number == 0 or self.store.check(closed):
            return None
        place = self.store.add(f"{name}/members", 1) - 1
        self.store.set(f"{name}/member/{place}", msgspec.json.encode(member).decode())
        came, present = time.monotonic(), place + 1
        while not self.store.check(closed):
            if given_up():
                raise Abandoned
            count = self.store.add(f"{name}/members", 0)
            if count > present:
                came, present = time.monotonic(), count
            if count >= self._launch.world_size or time.monotonic() - came > patience:
                self.store.compare_set(closed, "", str(count))
            else:
                time.sleep(_SLICE_SECONDS)
        size = int(self.store.get(closed))
        if place >= size:
            return None
        # One that was killed between its two words is missed here, for as long as the store waits.
        members = [self._member(f"{name}/member/{i}") for i in range(size)]
        out = left_out(members)
        if member.rank in out:
            raise LeftOut(
                f"{self._launch} and host {out[member.rank]} do not reach each other, and the others go on without it"
            )
        kept = [i for i in range(size) if members[i].rank not in out]
        return Round(number, tuple(members[i] for i in kept), kept.index(place))

    def _member(self, key: str) -> Member:
        return msgspec.json.decode(self.store.get(key), type=Member)


def left_out(members: Iterable[Member]) -> dict[int, int]:
    """Who must stay away so that all others reach each other, by rank, each with one that it has no connection with.

    Every member finds the same. Rank 0 stays; of others those who lack most, and of such the last.
    """
    found = list(members)
    ranks = {member.rank for member in found}
    pairs = {
        frozenset((member.rank, other)) for member in found for other in member.silent if other in ranks - {member.rank}
    }
    out: dict[int, int] = {}
    while pairs:
        lacks = Counter(rank for pair in pairs for rank in pair if rank != 0)
        worst = max(lacks, key=lambda rank: (lacks[rank], rank))
        out[worst] = min(rank for pair in pairs if worst in pair for rank in pair - {worst})
        pairs = {pair for pair in pairs if worst not in pair}
    return out


def over_key(run: int) -> str:
    """Where rank 0 says that it has ended its run of this number, and how."""
    return f"over/{run}"
