"""A torch DeepAR forecasts and is evaluated: by this package, and by GluonTS itself with all threads in one process.

Both load the same model from the same folder, and read the same series.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import inputs
from comparisons import Effort, Samples, each, trained
from sides import Side
from table import Table

SERIES, TESTED, HOURS = 10_000, 2_000, 240
SCRIPT = str(Path(__file__).with_name("gluonts_alone.py"))


def measure(ours: Side, wanted: set[str], table: Table, folder: Path, effort: Effort) -> None:
    if not wanted & {"transform_deepar", "evaluate_deepar"}:
        return
    tree = trained(ours, "deepar", folder / "forecasts")
    inputs.lines(tree / "lines" / "series.json", SERIES, HOURS)
    inputs.lines(tree / "tested" / "series.json", TESTED, HOURS)
    sides = [Side("peer", ours.python, ""), ours]
    for row, take in (("transform_deepar", transformed), ("evaluate_deepar", evaluated)):
        if row in wanted:
            each(sides, effort, table, partial(take, tree=tree))


def transformed(side: Side, tree: Path) -> Samples:
    """Series a second of the whole command, its start included on both sides."""
    output = tree / "forecasts"
    lines = str(tree / "lines")
    if side.module:
        arguments = ("transform", "--input", lines, "--output", str(output), "--workers", "2")
    else:
        arguments = (SCRIPT, "predict", str(tree))
    taken = side.run(*arguments, tree=tree).wall
    shutil.rmtree(output, ignore_errors=True)
    return [("transform_deepar", SERIES / taken, (f"{side.name} {taken:.1f} s",))]


def evaluated(side: Side, tree: Path) -> Samples:
    """Seconds of the evaluation alone, which both scripts print: a job has its model and its series then."""
    by = "evaluate" if not side.module else "evaluate_ours"
    Side(side.name, side.python, "").run(SCRIPT, by, str(tree), tree=tree)
    seconds = float((tree / "output.log").read_text().split()[-1])
    return [("evaluate_deepar", seconds, ())]
