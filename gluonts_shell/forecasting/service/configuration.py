"""The `configuration` object of a request -> a checked `Configuration`. Knows DeepAR's keys, their defaults and bounds.

Source: AWS, "DeepAR Inference Formats". The default output is that of DeepAR's batch jobs: mean and nine deciles.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from gluonts_shell import nearby
from gluonts_shell.errors import AskedError, ConfigurationError, RequestError, private
from gluonts_shell.forecasting.data.fields import quoted
from gluonts_shell.forecasting.data.frequency import equivalent, period_alias
from gluonts_shell.forecasting.forecaster.hyperparameters.annotations import Unfit
from gluonts_shell.forecasting.service.plain import MAX_NUMBER, MAX_TEXT, bounded
from gluonts_shell.messages import (
    CONFIGURATION_KEYS,
    DECIDED_KEYS,
    OUTPUT_TYPES,
    SYNONYMS,
    Configuration,
)

log = logging.getLogger(__name__)

# Nothing is allocated or computed because a request said so: what it may ask for has an end.
MAX_SAMPLES = 10_000
MAX_QUANTILES = 1_000
MAX_PREDICTION_LENGTH = 10_000
BOUNDS = {"prediction_length": MAX_PREDICTION_LENGTH}  # of parameters whose bound is not MAX_NUMBER
KNOWN = sorted(CONFIGURATION_KEYS | DECIDED_KEYS)
INSIDE, BESIDE = "its keys belong into the configuration itself", "it belongs beside it"
# members of a request, of either dialect: one envelope too many
MISPLACED = {
    "configuration": INSIDE,
    "config": INSIDE,
    "parameters": INSIDE,
    "instances": BESIDE,
    "inputs": BESIDE,
}
UNDECIDED = (None, "auto", "ignore")  # what contradicts nothing, and DeepAR's words for it
DIGITS = re.compile(r"[0-9]{1,9}")
LEVEL = re.compile(r"[0-9]*\.?[0-9]+(e-?[0-9]{1,3})?", re.ASCII)
PERCENTILE = re.compile(r"p([0-9]{1,2})")  # GluonTS's own spelling of a level


def parse(configuration: Mapping[str, Any], default_forecaster: str | None = None) -> Configuration:
    """Check what a request asks for.

    Keys that are not ours are parameters of the forecaster, named or default. Without one they are
    ignored, unless one must be a slip of a key of ours. Raises RequestError with the key, what was
    found and what was expected.
    """
    given = {name: value for name, value in configuration.items() if value is not None}
    found: dict[str, Any] = {}
    for name, (field, check) in CHECKS.items():
        if name in given:
            found[field] = check(name, given[name])
    found["quantiles_given"] = "quantiles" in given
    others = {name: value for name, value in given.items() if name not in CONFIGURATION_KEYS}
    forecaster = found.setdefault("forecaster", default_forecaster)
    if forecaster is None:
        _check_strangers(others)
    else:
        found["parameters"] = _parameters(others)
    return Configuration(**found)


def check_freq(configuration: Mapping[str, Any], known: str) -> None:
    """Both names of the frequency. Raises RequestError where one does not mean what the model was trained with."""
    for name in ("freq", "time_freq"):
        value = configuration.get(name)
        if value is not None and not equivalent(known, _freq(name, value)):
            raise AskedError(name, f"is {quoted(value)}, but the model was trained with {known!r}")


def check_contract(configuration: Mapping[str, Any], decided: Mapping[str, Any]) -> None:
    """decided: what training has decided, under the names that clients know; None where the contract does not tell.

    Raises RequestError where the configuration says otherwise.
    """
    for name, known in decided.items():
        value = configuration.get(name)
        if known is None or value in UNDECIDED:
            continue
        sent = value if isinstance(known, list) else _number(value)
        if sent != known:
            found = private(f"{value!r:.100}")
            raise AskedError(name, f"is {found}, but the model was trained with {known}")


def _number(value: Any) -> float:
    """Clients send whole numbers as text and as floats too; NaN for what is no number, as true is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)
    return math.nan


def _check_strangers(others: Mapping[str, Any]) -> None:
    for name in itertools.filterfalse(DECIDED_KEYS.__contains__, others):
        advice = MISPLACED.get(name.lower())
        if advice is not None:
            raise RequestError(f"configuration.{name} has no effect in a configuration; {advice}")
        meant = nearby.near_miss(name, (*KNOWN, *SYNONYMS))
        if meant is not None:
            meant = SYNONYMS.get(meant, meant)
            raise RequestError(f"configuration.{name[:50]} is not known; did you mean {meant!r}?")
        _tell_ignored(name[:50])


@lru_cache(maxsize=256)
def _tell_ignored(name: str) -> None:
    log.info("a request has configuration.%s, which is ignored (told once)", name)


def _whole(name: str, value: Any) -> int:
    number = _number(value)
    if 1 <= number <= MAX_SAMPLES and number == int(number):
        return int(number)
    raise RequestError(
        f"configuration.{name} is {quoted(value)}, expected a whole number from 1 to {MAX_SAMPLES}"
    )


def _forecaster(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RequestError(f"configuration.{name} is {quoted(value)}, expected a class path")
    return value


def _output_types(name: str, value: Any) -> tuple[str, ...]:
    expected = f"expected a list out of {', '.join(map(repr, OUTPUT_TYPES))}"
    if not isinstance(value, list) or not value:
        raise RequestError(f"configuration.{name} is {quoted(value)}, {expected}")
    for index, wanted in enumerate(value):
        if wanted not in OUTPUT_TYPES:
            hint = nearby.did_you_mean(str(wanted), OUTPUT_TYPES)
            found = f"configuration.{name}[{index}] is {quoted(wanted)}"
            raise RequestError(f"{found}, {expected}{hint}")
    return tuple(filter(value.__contains__, OUTPUT_TYPES))


def _quantiles(name: str, value: Any) -> tuple[tuple[str, float], ...]:
    """Each under the text that was sent, once."""
    expected = f"expected a list of at most {MAX_QUANTILES} levels"
    if not isinstance(value, list):
        raise AskedError(name, f"is {quoted(value)}, {expected}")
    if len(value) > MAX_QUANTILES:
        raise AskedError(name, f"is a list of {len(value)}, {expected}")
    found: dict[tuple[str, float], None] = {}
    for index, level in enumerate(value):
        text = str(level)
        number = _level(text)
        if not 0 < number < 1:
            reason = f"is {quoted(level)}, expected a level between 0 and 1 such as '0.5'"
            raise AskedError(name, reason, f"[{index}]")
        found[text, number] = None
    return tuple(found)


def _level(text: str) -> float:
    """-1 where the text is no level."""
    percentile = PERCENTILE.fullmatch(text)
    if percentile:
        return int(percentile[1]) / 100
    if len(text) <= 50 and LEVEL.fullmatch(text):
        return float(text)
    return -1.0


def _freq(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise AskedError(name, f"is {quoted(value)}, expected a text such as 'h' or 'D'")
    try:
        return period_alias(value)
    except ConfigurationError as error:
        # its sentence begins with `freq`, by which either name is known
        reason = str(error).removeprefix("freq ")
        raise AskedError("freq", reason) from None


# key of a configuration -> field of Configuration, and what checks it; of the two counts the last one wins
CHECKS: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "num_eval_samples": ("num_samples", _whole),
    "num_samples": ("num_samples", _whole),
    "output_types": ("output_types", _output_types),
    "quantiles": ("quantiles", _quantiles),
    "freq": ("freq", _freq),
    "forecaster_name": ("forecaster", _forecaster),
}


def _parameters(given: Mapping[str, Any]) -> str:
    """As sorted JSON text, which makes equal parameters equal. Raises RequestError where one is out of bounds.

    Only their size is judged here; what each should be is judged by whoever knows the forecaster.
    """
    for name, value in given.items():
        _check_size(name[:50], value, BOUNDS.get(name, MAX_NUMBER))
    return json.dumps(given, sort_keys=True)


def _check_size(name: str, value: Any, bound: float) -> None:
    if isinstance(value, int | float):
        if not abs(value) <= bound:
            raise AskedError(name, f"is {quoted(value)}, expected at most {bound}")
        return
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise RequestError(
            f"configuration.{name} has {len(value)} characters, expected at most {MAX_TEXT}"
        )
    try:
        bounded(value)
    except Unfit as error:
        raise RequestError(f"configuration.{name} is {quoted(value)}, expected {error}") from None
