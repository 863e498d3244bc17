import warnings

import pandas as pd
import pytest
from gluonts.time_feature import get_seasonality
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.data.frequency import equivalent, period_alias


@pytest.mark.parametrize(
    ("spellings", "alias"),
    [
        (("M", "MS", "ME", "1M", " M ", "BM", "BMS", "BME"), "M"),
        (("D", "1D", "d"), "D"),
        (("B",), "B"),
        (("h", "H", "1h", "1H", "hour"), "h"),
        (("2H", "2h", "2 h"), "2h"),
        (("min", "T", "1min", "minute"), "min"),
        (("15min", "15T"), "15min"),
        (("30min", "30T"), "30min"),
        (("S", "s"), "s"),
        (("L", "ms"), "ms"),
        (("W", "W-SUN"), "W-SUN"),
        (("W-MON", "w-mon"), "W-MON"),
        (("Q", "QE", "Q-DEC", "QS", "QS-JAN"), "Q-DEC"),
        (("QS-FEB", "Q-JAN"), "Q-JAN"),
        (("Y", "YE", "A", "YS", "AS", "A-DEC", "YS-JAN"), "Y-DEC"),
        (("AS-APR", "Y-MAR", "A-MAR"), "Y-MAR"),
    ],
)
def test_spellings_of_one_period_have_one_alias(spellings, alias):
    found = {
        spelling: period_alias(spelling).replace("A-", "Y-").replace("H", "h")
        for spelling in spellings
    }
    assert set(found.values()) == {alias}, found


@pytest.mark.parametrize("text", ["H", "MS", "15T", "W", "QS", "AS", "S", "B", "2D"])
def test_what_it_returns_is_what_periods_and_gluonts_take(text):
    alias = period_alias(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pd.Period("2020-02-03", freq=alias).freqstr == alias
        assert get_seasonality(alias) >= 1
    assert period_alias(alias) == alias


@pytest.mark.parametrize(
    "text",
    [
        "xyz",
        "",
        " ",
        "0D",
        "-1D",
        "M M",
        "D;",
        "1e3D",
        "W-XXX",
        "D-MON",
        "٣D",
        "9" * 30 + "D",
        "None",
        "1",
    ],
)
def test_what_is_no_period_is_named_with_an_example(text):
    with pytest.raises(ConfigurationError) as caught:
        period_alias(text)
    assert str(caught.value).startswith(f"freq is {text[:50]!r}")
    assert str(caught.value).endswith(
        "expected a pandas frequency such as 'h', '30min', 'D', 'W', 'M', 'Q' or 'Y'"
    )


@given(st.text(max_size=12))
def test_any_text_is_an_alias_or_a_sentence(text):
    try:
        assert pd.Period("2020-01-01", freq=period_alias(text)) is not None
    except ConfigurationError as error:
        assert repr(text) in str(error)


def test_the_day_of_the_month_is_lost_in_periods_as_it_should_be():
    assert pd.Period("2020-01-31", freq=period_alias("MS")) == pd.Period(
        "2020-01-01", freq=period_alias("M")
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("H", "1h", True),
        ("24h", "24H", True),
        ("60min", "h", True),
        ("MS", "M", True),
        ("D", "W", False),
        ("h", "2h", False),
    ],
)
def test_equivalence_is_that_of_the_periods(one, other, same):
    assert equivalent(one, other) is same


def test_pandas_deprecations_of_spellings_do_not_reach_the_log(recwarn):
    for text in ("H", "T", "S", "M", "Q", "Y", "A"):
        equivalent(text, text)
    assert [str(warning.message) for warning in recwarn.list] == []
