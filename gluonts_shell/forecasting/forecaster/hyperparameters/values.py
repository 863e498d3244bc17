"""Text or JSON -> the value that a parameter's annotation asks for. Knows annotations, not forecasters.

Three dialects are in the wild: JSON (`true`, `null`, `[1]`), Python (`True`, `None`, `(1,)`) and bare text. Objects are
made of `{"()": class, argument: value}`, or of GluonTS's own notation with `__kind__`. All of it imports what it is
told to: it is for what the owner of a job writes, and never for what a request holds.
"""

from __future__ import annotations

import ast
import collections.abc
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gluonts.core.serde import decode

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster import constructors, objects
from gluonts_shell.forecasting.forecaster.hyperparameters.annotations import Form, Wanted, bare

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
    wanted = Wanted.of(annotation)
    return FITTERS[wanted.form](value, wanted)


def is_null(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in NOTHING)


def _fit_null(value: Any, _: Wanted) -> None:
    if not is_null(value):
        raise Unfit("null")


def _fit_union(value: Any, wanted: Wanted) -> Any:
    if wanted.takes_null and is_null(value):
        return None
    expectations = []
    for member in _worth_trying(value, wanted):
        try:
            return fit(value, member)
        except Unfit as error:
            expectations.append(str(error))
    if wanted.takes_null:
        expectations.append("null")
    raise Unfit(" or ".join(dict.fromkeys(expectations)))


def _worth_trying(value: Any, wanted: Wanted) -> list[Any]:
    """Where a text may be a text, only a path means a function, for 'std' is a function of numpy."""
    members = wanted.members(type(literal(value)))
    if str not in members or not isinstance(value, str) or objects.is_path(value):
        return members
    return [member for member in members if bare(member) is not collections.abc.Callable]


def _fit_value(value: Any, wanted: Wanted) -> Any:
    """An object of a class: JSON has a form for some; others are made, or named by a subclass.

    'NegativeBinomialOutput', 'negative-binomial', or its path; {"()": name, argument: value} is what GluonTS's dotted
    notation, `distr_output.()` and `distr_output.beta`, means.
    """
    value = _notation(value)
    for base, converter in CONVERTERS:
        if issubclass(wanted.kind, base):
            return converter(value, wanted.arguments)
    if isinstance(value, wanted.kind):
        return value
    return _made(value if isinstance(value, dict) else {"()": value}, wanted.kind)


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
    # more digits than a float has
    if isinstance(value, str) and value.strip().lstrip("+-").isdigit():
        return int(value)
    return int(number)


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


def _fit_choice(value: Any, wanted: Wanted) -> Any:
    choices = wanted.choices
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


def _fit_function(value: Any, _: Wanted) -> Any:
    value = _notation(value)
    if isinstance(value, dict) and "()" in value:
        value = _made(value, object)
    found = value if callable(value) else _looked_up(objects.function, value)
    if callable(found):
        return found
    raise Unfit("the dotted path of a function")


def _fit_class(value: Any, wanted: Wanted) -> Any:
    """The class itself, where a class is wanted: of any kind, or of those below what the annotation names."""
    value = _notation(value)
    named = [argument for argument in wanted.arguments if isinstance(argument, type)]
    base = named[0] if named else object
    if isinstance(value, type) and issubclass(value, base):
        return value
    found = _looked_up(_finder(base), value)
    if isinstance(found, type):
        return found
    raise Unfit("the dotted path of a class" if base is object else _choices(base))


def _fit_anything(value: Any, _: Wanted) -> Any:
    """A value; and a text that is the path of a class or of a function means that one, for what else could it be."""
    found = literal(_notation(value))
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


def _made(description: dict[str, Any], base: type) -> Any:
    """The object of {"()": name, argument: value}; its class is below `base`, its arguments fit its own constructor."""
    given = dict(description)
    found = _looked_up(_finder(base), given.pop("()", None))
    if not callable(found):
        raise Unfit("the dotted path of a class below '()'" if base is object else _choices(base))
    hints = constructors.constructor_parameters(found)[0] if isinstance(found, type) else {}
    try:
        arguments = {name: fit(text, hints.get(name, Any)) for name, text in given.items()}
        return found(**arguments)
    except Exception as error:
        raise Unfit(f"arguments that {found.__name__} takes; it says: {error}") from None


def _finder(base: type) -> Callable[[str], Any]:
    """What finds a class by its name: below `base`, or anywhere."""
    if base is object:
        return objects.located
    return lambda name: objects.subclass(name, base)


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
FITTERS: Mapping[Form, Callable[[Any, Wanted], Any]] = {
    Form.UNION: _fit_union,
    Form.CHOICE: _fit_choice,
    Form.NULL: _fit_null,
    Form.FUNCTION: _fit_function,
    Form.CLASS: _fit_class,
    Form.ANYTHING: _fit_anything,
    Form.VALUE: _fit_value,
}
