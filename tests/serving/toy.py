"""A small application for the tests of the server: /ping, /execution-parameters and a POST that reads JSON.

As a script it is served by the supervisor: `toy.py PORT WORKERS [NAME=VALUE ...]`, where the names are of Limits, or
`drain_seconds`, or one of the faults that `main` knows. It prints `ready PORT` once all workers serve.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from gluonts_shell.errors import MethodNotAllowed, NotFound, RequestError, UnsupportedMediaType
from gluonts_shell.serving.server import App, Limits, Request, Response, Server

JSON = (("Content-Type", "application/json"),)
ROUTES = {"/ping": "GET", "/execution-parameters": "GET", "/invocations": "POST"}


class Toy:
    """Answers with what it was sent; the body may ask for a fault: {"sleep": s}, {"raise": text}, {"exit": status}."""

    def __init__(self) -> None:
        self.calls = 0
        self.lock = threading.Lock()

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        wanted = ROUTES.get(path)
        if wanted is None:
            raise NotFound(f"no such path: {path[:100]!r}")
        if method != wanted and not (method == "HEAD" and wanted == "GET"):
            raise MethodNotAllowed(f"{path} takes {wanted}", allow=wanted)
        if wanted == "POST" and headers.get("content-type", "application/json").split(";")[0] != "application/json":
            raise UnsupportedMediaType("expected application/json")

    def __call__(self, request: Request) -> Response:
        if request.path == "/ping":
            return Response(200)
        if request.path == "/execution-parameters":
            return Response(200, b'{"pid": %d, "threads": %d}' % (os.getpid(), threading.active_count()), JSON)
        try:
            document = json.loads(request.body)
        except (ValueError, RecursionError):
            return self.refuse(RequestError("the body is not JSON"))
        if not isinstance(document, dict):
            return self.refuse(RequestError("the body is no object"))
        return self.work(document, request)

    def work(self, document: dict, request: Request) -> Response:
        if "sleep" in document:
            time.sleep(document["sleep"])
        if "wait_gone" in document:
            end = time.monotonic() + document["wait_gone"]
            while request.alive() and time.monotonic() < end:
                time.sleep(0.01)
            with self.lock:
                self.calls += not request.alive()
        if "raise" in document:
            raise ValueError(document["raise"])
        if "leave" in document:
            sys.exit(document["leave"])
        if "exit" in document:
            os._exit(document["exit"])
        if "hold" in document:  # the interpreter lock, as a misbehaving extension does
            ctypes.PyDLL(None).usleep(int(document["hold"] * 1e6))
        if "bytes" in document:
            return Response(200, b" " * document["bytes"])
        if "header" in document:
            return Response(200, b"", (("X-Echo", document["header"]),))
        answer = {"pid": os.getpid(), "length": len(request.body), "headers": dict(request.headers), "gone": self.calls}
        return Response(200, json.dumps(answer).encode(), JSON)

    def refuse(self, error: Exception) -> Response:
        headers = JSON + ((("Allow", error.allow),) if isinstance(error, MethodNotAllowed) else ())
        return Response(getattr(error, "status", 500), json.dumps({"error": str(error)}).encode(), headers)


@contextmanager
def serving(app: App, **limits: float) -> Iterator[int]:
    """A server in a thread of this process; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    server = Server(listener, app, Limits(**{"parting_seconds": 0.0, **limits}))  # type: ignore[arg-type]
    stopped, stop = os.pipe()

    def serve() -> None:
        server.serve(stopped)
        server.drain(10.0)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        os.close(stop)
        thread.join()
        os.close(stopped)


def main(arguments: list[str]) -> int:
    from gluonts_shell import log
    from gluonts_shell.serving import supervisor

    log.configure()
    options = dict(argument.split("=", 1) for argument in arguments[2:])
    numbers = {name: float(text) if "." in text else int(text) for name, text in options.items()}
    load_seconds = numbers.pop("load_seconds", 0)
    die_at_start = numbers.pop("die_at_start", 0)
    fail_at_load = numbers.pop("fail_at_load", 0)
    preload = bool(numbers.pop("preload", 1))
    drain_seconds = float(numbers.pop("drain_seconds", 25.0))

    def load() -> Callable[[], Toy]:
        print("loading", flush=True)
        time.sleep(load_seconds)
        if fail_at_load:
            raise RequestError("the model is broken")
        return start

    def start() -> Toy:
        if die_at_start:
            os._exit(die_at_start)
        return Toy()

    def announce(port: int) -> None:
        print(f"ready {port}", flush=True)

    return supervisor.run(
        address="127.0.0.1",
        port=int(arguments[0]),
        workers=int(arguments[1]),
        load=load,
        limits=Limits(**numbers),
        drain_seconds=drain_seconds,
        announce=announce,
        preload=preload,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
