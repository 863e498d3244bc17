"""What lies beside a model: frequency, horizon and features, as training wrote them; every type is checked.

The file is JSON that anybody may have edited, and what is wrong in it is said at start, not by the first request.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from gluonts_shell.errors import ConfigurationError, ModelError
from gluonts_shell.forecasting.data.frequency import period_alias

CONTRACT = "gluonts_shell.json"


def numbered(labels: Iterable[str]) -> dict[str, int]:
    """Each with its index."""
    return dict(zip(labels, itertools.count(), strict=False))


@dataclass(frozen=True)
class Features:
    """What a series must carry for this model; None means unknown, and then whatever is sent is passed on.

    static_cat: cardinality of each categorical feature; labels: for each of them the users' labels
    in index order, or None where the data had the indices themselves. dynamic_cat,
    past_dynamic_cat: cardinalities of categories that change with time. dimensions: of the target,
    which is one list of numbers where it is 1, else a list of as many lists; 0 while it is not
    known. lead_time: steps between the last value and the first that is forecast, which dynamic
    features cover too. own: fields that we do not know are passed on, as the user's own class may
    want them. future_covariates, past_covariates: the names that training saw for the dynamic
    features, and for those of the past, in their order; none where they came without names.
    future_categories, past_categories: the same of those that are text, and covariate_labels the
    texts of each, in index order. The model need not use any of them.
    """

    static_cat: tuple[int, ...] | None = None
    static_real: int | None = None
    dynamic_real: int | None = None
    past_dynamic_real: int | None = None
    labels: tuple[tuple[str, ...] | None, ...] = ()
    dynamic_cat: tuple[int, ...] | None = None
    past_dynamic_cat: tuple[int, ...] | None = None
    dimensions: int = 1
    lead_time: int = 0
    own: bool = False
    future_covariates: tuple[str, ...] = ()
    past_covariates: tuple[str, ...] = ()
    future_categories: tuple[str, ...] = ()
    past_categories: tuple[str, ...] = ()
    covariate_labels: tuple[tuple[str, ...], ...] = ()

    @functools.cached_property
    def positions(self) -> tuple[dict[str, int] | None, ...]:
        """For each categorical feature its labels with their indices; made once, there may be many thousands."""
        return tuple(None if labels is None else numbered(labels) for labels in self.labels)


@dataclass(frozen=True)
class Contract:
    """freq is a pandas period alias, prediction_length in steps of it, created in UTC (ISO 8601).

    stopped_early: the training was interrupted, and this is the best that it had by then.
    """

    freq: str | None
    prediction_length: int
    forecaster: str
    arguments: dict[str, Any] = field(default_factory=dict)
    features: Features = Features()
    versions: dict[str, str] = field(default_factory=dict)
    training_job_name: str | None = None
    created: str | None = None
    stopped_early: bool = False

    @classmethod
    def parse(cls, text: str) -> Contract:
        """Raises ModelError where the text is no contract that this version can read."""
        try:
            value = json.loads(text)
            if not isinstance(value, dict):
                raise ValueError(f"it is a JSON {type(value).__name__}, expected an object")
            if not isinstance(value["features"], dict):
                raise ValueError(
                    f"features is {json.dumps(value['features'])[:100]}, expected an object"
                )
            features = dict(value["features"])
            known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
            _check("", known, FIELDS)
            _check("features.", features, FEATURES)
            known["features"] = Features(**_tuples(features))
            return cls(**known)
        except KeyError as error:
            raise _unreadable(f"{error.args[0]!r} is missing") from error
        except (ValueError, TypeError, RecursionError, ConfigurationError) as error:
            raise _unreadable(str(error)) from error

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, default=repr) + "\n"


def _check(group: str, values: dict[str, Any], checks: dict[str, Check]) -> None:
    """Raises ValueError, which names the field, what it is and what it should be."""
    for name, check in checks.items():
        if name in values and not check.fits(values[name]):
            found = f"{group}{name} is {json.dumps(values[name])[:100]}"
            raise ValueError(f"{found}, expected {check.expected}")
    if isinstance(values.get("freq"), str):
        period_alias(values["freq"])


def _unreadable(reason: str) -> ModelError:
    return ModelError(f"{CONTRACT} in the model folder cannot be read: {reason}")


def _tuples(features: dict[str, Any]) -> dict[str, Any]:
    """With the lists of TUPLES, and the lists in them, as tuples, which a frozen value has."""
    found = dict(features)
    for name in TUPLES & features.keys():
        found[name] = _tuple(features[name])
    return found


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


Fits: TypeAlias = Callable[[Any], bool]


def _a(kind: type) -> Fits:
    """A value of this type; true and false are no numbers."""
    return lambda value: type(value) is kind


def _from(least: int) -> Fits:
    return lambda value: type(value) is int and value >= least


def _list(fits: Fits) -> Fits:
    return lambda value: type(value) is list and all(map(fits, value))


def _or_null(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


@dataclass(frozen=True)
class Check:
    """What a field of the file must be: a test, and how a sentence calls what passes it."""

    fits: Fits
    expected: str


TEXT = Check(_or_null(_a(str)), "a text or null")
OBJECT = Check(_a(dict), "an object")
FLAG = Check(_a(bool), "true or false")
POSITIVE = Check(_from(1), "a whole number of at least 1")
COUNT = Check(_or_null(_from(0)), "a whole number of at least 0, or null")
CARDINALITIES = Check(_or_null(_list(_from(1))), "a list of whole numbers of at least 1, or null")
NAMES = Check(_list(_a(str)), "a list of texts")
FIELDS: dict[str, Check] = {
    "freq": Check(TEXT.fits, "a text such as 'D', or null"),
    "prediction_length": POSITIVE,
    "forecaster": Check(_a(str), "a class path"),
    "arguments": OBJECT,
    "versions": OBJECT,
    "training_job_name": TEXT,
    "created": TEXT,
    "stopped_early": FLAG,
}
FEATURES: dict[str, Check] = {
    "static_cat": CARDINALITIES,
    "static_real": COUNT,
    "dynamic_real": COUNT,
    "past_dynamic_real": COUNT,
    "dynamic_cat": CARDINALITIES,
    "past_dynamic_cat": CARDINALITIES,
    "dimensions": POSITIVE,
    "lead_time": Check(_from(0), "a whole number of at least 0"),
    "own": FLAG,
    "labels": Check(_list(_or_null(NAMES.fits)), "a list of lists of texts, or of null"),
    "future_covariates": NAMES,
    "past_covariates": NAMES,
    "future_categories": NAMES,
    "past_categories": NAMES,
    "covariate_labels": Check(_list(NAMES.fits), "a list of lists of texts"),
}
TUPLES = frozenset(
    {
        "static_cat",
        "dynamic_cat",
        "past_dynamic_cat",
        "labels",
        "future_covariates",
        "past_covariates",
        "future_categories",
        "past_categories",
        "covariate_labels",
    }
)
