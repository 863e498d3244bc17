"""What this program wrote into a folder, so that it deletes and overwrites nothing else. Standard library only.

The record lies in the folder itself: names below it, each with the SHA-256 of what was written. A
file is ours as long as it is recorded and unchanged; what somebody added, changed or put behind a
link is theirs.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gluonts_shell import atomic

log = logging.getLogger(__name__)

RECORD = ".gluonts_shell.written.json"
WRITER = "gluonts_shell"
CACHE = "__pycache__"  # Python's, which makes it anew whenever it is gone


@dataclass(frozen=True)
class Written:
    """files: path below the folder, with forward slashes -> SHA-256 of the content that this program gave it.

    marked: whether the folder has a record, which may tell of no file.
    """

    folder: Path
    files: Mapping[str, str]
    marked: bool = False

    @classmethod
    def read(cls, folder: Path) -> Written:
        """The folder's record; without one, or with one that this program did not write, nothing is ours."""
        try:
            value = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            if value["written_by"] != WRITER:
                return cls(folder, {})
            recorded = {str(name): str(digest) for name, digest in value["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(folder, {})
        files = {name: recorded[name] for name in filter(_is_below, recorded)}
        return cls(folder, files, marked=True)

    def foreign(self, path: Path) -> Path | None:
        """The first thing at or below `path` that is not ours; None where all is, or nothing is there.

        A link on the way from the folder to `path` is not ours either.
        """
        for parent in self._inside(path):
            if parent.is_symlink():
                return parent
        return next(itertools.filterfalse(self._ours, _below(path)), None)

    def _inside(self, path: Path) -> list[Path]:
        """The folders between this one and `path`."""
        return [parent for parent in path.parents if self.folder in parent.parents]

    def _ours(self, path: Path) -> bool:
        name = path.relative_to(self.folder).as_posix()
        if name == RECORD:
            return self.marked
        if any(map(Path.is_symlink, (path, *self._inside(path)))):
            return False
        return name in self.files and path.is_file() and self.files[name] == digest(path)

    def add(self, *paths: Path) -> Written:
        """Record these files, and those below these folders, as they are now; returns the new record."""
        return self.record({**self.files, **self.found(*paths)})

    def found(self, *paths: Path) -> dict[str, str]:
        """These files and those below these folders, as a record has them."""
        found = {}
        for file in itertools.chain.from_iterable(map(_below, paths)):
            if file.is_file():
                found[file.relative_to(self.folder).as_posix()] = digest(file)
        found.pop(RECORD, None)
        return found

    def record(self, files: Mapping[str, str]) -> Written:
        """Write down that these files are ours, and no others; returns that record."""
        record = {"written_by": WRITER, "files": dict(sorted(files.items()))}
        atomic.write(self.folder / RECORD, json.dumps(record, indent=2) + "\n")
        return Written(self.folder, files, marked=True)

    @classmethod
    def replace(cls, path: Path, content: bytes) -> None:
        """Write a file of ours, whole or not at all; what is at its place and is not ours keeps a name of its own."""
        written = cls.read(path.parent)
        written.make_room(path)
        atomic.write(path, content)
        written.add(path)

    def make_room(self, path: Path) -> None:
        """Nothing is at `path` afterwards that is a folder or not ours: what is not ours keeps a name of its own."""
        if not os.path.lexists(path):
            return
        if self.foreign(path) is not None or path.is_symlink():
            kept = _free(path)
            log.warning(
                "%s was not written by this program, or was changed since: it is kept as %s",
                path,
                kept.name,
            )
            path.rename(kept)
        elif path.is_dir():
            shutil.rmtree(path)

    def remove(self, name: str) -> None:
        """Delete a recorded file that is still ours, and the folders that it leaves empty."""
        path = self.folder / name
        if name not in self.files or not self._ours(path):
            return
        path.unlink()
        for parent in path.parents:
            if parent == self.folder or any(parent.iterdir()):
                return
            parent.rmdir()


def _is_below(name: str) -> bool:
    """A record may have come with somebody's archive: it speaks of nothing outside its folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            found.update(chunk)
    return found.hexdigest()


def _below(path: Path) -> Iterator[Path]:
    """The file or link itself, or what a folder holds at any depth but folders and caches; links are not followed."""
    if path.is_symlink() or path.is_file():
        yield path
        return
    if not path.is_dir():
        if path.exists():  # a socket, a device
            yield path
        return
    for child in sorted(path.iterdir()):
        if child.name != CACHE or child.is_symlink():
            yield from _below(child)


def _free(path: Path) -> Path:
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.kept-{number}")):
        number += 1
    return kept
