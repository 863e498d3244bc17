"""A predictor and test data -> metrics, the log lines that tuning jobs scrape, and two files.

The formulas are in `formulas`, the pairing of series and forecasts in `scores`. It does not read channels, does not
know SageMaker's folders, and does not decide whether a failing evaluation fails the job.

It predicts in its own process, where torch uses all processors: training has run passes of several threads there, and
a process that is forked after that waits for threads that it does not have.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.time_feature import get_seasonality

from gluonts_shell import messages
from gluonts_shell.errors import DataError, ModelError, ShellError
from gluonts_shell.forecasting.evaluation.details import Collector, Details
from gluonts_shell.forecasting.evaluation.formulas import Metrics
from gluonts_shell.forecasting.evaluation.scores import DataEntry, Histories, Scores
from gluonts_shell.forecasting.shortcuts import patches
from gluonts_shell.written import Written

DECILES = tuple(map(float, messages.DECILES))
LOST_DETAILS = "the report will lack its charts and the comparison with seasonal naive"


@dataclass(frozen=True)
class Evaluation:
    """aggregate: metric -> value for the whole data, GluonTS' names in its order; NaN where it has none.

    items: one line per series scored (and dimension): item_id, forecast_start, then GluonTS' item metrics in its order.
    left_out: series that were too short to be scored. warnings: sentences about forecasts that held NaN.
    details: what a report shows besides, where that was asked for; a failure there is one of the warnings.
    """

    aggregate: dict[str, float]
    items: pd.DataFrame
    left_out: int
    warnings: tuple[str, ...] = ()
    details: Details | None = None


def evaluate(
    predictor: Any,
    dataset: Iterable[DataEntry],
    *,
    prediction_length: int,
    freq: str,
    quantiles: Sequence[float | str] = DECILES,
    num_samples: int = 100,
    details: bool = False,
) -> Evaluation:
    """Forecast the last `prediction_length` values of each series from what precedes them, and compare.

    dataset: entries with start (Period), target, (length,) or (dimensions, length), and optional features; it is read
    in step with the predictor, and as often as that reads it. quantiles: levels as numbers or in GluonTS' spellings.
    num_samples: for predictors that take it.

    Raises ConfigurationError for a quantile that is none, DataError if no series is long enough, ModelError if the
    predictor raises or its forecasts do not fit. What reading the dataset raises of ours comes through as it is.
    """
    metrics = Metrics.parse(quantiles)
    patches.take()
    histories = Histories(dataset, prediction_length, getattr(predictor, "lead_time", 0))
    seasonality = season_of(freq)
    collector = Collector(metrics, prediction_length, seasonality) if details else None
    scores = Scores(metrics, prediction_length, seasonality, num_samples, collector)
    for forecast in predict(predictor, histories, num_samples):
        scores.add(forecast, histories.take())
    histories.check_all_taken()
    if not scores.item_ids:
        raise DataError(nothing_to_score(histories))
    aggregate, items = scores.finish()
    warnings = list(scores.warnings(type(predictor).__name__))
    if collector is not None and collector.failure is not None:
        warnings.append(f"{LOST_DETAILS}: {collector.failure!r}")
    return Evaluation(aggregate, items, histories.left_out, tuple(warnings), scores.details)


def predict(predictor: Any, histories: Histories, num_samples: int) -> Iterator[Any]:
    parameters = inspect.signature(predictor.predict).parameters.values()
    takes_samples = any(
        parameter.name == "num_samples" or parameter.kind is parameter.VAR_KEYWORD
        for parameter in parameters
    )
    arguments = {"num_samples": num_samples} if takes_samples else {}
    try:
        yield from predictor.predict(histories, **arguments)
    except ShellError:
        raise
    except Exception as error:
        name, first = (
            type(predictor).__name__,
            histories.waiting[0].get("item_id") if histories.waiting else None,
        )
        raise ModelError(
            f"{name} failed on the test data, at item_id {first!r} or soon after it: {type(error).__name__}: {error}"
        ) from error


def season_of(freq: str) -> int:
    with warnings.catch_warnings():
        # pandas warns of 'M', the only spelling that periods know
        warnings.simplefilter("ignore", FutureWarning)
        return int(get_seasonality(freq))


def nothing_to_score(histories: Histories) -> str:
    if not histories.left_out:
        return "the test data holds no series, so there is nothing to evaluate"
    return (
        f"none of the {histories.left_out} test series can be scored: the longest has {histories.longest} values; a "
        f"series needs more than the {histories.window} that are to be forecast (prediction_length), to forecast from"
    )


def log_lines(evaluation: Evaluation, host: str) -> Iterator[str]:
    """The lines that people and tuning jobs scrape: GluonTS' `#test_score`, then DeepAR's `#quality_metric`."""
    scores = {name: plain(value) for name, value in evaluation.aggregate.items()}
    for name, score in scores.items():
        # of one dimension: tuning reads those of all together, and a log has its bounds
        if name[0].isdigit():
            continue
        yield f"#test_score ({host}, {name}): {score}"
    for name in ("RMSE", "mean_wQuantileLoss"):
        yield f"#quality_metric: host={host}, test {name} <loss>={scores[name]}"


def plain(value: float) -> str:
    """Exact decimals with a point and no exponent: the patterns in use, `[0-9]+.[0-9]+`, would read 1e-05 as 1."""
    return str(np.format_float_positional(value, unique=True, trim="0"))


def write(evaluation: Evaluation, folder: Path, *copies: Path) -> None:
    """Write agg_metrics.json and item_metrics.csv into each folder; a file is there whole or not at all.

    A metric that is not finite is null in the JSON, which has no NaN; in the CSV NaN is an empty field.
    """
    finite = {
        name: value if np.isfinite(value) else None for name, value in evaluation.aggregate.items()
    }
    texts = {
        "agg_metrics.json": json.dumps(finite, indent=2),
        "item_metrics.csv": evaluation.items.to_csv(index=False, lineterminator="\n"),
    }
    for place in (folder, *copies):
        for name, text in texts.items():
            Written.replace(place / name, text.encode("utf-8"))
