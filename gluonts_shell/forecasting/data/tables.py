"""Parquet and Arrow files -> rows as JSON would have them. pyarrow is an extra, imported when such a file is there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from gluonts_shell.errors import DataError

PARQUET, ARROW = "parquet", "arrow"
# GluonTS's writers flatten an array of two dimensions and put its shape into a column of this name behind its own.
SHAPE = "._np_shape"


def table_rows(file: Path, kind: str, called: str) -> Iterator[tuple[int, Any]]:
    """(row number from 1, the row). Raises DataError, which calls the file `called`."""
    try:
        import pyarrow
    except ImportError:
        raise DataError(
            f"{called} is {kind}, which needs pyarrow: install gluonts-shell[arrow]"
        ) from None
    number = 0
    try:
        for batch in BATCHES[kind](file):
            for row in batch.to_pylist():
                number += 1
                yield number, plain_row(row)
    except (pyarrow.ArrowException, OSError, ShapeError) as error:
        raise DataError(f"{called} cannot be read as {kind} after row {number}: {error}") from None


class ShapeError(Exception):
    """An array that is not as long as its shape says."""


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """What JSON would have: no nulls, moments and decimals as JSON writes them, arrays as lists of lists."""
    plain = {}
    for name, value in row.items():
        if value is not None:
            plain[name] = _plain(value)
    for column in [name.removesuffix(SHAPE) for name in plain if name.endswith(SHAPE)]:
        if column in plain:
            plain[column] = _reshaped(column, plain[column], plain.pop(column + SHAPE))
    return plain


def _parquet_batches(file: Path) -> Iterator[Any]:
    from pyarrow import parquet

    yield from parquet.ParquetFile(file).iter_batches(batch_size=256)


def _arrow_batches(file: Path) -> Iterator[Any]:
    """Of Arrow's file format, which Feather is too, or of its stream."""
    import pyarrow
    from pyarrow import ipc

    source = pyarrow.memory_map(str(file))
    try:
        reader = ipc.open_file(source)
    except pyarrow.ArrowInvalid:
        source.seek(0)
        yield from ipc.open_stream(source)
        return
    for position in range(reader.num_record_batches):
        yield reader.get_batch(position)


BATCHES = {PARQUET: _parquet_batches, ARROW: _arrow_batches}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    # a column has one type, so that its first value tells whether there is anything to do
    if isinstance(value, list) and any(isinstance(item, Decimal | list) for item in value):
        return [_plain(item) for item in value]
    return value


def _reshaped(column: str, values: list[Any], shape: list[int]) -> list[Any]:
    """Rows of the last dimension; GluonTS's data has two at most."""
    rows, length = (*shape, 1)[0], shape[-1]
    if len(shape) != 2 or rows * length != len(values):
        raise ShapeError(
            f"{column} has {len(values)} values, expected those of an array of shape {shape}"
        )
    return [values[row * length : (row + 1) * length] for row in range(rows)]
