"""Several hosts on one machine, for tests and measurements of what goes over a network.

    with Hosts(2, delay_ms=10, mbit=100) as hosts:
        server = hosts.start(0, [sys.executable, "server.py", "--bind", hosts.addresses[0]], cores={0})
        client = hosts.start(1, [sys.executable, "client.py", "--connect", hosts.addresses[0]], cores={1})
        hosts.cut(1)
        ...

A host is a network namespace with an interface `INTERFACE` and the loopback. All else is shared: files, processes, the
name of the machine. Two hosts may bind the same port; abstract Unix sockets are each host's own, others are shared.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from a3c_fast.errors import ConfigError
from bench.netns import namespace
from bench.netns.namespace import why_not
from bench.netns.wires import PREFIX

__all__ = ["INTERFACE", "MOST_HOSTS", "Hosts", "why_not"]

# The same on every host, e.g. for GLOO_SOCKET_IFNAME.
INTERFACE = "net0"
_ROOT = Path(__file__).parents[2]
MOST_HOSTS = 100  # their descriptors go in one message, of 253


class Hosts:
    """Hosts 0 to `number` - 1, which reach each other and nothing else, from `with` to its end.

    `delay_ms` is how long a packet travels one way, `mbit` what goes through the wire of a host in a second, in
    Mbit each way, `queue_kb` how many kB may wait before it, each way; what comes then is dropped. All can be changed
    while packets are on their way. The relay that does this is a process, on `relay_cores` or on any.

    With `direct` there is no relay but a bridge of the kernel, as fast as this machine copies, and nothing to change.

    `addresses` has the address of each host and `namespaces` the descriptor of each one's namespace, `relay` is the
    process of the relay.

    Every host uses cubic, whatever this machine uses. At the end, also that of this program by a signal, every process
    that still is on one of the hosts is killed. Raises `RuntimeError` where `why_not` has a reason.
    """

    def __init__(
        self,
        number: int,
        *,
        delay_ms: float = 0.0,
        mbit: float = math.inf,
        queue_kb: float = 256.0,
        mtu: int = 9000,
        direct: bool = False,
        relay_cores: Collection[int] | None = None,
    ) -> None:
        if not 1 <= number <= MOST_HOSTS:
            raise ConfigError("number", number, f"it must be between 1 and {MOST_HOSTS}")
        if not 1280 <= mtu <= 65535:
            raise ConfigError("mtu", mtu, "it must be between 1280 and 65535")
        self._wire = _as_wire(delay_ms=delay_ms, mbit=mbit, queue_kb=queue_kb)
        if direct and (delay_ms != 0 or mbit != math.inf):
            raise ConfigError("direct", direct, "hosts with a delay or a rate have a relay between them")
        self.addresses = [socket.inet_ntoa(PREFIX + bytes((host + 1,))) for host in range(number)]
        self._mtu = mtu
        self._direct = direct
        self._relay_cores = relay_cores
        self._stack = contextlib.ExitStack()
        self.namespaces: list[int] = []
        self._processes: list[subprocess.Popen[Any]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if reason := why_not():
            raise RuntimeError(reason)
        with contextlib.ExitStack() as stack:  # undone here when anything fails, else by `close`
            stack.callback(self.namespaces.clear)  # last: their numbers will mean something else
            for _ in self.addresses:
                self.namespaces.append(self._opened(namespace.new(), stack))
            if self._direct:
                self._join(self._opened(namespace.new(), stack))
            interfaces = [] if self._direct else self._interfaces()
            try:
                for host in range(len(self.addresses)):
                    self._bring_up(host)
                self._start_relay(interfaces, stack)
            finally:
                for interface in interfaces:
                    os.close(interface)  # the relay has it, or nobody
            if not self._direct:
                self._order(None, self._wire)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kills every process on the hosts, and takes the hosts down."""
        self._stack.close()

    def start(
        self, host: int, command: Sequence[str | Path], *, cores: Collection[int] | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Starts a command on a host, on `cores` or on those of the calling thread; `options` are those of `Popen`."""
        with self.inside(host), _on_cores(cores):
            process: subprocess.Popen[Any] = subprocess.Popen(list(map(str, command)), **options)
        self._processes.append(process)
        return process

    @contextlib.contextmanager
    def inside(self, host: int) -> Iterator[None]:
        """The calling thread is on a host, with the sockets that it makes and the processes and threads it starts."""
        with namespace.inside(self.namespaces[host]):
            yield

    def change(
        self,
        host: int | None = None,
        *,
        delay_ms: float | None = None,
        mbit: float | None = None,
        queue_kb: float | None = None,
    ) -> None:
        """Changes the wire of a host, or of all, in what is not None; in force when this returns.

        The delay is that of what the host sends. What is on its way keeps the time that it had.
        """
        self._order(host, _as_wire(delay_ms=delay_ms, mbit=mbit, queue_kb=queue_kb))

    def cut(self, host: int) -> None:
        """From now on nothing goes to a host or comes from it, nor what is on its way; nobody is told."""
        self._order(host, {"cut": True})

    def mend(self, host: int) -> None:
        """Undoes `cut`."""
        self._order(host, {"cut": False})

    def counts(self) -> dict[str, float]:
        """What the relay has carried (`packets`, `bytes`), dropped (`dropped_by_cut`, `dropped_by_queue`) and used.

        `cpu_seconds` are those of its whole process.
        """
        return self._order(None, {})

    def _order(self, host: int | None, values: Mapping[str, float]) -> dict[str, float]:
        if self._direct:
            raise RuntimeError("direct hosts have no relay that could be told or asked")
        hosts = list(range(len(self.addresses))) if host is None else [range(len(self.addresses))[host]]
        with self._lock:
            try:
                self._control.send(json.dumps({"hosts": hosts, **values}).encode())
                answer = self._control.recv(1 << 16)
            except OSError:
                answer = b""
        if not answer:
            raise RuntimeError("the relay between the hosts has ended")
        counts: dict[str, float] = json.loads(answer)
        return counts

    @staticmethod
    def _opened(descriptor: int, stack: contextlib.ExitStack) -> int:
        stack.callback(os.close, descriptor)
        return descriptor

    def _interfaces(self) -> list[int]:
        interfaces: list[int] = []
        try:
            for host in range(len(self.addresses)):
                with self.inside(host):
                    interfaces.append(namespace.new_tun(INTERFACE))
        except BaseException:
            for interface in interfaces:
                os.close(interface)
            raise
        return interfaces

    def _join(self, middle: int) -> None:
        """Joins the hosts by a bridge in a namespace of its own, with which their interfaces go."""
        with namespace.inside(middle):
            namespace.ip("link add bridge type bridge", "link set bridge up")
            for host, its in enumerate(self.namespaces):
                namespace.ip(
                    f"link add port{host} mtu {self._mtu} type veth peer name {INTERFACE} netns /proc/self/fd/{its}",
                    f"link set port{host} master bridge up",
                    pass_fds=(its,),
                )

    def _bring_up(self, host: int) -> None:
        with self.inside(host):
            namespace.ip(
                "link set lo up",
                # No address of IPv6 beside the one of IPv4: programs that look for one find one.
                f"link set {INTERFACE} mtu {self._mtu} addrgenmode none",
                # Where the relay gets no time, packets wait here rather than being dropped.
                f"link set {INTERFACE} txqueuelen 10000",
                f"address add {self.addresses[host]}/24 dev {INTERFACE}",
                f"link set {INTERFACE} up",
            )
            tcp = Path("/proc/sys/net/ipv4")
            with contextlib.suppress(OSError):  # read-only in some containers
                (tcp / "tcp_congestion_control").write_text("cubic")
                # What one connection met says nothing about the next: wires change.
                (tcp / "tcp_no_metrics_save").write_text("1")

    def _start_relay(self, interfaces: list[int], stack: contextlib.ExitStack) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            stack.enter_context(self._control)
            with _on_cores(self._relay_cores):
                self.relay = subprocess.Popen(
                    [sys.executable, "-m", "bench.netns.relay"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": str(_ROOT)},
                    start_new_session=True,  # Ctrl-C is for this program, which ends the relay
                )
        stack.callback(self._stop)
        socket.send_fds(self._control, [str(len(interfaces)).encode()], [*interfaces, *self.namespaces])

    def _stop(self) -> None:
        namespace.kill_all(self.namespaces, os.getpid())
        self._control.close()
        self.relay.wait()
        for process in self._processes:
            process.kill()  # it may have gone elsewhere
            process.wait()


def _as_wire(
    *, delay_ms: float | None = None, mbit: float | None = None, queue_kb: float | None = None
) -> dict[str, float]:
    """What the relay is told: seconds, bytes a second, bytes."""
    if delay_ms is not None and not 0 <= delay_ms < math.inf:
        raise ConfigError("delay_ms", delay_ms, "it must be a number of milliseconds, 0 or more")
    if mbit is not None and not mbit > 0:
        raise ConfigError("mbit", mbit, "it must be greater than 0, and is infinite without a limit")
    if queue_kb is not None and not queue_kb > 0:
        raise ConfigError("queue_kb", queue_kb, "it must be greater than 0, and is infinite without a limit")
    values = {
        "delay": None if delay_ms is None else delay_ms / 1e3,
        "rate": None if mbit is None else mbit * 1e6 / 8,
        "queue": None if queue_kb is None else queue_kb * 1e3,
    }
    return {name: value for name, value in values.items() if value is not None}


@contextlib.contextmanager
def _on_cores(cores: Collection[int] | None) -> Iterator[None]:
    """The processes that the calling thread starts here run on `cores`; None changes nothing."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
