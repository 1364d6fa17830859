"""A store of torch.distributed whose calls come back, also from a machine that has gone silent."""

from __future__ import annotations

import os
import queue
import socket
import stat
import threading
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from a3c_fast.hosts.launch import Launch

_GRACE_SECONDS = 1.0  # for the store's own limits, where it has some


class HostsStore:
    """Where the hosts of a run meet. Every call raises `RuntimeError` where it is not answered in time.

    c10d waits for an answer to most calls as long as TCP keeps the connection, which therefore is told to give up a
    machine that is silent. Should the store's process hang, the call is left behind in a thread of its own, and
    `was_silent` says so: it may end the process with an abort when it comes back while the interpreter ends. One thread
    at a time calls.
    """

    was_silent = False
    """Whether any store of this process has left a call behind."""

    def __init__(self, launch: Launch, timeout: float, *, trainer: int = 0, opens: bool = False) -> None:
        """Connects to the store, or `opens` it; each call waits at most `timeout` seconds.

        What the processes' trainer of another number has said is not seen.
        """
        self._timeout = timeout
        store = TCPStore(
            launch.address,
            launch.port,
            is_master=opens,
            timeout=timedelta(seconds=timeout),
            wait_for_workers=False,
            multi_tenant=True,
        )
        _limit_silence(launch.port, timeout)
        self.plain: Store = PrefixStore(f"a3c_fast/{launch.run_id}/{trainer}", store)
        """For process groups, which want it so."""
        self._silent = False
        self._orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        weakref.finalize(self, self._orders.put, None)
        threading.Thread(target=_answer, args=(self._orders,), name="a3c_fast store", daemon=True).start()

    def check(self, key: str) -> bool:
        """Whether it is there."""
        return bool(self._call(self.plain.check, [key]))

    def get(self, key: str) -> bytes:
        """Its value, for which it waits."""
        found: bytes = self._call(self.plain.get, key)
        return found

    def set(self, key: str, value: str) -> None:
        """Replaces its value."""
        self._call(self.plain.set, key, value)

    def add(self, key: str, number: int) -> int:
        """Its value, a number, after the addition."""
        return int(self._call(self.plain.add, key, number))

    def compare_set(self, key: str, before: str, after: str) -> None:
        """Replaces its value where it is `before`; an empty `before` means that there is none."""
        self._call(self.plain.compare_set, key, before, after)

    def delete(self, key: str) -> None:
        """There is none any more."""
        self._call(self.plain.delete_key, key)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._silent:
            raise RuntimeError("the store does not answer")
        answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._orders.put((function, arguments, answer))
        try:
            value, error = answer.get(timeout=self._timeout + _GRACE_SECONDS)
        except queue.Empty:
            self._silent = HostsStore.was_silent = True
            raise RuntimeError(f"the store has not answered for {self._timeout:g} seconds") from None
        if error is not None:
            raise error
        return value


def _limit_silence(port: int, seconds: float) -> None:
    """Of all connections to a port that this process has: c10d tells no descriptor."""
    for path in Path("/proc/self/fd").iterdir():
        try:
            if not stat.S_ISSOCK(path.stat().st_mode):
                continue
            with socket.socket(fileno=os.dup(int(path.name))) as connection:
                if connection.type != socket.SOCK_STREAM or connection.getpeername()[1] != port:
                    continue
                idle = max(1, round(seconds / 3))
                for option, value in (
                    (socket.TCP_USER_TIMEOUT, round(1000 * seconds)),  # for what was sent and is not acknowledged
                    (socket.TCP_KEEPIDLE, idle),
                    (socket.TCP_KEEPINTVL, idle),
                    (socket.TCP_KEEPCNT, 2),
                ):
                    connection.setsockopt(socket.IPPROTO_TCP, option, value)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except (OSError, IndexError):  # gone since, no socket, or one that is not connected
            continue


def _answer(orders: queue.SimpleQueue[Any]) -> None:
    while (order := orders.get()) is not None:
        function, arguments, answer = order
        try:
            answer.put((function(*arguments), None))
        except BaseException as error:
            answer.put((None, error))
        del function, arguments, answer, order
