"""Requirement files as lines. It knows the format, not what a requirement means; pip has the last word.

A file is read as pip reads it: continuation lines are joined, comments dropped, `-r` followed. What it names by a path
within the code channel is left out, because everything in the channel is installed anyway, from a copy.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

INCLUDE = re.compile(r"(?:-r|--requirement)[\s=]*(\S.*)")
CONSTRAINT = re.compile(r"(?:-c|--constraint)[\s=]*(\S.*)")
FIND_LINKS = re.compile(r"(?:-f|--find-links)[\s=]*(\S.*)")
EDITABLE = re.compile(r"(?:-e|--editable)[\s=]*")


def read(path: Path) -> list[str]:
    """The lines of a requirements file and of all that it includes; relative paths are made absolute."""
    return list(_read(path, set()))


def included(path: Path) -> list[str]:
    """What the file itself names with -r or -c, as it is written there."""
    found = [INCLUDE.match(line) or CONSTRAINT.match(line) for line in _lines(path)]
    return [match[1].strip() for match in found if match]


def is_option(line: str) -> bool:
    """Whether the line says where and how to look, as `--index-url` does, and not what to install."""
    return line.startswith("-") and not CONSTRAINT.match(line) and not EDITABLE.match(line)


def _lines(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        plain = re.sub(r"(^|\s)#.*", "", line).strip()
        if plain:
            yield plain


def _read(path: Path, seen: set[Path]) -> Iterator[str]:
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    for line in _lines(path):
        include, constraint, links = INCLUDE.match(line), CONSTRAINT.match(line), FIND_LINKS.match(line)
        if include and "://" not in line:
            yield from _read(path.parent / include[1].strip(), seen)
        elif constraint and "://" not in line:
            yield f"-c {path.parent / constraint[1].strip()}"
        elif links and "://" not in line:
            yield f"--find-links {path.parent / links[1].strip()}"
        elif _is_local(line, path.parent):
            log.info("%r in %s is left to the treatment of the code channel itself", line, path.name)
        else:
            yield line


def _is_local(line: str, folder: Path) -> bool:
    name = EDITABLE.sub("", line, count=1).split("[")[0].strip()
    looks_like_path = name.startswith(".") or "/" in name or name.endswith(".whl")
    return looks_like_path and "://" not in name and " @ " not in name and (folder / name).exists()
