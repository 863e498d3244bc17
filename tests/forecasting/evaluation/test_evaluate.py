"""Evaluation equals GluonTS' Evaluator where that works, and says in a sentence what it could not do where not."""

from __future__ import annotations

import itertools
import json
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE, RMSE, MeanWeightedSumQuantileLoss
from gluonts.evaluation import Evaluator, MultivariateEvaluator, make_evaluation_predictions
from gluonts.model import evaluate_model
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.model.npts import NPTSPredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.constant import ConstantPredictor, ConstantValuePredictor
from gluonts.model.trivial.mean import MeanEstimator, MeanPredictor

import gluonts_shell
from gluonts_shell.errors import ConfigurationError, DataError, ModelError
from gluonts_shell.forecasting.evaluation import scores
from gluonts_shell.forecasting.evaluation.evaluate import (
    DECILES,
    Evaluation,
    evaluate,
    log_lines,
    write,
)
from gluonts_shell.written import RECORD

MONTHLY = Path(gluonts_shell.__file__).parent / "data" / "monthly" / "test" / "data.json"


class Replay:
    """A predictor whose forecasts are made already, so that both evaluators judge the same ones."""

    lead_time = 0

    def __init__(self, forecasts, prediction_length):
        self.forecasts, self.prediction_length = list(forecasts), prediction_length

    def predict(self, dataset, num_samples=None):
        for _, forecast in zip(dataset, self.forecasts, strict=True):
            yield forecast


def monthly():
    for line in MONTHLY.read_text().splitlines():
        entry = json.loads(line)
        yield {
            "item_id": entry["item_id"],
            "start": pd.Period(entry["start"], "M"),
            "target": np.asarray(entry["target"], dtype=np.float32),
        }


def awkward(freq, prediction_length):
    """Series with everything that metrics stumble over: missing values, infinities, zeros, constants, short pasts."""
    rng = np.random.default_rng(7)
    targets = [
        rng.normal(10, 5, size).astype(np.float32)
        for size in rng.integers(prediction_length + 1, 90, 25)
    ]
    for target in targets[::3]:
        target[rng.random(len(target)) < 0.4] = np.nan
    targets[1][-prediction_length] = 0
    targets[2][-1] = np.inf
    targets[4][:5] = np.inf
    whole = prediction_length + 20
    targets += [
        np.zeros(whole),  # ND is 0 / 0, MAPE has no term at all
        np.full(whole, 4.0),  # the seasonal error is 0
        np.r_[np.ones(20), np.full(prediction_length, np.nan)],  # no label at all
        np.r_[np.full(18, np.nan), 1.0, 2.0, np.arange(prediction_length)],  # hardly a past
        np.arange(prediction_length + 1.0),  # a past of one value: no seasonal error
        np.r_[np.nan, np.nan, 5.0, np.ones(prediction_length)],
    ]
    start = pd.Period("2021-03-01", freq)
    return [
        {
            "item_id": f"series {number}",
            "start": start + number,
            "target": target.astype(np.float32),
        }
        for number, target in enumerate(targets)
    ]


def sampled(dataset, prediction_length, size=21, dtype=np.float64):
    rng = np.random.default_rng(1)
    for entry in dataset:
        samples = rng.normal(10, 6, (size, prediction_length)).round(1).astype(dtype)
        start = entry["start"] + len(entry["target"]) - prediction_length
        yield SampleForecast(samples, start, item_id=entry["item_id"])


def with_quantiles(dataset, prediction_length, keys):
    rng = np.random.default_rng(2)
    for entry in dataset:
        values = np.sort(rng.normal(10, 6, (len(keys), prediction_length)), axis=0)
        start = entry["start"] + len(entry["target"]) - prediction_length
        yield QuantileForecast(values, start, forecast_keys=keys, item_id=entry["item_id"])


def assert_same(dataset, predictor, prediction_length, freq, quantiles=DECILES):
    """Judge the same forecasts with GluonTS' Evaluator and with ours, and compare every metric."""
    dataset = list(dataset)
    forecasts, labels = make_evaluation_predictions(dataset, predictor)
    forecasts = list(forecasts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aggregate, items = Evaluator(quantiles=quantiles, num_workers=0)(labels, forecasts)
    found = evaluate(
        Replay(forecasts, prediction_length),
        iter(dataset),
        prediction_length=prediction_length,
        freq=freq,
        quantiles=quantiles,
    )

    assert list(found.aggregate) == [*aggregate, "calibration_error"]
    assert list(found.items) == list(items)
    assert found.items[["item_id", "forecast_start"]].equals(items[["item_id", "forecast_start"]])
    for name in items.columns[2:]:
        np.testing.assert_allclose(
            found.items[name], items[name], rtol=1e-6, err_msg=f"item metric {name}"
        )
    for name, value in aggregate.items():
        np.testing.assert_allclose(found.aggregate[name], value, rtol=1e-6, err_msg=name)
    assert found.warnings == ()
    return found


@pytest.mark.parametrize(
    "predictor",
    [
        SeasonalNaivePredictor(prediction_length=12, season_length=12),
        MeanPredictor(prediction_length=12, num_samples=50),
        ConstantValuePredictor(prediction_length=12, value=100.0),
        NPTSPredictor(prediction_length=12, context_length=48),
    ],
    ids=lambda predictor: type(predictor).__name__,
)
def test_equals_gluonts_on_the_monthly_data(predictor):
    found = assert_same(monthly(), predictor, 12, "M")
    assert found.left_out == 0
    assert len(found.items) == 11
    assert 0 < found.aggregate["mean_wQuantileLoss"] < 1


@pytest.mark.parametrize(
    ("freq", "prediction_length"),
    [("h", 24), ("D", 1), ("M", 7), ("2h", 5), ("W-SUN", 4), ("Q-DEC", 6)],
)
def test_equals_gluonts_on_awkward_series(freq, prediction_length):
    dataset = awkward(freq, prediction_length)
    found = assert_same(
        dataset,
        Replay(sampled(dataset, prediction_length), prediction_length),
        prediction_length,
        freq,
    )
    assert np.isnan(found.items["ND"]).any()
    assert np.isinf(found.items["MASE"]).any()


@pytest.mark.parametrize(
    "predictor",
    [
        SeasonalNaivePredictor(prediction_length=7, season_length=3),
        ConstantValuePredictor(prediction_length=7, value=0.0),
        ConstantValuePredictor(prediction_length=7, value=np.inf),
        NPTSPredictor(prediction_length=7, context_length=9),
    ],
    ids=["naive", "zero", "infinite", "npts"],
)
def test_equals_gluonts_for_forecasters_on_awkward_series(predictor):
    assert_same(awkward("D", 7), predictor, 7, "D")


@pytest.mark.parametrize(
    "quantiles", [(0.5,), ("0.05", "p95"), (0.01, 0.123, 0.99), ("0.10", 0.5, 1.0)]
)
def test_equals_gluonts_for_other_quantiles(quantiles):
    dataset = awkward("M", 6)
    assert_same(
        dataset, Replay(sampled(dataset, 6, size=40, dtype=np.float32), 6), 6, "M", quantiles
    )


@pytest.mark.parametrize(
    "keys", [["mean", *map(str, DECILES)], ["0.1", "0.5", "0.9"], ["0.02", "0.98"]]
)
def test_equals_gluonts_for_quantile_forecasts(keys):
    dataset = awkward("D", 6)
    assert_same(dataset, Replay(with_quantiles(dataset, 6, keys), 6), 6, "D")


def test_equals_gluonts_when_no_label_is_observed():
    dataset = [
        dict(entry, target=np.r_[entry["target"][:-6], np.full(6, np.nan, np.float32)])
        for entry in monthly()
    ]
    found = assert_same(dataset, Replay(sampled(dataset, 6), 6), 6, "M")
    assert math.isnan(found.aggregate["MSE"])
    assert found.aggregate["abs_error"] == 0


def test_batches_of_any_size_give_the_same(monkeypatch):
    dataset = awkward("M", 6)
    forecasts = list(sampled(dataset, 6))
    whole = evaluate(Replay(forecasts, 6), dataset, prediction_length=6, freq="M")
    for values in (1, 5 * 13 * 6):
        monkeypatch.setattr(scores, "BATCH_VALUES", values)
        found = evaluate(Replay(forecasts, 6), dataset, prediction_length=6, freq="M")
        pd.testing.assert_frame_equal(found.items, whole.items)
        assert str(found.aggregate) == str(whole.aggregate)


def test_the_predictor_sees_what_gluonts_would_show_it():
    features = np.arange(40, dtype=np.float32).reshape(2, 20)
    fields = ("feat_dynamic_real", "feat_dynamic_cat", "past_feat_dynamic_real")
    entry = {
        "item_id": "a",
        "start": pd.Period("2020-01", "M"),
        "target": np.arange(18, dtype=np.float32),
        "feat_static_cat": np.array([3]),
        **dict.fromkeys(fields, features),
    }

    class Spy(ConstantValuePredictor):
        def predict_item(self, item):
            seen.append(item)
            return super().predict_item(item)

    seen: list[dict] = []
    predictor = Spy(prediction_length=4)
    forecasts, _ = make_evaluation_predictions([entry], predictor)
    list(forecasts)
    evaluate(predictor, [entry], prediction_length=4, freq="M")

    theirs, ours = seen
    assert theirs.keys() == ours.keys()
    assert all(
        np.array_equal(theirs[name], ours[name])
        for name in theirs
        if name not in ("item_id", "start")
    )
    assert ours["target"].shape == (14,)
    assert ours["feat_dynamic_real"].shape == (2, 18)
    assert ours["past_feat_dynamic_real"].shape == (2, 14)
    assert entry["target"].shape == (18,)


def test_lead_time_leaves_a_gap_before_the_forecast():
    dataset = awkward("M", 9)
    predictor = Replay(sampled(dataset, 6), 6)
    predictor.lead_time = 3
    assert_same([entry for entry in dataset if len(entry["target"]) > 9], predictor, 6, "M")


def test_num_samples_reaches_the_predictors_that_take_it():
    received = []

    class Taking(ConstantValuePredictor):
        def predict(self, dataset, num_samples=7):
            received.append(num_samples)
            return super().predict(dataset)

    class NotTaking(ConstantValuePredictor):
        def predict(self, dataset):
            received.append(None)
            return super().predict(dataset)

    for kind in (Taking, NotTaking):
        evaluate(
            kind(prediction_length=3), monthly(), prediction_length=3, freq="M", num_samples=11
        )
    assert received == [11, None]


def test_short_series_are_left_out_and_counted():
    dataset = list(monthly())
    dataset[2]["target"] = dataset[2]["target"][:12]
    dataset[5]["target"] = dataset[5]["target"][:0]
    found = evaluate(SeasonalNaivePredictor(12, 12), dataset, prediction_length=12, freq="M")
    assert found.left_out == 2
    assert list(found.items["item_id"]) == [
        e["item_id"] for number, e in enumerate(dataset) if number not in (2, 5)
    ]


def test_no_series_to_score_is_an_error_of_the_data():
    short = [
        {"start": pd.Period("2020-01", "M"), "target": np.ones(size, np.float32)}
        for size in (3, 12)
    ]
    expected = "none of the 2 test series can be scored: the longest has 12 values; a series needs more than the 12 that"
    with pytest.raises(DataError, match=expected):
        evaluate(SeasonalNaivePredictor(12, 12), short, prediction_length=12, freq="M")
    with pytest.raises(DataError, match="the test data holds no series"):
        evaluate(SeasonalNaivePredictor(12, 12), [], prediction_length=12, freq="M")


def only_mean(forecast):
    return QuantileForecast(
        forecast.forecast_array[:1], forecast.start_date, ["mean"], forecast.item_id
    )


def test_the_median_of_a_point_forecast_is_its_mean_and_the_log_says_so():
    dataset = list(monthly())
    complete = Replay(with_quantiles(dataset, 12, ["mean", "0.5"]), 12)
    for forecast in complete.forecasts:
        forecast.forecast_array[1] = forecast.forecast_array[0]
    forecasts = list(map(only_mean, complete.forecasts))
    found = evaluate(
        Replay(forecasts, 12), dataset, prediction_length=12, freq="M", quantiles=[0.1, 0.9]
    )

    whole = evaluate(complete, dataset, prediction_length=12, freq="M")
    for name in (
        "MSE",
        "RMSE",
        "NRMSE",
        "abs_target_sum",
        "seasonal_error",
        "num_masked_target_values",
    ):
        assert found.aggregate[name] == whole.aggregate[name]
    for name in ("MASE", "abs_error", "ND", "sMAPE", "MAPE"):
        assert found.aggregate[name] == whole.aggregate[name] > 0
    for name in (
        "MSIS",
        "QuantileLoss[0.1]",
        "wQuantileLoss[0.9]",
        "mean_wQuantileLoss",
        "calibration_error",
    ):
        assert math.isnan(found.aggregate[name])
    assert found.warnings == (
        "11 of 11 forecasts of Replay have no median: their mean stands for it in MASE, ND, sMAPE and the like",
        "Replay gave NaN for 0.025, 0.975, 0.1, 0.9 in 11 of 11 forecasts, first for item_id 'AirPassengers', "
        "whose forecast holds only mean; the metrics that need them are NaN",
    )


def test_the_calibration_error_compares_each_level_with_its_own_coverage():
    """A well calibrated forecast scores near 0, where GluonTS's MAE_Coverage does not."""
    rng = np.random.default_rng(5)
    start = pd.Period("2020-01", "M")
    dataset = [
        {"item_id": str(n), "start": start, "target": rng.normal(size=40)} for n in range(200)
    ]
    forecasts = [
        SampleForecast(rng.normal(size=(200, 20)), start + 20, item_id=str(n)) for n in range(200)
    ]
    found = evaluate(Replay(forecasts, 20), dataset, prediction_length=20, freq="M")
    coverages = [found.aggregate[f"Coverage[{level}]"] for level in DECILES]
    expected = np.mean(np.abs(np.subtract(coverages, DECILES)))
    np.testing.assert_allclose(found.aggregate["calibration_error"], expected, rtol=1e-12)
    assert found.aggregate["calibration_error"] < 0.02
    assert found.aggregate["MAE_Coverage"] > 0.3


def test_forecasts_dated_at_the_start_of_their_series_are_those_of_its_end():
    """MeanEstimator's predictor dates them so; `evaluate_model` of GluonTS pairs by position, and so do we."""
    dataset = list(monthly())
    history = [dict(entry, target=entry["target"][:-12]) for entry in dataset]
    predictor = MeanEstimator(prediction_length=12, num_samples=5).train(history)
    assert type(predictor) is ConstantPredictor
    found = evaluate(predictor, dataset, prediction_length=12, freq="M")
    _, template = split(dataset, offset=-12)
    theirs = evaluate_model(
        predictor,
        test_data=template.generate_instances(12),
        metrics=[MASE(), RMSE(), MeanWeightedSumQuantileLoss(DECILES)],
        axis=None,
        seasonality=12,
    )
    np.testing.assert_allclose(found.aggregate["RMSE"], theirs["RMSE[mean]"].iloc[0], rtol=1e-6)
    np.testing.assert_allclose(found.aggregate["MASE"], theirs["MASE[0.5]"].iloc[0], rtol=1e-6)
    np.testing.assert_allclose(
        found.aggregate["mean_wQuantileLoss"],
        theirs["mean_weighted_sum_quantile_loss"].iloc[0],
        rtol=1e-6,
    )


class Ensemble(SeasonalNaivePredictor):
    """Reads the data once for each member, side by side, the members at different speeds."""

    def predict(self, dataset, **kwargs):
        member = SeasonalNaivePredictor(12, 12)
        ahead = iter(dataset)
        waiting = [member.predict_item(next(ahead)) for _ in range(3)]
        for one in member.predict(dataset):
            waiting += [member.predict_item(item) for item in itertools.islice(ahead, 1)]
            np.testing.assert_array_equal(one.samples, waiting.pop(0).samples)
            yield one


class Zipped(SeasonalNaivePredictor):
    def predict(self, dataset, **kwargs):
        members = [SeasonalNaivePredictor(12, 12), SeasonalNaivePredictor(12, 12)]
        for first, _ in zip(*(member.predict(dataset) for member in members), strict=True):
            yield first


class Counting(SeasonalNaivePredictor):
    """Asks how many series there are before it forecasts one."""

    def predict(self, dataset, **kwargs):
        assert len(dataset) == 10
        next(iter(dataset))
        yield from super().predict(dataset)


@pytest.mark.parametrize("kind", [Ensemble, Zipped, Counting])
def test_predictors_may_read_the_data_as_they_like(kind):
    dataset = list(monthly())
    dataset[4]["target"] = dataset[4]["target"][:5]
    found = evaluate(kind(12, 12), dataset, prediction_length=12, freq="M")
    expected = evaluate(SeasonalNaivePredictor(12, 12), dataset, prediction_length=12, freq="M")
    assert str(found.aggregate) == str(expected.aggregate)
    assert found.left_out == 1


def test_forecasts_out_of_order_are_refused():
    dataset = list(monthly())
    forecasts = list(sampled(dataset, 12))[::-1]
    with pytest.raises(
        ModelError, match=r"answered out of order: item_id '.*' came, expected 'AirPassengers'"
    ):
        evaluate(Replay(forecasts, 12), dataset, prediction_length=12, freq="M")


def several(freq, prediction_length, dimensions=3):
    """The awkward series, three to a target of three dimensions, cut to the shortest."""
    flat = awkward(freq, prediction_length)
    for number in range(0, len(flat) - dimensions, dimensions):
        targets = [entry["target"] for entry in flat[number : number + dimensions]]
        length = min(map(len, targets))
        target = np.stack([target[len(target) - length :] for target in targets])
        yield {
            "item_id": f"series {number}",
            "start": pd.Period("2021-03-01", freq),
            "target": target,
        }


def multivariate(dataset, prediction_length, size=21):
    rng = np.random.default_rng(1)
    for entry in dataset:
        samples = rng.normal(10, 6, (size, prediction_length, len(entry["target"]))).round(1)
        start = entry["start"] + entry["target"].shape[1] - prediction_length
        yield SampleForecast(samples, start, item_id=entry["item_id"])


@pytest.mark.parametrize("batch", [1, 500_000])
@pytest.mark.parametrize("freq", ["M", "D"])
def test_targets_of_several_dimensions_equal_gluonts_multivariate_evaluator(
    freq, batch, monkeypatch
):
    monkeypatch.setattr(scores, "BATCH_VALUES", batch)
    dataset = list(several(freq, 6))
    forecasts = list(multivariate(dataset, 6))
    labels = [
        pd.DataFrame(
            entry["target"].T,
            pd.period_range(entry["start"], periods=entry["target"].shape[1], freq=freq),
        )
        for entry in dataset
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aggregate, items = MultivariateEvaluator(quantiles=DECILES, num_workers=0)(
            labels, forecasts
        )
    found = evaluate(Replay(forecasts, 6), dataset, prediction_length=6, freq=freq)
    assert [name for name in found.aggregate if "calibration_error" not in name] == list(aggregate)
    for name, value in aggregate.items():
        np.testing.assert_allclose(found.aggregate[name], value, rtol=1e-6, err_msg=name)
    assert list(found.items) == [*items, "dimension"]
    assert list(found.items["item_id"]) == list(items["item_id"])
    for name in items.columns[2:]:
        np.testing.assert_allclose(
            found.items[name], items[name], rtol=1e-6, err_msg=f"item metric {name}"
        )
    assert list(found.items["dimension"]) == [n for n in range(3) for _ in dataset]
    lines = list(log_lines(found, "algo-1"))
    assert any(line.startswith("#test_score (algo-1, MASE): ") for line in lines)
    assert not any("0_MASE" in line for line in lines)


def test_one_dimension_is_scored_as_one_whatever_its_axes():
    dataset = list(monthly())
    forecasts = list(sampled(dataset, 12))
    expected = evaluate(Replay(forecasts, 12), dataset, prediction_length=12, freq="M")
    for entry in dataset:
        entry["target"] = entry["target"][None]
    for forecast in forecasts:
        forecast.samples = forecast.samples[:, :, None]
        forecast._mean = None
    found = evaluate(Replay(forecasts, 12), dataset, prediction_length=12, freq="M")
    pd.testing.assert_frame_equal(found.items, expected.items)
    assert str(found.aggregate) == str(expected.aggregate)


def test_forecasts_of_other_dimensions_are_refused():
    dataset = list(several("M", 6))
    two = list(multivariate([dict(entry, target=entry["target"][:2]) for entry in dataset], 6))
    with pytest.raises(ModelError, match=r"of 6 values x 3 dimensions each: ValueError: .*\(6,2\)"):
        evaluate(Replay(two, 6), dataset, prediction_length=6, freq="M")


def test_one_forecast_with_nan_does_not_flatter_the_others():
    dataset = list(monthly())
    forecasts = list(sampled(dataset, 12))
    forecasts[3].samples[:, 5] = np.nan
    found = evaluate(Replay(forecasts, 12), dataset, prediction_length=12, freq="M")
    scored = [
        "MSE",
        "MASE",
        "MAPE",
        "sMAPE",
        "MSIS",
        "abs_error",
        "ND",
        "QuantileLoss[0.1]",
        "Coverage[0.1]",
    ]
    assert found.items[scored].isna().all(axis=1).tolist() == [number == 3 for number in range(11)]
    assert all(
        math.isnan(found.aggregate[name])
        for name in [*scored, "RMSE", "mean_wQuantileLoss", "MAE_Coverage"]
    )
    assert found.aggregate["abs_target_sum"] > 0
    assert len(found.warnings) == 1
    assert (
        f"in 1 of 11 forecasts, first for item_id {dataset[3]['item_id']!r};" in found.warnings[0]
    )


def test_a_distribution_that_cannot_tell_quantiles_is_sampled():
    class Counts:
        item_id, prediction_length = None, 12

        def __init__(self, forecast):
            self.samples, self.start_date = forecast, forecast.start_date

        def quantile(self, level):
            raise NotImplementedError

        def to_sample_forecast(self, num_samples):
            assert num_samples == 33
            return self.samples

    dataset = list(monthly())
    forecasts = list(sampled(dataset, 12))
    found = evaluate(
        Replay(map(Counts, forecasts), 12), dataset, prediction_length=12, freq="M", num_samples=33
    )
    expected = evaluate(Replay(forecasts, 12), dataset, prediction_length=12, freq="M")
    pd.testing.assert_frame_equal(found.items, expected.items)


def test_a_failing_predictor_is_a_model_error_that_names_the_series():
    class Failing(ConstantValuePredictor):
        def predict_item(self, item):
            if item["item_id"] == "series 3":
                raise ZeroDivisionError("no data")
            return super().predict_item(item)

    with pytest.raises(
        ModelError,
        match=r"Failing failed .* at item_id 'series 3' or soon after .* ZeroDivisionError: no data",
    ):
        evaluate(Failing(prediction_length=5), awkward("M", 5), prediction_length=5, freq="M")


def test_errors_of_the_data_keep_their_kind_on_their_way_through_the_predictor():
    def broken():
        yield from monthly()
        raise DataError("test/data.json line 12 is not JSON")

    with pytest.raises(DataError, match="line 12 is not JSON"):
        evaluate(SeasonalNaivePredictor(12, 12), broken(), prediction_length=12, freq="M")


def forecast_at(shift, length=12, shape=(5,)):
    return lambda entry: SampleForecast(
        np.ones((*shape, length)), entry["start"] + len(entry["target"]) - 12 + shift
    )


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            forecast_at(1),
            "the forecast for item_id 'AirPassengers' covers 12 values from 1960-02, which is not the end",
        ),
        (forecast_at(0, length=7), "covers 7 values from 1960-01"),
        (
            forecast_at(-200),
            "covers 12 values from 1943-05, which is not the end of its test series: 144 values from 1949-01",
        ),
        (
            forecast_at(0, shape=(5, 12)),
            "the SampleForecast for item_id 'AirPassengers' does not give a mean and quantiles of 12",
        ),
    ],
)
def test_forecasts_that_do_not_fit_the_series_are_refused(make, expected):
    dataset = list(monthly())
    with pytest.raises(ModelError, match=re.escape(expected)):
        evaluate(Replay(map(make, dataset), 12), dataset, prediction_length=12, freq="M")


@pytest.mark.parametrize(
    ("change", "expected"),
    [(-1, "stopped before it had given a forecast"), (1, "gave more forecasts")],
)
def test_too_few_and_too_many_forecasts_are_refused(change, expected):
    class Other(ConstantValuePredictor):
        def predict(self, dataset, **kwargs):
            made = list(super().predict(dataset))
            return iter((made + made)[: 11 + change])

    with pytest.raises(ModelError, match=expected):
        evaluate(Other(prediction_length=12), monthly(), prediction_length=12, freq="M")


def test_series_wait_only_until_their_forecast_comes():
    alive: list[int] = []

    class Watching(SeasonalNaivePredictor):
        def predict(self, dataset, **kwargs):
            for item in dataset:
                alive.append(len(dataset.waiting))
                yield self.predict_item(item)

    evaluate(Watching(12, 12), monthly(), prediction_length=12, freq="M")
    assert alive == [1] * 11


def test_a_predictor_may_read_the_data_twice():
    class Twice(SeasonalNaivePredictor):
        def predict(self, dataset, **kwargs):
            assert len(list(dataset)) == 11
            return super().predict(dataset)

    dataset = list(monthly())
    found = evaluate(Twice(12, 12), dataset, prediction_length=12, freq="M")
    expected = evaluate(SeasonalNaivePredictor(12, 12), dataset, prediction_length=12, freq="M")
    assert str(found.aggregate) == str(expected.aggregate)


@pytest.mark.parametrize("quantile", ["mean", 1.5, "-0.1", "p", None, float("nan")])
def test_what_is_no_quantile_is_refused(quantile):
    with pytest.raises(
        ConfigurationError,
        match=re.escape(f"quantile {quantile!r} is none: expected a level such as 0.1"),
    ):
        evaluate(
            SeasonalNaivePredictor(12, 12),
            monthly(),
            prediction_length=12,
            freq="M",
            quantiles=[0.1, quantile],
        )


def test_an_empty_list_of_quantiles_is_refused():
    with pytest.raises(ConfigurationError, match="the list of quantiles to evaluate is empty"):
        evaluate(
            SeasonalNaivePredictor(12, 12), monthly(), prediction_length=12, freq="M", quantiles=[]
        )


SMALL = Evaluation(
    aggregate={
        "RMSE": 1e-05,
        "MASE": math.inf,
        "mean_wQuantileLoss": 0.1 + 0.2,
        "abs_error": 270.0,
        "OWA": math.nan,
        "MSE": 1e22,
    },
    items=pd.DataFrame(
        {
            "item_id": ['a,"b"', None],
            "forecast_start": [pd.Period("2020-01", "M")] * 2,
            "MSE": [0.1, math.nan],
        }
    ),
    left_out=0,
)


def test_log_lines_are_those_of_gluonts_and_deepar_in_plain_decimals():
    assert list(log_lines(SMALL, "algo-1")) == [
        "#test_score (algo-1, RMSE): 0.00001",
        "#test_score (algo-1, MASE): inf",
        "#test_score (algo-1, mean_wQuantileLoss): 0.30000000000000004",
        "#test_score (algo-1, abs_error): 270.0",
        "#test_score (algo-1, OWA): nan",
        "#test_score (algo-1, MSE): 10000000000000000000000.0",
        "#quality_metric: host=algo-1, test RMSE <loss>=0.00001",
        "#quality_metric: host=algo-1, test mean_wQuantileLoss <loss>=0.30000000000000004",
    ]


def test_logged_values_read_back_exactly():
    found = evaluate(SeasonalNaivePredictor(12, 12), monthly(), prediction_length=12, freq="M")
    for line in log_lines(found, "local"):
        scraped = re.fullmatch(r"#test_score \(local, (\S+)\): (\d+\.\d+|nan)", line)
        if scraped:
            name, value = scraped.groups()
            np.testing.assert_equal(float(value), found.aggregate[name])
        else:
            assert line.startswith("#quality_metric: host=local, test ")


def test_the_files_are_valid_and_whole(tmp_path):
    folder, copy = tmp_path / "data", tmp_path / "model"
    folder.mkdir()
    copy.mkdir()
    write(SMALL, folder, copy)

    def refuse(constant):
        raise AssertionError(constant)

    read = json.loads((folder / "agg_metrics.json").read_text(), parse_constant=refuse)
    assert list(read.values()) == [1e-05, None, 0.1 + 0.2, 270.0, None, 1e22]
    assert (
        folder / "item_metrics.csv"
    ).read_bytes() == b'item_id,forecast_start,MSE\n"a,""b""",2020-01,0.1\n,2020-01,\n'
    for path in folder.iterdir():
        assert (copy / path.name).read_bytes() == path.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        RECORD,
        "agg_metrics.json",
        "item_metrics.csv",
    ]


def test_scores_of_an_earlier_run_are_replaced_and_a_file_of_the_users_is_kept(tmp_path):
    (tmp_path / "agg_metrics.json").write_text("mine")
    write(SMALL, tmp_path)
    write(Evaluation({"RMSE": 2.0}, SMALL.items, 0), tmp_path)
    assert json.loads((tmp_path / "agg_metrics.json").read_text()) == {"RMSE": 2.0}
    assert (tmp_path / "agg_metrics.json.kept-1").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    write(SMALL, tmp_path)
    before = (tmp_path / "agg_metrics.json").read_bytes()
    broken = Evaluation({"RMSE": 1.0, "bad": 2 + 3j}, SMALL.items, 0)  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        write(broken, tmp_path)
    assert (tmp_path / "agg_metrics.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        RECORD,
        "agg_metrics.json",
        "item_metrics.csv",
    ]


@pytest.mark.torch
def test_distributions_of_torch_models(tmp_path):
    from gluonts.torch import SimpleFeedForwardEstimator

    dataset = list(monthly())
    quiet = {"enable_progress_bar": False, "logger": False, "enable_model_summary": False}
    predictor = SimpleFeedForwardEstimator(
        prediction_length=12,
        context_length=12,
        hidden_dimensions=[4],
        batch_size=4,
        num_batches_per_epoch=2,
        trainer_kwargs={"max_epochs": 1, "default_root_dir": str(tmp_path), **quiet},
    ).train([dict(entry, target=entry["target"][:-12]) for entry in dataset])
    found = assert_same(dataset, predictor, 12, "M")
    assert found.aggregate["mean_wQuantileLoss"] > 0
    assert evaluate(predictor, dataset, prediction_length=12, freq="M").warnings == ()


@pytest.mark.torch
def test_counts_of_torch_models_are_sampled():
    import torch
    from gluonts.torch.model.forecast import DistributionForecast

    torch.manual_seed(3)
    rates = torch.distributions.Poisson(torch.full((12,), 300.0))
    dataset = list(monthly())
    forecasts = [
        DistributionForecast(rates, entry["start"] + len(entry["target"]) - 12) for entry in dataset
    ]
    found = evaluate(Replay(forecasts, 12), dataset, prediction_length=12, freq="M")
    assert found.warnings == ()
    assert np.isfinite(found.aggregate["mean_wQuantileLoss"])
    assert list(found.items["item_id"]) == [entry["item_id"] for entry in dataset]
