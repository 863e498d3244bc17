"""A package index of the tests' own on 127.0.0.1 that answers as broken ones do. It serves files of one folder, too."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# nobody trusts it: its key is public
CERTIFICATE = Path(__file__).with_name("untrusted.pem")
CHALLENGES = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}


class Answer(BaseHTTPRequestHandler):
    status = 404
    files: Path | None = None
    body = b""
    headers_sent: Mapping[str, str] = {"Content-Type": "text/html"}
    link = ""  # what is said of each file beside its address

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2].partition("?")[0]
        if self.files and (self.files / name).is_file():
            self.answer(200, (self.files / name).read_bytes())
        elif self.files and self.path.startswith("/pages/"):
            rows = [
                f'<a href="/files/{path.name}" {self.link}>{path.name}</a>'
                for path in self.files.iterdir()
            ]
            self.answer(
                200, "\n".join(["<!DOCTYPE html><html><body>", *rows, "</body></html>"]).encode()
            )
        else:
            self.answer(self.status, self.body)

    do_HEAD = do_CONNECT = do_GET  # noqa: N815 - the standard library calls them so

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status in CHALLENGES:
            self.send_header(CHALLENGES[status], 'Basic realm="tests"')
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def answering(
    status: int, *, tls: bool = False, files: Path | None = None, **answer: object
) -> Iterator[int]:
    """The port of a server that answers every request with `status`, but for files and pages of `files`.

    answer: what else of `Answer` is another than there.
    """
    handler = type("Handler", (Answer,), {"status": status, "files": files, **answer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def closed() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
