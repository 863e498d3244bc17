"""Frequencies as users write them -> the one spelling that pandas periods and GluonTS accept. Knows pandas only."""

from __future__ import annotations

import functools
import re
import warnings

import pandas as pd

from gluonts_shell.errors import ConfigurationError

# Offsets that mark the start, the end or a business day of the same period; pandas periods know only the period.
PERIODS = {
    **dict.fromkeys(("MS", "ME", "BM", "BMS", "BME", "CBMS", "CBME"), "M"),
    **dict.fromkeys(("QE", "BQ", "BQE"), "Q"),
    **dict.fromkeys(("YE", "A", "BA", "BY", "BYE", "BA"), "Y"),
    **dict.fromkeys(("H", "hour", "hours"), "h"),
    **dict.fromkeys(("T", "Min", "MIN", "minute", "minutes"), "min"),
    "S": "s",
    "L": "ms",
    "U": "us",
    "N": "ns",
}
# The same, but their anchor names the first month, where periods name the last one.
STARTS = {**dict.fromkeys(("QS", "BQS"), "Q"), **dict.fromkeys(("YS", "AS", "BAS", "BYS"), "Y")}
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
EXPECTED = "a pandas frequency such as 'h', '30min', 'D', 'W', 'M', 'Q' or 'Y'"


@functools.lru_cache(maxsize=256)
def period_alias(text: str) -> str:
    """The canonical spelling: 'H' and '1h' give 'h', 'MS' and 'ME' give 'M', '60min' stays '60min'.

    Raises ConfigurationError where pandas has no such period.
    """
    spelling = re.fullmatch(r"\s*([0-9]{0,9})\s*([A-Za-z]+)(?:-([A-Za-z]{3}))?\s*", text)
    if spelling is None:
        raise ConfigurationError(f"freq is {text[:50]!r}, expected {EXPECTED}")
    multiple, unit, anchor = spelling[1], spelling[2], (spelling[3] or "").upper()
    if unit in STARTS:
        first = MONTHS.index(anchor) if anchor in MONTHS else 0
        unit, anchor = STARTS[unit], MONTHS[first - 1]
    unit = PERIODS.get(unit, unit)
    candidate = f"{multiple}{unit}-{anchor}" if anchor else f"{multiple}{unit}"
    with warnings.catch_warnings():
        # pandas warns of the spellings that its other versions demand
        warnings.simplefilter("ignore")
        for spelled in (candidate, candidate.replace("Y", "A")):
            try:
                return str(pd.Period("2020-01-01", freq=spelled).freqstr)
            except (ValueError, OverflowError):
                continue
    raise ConfigurationError(
        f"freq is {text[:50]!r}, which is no pandas period; expected {EXPECTED}"
    )


def equivalent(one: str, other: str) -> bool:
    """Whether two spellings mean the same frequency: 'H' and '1h', '24h' and '24H', '60min' and 'h'."""
    return _offset(period_alias(one)) == _offset(period_alias(other))


@functools.lru_cache(maxsize=256)
def _offset(alias: str) -> pd.offsets.BaseOffset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pd.Period("2020-01-01", freq=alias).freq
