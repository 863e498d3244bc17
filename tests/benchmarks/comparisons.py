"""The rows that are pairs: the peer and we do the same, in turn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import inputs
import machine
from load import load
from sides import Server, Side
from table import Table

ATTEMPTS = 2
SERVED = {  # row -> connections, instances a request
    "naive": {"naive_c1": (1, 1), "naive_c16": (16, 1), "naive_50": (4, 50)},
    "deepar": {"deepar_c1": (1, 1), "deepar_c32": (32, 1)},
    **{name: {f"{name}_c16": (16, 1)} for name in inputs.NETWORKS},
}
HYPERPARAMETERS = {"naive": inputs.NAIVE, "deepar": inputs.DEEPAR, **inputs.NETWORKS}
# with orjson on our side, from an interpreter of its own
FAST = {"fast_c1": "naive_c1", "fast_c16": "naive_c16", "fast_50": "naive_50"}
COLD = {  # row -> whether with the canary
    "naive": {"cold_start": "false", "cold_canary": "true"},
    "deepar": {"cold_deepar": "true"},
}
REQUESTS = 10_000
# starts for one sample: the first after a pause pays for caches that others took meanwhile, and tells of them
IN_A_ROW = 5


@dataclass(frozen=True)
class Effort:
    """pairs: samples of each side. seconds: of load for one. patience: seconds to wait for others to be quiet."""

    pairs: int
    seconds: int
    patience: float


Samples = list[tuple[str, float, tuple[str, ...]]]


def measure(
    sides: list[Side], wanted: set[str], table: Table, folder: Path, effort: Effort
) -> None:
    for model, rows in SERVED.items():
        own = set(COLD.get(model, ()))
        if model == "naive":
            own.add("ping_loaded")
        if wanted & {*rows, *own}:
            trees = {side: trained(side, model, folder / f"{model}-{side.name}") for side in sides}
            take = partial(served, trees=trees, model=model, wanted=wanted, seconds=effort.seconds)
            each(sides, effort, table, take)
        if model == "deepar" and "memory" in wanted:
            trees = {side: trained(side, model, folder / f"memory-{side.name}") for side in sides}
            take = partial(memory, trees=trees, seconds=effort.seconds)
            each(sides, replace(effort, pairs=1), table, take)
    if "help" in wanted:
        each(
            sides,
            effort,
            table,
            lambda side: [("help", in_a_row(lambda: side.run("--help").wall), ())],
        )
    if "train_eval" in wanted:
        trees = {
            side: inputs.job(
                folder / f"test-{side.name}", inputs.NAIVE, train=(2000, 480), test=(2000, 504)
            )
            for side in sides
        }
        each(
            sides,
            effort,
            table,
            lambda side: [("train_eval", side.run("train", tree=trees[side]).wall, ())],
        )


def fast(
    peers: list[Side], ours: Side, wanted: set[str], table: Table, folder: Path, effort: Effort
) -> None:
    """The rows of seasonal naive with an interpreter of ours that has orjson."""
    rows = {plain: row for row, plain in FAST.items() if row in wanted}
    if not rows:
        return
    sides = [*peers, ours]
    trees = {side: trained(side, "naive", folder / f"fast-{side.name}") for side in sides}

    def take(side: Side) -> Samples:
        samples = served(side, trees, "naive", set(rows), effort.seconds)
        return [(rows[row], value, notes) for row, value, notes in samples]

    each(sides, effort, table, take)


def in_a_row(take: Callable[[], float]) -> float:
    """The median of several starts."""
    return median([take() for _ in range(IN_A_ROW)])


def started(side: Side, tree: Path, canary: str) -> float:
    with Server(side, tree, GLUONTS_SHELL_CANARY=canary) as server:
        return server.cold_start


def memory(side: Side, trees: dict[Side, Path], seconds: int) -> Samples:
    """MiB of all processes of a server of two workers, where a page that N of them share counts once.

    The peer's server is one process, so that two of it serve as much.
    """
    with Server(side, trees[side], MODEL_SERVER_WORKERS="2") as server:
        answered = failed = 0
        while answered < REQUESTS:
            found = load("/invocations", 32, max(seconds, 30), inputs.request(1))
            answered, failed = answered + found.answered, failed + found.failed
        size = machine.pss(server.process.pid) / 2**20 * (2 if side.name == "peer" else 1)
    return [("memory", size, (f"{failed} FAILED",) if failed else ())]


def trained(side: Side, model: str, tree: Path) -> Path:
    inputs.job(tree, HYPERPARAMETERS[model], train=(100, 240))
    side.run("train", tree=tree)
    return tree


def each(sides: list[Side], effort: Effort, table: Table, take: Callable[[Side], Samples]) -> None:
    for _ in range(effort.pairs):
        for side in sides:
            samples, share = undisturbed(partial(take, side), effort.patience)
            for row, value, notes in samples:
                print(f"{row} {side.name} {value:.4g} {' '.join(notes)}", file=sys.stderr)
                table.add(row, side.name, value, *notes, others=share)


def undisturbed(take: Callable[[], Samples], patience: float) -> tuple[Samples, float]:
    """The samples of the attempt with the least work of others beside it, and the share of the machine they took."""
    best: tuple[Samples, float] = ([], 2.0)
    for _ in range(ATTEMPTS):
        machine.quiet(patience)
        with machine.Watch() as watch:
            samples = take()
        if watch.share < best[1]:
            best = samples, watch.share
        if not watch.disturbed or not patience:
            break
    return best


def served(
    side: Side, trees: dict[Side, Path], model: str, wanted: set[str], seconds: int
) -> Samples:
    samples: Samples = []
    for row, canary in COLD.get(model, {}).items():
        if row in wanted:
            samples.append((row, in_a_row(partial(started, side, trees[side], canary)), ()))
    with Server(side, trees[side]) as server:
        for row, (connections, instances) in SERVED[model].items():
            if row in wanted:
                found = load("/invocations", connections, seconds, inputs.request(instances))
                samples.append((row, found.rate, found.notes))
        if model == "naive" and "ping_loaded" in wanted:
            samples.append(ping(server, seconds))
    return [sample for sample in samples if sample[0] in wanted]


def ping(server: Server, seconds: int) -> tuple[str, float, tuple[str, ...]]:
    arguments = ("/invocations", 8, seconds + 2, inputs.request(50))
    beside = threading.Thread(target=load, args=arguments)
    beside.start()
    try:
        threading.Event().wait(1)
        found = load("/ping", 1, seconds)
    finally:
        beside.join()
    return "ping_loaded", found.p99, (f"{found.failed} FAILED",) if found.failed else ()
