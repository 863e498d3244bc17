"""Text or JSON -> the value that a parameter's annotation asks for. Knows annotations, not forecasters.

Three dialects are in the wild: JSON (`true`, `null`, `[1]`), Python (`True`, `None`, `(1,)`) and bare text. Objects are
made of `{"()": class, argument: value}`, or of GluonTS's own notation with `__kind__`. All of it imports what it is
told to: it is for what the owner of a job writes, and never for what a request holds.
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

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster import constructors, objects

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


def hyperparameter(name: str, value: Any, annotation: Any) -> Any:
    """`value` as `annotation` wants it. Raises ConfigurationError with the hyperparameter's name."""
    try:
        return fit(value, annotation)
    except Unfit as error:
        raise ConfigurationError(
            f"hyperparameter {name!r} is {str(value)[:200]!r}, expected {error}"
        ) from None


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
    value = _notation(value)
    if kind is collections.abc.Callable:
        return _fit_function(value)
    if kind is type:
        return _fit_type(value, arguments)
    if kind in (Any, object) or not isinstance(kind, type):
        return _fit_anything(value)  # also a type variable, or no annotation
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
    nothing, others = type(None) in members, _worth_trying(value, members)
    if nothing and (value is None or (isinstance(value, str) and value.strip().lower() in NOTHING)):
        return None
    own: Any = type(literal(value))
    for member in sorted(others, key=lambda m: (m is str, _kind(m) is not own)):
        try:
            return fit(value, member)
        except Unfit as error:
            expectations.append(str(error))
    raise Unfit(" or ".join(dict.fromkeys(expectations + ["null"] * nothing)))


def _worth_trying(value: Any, members: tuple[Any, ...]) -> list[Any]:
    """Without null; and where a text may be a text, only a path means a function, for 'std' is a function of numpy."""
    others = [member for member in members if member is not type(None)]
    if str in others and isinstance(value, str) and not objects.is_path(value):
        others = [member for member in others if _kind(member) is not collections.abc.Callable]
    return others


def _kind(annotation: Any) -> Any:
    return typing.get_origin(annotation) or annotation


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
    return (
        int(value)
        if isinstance(value, str) and value.strip().lstrip("+-").isdigit()
        else int(number)
    )


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
    return {key: _made_inside(item) for key, item in items.items()}


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


def _notation(value: Any) -> Any:
    """Text that holds an object in one of the two notations, parsed; what is in GluonTS's own, as the object."""
    if isinstance(value, str) and ('"__kind__"' in value or '"()"' in value):
        value = literal(value)
    if not isinstance(value, dict) or "__kind__" not in value:
        return value
    try:
        return decode(value)  # GluonTS restricts it to classes that are made for it
    except Exception as error:
        raise Unfit(f"an object in GluonTS's notation, which says: {error}") from None


def _fit_function(value: Any) -> Any:
    if isinstance(value, dict) and "()" in value:
        value = _made(value, object)
    found = value if callable(value) else _looked_up(objects.function, value)
    if callable(found):
        return found
    raise Unfit("the dotted path of a function")


def _fit_type(value: Any, arguments: tuple[Any, ...]) -> Any:
    """The class itself, where a class is wanted: of any kind, or of those below what the annotation names."""
    base = arguments[0] if arguments and isinstance(arguments[0], type) else object
    if isinstance(value, type) and issubclass(value, base):
        return value
    found = _looked_up(
        objects.located if base is object else lambda name: objects.subclass(name, base), value
    )
    if isinstance(found, type):
        return found
    raise Unfit("the dotted path of a class" if base is object else _choices(base))


def _fit_anything(value: Any) -> Any:
    """A value; and a text that is the path of a class or of a function means that one, for what else could it be."""
    found = literal(value)
    if not isinstance(found, str):
        return _made_inside(found)
    there = objects.is_path(found) and _looked_up(objects.located, found)
    return there if callable(there) else found


def _made_inside(value: Any) -> Any:
    """With the objects made that are in it, at any depth."""
    if isinstance(value, list):
        return list(map(_made_inside, value))
    if not isinstance(value, dict):
        return value
    if "()" in value:
        return _made(value, object)
    if "__kind__" in value:
        return _notation(value)
    return {key: _made_inside(item) for key, item in value.items()}


def _fit_class(value: Any, kind: type) -> Any:
    """An object of a class by the name of a subclass: 'NegativeBinomialOutput', 'negative-binomial', or its path.

    {"()": name, argument: value} is what GluonTS's dotted notation, `distr_output.()` and `distr_output.beta`, means.
    """
    if isinstance(value, kind):
        return value
    return _made(value if isinstance(value, dict) else {"()": value}, kind)


def _made(description: dict[str, Any], base: type) -> Any:
    """The object of {"()": name, argument: value}; its class is below `base`, its arguments fit its own constructor."""
    given = dict(description)
    name = given.pop("()", None)
    find = objects.located if base is object else lambda text: objects.subclass(text, base)
    found = _looked_up(find, name)
    if not callable(found):
        raise Unfit("the dotted path of a class below '()'" if base is object else _choices(base))
    hints, _ = constructors.constructor_parameters(found) if isinstance(found, type) else ({}, True)
    try:
        return found(
            **{argument: fit(text, hints.get(argument, Any)) for argument, text in given.items()}
        )
    except Exception as error:
        raise Unfit(f"arguments that {found.__name__} takes; it says: {error}") from None


def _looked_up(find: Any, name: Any) -> Any:
    """Raises Unfit where the name leads to a module that cannot be imported."""
    if not isinstance(name, str):
        return None
    try:
        return find(name)
    except objects.Broken as error:
        raise Unfit(f"a name that can be imported; {error}") from None


def _choices(base: type) -> str:
    names = sorted(kind.__name__ for kind in objects.subclasses(base))
    return f"the name of a {base.__name__}: {', '.join(names)}, or the dotted path of another"


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
