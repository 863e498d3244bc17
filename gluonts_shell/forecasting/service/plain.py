"""A value that a client sent, checked against a parameter's annotation. Nothing is evaluated, imported or made.

JSON has numbers, texts, true, false, null, lists and objects, and that is all that comes out of here: a text stays a
text, whatever it says. What the owner of a job writes is another matter, and `values` is for that alone.
"""

from __future__ import annotations

import collections.abc
import enum
import math
import types
import typing
from typing import Any

import numpy as np

# What a parameter may hold; the body's own limit is for instances.
MAX_DEPTH = 8
MAX_ITEMS = 100_000
MAX_TEXT = 1_000
MAX_NUMBER = 1_000_000
NOTATION = ("__", "()")  # GluonTS's names for objects in JSON; no parameter has keys of that kind


class Refused(Exception):
    """The value does not fit; the message completes "expected ..."."""


def bounded(value: Any) -> None:
    """Raises Refused where a value is deeper, longer or stranger than any parameter needs. Never recurses."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_ITEMS:
            raise Refused(f"at most {MAX_ITEMS} values")
        inner: list[Any] = []
        for item in level:
            inner.extend(_inside(item))
            if count + len(inner) > MAX_ITEMS:
                raise Refused(f"at most {MAX_ITEMS} values")
        level = inner
        if not level:
            return
    raise Refused(f"at most {MAX_DEPTH} levels of lists and objects")


def _inside(item: Any) -> collections.abc.Iterable[Any]:
    if isinstance(item, list):
        return item
    if isinstance(item, dict):
        for key in item:
            _check_text(key)
            if key.startswith(NOTATION):
                raise Refused(f"plain JSON values, without the key {key[:20]!r}")
        return item.values()
    if isinstance(item, str):
        _check_text(item)
    return ()


def _check_text(text: str) -> None:
    if len(text) > MAX_TEXT:
        raise Refused(f"at most {MAX_TEXT} characters")


def check(value: Any, annotation: Any, most: float = MAX_NUMBER) -> Any:
    """The value as `annotation` wants it; numbers that may be used as counts are at most `most`.

    An int serves for a float and 5.0 for an int; a list becomes the tuple or array that is asked for, a name the
    member of an enum. Nothing else changes. Raises Refused.
    """
    bounded(value)
    return _checked(value, annotation, most)


def _checked(value: Any, annotation: Any, most: float) -> Any:
    origin: Any = typing.get_origin(annotation)
    arguments: tuple[Any, ...] = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _checked(value, arguments[0], most)
    if origin in (typing.Union, types.UnionType):
        return _union(value, arguments, most)
    if origin is typing.Literal:
        return _choice(value, {repr(choice): choice for choice in arguments})
    if annotation is None or annotation is type(None):
        return _null(value)
    kind: Any = origin or annotation
    if kind is collections.abc.Callable:
        raise Refused("a function, which a request cannot give")
    if kind is type:
        raise Refused("a class, which a request cannot give")
    if kind in (Any, object) or not isinstance(kind, type):
        return _anything(value, most)  # also a type variable, or a name that could not be resolved
    if issubclass(kind, enum.Enum):
        return _choice(value, {**{m.name: m for m in kind}, **{str(m.value): m for m in kind}})
    for base, checker in CHECKERS:
        if kind is base or issubclass(kind, base):
            return checker(value, arguments, most)
    raise Refused(f"an object of class {kind.__name__}, which a request cannot give")


def _union(value: Any, members: tuple[Any, ...], most: float) -> Any:
    """The member that is of the value's own type, else the first that takes it; a text is a text only as a last resort.

    `1` and `1.0` differ where the one is a count and the other a share.
    """
    if value is None and type(None) in members:
        return None
    expectations = []
    others = [member for member in members if member is not type(None)]
    ordered = sorted(others, key=lambda member: (member is str, _kind(member) is not type(value)))
    for member in ordered:
        try:
            return _checked(value, member, most)
        except Refused as refusal:
            expectations.append(str(refusal))
    if type(None) in members:
        expectations.append("null")
    raise Refused(" or ".join(dict.fromkeys(expectations)))


def _kind(annotation: Any) -> Any:
    return typing.get_origin(annotation) or annotation


def _choice(value: Any, choices: dict[str, Any]) -> Any:
    """A member of an enum by name or value, or a literal by itself: of the same type, so that '1' is not 1."""
    for text, choice in choices.items():
        own = choice.value if isinstance(choice, enum.Enum) else choice
        if type(value) is type(own) and value == own:
            return choice
        if isinstance(choice, enum.Enum) and type(value) is str and value == text:
            return choice
    raise Refused(
        "one of " + ", ".join(repr(text) if text[:1] not in "'\"" else text for text in choices)
    )


def _null(value: Any) -> None:
    if value is not None:
        raise Refused("null")


def _bool(value: Any, _: tuple[Any, ...], __: float) -> bool:
    if type(value) is not bool:
        raise Refused("true or false")
    return value


def _whole(value: Any, _: tuple[Any, ...], most: float) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise Refused("a whole number")
    if abs(value) > most:
        raise Refused(f"at most {most:.0f}")
    return value


def _number(value: Any, _: tuple[Any, ...], __: float) -> float:
    """Any finite one: what is measured has no bound, what is counted is an int."""
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise Refused("a number")
    return number


def _text(value: Any, _: tuple[Any, ...], __: float) -> str:
    if type(value) is not str:
        raise Refused("text")
    return value


def _list(value: Any, arguments: tuple[Any, ...], most: float) -> list[Any]:
    if type(value) is not list:
        raise Refused("a list")
    item = arguments[0] if arguments else Any
    try:
        return [_checked(each, item, most) for each in value]
    except Refused as refusal:
        raise Refused(f"a list in which each item is {refusal}") from None


def _tuple(value: Any, arguments: tuple[Any, ...], most: float) -> tuple[Any, ...]:
    if not arguments or arguments[-1] is Ellipsis:
        return tuple(_list(value, arguments[:1], most))
    if type(value) is not list or len(value) != len(arguments):
        raise Refused(f"a list of {len(arguments)}")
    return tuple(_checked(each, kind, most) for each, kind in zip(value, arguments, strict=True))


def _object(value: Any, arguments: tuple[Any, ...], most: float) -> dict[Any, Any]:
    if type(value) is not dict:
        raise Refused("an object")
    key, item = arguments if len(arguments) == 2 else (Any, Any)
    try:
        return {
            _checked(name, key, most): _checked(each, item, most) for name, each in value.items()
        }
    except Refused as refusal:
        raise Refused(f"an object in which each entry is {refusal}") from None


def _array(value: Any, _: tuple[Any, ...], __: float) -> Any:
    if type(value) is not list:
        raise Refused("a list of numbers")
    flat: list[Any] = [value]
    while flat and type(flat[0]) is list:
        if any(type(each) is not list for each in flat):
            raise Refused("a list of numbers")
        flat = [item for each in flat for item in each]
    if any(type(each) not in (int, float) for each in flat):
        raise Refused("a list of numbers")
    try:
        array = np.array(value, dtype=float)
    except (ValueError, TypeError, OverflowError):
        raise Refused("a list of numbers, or of lists of one length") from None
    if not np.isfinite(array).all():
        raise Refused("a list of numbers")
    return array


def _anything(value: Any, most: float) -> Any:
    """Plain JSON where nothing is known of what is wanted: any number may be a count."""
    if isinstance(value, list):
        return [_anything(item, most) for item in value]
    if isinstance(value, dict):
        return {name: _anything(item, most) for name, item in value.items()}
    if type(value) in (int, float) and not abs(value) <= most:
        raise Refused(f"at most {most:.0f}")
    return value


# In this order: a bool is an int, and pydantic's PositiveInt and its like are subclasses of what they constrain.
CHECKERS: tuple[tuple[Any, Any], ...] = (
    (bool, _bool),
    (int, _whole),
    (float, _number),
    (str, _text),
    (dict, _object),
    (collections.abc.Mapping, _object),
    (np.ndarray, _array),
    (tuple, _tuple),
    (list, _list),
    (collections.abc.Sequence, _list),
    (collections.abc.Iterable, _list),
)
