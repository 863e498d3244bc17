"""Load on a server: by wrk where it is installed, else by `generator.py`, with the same figures of both."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import machine
from sides import PORT

HALF = 0.5
SCALE = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    """rate: answers a second; p99: milliseconds; failed: answers other than 2xx and 3xx, and broken connections.

    share: of one processor that the generator itself took, on the same machine.
    """

    rate: float
    p99: float
    failed: int
    answered: int
    share: float

    @property
    def notes(self) -> tuple[str, ...]:
        return (
            f"{self.failed} FAILED" if self.failed else "",
            f"the load generator took {self.share:.0%} of a processor" if self.share > HALF else "",
        )


def load(
    path: str, connections: int, seconds: float, body: bytes | None = None, port: int = PORT
) -> Load:
    """Send the same request on so many connections, each the next one as soon as it has its answer."""
    began, before = time.monotonic(), machine.spent()
    rate, p99, failed, answered = (wrk if shutil.which("wrk") else generator)(
        port, path, connections, seconds, body
    )
    return Load(
        rate, p99, failed, answered, (machine.spent() - before) / (time.monotonic() - began)
    )


def wrk(
    port: int, path: str, connections: int, seconds: float, body: bytes | None
) -> tuple[float, float, int, int]:
    command = [
        "wrk",
        "--threads",
        "1",
        "--connections",
        str(connections),
        "--duration",
        f"{seconds:.0f}s",
        "--latency",
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if body is not None:
            script.write('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n')
            script.write(f"wrk.body = {lua(body)}\n")
            script.flush()
            command += ["--script", script.name]
        text = output([*command, "--timeout", "60s", f"http://127.0.0.1:{port}{path}"])
    p99 = re.search(r"99%\s+([0-9.]+)(us|ms|s|m)\b", text)
    refused = re.search(r"Non-2xx or 3xx responses: ([0-9]+)", text)
    broken = re.search(
        r"Socket errors: connect ([0-9]+), read ([0-9]+), write ([0-9]+), timeout ([0-9]+)", text
    )
    failed = sum(int(number) for match in (refused, broken) if match for number in match.groups())
    rate, answered = (
        re.search(r"Requests/sec:\s+([0-9.]+)", text),
        re.search(r"([0-9]+) requests in", text),
    )
    if not (p99 and rate and answered):
        raise SystemExit(f"wrk said what cannot be read:\n{text}")
    return float(rate[1]), float(p99[1]) * SCALE[p99[2]], failed, int(answered[1])


def lua(body: bytes) -> str:
    """A string of Lua that holds these bytes."""
    text = body.decode("utf-8")
    level = next(level for level in range(10) if f"]{'=' * level}]" not in text)
    return f"[{'=' * level}[{text}]{'=' * level}]"


def generator(
    port: int, path: str, connections: int, seconds: float, body: bytes | None
) -> tuple[float, float, int, int]:
    with tempfile.NamedTemporaryFile("wb") as file:
        file.write(body or b"")
        file.flush()
        script = str(Path(__file__).with_name("generator.py"))
        text = output(
            [sys.executable, script, str(port), path, str(connections), str(seconds), file.name]
        )
    found = json.loads(text)
    return found["rate"], found["p99"], found["failed"], found["answered"]


def output(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
