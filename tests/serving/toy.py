"""A small application for the tests of the server: /ping, /execution-parameters and a POST that reads JSON.

As a script it is served by the supervisor: `toy.py PORT WORKERS [NAME=VALUE ...]`, where the names are of Limits, or
`drain_seconds`, or one of the faults that `main` knows. It prints `ready PORT` once all workers serve.
"""

from __future__ import annotations

import builtins
import ctypes
import http.client
import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gluonts_shell.errors import MethodNotAllowed, NotFound, RequestError, UnsupportedMediaType
from gluonts_shell.serving.http.exchange import App, Request, Response
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.http.server import Server

JSON = (("Content-Type", "application/json"),)
ROUTES = {"/ping": "GET", "/execution-parameters": "GET", "/invocations": "POST"}


class Toy:
    """Answers with what it was sent; the body may ask for a fault: {"sleep": s}, {"raise": text}, {"exit": status}."""

    def __init__(self, overdue_seconds: float = math.inf) -> None:
        self.overdue_seconds = overdue_seconds
        self.began = math.inf
        self.grown: list[bytes] = []
        self.calls = 0
        self.lock = threading.Lock()

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        wanted = ROUTES.get(path)
        if wanted is None:
            raise NotFound(f"no such path: {path[:100]!r}")
        if method != wanted and not (method == "HEAD" and wanted == "GET"):
            raise MethodNotAllowed(f"{path} takes {wanted}", allow=wanted)
        if (
            wanted == "POST"
            and headers.get("content-type", "application/json").split(";")[0] != "application/json"
        ):
            raise UnsupportedMediaType("expected application/json")

    def __call__(self, request: Request) -> Response:
        if request.path == "/ping":
            return Response(200)
        if request.path == "/execution-parameters":
            return Response(
                200, b'{"pid": %d, "threads": %d}' % (os.getpid(), threading.active_count()), JSON
            )
        try:
            document = json.loads(request.body)
        except (ValueError, RecursionError):
            return self.refuse(RequestError("the body is not JSON"))
        if not isinstance(document, dict):
            return self.refuse(RequestError("the body is no object"))
        return self.work(document, request)

    def work(self, document: dict, request: Request) -> Response:
        if "begun" in document:
            os.write(1, f"{document['begun']}\n".encode())
        if "stuck" in document:
            self.began = time.monotonic()
            time.sleep(document["stuck"])
            self.began = math.inf
        if "grow" in document:
            self.grown.append(os.urandom(1 << 20) * document["grow"])
        if "print" in document:
            print("p" * document["print"])
            sys.stderr.write("q" * document["print"])
        if "printf" in document:  # as native code does, past Python's streams
            ctypes.CDLL(None).write(1, b"r" * document["printf"], document["printf"])
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
        if "raise_base" in document:
            raise getattr(builtins, document["raise_base"])("no Exception")
        if "leave" in document:
            sys.exit(document["leave"])
        if "exit" in document:
            os._exit(document["exit"])
        if "hold" in document:  # the interpreter lock, as a misbehaving extension does
            ctypes.PyDLL(None).usleep(int(document["hold"] * 1e6))
        if "log" in document:
            logging.getLogger("toy").info("%s", document["log"])
        if "open" in document:
            return Response(200, json.dumps(exhausted(document["open"])).encode(), JSON)
        if "close" in document:
            for descriptor in document["close"]:
                os.close(descriptor)
        if "status" in document:
            return Response(document["status"], b"a body")
        if "bytes" in document:
            return Response(200, b" " * document["bytes"])
        if "header" in document:
            return Response(200, b"", (("X-Echo", document["header"]),))
        answer = {
            "pid": os.getpid(),
            "length": len(request.body),
            "headers": dict(request.headers),
            "gone": self.calls,
        }
        return Response(200, json.dumps(answer).encode(), JSON)

    def overdue(self) -> str | None:
        """Of what a request asked for with {"stuck": seconds}."""
        late = time.monotonic() - self.began > self.overdue_seconds
        return f"a request has not ended within {self.overdue_seconds:g} s" if late else None

    def refuse(self, error: BaseException, path: str = "", headers: Any = None) -> Response:
        headers = JSON + ((("Allow", error.allow),) if isinstance(error, MethodNotAllowed) else ())
        return Response(
            getattr(error, "status", 500), json.dumps({"error": str(error)}).encode(), headers
        )


class Loaded:
    """What the toy's `load` returns."""

    description = "a toy"

    def __init__(self, start: Callable[[object], Toy]) -> None:
        self.start = start


def exhausted(most: int) -> list[int]:
    """Descriptors opened until there are no more to be had."""
    found: list[int] = []
    with suppress(OSError):
        while len(found) < most:
            found.append(os.open(os.devnull, os.O_RDONLY))
    return found


def ask(
    port: int, path: str = "/ping", document: object = None, timeout: float = 20.0
) -> tuple[int, Any]:
    """One request on a connection of its own: the status, and the answer's JSON if there is any."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        if document is None:
            connection.request("GET", path)
        else:
            connection.request(
                "POST", path, json.dumps(document), {"Content-Type": "application/json"}
            )
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body.strip() else None
    finally:
        connection.close()


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of the condition; fails after so many seconds without one."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return value


class Service:
    """This script in a process of its own. Ended by `with`, however the test ends."""

    def __init__(
        self,
        workers: int = 2,
        *,
        wait: bool = True,
        port: int = 0,
        popen: Any = None,
        **options: float,
    ) -> None:
        command = [
            sys.executable,
            __file__,
            str(port),
            str(workers),
            *(f"{name}={options[name]}" for name in options),
        ]
        root = Path(__file__).parents[2]
        self.output: list[str] = []
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **(popen or {})}
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(root)},
            text=True,
            start_new_session=True,
            **streams,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait:
            eventually(lambda: self.said("ready") or self.process.poll() is not None)

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.output.append(line)

    def said(self, word: str) -> str | None:
        return next((line for line in self.output if word in line), None)

    @property
    def port(self) -> int:
        line = self.said("ready")
        assert line, self.output
        return int(line.split()[1])

    def workers(self) -> list[int]:
        return children(self.process.pid)

    def end(self, number: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.reader.join(5)
            self.process.stdout.close()


def children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []


def state(pid: int) -> str:
    """R, S, T, Z ... or nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(app: App, **limits: float) -> Iterator[int]:
    """A server in a thread of this process; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    server = Server(
        listener, app, Limits(**{"parting_seconds": 0.0, "linger_seconds": 0.5, **limits})
    )  # type: ignore[arg-type]
    stopped, stop = os.pipe()

    def serve() -> None:
        server.serve({stopped: lambda: False})
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
    from gluonts_shell.serving.processes import supervisor
    from gluonts_shell.serving.processes.worker import Terms

    log.configure()
    options = dict(argument.split("=", 1) for argument in arguments[2:])
    numbers = {name: float(text) if "." in text else int(text) for name, text in options.items()}
    load_seconds = numbers.pop("load_seconds", 0)
    die_at_start = numbers.pop("die_at_start", 0)
    slow_restart = numbers.pop("slow_restart", 0)
    fail_at_load = numbers.pop("fail_at_load", 0)
    quiet = bool(numbers.pop("quiet", 0))
    preload = bool(numbers.pop("preload", 1))
    drain_seconds = float(numbers.pop("drain_seconds", 25.0))
    silent_seconds = float(numbers.pop("silent_seconds", 120.0))
    max_bytes = float(numbers.pop("max_bytes", math.inf))
    overdue_seconds = float(numbers.pop("overdue_seconds", math.inf))
    ready_seconds = float(numbers.pop("ready_seconds", math.inf))

    slow_from = [math.inf]  # of time.monotonic(), set once all workers of the first start are there

    def load() -> Loaded:
        if not quiet:
            print("loading", flush=True)
        time.sleep(load_seconds)
        if fail_at_load:
            raise RequestError("the model is broken")
        return Loaded(start)

    def start(_meter: object) -> Toy:
        if die_at_start:
            os._exit(die_at_start)
        if slow_restart and time.monotonic() > slow_from[0]:
            time.sleep(slow_restart)
        return Toy(overdue_seconds)

    def announce(port: int, what: str) -> None:
        slow_from[0] = 0.0
        if not quiet:
            print(f"ready {port}", flush=True)

    return supervisor.run(
        address="127.0.0.1",
        port=int(arguments[0]),
        workers=int(arguments[1]),
        load=load,
        limits=Limits(**numbers),
        terms=Terms(drain_seconds, silent_seconds, max_bytes, ready_seconds=ready_seconds),
        announce=announce,
        preload=preload,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
