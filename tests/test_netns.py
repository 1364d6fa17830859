"""Several hosts on one machine: what the wires between them do, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import wait_until

from a3c_fast.errors import ConfigError
from bench.netns import namespace
from bench.netns.all_reduce import all_reduce
from bench.netns.hosts import INTERFACE, Hosts, why_not
from bench.netns.wires import PREFIX, Wires

ROOT = Path(__file__).parents[1]
_REASON = why_not()
needs_hosts = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))


# The wires, by a clock of our own: what they are told to do they do exactly.


def packet(receiver: int, size: int, mark: int = 0) -> bytes:
    head = bytes((0x45, *(0,) * 15)) + PREFIX + bytes((receiver + 1,))
    return head + bytes((mark,)) * (size - len(head))


def arrivals(wires: Wires) -> list[tuple[float, int, int]]:
    """When each packet is there, for whom and its mark, by a clock that goes from one event to the next."""
    found = []
    while (now := wires.next()) is not None:
        found += [(round(now, 9), receiver, content[-1]) for receiver, content in wires.due(now)]
    return found


def test_a_packet_takes_the_delay_of_its_sender() -> None:
    wires = Wires(3)
    wires.change(0, delay=0.01)
    for mark in range(3):
        wires.take(0, packet(1, 1000, mark), 1.0)
    wires.take(1, packet(2, 1000, 3), 1.0)
    assert list(wires.due(1.009999)) == [(2, packet(2, 1000, 3))]
    assert arrivals(wires) == [(1.01, 1, 0), (1.01, 1, 1), (1.01, 1, 2)]


@pytest.mark.parametrize("limited", [0, 1])
def test_packets_go_at_the_rate_of_the_slower_wire_all_the_time(limited: int) -> None:
    wires = Wires(2)
    wires.change(limited, rate=1000.0, delay=0.5)
    for mark in range(100):
        wires.take(0, packet(1, 100, mark), 2.0)
    delay = 0.5 if limited == 0 else 0.0
    assert arrivals(wires) == [(round(2 + delay + 0.1 * (mark + 1), 9), 1, mark) for mark in range(100)]


def test_senders_share_the_wire_of_their_receiver() -> None:
    wires = Wires(3)
    for host in range(3):
        wires.change(host, rate=1000.0)
    for mark in range(10):
        wires.take(0, packet(2, 100, mark), 0.0)
        wires.take(1, packet(2, 100, mark), 0.0)
        wires.take(2, packet(0, 100, mark), 0.0)  # the other way is free
    found = arrivals(wires)
    assert [at for at, receiver, _ in found if receiver == 2] == [round(0.1 * n, 9) for n in range(2, 22)]
    assert [at for at, receiver, _ in found if receiver == 0] == [round(0.1 * n, 9) for n in range(2, 12)]


def test_one_who_looks_late_changes_no_rate() -> None:
    wires = Wires(2)
    wires.change(1, rate=1000.0)
    for mark in range(10):
        wires.take(0, packet(1, 100, mark), 0.0)
    assert len(list(wires.due(0.55))) == 5
    assert len(list(wires.due(0.95))) == 4


def test_what_does_not_fit_into_the_queue_is_dropped_from_its_end() -> None:
    wires = Wires(2)
    wires.change(0, rate=1000.0, queue=250.0)
    wires.take(0, packet(1, 1000, 9), 0.0)  # larger than the queue, but nobody waits
    wires.take(0, packet(1, 100, 0), 0.0)
    assert wires.dropped_by_queue == 1
    for mark in range(1, 5):
        wires.take(0, packet(1, 100, mark), 0.9)
    assert wires.dropped_by_queue == 4
    assert arrivals(wires) == [(1.0, 1, 9), (1.1, 1, 1)]


def test_a_cut_takes_what_is_on_its_way_and_touches_no_other() -> None:
    wires = Wires(3)
    wires.change(0, delay=1.0)
    wires.take(0, packet(1, 100, 0), 0.0)
    wires.take(0, packet(2, 100, 1), 0.0)
    wires.change(1, cut=True)
    wires.take(0, packet(1, 100, 2), 0.0)
    wires.take(1, packet(2, 100, 3), 0.0)
    assert arrivals(wires) == [(1.0, 2, 1)]
    assert wires.dropped_by_cut == 3
    wires.change(1, cut=False)
    wires.take(0, packet(1, 100, 4), 2.0)
    assert arrivals(wires) == [(3.0, 1, 4)]


def test_a_change_leaves_alone_what_is_on_its_way() -> None:
    wires = Wires(2)
    wires.change(0, delay=1.0, rate=100.0)
    wires.take(0, packet(1, 100, 0), 0.0)
    wires.change(0, delay=0.0, rate=math.inf)
    wires.take(0, packet(1, 100, 1), 0.5)
    assert arrivals(wires) == [(0.5, 1, 1), (2.0, 1, 0)]


def test_a_packet_for_nobody_is_forgotten() -> None:
    wires = Wires(2)
    for strange in (packet(2, 100), packet(255 - 1, 100), b"", b"\x60" + bytes(60), packet(0, 20)[:-4] + bytes(4)):
        wires.take(0, strange, 0.0)
    assert wires.next() is None


# The hosts. What is held of time is what can only be later on a busy machine.


def connected(hosts: Hosts, there: int = 1) -> tuple[socket.socket, socket.socket]:
    """A connection between host 0 and another: its end on each."""
    with hosts.inside(0):
        server = socket.create_server((hosts.addresses[0], 5000))
    with server:
        with hosts.inside(there):
            client = socket.create_connection((hosts.addresses[0], 5000))
        return server.accept()[0], client


def round_trip(here: socket.socket, there: socket.socket) -> float:
    begin = time.monotonic()
    there.sendall(b"?")
    assert here.recv(1) == b"?"
    here.sendall(b"!")
    assert there.recv(1) == b"!"
    return time.monotonic() - begin


def open_namespaces() -> int:
    """Descriptors of namespaces that this process has."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one of the directory
            found += str(path.readlink()).startswith("net:")
    return found


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_hosts
def test_a_round_trip_takes_twice_the_delay() -> None:
    with Hosts(3, delay_ms=20) as hosts:
        here, there = connected(hosts, 2)
        with here, there:
            assert round_trip(here, there) >= 0.04
            hosts.change(2, delay_ms=100)
            assert round_trip(here, there) >= 0.12
            hosts.change(delay_ms=0)
            round_trip(here, there)


@needs_hosts
@pytest.mark.parametrize("mtu", [1500, 9000])
def test_a_stream_comes_whole_and_no_faster_than_the_rate(mtu: int) -> None:
    sent = os.urandom(1_000_000)
    with Hosts(2, mbit=20, mtu=mtu) as hosts:
        here, there = connected(hosts)
        with here, there:
            begin = time.monotonic()
            sender = threading.Thread(target=here.sendall, args=(sent,))
            sender.start()
            received = bytearray()
            while len(received) < len(sent):
                received += there.recv(1 << 16)
            seconds = time.monotonic() - begin
            sender.join()
        counts = hosts.counts()
    assert received == sent
    assert seconds >= 0.4
    assert counts["bytes"] > len(sent)
    assert counts["packets"] > len(sent) / mtu


@needs_hosts
def test_a_cut_stops_all_and_mending_lets_it_go_on() -> None:
    with Hosts(3) as hosts:
        here, there = connected(hosts)
        with here, there:
            round_trip(here, there)
            hosts.cut(1)
            here.sendall(b"from 0")
            there.sendall(b"from 1")
            wait_until(lambda: hosts.counts()["dropped_by_cut"] >= 4)  # both were tried again
            for end in (here, there):
                with pytest.raises(BlockingIOError):
                    end.recv(100, socket.MSG_DONTWAIT)
            other_here, other = connected(hosts, 2)
            with other_here, other:
                round_trip(other_here, other)  # the others go on
            hosts.mend(1)
            assert there.recv(100) == b"from 0"
            assert here.recv(100) == b"from 1"


@needs_hosts
@pytest.mark.parametrize("direct", [False, True])
def test_hosts_reach_each_other_and_nothing_else(direct: bool) -> None:
    with Hosts(2, direct=direct) as hosts, Hosts(2, direct=direct) as others:
        with hosts.inside(1):
            assert INTERFACE in [name for _, name in socket.if_nameindex()]
            loop = socket.create_server(("127.0.0.1", 5000))
            with loop, socket.create_connection(("127.0.0.1", 5000)), pytest.raises(OSError, match="unreachable"):
                socket.create_connection(("192.0.2.1", 5000))
        here, there = connected(hosts)
        with here, there, others.inside(1), pytest.raises(ConnectionRefusedError):
            socket.create_connection((hosts.addresses[0], 5000))  # the same address, and nobody listens there
        if direct:
            with pytest.raises(RuntimeError, match=r"^direct hosts have no relay"):
                hosts.cut(0)


@needs_hosts
def test_a_command_runs_on_its_host_and_cores() -> None:
    core = max(os.sched_getaffinity(0))
    script = (
        "import os, socket; print(os.sched_getaffinity(0), socket.create_server(('10.77.0.2', 0)).getsockname()[0])"
    )
    before = os.sched_getaffinity(0), Path("/proc/thread-self/ns/net").stat().st_ino
    with Hosts(2, relay_cores={core}) as hosts:
        assert os.sched_getaffinity(hosts.relay.pid) == {core}
        process = hosts.start(1, [sys.executable, "-c", script], cores={core}, stdout=subprocess.PIPE, text=True)
        assert process.communicate()[0].split("} ") == [f"{{{core}", "10.77.0.2\n"]
        assert process.returncode == 0
        with pytest.raises(FileNotFoundError):
            hosts.start(0, ["no-such-command"], cores={core})
    assert (os.sched_getaffinity(0), Path("/proc/thread-self/ns/net").stat().st_ino) == before


# What its own child is, a process prints that never ends by itself.
_FAMILY = "import os, time\nchild = os.fork()\nif child: print(child, flush=True)\ntime.sleep(1e6)"


@needs_hosts
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("direct", [False, True])
def test_nothing_is_left_however_it_ends(error: type[BaseException] | None, direct: bool) -> None:
    before = open_namespaces()
    with contextlib.nullcontext() if error is None else pytest.raises(error), Hosts(2, direct=direct) as hosts:
        process = hosts.start(1, [sys.executable, "-c", _FAMILY], stdout=subprocess.PIPE)
        with process.stdout:
            child = int(process.stdout.readline())
        assert runs(child)
        assert open_namespaces() > before
        if error is not None:
            raise error
    assert process.returncode == -signal.SIGKILL
    assert hosts.relay.returncode == 0
    assert open_namespaces() == before
    wait_until(lambda: not runs(child))
    hosts.close()  # a second time
    with pytest.raises(IndexError):
        hosts.start(0, ["true"])


@needs_hosts
@pytest.mark.parametrize("direct", [False, True])
def test_nothing_is_left_of_a_program_that_is_killed(direct: bool) -> None:
    script = f"""
import sys, time
from bench.netns.hosts import Hosts
with Hosts(2, direct={direct}) as hosts:
    print(hosts.relay.pid, hosts.start(1, [sys.executable, "-c", {_FAMILY!r}]).pid, flush=True)
    time.sleep(1e6)
"""
    program = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert program.stdout is not None
    with program.stdout:
        words = [program.stdout.readline(), program.stdout.readline()]
    processes = [int(number) for number in " ".join(words).split()]
    assert len(processes) == 3
    assert all(runs(process) for process in processes)
    program.kill()
    program.wait()
    wait_until(lambda: not any(runs(process) for process in processes))


@needs_hosts
def test_a_relay_that_has_ended_is_one_sentence() -> None:
    with Hosts(2) as hosts:
        process = hosts.start(1, [sys.executable, "-c", _FAMILY], stdout=subprocess.PIPE)
        with process.stdout:
            child = int(process.stdout.readline())
        hosts.relay.kill()
        with pytest.raises(RuntimeError, match=r"^the relay between the hosts has ended$"):
            hosts.cut(1)
        assert runs(child)
    wait_until(lambda: not runs(child))


@needs_hosts
@pytest.mark.parametrize("number", [2, 4])
def test_all_reduce_of_gloo(number: int) -> None:
    with Hosts(number, delay_ms=10) as hosts:
        rounds = all_reduce(hosts, 2)
        carried = hosts.counts()["bytes"]
    assert [len(its) for its in rounds] == [2] * number
    # Of the last to begin the others have something in their sums.
    assert all(max(together) >= 10 for together in zip(*rounds, strict=True))
    assert carried > 3 * 2.7e6 * 2 * (number - 1)  # what any way of doing it needs, three times with the warm-up


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"number": 0}, "number is 0, but it must be between 1 and 100"),
        ({"mtu": 100}, "mtu is 100, but it must be between 1280 and 65535"),
        ({"delay_ms": -1}, "delay_ms is -1, but it must be a number of milliseconds, 0 or more"),
        ({"mbit": 0}, "mbit is 0, but it must be greater than 0, and is infinite without a limit"),
        ({"queue_kb": 0}, "queue_kb is 0, but it must be greater than 0, and is infinite without a limit"),
        ({"direct": True, "mbit": 1}, "direct is True, but hosts with a delay or a rate have a relay between them"),
    ],
)
def test_a_setting_that_cannot_be(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Hosts(**{"number": 2, **settings})
    assert str(refused.value) == sentence


def test_a_machine_that_cannot_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(namespace, "new", refuse)
    monkeypatch.setattr(namespace.shutil, "which", lambda _: "/sbin/ip")
    reason = "hosts need the right to make network namespaces, as root has it, but: Operation not permitted"
    assert namespace.why_not() == reason
    with pytest.raises(RuntimeError, match=f"^{reason}$"), Hosts(2):
        pass
    monkeypatch.setattr(namespace.shutil, "which", lambda _: None)
    assert namespace.why_not() == "hosts need the command ip, of iproute2, which is not here"


@needs_hosts
def test_a_machine_without_tun_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(namespace, "TUN", str(tmp_path / "tun"))
    assert namespace.why_not() == f"hosts need {tmp_path / 'tun'}, but: No such file or directory"
