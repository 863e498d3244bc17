"""Text or JSON -> the value that a parameter's annotation asks for. Knows annotations, not forecasters.

Three dialects are in the wild: JSON (`true`, `null`, `[1]`), Python (`True`, `None`, `(1,)`) and bare text.
"""

from __future__ import annotations

import ast
import collections.abc
import enum
import json
import math
import types
import typing
from typing import Any

import numpy as np
from gluonts.core.serde import decode

NOTHING = ("null", "none", "")
TRUE = ("true", "1", "yes", "on")
FALSE = ("false", "0", "no", "off")


class Unfit(Exception):
    """The value does not fit; the message says what was expected."""


def literal(value: Any) -> Any:
    """A string's value in JSON or Python notation, else the string; anything else as it is."""
    if not isinstance(value, str):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return value


def fit(value: Any, annotation: Any) -> Any:
    """`value` as `annotation` wants it. Raises Unfit, whose text completes "expected ..."."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _fit_union(value, arguments)
    if origin is typing.Literal:
        return _fit_choice(value, {str(choice): choice for choice in arguments})
    if annotation is type(None):
        if value is None or (isinstance(value, str) and value.strip().lower() in NOTHING):
            return None
        raise Unfit("null")
    kind: Any = origin or annotation
    if (isinstance(value, dict) and "__kind__" in value) or (isinstance(value, str) and '"__kind__"' in value):
        return _decoded(literal(value))
    if kind is collections.abc.Callable:
        if callable(value):
            return value
        raise Unfit("a function, which text cannot hold")
    if kind in (Any, object, type) or not isinstance(kind, type):
        return literal(value)  # also a type variable, or no annotation
    for base, converter in CONVERTERS:
        if issubclass(kind, base):
            return converter(value, arguments)
    if issubclass(kind, enum.Enum):
        return _fit_choice(value, {**{m.name: m for m in kind}, **{str(m.value): m for m in kind}})
    return _fit_class(value, kind)


def _fit_union(value: Any, members: tuple[Any, ...]) -> Any:
    """The member that is of the value's own type, else the first that takes it; text takes everything, so it is last.

    `1` and `1.0` differ where a trainer counts batches by the one and takes shares by the other.
    """
    expectations = []
    nothing, others = type(None) in members, [m for m in members if m is not type(None)]
    if nothing and (value is None or (isinstance(value, str) and value.strip().lower() in NOTHING)):
        return None
    own: Any = type(literal(value))
    for member in sorted(others, key=lambda m: (m is str, (typing.get_origin(m) or m) is not own)):
        try:
            return fit(value, member)
        except Unfit as error:
            expectations.append(str(error))
    raise Unfit(" or ".join(dict.fromkeys(expectations + ["null"] * nothing)))


def _fit_bool(value: Any, _: tuple[Any, ...]) -> bool:
    text = str(value).strip().lower()
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise Unfit("true or false")


def _fit_int(value: Any, _: tuple[Any, ...]) -> int:
    """`5.0` and `1e1` are whole numbers too: tuning jobs send them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _number(value)
    if number is None or not number.is_integer():
        raise Unfit("a whole number")
    return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdigit() else int(number)


def _fit_float(value: Any, _: tuple[Any, ...]) -> float:
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise Unfit("a number")
    return number


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _fit_text(value: Any, _: tuple[Any, ...]) -> str:
    if value is None or isinstance(value, dict | list):
        raise Unfit("text")
    return value if isinstance(value, str) else json.dumps(value)


def _fit_list(value: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """A JSON or Python list, or items separated by commas."""
    items = literal(value)
    if isinstance(items, str):
        items = [item.strip() for item in items.split(",") if item.strip()]
    elif isinstance(items, tuple | np.ndarray):
        items = list(items)
    elif isinstance(items, int | float) and not isinstance(items, bool):
        items = [items]
    if not isinstance(items, list):
        raise Unfit("a list")
    try:
        return [fit(item, arguments[0]) for item in items] if arguments else items
    except Unfit as error:
        raise Unfit(f"a list in which each item is {error}") from None


def _fit_tuple(value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_fit_list(value, arguments[:1]))


def _fit_dict(value: Any, _: tuple[Any, ...]) -> dict[str, Any]:
    items = literal(value)
    if not isinstance(items, collections.abc.Mapping):
        raise Unfit("a JSON object")
    return dict(items)


def _fit_array(value: Any, _: tuple[Any, ...]) -> Any:
    try:
        return np.asarray(literal(value), dtype=float)
    except (ValueError, TypeError):
        raise Unfit("a list of numbers") from None


def _fit_choice(value: Any, choices: dict[str, Any]) -> Any:
    if value in choices.values():
        return value
    if str(value) in choices:
        return choices[str(value)]
    raise Unfit("one of " + ", ".join(map(repr, choices)))


def _decoded(value: Any) -> Any:
    """GluonTS's own notation for objects, which it restricts to classes that are made for it."""
    try:
        return decode(value)
    except Exception as error:
        raise Unfit(f"an object in GluonTS's notation, which says: {error}") from None


def _fit_class(value: Any, kind: type) -> Any:
    """An object of a class by the name of a subclass: 'NegativeBinomialOutput', 'negative-binomial', or its path.

    {"()": name, argument: value} is what GluonTS's dotted notation, `distr_output.()` and `distr_output.beta`, means.
    """
    if isinstance(value, kind):
        return value
    arguments = dict(value) if isinstance(value, dict) else {"()": value}
    name = arguments.pop("()", None)
    named = {plain_name(found.__name__): found for found in _subclasses(kind)}
    found = named.get(plain_name(name.rpartition(".")[2])) if isinstance(name, str) else None
    if found is None:
        raise Unfit(f"the name of a {kind.__name__}: " + ", ".join(sorted(c.__name__ for c in named.values())))
    try:
        return found(**{argument: literal(text) for argument, text in arguments.items()})
    except Exception as error:
        raise Unfit(f"arguments that {found.__name__} takes; it says: {error}") from None


def plain_name(text: str) -> str:
    """'NegativeBinomialOutput', 'negative-binomial' and 'Negative_Binomial' are one name."""
    letters = "".join(c for c in text.lower() if c.isalnum())
    return letters[: -len("output")] if letters.endswith("output") else letters


def _subclasses(kind: type) -> list[type]:
    found = [] if getattr(kind, "__abstractmethods__", None) else [kind]
    child: type
    for child in kind.__subclasses__():
        found += _subclasses(child)
    return found


# In this order: a bool is an int, and pydantic's PositiveInt and its like are subclasses of what they constrain.
CONVERTERS: tuple[tuple[Any, Any], ...] = (
    (bool, _fit_bool),
    (int, _fit_int),
    (float, _fit_float),
    (str, _fit_text),
    (collections.abc.Mapping, _fit_dict),
    (np.ndarray, _fit_array),
    (tuple, _fit_tuple),
    (collections.abc.Sequence, _fit_list),
)
