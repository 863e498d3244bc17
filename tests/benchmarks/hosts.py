"""The throughput of two hosts beside that of one, on the processors of this machine: each host has one native thread.

What its processes cost each other (gradients, agreeing to go on) is what is missing from 2.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import subprocess
from pathlib import Path
from statistics import median

from comparisons import Effort, Samples, each
from sides import ENVIRON, Side
from table import Table
from trainings import FEATURES, ONE_THREAD, TORCH, A, job

ROW = "two_hosts"
HOSTS = ("127.0.0.1", "127.0.0.2")
RATE = re.compile(r"#throughput_metric: host=\S+, train throughput=(\S+) records/second")


def measure(ours: Side, wanted: set[str], table: Table, folder: Path, effort: Effort) -> None:
    if ROW not in wanted:
        return
    trees = [folder / ROW / host for host in HOSTS]
    job(trees[0], f"{TORCH}.deepar.DeepAREstimator", A, FEATURES)
    shutil.copytree(trees[0], trees[1])
    each([ours], effort, table, lambda side: compare(side, trees))


def compare(side: Side, trees: list[Path]) -> Samples:
    one, two = throughput(side, trees[:1]), throughput(side, trees)
    return [(ROW, two / one, (f"one {one:.0f} records/s, two {two:.0f}",))]


def throughput(side: Side, trees: list[Path]) -> float:
    """Records a second of all hosts together: the median of the epochs after the first."""
    port = free_port()
    hosts = HOSTS[: len(trees)]
    processes = []
    for host, tree in zip(hosts, trees, strict=True):
        resources = {"current_host": host, "hosts": list(hosts)}
        (tree / "input/config/resourceconfig.json").write_text(json.dumps(resources))
        environ = {"SAGEMAKER_DATA_PATH": str(tree), "MASTER_PORT": str(port)}
        processes.append(
            subprocess.Popen(
                side.command("train"),
                env={**ENVIRON, **environ, **ONE_THREAD},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    total = 0.0
    for process in processes:
        said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{side.name}: train ended with {process.returncode}\n{said[-3000:]}")
        total += median(float(rate) for rate in RATE.findall(said)[1:])
    return total


def free_port() -> int:
    """Of two in a row that are free, below those that the system hands out."""
    while True:
        port = random.randrange(10_000, 32_000)
        try:
            for one in (port, port + 1):
                socket.create_server(("", one)).close()
        except OSError:
            continue
        return port
