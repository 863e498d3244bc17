"""What the scores mean, in words."""

from __future__ import annotations

import math

import pytest

from gluonts_shell.forecasting.report.verdict import Comparison, baseline, compared, first

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("own", "naive", "headline", "side"),
    [
        (0.88, 1.0, "12 % better than seasonal naive", "better"),
        (1.08, 1.0, "8.0 % worse than seasonal naive", "worse"),
        (1.0, 1.0, "As good as seasonal naive", "same"),
        (1.0004, 1.0, "As good as seasonal naive", "same"),
        (0.993, 1.0, "0.7 % better than seasonal naive", "better"),
        (5.0, 1.0, "400 % worse than seasonal naive", "worse"),
        (2000.0, 1.0, "The error is 2,000 times as large as that of seasonal naive", "worse"),
        (0.0, 0.0, "As good as seasonal naive", "same"),
        (0.0, 2.0, "100 % better than seasonal naive", "better"),
    ],
)
def test_headlines(own, naive, headline, side):
    found = Comparison("MASE", own, naive)
    assert found.headline.replace("\N{NO-BREAK SPACE}", " ") == headline
    assert found.side == side


@pytest.mark.parametrize(("own", "naive"), [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, 0.0)])
def test_what_cannot_be_compared_says_nothing(own, naive):
    found = Comparison("MASE", own, naive)
    assert (found.words, found.side) == ("", "")


def test_the_headline_is_of_the_first_metric_that_can_be_compared():
    naive = {"MASE": INF, "ND": 0.5, "RMSE": 3.0}
    found = first({"MASE": INF, "ND": 0.4, "RMSE": 4.0}, naive)
    assert found is not None
    assert (found.metric, found.side) == ("ND", "better")
    assert first({"MASE": NAN}, naive) is None


def test_a_dimension_has_metrics_of_its_own():
    found = list(compared({"1_MASE": 2.0, "MASE": 1.0}, {"1_MASE": 4.0}, "1_"))
    assert found[0] == Comparison("MASE", 2.0, 4.0)
    assert math.isnan(found[1].own)


def test_what_is_compared_with():
    assert "one season before: 12 steps" in baseline(12, "M")
    assert "repeats the last value" in baseline(1, "D")
