"""What lies beside a model: frequency, horizon and features, as training wrote them; every type is checked.

The file is JSON that anybody may have edited, and what is wrong in it is said at start, not by the first request.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from gluonts_shell.errors import ConfigurationError, ModelError
from gluonts_shell.forecasting.data.frequency import period_alias

CONTRACT = "gluonts_shell.json"


@dataclass(frozen=True)
class Features:
    """What a series must carry for this model; None means unknown, and then whatever is sent is passed on.

    static_cat: cardinality of each categorical feature; labels: for each of them the users' labels in index order,
    or None where the data had the indices themselves. dynamic_cat, past_dynamic_cat: cardinalities of categories that
    change with time. dimensions: of the target, which is one list of numbers where it is 1, else a list of as many
    lists; 0 while it is not known. lead_time: steps between the last value and the first that is forecast, which
    dynamic features cover too. own: fields that we do not know are passed on, as the user's own class may want them.
    future_covariates, past_covariates: the names that training saw for the dynamic features, and for those of the
    past, in their order; none where they came without names. future_categories, past_categories: the same of those that
    are text, and covariate_labels the texts of each, in index order. The model need not use any of them.
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
        return tuple(
            None if labels is None else {label: index for index, label in enumerate(labels)}
            for labels in self.labels
        )


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
            features = dict(value["features"])
            known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
            _check("", known, FIELDS)
            _check("features.", features, FEATURES)
            for name in TUPLES:
                if features.get(name) is not None:
                    features[name] = tuple(
                        tuple(x) if isinstance(x, list) else x for x in features[name]
                    )
            return cls(**{**known, "features": Features(**features)})
        except (ValueError, KeyError, TypeError, RecursionError, ConfigurationError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise ModelError(f"{CONTRACT} in the model folder cannot be read: {reason}") from error

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, default=repr) + "\n"


def _check(
    group: str, values: dict[str, Any], expected: dict[str, tuple[Callable[[Any], bool], str]]
) -> None:
    """Raises ValueError, which names the field, what it is and what it should be."""
    for name, (fits, what) in expected.items():
        if name in values and not fits(values[name]):
            raise ValueError(f"{group}{name} is {json.dumps(values[name])[:100]}, expected {what}")
    if isinstance(values.get("freq"), str):
        period_alias(values["freq"])


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _count(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def _cardinalities(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(type(item) is int and item > 0 for item in value)
    )


def _labels(value: Any) -> bool:
    return isinstance(value, list) and all(item is None or _texts(item) for item in value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "freq": (_text, "a text such as 'D', or null"),
    "prediction_length": (
        lambda value: type(value) is int and value > 0,
        "a whole number of at least 1",
    ),
    "forecaster": (lambda value: isinstance(value, str), "a class path"),
    "arguments": (_object, "an object"),
    "versions": (_object, "an object"),
    "training_job_name": (_text, "a text or null"),
    "created": (_text, "a text or null"),
    "stopped_early": (lambda value: isinstance(value, bool), "true or false"),
}
FEATURES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "static_cat": (_cardinalities, "a list of whole numbers of at least 1, or null"),
    "static_real": (_count, "a whole number of at least 0, or null"),
    "dynamic_real": (_count, "a whole number of at least 0, or null"),
    "past_dynamic_real": (_count, "a whole number of at least 0, or null"),
    "dynamic_cat": (_cardinalities, "a list of whole numbers of at least 1, or null"),
    "past_dynamic_cat": (_cardinalities, "a list of whole numbers of at least 1, or null"),
    "dimensions": (lambda value: type(value) is int and value > 0, "a whole number of at least 1"),
    "lead_time": (lambda value: type(value) is int and value >= 0, "a whole number of at least 0"),
    "own": (lambda value: type(value) is bool, "true or false"),
    "labels": (_labels, "a list of lists of texts, or of null"),
    "future_covariates": (_texts, "a list of texts"),
    "past_covariates": (_texts, "a list of texts"),
    "future_categories": (_texts, "a list of texts"),
    "past_categories": (_texts, "a list of texts"),
    "covariate_labels": (
        lambda value: isinstance(value, list) and all(map(_texts, value)),
        "a list of lists of texts",
    ),
}
TUPLES = (
    "static_cat",
    "dynamic_cat",
    "past_dynamic_cat",
    "labels",
    "future_covariates",
    "past_covariates",
    "future_categories",
    "past_categories",
    "covariate_labels",
)
