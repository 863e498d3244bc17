"""The smallest request that a model answers, made from its contract alone: nothing of the model is loaded.

It is the mirror image of `data.instances`, which reads what requests hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gluonts_shell.forecasting.contract import Contract, Features

START = "2024-01-01 00:00:00"
# arguments that tell how much history a forecaster looks at, the first that is given
HISTORY = ("context_length", "season_length", "prediction_length")
MOST_VALUES = 100
UNKNOWN_FREQ = "D"


def example_request(contract: Contract) -> dict[str, Any]:
    """One instance with every feature that the model needs; `configuration` only where the model tells no frequency."""
    request: dict[str, Any] = {"instances": [example_instance(contract)]}
    if contract.freq is None:
        request["configuration"] = {"freq": UNKNOWN_FREQ}
    return request


def example_instance(contract: Contract) -> dict[str, Any]:
    features = contract.features
    length = _history(contract)
    steps = contract.prediction_length + features.lead_time
    instance: dict[str, Any] = {"start": START, "target": _target(length, features.dimensions)}
    if features.static_cat:
        instance["cat"] = _categories(features)
    if features.static_real:
        instance["feat_static_real"] = [1.0] * features.static_real
    over_time = {
        "dynamic_feat": (features.dynamic_real, length + steps),
        "past_feat_dynamic_real": (features.past_dynamic_real, length),
        "feat_dynamic_cat": (len(features.dynamic_cat or ()), length + steps),
        "past_feat_dynamic_cat": (len(features.past_dynamic_cat or ()), length),
    }
    for name, (count, values) in over_time.items():
        if count:
            instance[name] = [[0] * values for _ in range(count)]
    return instance


def needs(contract: Contract) -> list[str] | None:
    """What each instance must have besides start and target, in sentences; None where the contract does not tell."""
    features = contract.features
    if features.static_cat is None and features.dynamic_real is None:
        return None
    beyond = f"len(target) + {contract.prediction_length}"
    if features.lead_time:
        beyond += f" + {features.lead_time} (lead time)"
    categories = [_choice(features, position) for position in range(len(features.static_cat or ()))]
    reals, changing = features.dynamic_real or 0, len(features.dynamic_cat or ())
    past_reals, past_changing = features.past_dynamic_real or 0, len(features.past_dynamic_cat or ())
    wanted = (
        (features.dimensions > 1, f"target: {features.dimensions} lists of one length"),
        (features.static_real, f"feat_static_real: numbers, {features.static_real} of them"),
        (reals, f"dynamic_feat: {_lists(reals)} of {beyond} numbers"),
        (past_reals, f"past_feat_dynamic_real: {_lists(past_reals)} of len(target) numbers"),
        (changing, f"feat_dynamic_cat: {_lists(changing)} of {beyond} whole numbers"),
        (past_changing, f"past_feat_dynamic_cat: {_lists(past_changing)} of len(target) whole numbers"),
    )
    return [*categories, *(sentence for is_wanted, sentence in wanted if is_wanted)]


def _lists(count: int) -> str:
    return "1 list" if count == 1 else f"{count} lists"


def _history(contract: Contract) -> int:
    given = [contract.arguments.get(name) for name in HISTORY]
    lengths = [value for value in (*given, contract.prediction_length) if type(value) is int and value > 0]
    return min(lengths[0], MOST_VALUES)


def _target(length: int, dimensions: int) -> list[Any]:
    values = [10 + position % 7 for position in range(length)]
    return values if dimensions <= 1 else [values] * dimensions


def _categories(features: Features) -> list[Any]:
    labels = _labels(features)
    return [known[0] if known else 0 for known in labels]


def _choice(features: Features, position: int) -> str:
    known = _labels(features)[position]
    if not known:
        return f"cat[{position}]: a whole number from 0 to {(features.static_cat or ())[position] - 1}"
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f"cat[{position}]: one of {', '.join(map(repr, known[:5]))}{more}"


def _labels(features: Features) -> list[tuple[str, ...] | None]:
    """For each categorical feature its labels, or None where it has none."""
    missing = len(features.static_cat or ()) - len(features.labels)
    return [*features.labels, *[None] * missing]


def without_contract(config: Mapping[str, Any]) -> Contract | None:
    """What predictor.json, GluonTS's own description, says of a model that came without a contract.

    config: the parsed file. None where not even the horizon can be read in it.
    """
    kwargs = config.get("kwargs")
    if not isinstance(kwargs, Mapping):
        return None
    length, freq = kwargs.get("prediction_length"), kwargs.get("freq")
    if type(length) is not int or length < 1:
        return None
    return Contract(freq if isinstance(freq, str) else None, length, str(config.get("class", "unknown")))
