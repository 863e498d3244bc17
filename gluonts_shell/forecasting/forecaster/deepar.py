"""DeepAR's vocabulary -> that of today's torch DeepAREstimator. One table knows names, defaults and ranges.

Source: "DeepAR Hyperparameters" in AWS's guide, and the container's own default-input.json.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster.hyperparameters.annotations import Unfit
from gluonts_shell.forecasting.forecaster.hyperparameters.values import (
    NOTHING,
    fit,
    given_twice,
    is_null,
    word,
)
from gluonts_shell.forecasting.forecaster.objects import plain_name

NAME = "deepar"
ESTIMATOR = "gluonts.torch.model.deepar.DeepAREstimator"
LIKELIHOODS = {
    "student-T": "StudentTOutput",
    "gaussian": "NormalOutput",
    "negative-binomial": "NegativeBinomialOutput",
    "beta": "BetaOutput",
    "deterministic-L1": "LaplaceOutput",
}
# a word for what to use of the data -> what it means; nothing means to ignore it
USES = {"auto": "auto", "ignore": "ignore", **dict.fromkeys(NOTHING, "ignore")}


@dataclass(frozen=True)
class Translation:
    """hyperparameters: in the estimator's words, typed. cardinality, dynamic: 'auto', 'ignore' or what was given.

    built_in: whether the algorithm was asked for, and not GluonTS's class. notes: what is not as in
    the algorithm, for one line in the log.
    """

    hyperparameters: dict[str, Any]
    built_in: bool = True
    cardinality: str | list[int] = "auto"
    dynamic: str | int = "auto"
    embedding_dimension: int | None = None
    early_stopping_patience: int | None = None
    notes: list[str] = field(default_factory=list)


def _unfit(name: str, value: Any, expected: object) -> ConfigurationError:
    return ConfigurationError(f"hyperparameter {name!r} is {value!r}, expected {expected}")


def _check(holds: bool, name: str, value: Any, expected: str) -> None:
    """Raises ConfigurationError where the value is out of the built-in algorithm's range."""
    if not holds:
        raise _unfit(name, value, expected)


def _fitted(name: str, value: Any, kind: Any, words: str = "") -> Any:
    """words: what else it may be. Raises ConfigurationError."""
    try:
        return fit(value, kind)
    except Unfit as error:
        raise _unfit(name, value, f"{words}{error}") from None


def _as_given(_: str, value: Any) -> Any:
    return value


def _positive(name: str, value: Any) -> Any:
    """Whether nothing is allowed, the estimator's constructor tells."""
    if is_null(value):
        return value
    number = _fitted(name, value, int)
    _check(number >= 1, name, value, "a positive whole number")
    return number


def _optional(name: str, value: Any) -> int | None:
    if is_null(value):
        return None
    return int(_positive(name, value))


def _rate(name: str, value: Any) -> float:
    number: float = _fitted(name, value, float)
    _check(0 < number < math.inf, name, value, "more than 0")
    return number


def _share(name: str, value: Any) -> float:
    number: float = _fitted(name, value, float)
    _check(0 <= number < 1, name, value, "0 <= rate < 1")
    return number


def _likelihood(name: str, value: Any) -> str:
    """In any case of letters."""
    wanted = plain_name(str(value))
    for likelihood, output in LIKELIHOODS.items():
        if plain_name(likelihood) == wanted:
            return output
    raise _unfit(name, value, f"one of {', '.join(LIKELIHOODS)}")


def _embedding(name: str, value: Any) -> int | list[int] | None:
    """One for all categories, as DeepAR has it, or the estimator's list."""
    if isinstance(value, list) or "[" in str(value):
        return list(_fitted(name, value, list[int]))
    return _optional(name, value)


def _cardinality(name: str, value: Any) -> str | list[int]:
    use = USES.get(word(value))
    if use is not None:
        return use
    found: list[int] = _fitted(name, value, list[int], "auto, ignore or ")
    _check(min(found, default=0) >= 1, name, value, "positive numbers")
    return found


def _dynamic(name: str, value: Any) -> str | int:
    use = USES.get(word(value))
    if use is not None:
        return use
    found: int = _fitted(name, value, int, "auto, ignore or ")
    _check(found >= 0, name, value, "positive numbers")
    return found


@dataclass(frozen=True)
class Word:
    """One hyperparameter of DeepAR. estimators: GluonTS's name for it; None for what the shell itself makes use of.

    typed(name, value) checks the built-in algorithm's range. default: of the built-in algorithm.
    """

    typed: Callable[[str, Any], Any]
    estimators: str | None
    default: Any = None
    required: bool = False


WORDS: Mapping[str, Word] = {
    "time_freq": Word(_as_given, "freq", required=True),
    "context_length": Word(_positive, "context_length", required=True),
    "prediction_length": Word(_positive, "prediction_length", required=True),
    "epochs": Word(_positive, "epochs", required=True),
    "mini_batch_size": Word(_positive, "batch_size", 128),
    "learning_rate": Word(_rate, "lr", 0.001),
    "num_cells": Word(_positive, "hidden_size", 40),
    "num_layers": Word(_positive, "num_layers", 2),
    "dropout_rate": Word(_share, "dropout_rate", 0.10),
    "likelihood": Word(_likelihood, "distr_output", "student-T"),
    "num_eval_samples": Word(_positive, "num_eval_samples"),
    "embedding_dimension": Word(_embedding, None, 10),
    "early_stopping_patience": Word(_optional, None),
    "cardinality": Word(_cardinality, None, "auto"),
    "num_dynamic_feat": Word(_dynamic, None, "auto"),
}
REQUIRED = tuple(name for name, entry in WORDS.items() if entry.required)


def asked_for(forecaster: str | None, hyperparameters: Mapping[str, Any]) -> bool:
    """A job of the built-in algorithm names no forecaster and has DeepAR's required hyperparameters."""
    if forecaster is not None:
        return forecaster.lower() == NAME
    return all(name in hyperparameters for name in REQUIRED)


def translate(given: Mapping[str, Any], built_in: bool) -> Translation:
    """DeepAR's hyperparameters in the estimator's words; built_in adds the built-in algorithm's defaults.

    Raises ConfigurationError, naming the hyperparameter, for a value outside the built-in algorithm's range.
    """
    if built_in:
        _check_complete(given)
    ours, theirs = _divided(given, built_in)
    if isinstance(ours.get("embedding_dimension"), list):
        theirs["embedding_dimension"] = ours.pop("embedding_dimension")
    # its values are shares, which must stay between 0 and 1
    if theirs.get("distr_output") == LIKELIHOODS["beta"]:
        theirs.setdefault("scaling", False)
    return Translation(
        hyperparameters=theirs,
        built_in=built_in,
        cardinality=ours.get("cardinality", "auto"),
        dynamic=ours.get("num_dynamic_feat", "auto"),
        embedding_dimension=ours.get("embedding_dimension"),
        early_stopping_patience=ours.get("early_stopping_patience"),
        notes=_notes(given, theirs, built_in),
    )


def _divided(given: Mapping[str, Any], built_in: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the shell itself makes use of, under DeepAR's names, and what the estimator takes, under its own."""
    theirs = {name: value for name, value in given.items() if name not in WORDS}
    ours: dict[str, Any] = {}
    for name, entry in WORDS.items():
        value = _value(name, entry, given, built_in)
        if value is None:
            continue
        if entry.estimators is None:
            ours[name] = value
        elif entry.estimators in theirs:
            raise given_twice(name, entry.estimators)
        else:
            theirs[entry.estimators] = value
    return ours, theirs


def _check_complete(given: Mapping[str, Any]) -> None:
    missing = [name for name in REQUIRED if given.keys().isdisjoint((name, WORDS[name].estimators))]
    if missing:
        raise ConfigurationError(
            f"hyperparameter {', '.join(map(repr, missing))} is missing; DeepAR requires it"
        )


def _value(name: str, entry: Word, given: Mapping[str, Any], built_in: bool) -> Any:
    """What was given, else the algorithm's default; None where the class is to do as it does."""
    if name in given:
        return entry.typed(name, given[name])
    if not built_in or entry.default is None or entry.estimators in given:
        return None
    return entry.typed(name, entry.default)


def _notes(given: Mapping[str, Any], theirs: Mapping[str, Any], built_in: bool) -> list[str]:
    notes = []
    if "likelihood" in given and theirs["distr_output"] == LIKELIHOODS["deterministic-L1"]:
        laplace = "is a Laplace distribution here, whose centre minimises the same L1 loss"
        notes.append(f"likelihood deterministic-L1 {laplace}")
    if built_in and "dropout_rate" in given:
        notes.append(
            "dropout_rate is the rate of dropout; the built-in algorithm means zoneout by it"
        )
    return notes
