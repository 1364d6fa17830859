"""`python -m bench.netns.relay`, of which `Hosts` starts one: it carries the packets, and cleans up.

Standard input is a socket of packets. The first that comes has the descriptors of the interfaces and of the
namespaces. Each after it is JSON, a change or nothing, and is answered with the counts when it is in force. When the
other end is closed, by its program or by the end of it, every process in the namespaces is killed.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from typing import Any

from bench.netns.namespace import kill_all
from bench.netns.wires import Wires

_MOST_DESCRIPTORS = 253  # of one message
_LARGEST_PACKET = 65535
_AT_A_TIME = 64  # packets of one host, before those of others and those that are due


class Relay:
    """Interfaces, one a host, and the wires between them."""

    def __init__(self, interfaces: list[int]) -> None:
        self._interfaces = interfaces
        self._wires = Wires(len(interfaces))
        self._packets = 0
        self._bytes = 0

    def serve(self, control: socket.socket) -> None:
        """Carries packets until the other end of `control` is closed."""
        hosts = {descriptor: host for host, descriptor in enumerate(self._interfaces)}
        watched = [control.fileno(), *self._interfaces]
        while True:
            self._deliver()
            due = self._wires.next()
            # select, because it alone waits for less than a millisecond.
            ready, _, _ = select.select(watched, (), (), None if due is None else max(0.0, due - time.monotonic()))
            for descriptor in ready:
                if descriptor in hosts:
                    self._take(descriptor, hosts[descriptor])
                elif order := control.recv(1 << 16):
                    control.send(json.dumps(self._obey(json.loads(order))).encode())
                else:
                    return

    def _take(self, descriptor: int, host: int) -> None:
        now = time.monotonic()
        for _ in range(_AT_A_TIME):
            try:
                packet = os.read(descriptor, _LARGEST_PACKET)
            except BlockingIOError:
                return
            self._wires.take(host, packet, now)

    def _deliver(self) -> None:
        for host, packet in self._wires.due(time.monotonic()):
            try:
                os.write(self._interfaces[host], packet)
            except OSError:  # somebody took the interface down
                continue
            self._packets += 1
            self._bytes += len(packet)

    def _obey(self, order: dict[str, Any]) -> dict[str, float]:
        for host in order.pop("hosts", ()):
            self._wires.change(host, **order)
        return {
            "packets": self._packets,
            "bytes": self._bytes,
            "dropped_by_cut": self._wires.dropped_by_cut,
            "dropped_by_queue": self._wires.dropped_by_queue,
            "cpu_seconds": time.process_time(),
        }


def main() -> None:
    """The command."""
    program = os.getppid()
    control = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    number, descriptors, _, _ = socket.recv_fds(control, 16, _MOST_DESCRIPTORS)
    if not number:  # it ended before it said anything
        return
    interfaces, namespaces = descriptors[: int(number)], descriptors[int(number) :]
    try:
        Relay(interfaces).serve(control)
    except ConnectionError:  # it ended before it read an answer
        pass
    finally:
        kill_all(namespaces, program)


if __name__ == "__main__":
    main()
