"""The fields beside `target`: categories, numbers and features over time. What each must be, and its two names.

A model's `Features` say how many of each it wants. None means that nothing is known, and what comes is taken; what it
does not use is not even looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from gluonts_shell.errors import counted, private
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.fields import FLOAT32_MAX, NUMBERS, FieldError, float32, quoted
from gluonts_shell.forecasting.data.naming.labels import Numbering

# flags are numbers where they are features: a holiday is true or false in many files
FLAGS = NUMBERS | {bool}
MOST_CATEGORIES = 2**31
# Of fields of the user's own, in numbers, texts and the like; the body of a request has a limit in bytes besides.
MOST_OWN_VALUES = 100_000


@dataclass(frozen=True)
class Span:
    """How long features over time must be: the target's length, and the steps beyond it; in training there are none."""

    length: int
    prediction_length: int
    lead_time: int

    @property
    def beyond(self) -> int:
        return self.prediction_length + self.lead_time if self.prediction_length else 0

    def expected(self, length: int) -> str:
        """`124 = len(target) 100 + prediction_length 24`"""
        if length == self.length:
            return f"len(target) {length}"
        lead = f" + lead_time {self.lead_time}" if self.lead_time else ""
        return f"{length} = len(target) {self.length}{lead} + prediction_length {self.prediction_length}"


@dataclass(frozen=True)
class Kind:
    """One field: GluonTS's name for it, DeepAR's if it has one, and its attribute of Features.

    nouns: what it is a list of. read(place, value, wanted count or cardinalities, the span) -> an array.
    """

    name: str
    wanted: str
    nouns: str
    read: Callable[[str, Any, Any, Span], np.ndarray]
    synonym: str | None = None

    @property
    def called(self) -> str:
        return f"{self.name} (or {self.synonym})" if self.synonym else self.name

    @property
    def categorical(self) -> bool:
        """Whether Features has cardinalities of it, and not a count."""
        return self.wanted.endswith("cat")

    @property
    def nothing(self) -> Any:
        """What Features has where it is not used."""
        return () if self.categorical else 0

    def sent(
        self, instance: dict[str, Any], wanted: Any, names: tuple[str, ...] = ()
    ) -> tuple[str, Any] | None:
        """The name under which it was sent, and its value; None where it neither came nor is needed.

        An empty list is no features. names: of its rows, where training saw names.
        """
        value, name = instance.get(self.name), self.name
        if self.synonym is not None and instance.get(self.synonym) is not None:
            if value is not None:
                both = f"it has both {self.synonym} and {self.name}"
                raise FieldError(f"{both}, which are the same; expected one of them", self.synonym)
            value, name = instance[self.synonym], self.synonym
        if value is not None and value != []:
            return name, value
        if wanted is not None:
            self._missing(wanted, names)
        return None

    def _missing(self, wanted: Any, names: tuple[str, ...]) -> NoReturn:
        expected = counted(how_many(wanted), self.nouns)
        if names:
            expected += f" (or covariates by name: {', '.join(names)})"
        reason = f"is missing, expected {expected}: the model was trained with it"
        if self.synonym is None:
            raise FieldError(f"{self.name} {reason}", self.name)
        raise FieldError(f"{self.synonym} (or {self.name}) {reason}", self.synonym)


def how_many(wanted: Any) -> int:
    """Of a count, or of cardinalities."""
    return wanted if isinstance(wanted, int) else len(wanted)


def static_cat(
    name: str,
    value: Any,
    cardinalities: tuple[int, ...] | None,
    features: Features,
    numbering: Numbering | None,
) -> np.ndarray:
    """DeepAR takes a list of indices; its older clients send a bare one. numbering: for text without known labels."""
    listed = type(value) is list
    values = value if listed else [value]
    positions = features.positions or (None,) * len(values)
    limits = cardinalities or (MOST_CATEGORIES,) * len(positions)
    if len(values) != len(limits):
        found = counted(len(values), "categories")
        raise FieldError(f"{name} has {found}, expected {len(limits)}", name)
    indices = []
    for position, (category, labels) in enumerate(zip(values, positions, strict=True)):
        place = f"{name}[{position}]" if listed else name
        if labels is not None:
            index = _label(name, place, category, labels)
        elif numbering is not None and type(category) is str:
            index = numbering.code(position, category)
        else:
            index = _index(name, place, category, limits[position], numbering is not None)
        indices.append(index)
    return np.array(indices, dtype=np.int64)


def _index(name: str, place: str, category: Any, limit: int, text: bool = False) -> int:
    whole = _whole(category)
    if whole is None or not 0 <= whole < limit:
        expected = f"expected a whole number from 0 to {limit - 1}" + (", or text" if text else "")
        raise FieldError(f"{place} is {quoted(category)}, {expected}", name)
    return whole


def _whole(category: Any) -> int | None:
    """JSON has 3 and 3.0 for the same; true is no number here."""
    if type(category) is int:
        return category
    return int(category) if type(category) is float and category.is_integer() else None


def _label(name: str, place: str, category: Any, labels: dict[str, int]) -> int:
    """A whole number is a label too: training data has them among texts."""
    whole = _whole(category)
    text = category if whole is None else str(whole)
    if type(text) is str and text in labels:
        return labels[text]
    some = ", ".join(map(repr, list(labels)[:5]))
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    unknown = f"{place} is {quoted(category)}, which the model was not trained with"
    raise FieldError(
        f"{unknown} (series too short to train do not count); it knows {private(some)}{more}", name
    )


def static_real(name: str, value: Any, count: int | None, _: Span) -> np.ndarray:
    if type(value) is not list:
        raise FieldError(f"{name} is {quoted(value)}, expected a list of numbers", name)
    if count is not None and len(value) != count:
        raise FieldError(f"{name} has {counted(len(value), 'numbers')}, expected {count}", name)
    return finite(name, name, value)


def _rows(name: str, value: Any, count: int | None, length: int, span: Span) -> list[list[Any]]:
    """The lists of a field over time, each as long as it must be."""
    if type(value) is not list:
        raise FieldError(f"{name} is {quoted(value)}, expected a list of lists of numbers", name)
    if count is not None and len(value) != count:
        raise FieldError(f"{name} has {counted(len(value), 'features')}, expected {count}", name)
    for position, row in enumerate(value):
        if type(row) is not list:
            found = f"{name}[{position}] is {quoted(row)}"
            raise FieldError(f"{found}, expected a list of {length} numbers", name)
        if len(row) != length:
            found = f"{name}[{position}] has {counted(len(row), 'values')}"
            raise FieldError(f"{found}, expected {span.expected(length)}", name)
    return value


def dynamic_real(name: str, value: Any, count: int | None, span: Span) -> np.ndarray:
    """(features, length) float32. AWS: "dynamic_feat ... missing values are not supported"."""
    return _stacked_real(name, value, count, span.length + span.beyond, span)


def past_dynamic_real(name: str, value: Any, count: int | None, span: Span) -> np.ndarray:
    return _stacked_real(name, value, count, span.length, span)


def _stacked_real(name: str, value: Any, count: int | None, length: int, span: Span) -> np.ndarray:
    rows = _rows(name, value, count, length, span)
    return np.stack([finite(name, f"{name}[{position}]", row) for position, row in enumerate(rows)])


def dynamic_cat(
    name: str, value: Any, cardinalities: tuple[int, ...] | None, span: Span
) -> np.ndarray:
    """(features, length) int64: categories that change with time, as indices."""
    return _stacked_cat(name, value, cardinalities, span.length + span.beyond, span)


def past_dynamic_cat(
    name: str, value: Any, cardinalities: tuple[int, ...] | None, span: Span
) -> np.ndarray:
    return _stacked_cat(name, value, cardinalities, span.length, span)


def _stacked_cat(
    name: str, value: Any, cardinalities: tuple[int, ...] | None, length: int, span: Span
) -> np.ndarray:
    count = None if cardinalities is None else len(cardinalities)
    rows = _rows(name, value, count, length, span)
    stacked = []
    for position, row in enumerate(rows):
        limit = MOST_CATEGORIES if cardinalities is None else cardinalities[position]
        place = f"{name}[{position}]"
        stacked.append(
            [_index(name, f"{place}[{step}]", category, limit) for step, category in enumerate(row)]
        )
    return np.array(stacked, dtype=np.int64)


def finite(name: str, place: str, values: list[Any]) -> np.ndarray:
    """float32. Raises FieldError about the field `name` where a value is none; its place is named."""
    array = float32(values, FLAGS, FLAGS)
    if array is not None and np.isfinite(array).all():
        return array
    for index, value in enumerate(values):
        if type(value) not in FLAGS or not abs(value) <= FLOAT32_MAX:
            found = f"{place}[{index}] is {quoted(value)}"
            raise FieldError(f"{found}, expected {_expected(value)} (none may be missing)", name)
    raise AssertionError(
        f"{place} was refused as a whole, but no value of it is wrong"
    )  # pragma: no cover


def _expected(value: Any) -> str:
    if type(value) in NUMBERS and abs(value) > FLOAT32_MAX:  # NaN is not
        return f"a finite number of at most {FLOAT32_MAX:.2g}"
    return "a number"


# The first of them is read by itself: it also needs to know labels.
STATIC_CAT = Kind("feat_static_cat", "static_cat", "categories", lambda *_: np.zeros(0), "cat")
KINDS = (
    STATIC_CAT,
    Kind("feat_static_real", "static_real", "numbers", static_real),
    Kind("feat_dynamic_real", "dynamic_real", "features", dynamic_real, "dynamic_feat"),
    Kind("past_feat_dynamic_real", "past_dynamic_real", "features", past_dynamic_real),
    Kind("feat_dynamic_cat", "dynamic_cat", "features", dynamic_cat),
    Kind("past_feat_dynamic_cat", "past_dynamic_cat", "features", past_dynamic_cat),
)
OURS = frozenset({"item_id", "start", "target"})
NAMES = {
    **{kind.name: kind for kind in KINDS},
    **{kind.synonym: kind for kind in KINDS if kind.synonym is not None},
}


def own_fields(instance: dict[str, Any], read: Collection[str] = ()) -> dict[str, Any]:
    """What the user's own class may want: every field that is not ours, as it came. Raises FieldError beyond bounds.

    read: fields that were read by others.
    """
    theirs = instance.keys() - OURS - NAMES.keys() - set(read)
    own = {name: value for name, value in instance.items() if name in theirs}
    if own and not _small(own):
        names = ", ".join(sorted(own)[:5])
        reason = f"its own fields ({names[:200]}) hold more than {MOST_OWN_VALUES} values"
        raise FieldError(f"{reason}, expected at most that")
    return own


def _small(own: dict[str, Any]) -> bool:
    """Nests are walked with a list of what is left, because they may be deeper than Python's calls."""
    left: list[Any] = [own]
    seen = 0
    while left and seen <= MOST_OWN_VALUES:
        value = left.pop()
        seen += 1
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, str):
            seen += len(value) // 100
    return seen <= MOST_OWN_VALUES
