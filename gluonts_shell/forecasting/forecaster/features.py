"""What a forecaster uses of its data: its own word (constructor arguments) against what the series carry.

Knows the names by which constructors ask for features and DeepAR's ways to say which to use. What was given wins, what
the data carries is derived, and the word `ignore` turns a field off.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gluonts_shell.errors import ConfigurationError, DataError, ModelError, ShellError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.channel import Data
from gluonts_shell.forecasting.data.covariates import KINDS, NAMES, Kind
from gluonts_shell.forecasting.data.naming.order import FUTURE, PAST
from gluonts_shell.forecasting.data.statistics import Statistics
from gluonts_shell.forecasting.forecaster.deepar import Translation

log = logging.getLogger(__name__)


def _count(carried: Any) -> int:
    return carried if isinstance(carried, int) else len(carried)


def _each_alone(carried: Any) -> list[int]:
    """TFT groups features by their sizes; each for itself is a group of one."""
    return [1] * _count(carried)


def _cardinalities(carried: Any) -> list[int]:
    return list(carried)


def _used_at_all(carried: Any) -> bool:
    return bool(carried)


# Constructor parameter -> (attribute of Features, its value for what the data carries: a count, or cardinalities)
PARAMETERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "num_feat_static_cat": ("static_cat", _count),
    "use_feat_static_cat": ("static_cat", _used_at_all),
    "cardinality": ("static_cat", _cardinalities),
    "static_cardinalities": ("static_cat", _cardinalities),
    "num_feat_static_real": ("static_real", _count),
    "use_feat_static_real": ("static_real", _used_at_all),
    "static_dims": ("static_real", _each_alone),
    "num_feat_dynamic_real": ("dynamic_real", _count),
    "use_feat_dynamic_real": ("dynamic_real", _used_at_all),
    "dynamic_dims": ("dynamic_real", _each_alone),
    "num_past_feat_dynamic_real": ("past_dynamic_real", _count),
    "use_past_feat_dynamic_real": ("past_dynamic_real", _used_at_all),
    "past_dynamic_dims": ("past_dynamic_real", _each_alone),
    "dynamic_cardinalities": ("dynamic_cat", _cardinalities),
    "past_dynamic_cardinalities": ("past_dynamic_cat", _cardinalities),
}
CATEGORICAL = ("static_cat", "dynamic_cat", "past_dynamic_cat")
# GluonTS's classes that read a field of the series without a parameter that says so, by the end of their name
UNDECLARED = {
    "NPTSPredictor": ("dynamic_real",),
    "ProphetPredictor": ("dynamic_real",),
    "TreeEstimator": tuple(kind.wanted for kind in KINDS),
    "TreePredictor": tuple(kind.wanted for kind in KINDS),
    "ThirdPartyEstimator": tuple(kind.wanted for kind in KINDS),
}
# Its network has room for one number only, whatever num_feat_static_real says (GluonTS 0.17).
ROOM = {("DeepNPTSEstimator", "static_real"): 1}
AUTO, IGNORE = "auto", "ignore"
DEEPARS_DYNAMIC = "num_dynamic_feat"


@dataclass(frozen=True)
class Use:
    """What a class can use, by its constructor, and what the job lets it use.

    parameters: of the constructor; ignored: attributes of Features that the job turned off; own: whether the class is
    the user's, of which nothing is known but its parameters.
    """

    kind: type
    parameters: Mapping[str, Any]
    ignored: frozenset[str] = frozenset()
    declared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, kind: type, parameters: Mapping[str, Any], ignored: frozenset[str] = frozenset()
    ) -> Use:
        declared: dict[str, tuple[str, ...]] = {}
        for name, (wanted, _) in PARAMETERS.items():
            if name in parameters:
                declared[wanted] = (*declared.get(wanted, ()), name)
        return cls(kind, parameters, ignored, declared)

    @property
    def own(self) -> bool:
        return not self.kind.__module__.startswith("gluonts.")

    def unknown(self, wanted: str) -> bool:
        """Whether the class may read the field without saying so."""
        if wanted in self.declared or wanted in self.ignored:
            return False
        return self.own or wanted in UNDECLARED.get(self.kind.__name__, ())

    def to_read(self, given: Mapping[str, Any], known: Features = Features()) -> Features:  # noqa: B008 - frozen
        """What to read of the first channel: all that the class may use. known: of the model that it continues."""
        wanted: dict[str, Any] = {}
        for kind in KINDS:
            wanted[kind.wanted] = None
            if not self._may_use(kind.wanted, given):
                wanted[kind.wanted] = () if kind.wanted in CATEGORICAL else 0
        for name in CATEGORICAL:
            before = getattr(known, name)
            if before is not None:
                wanted[name] = before
        return replace(known, **wanted, dimensions=0, lead_time=0, own=self.own)

    def _may_use(self, wanted: str, given: Mapping[str, Any]) -> bool:
        if self.unknown(wanted):
            return True
        return wanted in self.declared and not self._turned_off(wanted, given)

    def _turned_off(self, wanted: str, given: Mapping[str, Any]) -> bool:
        """By `ignore`, or by itself, as `num_feat_dynamic_real: 0` and `cardinality: []` do."""
        if wanted in self.ignored:
            return True
        for name in self.declared.get(wanted, ()):
            value = given.get(name)
            if value is not None and not value:
                return True
        return False

    def derived(
        self, given: Mapping[str, Any], data: Data, known: Features | None = None
    ) -> dict[str, Any]:
        """Arguments for what the series carry and the class has a parameter for. Raises DataError for uneven series."""
        arguments: dict[str, Any] = {}
        for kind in KINDS:
            if kind.wanted not in self.declared or kind.wanted in self.ignored:
                continue
            if kind.name in data.statistics.uneven:
                raise DataError(data.statistics.uneven[kind.name])
            if self._turned_off(kind.wanted, given):
                continue
            carried = _carried(kind, data.statistics, known, given)
            if carried and self._has_room(kind, _count(carried)):
                arguments |= self._arguments(kind.wanted, carried)
        return {name: value for name, value in arguments.items() if given.get(name) is None}

    def _arguments(self, wanted: str, carried: Any) -> dict[str, Any]:
        """Each parameter for the field has its own way to say it."""
        arguments = {}
        for name in self.declared[wanted]:
            _, value = PARAMETERS[name]
            arguments[name] = value(carried)
        return arguments

    def _has_room(self, kind: Kind, count: int) -> bool:
        room = ROOM.get((self.kind.__name__, kind.wanted), count)
        if count > room:
            log.warning("%s can use %d %s, but the series have %d; they are not used",
                        self.kind.__name__, room, kind.name, count)  # fmt: skip
        return count <= room

    def features(self, arguments: Mapping[str, Any], statistics: Statistics | None) -> Features:
        """What every series that this model is given must carry; None for what the class does not tell.

        Raises DataError where the train channel itself does not carry it.
        """
        wanted: dict[str, Any] = {}
        for kind in KINDS:
            wanted[kind.wanted] = self._asked(kind.wanted, arguments)
        features = Features(**wanted, own=self.own)
        if statistics is None:
            return features
        for kind in KINDS:
            if wanted[kind.wanted]:
                self._check(kind, wanted[kind.wanted], statistics)
        labels = statistics.labels if features.static_cat != () else ()
        return replace(features, labels=labels, **statistics.settled())

    def _asked(self, wanted: str, arguments: Mapping[str, Any]) -> Any:
        """Of a field: how many, or which cardinalities; none where one of its arguments says so."""
        if self.unknown(wanted):
            return None
        nothing: Any = () if wanted in CATEGORICAL else 0
        asked = nothing
        for name in self.declared.get(wanted, ()):
            _, form = PARAMETERS[name]
            value = arguments.get(name)
            if form is _cardinalities:
                asked = tuple(value or ())
            elif form is _each_alone:
                asked = sum(value or ())
            elif not value:
                return nothing
            elif wanted not in CATEGORICAL:
                asked = None if value is True else int(value)
        return asked

    def _check(self, kind: Kind, asked: Any, statistics: Statistics) -> None:
        """Raises DataError where the train channel does not carry what is asked for."""
        if kind.name in statistics.uneven:
            raise DataError(statistics.uneven[kind.name])
        found, count = statistics.counts.get(kind.name, 0), _count(asked)
        if found != count:
            parameter = self.declared[kind.wanted][-1]
            raise DataError(
                f"channel 'train': the series have {found} {kind.name}, but {parameter} asks for {count}"
            )
        if kind.wanted not in CATEGORICAL:
            return
        largest = _largest(kind, statistics)
        for position, cardinality in enumerate(asked):
            if largest[position] >= cardinality:
                place = "cat" if kind.wanted == "static_cat" else kind.name
                value = f"{place}[{position}] has the value {largest[position]}"
                raise DataError(f"channel 'train': {value}, but its cardinality is {cardinality}")

    def tell_unused(self, data: Data) -> None:
        """One line for what the series carry in vain, unless the job says that it is to be ignored."""
        unused = [
            name
            for name in data.unread
            if _wanted_by(name) not in self.ignored | self.declared.keys()
        ]
        if unused:
            log.warning("channel %r: %s cannot use %s of the data and ignores it: it has no parameter for it",
                        data.channel.name, self.kind.__name__, ", ".join(unused))  # fmt: skip


def _wanted_by(field: str) -> str:
    """The attribute of Features that a field of the data is for."""
    by_name = {FUTURE: "dynamic_real", PAST: "past_dynamic_real"}
    return by_name.get(field) or NAMES[field].wanted


def _largest(kind: Kind, statistics: Statistics) -> list[int]:
    if kind.wanted != "static_cat":
        return statistics.peaks.get(kind.name, [])
    return [max(seen) for seen in statistics.categories]


def _carried(
    kind: Kind, statistics: Statistics, known: Features | None, given: Mapping[str, Any]
) -> Any:
    """How many features of a kind the series have; of categories the cardinalities."""
    if kind.wanted not in CATEGORICAL:
        return statistics.counts.get(kind.name, 0)
    before = getattr(known, kind.wanted, None)
    if before is not None:
        return before
    for name, (wanted, form) in PARAMETERS.items():
        if wanted == kind.wanted and form is _cardinalities and given.get(name):
            return given[name]
    return [largest + 1 for largest in _largest(kind, statistics)]


def spoken(
    parameters: Mapping[str, Any], hyperparameters: Mapping[str, Any]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Takes the words `auto` and `ignore` out of a job's hyperparameters; returns the others, and what is ignored.

    DeepAR's `num_dynamic_feat` is understood for every class that has a parameter for it.
    """
    kept, ignored = dict(hyperparameters), set[str]()
    _dynamic_by_deepars_name(parameters, kept)
    for name in parameters:
        word = str(kept.get(name)).strip().lower()
        if name not in PARAMETERS or word not in (AUTO, IGNORE):
            continue
        del kept[name]
        if word == IGNORE:
            ignored.add(PARAMETERS[name][0])
    return kept, frozenset(ignored)


def _dynamic_by_deepars_name(parameters: Mapping[str, Any], kept: dict[str, Any]) -> None:
    """In place."""
    if DEEPARS_DYNAMIC not in kept or DEEPARS_DYNAMIC in parameters:
        return
    if "num_feat_dynamic_real" in parameters:
        kept.setdefault("num_feat_dynamic_real", kept.pop(DEEPARS_DYNAMIC))
    elif "dynamic_dims" in parameters:
        number = str(kept.pop(DEEPARS_DYNAMIC)).strip()
        groups = [1] * int(number) if re.fullmatch("[0-9]{1,5}", number) else number
        kept.setdefault("dynamic_dims", groups)


def derived(
    use: Use,
    data: Data,
    given: Mapping[str, Any],
    dialect: Translation | None,
    known: Features | None = None,
) -> dict[str, Any]:
    """`given` and what follows from the data, by the class's own derivation or ours; what was given wins.

    known: of the model that is trained further. Raises DataError or ConfigurationError where series and arguments
    contradict each other, ModelError where the class's own derivation fails.
    """
    arguments = dict(given)
    if dialect is not None:
        _explicit(arguments, dialect, data.statistics)
    ours = use.derived(arguments, data, known)
    if ours:
        log.info("derived from the data: %s", _shown(ours))
    theirs = _their_derivation(use.kind, data) if use.own and overrides_derivation(use.kind) else {}
    arguments = {**ours, **theirs, **arguments}
    if dialect is not None:
        if dialect.built_in and known is None:
            _all_categories_seen(arguments.get("cardinality") or (), data.statistics)
        _by_the_dialect(arguments, dialect, data.statistics)
    return arguments


def _shown(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _by_the_dialect(
    arguments: dict[str, Any], dialect: Translation, statistics: Statistics
) -> None:
    """DeepAR's one embedding dimension for all, its check of the data, and its line in the log."""
    _within_support(arguments.get("distr_output"), statistics)
    cardinality = list(arguments.get("cardinality") or ())
    if dialect.embedding_dimension is not None and cardinality:
        arguments["embedding_dimension"] = [dialect.embedding_dimension] * len(cardinality)
    dynamic = arguments.get("num_feat_dynamic_real", 0)
    log.info("cardinality=%s, num_dynamic_feat=%s", cardinality, dynamic)


def _their_derivation(kind: type, data: Data) -> dict[str, Any]:
    try:
        return dict(kind.derive_auto_fields(data))  # type: ignore[attr-defined]
    except ShellError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:600]
        found = f"{kind.__name__}.derive_auto_fields failed on channel {data.channel.name!r}"
        raise ModelError(f"{found}: {type(error).__name__}: {reason}") from error


def overrides_derivation(kind: type) -> bool:
    from gluonts.model.estimator import Estimator
    from gluonts.model.predictor import Predictor

    base = Estimator if issubclass(kind, Estimator) else Predictor
    return kind.derive_auto_fields.__func__ is not base.derive_auto_fields.__func__  # type: ignore[attr-defined]


def check_dimensions(forecaster: Any, data: Data) -> None:
    """Raises DataError where the targets have other dimensions than the forecaster wants."""
    several, found = wants_several(forecaster), data.statistics.dimensions
    name, channel = type(forecaster).__name__, data.channel.name
    if several is True and found == 1:
        expected = "targets of several dimensions, as a list of lists (dimension first)"
        raise DataError(f"channel {channel!r}: {name} needs {expected}, but the series have one")
    if several is False and found > 1:
        targets = f"the targets have {found} dimensions (they are lists of lists)"
        raise DataError(
            f"channel {channel!r}: {targets}, but {name} forecasts one; make a series of each"
        )


def wants_several(forecaster: Any) -> bool | None:
    """Whether its targets have several dimensions; None for a class of the user's that does not tell.

    GluonTS's estimators say it in their transformation: the target becomes an array of so many axes.
    """
    axes = _target_axes(forecaster)
    if axes is not None:
        return axes > 1
    if not type(forecaster).__module__.startswith("gluonts."):
        return None
    return "Hierarchical" in type(forecaster).__name__


def _target_axes(forecaster: Any) -> int | None:
    transformation = getattr(forecaster, "create_transformation", lambda: None)()
    for step in getattr(transformation, "transformations", ()):
        if getattr(step, "field", None) == "target" and hasattr(step, "expected_ndim"):
            return int(step.expected_ndim)
    return None


def _explicit(arguments: dict[str, Any], dialect: Translation, statistics: Statistics) -> None:
    """DeepAR's `cardinality` and `num_dynamic_feat` where they are not auto."""
    if dialect.cardinality == IGNORE:
        arguments |= {"num_feat_static_cat": 0, "cardinality": None}
    elif dialect.cardinality != AUTO:
        found = statistics.counts.get("feat_static_cat", 0)
        if len(dialect.cardinality) != found:
            raise ConfigurationError(
                f"hyperparameter 'cardinality' is {dialect.cardinality}, "
                f"but the series of channel 'train' have {found} categories (field cat)"
            )
        arguments |= {"num_feat_static_cat": found, "cardinality": dialect.cardinality}
    if dialect.dynamic == IGNORE:
        arguments["num_feat_dynamic_real"] = 0
    elif dialect.dynamic != AUTO:
        found = statistics.counts.get("feat_dynamic_real", 0)
        if dialect.dynamic != found:
            raise ConfigurationError(
                f"hyperparameter 'num_dynamic_feat' is {dialect.dynamic}, "
                f"but the series of channel 'train' have {found} (field dynamic_feat)"
            )
        arguments["num_feat_dynamic_real"] = found


def ignored_by(dialect: Translation | None) -> frozenset[str]:
    """DeepAR's own words for it; the built-in algorithm knows no other fields than cat and dynamic_feat."""
    if dialect is None:
        return frozenset()
    ignored = {"static_cat"} if dialect.cardinality == IGNORE else set()
    if dialect.dynamic == IGNORE:
        ignored.add("dynamic_real")
    if dialect.built_in:
        ignored.add("static_real")
    return frozenset(ignored)


def _within_support(distribution: Any, statistics: Statistics) -> None:
    """Outside of it a likelihood has no gradient, and training ends far from what caused it."""
    kind, least, most = type(distribution).__name__, statistics.smallest, statistics.largest
    if kind == "BetaOutput" and statistics.observations and not 0 < least <= most < 1:
        expected = "numbers between 0 and 1, without 0 and 1 themselves"
    elif (
        kind == "NegativeBinomialOutput"
        and statistics.observations
        and not (statistics.integers and least >= 0)
    ):
        expected = "whole numbers from 0 on"
    else:
        return
    found = f"{'whole numbers' if statistics.integers else 'numbers'} from {least:g} to {most:g}"
    raise DataError(
        f"channel 'train': the likelihood is {kind}, which needs {expected}, but target has {found}"
    )


def _all_categories_seen(cardinalities: Any, statistics: Statistics) -> None:
    """DeepAR's rule: every value below the cardinality occurs in training; an unseen one has a random embedding."""
    for position, seen in enumerate(statistics.categories[: len(cardinalities)]):
        cardinality = max(int(cardinalities[position]), max(seen) + 1)
        missing = sorted(set(range(min(cardinality, 10_000))) - seen)
        if missing:
            shown = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
            raise DataError(
                f"channel 'train': cat[{position}] must take every value from 0 to {cardinality - 1}; missing: {shown}"
                + _only_in_short_series(position, missing, statistics)
            )


def _only_in_short_series(position: int, missing: list[int], statistics: Statistics) -> str:
    left_out = statistics.left_out[position] if position < len(statistics.left_out) else set()
    lost = sorted(left_out.intersection(missing))
    return (
        f"; series that are too short have {', '.join(map(str, lost[:10]))}, but do not count"
        if lost
        else ""
    )
