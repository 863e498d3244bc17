"""DeepAR's vocabulary -> that of today's torch DeepAREstimator. One table knows names, defaults and ranges.

Source: "DeepAR Hyperparameters" in AWS's guide, and the container's own default-input.json.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster.hyperparameters.values import NOTHING, Unfit, fit
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


@dataclass(frozen=True)
class Translation:
    """hyperparameters: in the estimator's words, typed. cardinality, dynamic: 'auto', 'ignore' or what was given.

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


def _unfit(name: str, value: Any, expected: object) -> ConfigurationError:
    return ConfigurationError(f"hyperparameter {name!r} is {value!r}, expected {expected}")


def _fitted(name: str, value: Any, kind: Any) -> Any:
    try:
        return fit(value, kind)
    except Unfit as error:
        raise _unfit(name, value, error) from None


def _nothing(value: Any) -> bool:
    return value is None or str(value).strip().lower() in NOTHING


def _as_given(_: str, value: Any) -> Any:
    return value


def _positive(name: str, value: Any) -> Any:
    """Whether nothing is allowed, the estimator's constructor tells."""
    if _nothing(value):
        return value
    number = _fitted(name, value, int)
    if number < 1:
        raise _unfit(name, value, "a positive whole number")
    return number


def _optional(name: str, value: Any) -> int | None:
    return None if _nothing(value) else int(_positive(name, value))


def _rate(name: str, value: Any) -> float:
    number: float = _fitted(name, value, float)
    if not 0 < number < math.inf:
        raise _unfit(name, value, "more than 0")
    return number


def _share(name: str, value: Any) -> float:
    number: float = _fitted(name, value, float)
    if not 0 <= number < 1:
        raise _unfit(name, value, "0 <= rate < 1")
    return number


def _likelihood(name: str, value: Any) -> str:
    """In any case of letters."""
    known = {plain_name(one): output for one, output in LIKELIHOODS.items()}
    found = known.get(plain_name(str(value)))
    if found is None:
        raise _unfit(name, value, f"one of {', '.join(LIKELIHOODS)}")
    return found


def _embedding(name: str, value: Any) -> int | list[int] | None:
    """One for all categories, as DeepAR has it, or the estimator's list."""
    if isinstance(value, list) or "[" in str(value):
        return list(_fitted(name, value, list[int]))
    return _optional(name, value)


def _cardinality(name: str, value: Any) -> str | list[int]:
    word = _use(value)
    if word is not None:
        return word
    found: list[int] = _counts(name, value, list[int])
    if min(found, default=0) < 1:
        raise _unfit(name, value, "positive numbers")
    return found


def _dynamic(name: str, value: Any) -> str | int:
    word = _use(value)
    if word is not None:
        return word
    found: int = _counts(name, value, int)
    if found < 0:
        raise _unfit(name, value, "positive numbers")
    return found


def _use(value: Any) -> str | None:
    """'auto' or 'ignore', which nothing means too."""
    text = str(value).strip().lower()
    if _nothing(value):
        return "ignore"
    return text if text in ("auto", "ignore") else None


def _counts(name: str, value: Any, kind: Any) -> Any:
    try:
        return fit(value, kind)
    except Unfit as error:
        raise _unfit(name, value, f"auto, ignore or {error}") from None


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
REQUIRED = tuple(name for name, word in WORDS.items() if word.required)


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
    theirs = {name: value for name, value in given.items() if name not in WORDS}
    ours: dict[str, Any] = {}
    for name, word in WORDS.items():
        value = _value(name, word, given, built_in)
        if value is None:
            continue
        if word.estimators is None:
            ours[name] = value
            continue
        if word.estimators in theirs:
            raise ConfigurationError(
                f"hyperparameters {name!r} and {word.estimators!r} are the same; give one of them"
            )
        theirs[word.estimators] = value
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


def _check_complete(given: Mapping[str, Any]) -> None:
    missing = [
        name for name in REQUIRED if name not in given and WORDS[name].estimators not in given
    ]
    if missing:
        raise ConfigurationError(
            f"hyperparameter {', '.join(map(repr, missing))} is missing; DeepAR requires it"
        )


def _value(name: str, word: Word, given: Mapping[str, Any], built_in: bool) -> Any:
    """What was given, else the algorithm's default; None where the class is to do as it does."""
    if name in given:
        return word.typed(name, given[name])
    if not built_in or word.default is None or word.estimators in given:
        return None
    return word.typed(name, word.default)


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
