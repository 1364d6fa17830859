"""The addresses of a host: which one the others reach it at."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct

from a3c_fast.errors import ConfigError

_SIOCGIFADDR = 0x8915  # netdevice(7)


def own_address(towards: str) -> str:
    """The IP address of the interface that leads to another host, or of the one that GLOO_SOCKET_IFNAME names.

    Gloo by itself takes what the host's name means, which on Debian is 127.0.1.1, where nobody else reaches it.
    Raises `OSError` where there is no way, `ConfigError` for an interface that is not there.
    """
    name = os.environ.get("GLOO_SOCKET_IFNAME")
    if name:
        return _address_of(name)
    family, _, _, _, place = socket.getaddrinfo(towards, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(place)  # sends nothing
        return str(probe.getsockname()[0])


def is_loopback(address: str) -> bool:
    """Whether it leads nowhere but to this machine."""
    return ipaddress.ip_address(address).is_loopback


def _address_of(interface: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            found = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError as error:
            raise ConfigError(
                "GLOO_SOCKET_IFNAME", interface, f"it must be a network interface with an IPv4 address ({error})"
            ) from error
    return socket.inet_ntoa(found[20:24])
