"""The `configuration` object of a request -> a checked `Configuration`. Knows DeepAR's keys, their defaults and bounds.

Source: AWS, "DeepAR Inference Formats". The default output is that of DeepAR's batch jobs: mean and nine deciles.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from gluonts_shell.errors import ConfigurationError, RequestError
from gluonts_shell.forecasting.data.fields import quoted
from gluonts_shell.forecasting.data.frequency import period_alias
from gluonts_shell.forecasting.service.plain import MAX_NUMBER, MAX_TEXT, Refused, bounded
from gluonts_shell.messages import OUTPUT_TYPES, Configuration

# Nothing is allocated or computed because a request said so: what it may ask for has an end.
MAX_SAMPLES = 10_000
MAX_QUANTILES = 1_000
MAX_PREDICTION_LENGTH = 10_000
# keys that say what to answer; all others are parameters of the forecaster that the request names
OWN_KEYS = frozenset({"num_samples", "num_eval_samples", "output_types", "quantiles", "freq", "forecaster_name"})


def parse(configuration: Mapping[str, Any], default_forecaster: str | None = None) -> Configuration:
    """Check what a request asks for. Without a forecaster, named or default, keys that are not ours are ignored.

    Raises RequestError with the key, what was found and what was expected.
    """
    given = {name: value for name, value in configuration.items() if value is not None}
    found: dict[str, Any] = {}
    samples = "num_samples" if "num_samples" in given else "num_eval_samples"
    if samples in given:
        found["num_samples"] = _whole(samples, given[samples])
    if "output_types" in given:
        found["output_types"] = _output_types(given["output_types"])
    if "quantiles" in given:
        found["quantiles"] = _quantiles(given["quantiles"])
        found["quantiles_given"] = True
    if "freq" in given:
        found["freq"] = _freq(given["freq"])
    forecaster = given.get("forecaster_name", default_forecaster)
    if forecaster is not None:
        if not isinstance(forecaster, str):
            raise RequestError(f"configuration.forecaster_name is {quoted(forecaster)}, expected a class path")
        found["forecaster"] = forecaster
        found["parameters"] = _parameters({k: v for k, v in given.items() if k not in OWN_KEYS})
    return Configuration(**found)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SAMPLES:
        return value
    raise RequestError(f"configuration.{name} is {quoted(value)}, expected a whole number from 1 to {MAX_SAMPLES}")


def _output_types(value: Any) -> tuple[str, ...]:
    expected = f"expected a list out of {', '.join(map(repr, OUTPUT_TYPES))}"
    if not isinstance(value, list) or not value:
        raise RequestError(f"configuration.output_types is {quoted(value)}, {expected}")
    for index, name in enumerate(value):
        if name not in OUTPUT_TYPES:
            close = difflib.get_close_matches(str(name)[:50].lower(), OUTPUT_TYPES, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise RequestError(f"configuration.output_types[{index}] is {quoted(name)}, {expected}{hint}")
    return tuple(name for name in OUTPUT_TYPES if name in value)


def _quantiles(value: Any) -> tuple[tuple[str, float], ...]:
    """Each under the text that was sent, once."""
    if not isinstance(value, list) or len(value) > MAX_QUANTILES:
        found = f"a list of {len(value)}" if isinstance(value, list) else quoted(value)
        raise RequestError(f"configuration.quantiles is {found}, expected a list of at most {MAX_QUANTILES} levels")
    return tuple(dict.fromkeys(_quantile(index, level) for index, level in enumerate(value)))


def _quantile(index: int, level: Any) -> tuple[str, float]:
    text = level if isinstance(level, str) else repr(level)
    percentile = re.fullmatch(r"p([0-9]{1,2})", text)  # GluonTS's own spelling
    number = -1.0
    if percentile:
        number = int(percentile[1]) / 100
    elif re.fullmatch(r"[0-9]*\.?[0-9]+(e-?[0-9]{1,3})?", text, re.ASCII) and len(text) <= 50:
        number = float(text)
    if not 0 < number < 1:
        expected = "expected a level between 0 and 1 such as '0.5'"
        raise RequestError(f"configuration.quantiles[{index}] is {quoted(level)}, {expected}")
    return text, number


def _freq(value: Any) -> str:
    if not isinstance(value, str):
        raise RequestError(f"configuration.freq is {quoted(value)}, expected a text such as 'h' or 'D'")
    try:
        return period_alias(value)
    except ConfigurationError as error:
        raise RequestError(f"configuration.{error}") from None


def _parameters(given: Mapping[str, Any]) -> str:
    """As sorted JSON text, which makes equal parameters equal. Raises RequestError where one is out of bounds.

    Only their size is judged here; what each should be is judged by whoever knows the forecaster.
    """
    for name, value in given.items():
        bound = MAX_PREDICTION_LENGTH if name == "prediction_length" else MAX_NUMBER
        if isinstance(value, int | float) and not abs(value) <= bound:
            raise RequestError(f"configuration.{name[:50]} is {quoted(value)}, expected at most {bound}")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise RequestError(f"configuration.{name[:50]} has {len(value)} characters, expected at most {MAX_TEXT}")
        try:
            bounded(value)
        except Refused as refusal:
            raise RequestError(f"configuration.{name[:50]} is {quoted(value)}, expected {refusal}") from None
    return json.dumps(given, sort_keys=True)
