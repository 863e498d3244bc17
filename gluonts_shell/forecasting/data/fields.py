"""The fields of an instance: what one value, as JSON has it, must be. Knows dates, numbers and features, one at a time.

The usual case is checked in a few numpy calls; only what fails them is looked at value by value, to name the place.
"""

from __future__ import annotations

import functools
import math
import re
import reprlib
import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from gluonts_shell.forecasting.contract import Features

NUMBERS = frozenset({float, int})
NUMBERS_AND_NULL = NUMBERS | {type(None)}
YEARS = (1678, 2261)  # what pandas' timestamps hold, which models make of periods; beyond, periods wrap around silently
FLOAT32_MAX = float(np.finfo(np.float32).max)
# AWS, "DeepAR Input/Output Interface": 'YYYY-MM-DD HH:MM:SS', no time zone; clients also send dates and ISO's T
START = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?"
    r"( ?(?:Z|UTC|GMT|[+-]\d\d:?(?:\d\d)?))?",
    re.ASCII,
)
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 100


class FieldError(Exception):
    """What is wrong with a field; the instance is named by whoever knows its index."""


def quoted(value: Any) -> str:
    """A value from a request, short enough for a sentence."""
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return "null" if value is None else _repr.repr(value)


def start(instance: dict[str, Any], freq: str) -> pd.Period:
    if "start" not in instance:
        raise FieldError("start is missing, expected 'YYYY-MM-DD HH:MM:SS'")
    text = instance["start"]
    if type(text) is not str or len(text) > 50:
        raise FieldError(f"start is {quoted(text)}, expected a text 'YYYY-MM-DD HH:MM:SS'")
    return _period(text, freq)


@functools.lru_cache(maxsize=4096)
def _period(text: str, freq: str) -> pd.Period:
    match = START.fullmatch(text)
    if match is None:
        raise FieldError(f"start is {text!r}, expected 'YYYY-MM-DD HH:MM:SS'")
    if match[8]:
        raise FieldError(f"start is {text!r}, which has a time zone; expected 'YYYY-MM-DD HH:MM:SS' without one")
    year, month, day, hour, minute, second = (
        int(match[group] or default) for group, default in enumerate((0, 0, 1, 0, 0, 0), 1)
    )
    try:
        moment = datetime(year, month, day, hour, minute, second, int((match[7] or "").ljust(6, "0")[:6]))
        if not YEARS[0] <= year <= YEARS[1]:
            raise ValueError(f"its year is not from {YEARS[0]} to {YEARS[1]}")
        return pd.Period(moment, freq=_offset(freq))
    except (ValueError, OverflowError) as error:  # also pandas' OutOfBoundsDatetime
        raise FieldError(f"start is {text!r}, which is no date and time: {error}") from None


@functools.lru_cache(maxsize=64)
def _offset(freq: str) -> Any:
    """The offset of a period alias; taking it from a Period is the one way that all versions of pandas have."""
    return pd.Period("2020-01-01", freq=freq).freq


def target(instance: dict[str, Any]) -> np.ndarray:
    target = instance.get("target")
    if type(target) is not list:
        if target is None:
            raise FieldError("target is missing, expected a list of numbers (empty where there is no history)")
        raise FieldError(f"target is {quoted(target)}, expected a list of numbers")
    values = _float32(target)
    # a finite sum of squares needs finite values, and is the quickest to get; others are looked at
    if values is not None and (math.isfinite(values.dot(values)) or not np.isinf(values).any()):
        return values
    checked = [_target_value(index, value) for index, value in enumerate(target)]
    return np.array(checked, dtype=np.float32)


def _float32(values: list[Any]) -> np.ndarray | None:
    """None where one is no number (or null, which is NaN) that float32 can hold."""
    kinds = set(map(type, values))
    try:
        if kinds <= NUMBERS:  # half the time of np.array, which looks at each value's type and shape once more
            return np.frombuffer(bytearray(_packer(len(values))(*values)), dtype=np.float32)
        if kinds <= NUMBERS_AND_NULL:
            with np.errstate(over="ignore"):
                return np.array(values, dtype=np.float32)
    except (OverflowError, struct.error):  # also an integer that no float holds
        pass
    return None


@functools.lru_cache(maxsize=64)
def _packer(count: int) -> Callable[..., bytes]:
    return struct.Struct(f"{count}f").pack


def _target_value(index: int, value: Any) -> float:
    if value is None or (type(value) is str and value.lower() == "nan"):
        return math.nan
    if type(value) is list:
        raise FieldError(f"target[{index}] is a list, expected one list of numbers: a target has one dimension")
    if type(value) not in NUMBERS:
        raise FieldError(f'target[{index}] is {quoted(value)}, expected a number, null or "NaN"')
    if abs(value) > FLOAT32_MAX:  # NaN is not
        raise FieldError(f"target[{index}] is {quoted(value)}, expected a finite number of at most {FLOAT32_MAX:.2g}")
    return float(value)


def either(
    instance: dict[str, Any], name: str, synonym: str | None, wanted: int | tuple[int, ...] | None
) -> tuple[str, Any] | None:
    """The name under which a feature was sent, and its value; None where it neither came nor is needed."""
    sent = [key for key in (name, synonym) if key is not None and instance.get(key) is not None]
    if len(sent) == 2:
        raise FieldError(f"it has both {name} and {synonym}, which are the same; expected one of them")
    if sent:
        return sent[0], instance[sent[0]]
    if wanted is None:
        return None
    count = wanted if isinstance(wanted, int) else len(wanted)
    kind = "categories" if name == "cat" else "numbers" if name == "feat_static_real" else "features"
    known_as = f"{name} (or {synonym})" if synonym else name
    raise FieldError(f"{known_as} is missing, expected {_plural(count, kind)}: the model was trained with it")


def _plural(count: int, kind: str) -> str:
    return f"{count} {kind}" if count != 1 else f"1 {'category' if kind == 'categories' else kind[:-1]}"


def categories(name: str, value: Any, features: Features) -> np.ndarray:
    """DeepAR takes a list of indices; its older clients send a bare one."""
    values = value if type(value) is list else [value]
    cardinalities = features.static_cat
    if cardinalities is not None and len(values) != len(cardinalities):
        raise FieldError(f"{name} has {_plural(len(values), 'categories')}, expected {len(cardinalities)}")
    indices = []
    for position, category in enumerate(values):
        place = f"{name}[{position}]" if type(value) is list else name
        labels = features.labels[position] if position < len(features.labels) else None
        limit = None if cardinalities is None else cardinalities[position]
        indices.append(_label(place, category, labels) if labels else _index(place, category, limit))
    return np.array(indices, dtype=np.int64)


def _index(place: str, category: Any, cardinality: int | None) -> int:
    if type(category) is float and category.is_integer():
        category = int(category)
    limit = 2**31 if cardinality is None else cardinality
    if type(category) is not int or not 0 <= category < limit:
        raise FieldError(f"{place} is {quoted(category)}, expected a whole number from 0 to {limit - 1}")
    return category


def _label(place: str, category: Any, labels: tuple[str, ...]) -> int:
    text = str(category) if type(category) in (str, int) else None
    try:
        return _positions(labels)[text]  # type: ignore[index]
    except KeyError:
        some = ", ".join(map(repr, labels[:5])) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
        found = f"{place} is {quoted(category)}"
        raise FieldError(f"{found}, which the training data did not have; it had {some}") from None


@functools.lru_cache(maxsize=64)
def _positions(labels: tuple[str, ...]) -> dict[str, int]:
    return {label: index for index, label in enumerate(labels)}


def static_real(name: str, value: Any, count: int | None) -> np.ndarray:
    if type(value) is not list:
        raise FieldError(f"{name} is {quoted(value)}, expected a list of numbers")
    if count is not None and len(value) != count:
        raise FieldError(f"{name} has {_plural(len(value), 'numbers')}, expected {count}")
    return _finite(name, value)


def dynamic(name: str, value: Any, count: int | None, length: int, origin: str) -> np.ndarray:
    """(features, length) float32. AWS: "dynamic_feat ... missing values are not supported"."""
    if type(value) is not list:
        raise FieldError(f"{name} is {quoted(value)}, expected a list of lists of numbers")
    if count is not None and len(value) != count:
        raise FieldError(f"{name} has {_plural(len(value), 'features')}, expected {count}")
    rows = []
    for position, row in enumerate(value):
        if type(row) is not list:
            raise FieldError(f"{name}[{position}] is {quoted(row)}, expected a list of {length} numbers")
        if len(row) != length:
            derived = f"{length} = {origin}" if " " in origin else f"{origin} {length}"
            raise FieldError(f"{name}[{position}] has {_plural(len(row), 'values')}, expected {derived}")
        rows.append(_finite(f"{name}[{position}]", row))
    return np.stack(rows) if rows else np.zeros((0, length), dtype=np.float32)


def _finite(place: str, values: list[Any]) -> np.ndarray:
    array = _float32(values)
    if array is not None and np.isfinite(array).all():
        return array
    for index, value in enumerate(values):
        if type(value) not in NUMBERS or not abs(value) <= FLOAT32_MAX:
            raise FieldError(f"{place}[{index}] is {quoted(value)}, expected a number (none may be missing)")
    raise AssertionError(f"{place} was refused as a whole, but no value of it is wrong")  # pragma: no cover
