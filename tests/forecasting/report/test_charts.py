"""Charts stand in a page: its colours, its fonts, nothing from elsewhere, and as many points as can be seen."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

from gluonts_shell.forecasting.evaluation.details import Shown
from gluonts_shell.forecasting.evaluation.examples import Band, Example
from gluonts_shell.forecasting.report import charts

pytest.importorskip("matplotlib")


def shown(past=24, steps=12, freq="D", bands=True):
    values = np.arange(steps, dtype=np.float32)
    some = (Band(0.1, 0.9, values - 1, values + 1),) if bands else ()
    example = Example("best", 1.0, 0, np.ones(past), values, values, values, some)
    return Shown(example, "<item>", None, pd.Period("2024-01-01", freq), 1.0)


def points(svg: str) -> int:
    return len(re.findall(r"[ML] -?[\d.]+ -?[\d.]+", svg))


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.fan(shown()),
        lambda: charts.fan(shown(bands=False)),
        lambda: charts.calibration([0.9, 0.1], [0.8, 0.2]),
        lambda: charts.by_step(np.ones(3), np.full(3, math.nan)),
        lambda: charts.losses([[3.0, 2.0], [4.0, 3.0]]),
    ],
)
def test_they_have_the_pages_colours_and_fonts(draw):
    svg = draw()
    assert svg.startswith('<svg viewBox="0 0 288 180" aria-hidden="true">')
    assert svg.endswith("</svg>")
    assert "var(--model)" in svg
    assert not re.search(r"(fill|stroke): #", svg)
    assert "font-family" not in svg
    assert "http" not in svg
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_no_text_of_the_data_is_in_a_picture():
    assert "item" not in charts.fan(shown())


def test_of_many_points_some_are_drawn():
    assert points(charts.fan(shown(past=3000, steps=20_000))) < 8 * charts.MOST_POINTS
    assert points(charts.by_step(np.ones(50_000), np.ones(50_000))) < 3 * charts.MOST_POINTS


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        ("M", ["2022-01", "2023-06", "2024-12"]),
        ("h", ["2023-12-31 00:00", "2024-01-01 11:00"]),
        ("W", ["2023-07-17", "2024-01-01", "2024-03-18"]),
    ],
)
def test_a_few_dates_stand_below_a_fan(freq, expected):
    found = [label for label in labels(charts.fan(shown(freq=freq))) if label.startswith("202")]
    assert (found[0], found[-1]) == (expected[0], expected[-1])
    assert len(found) == len(expected)


def test_a_wide_interval_does_not_flatten_the_rest():
    one = shown()
    wide = Band(0.025, 0.975, np.full(12, -1e9), np.full(12, 1e9))
    example = Example(
        "best", 1.0, 0, np.ones(24), np.arange(12.0), np.arange(12.0), np.arange(12.0), (wide,)
    )
    svg = charts.fan(Shown(example, "x", None, one.start, 1.0))
    assert not any(label.endswith(("M", "G")) for label in labels(svg))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (1234.5, "1.23k"),
        (-3.5e7, "-35M"),
        (1e-5, "1e-05"),
        (2e20, "2e+20"),
        (0.25, "0.25"),
    ],
)
def test_numbers_beside_an_axis_are_short(value, expected):
    assert charts._compact(value) == expected
