"""Whether a predictor of a class can be saved, told from the class alone: before hours of work, not after them."""

from __future__ import annotations

import inspect

from gluonts.core.serde import encode
from gluonts.model.predictor import Predictor, RepresentablePredictor

from gluonts_shell.errors import ForecasterError

NOT_SERIALIZABLE = (
    "forecaster {name!r} cannot be saved: its class needs @gluonts.core.component.validated() on its constructor, "
    "or a method __getnewargs_ex__, or methods serialize(path) and deserialize(path) of its own"
)


def check_savable(kind: type) -> None:
    """Raises ForecasterError for a Predictor that cannot be saved, where its class tells so already."""
    if not issubclass(kind, Predictor) or _saves_itself(kind) or _is_represented(kind):
        return
    raise ForecasterError(NOT_SERIALIZABLE.format(name=f"{kind.__module__}.{kind.__qualname__}"))


def _saves_itself(kind: type[Predictor]) -> bool:
    """By methods that are not GluonTS's roots'; deserialize is a class method, or a static one."""
    reading = inspect.getattr_static(kind, "deserialize")
    roots = [vars(root)["deserialize"] for root in (Predictor, RepresentablePredictor)]
    return reading not in roots and kind.serialize is not RepresentablePredictor.serialize


def _is_represented(kind: type) -> bool:
    """By the arguments of its constructor, which GluonTS keeps where it is validated, or in a way that it knows."""
    if not issubclass(kind, RepresentablePredictor):
        return False
    constructors = [vars(base).get("__init__") for base in kind.__mro__]
    ways = (
        any(hasattr(constructor, "Model") for constructor in constructors),  # it is validated
        encode.dispatch(kind) is not encode.dispatch(object),
        hasattr(kind, "__getnewargs_ex__"),
        hasattr(kind, "__init_passed_kwargs__"),
    )
    return any(ways)
