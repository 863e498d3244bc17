"""What the server and an application say to each other: a request, a response, and what an application can do.

Plain values: whoever answers requests imports this and never sees a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class Request:
    """headers: lower-case names; the values of a repeated field joined by ", ". arrived: of time.monotonic().
    query: what stands behind the target's question mark.

    alive: whether an answer is still wanted. False once the client broke the connection, and for one that only ended
    its sending side (it may have gone, or wait for the answer) after a second; so refuse it rather than say nothing.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    alive: Callable[[], bool]
    arrived: float
    query: str = ""


@dataclass(slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class App(Protocol):
    """What the server needs of an application. Called by many threads at a time."""

    def __call__(self, request: Request) -> Response: ...

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Before a byte of the body is read: raises what `refuse` turns into the answer."""
        ...

    def refuse(self, error: BaseException, path: str, headers: Mapping[str, str]) -> Response:
        """The answer to an exception, of this package, of `check` or one that escaped from a call.

        path and headers are empty where the head could not be read.
        """
        ...

    def overdue(self) -> str | None:
        """What has been computed for longer than anything may, in words for the log; None while all is well.

        Asked four times a second. Once it has answered, the process that asked ends: the application has then told
        whoever waits behind that work to try again.
        """
        ...
