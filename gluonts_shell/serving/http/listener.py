"""The socket that the workers share: bound early, listening late."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from gluonts_shell.errors import ConfigurationError

BACKLOG = 1024  # 300 clients at once lose nothing; the kernel cuts it to somaxconn


class Listener(Protocol):
    """What connections are taken from: a listening socket, or what stands for one."""

    def fileno(self) -> int: ...

    def getsockname(self) -> Any: ...

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError where none waits, and another OSError where none can be had."""
        ...

    def close(self) -> None: ...


def bind(address: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet. Raises ConfigurationError, with the reason."""
    with _told(address, port):
        family, _, _, _, place = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        # a worker that loses the race for a connection must not sleep in accept, deaf to signals
        listener.setblocking(False)
        return listener


def listen(listener: socket.socket) -> None:
    """From now on clients are not refused. Raises ConfigurationError if another process was quicker."""
    address, port = listener.getsockname()[:2]
    with _told(address, port):
        listener.listen(BACKLOG)


@contextmanager
def _told(address: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot serve on {address}:{port}: {error.strerror or error}"
        ) from None
