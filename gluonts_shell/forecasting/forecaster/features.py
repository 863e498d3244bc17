"""What a forecaster uses of its data: its own word (constructor arguments) against what the series carry.

Knows the names that GluonTS's estimators have for feature counts, and DeepAR's ways to say which to use.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gluonts_shell.errors import ConfigurationError, DataError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.channel import Data
from gluonts_shell.forecasting.data.statistics import Statistics
from gluonts_shell.forecasting.forecaster.deepar import Translation

log = logging.getLogger(__name__)

# (field of Features, the field of a series, constructor parameter with its count or with a list to add up)
COUNTS = (
    ("static_real", "feat_static_real", "num_feat_static_real", "static_dims"),
    ("dynamic_real", "feat_dynamic_real", "num_feat_dynamic_real", "dynamic_dims"),
    ("past_dynamic_real", "past_feat_dynamic_real", "num_past_feat_dynamic_real", "past_dynamic_dims"),
)


def to_read(dialect: Translation | None) -> Features:
    """What to read of the train channel: all there is, but for what DeepAR's hyperparameters say to ignore."""
    if dialect is None:
        return Features()
    return Features(
        static_cat=() if dialect.cardinality == "ignore" else None,
        dynamic_real=0 if dialect.dynamic == "ignore" else None,
    )


def derived(kind: type, data: Data, given: Mapping[str, Any], dialect: Translation | None) -> dict[str, Any]:
    """`given` and what the class derives from the data; what was given wins.

    Raises DataError or ConfigurationError where series and arguments contradict each other.
    """
    arguments = dict(given)
    if dialect is not None:
        _explicit(arguments, dialect, data.statistics)
        for fault in data.statistics.uneven.values():
            raise DataError(fault)
    if overrides_derivation(kind):
        arguments = {**kind.derive_auto_fields(data), **arguments}  # type: ignore[attr-defined]
    if dialect is not None:
        _all_categories_seen(arguments.get("cardinality") or (), data.statistics)
        _within_support(arguments.get("distr_output"), data.statistics)
        if dialect.embedding_dimension is not None and arguments.get("cardinality"):
            arguments["embedding_dimension"] = [dialect.embedding_dimension] * len(arguments["cardinality"])
        log.info("cardinality=%s, num_dynamic_feat=%s",
                 list(arguments.get("cardinality") or ()), arguments.get("num_feat_dynamic_real", 0))  # fmt: skip
    return arguments


def overrides_derivation(kind: type) -> bool:
    from gluonts.model.estimator import Estimator
    from gluonts.model.predictor import Predictor

    base = Estimator if issubclass(kind, Estimator) else Predictor
    return kind.derive_auto_fields.__func__ is not base.derive_auto_fields.__func__  # type: ignore[attr-defined]


def used(parameters: Mapping[str, Any], arguments: Mapping[str, Any], statistics: Statistics | None) -> Features:
    """What every series that this model is given must carry; None for what the class does not tell.

    Raises DataError where the train channel itself does not carry it.
    """
    counts: dict[str, Any] = {}
    for name, series_field, count, dimensions in COUNTS:
        if count in parameters:
            counts[name] = int(arguments.get(count) or 0)
        elif dimensions in parameters:
            counts[name] = sum(arguments.get(dimensions) or ())
        if statistics is not None and counts.get(name):
            _check(series_field, count if count in parameters else dimensions, counts[name], statistics)
    features = Features(static_cat=_cardinalities(parameters, arguments), **counts)
    if statistics is not None and features.static_cat:
        _check("feat_static_cat", "cardinality", len(features.static_cat), statistics)
        for position, (cardinality, seen) in enumerate(zip(features.static_cat, statistics.categories, strict=False)):
            if max(seen) >= cardinality:
                found = f"cat[{position}] has the value {max(seen)}"
                raise DataError(f"channel 'train': {found}, but its cardinality is {cardinality}")
        features = replace(features, labels=statistics.labels)
    return features


def _cardinalities(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[int, ...] | None:
    if "num_feat_static_cat" in parameters:
        return tuple(arguments.get("cardinality") or ()) if arguments.get("num_feat_static_cat") else ()
    if "use_feat_static_cat" in parameters:
        return tuple(arguments.get("cardinality") or ()) if arguments.get("use_feat_static_cat") else ()
    if "static_cardinalities" in parameters:
        return tuple(arguments.get("static_cardinalities") or ())
    return None


def _check(series_field: str, parameter: str, wanted: int, statistics: Statistics) -> None:
    if series_field in statistics.uneven:
        raise DataError(statistics.uneven[series_field])
    found = statistics.counts.get(series_field, 0)
    if found != wanted:
        raise DataError(f"channel 'train': the series have {found} {series_field}, but {parameter} asks for {wanted}")


def _explicit(arguments: dict[str, Any], dialect: Translation, statistics: Statistics) -> None:
    """DeepAR's `cardinality` and `num_dynamic_feat` where they are not auto."""
    if dialect.cardinality == "ignore":
        arguments |= {"num_feat_static_cat": 0, "cardinality": None}
    elif dialect.cardinality != "auto":
        found = statistics.counts.get("feat_static_cat", 0)
        if len(dialect.cardinality) != found:
            raise ConfigurationError(
                f"hyperparameter 'cardinality' is {dialect.cardinality}, "
                f"but the series of channel 'train' have {found} categories (field cat)"
            )
        arguments |= {"num_feat_static_cat": found, "cardinality": dialect.cardinality}
    if dialect.dynamic == "ignore":
        arguments["num_feat_dynamic_real"] = 0
    elif dialect.dynamic != "auto":
        found = statistics.counts.get("feat_dynamic_real", 0)
        if dialect.dynamic != found:
            raise ConfigurationError(
                f"hyperparameter 'num_dynamic_feat' is {dialect.dynamic}, "
                f"but the series of channel 'train' have {found} (field dynamic_feat)"
            )
        arguments["num_feat_dynamic_real"] = found


def _within_support(distribution: Any, statistics: Statistics) -> None:
    """Outside of it a likelihood has no gradient, and training ends far from what caused it."""
    kind, least, most = type(distribution).__name__, statistics.smallest, statistics.largest
    if kind == "BetaOutput" and statistics.observations and not 0 < least <= most < 1:
        expected = "numbers between 0 and 1, without 0 and 1 themselves"
    elif kind == "NegativeBinomialOutput" and statistics.observations and not (statistics.integers and least >= 0):
        expected = "whole numbers from 0 on"
    else:
        return
    found = f"{'whole numbers' if statistics.integers else 'numbers'} from {least:g} to {most:g}"
    raise DataError(f"channel 'train': the likelihood is {kind}, which needs {expected}, but target has {found}")


def _all_categories_seen(cardinalities: Any, statistics: Statistics) -> None:
    """DeepAR's rule: every value below the cardinality occurs in training; an unseen one has a random embedding."""
    for position, seen in enumerate(statistics.categories[: len(cardinalities)]):
        cardinality = max(int(cardinalities[position]), max(seen) + 1)
        missing = sorted(set(range(min(cardinality, 10_000))) - seen)
        if missing:
            shown = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
            raise DataError(
                f"channel 'train': cat[{position}] must take every value from 0 to {cardinality - 1}; missing: {shown}"
            )
