"""The two that are compared: how each is called, and its server from start to end.

Both read their tree from SAGEMAKER_DATA_PATH and take the same commands; nothing else of them is known here.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

START_SECONDS, END_SECONDS = 60, 40
# installed packages have their bytecode, and a tree that is worked on gets it at the first run
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
PORT = 8080  # the peer listens on no other


@dataclass(frozen=True)
class Side:
    name: str
    python: str
    module: str

    def command(self, *arguments: str) -> list[str]:
        module = ["-m", self.module] if self.module else []  # a side without one runs scripts
        return [self.python, "-W", "ignore", *module, *arguments]

    def has(self, module: str) -> bool:
        code = (
            f"import importlib.util; raise SystemExit(importlib.util.find_spec({module!r}) is None)"
        )
        return subprocess.run([self.python, "-c", code], check=False).returncode == 0

    def run(self, *arguments: str, tree: Path | None = None, **environ: str) -> Usage:
        """Run a command to its end. Raises SystemExit with the end of its output if it fails."""
        environ = {**ENVIRON, **({"SAGEMAKER_DATA_PATH": str(tree)} if tree else {}), **environ}
        began, before = time.perf_counter(), os.times()
        with open(os.devnull if tree is None else tree / "output.log", "wb") as log:
            process = subprocess.Popen(
                self.command(*arguments), env=environ, cwd=tree, stdout=log, stderr=log
            )
            _, status, usage = os.wait4(process.pid, 0)
        wall, after = time.perf_counter() - began, os.times()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            text = (tree / "output.log").read_text(errors="replace")[-3000:] if tree else ""
            raise SystemExit(
                f"{self.name}: {' '.join(process.args)} ended with {process.returncode}\n{text}"
            )
        cpu = (
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
        return Usage(wall, cpu, usage.ru_maxrss * 1024)


@dataclass(frozen=True)
class Usage:
    """Seconds on the clock, seconds of processors, and bytes of memory at the peak."""

    wall: float
    cpu: float
    memory: int


class Server:
    """`serve` of a side, ready for requests inside a `with`; cold_start is how many seconds that took."""

    def __init__(self, side: Side, tree: Path, port: int = PORT, **environ: str) -> None:
        self.side, self.tree, self.port, self.environ = side, tree, port, environ

    def __enter__(self) -> Server:
        check(self.port)
        self.log = (self.tree / f"serve-{self.port}.log").open("wb")
        environ = {
            "SAGEMAKER_DATA_PATH": str(self.tree),
            "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1",
            "SAGEMAKER_SERVER_PORT": str(self.port),
            **self.environ,
        }
        began = time.perf_counter()
        self.process = subprocess.Popen(
            self.side.command("serve"),
            env={**ENVIRON, **environ},
            cwd=self.tree,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        try:
            while not self.answers():
                if self.process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    text = Path(self.log.name).read_text(errors="replace")[-3000:]
                    raise SystemExit(f"{self.side.name}: no answer to /ping\n{text}")
                time.sleep(0.005)
        except BaseException:
            self.__exit__()
            raise
        self.cold_start = time.perf_counter() - began
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def check(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SystemExit(
                f"port {port} is in use; stop what uses it (the peer can listen on no other than {PORT})"
            )
