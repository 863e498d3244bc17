"""Text or JSON -> the value that a parameter's annotation asks for. Knows annotations, not forecasters.

Three dialects are in the wild: JSON (`true`, `null`, `[1]`), Python (`True`, `None`, `(1,)`) and
bare text. Objects are made of `{"()": class, argument: value}`, or of GluonTS's own notation with
`__kind__`. All of it imports what it is told to: it is for what the owner of a job writes, and
never for what a request holds.
"""

from __future__ import annotations

import ast
import collections.abc
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gluonts.core.serde import decode

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster import constructors, objects
from gluonts_shell.forecasting.forecaster.hyperparameters.annotations import (
    Form,
    Unfit,
    Wanted,
    bare,
)
from gluonts_shell.settings import FALSE, TRUE

NOTHING = ("null", "none", "")
# keys by which a JSON object describes one of Python's: ours names its class, GluonTS's own says how it was written
CLASS, KIND = "()", "__kind__"
NOTATION = re.compile(r'"(__kind__|\(\))"')


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


def typed(given: Mapping[str, Any], annotations: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the hyperparameters that are annotated, each as it is wanted. Raises ConfigurationError."""
    wanted = [name for name in given if name in annotations]
    return {name: hyperparameter(name, given[name], annotations[name]) for name in wanted}


def given_twice(one: str, other: str) -> ConfigurationError:
    """What to say of two hyperparameters that mean the same."""
    return ConfigurationError(
        f"hyperparameters {one!r} and {other!r} are the same; give one of them"
    )


def fit(value: Any, annotation: Any) -> Any:
    """`value` as `annotation` wants it. Raises Unfit, whose text completes "expected ..."."""
    wanted = Wanted.of(annotation)
    return FITTERS[wanted.form](value, wanted)


def word(value: Any) -> str:
    """What somebody may have written in any case of letters, and with blanks around it."""
    return str(value).strip().lower()


def is_null(value: Any) -> bool:
    """Nothing, or one of the words for it."""
    return word(value) in NOTHING


def _fit_null(value: Any, _: Wanted) -> None:
    Unfit.unless(is_null(value), "null")


def _fit_union(value: Any, wanted: Wanted) -> Any:
    if wanted.takes_null and is_null(value):
        return None
    return wanted.first_fit(value, _worth_trying(value, wanted), fit)


def _worth_trying(value: Any, wanted: Wanted) -> list[Any]:
    """Where a text may be a text, only a path means a function, for 'std' is a function of numpy."""
    members = wanted.members(type(literal(value)))
    if str not in members or not isinstance(value, str) or objects.is_path(value):
        return members
    return [member for member in members if bare(member) is not collections.abc.Callable]


def _fit_value(value: Any, wanted: Wanted) -> Any:
    """An object of a class: JSON has a form for some; others are made, or named by a subclass.

    'NegativeBinomialOutput', 'negative-binomial', or its path; {"()": name, argument: value} is
    what GluonTS's dotted notation, `distr_output.()` and `distr_output.beta`, means.
    """
    value = _notation(value)
    for base, converter in CONVERTERS:
        if issubclass(wanted.kind, base):
            return converter(value, wanted.arguments)
    if isinstance(value, wanted.kind):
        return value
    if isinstance(value, dict):
        return _made(value, wanted.kind)
    return _made({CLASS: value}, wanted.kind)


def _fit_bool(value: Any, _: tuple[Any, ...]) -> bool:
    text = word(value)
    Unfit.unless(text in TRUE | FALSE, "true or false")
    return text in TRUE


def _fit_int(value: Any, _: tuple[Any, ...]) -> int:
    """`5.0` and `1e1` are whole numbers too: tuning jobs send them."""
    if type(value) is int:
        return value
    number = _number(value)
    Unfit.unless(number.is_integer(), "a whole number")
    if str(value).strip().lstrip("+-").isdigit():  # it may have more digits than a float
        return int(value)
    return int(number)


def _fit_float(value: Any, _: tuple[Any, ...]) -> float:
    number = _number(value)
    Unfit.unless(math.isfinite(number), "a number")
    return number


def _number(value: Any) -> float:
    """NaN for what is none; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _fit_text(value: Any, _: tuple[Any, ...]) -> str:
    if isinstance(value, str):
        return value
    Unfit.unless(not isinstance(value, dict | list | None), "text")
    return json.dumps(value)


def _fit_list(value: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """A JSON or Python list, or items separated by commas."""
    items = _items(literal(value))
    if not arguments:
        return items
    try:
        return [fit(item, arguments[0]) for item in items]
    except Unfit as error:
        raise Unfit(f"a list in which each item is {error}") from None


def _items(value: Any) -> list[Any]:
    """Of a list; of a text those between commas; a number is a list of one."""
    if isinstance(value, str):
        return list(filter(None, map(str.strip, value.split(","))))
    if isinstance(value, list | tuple | np.ndarray):
        return list(value)
    Unfit.unless(isinstance(value, int | float) and not isinstance(value, bool), "a list")
    return [value]


def _fit_tuple(value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_fit_list(value, arguments[:1]))


def _fit_dict(value: Any, _: tuple[Any, ...]) -> dict[str, Any]:
    items = literal(value)
    Unfit.unless(isinstance(items, collections.abc.Mapping), "a JSON object")
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
    Unfit.unless(str(value) in choices, "one of " + ", ".join(map(repr, choices)))
    return choices[str(value)]


def _notation(value: Any) -> Any:
    """Text that holds an object in one of the two notations, parsed; what is in GluonTS's own, as the object."""
    if isinstance(value, str) and NOTATION.search(value):
        value = literal(value)
    if not _has(KIND, value):
        return value
    try:
        return decode(value)  # GluonTS restricts it to classes that are made for it
    except Exception as error:
        raise Unfit(f"an object in GluonTS's notation, which says: {error}") from None


def _fit_function(value: Any, _: Wanted) -> Any:
    found = _notation(value)
    if _has(CLASS, found):
        found = _made(found, object)
    if not callable(found):
        found = _looked_up(objects.function, found)
    Unfit.unless(callable(found), "the dotted path of a function")
    return found


def _fit_class(value: Any, wanted: Wanted) -> Any:
    """The class itself, where a class is wanted: of any kind, or of those below what the annotation names."""
    value = _notation(value)
    base = next((each for each in wanted.arguments if isinstance(each, type)), object)
    if isinstance(value, type) and issubclass(value, base):
        return value
    found = _looked_up(_finder(base), value)
    if not isinstance(found, type):
        raise Unfit(_choices(base))
    return found


def _fit_anything(value: Any, _: Wanted) -> Any:
    """A value; and a text that is the path of a class or of a function means that one, for what else could it be."""
    found = literal(_notation(value))
    if not isinstance(found, str):
        return _made_inside(found)
    there = _looked_up(objects.located, found)
    if callable(there):
        return there
    return found


def _made_inside(value: Any) -> Any:
    """With the objects made that are in it, at any depth."""
    if isinstance(value, list):
        return list(map(_made_inside, value))
    if not isinstance(value, dict):
        return value
    if CLASS in value:
        return _made(value, object)
    if KIND in value:
        return _notation(value)
    return {key: _made_inside(item) for key, item in value.items()}


def _has(key: str, value: Any) -> bool:
    """Whether a value describes an object, in the notation of this key."""
    return isinstance(value, dict) and key in value


def _made(description: dict[str, Any], base: type) -> Any:
    """The object of {"()": name, argument: value}; its class is below `base`, its arguments fit its own constructor."""
    given = dict(description)
    found = _looked_up(_finder(base), given.pop(CLASS, None))
    if not callable(found):
        raise Unfit(_choices(base, f" below {CLASS!r}"))
    try:
        return found(**_fitted(found, given))
    except Exception as error:
        raise Unfit(f"arguments that {found.__name__} takes; it says: {error}") from None


def _fitted(function: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments as a class's constructor wants them; what another function wants is not known."""
    hints = {}
    if isinstance(function, type):
        hints = constructors.constructor_parameters(function)[0]
    return {name: fit(value, hints.get(name, Any)) for name, value in given.items()}


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


def _choices(base: type, where: str = "") -> str:
    """What is expected where a class below `base` is to be named."""
    if base is object:
        return f"the dotted path of a class{where}"
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
