"""Texts are escaped and shortened, numbers are rounded for the eye and whole for programs."""

from __future__ import annotations

import math

import pytest

from gluonts_shell.forecasting.report.tables import (
    duration,
    exact,
    name,
    number,
    share,
    table,
    text,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#x27;"),
        ("two\nlines\x00", "two\\nlines\\x00"),
        ("x" * 200, "x" * 120 + "…"),
        (None, "None"),
    ],
)
def test_text(value, expected):
    assert text(value) == expected


def test_a_name_does_not_turn_what_stands_around_it():
    assert name("\u202ea") == "<bdi>\u202ea</bdi>"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.123456, "0.1235"),
        (1234.56, "1,235"),
        (123456.7, "123,457"),
        (2e20, "2.000e+20"),
        (1.23e-7, "1.230e-07"),
        (0.0, "0"),
        (math.inf, "inf"),
    ],
)
def test_numbers(value, expected):
    assert number(value) == f'<data value="{value!r}">{expected}</data>'


def test_what_is_no_number_is_a_dash():
    assert number(math.nan) == exact(math.nan) == exact(math.inf) == share(math.nan) == "-"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0412, "0.041 s"), (12.3, "12 s"), (200.4, "3 min 20 s"), (7300.0, "2 h 1 min")],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected


def test_a_table_has_headings_for_columns_and_rows():
    found = table(("a", "b"), [("x", "1")], "kind")
    assert '<table class="kind"><thead><tr><th scope="col">a</th><th scope="col">b</th>' in found
    assert '<tbody><tr><th scope="row">x</th><td>1</td></tr></tbody>' in found
    assert "<thead>" not in table((), [])
