"""Files of JSON Lines in, files of answers out: which there are, and how they are read in pieces.

It knows names and chunks; it does not know what a line holds. Memory does not grow with a file's size.

Source of the rules for names: AWS, "Use Batch Transform" (`<input>.out`); "Input/Output Interface for the DeepAR
Algorithm" (files that begin with a dot and `_SUCCESS` are ignored, so that Spark's folders can be used).
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

from gluonts_shell.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1024 * 1024
SHARES = 8
"""About so many chunks of a file for each worker, if it has the lines: the workers end at about the same time."""
SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
READ_ERRORS = (OSError, EOFError, zlib.error)
"""What a file raises that cannot be read, or is no whole gzip file."""


@dataclass(frozen=True)
class File:
    """One input and its output; `name` is the path below the input folder, size is in bytes."""

    name: str
    source: Path
    target: Path
    size: int

    @classmethod
    def of(cls, name: str, source: Path, output: Path) -> File:
        # a link that leads nowhere fails when it is read
        size = source.stat().st_size if source.exists() else 0
        return cls(name, source, output / f"{name}.out", size)


def find(source: Path, output: Path) -> list[File]:
    """The input file, or all files below the input folder, by name. Raises DataError where there is none."""
    if source.is_file():
        return [File.of(source.name, source, output)]
    called = f"--input {str(source)!r}"
    expected = "a file of JSON Lines or a folder of such"
    DataError.expect(source.is_dir(), f"{called} does not exist", expected)
    found = {path.relative_to(source).as_posix(): path for path in _below(source, output)}
    DataError.expect(found, f"{called} has no files", "files of JSON Lines")
    return [File.of(name, found[name], output) for name in sorted(found)]


def _below(source: Path, output: Path) -> Iterator[Path]:
    """The files that hold lines; an output folder inside the input folder holds what an earlier run wrote."""
    for folder, folders, names in os.walk(source):
        folders[:] = filter(_is_ours, folders)
        for name in filter(_is_ours, names):
            path = Path(folder, name)
            if _is_input(path) and not _is_output(path, output):
                yield path


def _is_ours(name: str) -> bool:
    return not name.startswith(".") and name != "_SUCCESS"


def _is_input(path: Path) -> bool:
    return path.is_file() or path.is_symlink()


def _is_output(path: Path, output: Path) -> bool:
    return path.suffix == ".out" and path.absolute().is_relative_to(output.absolute())


def shard(files: list[File], text: str) -> list[File]:
    """Every N-th file beginning with the I-th, for I/N. Raises DataError."""
    index = count = 0
    found = SHARD.fullmatch(text)
    if found is not None:
        index, count = map(int, found.groups())
    expected = "I/N with I from 1 to N, such as 2/8"
    DataError.expect(1 <= index <= count, f"--shard is {text!r}", expected)
    return files[index - 1 :: count]


@dataclass(frozen=True)
class Chunk:
    """Some whole lines of a file. consumed: bytes of the file, as it is on disk, up to their end."""

    body: bytes
    first_line: int
    consumed: int


def fair(file: File, workers: int) -> int:
    """Bytes of a chunk that let every worker have its share of the file."""
    return max(1, min(CHUNK_BYTES, file.size // (SHARES * workers)))


def chunks(source: Path, lines: int, size: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """The file in pieces that end with the line that fills so many bytes, and have at most so many lines.

    What is packed with gzip is unpacked. Raises one of READ_ERRORS.
    """
    with source.open("rb") as raw, _unpacked(raw) as file:
        first, filled = 1, 0
        body: list[bytes] = []
        for number, line in enumerate(file, start=1):
            body.append(line)
            filled += len(line)
            if len(body) >= lines or filled >= size:
                yield Chunk(b"".join(body), first, raw.tell())
                first, filled, body = number + 1, 0, []
        if body:
            yield Chunk(b"".join(body), first, raw.tell())


@contextlib.contextmanager
def _unpacked(raw: BufferedReader) -> Iterator[IO[bytes]]:
    """By its first bytes, whatever its name; an empty file is neither."""
    if raw.peek(2)[:2] != GZIP_MAGIC:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw) as file:
        if file.peek(2)[:2] == GZIP_MAGIC:
            raise OSError("it is packed with gzip twice, expected once")
        yield file  # type: ignore[misc]
