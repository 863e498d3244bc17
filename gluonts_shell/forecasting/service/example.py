"""The smallest request that a model answers, made from its contract alone: nothing of the model is loaded.

It is the mirror image of `data.instances`, which reads what requests hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gluonts_shell.errors import counted, some
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.data.covariates import how_many
from gluonts_shell.forecasting.data.naming.order import GROUPS

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
    instance: dict[str, Any] = {"start": START, "target": _target(length, features.dimensions)}
    if features.static_cat:
        instance["cat"] = _categories(features)
    if features.static_real:
        instance["feat_static_real"] = [1.0] * features.static_real
    for field in _over_time(features):
        row = [0] * (length + field.steps(contract))
        instance[field.name] = [row] * field.count(features)
    return instance


def needs(contract: Contract) -> list[str] | None:
    """What each instance must have besides start and target, in sentences; None where the contract does not tell."""
    features = contract.features
    if features.static_cat is None and features.dynamic_real is None:
        return None
    found = [_choice(features, position) for position in range(_count(features.static_cat))]
    if features.dimensions > 1:
        found.append(f"target: {features.dimensions} lists of one length")
    if features.static_real:
        found.append(f"feat_static_real: numbers, {features.static_real} of them")
    for field in _over_time(features):
        lists = counted(field.count(features), "lists")
        each = f"{lists} of {field.length(contract)} {field.nouns}"
        found.append(f"{field.name}: {each}{field.in_order(features)}")
    return found


@dataclass(frozen=True)
class OverTime:
    """A field of an instance that has a value for each step. wanted: its attribute of Features.

    ahead: whether it covers the steps that are forecast too.
    """

    name: str
    wanted: str
    nouns: str
    ahead: bool

    def count(self, features: Features) -> int:
        return _count(getattr(features, self.wanted))

    def steps(self, contract: Contract) -> int:
        """Beyond the target."""
        return self.ahead * (contract.prediction_length + contract.features.lead_time)

    def length(self, contract: Contract) -> str:
        return f"len(target) + {self.steps(contract)}" if self.ahead else "len(target)"

    def in_order(self, features: Features) -> str:
        """The names that training saw, by which the lists may be sent too."""
        known = getattr(features, GROUPS[self.wanted])
        if not known:
            return ""
        return f", in the order {', '.join(known)} (or by these names)"


OVER_TIME = (
    OverTime("dynamic_feat", "dynamic_real", "numbers", ahead=True),
    OverTime("past_feat_dynamic_real", "past_dynamic_real", "numbers", ahead=False),
    OverTime("feat_dynamic_cat", "dynamic_cat", "whole numbers", ahead=True),
    OverTime("past_feat_dynamic_cat", "past_dynamic_cat", "whole numbers", ahead=False),
)


def _over_time(features: Features) -> list[OverTime]:
    """Those that the model needs."""
    return [field for field in OVER_TIME if field.count(features)]


def _count(wanted: Any) -> int:
    """Of a count, or of cardinalities; 0 where nothing is known."""
    return how_many(wanted or 0)


def _history(contract: Contract) -> int:
    for name in HISTORY:
        value = contract.arguments.get(name)
        if type(value) is int and value > 0:
            return min(value, MOST_VALUES)
    return min(contract.prediction_length, MOST_VALUES)


def _target(length: int, dimensions: int) -> list[Any]:
    values = [10 + position % 7 for position in range(length)]
    return values if dimensions <= 1 else [values] * dimensions


def _categories(features: Features) -> list[Any]:
    return [next(iter(known), 0) for known in _labels(features)]


def _choice(features: Features, position: int) -> str:
    known = _labels(features)[position]
    if not known:
        largest = (features.static_cat or ())[position] - 1
        return f"cat[{position}]: a whole number from 0 to {largest}"
    return f"cat[{position}]: one of {some(list(map(repr, known)))}"


def _labels(features: Features) -> list[tuple[str, ...]]:
    """For each categorical feature its labels, none where it has none."""
    missing = _count(features.static_cat) - len(features.labels)
    return [known or () for known in (*features.labels, *[None] * missing)]


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
    if not isinstance(freq, str):
        freq = None
    return Contract(freq, length, str(config.get("class", "unknown")))
