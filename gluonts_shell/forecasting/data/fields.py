"""The two fields that every series has, `start` and `target`: what their values, as JSON has them, must be.

The usual case is checked in a few numpy calls; only what fails them is looked at value by value, to name the place.
"""

from __future__ import annotations

import functools
import math
import re
import reprlib
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from gluonts_shell.errors import private

NUMBERS = frozenset({float, int})
NUMBERS_AND_NULL = NUMBERS | {type(None)}
# what pandas' timestamps hold, which models make of periods; beyond, periods wrap around silently
YEARS = 1678, 2261
FLOAT32_MAX = float(np.finfo(np.float32).max)
# AWS, "DeepAR Input/Output Interface": 'YYYY-MM-DD HH:MM:SS', no time zone; clients also send dates and ISO's T
START = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?"
    r"( ?(?:Z|UTC|GMT|[+-]\d\d:?(?:\d\d)?))?",
    re.ASCII,
)
# how pandas writes a period of these kinds, and the part of it that pandas reads
PERIODS = {
    **dict.fromkeys(("Y", "YE", "A"), re.compile(r"(\d{4})", re.ASCII)),
    **dict.fromkeys(("Q", "QE"), re.compile(r"(\d{4}Q[1-4])", re.ASCII)),
    "W": re.compile(r"(\d{4}-\d\d-\d\d)/\d{4}-\d\d-\d\d", re.ASCII),
}
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 100


class FieldError(Exception):
    """What is wrong with a field, where it is one; the instance is named by whoever knows its index.

    Most reasons begin with the field, and where in it: `target[3] is ...`.
    """

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.field = field


def quoted(value: Any) -> str:
    """A value from a request, short enough for a sentence, and marked so that no log shows it."""
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return "null" if value is None else private(brief(value))


def brief(value: Any) -> str:
    return _repr.repr(value)


def start(instance: dict[str, Any], freq: str) -> pd.Period:
    if "start" not in instance:
        raise FieldError("start is missing, expected 'YYYY-MM-DD HH:MM:SS'", "start")
    text = instance["start"]
    if type(text) is not str or len(text) > 50:
        raise FieldError(f"start is {quoted(text)}, expected a text 'YYYY-MM-DD HH:MM:SS'", "start")
    return _period(text, freq)


@functools.lru_cache(maxsize=4096)
def _period(text: str, freq: str) -> pd.Period:
    match = START.fullmatch(text)
    if match is None:
        return _written_as_period(text, freq)
    if match[8]:
        reason = f"start is {quoted(text)}, which has a time zone; expected 'YYYY-MM-DD HH:MM:SS' without one"
        raise FieldError(reason, "start")
    year, month, day, hour, minute, second = (
        int(match[group] or default) for group, default in enumerate((0, 0, 1, 0, 0, 0), 1)
    )
    try:
        moment = datetime(
            year, month, day, hour, minute, second, int((match[7] or "").ljust(6, "0")[:6])
        )
        if not YEARS[0] <= year <= YEARS[1]:
            raise ValueError(f"its year is not from {YEARS[0]} to {YEARS[1]}")
        return pd.Period(moment, freq=_offset(freq))
    except (ValueError, OverflowError) as error:  # also pandas' OutOfBoundsDatetime
        raise FieldError(
            f"start is {quoted(text)}, which is no date and time: {error}", "start"
        ) from None


def _written_as_period(text: str, freq: str) -> pd.Period:
    """`2001`, `2001Q3`, `2001-01-01/2001-01-07`: what GluonTS's writers, which take str() of a Period, make of a start.

    Each only where the frequency is of that kind; anywhere else it would be a guess.
    """
    offset = _offset(freq)
    spelling = PERIODS.get(offset.name.partition("-")[0])
    match = spelling.fullmatch(text) if spelling else None
    if match is None or not YEARS[0] <= int(text[:4]) <= YEARS[1]:
        raise FieldError(f"start is {quoted(text)}, expected 'YYYY-MM-DD HH:MM:SS'", "start")
    try:
        period = pd.Period(match[1], freq=offset)
    except ValueError as error:
        raise FieldError(f"start is {quoted(text)}, which is no period: {error}", "start") from None
    if offset.n == 1 and str(period) != text:
        raise FieldError(
            f"start is {quoted(text)}, expected a period of {freq!r}, such as {str(period)!r}",
            "start",
        )
    return period


def moment(text: str, period: pd.Period, freq: str) -> str:
    """A later period of a series as ISO 8601 has it, at the moment in it at which the series' start is in its own.

    Whoever dates months by their last day, or hours by their half, has the later ones dated so. text: the start.
    """
    steps = period.ordinal - _period(text, freq).ordinal
    unit = _unit(freq)
    if unit is not None:
        try:
            return (datetime.fromisoformat(text) + steps * unit).isoformat()
        except (ValueError, OverflowError):  # a text that only pandas reads, or after the year 9999
            pass
    return _in_period(text, period, freq)


@functools.lru_cache(maxsize=4096)
def _in_period(text: str, period: pd.Period, freq: str) -> str:
    """Of periods that are not all of one length, which takes pandas long."""
    given = pd.Timestamp(text.partition("/")[0])  # of a week as pandas writes it, its first day
    own = _period(text, freq)
    try:
        begin, end = period.start_time, period.end_time
    except pd.errors.OutOfBoundsDatetime:  # later than the year 2261
        return str(period)
    found = begin + (given - own.start_time)
    on_last_day = given.normalize() == own.end_time.normalize() > own.start_time
    if on_last_day or found > end:
        found = end.normalize() + (given - given.normalize())
    return str(found.isoformat())


@functools.lru_cache(maxsize=64)
def _unit(freq: str) -> timedelta | None:
    """What a period's ordinal counts, where that lasts the same always."""
    offset = _offset(freq)
    if isinstance(offset, pd.offsets.Day):
        return timedelta(days=1)
    if isinstance(offset, pd.offsets.Week):
        return timedelta(weeks=1)
    if isinstance(offset, pd.offsets.Tick) and offset.nanos >= 1000 * offset.n:
        return timedelta(microseconds=offset.nanos // offset.n // 1000)
    return None


@functools.lru_cache(maxsize=64)
def _offset(freq: str) -> Any:
    """The offset of a period alias; taking it from a Period is the one way that all versions of pandas have."""
    return pd.Period("2020-01-01", freq=freq).freq


def target(instance: dict[str, Any], dimensions: int = 1) -> np.ndarray:
    """(length,) float32, or (dimensions, length) where they are several; 0 dimensions: as many as come."""
    target = instance.get("target")
    if type(target) is not list:
        found = "missing" if target is None else quoted(target)
        hint = " (empty where there is no history)" if target is None else ""
        raise FieldError(f"target is {found}, expected {_lists(dimensions)}{hint}", "target")
    if target and type(target[0]) is list:
        return _several(target, dimensions)
    if dimensions > 1:
        if not target:
            return np.zeros((dimensions, 0), dtype=np.float32)
        raise FieldError(f"target is one list of numbers, expected {_lists(dimensions)}", "target")
    return _values("target", target)


def _lists(dimensions: int) -> str:
    if dimensions < 2:
        return "a list of numbers"
    return f"a list of {dimensions} lists of numbers: the model forecasts {dimensions} dimensions"


def _several(target: list[Any], dimensions: int) -> np.ndarray:
    """A list for each dimension. One of one list is a target of one dimension, and the list around it is left off."""
    if dimensions and len(target) != dimensions:
        expected = (
            "one list of numbers: the model forecasts one dimension"
            if dimensions == 1
            else _lists(dimensions)
        )
        lists = "1 list" if len(target) == 1 else f"{len(target)} lists"
        raise FieldError(f"target is a list of {lists}, expected {expected}", "target")
    rows = []
    for position, row in enumerate(target):
        place = f"target[{position}]"
        if type(row) is not list:
            raise FieldError(
                f"{place} is {quoted(row)}, expected a list of numbers as target[0] is", "target"
            )
        if len(row) != len(target[0]):
            found = f"{place} has {len(row)} values, target[0] has {len(target[0])}"
            raise FieldError(f"{found}; expected as many in each dimension", "target")
        rows.append(_values(place, row))
    return rows[0] if len(rows) == 1 else np.stack(rows)


def _values(place: str, values: list[Any]) -> np.ndarray:
    array = float32(values, NUMBERS, NUMBERS_AND_NULL)
    if array is not None and _holds_no_infinity(array):
        return array
    checked = [_value(f"{place}[{index}]", value) for index, value in enumerate(values)]
    return np.array(checked, dtype=np.float32)


def _holds_no_infinity(array: np.ndarray) -> bool:
    """A finite sum of squares needs finite values, and is the quickest to get; others are looked at.

    By vdot, which warns of no overflow as dot does: to silence that costs three times what it takes.
    """
    return math.isfinite(np.vdot(array, array)) or not bool(np.isinf(array).any())


def float32(
    values: list[Any], packed: frozenset[type], converted: frozenset[type]
) -> np.ndarray | None:
    """None where a value's type is not among `converted`, or where float32 cannot hold it.

    packed: types for which it is quick; half the time of np.array, which looks at each value's type and shape again.
    """
    kinds = set(map(type, values))
    try:
        if kinds <= packed:
            return np.frombuffer(bytearray(_packer(len(values))(*values)), dtype=np.float32)
        if kinds <= converted:
            with np.errstate(over="ignore"):
                return np.array(values, dtype=np.float32)
    except (OverflowError, struct.error):  # also an integer that no float holds
        pass
    return None


@functools.lru_cache(maxsize=64)
def _packer(count: int) -> Callable[..., bytes]:
    return struct.Struct(f"{count}f").pack


def _value(place: str, value: Any) -> float:
    if value is None or (type(value) is str and value.lower() == "nan"):
        return math.nan
    if type(value) is list:
        raise FieldError(f"{place} is a list, expected a number as the values before it", "target")
    if type(value) not in NUMBERS:
        raise FieldError(f'{place} is {quoted(value)}, expected a number, null or "NaN"', "target")
    if abs(value) > FLOAT32_MAX:  # NaN is not
        reason = (
            f"{place} is {quoted(value)}, expected a finite number of at most {FLOAT32_MAX:.2g}"
        )
        raise FieldError(reason, "target")
    return float(value)
