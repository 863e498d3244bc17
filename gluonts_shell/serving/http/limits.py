"""How much and how long: what a client may send, and how long each side waits for the other."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bytes, connections of one worker, and seconds.

    head: for a whole head, and for a new connection's silence before it. body: for a whole body; every megabyte that
    it may have adds a second. idle: between requests; longer than the 60 s of load balancers, so that they close
    first. answer: for the client to take an answer. linger: to wait for the client's end after our last byte.
    """

    body: int = 6 * MEBIBYTE
    connections: int = 512
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    answer_seconds: float = 60.0
    linger_seconds: float = 2.0
    parting_seconds: float = 0.5
