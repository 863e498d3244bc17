"""A forecaster's name -> its class. A forecaster is an Estimator (it is trained) or a Predictor (it just predicts).

It finds and imports; what the class is given is `routing`'s business. "No such name", "an import inside it failed",
"an extra is missing" and "that is no forecaster" are four messages, because they have four remedies.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
from typing import Any

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from gluonts_shell.errors import ForecasterError
from gluonts_shell.forecasting.forecaster.catalog import EXTRAS, SHORT_NAMES

log = logging.getLogger(__name__)

Forecaster = type[Estimator] | type[Predictor]


def resolve(name: str) -> Forecaster:
    """The class with this path, short name, or path of GluonTS's time with mxnet.

    Raises ForecasterError with what was looked for and what to do.
    """
    path = SHORT_NAMES.get(name, name)
    short = path.rpartition(".")[2]
    moved = path.startswith("gluonts.mx.") and importlib.util.find_spec("mxnet") is None
    found = None if moved else _locate(path)
    if found is None and path.startswith(("gluonts.model.", "gluonts.mx.")) and short in SHORT_NAMES:
        log.info("forecaster %r is today's %r", name, SHORT_NAMES[short])
        found = _locate(SHORT_NAMES[short])
    if found is None:
        raise ForecasterError(f"there is no forecaster {name[:200]!r}{_suggestion(short)}")
    if not isinstance(found, type) or not issubclass(found, Estimator | Predictor):
        raise ForecasterError(
            f"{name!r} is {_described(found)}, expected a subclass of gluonts' Estimator or Predictor"
        )
    return found


def _locate(path: str) -> Any:
    """What stands at a dotted path, or None. Raises ForecasterError where an import on the way fails."""
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return None
    for end in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:end])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
                continue  # the path itself leads nowhere; perhaps its end is a nested class
            raise ForecasterError(_import_failed(path, module_name, error)) from error
        except Exception as error:
            raise ForecasterError(_import_failed(path, module_name, error)) from error
        for attribute in parts[end:]:
            found = getattr(found, attribute, None)
        return found
    return None


def _import_failed(path: str, module_name: str, error: Exception) -> str:
    package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if package in EXTRAS:
        return f"forecaster {path!r} needs {package}, which is not installed: install {EXTRAS[package]}"
    return f"forecaster {path!r} cannot be imported: {module_name!r} raised {type(error).__name__}: {error}"


def _suggestion(short: str) -> str:
    lowered = {name.lower(): name for name in SHORT_NAMES}
    close = difflib.get_close_matches(short.lower(), lowered, n=3, cutoff=0.6)
    if not close:
        return "; expected a class path such as 'gluonts.torch.model.deepar.DeepAREstimator'"
    return "; did you mean " + " or ".join(repr(SHORT_NAMES[lowered[name]]) for name in close) + "?"


def _described(value: object) -> str:
    return f"the class {value.__qualname__}" if isinstance(value, type) else f"a {type(value).__name__}"
