"""This machine's addresses. The name of a machine does not tell them: it often stands for the loopback."""

from __future__ import annotations

import socket
import struct
import sys

_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Return the parts of HOST:PORT, which `Machines.check` has accepted."""
    host, _, port = endpoint.rpartition(":")
    return host, int(port)


def own_address(endpoint: str) -> str:
    """Return the address from which this machine reaches `endpoint`, HOST:PORT.

    Raises:
        OSError: If there is no way to it.
    """
    family, kind, *_, address = socket.getaddrinfo(*host_and_port(endpoint), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # chooses the way; nothing is sent
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str:
    """Return the name of the network interface that has an IPv4 address; empty if it is not known."""
    if not sys.platform.startswith("linux"):
        return ""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return ""


def opens_port(endpoint: str) -> bool:
    """Return whether this machine opens the port of the rendezvous: it has the address, and the port is free.

    torch would compare HOST with this machine's name.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(*host_and_port(endpoint), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError:  # another machine's address, or a port that `scanline rendezvous` has opened here
        return False
    return True
