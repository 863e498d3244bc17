"""Many toys behind one port: `many.py PLACES [NAME=VALUE ...]`, where the names are of Terms, or `limit_mib`.

A toy lies in a folder with a file `toy.json`, which may hold faults of its loading: {"wait": file} waits until there is
that file, {"fail": sentence}, {"die": status}, {"eat": MiB}, {"kill": signal}. A request may hold {"wait": file}, beside
what a Toy knows. `limit_mib` is a limit of memory that is made up: what the toys have of their own counts as used.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from toy import Toy, ask, children, eventually

from gluonts_shell.errors import ModelError, RequestError
from gluonts_shell.serving.http.exchange import Request, Response
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.metrics.counters import Counters
from gluonts_shell.serving.models import front
from gluonts_shell.serving.models.forkserver import Order
from gluonts_shell.serving.models.process import become
from gluonts_shell.serving.models.room import Room
from gluonts_shell.serving.processes.link import WorkerEnd
from gluonts_shell.serving.processes.memory import Memory, own_bytes
from gluonts_shell.serving.processes.worker import Terms

MEBIBYTE = 1024 * 1024


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


class One(Toy):
    def __init__(self, overdue_seconds: float, eaten: object) -> None:
        super().__init__(overdue_seconds)
        self.eaten = eaten

    def work(self, document: dict, request: Request) -> Response:
        if "wait" in document:
            Path(document["wait"] + ".waits").touch()
            wait_for(document["wait"])
        if "start" in document:  # a process of the model's own, which outlives it if nobody ends it
            started = subprocess.Popen(["sleep", "100"])
            return Response(200, json.dumps({"pid": started.pid}).encode())
        return super().work(document, request)


def main(arguments: list[str]) -> int:
    from gluonts_shell import log

    log.configure()
    options = {name: float(text) for name, text in (one.split("=") for one in arguments)}
    overdue, limit = options.pop("overdue_seconds", 1e9), options.pop("limit_mib", 0.0)
    terms = Terms(**options, sleeps=True)

    def load(order: Order) -> tuple[One, str]:
        faults = json.loads((Path(order["url"]) / "toy.json").read_text())
        if "wait" in faults:
            Path(faults["wait"] + ".waits").touch()
            wait_for(faults["wait"])
        if "fail" in faults:
            raise ModelError(faults["fail"])
        if "die" in faults:
            os._exit(faults["die"])
        if "kill" in faults:
            os.kill(os.getpid(), faults["kill"])
        eaten = [os.urandom(MEBIBYTE) for _ in range(faults.get("eat", 0))]
        if "slowly" in faults:
            time.sleep(30)
        return One(overdue, eaten), "a toy"

    def begin(order: Order, link: WorkerEnd) -> NoReturn:
        become(link, lambda: load(order), Limits(), terms)

    def check(folder: Path) -> None:
        if not (folder / "toy.json").exists():
            raise RequestError(f"{str(folder)!r} is no toy")

    def measure() -> Memory:
        server = children(os.getpid())
        toys = [pid for one in server for pid in children(one)]
        return Memory(int(limit * MEBIBYTE), sum(map(own_bytes, toys)))

    return front.run(
        address="127.0.0.1",
        port=0,
        prepare=lambda: None,
        become=begin,
        check=check,
        limits=Limits(),
        terms=terms,
        announce=lambda port: print(f"ready {port}", flush=True),
        counters=Counters(100),
        room=Room(measure) if limit else None,
    )


class Many:
    """This script in a process of its own. Ended by `with`, however the test ends."""

    def __init__(self, folder: Path, **options: float) -> None:
        self.folder = folder
        self.output: list[str] = []
        root = Path(__file__).parents[3]
        path = os.pathsep.join([str(root), str(root / "tests" / "serving")])
        command = [sys.executable, __file__, *(f"{name}={options[name]}" for name in options)]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.output.append(line)

    def said(self, word: str) -> str | None:
        return next((line for line in self.output if word in line), None)

    def __enter__(self) -> Many:
        ready = eventually(lambda: self.said("ready") or self.process.poll() is not None)
        assert ready is not True, self.output
        self.port = int(ready.split()[1])
        self.server = children(self.process.pid)[0]
        return self

    def __exit__(self, *_: object) -> None:
        for pid in (*self.toys(), self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join(5)
        if self.process.stdout:
            self.process.stdout.close()

    def toys(self) -> list[int]:
        return children(self.server)

    def toy(self, name: str, **faults: Any) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "toy.json").write_text(json.dumps(faults))
        return folder

    def post(self, path: str, document: object) -> tuple[int, Any]:
        return ask(self.port, path, document)

    def get(self, path: str) -> tuple[int, Any]:
        return ask(self.port, path)

    def load(self, name: str, **faults: Any) -> tuple[int, Any]:
        folder = self.toy(name, **faults)
        return self.post("/models", {"model_name": name, "url": str(folder)})

    def invoke(self, name: str, document: object | None = None) -> tuple[int, Any]:
        return self.post(f"/models/{name}/invoke", document or {})

    def refused(self, name: str, document: object) -> bool:
        """Whether the connection ends without an answer."""
        with suppress(OSError, http.client.HTTPException):
            self.invoke(name, document)
            return False
        return True

    def unload(self, name: str) -> int:
        with socket.create_connection(("127.0.0.1", self.port), timeout=40) as connection:
            connection.sendall(
                f"DELETE /models/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            )
            return int(connection.makefile("rb").readline().split()[1])


if __name__ == "__main__":
    tempfile.tempdir = os.environ["TMPDIR"]
    sys.exit(main(sys.argv[1:]))
