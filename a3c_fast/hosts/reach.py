"""Whether hosts reach each other, and not only the store: a group needs a connection between any two of them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from a3c_fast.hosts.network import is_loopback, own_address
from a3c_fast.hosts.rounds import Round

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


class Reach:
    """Where the others reach a host, and which of them it does not reach. One thread uses it."""

    def __init__(self, towards: str) -> None:
        self._towards = towards
        self._door: Door | None = None
        self._silent: dict[int, tuple[str, int]] = {}  # by rank, and where it would be

    def place(self) -> tuple[str, int]:
        """IP address and port. Raises `OSError` where no way leads to the others."""
        address = own_address(self._towards)
        if self._door is None:
            self._door = Door(address)
        self._door.clear()
        return address, self._door.port

    def address_in(self, found: Round) -> str:
        """The IP address for a group of the members of a round."""
        own = found.members[found.place].address
        others = [member.address for member in found.members if not is_loopback(member.address)]
        return own_address(others[0]) if is_loopback(own) and others else own

    def silent(self) -> tuple[int, ...]:
        """Ranks that said nothing when this host knocked, and say nothing now."""
        still = silent(self._silent)
        self._silent = {rank: place for rank, place in self._silent.items() if rank in still}
        return tuple(sorted(self._silent))

    def knock(self, found: Round) -> None:
        """At all other members of a round, with whom this host could not be connected."""
        own = found.members[found.place]
        places = {
            member.rank: (member.address, member.port)
            for member in found.members
            # The other's loopback address is another place here.
            if member.rank != own.rank and (is_loopback(own.address) or not is_loopback(member.address))
        }
        self._silent |= {rank: places[rank] for rank in silent(places)}

    def close(self) -> None:
        """Nobody is to be heard any more."""
        if self._door is not None:
            self._door.close()


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
