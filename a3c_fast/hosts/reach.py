"""Whether hosts reach each other, and not only the store: a group needs a connection between any two of them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

_BACKLOG = 4096
_KNOCK_SECONDS = 3.0


class Door:
    """A port at which other hosts find out whether they reach this one. Nothing is said there."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        self._socket = socket.create_server(("", 0), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        """That others connect to."""
        return int(self._socket.getsockname()[1])

    def clear(self) -> None:
        """Lets go of those who have knocked."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.accept()[0].close()

    def close(self) -> None:
        """Nobody is to be heard any more."""
        self._socket.close()


def silent(places: Mapping[int, tuple[str, int]]) -> set[int]:
    """Ranks of hosts, each at an address and a port, that say nothing: one that refuses a connection can be reached."""
    if not places:
        return set()
    with ThreadPoolExecutor(min(32, len(places))) as pool:
        answers = dict(zip(places, pool.map(_answers, places.values()), strict=True))
    return {rank for rank, answered in answers.items() if not answered}


def _answers(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, _KNOCK_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
