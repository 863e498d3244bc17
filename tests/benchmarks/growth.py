"""Our own rows without a server: how a batch job gains from a second worker, and how a training job grows with its data."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median

import inputs
from comparisons import Effort, Samples, each
from sides import Side
from table import Table

TRANSFORMED, HOURS = 10_000, 4_380
FEW, MANY = 2_000, 20_000
SMALLER = 7


def measure(ours: Side, wanted: set[str], table: Table, folder: Path, effort: Effort) -> None:
    if "transform" in wanted:
        tree = inputs.job(folder / "transform", inputs.NAIVE, train=(100, 240))
        ours.run("train", tree=tree)
        inputs.lines(tree / "lines" / "series.json", TRANSFORMED, HOURS)
        inputs.lines(tree / "line" / "series.json", 1, HOURS)
        each([ours], effort, table, lambda side: transform(side, tree))
    if wanted & {"linear_time", "linear_memory"}:
        jobs = {
            count: inputs.job(
                folder / f"linear-{count}", inputs.NAIVE, train=(count, 480), test=(count, 504)
            )
            for count in (1, FEW, MANY)
        }
        each(
            [ours],
            effort,
            table,
            lambda side: [one for one in linear(side, jobs) if one[0] in wanted],
        )


def transform(ours: Side, tree: Path) -> Samples:
    """The whole command. Its start is not shared out, so the note tells what the rest of it gains."""
    start = transformed(ours, tree, "line", 1, workers=1)
    one, two = (transformed(ours, tree, "lines", TRANSFORMED, workers) for workers in (1, 2))
    rest = (one - start) / (two - start)
    return [
        (
            "transform",
            one / two,
            (f"{one:.2f} s and {two:.2f} s; without {start:.2f} s to start {rest:.2f}x",),
        )
    ]


def transformed(ours: Side, tree: Path, folder: str, count: int, workers: int) -> float:
    """Seconds of the command for the lines in a folder."""
    output = tree / "forecasts"
    arguments = ("--input", str(tree / folder), "--output", str(output), "--workers", str(workers))
    taken = ours.run("transform", *arguments, tree=tree).wall
    written = sum(path.read_bytes().count(b"\n") for path in output.iterdir())
    if written < count - 1:  # the last line has no end
        raise SystemExit(f"transform wrote {written} lines for {count} series")
    shutil.rmtree(output)
    return taken


def linear(ours: Side, jobs: dict[int, Path]) -> Samples:
    """Processor time and peak memory of whole jobs, without what a job of one series takes.

    The smaller jobs take little more than their start, so what they take beyond it is the median of several.
    """
    many = ours.run("train", tree=jobs[MANY])
    smaller = [
        (ours.run("train", tree=jobs[1]), ours.run("train", tree=jobs[FEW])) for _ in range(SMALLER)
    ]
    grown = MANY / FEW
    time = median(few.cpu - one.cpu for one, few in smaller)
    most = many.cpu - median(one.cpu for one, _ in smaller)
    size = median(few.memory - one.memory for one, few in smaller)
    largest = many.memory - median(one.memory for one, _ in smaller)
    return [
        ("linear_time", most / (grown * time), (f"{time:.2f} s and {most:.2f} s",)),
        (
            "linear_memory",
            largest / (grown * size),
            (f"{size / 2**20:.0f} and {largest / 2**20:.0f} MiB",),
        ),
    ]
