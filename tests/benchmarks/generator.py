"""A load generator for machines without wrk: one thread, plain sockets, the same request again and again.

    python generator.py PORT PATH CONNECTIONS SECONDS BODY_FILE

It prints answers a second, the 99th percentile of their times in ms, and how many failed, as JSON. It needs about
30 us of a processor for an answer (several times what wrk needs), which the server lacks where they share a machine.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field


@dataclass
class Client:
    connection: socket.socket
    sent: float = 0.0
    left: int = 0
    status: bytes = b""
    head: bytes = b""
    times: list[float] = field(default_factory=list)
    failed: int = 0

    def send(self, request: bytes) -> None:
        self.left, self.head = -1, b""
        self.sent = time.perf_counter()
        self.connection.sendall(request)

    def receive(self) -> bool:
        """Read what is there; whether the answer is whole. Raises ConnectionError at the connection's end."""
        piece = self.connection.recv(1 << 20)
        if not piece:
            raise ConnectionError("the server closed the connection")
        if self.left < 0:
            self.head += piece
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if not end:
                return False
            self.status = head[9:10]
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.left = int(length) - len(rest)
        else:
            self.left -= len(piece)
        if self.left:
            return False
        self.times.append(time.perf_counter() - self.sent)
        self.failed += self.status not in (b"2", b"3")
        return True


def run(port: int, path: str, connections: int, seconds: float, body: bytes) -> dict[str, float]:
    method = "POST" if body else "GET"
    fields = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    request = f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode("ascii") + body
    selector = selectors.DefaultSelector()
    clients = [
        Client(socket.create_connection(("127.0.0.1", port), timeout=60))
        for _ in range(connections)
    ]
    began = time.perf_counter()
    for client in clients:
        selector.register(client.connection, selectors.EVENT_READ, client)
        client.send(request)
    while (now := time.perf_counter()) < began + seconds and selector.get_map():
        for key, _ in selector.select(began + seconds - now):
            client = key.data
            try:
                if client.receive():
                    client.send(request)
            except OSError:
                client.failed += 1
                selector.unregister(client.connection)
    elapsed = time.perf_counter() - began
    times = sorted(taken for client in clients for taken in client.times)
    for client in clients:
        client.connection.close()
    return {
        "rate": len(times) / elapsed,
        "p99": 1000 * times[int(0.99 * (len(times) - 1))] if times else 0.0,
        "failed": sum(client.failed for client in clients),
        "answered": len(times),
    }


if __name__ == "__main__":
    with open(sys.argv[5], "rb") as file:
        print(
            json.dumps(
                run(
                    int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), file.read()
                )
            )
        )
