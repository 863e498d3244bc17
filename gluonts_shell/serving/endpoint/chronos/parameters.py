"""`parameters` -> the configuration that any client could have sent, and how many steps are to be answered.

It knows Chronos's names and defaults; what a level or a frequency must be is the service's to say, in these names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gluonts_shell import nearby
from gluonts_shell.errors import AskedError, RequestError, private
from gluonts_shell.messages import Configuration
from gluonts_shell.serving.endpoint import codec

LENGTH, LEVELS, FREQ = "prediction_length", "quantile_levels", "freq"
# how Chronos computes, not what: a client that tunes it there loses nothing here
IGNORED = ("batch_size", "predict_batches_jointly")
NAMES = (LENGTH, LEVELS, FREQ, *IGNORED)
# keys of a configuration -> what its sender calls them
CALLED = {"quantiles": LEVELS, "freq": FREQ, "prediction_length": LENGTH}
DEFAULT_LEVELS = (("0.1", 0.1), ("0.5", 0.5), ("0.9", 0.9))

Configure = Callable[[Mapping[str, Any]], Configuration]


@dataclass(frozen=True)
class Asked:
    """steps: how many of the forecast's are answered, from the first on; None for all."""

    configuration: Configuration
    steps: int | None


def asked(parameters: Mapping[str, Any], configure: Configure, horizon: int | None) -> Asked:
    """horizon: steps of the trained model; None where there is none. Raises RequestError in the client's words."""
    given = _given(parameters)
    wanted = {"output_types": ["mean", "quantiles"]}
    for key, name in CALLED.items():
        if name in given:
            wanted[key] = given[name]
    steps = None
    if horizon is not None and LENGTH in given:
        steps = _steps(wanted.pop(LENGTH), horizon)
    try:
        configuration = configure(wanted)
    except AskedError as error:
        raise in_their_words(error) from error
    if LEVELS not in given:
        # nobody asked for them, so that a forecast which lacks them is answered by what it has
        configuration = replace(configuration, quantiles=DEFAULT_LEVELS, quantiles_given=False)
    return Asked(configuration, steps)


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not null. Raises RequestError for one that is not Chronos's."""
    given = {}
    for name, value in parameters.items():
        if value is None:
            continue
        if name not in NAMES:
            hint = nearby.did_you_mean(name, NAMES) or f"; there are {', '.join(NAMES)}"
            raise RequestError(f"parameters.{name[:50]} is not known{hint}")
        given[name] = value
    return given


def _steps(value: Any, horizon: int) -> int:
    number = type(value) in (int, float)
    if number and 1 <= value <= horizon and value == int(value):
        return int(value)
    found = private(f"{value!r:.100}")
    if isinstance(value, list | dict):
        found = codec.called(value)
    raise RequestError(
        f"parameters.{LENGTH} is {found}, expected a whole number from 1 to {horizon}: "
        f"the model forecasts {horizon} steps"
    )


def in_their_words(error: AskedError) -> RequestError:
    """What is wrong with a key of the configuration, told of the parameter that it came from."""
    return error.called(f"parameters.{CALLED.get(error.key, error.key)}")
