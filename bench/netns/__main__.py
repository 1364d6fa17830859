"""`python -m bench.netns`: what the network between hosts on this machine does, wire by wire.

Of each wire: the median round trip of a byte, the rate of a stream over one connection, what the relay's process used
for a MB of it, the median time of an all_reduce of 2.7 MB on the slowest host. Then a cut.
"""

from __future__ import annotations

import json as json_module
import socket
import statistics
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

from a3c_fast.cli import parse
from a3c_fast.errors import ConfigError
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.netns.all_reduce import PARAMETERS, all_reduce
from bench.netns.hosts import MOST_HOSTS, Hosts

WireName = Literal["direct", "relay", "10ms", "100mbit", "10ms-100mbit"]
WIRES: dict[WireName, dict[str, Any]] = {
    "direct": {"direct": True},
    "relay": {},
    "10ms": {"delay_ms": 10},
    "100mbit": {"mbit": 100},
    "10ms-100mbit": {"delay_ms": 10, "mbit": 100},
}


@dataclass(frozen=True)
class Arguments:
    """Measures the network between hosts on this machine; needs the rights of root."""

    hosts: tuple[int, ...] = (2, 4)
    """Numbers of hosts."""
    wires: tuple[WireName, ...] = tuple(WIRES)
    """Kinds of wires: without the relay, with it, with a delay one way, with a rate, with both."""
    rounds: int = 10
    """Round trips, and all_reduces."""
    megabytes: float = 20.0
    """Length of the stream."""
    mtu: int = 9000
    """Bytes of the largest packet."""
    relay_core: int | None = None
    """Core of the relay; any without it."""
    json: bool = False
    """Print one JSON object."""


def connect(hosts: Hosts) -> tuple[socket.socket, socket.socket]:
    """A TCP connection between hosts 0 and 1: its end on each."""
    with hosts.inside(0):
        server = socket.create_server((hosts.addresses[0], 0))
    with server:
        with hosts.inside(1):
            client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    for end in (accepted, client):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return accepted, client


def round_trip(hosts: Hosts) -> float:
    """Seconds until a byte has come from host 1 to host 0 and another back."""
    here, there = connect(hosts)
    with here, there:
        begin = time.perf_counter()
        there.sendall(b"?")
        here.recv(1)
        here.sendall(b"!")
        there.recv(1)
        return time.perf_counter() - begin


def stream(hosts: Hosts, size: int) -> float:
    """Seconds until `size` bytes have come from host 0 to host 1 over one connection, from the first byte sent."""
    here, there = connect(hosts)
    with here, there:
        sender = threading.Thread(target=here.sendall, args=(bytes(size),))
        begin = time.perf_counter()
        sender.start()
        left = size
        while left > 0:
            left -= len(there.recv(min(left, 1 << 20)))
        seconds = time.perf_counter() - begin
        sender.join()
    return seconds


def _measure_one(wire: WireName, number: int, args: Arguments) -> dict[str, Any]:
    cores = None if args.relay_core is None else {args.relay_core}
    with Hosts(number, mtu=args.mtu, relay_cores=cores, **WIRES[wire]) as hosts:
        trips = [round_trip(hosts) for _ in range(args.rounds)]
        direct = WIRES[wire].get("direct", False)
        before = None if direct else hosts.counts()
        seconds = stream(hosts, round(args.megabytes * 1e6))
        used = None if before is None else hosts.counts()["cpu_seconds"] - before["cpu_seconds"]
        reduces = [max(together) for together in zip(*all_reduce(hosts, args.rounds), strict=True)]
        counts = None if direct else hosts.counts()
    return {
        "wire": wire,
        "hosts": number,
        "round_trip_ms": 1e3 * statistics.median(trips),
        "stream_mbit": 8 * args.megabytes / seconds,
        "relay_ms_per_mb": None if used is None else 1e3 * used / args.megabytes,
        "all_reduce_ms": statistics.median(reduces),
        "rounds": {"round_trip_ms": [1e3 * trip for trip in trips], "all_reduce_ms": reduces},
        "counts": counts,
    }


def _measure_cut(args: Arguments) -> dict[str, float]:
    """A message that is sent while its host is cut: retransmissions dropped, seconds from the mending to it."""
    with Hosts(2, mtu=args.mtu) as hosts:
        here, there = connect(hosts)
        with here, there:
            hosts.cut(1)
            here.sendall(b"x")
            while (dropped := hosts.counts()["dropped_by_cut"]) < 3:
                time.sleep(0.01)
            hosts.mend(1)
            begin = time.perf_counter()
            there.recv(1)
            return {"dropped": dropped, "seconds_after_mend": time.perf_counter() - begin}


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.netns")
    check_positive(args, "rounds", "megabytes")
    for number in args.hosts:
        if not 2 <= number <= MOST_HOSTS:
            raise ConfigError("hosts", args.hosts, f"each number must be between 2 and {MOST_HOSTS}")
    facts = machine()
    results = []
    for number in args.hosts:
        for wire in args.wires:
            results.append(one := _measure_one(wire, number, args))
            if not args.json:
                relay = "" if one["relay_ms_per_mb"] is None else f", relay {one['relay_ms_per_mb']:.1f} ms of CPU a MB"
                print(
                    f"{number} hosts, {wire}: round trip {one['round_trip_ms']:.2f} ms, stream "
                    f"{one['stream_mbit']:,.0f} Mbit/s{relay}, all_reduce of {4e-6 * PARAMETERS:.1f} MB "
                    f"{one['all_reduce_ms']:.1f} ms",
                    flush=True,
                )
    cut = _measure_cut(args)
    if args.json:
        print(json_module.dumps({"results": results, "cut": cut, "arguments": vars(args), "machine": facts}))
    else:
        print(
            f"cut: {cut['dropped']} packets dropped; {cut['seconds_after_mend']:.2f} s from the mending to the message"
        )


if __name__ == "__main__":
    main()
