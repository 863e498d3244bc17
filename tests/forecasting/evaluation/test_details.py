"""What a report needs beyond the scores is right, costs no score, and does not grow with the data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.model.npts import NPTSPredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

import gluonts_shell
from gluonts_shell.forecasting.evaluation import baseline, details, examples
from gluonts_shell.forecasting.evaluation.evaluate import LOST_DETAILS, evaluate

MONTHLY = Path(gluonts_shell.__file__).parent / "data" / "monthly" / "test" / "data.json"
NAN = math.nan


def monthly():
    for line in MONTHLY.read_text().splitlines():
        entry = json.loads(line)
        yield {
            "item_id": entry["item_id"],
            "start": pd.Period(entry["start"], "M"),
            "target": np.asarray(entry["target"], dtype=np.float32),
        }


def series(count, length=60, seed=0, dimensions=0):
    random = np.random.default_rng(seed)
    shape = (dimensions, length) if dimensions else (length,)
    for number in range(count):
        yield {
            "item_id": f"s{number}",
            "start": pd.Period("2020-01", "M"),
            "target": random.gamma(2, 5, size=shape).astype(np.float32),
        }


class Made:
    """A predictor whose forecasts are made by a function of the history."""

    lead_time = 0

    def __init__(self, make):
        self.make = make

    def predict(self, dataset):
        for entry in dataset:
            yield self.make(entry, entry["start"] + entry["target"].shape[-1])


def naive_of(entry, steps=12):
    return np.tile(entry["target"][..., -12:], 1 + steps // 12)[..., :steps]


def detailed(predictor, data, length=12, **options):
    return evaluate(predictor, data, prediction_length=length, freq="M", details=True, **options)


def test_the_baseline_is_gluonts_seasonal_naive():
    data = list(monthly())
    naive = detailed(SeasonalNaivePredictor(12, 12), data)
    other = detailed(NPTSPredictor(prediction_length=12), data)
    assert naive.details.naive.keys() == {"MASE", "ND", "RMSE", "mean_wQuantileLoss"}
    for found in (naive, other):
        for name, value in found.details.naive.items():
            assert value == pytest.approx(naive.aggregate[name], rel=1e-6), name
    assert naive.details.better == 0
    by_item = naive.items.set_index("item_id")["MASE"]
    for shown in other.details.shown:
        assert shown.naive == pytest.approx(by_item[shown.item_id], rel=1e-6)


def test_the_errors_of_the_steps_have_the_mean_that_nd_is():
    found = detailed(NPTSPredictor(prediction_length=12), list(monthly()))
    assert found.details.by_step.shape == (12,)
    assert found.details.by_step.mean() == pytest.approx(found.aggregate["ND"])
    assert found.details.naive_by_step.mean() == pytest.approx(found.details.naive["ND"])


def test_scores_are_the_same_with_details():
    data = list(series(300))
    predictor = SeasonalNaivePredictor(12, 12)
    plain = evaluate(predictor, data, prediction_length=12, freq="M")
    found = detailed(predictor, data)
    np.testing.assert_equal(found.aggregate, plain.aggregate)
    pd.testing.assert_frame_equal(found.items, plain.items)
    assert plain.details is None


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], [5, 6, 7, 8, 5, 6]),
        ([1, 2, 3, 4, 5, NAN, 7, 8], [5, 2, 7, 8, 5, 2]),
        ([NAN, NAN, NAN, 4, 5, NAN, 6, 9], [5, 6, 6, 9, 5, 6]),  # 6 is the mean of all
        ([1, 2, 3, 4], [4, 4, 4, 4, 4, 4]),  # no longer than a season: the last value
        ([1, 2, NAN], [2, 2, 2, 2, 2, 2]),
        ([NAN] * 8, [0, 0, 0, 0, 0, 0]),
        ([math.inf, 2, 3, 4, math.inf, 6, 7, 8], [5, 6, 7, 8, 5, 6]),
    ],
)
def test_what_is_repeated(past, expected):
    row = np.full((1, 10), NAN, dtype=np.float32)
    row[0, 10 - len(past) :] = past
    found = baseline.forecast(row, np.array([len(past)]), 4, 6)
    np.testing.assert_array_equal(found, [expected])


def test_series_of_all_kinds_in_one_batch_are_as_alone():
    random = np.random.default_rng(1)
    pasts = random.gamma(2, 5, size=(40, 14)).astype(np.float32)
    pasts[random.random(pasts.shape) < 0.3] = NAN
    lengths = random.integers(2, 20, size=40)
    for row, length in zip(pasts, lengths, strict=True):
        row[: max(14 - length, 0)] = NAN
    together = baseline.forecast(pasts, lengths, 4, 6)
    for row, length, expected in zip(pasts, lengths, together, strict=True):
        found = baseline.forecast(row[None], np.array([length]), 4, 6)
        np.testing.assert_array_equal(found[0], expected)
    assert np.isfinite(together).all()


def test_best_median_and_worst_are_those_of_the_items():
    data = list(series(15))  # fewer than are kept, so that the median is the exact one
    found = detailed(NPTSPredictor(prediction_length=12), data)
    order = found.items.sort_values("MASE", ignore_index=True)
    assert found.details.ranked_by == "MASE"
    shown = {one.example.place: one for one in found.details.shown}
    assert list(shown) == ["best", "median", "worst"]
    assert shown["best"].item_id == order["item_id"].iloc[0]
    assert shown["worst"].item_id == order["item_id"].iloc[-1]
    assert shown["median"].item_id == order["item_id"].iloc[7]
    one = shown["best"]
    target = data[int(one.item_id[1:])]["target"]
    np.testing.assert_array_equal(one.example.actual, target[-12:])
    np.testing.assert_array_equal(one.example.past, target[-36:-12])
    assert one.start == data[0]["start"] + 48
    assert one.example.score == order["MASE"].iloc[0]


def test_of_many_series_few_are_kept_and_the_median_is_near():
    seen = []
    original = examples.Examples.add

    def add(self, *arguments):
        original(self, *arguments)
        seen.append(len(self.some))

    data = list(series(1500))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples.Examples, "add", add)
        found = detailed(SeasonalNaivePredictor(12, 12), data)
    assert len(seen) > 1
    assert max(seen) == examples.MOST_KEPT
    ranks = found.items.sort_values("MASE", ignore_index=True)["item_id"]
    median = next(one for one in found.details.shown if one.example.place == "median")
    assert abs(ranks.tolist().index(median.item_id) / 1500 - 0.5) < 0.06


@pytest.mark.parametrize(("count", "places"), [(1, ["best"]), (2, ["best", "worst"])])
def test_few_series(count, places):
    found = detailed(SeasonalNaivePredictor(12, 12), list(series(count)))
    assert [one.example.place for one in found.details.shown] == places


def test_each_dimension_counts_as_a_series():
    data = list(series(3, dimensions=2))

    def make(entry, start):
        samples = np.repeat((naive_of(entry) + 1).T[None], 5, axis=0)
        return SampleForecast(samples, start, entry["item_id"])

    found = detailed(Made(make), data)
    single = [
        detailed(
            SeasonalNaivePredictor(12, 12), [dict(one, target=one["target"][d]) for one in data]
        )
        for d in range(2)
    ]
    for dimension, one in enumerate(single):
        for name, value in one.details.naive.items():
            assert found.details.naive[f"{dimension}_{name}"] == pytest.approx(value)
    assert {one.dimension for one in found.details.shown} <= {0, 1}
    worst = found.details.shown[-1]
    row = found.items.sort_values("MASE").iloc[-1]
    assert (worst.item_id, worst.dimension) == (row["item_id"], row["dimension"])


def test_a_mean_alone_has_no_intervals():
    def make(entry, start):
        return QuantileForecast(naive_of(entry)[None], start, ["mean"], entry["item_id"])

    found = detailed(Made(make), list(monthly()))
    assert [one.example.bands for one in found.details.shown] == [(), (), ()]
    assert found.details.naive["MASE"] == pytest.approx(found.aggregate["MASE"])
    np.testing.assert_allclose(found.details.by_step, found.details.naive_by_step)


def test_quantiles_have_the_intervals_that_are_there():
    def make(entry, start):
        rows = naive_of(entry) * np.array([[0.8], [1.0], [1.2]])
        return QuantileForecast(rows, start, ["0.1", "0.5", "0.9"], entry["item_id"])

    found = detailed(Made(make), list(monthly()), quantiles=[0.1, 0.5, 0.9])
    bands = [(band.lower, band.upper) for band in found.details.shown[0].example.bands]
    assert bands[-1] == (0.1, 0.9)


def test_one_quantile_that_is_no_median_is_ranked_by_its_loss():
    def make(entry, start):
        return QuantileForecast(naive_of(entry)[None], start, ["0.9"], entry["item_id"])

    found = detailed(Made(make), list(monthly()), quantiles=[0.9])
    assert found.details.ranked_by == "QuantileLoss[0.9]"
    assert math.isnan(found.details.better)


def test_constant_series_are_ranked_by_what_they_have():
    data = [dict(one, target=np.ones(30, dtype=np.float32)) for one in series(4)]
    found = detailed(SeasonalNaivePredictor(12, 12), data)
    assert found.details.ranked_by == "abs_error"


def test_what_fails_in_the_details_costs_no_score(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("no luck")

    data = list(monthly())
    plain = evaluate(SeasonalNaivePredictor(12, 12), data, prediction_length=12, freq="M")
    for name in ("_measure", "_finish"):
        with monkeypatch.context() as patch:
            patch.setattr(details.Collector, name, fail)
            found = detailed(SeasonalNaivePredictor(12, 12), data)
        np.testing.assert_equal(found.aggregate, plain.aggregate)
        assert found.details is None
        assert found.warnings == (f"{LOST_DETAILS}: ZeroDivisionError('no luck')",)
