"""Our own rows that need a server: how near it comes to what its processors can do, and what a worker costs.

"In-process" is a body in and an answer out by the same code, with no HTTP, on one processor with one native thread.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from statistics import median

import inputs
import machine
from comparisons import SERVED, Effort, Samples, each, trained
from load import load
from sides import PORT, Server, Side
from table import Table

LIMITS = {
    "limit_naive_50": ("naive", "naive_50", 1),
    "limit_deepar_c32": ("deepar", "deepar_c32", 32),
}
STEADY_REQUESTS, STEADY_TURNS = 200_000, 15


def measure(ours: Side, wanted: set[str], table: Table, folder: Path, effort: Effort) -> None:
    trees: dict[str, Path] = {}

    def tree(model: str) -> Path:
        if model not in trees:
            trees[model] = trained(ours, model, folder / f"own-{model}")
        return trees[model]

    for row, (model, served, joined) in LIMITS.items():
        if row in wanted:
            connections, instances = SERVED[model][served]
            one = (row, connections, instances, joined, effort.seconds)
            each(
                [ours],
                effort,
                table,
                lambda side, model=model, one=one: limit(side, tree(model), *one),
            )
    if "worker_memory" in wanted:
        each(
            [ours],
            replace(effort, pairs=1),
            table,
            lambda side: worker_memory(side, tree("deepar")),
        )
    if "steady" in wanted:
        each(
            [ours],
            replace(effort, pairs=1),
            table,
            lambda side: steady(side, tree("naive"), effort.seconds),
        )


def limit(
    ours: Side, tree: Path, row: str, connections: int, instances: int, joined: int, seconds: int
) -> Samples:
    script = str(Path(__file__).with_name("inprocess.py"))
    command = [
        ours.python,
        "-W",
        "ignore",
        script,
        str(tree),
        str(instances),
        str(joined),
        str(seconds),
    ]
    alone = float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    with Server(ours, tree):
        found = load("/invocations", connections, seconds, inputs.request(instances))
    return [
        (row, found.rate / (alone * machine.cpus()), (f"in-process {alone:.0f}/s", *found.notes))
    ]


def worker_memory(ours: Side, tree: Path) -> Samples:
    """Of servers with one and with three workers, each after some load on all of them."""
    bytes_of = {}
    for workers in (1, 3):
        with Server(ours, tree, MODEL_SERVER_WORKERS=str(workers)) as server:
            load("/invocations", 32, 5, inputs.request(1))
            bytes_of[workers] = machine.pss(server.process.pid)
    extra = (bytes_of[3] - bytes_of[1]) / 2
    return [
        (
            "worker_memory",
            extra / bytes_of[1],
            (f"{extra / 2**20:.0f} of {bytes_of[1] / 2**20:.0f} MiB",),
        )
    ]


def steady(ours: Side, tree: Path, seconds: int) -> Samples:
    """Processor time of a request after so many others / a fresh server's.

    Both servers run, and take turns of a second: processors whose speed drifts in longer times slow down both.
    """
    with Server(ours, tree) as aged, Server(ours, tree, PORT + 1) as fresh:
        answered = failed = 0
        while answered < STEADY_REQUESTS:
            found = load("/invocations", 16, seconds, inputs.request(1))
            answered, failed = answered + found.answered, failed + found.failed
        load("/invocations", 16, 1, inputs.request(1), fresh.port)
        costs = [(cost(aged), cost(fresh)) for _ in range(STEADY_TURNS)]
    middle = [median(side) * 1e6 for side in zip(*costs, strict=True)]
    notes = (
        f"{middle[1]:.0f} and {middle[0]:.0f} us of a processor",
        f"{failed} FAILED" if failed else "",
    )
    return [("steady", median(old / new for old, new in costs), notes)]


def cost(server: Server) -> float:
    """Processor seconds of a request."""
    before = machine.seconds_of(server.process.pid)
    found = load("/invocations", 1, 1, inputs.request(1), server.port)
    return (machine.seconds_of(server.process.pid) - before) / found.answered
