"""What can be known to be wrong before anything is trained: from the class, from its arguments, from what it made.

Each function raises one sentence, or returns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gluonts.model.predictor import Predictor

from gluonts_shell.errors import ConfigurationError, ForecasterError
from gluonts_shell.forecasting.forecaster import catalog


def not_installed(kind: type, error: ImportError) -> str:
    """The sentence about a constructor that misses a package. GluonTS's own does not name it in a fixed place."""
    path = catalog.class_path(kind)
    missed = [package for package, _ in catalog.needs(path)] or [str(error.name or "")]
    if missed[0] not in catalog.EXTRAS:
        return f"{kind.__name__} needs a package that is not installed: {' '.join(str(error).split())[:600]}"
    found = f"forecaster {path!r} needs {missed[0]}, which is not installed"
    return f"{found}: install {catalog.remedy(path, missed[0])}"


def check_categories(arguments: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where a class is told of categories and not how many values each has."""
    count = arguments.get("num_feat_static_cat") or 0
    found = arguments.get("cardinality")
    if not count or (isinstance(found, list) and len(found) == count):
        return
    shown = "missing" if found is None else f"{found}"
    raise ConfigurationError(
        f"hyperparameter 'num_feat_static_cat' is {count}, and 'cardinality' is {shown}: "
        f"expected a list of {count}, how many values each category has"
    )


def check_predictor(predictor: Predictor) -> None:
    """Raises ForecasterError for one that does not say how far it forecasts, ConfigurationError for levels in vain."""
    name = type(predictor).__name__
    length = getattr(predictor, "prediction_length", None)
    if not isinstance(length, int) or length < 1:
        found = f"has the prediction_length {length!r}"
        if length is None:
            found = "has no prediction_length"
        raise ForecasterError(
            f"{name} {found}, expected a positive whole number: its constructor must set it, "
            "for example by super().__init__(prediction_length=prediction_length)"
        )
    if hasattr(predictor, "train") and type(predictor).__module__.startswith("gluonts."):
        raise ForecasterError(
            f"{name} forecasts only after an Estimator has trained it; name the Estimator"
        )
    asked = getattr(getattr(predictor, "config", None), "quantile_levels", None)
    if asked and has_no_levels(predictor):
        raise ConfigurationError(
            f"{name} forecasts the mean alone and cannot use hyperparameter 'quantile_levels'; remove it"
        )


def has_no_levels(predictor: Predictor) -> bool:
    """Whether a predictor that takes quantile_levels forecasts the mean alone whatever they are.

    statsforecast's models without intervals of their own raise a text of their `forecast`, unless they are given
    the parameter prediction_intervals. Those that have such a text are tried, for MSTL raises it only for some."""
    model: Any = getattr(predictor, "model", None)
    code = getattr(getattr(type(model), "forecast", None), "__code__", None)
    if not any(map(_asks_for_intervals, getattr(code, "co_consts", ()))):
        return False
    try:
        model.forecast(y=np.arange(1, 61, dtype=np.float32), h=1, level=[50])
    except Exception as error:
        return _asks_for_intervals(str(error))
    return False


def _asks_for_intervals(text: Any) -> bool:
    return isinstance(text, str) and text.rstrip(".").endswith(
        ("to compute them", "to calculate them")
    )
