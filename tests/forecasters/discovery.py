"""Which forecasters the installed GluonTS defines, read from its source: a missing extra hides none of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import gluonts

ROOT = Path(gluonts.__file__).parent
ROOTS = {"Estimator", "Predictor"}
# mxnet is no more, and what lies in the nursery and among the test tools is no part of the library
ELSEWHERE = ("mx", "nursery", "testutil", "shell")


def forecasters() -> set[str]:
    """Module and name of each class that descends from Estimator or Predictor, the two themselves included."""
    bases = dict(_classes())
    found = set(ROOTS)
    while True:
        more = {path.rpartition(".")[2] for path, parents in bases.items() if parents & found}
        if more <= found:
            return {
                path
                for path, parents in bases.items()
                if parents & found or path.rpartition(".")[2] in ROOTS
            }
        found |= more


def _classes() -> Iterator[tuple[str, set[str]]]:
    for file in sorted(ROOT.rglob("*.py")):
        place = file.relative_to(ROOT).with_suffix("").parts
        if place[0] in ELSEWHERE:
            continue
        module = ".".join(("gluonts", *place)).removesuffix(".__init__")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield (
                    f"{module}.{node.name}",
                    {ast.unparse(base).rpartition(".")[2] for base in node.bases},
                )
