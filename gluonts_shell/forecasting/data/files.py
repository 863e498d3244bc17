"""A channel's folder -> its files -> raw rows. Knows names, suffixes and formats; does not look into a row.

DeepAR's rules, from "DeepAR input/output interface" in AWS's guide: every file below the folder is used except
hidden ones and _SUCCESS; the suffix tells the format, and where there is none the channel's ContentType does.
"""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import json
import logging
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote

from gluonts_shell.errors import DataError, some
from gluonts_shell.forecasting.data.tables import ARROW, PARQUET, table_rows

log = logging.getLogger(__name__)

JSON_LINES = "json lines"
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
    (
        ".csv",
        ".tsv",
        ".txt",
        ".md",
        ".yaml",
        ".yml",
        ".xml",
        ".html",
        ".py",
        ".pdf",
        ".png",
        ".zip",
        ".tar",
        ".tgz",
    )
) | frozenset((".bin", ".pkl", ".crc", ".log"))
# The same, but not even a channel's content type makes them data: nobody means a notebook by application/json.
STRANGERS = frozenset(
    (".ipynb", ".xlsx", ".xls", ".h5", ".npz", ".npy", ".pt", ".ini", ".cfg", ".toml", ".sql")
)
# the marker with which each message of Arrow's streaming format begins
ARROW_STREAM = b"\xff\xff\xff\xff"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what PowerShell writes
UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# UTF-16 without its mark is cut within its line ends; half of its ASCII is zeros, and no JSON in UTF-8 has one
ZEROS = "it has zero bytes, expected JSON in UTF-8, or UTF-16 that begins with its byte-order mark"
GZIP = b"\x1f\x8b"
# what text never begins with, whatever a file is called
ROWS = "write its rows as JSON Lines, or as parquet"
BINARY = {
    b"PAR1": "parquet; name it .parquet",
    b"ARROW1": "arrow; name it .arrow",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"BZh": "bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ": "xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "zstandard; unpack it, or pack it with gzip",
    b"\x04\x22\x4d\x18": "lz4; unpack it, or pack it with gzip",
    b"\xff\x06\x00\x00sNaPpY": "snappy; unpack it, or pack it with gzip",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!": "a rar archive; unpack it",
    ARROW_STREAM: "an arrow stream; name it .arrow",
    b"ORC": f"ORC; {ROWS}",
    b"Obj\x01": f"avro; {ROWS}",
    b"\x0a\x23\xd7\xce": f"RecordIO, as of recordio-protobuf; {ROWS}",
    b"\x93NUMPY": f"an array of numpy; {ROWS}",
    b"\x89HDF": f"HDF5; {ROWS}",
    b"SQLite": f"a database of SQLite; {ROWS}",
    b"\x80\x02": f"a pickle; {ROWS}",
    b"\x80\x03": f"a pickle; {ROWS}",
    b"\x80\x04": f"a pickle; {ROWS}",
    b"\x80\x05": f"a pickle; {ROWS}",
    b"%PDF": f"PDF; {ROWS}",
    b"<": f"XML or HTML; {ROWS}",
    GZIP: "gzip in gzip; unpack it once",
}
TAR = b"\x00ustar"  # from byte 256 on: what comes before is filled with zeros (POSIX.1-1988)
# what files begin with whose names and content type do not tell what they are
BEGINNINGS: dict[tuple[bytes, ...], str] = {
    (b"PAR1",): PARQUET,
    (b"ARROW1", ARROW_STREAM): ARROW,
    (GZIP, *UTF_16, *UTF_32): JSON_LINES,
}
# an object that opens on a line of its own is one JSON document, as a notebook is, and no JSON Lines
OPENED = re.compile(rb"\{(?![ \r]*\n)")


def data_files(path: Path, content_type: str | None = None) -> list[tuple[Path, str]]:
    """The data files at or below `path` with their formats, in a fixed order. Raises DataError where there are none."""
    if path.is_file():
        return [(path, _format(path, content_type) or JSON_LINES)]
    found, others = [], []
    for file in itertools.filterfalse(_is_empty, _below(path)):
        kind = _format(file, content_type)
        if kind is None:
            others.append(file.name)
        else:
            found.append((file, kind))
    if not found:
        raise DataError(_nothing_to_read(path, others))
    if others:
        log.warning("channel %r: %d files are no JSON Lines, parquet or arrow and are not read: %s",
                    path.name, len(others), ", ".join(others[:5]))  # fmt: skip
    return found


def rows(file: Path, kind: str) -> Iterator[tuple[int, Any]]:
    """(line or row number from 1, the raw row); blank lines are skipped. Raises DataError naming file and line."""
    return _json_rows(file) if kind == JSON_LINES else table_rows(file, kind, short(file))


def partition(file: Path, root: Path) -> dict[str, Any]:
    """The fields that a file's folders stand for, as Hive and Spark write them: `cat=0/item_id=a/part.parquet`.

    A whole number is one, but an item_id is text; __HIVE_DEFAULT_PARTITION__ is null, and left out.
    """
    if file == root:
        return {}
    fields: dict[str, Any] = {}
    for folder in file.relative_to(root).parts[:-1]:
        name, equals, value = folder.partition("=")
        if name and equals and value != "__HIVE_DEFAULT_PARTITION__":
            fields[unquote(name)] = _number(name, unquote(value))
    return fields


def _number(name: str, text: str) -> int | str:
    if name in ("item_id", "start") or not re.fullmatch(r"-?[0-9]{1,15}", text):
        return text
    return int(text)


def _below(path: Path) -> Iterator[Path]:
    """Every file, links to folders followed, but for hidden ones and markers."""
    seen = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(filter(_is_data, folders))
        for name in sorted(filter(_is_data, names)):
            yield Path(folder, name)


def _nothing_to_read(path: Path, others: list[str]) -> str:
    expected = ".json, .jsonl (or .gz of them), .parquet or .arrow file"
    if others:
        found = f"channel {path.name!r} holds only {some(others)}, which is not read"
        return f"{found}; expected a {expected}"
    return (
        f"channel {path.name!r} holds no data: no {expected} in {str(path)!r}, or only empty ones"
    )


def _is_data(name: str) -> bool:
    """Of a file's or a folder's name: neither hidden nor a marker."""
    return not name.startswith((".", *MARKERS))


def _is_empty(file: Path) -> bool:
    return file.is_file() and file.stat().st_size == 0


def _format(file: Path, content_type: str | None) -> str | None:
    """By suffix, else by the declared content type, else by the first bytes; None for what is no data."""
    if not file.is_file():  # a pipe, or a link that leads nowhere
        return None
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    declared = (content_type or "").lower()
    if "parquet" in declared:
        return PARQUET
    if "json" in declared and suffix not in STRANGERS:
        return JSON_LINES
    if suffix in FOREIGN | STRANGERS:
        return None
    with open(file, "rb") as stream:  # noqa: PTH123
        return _sniffed(stream.read(64))


def _sniffed(head: bytes) -> str | None:
    for beginnings, kind in BEGINNINGS.items():
        if head.startswith(beginnings):
            return kind
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return JSON_LINES if OPENED.match(text) else None


def _json_rows(file: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        with _opened(file) as stream:
            head = _peeked(stream)
            _check_text(file, head)
            for number, line in enumerate(_utf8_lines(stream, head), 1):
                text = line.strip()
                if text:
                    yield number, json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{short(file)} line {number}: {_not_json(error)}") from None
    except RecursionError:
        fault = "its lists and objects are nested too deeply"
        raise DataError(f"{short(file)} line {number}: {fault}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{short(file)} line {number}: {_not_utf8(error)}") from None
    except ValueError as error:
        raise DataError(
            f"{short(file)} line {number}: this is not JSON in UTF-8: {error}"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{short(file)} cannot be read after line {number}: {error}") from None


def _check_text(file: Path, head: bytes) -> None:
    for beginning, found in BINARY.items():
        if head.startswith(beginning):
            raise DataError(f"{short(file)}: expected JSON Lines, but the file is {found}")
    if head[256:262] == TAR:
        raise DataError(
            f"{short(file)}: expected JSON Lines, but the file is a tar archive; unpack it"
        )


def _not_json(error: json.JSONDecodeError) -> str:
    if "\x00" in error.doc:
        return ZEROS
    return f"this is not JSON: {error.msg} at column {error.colno}; expected one object a line"


def _not_utf8(error: UnicodeDecodeError) -> str:
    return ZEROS if b"\x00" in error.object else f"this is not JSON in UTF-8: {error}"


def _opened(file: Path) -> IO[bytes]:
    """gzip by what the file is, not by what it is called."""
    stream = cast(IO[bytes], open(file, "rb"))  # noqa: PTH123, SIM115
    if _peeked(stream).startswith(GZIP):
        return cast(IO[bytes], gzip.open(stream, "rb"))
    return stream


def _utf8_lines(stream: IO[bytes], head: bytes) -> Iterator[bytes]:
    """UTF-16 and UTF-32 by their marks; lines end where JSON Lines say, not at Unicode's other separators."""
    if head.startswith((*UTF_32, *UTF_16)):
        # the mark of UTF-32 begins as that of UTF-16 does
        encoding = "utf-32" if head.startswith(UTF_32) else "utf-16"
        text = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
        return map(str.encode, text)
    if head.startswith(codecs.BOM_UTF8):
        stream.seek(len(codecs.BOM_UTF8))
    return iter(stream)


def _peeked(stream: IO[bytes]) -> bytes:
    head = cast(io.BufferedReader, stream).read1(512)
    stream.seek(0)
    return head


def short(file: Path) -> str:
    """The path from its channel's folder on: `train/part-0003.jsonl`."""
    *folders, name = file.parts
    inner = folders[folders.index("data") + 1 :] if "data" in folders else folders[-1:]
    return "/".join([*inner, name])
