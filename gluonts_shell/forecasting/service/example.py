"""The smallest request that a model answers, made from its contract alone: nothing of the model is loaded.

It is the mirror image of `data.instances`, which reads what requests hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gluonts_shell.forecasting.contract import Contract, Features
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
    for field in OVER_TIME:
        count = field.count(features)
        if count:
            instance[field.name] = [[0] * (length + field.steps(contract)) for _ in range(count)]
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
    for field in OVER_TIME:
        count = field.count(features)
        if count:
            each = f"{_lists(count)} of {field.length(contract)} {field.nouns}"
            found.append(f"{field.name}: {each}{_in_order(features, field.wanted)}")
    return found


def _in_order(features: Features, wanted: str) -> str:
    """The names that training saw, by which the lists may be sent too."""
    known = getattr(features, GROUPS[wanted])
    return f", in the order {', '.join(known)} (or by these names)" if known else ""


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
        return contract.prediction_length + contract.features.lead_time if self.ahead else 0

    def length(self, contract: Contract) -> str:
        return f"len(target) + {self.steps(contract)}" if self.ahead else "len(target)"


OVER_TIME = (
    OverTime("dynamic_feat", "dynamic_real", "numbers", ahead=True),
    OverTime("past_feat_dynamic_real", "past_dynamic_real", "numbers", ahead=False),
    OverTime("feat_dynamic_cat", "dynamic_cat", "whole numbers", ahead=True),
    OverTime("past_feat_dynamic_cat", "past_dynamic_cat", "whole numbers", ahead=False),
)


def _count(wanted: int | Sequence[Any] | None) -> int:
    """Of a count, or of cardinalities."""
    if wanted is None:
        return 0
    return wanted if isinstance(wanted, int) else len(wanted)


def _lists(count: int) -> str:
    return "1 list" if count == 1 else f"{count} lists"


def _history(contract: Contract) -> int:
    given = [contract.arguments.get(name) for name in HISTORY]
    lengths = [
        value for value in (*given, contract.prediction_length) if type(value) is int and value > 0
    ]
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
        return (
            f"cat[{position}]: a whole number from 0 to {(features.static_cat or ())[position] - 1}"
        )
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f"cat[{position}]: one of {', '.join(map(repr, known[:5]))}{more}"


def _labels(features: Features) -> list[tuple[str, ...] | None]:
    """For each categorical feature its labels, or None where it has none."""
    missing = _count(features.static_cat) - len(features.labels)
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
    return Contract(
        freq if isinstance(freq, str) else None, length, str(config.get("class", "unknown"))
    )
