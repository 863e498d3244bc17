"""A forecaster's name -> its class. A forecaster is an Estimator (it is trained) or a Predictor (it just predicts).

It finds and imports; what the class is given is `arguments`' business. "No such name", "an import
inside it failed", "an extra is missing" and "that is no forecaster" are four messages, because they
have four remedies.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path
from typing import Any, get_origin

import gluonts
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor, RepresentablePredictor

from gluonts_shell import nearby
from gluonts_shell.errors import ForecasterError
from gluonts_shell.forecasting.forecaster import objects
from gluonts_shell.forecasting.forecaster.catalog import EXTRAS, SHORT_NAMES, remedy

log = logging.getLogger(__name__)

Forecaster = type[Estimator] | type[Predictor]


def resolve(name: str, code: Path | None = None) -> Forecaster:
    """The class with this path, short name, or path of GluonTS's time with mxnet.

    code: the folder that the code channel was installed to, which the sentence about a name that is
    nowhere lists. Raises ForecasterError with what was looked for and what to do.
    """
    found = _of_its_time(name)
    if found is None:
        found = _todays(name)
    if found is None:
        raise ForecasterError(_nowhere(name, code))
    if not isinstance(found, type) or not issubclass(found, Estimator | Predictor):
        raise ForecasterError(
            f"{name!r} is {_described(found)}, expected a subclass of gluonts' Estimator or Predictor"
        )
    _check_finished(name, found)
    return found


def _of_its_time(name: str) -> Any:
    """What the name says; the forecasters of mxnet are gone where it is not installed."""
    path = SHORT_NAMES.get(name, name)
    if path.startswith("gluonts.mx.") and importlib.util.find_spec("mxnet") is None:
        return None
    return _located(path)


def _todays(name: str) -> Any:
    """What GluonTS has today under the name that a path of its time with mxnet ends with."""
    today = SHORT_NAMES.get(name.rpartition(".")[2])
    if today is None or not name.startswith(("gluonts.model.", "gluonts.mx.")):
        return None
    log.info("forecaster %r is today's %r", name, today)
    return _located(today)


def _located(path: str) -> Any:
    try:
        return objects.located(path)
    except objects.Broken as broken:
        raise ForecasterError(_import_failed(path, broken)) from broken.cause


def _import_failed(path: str, broken: objects.Broken) -> str:
    package = ""
    if isinstance(broken.cause, ImportError):
        package = str(broken.cause.name).partition(".")[0]
    if package in EXTRAS:
        return f"forecaster {path!r} needs {package}, which is not installed: install {remedy(path, package)}"
    return f"forecaster {path!r} cannot be imported: {broken}"


def _nowhere(name: str, code: Path | None) -> str:
    short = name.rpartition(".")[2]
    of_gluonts = name == short or name.startswith(("gluonts.mx.", "gluonts.model."))
    if of_gluonts and short in _of_mxnet():
        return f"{short} needs mxnet, which is not installed; GluonTS has no torch version of it"
    return f"there is no forecaster {name[:200]!r}{_brought(code)}{_suggestion(short)}"


def _of_mxnet() -> set[str]:
    """The estimators in GluonTS's package for mxnet, which are read and not imported."""
    found = set[str]()
    root = Path(gluonts.__file__).parent / "mx"
    for file in root.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        found.update(re.findall(r"^class (\w+(?:Estimator|Predictor))\(", text, re.MULTILINE))
    return found


def _brought(code: Path | None) -> str:
    """What is said of the folder that pip installed the code channel to: its top-level packages and modules."""
    if code is None or not code.is_dir():
        return ""
    importable = [*code.glob("*.py"), *(file.parent for file in code.glob("*/__init__.py"))]
    installed = [repr(file.stem) for file in sorted(importable)[:10]]
    if not installed:
        return ""
    return f"; the code channel installed {', '.join(installed)}"


def _suggestion(short: str) -> str:
    """Near misses of a whole name; the word for its kind may be missing, and does not make two names alike."""
    whole = nearby.similar(short, SHORT_NAMES, count=3, cutoff=0.9)
    bare = nearby.similar(_bare(short), map(_bare, SHORT_NAMES), count=3, cutoff=0.8)
    paths = [path for name, path in SHORT_NAMES.items() if name in whole or _bare(name) in bare]
    if not paths:
        return "; expected a class path such as 'gluonts.torch.model.deepar.DeepAREstimator'"
    return f"; did you mean {' or '.join(map(repr, paths))}?"


def _bare(name: str) -> str:
    return name.lower().removesuffix("predictor").removesuffix("estimator")


def _check_finished(name: str, kind: Forecaster) -> None:
    """Raises ForecasterError for a base class, with what it leaves to its subclasses."""
    missing = dict.fromkeys(objects.unfinished(kind))
    if issubclass(kind, Predictor) and kind.predict is not RepresentablePredictor.predict:
        missing.pop("predict_item", None)
    hints = vars(kind).get("__annotations__", {})
    missing |= dict.fromkeys(name for name in hints if _is_open(kind, name, hints[name]))
    if missing:
        raise ForecasterError(
            f"{name!r} is a base class, which leaves {', '.join(missing)} to its subclasses; name one of those"
        )


def _is_open(kind: type, name: str, hint: Any) -> bool:
    """Whether an attribute that must be a class was announced and is not there: what StatsForecastPredictor wraps."""
    return (get_origin(hint) or hint) in ("Type", "type", type) and not hasattr(kind, name)


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"a {type(value).__name__}"
