"""Names in hyperparameters -> the classes and functions that they mean. It imports what a job's owner names.

A name is a dotted path, or bare where only one class or function can be meant. Requests never come here.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

# Where a bare name of a function is looked for: what constructors of GluonTS want are features and aggregations.
FUNCTIONS = ("gluonts.time_feature", "numpy")


class Broken(Exception):
    """A module on the way raised when it was imported: `module` is its name, `cause` what it raised."""

    def __init__(self, module: str, cause: Exception) -> None:
        super().__init__(f"{module!r} raised {type(cause).__name__}: {cause}")
        self.module, self.cause = module, cause


def is_path(text: str) -> bool:
    parts = text.split(".")
    return len(parts) > 1 and all(map(str.isidentifier, parts))


def located(path: str) -> Any:
    """What stands at a dotted path, be it nested in a class, or None. Raises Broken where an import fails."""
    if not is_path(path):
        return None
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        module = _imported(".".join(parts[:end]))
        if module is not None:
            return _inside(module, parts[end:])
    return None


def _imported(name: str) -> Any:
    """The module, or None where there is none of that name. Raises Broken."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if f"{name}.".startswith(f"{error.name}."):
            return None  # the path itself leads nowhere; perhaps its end is a nested class
        raise Broken(name, error) from error
    except Exception as error:
        raise Broken(name, error) from error


def _inside(found: Any, names: list[str]) -> Any:
    for name in names:
        found = getattr(found, name, None)
    return found


def function(name: str) -> Any:
    """A function or another callable by its path, or by its bare name; None if there is none. Raises Broken."""
    homes = [vars(importlib.import_module(home)) for home in FUNCTIONS]
    found = [located(name), *(home.get(name) for home in homes)]
    return _only(list(filter(callable, found)))


def subclass(name: str, base: type) -> Any:
    """A class below `base`, or `base` itself, by path or by name; None if there is none. Raises Broken.

    'NegativeBinomialOutput', 'negative-binomial' and the paths of GluonTS's time with mxnet mean the class of today.
    """
    if is_path(name) and not name.startswith("gluonts.mx."):
        found = located(name)
        if isinstance(found, type) and issubclass(found, base):
            return found
        if not name.startswith("gluonts."):
            return None
    wanted = plain_name(name.rpartition(".")[2])
    return _only([kind for kind in subclasses(base) if plain_name(kind.__name__) == wanted])


def _only(found: list[Any]) -> Any:
    """What can be meant; None where it is nothing, or could be several."""
    return found[0] if len(found) == 1 else None


def subclasses(base: type) -> list[type]:
    """`base` and all below it that can be made, each once."""
    found: dict[type, None] = {}
    if not unfinished(base):
        found[base] = None
    child: type
    for child in base.__subclasses__():
        found |= dict.fromkeys(subclasses(child))
    return list(found)


def plain_name(text: str) -> str:
    """'NegativeBinomialOutput', 'negative-binomial' and 'Negative_Binomial' are one name."""
    return "".join(filter(str.isalnum, text.lower())).removesuffix("output")


def unfinished(kind: type) -> list[str]:
    """The methods that a class leaves to its subclasses: marked abstract, or raising NotImplementedError at once."""
    found = set(getattr(kind, "__abstractmethods__", ()))
    for name in dir(kind):
        own = name == "__call__" or not name.startswith("__")
        if own and _raises_at_once(inspect.getattr_static(kind, name)):
            found.add(name)
    return sorted(found)


def _raises_at_once(attribute: Any) -> bool:
    """`raise NotImplementedError` is all that such a method does, so it is the first name that its code uses."""
    function = getattr(attribute, "fget", None) or getattr(attribute, "__func__", attribute)
    code = getattr(function, "__code__", None)
    return getattr(code, "co_names", ())[:1] == ("NotImplementedError",)
