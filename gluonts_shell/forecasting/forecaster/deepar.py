"""DeepAR's vocabulary -> that of today's torch DeepAREstimator. Knows names, defaults and ranges; trains nothing.

Source: "DeepAR Hyperparameters" in AWS's guide, and the container's own default-input.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster.hyperparameters.values import NOTHING, Unfit, fit
from gluonts_shell.forecasting.forecaster.objects import plain_name

NAME = "deepar"
ESTIMATOR = "gluonts.torch.model.deepar.DeepAREstimator"
REQUIRED = ("time_freq", "context_length", "prediction_length", "epochs")
DEFAULTS: Mapping[str, Any] = {
    "mini_batch_size": 128,
    "learning_rate": 0.001,
    "num_cells": 40,
    "num_layers": 2,
    "dropout_rate": 0.10,
    "likelihood": "student-T",
    "embedding_dimension": 10,
}
RENAMED = {
    "time_freq": "freq",
    "mini_batch_size": "batch_size",
    "learning_rate": "lr",
    "num_cells": "hidden_size",
    "likelihood": "distr_output",
}
LIKELIHOODS = {
    "student-T": "StudentTOutput",
    "gaussian": "NormalOutput",
    "negative-binomial": "NegativeBinomialOutput",
    "beta": "BetaOutput",
    "deterministic-L1": "LaplaceOutput",
}
POSITIVE = (
    "context_length", "epochs", "prediction_length", "mini_batch_size", "num_cells", "num_layers",
    "embedding_dimension", "num_eval_samples", "early_stopping_patience",
)  # fmt: skip


@dataclass(frozen=True)
class Translation:
    """hyperparameters: in the estimator's words. cardinality, dynamic: 'auto', 'ignore' or what was given.

    built_in: whether the algorithm was asked for, and not GluonTS's class. notes: what is not as in the algorithm, for
    one line in the log.
    """

    hyperparameters: dict[str, Any]
    built_in: bool = True
    cardinality: str | list[int] = "auto"
    dynamic: str | int = "auto"
    embedding_dimension: int | None = None
    early_stopping_patience: int | None = None
    notes: list[str] = field(default_factory=list)


def asked_for(forecaster: str | None, hyperparameters: Mapping[str, Any]) -> bool:
    """A job of the built-in algorithm names no forecaster and has DeepAR's required hyperparameters."""
    if forecaster is not None:
        return forecaster.lower() == NAME
    return all(name in hyperparameters for name in REQUIRED)


def translate(given: Mapping[str, Any], built_in: bool) -> Translation:
    """DeepAR's hyperparameters in the estimator's words; built_in adds the built-in algorithm's defaults.

    Raises ConfigurationError, naming the hyperparameter, for a value outside the built-in algorithm's range.
    """
    missing = [name for name in REQUIRED if name not in given and RENAMED.get(name) not in given] if built_in else []
    if missing:
        raise ConfigurationError(f"hyperparameter {', '.join(map(repr, missing))} is missing; DeepAR requires it")
    values = {n: v for n, v in given.items() if n != "early_stopping_patience" or not _nothing(v)}
    if built_in:
        values = {n: v for n, v in DEFAULTS.items() if RENAMED.get(n) not in values} | values
    _check_ranges(values)
    notes = _renamed_likelihood(values)
    if built_in and "dropout_rate" in given:
        notes.append("dropout_rate is the rate of dropout; the built-in algorithm means zoneout by it")
    use = {
        "cardinality": _feature_use(values.pop("cardinality", "auto"), "cardinality", list[int]),
        "dynamic": _feature_use(values.pop("num_dynamic_feat", "auto"), "num_dynamic_feat", int),
    }
    patience = values.pop("early_stopping_patience", None)
    embedding = values.get("embedding_dimension")
    if _nothing(embedding):  # null and the like: as the class does without it
        values.pop("embedding_dimension", None)
        embedding = None
    single = embedding is not None and not isinstance(embedding, list) and "[" not in str(embedding)
    if single:
        del values["embedding_dimension"]
    for old, new in RENAMED.items():
        if old in values:
            if new in values:
                raise ConfigurationError(f"hyperparameters {old!r} and {new!r} are the same; give one of them")
            values[new] = values.pop(old)
    return Translation(
        hyperparameters=values,
        built_in=built_in,
        embedding_dimension=int(float(str(embedding))) if single else None,
        early_stopping_patience=None if patience is None else int(float(patience)),
        notes=notes,
        **use,
    )


def _check_ranges(values: Mapping[str, Any]) -> None:
    for name in POSITIVE:
        if _nothing(values.get(name)) or (name == "embedding_dimension" and "[" in str(values[name])):
            continue  # whether nothing is allowed, the estimator's constructor tells
        if (_number(name, values[name], int)) < 1:
            raise ConfigurationError(f"hyperparameter {name!r} is {values[name]!r}, expected a positive whole number")
    if "dropout_rate" in values and not 0 <= _number("dropout_rate", values["dropout_rate"], float) < 1:
        raise ConfigurationError(f"hyperparameter 'dropout_rate' is {values['dropout_rate']!r}, expected 0 <= rate < 1")
    if "learning_rate" in values and not 0 < _number("learning_rate", values["learning_rate"], float) < math.inf:
        raise ConfigurationError(f"hyperparameter 'learning_rate' is {values['learning_rate']!r}, expected more than 0")


def _nothing(value: Any) -> bool:
    return value is None or str(value).strip().lower() in NOTHING


def _number(name: str, value: Any, kind: type) -> Any:
    try:
        return fit(value, kind)
    except Unfit as error:
        raise ConfigurationError(f"hyperparameter {name!r} is {value!r}, expected {error}") from None


def _renamed_likelihood(values: dict[str, Any]) -> list[str]:
    """Replaces the name in place, in any case of letters; returns what is to be said about it."""
    if "likelihood" not in values:
        return []
    known = {plain_name(name): name for name in LIKELIHOODS}
    name = known.get(plain_name(str(values["likelihood"])))
    if name is None:
        raise ConfigurationError(
            f"hyperparameter 'likelihood' is {values['likelihood']!r}, expected one of {', '.join(LIKELIHOODS)}"
        )
    values["likelihood"] = LIKELIHOODS[name]
    if name == "beta":  # its values are shares, which must stay between 0 and 1
        values.setdefault("scaling", False)
    if name == "deterministic-L1":
        return ["likelihood deterministic-L1 is a Laplace distribution here, whose centre minimises the same L1 loss"]
    return []


def _feature_use(value: Any, name: str, kind: Any) -> Any:
    """'auto', 'ignore', or the explicit value; the empty string means ignore."""
    text = str(value).strip().lower()
    if text in ("auto", "ignore"):
        return text
    if text in ("", "none", "null"):
        return "ignore"
    try:
        found = fit(value, kind)
    except Unfit as error:
        raise ConfigurationError(f"hyperparameter {name!r} is {value!r}, expected auto, ignore or {error}") from None
    if min(found, default=0) < 1 if isinstance(found, list) else found < 0:
        raise ConfigurationError(f"hyperparameter {name!r} is {value!r}, expected positive numbers")
    return found
