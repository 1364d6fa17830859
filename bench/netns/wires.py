"""What a packet meets between two hosts, by a clock that the caller tells: no descriptors, no waiting.

Each host has a wire to the middle of the network. A packet waits for its turn on the sender's wire, travels for the
sender's delay, waits for its turn on the receiver's wire, and is there.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

# Host i has the address PREFIX.(i + 1).
PREFIX = bytes((10, 77, 0))


@dataclass
class Lane:
    """One direction of a wire: `free` is the second from which on nothing waits for it."""

    free: float = 0.0

    def admit(self, size: int, now: float, rate: float, queue: float) -> float | None:
        """When the last of `size` bytes is through; None where they would not fit into the queue.

        A packet that finds nobody waiting fits however large it is.
        """
        if rate == math.inf:
            return now
        waiting = max(0.0, self.free - now)
        if waiting > 0 and waiting * rate + size > queue:
            return None
        self.free = now + waiting + size / rate
        return self.free


@dataclass
class Wire:
    """The wire of a host: seconds, bytes a second in each direction, bytes that may wait in each."""

    delay: float = 0.0
    rate: float = math.inf
    queue: float = math.inf
    cut: bool = False
    up: Lane = field(default_factory=Lane)
    down: Lane = field(default_factory=Lane)


class Wires:
    """All wires of a network, and the packets on them."""

    def __init__(self, hosts: int) -> None:
        self.wires = [Wire() for _ in range(hosts)]
        self.dropped_by_cut = 0
        self.dropped_by_queue = 0
        # When, a number that keeps the order, whether the receiver's wire is behind it, to whom, what.
        self._packets: list[tuple[float, int, bool, int, bytes]] = []
        self._numbers = itertools.count()

    def change(self, host: int, **values: float) -> None:
        """Changes `delay`, `rate`, `queue` or `cut` of a wire. What is on its way keeps the time that it had."""
        wire = self.wires[host]
        for name, value in values.items():
            setattr(wire, name, value)
        wire.up.free = wire.down.free = 0.0

    def take(self, sender: int, packet: bytes, now: float) -> None:
        """A packet that a host sends. One that is for none of the hosts is forgotten."""
        # All but IPv4 is chatter of an interface that comes up.
        if len(packet) < 20 or packet[0] >> 4 != 4 or packet[16:19] != PREFIX:
            return
        receiver = packet[19] - 1
        if not 0 <= receiver < len(self.wires):
            return
        wire = self.wires[sender]
        if wire.cut or self.wires[receiver].cut:
            self.dropped_by_cut += 1
            return
        through = wire.up.admit(len(packet), now, wire.rate, wire.queue)
        if through is None:
            self.dropped_by_queue += 1
            return
        self._push(through + wire.delay, False, receiver, packet)

    def due(self, now: float) -> Iterator[tuple[int, bytes]]:
        """The packets that are there by `now`, each with its receiver."""
        packets = self._packets
        while packets and packets[0][0] <= now:
            at, _, is_there, receiver, packet = heapq.heappop(packets)
            wire = self.wires[receiver]
            if wire.cut:
                self.dropped_by_cut += 1
            elif is_there or wire.rate == math.inf:
                yield receiver, packet
            else:
                # Its turn counts from when it came, not from when the caller looks: a late caller changes no rate.
                through = wire.down.admit(len(packet), at, wire.rate, wire.queue)
                if through is None:
                    self.dropped_by_queue += 1
                else:
                    self._push(through, True, receiver, packet)

    def next(self) -> float | None:
        """The second at which the next packet is due."""
        return self._packets[0][0] if self._packets else None

    def _push(self, at: float, is_there: bool, receiver: int, packet: bytes) -> None:
        heapq.heappush(self._packets, (at, next(self._numbers), is_there, receiver, packet))
