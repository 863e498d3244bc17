"""A folder that gets all its new files in one go: they are written aside first. Standard library only.

Everything of a model (weights, contract, scores, code, canary) is put into a folder inside the
model's, and published at the end. A process may be killed at any moment of that; what is there then
is the old model whole, no model, or the new one whole, and the next run clears away what the killed
one left.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from gluonts_shell.written import RECORD, Written

NAME = ".gluonts_shell.unfinished"


def begin(folder: Path) -> Path:
    """Where the new files go until they are published; what is there already stays."""
    staged = folder / NAME
    staged.mkdir(parents=True, exist_ok=True)
    return staged


def clear(folder: Path) -> None:
    """Remove what was begun and not published, by this run or by one that was killed."""
    shutil.rmtree(folder / NAME, ignore_errors=True)
    # of a run that was killed while it wrote its record
    for unfinished in folder.glob(f".{RECORD}.*.partial"):
        unfinished.unlink(missing_ok=True)


def publish(folder: Path, heads: Sequence[str]) -> None:
    """Replace what this program wrote into the folder by what was staged.

    heads: the files without which the folder holds nothing. They go first and come last. What is
    not ours stays, under another name where it is in the way.
    """
    staged = folder / NAME
    (staged / RECORD).unlink(missing_ok=True)  # a record of the folder aside, which is gone soon
    new = Written(staged, {}).found(staged)
    old = Written.read(folder)
    ours = sorted(old.files, key=lambda name: name not in heads)
    for name in ours:
        old.remove(name)
    targets = sorted(staged.iterdir(), key=lambda path: path.name in heads)
    for path in reversed(targets):
        old.make_room(folder / path.name)
    old.record(new)  # before the files, so that those that a killed run moved are known to be ours
    for path in targets:
        path.replace(folder / path.name)
    clear(folder)
