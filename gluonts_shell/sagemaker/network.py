"""By which network the hosts of a job talk: the interface that SageMaker names, or the one that has the address."""

from __future__ import annotations

import socket
from contextlib import closing, suppress

SIOCGIFADDR = 0x8915  # of Linux: the address of an interface (netdevice(7))


def interface(named: str | None, address: str) -> str | None:
    """named: in resourceconfig.json, if this machine has it. address: of this host, as the others reach it."""
    names = [name for _, name in socket.if_nameindex()]
    if named in names:
        return named
    addresses = {name: _address(name) for name in names}
    for name in names:
        if addresses[name] == address:
            return name
    # any address of 127.0.0.0/8 is the loopback's, which has the first of them
    looped = address.startswith("127.") or address == "::1"
    return "lo" if "lo" in names and looped else None


def _address(name: str) -> str | None:
    """None where the interface has none, or the system is none that can be asked."""
    with suppress(OSError, ImportError), closing(socket.socket(type=socket.SOCK_DGRAM)) as one:
        import fcntl

        request = name.encode()[:15].ljust(256, b"\0")
        return socket.inet_ntoa(fcntl.ioctl(one, SIOCGIFADDR, request)[20:24])
    return None


def free_port() -> int:
    """Of this machine alone."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])
