"""torch's compiler: imported by the first who uses it, instead of with Lightning, which only names it.

Every torch predictor of GluonTS brings Lightning, and that imports `torch._dynamo` for two things: a class, to ask
whether a module is compiled, and a decorator. No forecaster of GluonTS compiles anything when it forecasts: without it
such a model is loaded in four fifths of the time, and a server is 32 MiB smaller. A training gains nothing, since
torch's optimizers import the compiler at their first step.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from importlib import metadata
from types import ModuleType
from typing import Any

LIGHTNING = "lightning.pytorch"
COMPILER = "torch._dynamo"
COMPILED = "torch._dynamo.eval_frame"  # where the class of compiled modules is
# distributions that are transformed ask it for their shape, with sympy; the compiler would have brought it
SHAPES = "torch.fx.experimental.symbolic_shapes"
KNOWN = {"torch": "2.13", "lightning": "2.6"}
"""Where Lightning and what it imports of torch use of the compiler what `_stand_in` has, and nothing else."""


def import_lightning() -> None:
    """Without the compiler, which is imported as ever by whatever asks for it afterwards; with what forecasts ask for.

    Nothing is imported here where the versions are others, or one of the two is there already.
    """
    if LIGHTNING in sys.modules or COMPILER in sys.modules or not _known():
        return
    sys.modules[COMPILER] = _stand_in()
    try:
        importlib.import_module(LIGHTNING)
    finally:
        del sys.modules[COMPILER]
    importlib.import_module(SHAPES)


def _known() -> bool:
    try:
        return all(metadata.version(name).startswith(f"{known}.") for name, known in KNOWN.items())
    except metadata.PackageNotFoundError:
        return False


def _stand_in() -> ModuleType:
    module = ModuleType(COMPILER)
    vars(module).update(OptimizedModule=OptimizedModule, disable=disable)
    return module


class _Compiled(type):
    def __instancecheck__(cls, instance: object) -> bool:
        home = sys.modules.get(COMPILED)
        return home is not None and isinstance(instance, home.OptimizedModule)


class OptimizedModule(metaclass=_Compiled):
    """Its instances are those of the compiler's class of this name; there are none before that is imported."""


def disable(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[..., Any]:
    """As the compiler's decorator, which marks what is not to be compiled: only the compiler has to know of it."""

    @functools.cache
    def marked() -> Callable[..., Any]:
        home = importlib.import_module(COMPILER)
        return home.disable(function, *arguments, **options)  # type: ignore[no-any-return]

    @functools.wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        if COMPILED not in sys.modules:
            return function(*given, **named)
        return marked()(*given, **named)

    return called
