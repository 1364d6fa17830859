"""The thread that exchanges with other hosts what the workers of this one have learned, while they go on.

Each host has workers that update parameters of their own, Hogwild-style. Now and then all hosts add up what they have
learned since they last agreed, and each adds what the others did to its own: cpp/run/agreement.h has the arithmetic.
The sum, not the mean: so many workers on one machine would have done the same, one push after another.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from a3c_fast import _core
from a3c_fast.hosts.changes import Changes
from a3c_fast.hosts.episodes import Episodes
from a3c_fast.hosts.group import Group
from a3c_fast.hosts.launch import Launch
from a3c_fast.hosts.outcome import ExchangeStats, Outcome
from a3c_fast.hosts.reach import Reach
from a3c_fast.hosts.rounds import Abandoned, LeftOut, Member, Round, Rounds, over_key

_FIRST_PATIENCE = 60.0  # seconds for hosts that do not come to the first round
_PATIENCE = 2.0  # the same later, beside the time between two exchanges
_STORE_PATIENCE = 60.0  # for a store that cannot be reached
_HANDOVER_PATIENCE = 60.0  # for a rank 0 that is gone at the end, and may come back for what was learned
_SLICE_SECONDS = 0.1  # between two looks at whether another round is called
_AGAIN_SECONDS = 1.0  # before the store is asked again
# How often by itself: this thread may take half of a fiftieth of a core. Gloo's two take as much (/proc, on Pong).
_SHARE_OF_A_CORE = 0.01
_LEAST_SECONDS, _MOST_SECONDS = 0.02, 1.0
_SLOWEST_NETWORK = 10e6  # bytes a second that a host sends at least, or it is taken for one that is gone

_ENDED, _LEAVES, _CALLED, _STOPS, _ABORTS, _CHANGED = 1, 2, 4, 8, 16, 32  # what a host says before an exchange

# How the run of a host ends: it has its steps; rank 0 has found that all is done, or was stopped; another host was.
End = Literal["ended", "stops", "aborts", "leaves"]
_FLAGS = {None: 0, "ended": _ENDED, "stops": _ENDED | _STOPS, "aborts": _ENDED | _STOPS | _ABORTS, "leaves": _LEAVES}


class Exchange:
    """Of one run of an engine."""

    def __init__(
        self,
        engine: _core.Engine,
        launch: Launch,
        rounds: Rounds,
        connect: Callable[[], Rounds],
        *,
        run: int,
        until: int,
        every: float,
        timeout: float,
        version: int,
        tell: Callable[[str], None],
        stop: Callable[[], None],
        changes: Changes,
    ) -> None:
        """The run of number `run` of this process, from 0 on, to `until` agent steps of all hosts.

        `stop` is called when rank 0 has ended it, and when this host cannot go on: `outcome` says what it was.
        """
        self._engine, self._launch, self._rounds, self._connect = engine, launch, rounds, connect
        self._run_number, self._until = run, until
        self._every, self._timeout, self._tell, self._stop = every, timeout, tell, stop
        self._changes = changes
        self.outcome = Outcome(version)
        self._fresh = True
        self._ranks: set[int] = set()  # of the last round
        self._failure = ""  # that ended it
        self._formed = False  # whether its members could talk
        self._episodes = Episodes(engine)
        self._reach = Reach(launch.address)
        self._exchanged_in = 0  # the round of the last exchange
        self._agreed_steps = round(engine.stats()["steps"])
        self._taken_in = 0  # the round in which this host has taken a difference that it has not added
        self._looked = (time.monotonic(), engine.stats()["steps"])
        self._changed = threading.Condition()
        self._end: End | None = None  # guarded by _changed
        self._known_end: End | None = None  # guarded by _changed: what the other hosts were told of it
        self._given_up = False  # guarded by _changed
        self._ended_at = 0.0  # guarded by _changed
        self.joined = threading.Event()
        self.done = threading.Event()
        engine.agree()
        self._difference = torch.empty(engine.parameters().size, dtype=torch.float32)
        self._counts = torch.empty(engine.num_counts, dtype=torch.float64)
        self._thread = threading.Thread(target=self._run, name="a3c_fast exchange", daemon=True)
        self._thread.start()

    # By other threads ------------------------------------------------------------------------------------------------

    def end(self, how: End) -> None:
        """The workers of this host have ended, for all hosts or to leave the others alone: a last exchange follows."""
        with self._changed:
            if self._end is None:
                self._end, self._ended_at = how, time.monotonic()
            elif self._end == "ended" and how != "ended":  # it is not waited for any more that others end, too
                self._end = how
            self._changed.notify_all()

    def give_up(self) -> None:
        """Nothing more is exchanged, as soon as the thread can."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    # The thread ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        reached = time.monotonic()  # when the store last answered
        rounds: Rounds | None = self._rounds
        try:
            while True:
                try:
                    if rounds is None:
                        rounds = self._connect()
                    later = _PATIENCE + 2 * max(self._every, _MOST_SECONDS)
                    if self._is_over(rounds):
                        return
                    reached = time.monotonic()
                    found = rounds.come(self._member(), (_FIRST_PATIENCE, later), self._wants_no_more)
                    reached = time.monotonic()
                except (RuntimeError, OSError) as error:
                    rounds = None
                    if time.monotonic() - reached > _STORE_PATIENCE:
                        where = f"{self._launch.address}:{self._launch.port}"
                        self.outcome.error = f"{self._launch} cannot reach the store at {where}: {_first_line(error)}"
                        self._stop()
                        return
                    time.sleep(_AGAIN_SECONDS)
                    if self._wants_no_more():
                        return
                    continue
                try:
                    if self._train_with(rounds, found):
                        return
                except (RuntimeError, OSError) as error:  # of the group: a member is gone
                    self._failure = _first_line(error)
                    self._count(hosts=1)
                    if not self._formed:
                        self._reach.knock(found)
                        if not self.joined.is_set():
                            self._tell(f"the hosts could not be connected, which is tried again: {self._failure}")
                reached = time.monotonic()
        except Abandoned:
            self._say_over(rounds)
        except (LeftOut, _NotFinite) as error:
            self.outcome.error = str(error)
            self._stop()
        except BaseException as error:
            self.outcome.error = f"the exchange with other hosts failed: {error!r}"
            self._stop()
        finally:
            self._reach.close()
            self.done.set()
            self.joined.set()

    def _is_over(self, rounds: Rounds) -> bool:
        """Whether rank 0 has ended the run, and this host did not hear of it in an exchange."""
        with self._changed:
            end = self._end
        if self._launch.rank == 0 or end not in (None, "ended") or not rounds.store.check(over_key(self._run_number)):
            return False
        self.outcome.was_aborted = rounds.store.get(over_key(self._run_number)) == b"aborts"
        if end is None:
            self.outcome.was_stopped = True
            self._stop()
        return True

    def _say_over(self, rounds: Rounds | None) -> None:
        """By rank 0, once it has ended the run: for those that do not hear of it in an exchange."""
        with self._changed:
            end = self._end
        if self._launch.rank == 0 and rounds is not None and end in ("ended", "stops", "aborts"):
            with contextlib.suppress(RuntimeError):  # the store is gone, which says so, too
                rounds.store.set(over_key(self._run_number), end)

    def _train_with(self, rounds: Rounds, found: Round) -> bool:
        """Until another round is called; True where this host has nothing more to do with any."""
        self._formed = False
        group = Group(
            rounds.group_store(found.number),
            found.place,
            len(found.members),
            self._reach.address_in(found),
            # Others may sleep so long between two exchanges, and what goes over the network takes its time.
            self._timeout + max(self._every, _MOST_SECONDS) + 4 * self._difference.numel() / _SLOWEST_NETWORK,
        )
        try:
            has_one = self._agree(rounds, found, group)
            self._formed = True
            if not has_one:
                while rounds.newest() == found.number:
                    if self._wants_no_more() or self._is_over(rounds):
                        raise Abandoned
                    time.sleep(_SLICE_SECONDS)
                return False
            self._count(hosts=group.size, rounds=1)
            self.joined.set()
            self._tell_of_members({member.rank for member in found.members})
            while True:
                begun = time.monotonic()
                goes_on, finished = self._exchange(rounds, found, group)
                if finished or not goes_on:
                    return finished
                interval = min(self._interval(), max(_LEAST_SECONDS, self._left() / 4))
                self._wait(interval - (time.monotonic() - begun))
        finally:
            group.close()

    def _exchange(self, rounds: Rounds, found: Round, group: Group) -> tuple[bool, bool]:
        """Whether the round goes on, and whether this host is finished."""
        with self._changed:
            end, given_up, ended_at = self._end, self._given_up, self._ended_at
            self._known_end = end
        if given_up:
            raise Abandoned
        flags = _FLAGS[end]
        if end in ("stops", "aborts"):
            self._say_over(rounds)
        flags |= _CALLED if rounds.newest() != found.number else 0
        flags |= _CHANGED if self._launch.rank == 0 and self._changes.publish(rounds.store) else 0
        said = group.gather(
            torch.cat([torch.tensor([self.outcome.version, flags], dtype=torch.float64), self._episodes.news()])
        )
        if not (said[:, 0] == self.outcome.version).all():
            raise RuntimeError(f"the hosts are at different exchanges: {said[:, 0].tolist()}")
        self._episodes.hear(said[:, 2:], found.place)
        begun, begun_cpu = time.monotonic(), time.thread_time()
        difference, counts = self._difference, self._counts
        self._engine.take_difference(difference.numpy(), counts.numpy())
        if not (difference.isfinite().all() and counts.isfinite().all()):
            raise _NotFinite(f"{self._launch} has learned what is no finite number, and keeps it from the others")
        self._taken_in = found.number
        group.add(difference)
        group.add(counts)
        self._engine.add_total(difference.numpy(), counts.numpy())
        self._taken_in = 0
        self.outcome.version += 1
        self._exchanged_in = found.number
        self._agreed_steps += round(counts[0].item())
        spent, spent_cpu = time.monotonic() - begun, time.thread_time() - begun_cpu
        size = 2 * (group.size - 1) * 4 * difference.numel() // group.size
        self._count(exchanges=1, seconds=spent, cpu_seconds=spent_cpu, bytes=size)

        flags_of = [int(flags) for flags in said[:, 1]]
        if any(f & _CHANGED for f in flags_of) and self._launch.rank != 0:
            self._changes.take(rounds.store)
        self.outcome.was_aborted |= any(f & _ABORTS for f in flags_of)
        if any(f & _STOPS for f in flags_of) and end is None:
            self.outcome.was_stopped = True
            self._stop()
        has_first = any(member.rank == 0 for member in found.members)
        if end == "leaves":
            return False, True
        if all(f & _ENDED for f in flags_of):
            if has_first:
                self._say_over(rounds)
                return True, True
            if time.monotonic() - ended_at > _HANDOVER_PATIENCE:
                self.outcome.error = "the run ended without rank 0, which has not come back for what was learned"
                return True, True
            return not any(f & _CALLED for f in flags_of), False
        return not any(f & (_LEAVES | _CALLED) for f in flags_of), False

    def _interval(self) -> float:
        """Seconds between the beginnings of two exchanges."""
        done = self.outcome.stats
        if self._every > 0 or done.exchanges == 0:
            return self._every
        return min(max(done.cpu_seconds / done.exchanges / _SHARE_OF_A_CORE, _LEAST_SECONDS), _MOST_SECONDS)

    def _left(self) -> float:
        """Seconds that the run will still take, of all hosts: near its end none should be far beyond it unawares."""
        now, steps = time.monotonic(), self._engine.stats()["steps"]
        then, before = self._looked
        self._looked = (now, steps)
        rate = (steps - before) / max(now - then, 1e-3)
        return max(0.0, self._until - steps) / rate if rate > 0 else math.inf

    def _agree(self, rounds: Rounds, found: Round, group: Group) -> bool:
        """Takes the newest agreement among the members; False where nobody has one."""
        members, own = found.members, found.members[found.place]
        source = max(range(len(members)), key=lambda i: (*members[i].age, -members[i].rank))
        newest = members[source]
        if newest.version < 0:
            return False
        if self._launch.rank != 0:
            self._changes.take(rounds.store)
        # An exchange that failed here may have come to its end on others: then what was taken here is part of it, and
        # what was done after that is kept.
        has_missed_one = self._taken_in == newest.exchanged_in > 0 and newest.version == own.version + 1
        if not has_missed_one:
            self._engine.give_back()
            self._taken_in = 0
        if all(member.agreement == newest.agreement for member in members):
            self._fresh = False
            return True
        snapshot = self._engine.snapshot()
        names = sorted(snapshot["statistics"])
        agreed, counts = self._difference, self._counts
        statistics = [torch.from_numpy(snapshot["statistics"][name]) for name in names]
        self._engine.read_agreement(agreed.numpy(), counts.numpy())
        for tensor in (agreed, counts, *statistics):
            group.broadcast(tensor, source)
        if own.agreement != newest.agreement:
            self._adopt(snapshot, dict(zip(names, statistics, strict=True)), keeps=has_missed_one)
            self.outcome.version, self._exchanged_in = newest.version, newest.exchanged_in
        self._fresh, self._taken_in = False, 0
        return True

    def _adopt(self, snapshot: dict[str, Any], statistics: dict[str, torch.Tensor], *, keeps: bool) -> None:
        """The agreement that was broadcast; `keeps` what workers have done since the last difference was taken."""
        agreed, counts = self._difference.numpy(), self._counts.numpy()
        if self._fresh:  # no worker has begun
            steps, updates, episodes, skipped = (round(count) for count in counts[:4].tolist())
            self._engine.load(
                parameters=agreed,
                statistics={name: value.numpy() for name, value in statistics.items()},
                steps=steps,
                updates=updates,
                episodes=episodes,
                skipped_updates=skipped,
                wall_seconds=snapshot["wall_seconds"],
                recent_episodes=snapshot["recent_episodes"],
            )
            self._engine.agree()
        if not keeps:  # what was done alone is of parameters that are too old
            self._engine.take_difference(np.empty_like(agreed), np.empty_like(counts))
        self._engine.adopt(agreed, counts)
        self._agreed_steps = round(counts[0].item())

    # Inside ----------------------------------------------------------------------------------------------------------

    def _member(self) -> Member:
        address, port = self._reach.place()
        return Member(
            rank=self._launch.rank,
            address=address,
            version=self.outcome.version,
            exchanged_in=self._exchanged_in,
            steps=self._agreed_steps,
            port=port,
            silent=self._reach.silent(),
        )

    def _wants_no_more(self) -> bool:
        with self._changed:
            return self._given_up or self._end in ("stops", "aborts", "leaves")

    def _wait(self, seconds: float) -> bool:
        """At most so long; True, and at once, where this host has ended and the others have not been told."""
        with self._changed:
            return self._changed.wait_for(lambda: self._given_up or self._end != self._known_end, max(0.0, seconds))

    def _count(self, **more: float) -> None:
        old = self.outcome.stats
        new = {name: getattr(old, name) + value for name, value in more.items() if name != "hosts"}
        hosts = {"hosts": int(more["hosts"])} if "hosts" in more else {}
        self.outcome.stats = ExchangeStats(**{**vars(old), **new, **hosts})

    def _tell_of_members(self, ranks: set[int]) -> None:
        """What has changed since the last round, where not all are there or were."""
        everybody = set(range(self._launch.world_size))
        lost, new = sorted(self._ranks - ranks), sorted(ranks - self._ranks)
        is_first = not self._ranks
        self._ranks = ranks
        if is_first and ranks == everybody:
            return
        changes = [f"{_hosts(lost)} gone ({self._failure or 'it said so'})"] if lost else []
        changes += [f"{_hosts(new)} here"] if new and not is_first else []
        changes.append(f"{len(ranks)} of {len(everybody)} hosts train together")
        self._failure = ""
        self._tell("; ".join(changes))


class _NotFinite(Exception):  # noqa: N818 the sentence says what is wrong
    """What this host has learned would be the end of all."""


def _hosts(ranks: list[int]) -> str:
    names = ", ".join(map(str, ranks))
    return f"host {names} is" if len(ranks) == 1 else f"hosts {names} are"


def _first_line(error: BaseException) -> str:
    """What c10d says, without the place in its source and what it guesses."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^]]*\] ", "", line).partition(". ")[0][:200]
