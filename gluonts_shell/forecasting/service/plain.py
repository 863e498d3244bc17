"""A value that a client sent, checked against a parameter's annotation. Nothing is evaluated, imported or made.

JSON has numbers, texts, true, false, null, lists and objects, and that is all that comes out of
here: a text stays a text, whatever it says. What the owner of a job writes is another matter, and
`values` is for that alone.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gluonts_shell.forecasting.forecaster.hyperparameters.annotations import Form, Unfit, Wanted

# What a parameter may hold; the body's own limit is for instances.
MAX_DEPTH = 8
MAX_ITEMS = 100_000
MAX_TEXT = 1_000
MAX_NUMBER = 1_000_000
NOTATION = ("__", "()")  # GluonTS's names for objects in JSON; no parameter has keys of that kind


def bounded(value: Any) -> None:
    """Raises Unfit where a value is deeper, longer or stranger than any parameter needs. Never recurses."""
    level, left = [value], MAX_ITEMS - 1
    for _ in range(MAX_DEPTH):
        inner = itertools.chain.from_iterable(map(_inside, level))
        level = list(itertools.islice(inner, left + 1))
        left -= len(level)
        Unfit.unless(left >= 0, f"at most {MAX_ITEMS} values")
        if not level:
            return
    raise Unfit(f"at most {MAX_DEPTH} levels of lists and objects")


def _inside(item: Any) -> collections.abc.Iterable[Any]:
    if isinstance(item, list):
        return item
    if isinstance(item, dict):
        for key in item:
            _check_text(key)
            plain = not key.startswith(NOTATION)
            Unfit.unless(plain, f"plain JSON values, without the key {key[:20]!r}")
        return item.values()
    if isinstance(item, str):
        _check_text(item)
    return ()


def _check_text(text: str) -> None:
    Unfit.unless(len(text) <= MAX_TEXT, f"at most {MAX_TEXT} characters")


def check(value: Any, annotation: Any, most: float = MAX_NUMBER) -> Any:
    """The value as `annotation` wants it; numbers that may be used as counts are at most `most`.

    An int serves for a float and 5.0 for an int; a list becomes the tuple or array that is asked
    for, a name the member of an enum. Nothing else changes. Raises Unfit.
    """
    bounded(value)
    return _checked(value, annotation, most)


def _checked(value: Any, annotation: Any, most: float) -> Any:
    wanted = Wanted.of(annotation)
    return FORMS[wanted.form](value, wanted, most)


def _union(value: Any, wanted: Wanted, most: float) -> Any:
    if value is None and wanted.takes_null:
        return None
    check_member = functools.partial(_checked, most=most)
    return wanted.first_fit(value, wanted.members(type(value)), check_member)


def _choice(value: Any, wanted: Wanted, _: float) -> Any:
    """A member of an enum by name or value, or a literal by itself: of the same type, so that '1' is not 1."""
    choices = wanted.choices
    for text, choice in choices.items():
        for own in _spellings(text, choice):
            if type(value) is type(own) and value == own:
                return choice
    shown = [repr(_spellings(text, choice)[0]) for text, choice in choices.items()]
    raise Unfit("one of " + ", ".join(shown))


def _spellings(text: str, choice: Any) -> tuple[Any, ...]:
    return (text, choice.value) if isinstance(choice, enum.Enum) else (choice,)


def _null(value: Any, _: Wanted, __: float) -> None:
    Unfit.unless(value is None, "null")


def _function(_: Any, __: Wanted, ___: float) -> Any:
    raise Unfit("a function, which a request cannot give")


def _class(_: Any, __: Wanted, ___: float) -> Any:
    raise Unfit("a class, which a request cannot give")


def _anything(value: Any, _: Wanted, most: float) -> Any:
    return _counted(value, most)


def _value(value: Any, wanted: Wanted, most: float) -> Any:
    for base, checker in CHECKERS:
        if wanted.kind is base or issubclass(wanted.kind, base):
            return checker(value, wanted.arguments, most)
    raise Unfit(f"an object of class {wanted.kind.__name__}, which a request cannot give")


def _bool(value: Any, _: tuple[Any, ...], __: float) -> bool:
    Unfit.unless(type(value) is bool, "true or false")
    return bool(value)


def _whole(value: Any, _: tuple[Any, ...], most: float) -> int:
    Unfit.unless(type(value) in (int, float) and value == value // 1, "a whole number")
    Unfit.unless(abs(value) <= most, f"at most {most:.0f}")
    return int(value)


def _number(value: Any, _: tuple[Any, ...], __: float) -> float:
    """Any finite one: what is measured has no bound, what is counted is an int."""
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        number = math.nan
    Unfit.unless(math.isfinite(number), "a number")
    return number


def _text(value: Any, _: tuple[Any, ...], __: float) -> str:
    Unfit.unless(type(value) is str, "text")
    return str(value)


def _list(value: Any, arguments: tuple[Any, ...], most: float) -> list[Any]:
    Unfit.unless(type(value) is list, "a list")
    item = next(iter(arguments), Any)
    try:
        return [_checked(each, item, most) for each in value]
    except Unfit as error:
        raise Unfit(f"a list in which each item is {error}") from None


def _tuple(value: Any, arguments: tuple[Any, ...], most: float) -> tuple[Any, ...]:
    if not arguments or arguments[-1] is Ellipsis:
        return tuple(_list(value, arguments[:1], most))
    fits = type(value) is list and len(value) == len(arguments)
    Unfit.unless(fits, f"a list of {len(arguments)}")
    return tuple(_checked(each, kind, most) for each, kind in zip(value, arguments, strict=True))


def _object(value: Any, arguments: tuple[Any, ...], most: float) -> dict[Any, Any]:
    Unfit.unless(type(value) is dict, "an object")
    key, item = arguments if len(arguments) == 2 else (Any, Any)
    try:
        return {
            _checked(name, key, most): _checked(each, item, most) for name, each in value.items()
        }
    except Unfit as error:
        raise Unfit(f"an object in which each entry is {error}") from None


def _array(value: Any, _: tuple[Any, ...], __: float) -> Any:
    """Of numbers, or of lists of one length; texts and booleans are no numbers here, as they are to numpy."""
    Unfit.unless(type(value) is list, "a list of numbers")
    for leaf in _leaves(value):
        Unfit.unless(type(leaf) in (int, float), "a list of numbers")
    try:
        array = np.array(value, dtype=float)
    except (ValueError, TypeError, OverflowError):
        raise Unfit("a list of numbers, or of lists of one length") from None
    Unfit.unless(np.isfinite(array).all(), "a list of numbers")
    return array


def _leaves(value: list[Any]) -> Iterator[Any]:
    """What is in a list that is not a list, at any depth."""
    for item in value:
        if type(item) is list:
            yield from _leaves(item)
        else:
            yield item


def _counted(value: Any, most: float) -> Any:
    """Plain JSON where nothing is known of what is wanted: any number may be a count."""
    if isinstance(value, list):
        return [_counted(item, most) for item in value]
    if isinstance(value, dict):
        return {name: _counted(item, most) for name, item in value.items()}
    if type(value) in (int, float):
        Unfit.unless(abs(value) <= most, f"at most {most:.0f}")
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
FORMS: Mapping[Form, Callable[[Any, Wanted, float], Any]] = {
    Form.UNION: _union,
    Form.CHOICE: _choice,
    Form.NULL: _null,
    Form.FUNCTION: _function,
    Form.CLASS: _class,
    Form.ANYTHING: _anything,
    Form.VALUE: _value,
}
