"""A channel's folder -> its files -> raw rows. Knows names, suffixes and formats; does not look into a row.

DeepAR's rules, from "DeepAR input/output interface" in AWS's guide: every file below the folder is used except
hidden ones and _SUCCESS; the suffix tells the format, and where there is none the channel's ContentType does.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

from gluonts_shell.errors import DataError

log = logging.getLogger(__name__)

JSON_LINES, PARQUET, ARROW = "json lines", "parquet", "arrow"
SUFFIXES = {
    ".json": JSON_LINES,
    ".jsonl": JSON_LINES,
    ".jsonlines": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".parquet": PARQUET,
    ".arrow": ARROW,
    ".feather": ARROW,
}
# Spark and Databricks leave these beside the data.
MARKERS = ("_SUCCESS", "_committed", "_started", "_metadata", "_common_metadata", "_temporary")
# Suffixes that say for certain: this is something else.
FOREIGN = frozenset(
    (".csv", ".tsv", ".txt", ".md", ".yaml", ".yml", ".xml", ".html", ".py", ".pdf", ".png", ".zip", ".tar", ".tgz")
) | frozenset((".bin", ".pkl", ".crc", ".log"))


def data_files(path: Path, content_type: str | None = None) -> list[tuple[Path, str]]:
    """The data files at or below `path` with their formats, in a fixed order. Raises DataError where there are none."""
    if path.is_file():
        return [(path, _format(path, content_type) or JSON_LINES)]
    found, others, seen = [], [], set()
    for folder, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _skipped(name))
        for name in sorted(name for name in names if not _skipped(name)):
            file = Path(folder, name)
            if file.is_file() and file.stat().st_size == 0:
                continue
            kind = _format(file, content_type) if file.is_file() else None  # a pipe, or a link that leads nowhere
            found.append((file, kind)) if kind else others.append(name)
    if others:
        log.warning("channel %r: %d files are no JSON Lines, parquet or arrow and are not read: %s",
                    path.name, len(others), ", ".join(others[:5]))  # fmt: skip
    if not found:
        raise DataError(
            f"channel {path.name!r} holds no data: "
            f"no .json, .jsonl (or .gz of them), .parquet or .arrow file in {str(path)!r}, or only empty ones"
        )
    return found


def rows(file: Path, kind: str) -> Iterator[tuple[int, Any]]:
    """(line or row number from 1, the raw row); blank lines are skipped. Raises DataError naming file and line."""
    return _json_rows(file) if kind == JSON_LINES else _arrow_rows(file, kind)


def _skipped(name: str) -> bool:
    return name.startswith(".") or name.startswith(MARKERS)


def _format(file: Path, content_type: str | None) -> str | None:
    """By suffix, else by the declared content type, else by the first bytes."""
    suffix = file.suffix.lower()
    if suffix == ".gz":
        suffix = Path(file.stem).suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    declared = (content_type or "").lower()
    if "parquet" in declared:
        return PARQUET
    if "json" in declared:
        return JSON_LINES
    if suffix in FOREIGN:
        return None
    with open(file, "rb") as stream:  # noqa: PTH123
        head = stream.read(6)
    if head.startswith(b"PAR1"):
        return PARQUET
    if head.startswith(b"ARROW1"):
        return ARROW
    return JSON_LINES if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") or head.startswith(b"\x1f\x8b") else None


def _json_rows(file: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        with _opened(file) as stream:
            for number, line in enumerate(stream, 1):
                text = (line if number > 1 else line.removeprefix(b"\xef\xbb\xbf")).strip()
                if text:
                    yield number, json.loads(text)
    except json.JSONDecodeError as error:
        fault = f"this is not JSON: {error.msg} at column {error.colno}; expected one object a line"
        raise DataError(f"{short(file)} line {number}: {fault}") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"{short(file)} line {number}: this is not JSON in UTF-8: {error}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{short(file)} cannot be read after line {number}: {error}") from None


def _opened(file: Path) -> IO[bytes]:
    """gzip by what the file is, not by what it is called."""
    with open(file, "rb") as stream:  # noqa: PTH123
        packed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(file, "rb") if packed else open(file, "rb")  # type: ignore[return-value]  # noqa: PTH123


def _arrow_rows(file: Path, kind: str) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError:
        raise DataError(f"{short(file)} is {kind}, which needs pyarrow: install gluonts-shell[arrow]") from None
    number = 0
    try:
        if kind == PARQUET:
            batches = parquet.ParquetFile(file).iter_batches(batch_size=256)
        else:
            source = pyarrow.memory_map(str(file))
            try:
                reader = ipc.open_file(source)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            except pyarrow.ArrowInvalid:
                source.seek(0)
                batches = iter(ipc.open_stream(source))
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield number, {name: _plain(value) for name, value in row.items() if value is not None}
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{short(file)} cannot be read as {kind} after row {number}: {error}") from None


def _plain(value: Any) -> Any:
    """Parquet has moments in time where JSON has text."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date) else value


def short(file: Path) -> str:
    """The path from its channel's folder on: `train/part-0003.jsonl`."""
    parts = file.parts
    return "/".join(parts[parts.index("data") + 1 :]) if "data" in parts[:-1] else "/".join(parts[-2:])
