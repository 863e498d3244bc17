"""What a forecaster uses of its data: its own word (constructor arguments) against what the series carry.

Knows the names by which constructors ask for features and DeepAR's ways to say which to use. What
was given wins, what the data carries is derived, and the word `ignore` turns a field off.
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
from gluonts_shell.forecasting.data.covariates import KINDS, NAMES, STATIC_CAT, Kind, how_many
from gluonts_shell.forecasting.data.naming.order import FUTURE, PAST
from gluonts_shell.forecasting.data.statistics import Statistics
from gluonts_shell.forecasting.forecaster.deepar import Translation
from gluonts_shell.forecasting.forecaster.hyperparameters.values import word

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Form:
    """How a parameter of a constructor says what is used of a field.

    said(carried) -> its value for what the data carries, a count or cardinalities. asked(value) ->
    what a value that says something asks for, in the same terms, or None where it does not tell how
    many; None for a parameter that never tells.
    """

    said: Callable[[Any], Any]
    asked: Callable[[Any], Any] | None


def _each_alone(carried: Any) -> list[int]:
    """TFT groups features by their sizes; each for itself is a group of one."""
    return [1] * how_many(carried)


def _number(value: Any) -> int | None:
    """Some classes take a count, and some only whether there are any."""
    return None if value is True else int(value)


COUNT, COUNT_ONLY = Form(how_many, _number), Form(how_many, None)
USED, USED_ONLY = Form(bool, _number), Form(bool, None)
SIZES, CARDINALITIES = Form(_each_alone, sum), Form(list, tuple)
# Constructor parameter -> (attribute of Features, how it says it)
PARAMETERS: Mapping[str, tuple[str, Form]] = {
    "num_feat_static_cat": ("static_cat", COUNT_ONLY),
    "use_feat_static_cat": ("static_cat", USED_ONLY),
    "cardinality": ("static_cat", CARDINALITIES),
    "static_cardinalities": ("static_cat", CARDINALITIES),
    "num_feat_static_real": ("static_real", COUNT),
    "use_feat_static_real": ("static_real", USED),
    "static_dims": ("static_real", SIZES),
    "num_feat_dynamic_real": ("dynamic_real", COUNT),
    "use_feat_dynamic_real": ("dynamic_real", USED),
    "dynamic_dims": ("dynamic_real", SIZES),
    "num_past_feat_dynamic_real": ("past_dynamic_real", COUNT),
    "use_past_feat_dynamic_real": ("past_dynamic_real", USED),
    "past_dynamic_dims": ("past_dynamic_real", SIZES),
    "dynamic_cardinalities": ("dynamic_cat", CARDINALITIES),
    "past_dynamic_cardinalities": ("past_dynamic_cat", CARDINALITIES),
}
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

    parameters: of the constructor; ignored: attributes of Features that the job turned off; own:
    whether the class is the user's, of which nothing is known but its parameters.
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
        wanted = {kind.wanted: self._to_read(kind, given, known) for kind in KINDS}
        return replace(known, **wanted, dimensions=0, lead_time=0, own=self.own)

    def _to_read(self, kind: Kind, given: Mapping[str, Any], known: Features) -> Any:
        """Of one field; the model that is continued keeps its cardinalities."""
        before = getattr(known, kind.wanted)
        if kind.categorical and before is not None:
            return before
        if self._may_use(kind.wanted, given):
            return None
        return kind.nothing

    def _may_use(self, wanted: str, given: Mapping[str, Any]) -> bool:
        if self.unknown(wanted):
            return True
        return wanted in self.declared and not self._turned_off(wanted, given)

    def _turned_off(self, wanted: str, given: Mapping[str, Any]) -> bool:
        """By `ignore`, or by itself, as `num_feat_dynamic_real: 0` and `cardinality: []` do."""
        names = given.keys() & self.declared.get(wanted, ())
        said = [given[name] for name in names if given[name] is not None]
        return wanted in self.ignored or not all(said)

    def derived(
        self, given: Mapping[str, Any], data: Data, known: Features | None = None
    ) -> dict[str, Any]:
        """Arguments for what the series carry and the class has a parameter for. Raises DataError for uneven series."""
        arguments: dict[str, Any] = {}
        for kind in self._to_derive(given, data.statistics):
            carried = _carried(kind, data.statistics, known, given)
            if carried and self._has_room(kind, how_many(carried)):
                arguments |= self._arguments(kind.wanted, carried)
        return {name: value for name, value in arguments.items() if given.get(name) is None}

    def _to_derive(self, given: Mapping[str, Any], statistics: Statistics) -> list[Kind]:
        declared = self.declared.keys() - self.ignored
        kinds = [kind for kind in KINDS if kind.wanted in declared]
        for kind in kinds:
            statistics.check_even(kind)
        return [kind for kind in kinds if not self._turned_off(kind.wanted, given)]

    def _arguments(self, wanted: str, carried: Any) -> dict[str, Any]:
        """Each parameter for the field has its own way to say it."""
        arguments = {}
        for name in self.declared[wanted]:
            _, form = PARAMETERS[name]
            arguments[name] = form.said(carried)
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
        wanted = {kind.wanted: self._asked(kind, arguments) for kind in KINDS}
        features = Features(**wanted, own=self.own)
        if statistics is None:
            return features
        for kind in KINDS:
            self._check(kind, wanted[kind.wanted], statistics)
        features = replace(features, **statistics.settled())
        if features.static_cat == ():
            return features
        return replace(features, labels=statistics.labels)

    def _asked(self, kind: Kind, arguments: Mapping[str, Any]) -> Any:
        """Of a field: how many, or which cardinalities; none where one of its arguments says so."""
        if self.unknown(kind.wanted):
            return None
        asked = kind.nothing
        for name in self.declared.get(kind.wanted, ()):
            _, form = PARAMETERS[name]
            value = arguments.get(name)
            if not value:
                return kind.nothing
            if form.asked is not None:
                asked = form.asked(value)
        return asked

    def _check(self, kind: Kind, asked: Any, statistics: Statistics) -> None:
        """Raises DataError where the train channel does not carry what is asked for."""
        if not asked:
            return
        statistics.check_even(kind)
        found, count = statistics.count(kind), how_many(asked)
        if found != count:
            parameter = self.declared[kind.wanted][-1]
            raise DataError(
                f"channel 'train': the series have {found} {kind.name}, but {parameter} asks for {count}"
            )
        if not kind.categorical:
            return
        place = kind.synonym or kind.name
        for position, largest in enumerate(statistics.peaks_of(kind)):
            if largest >= asked[position]:
                value = f"{place}[{position}] has the value {largest}"
                limit = f"but its cardinality is {asked[position]}"
                raise DataError(f"channel 'train': {value}, {limit}")

    def tell_unused(self, data: Data) -> None:
        """One line for what the series carry in vain, unless the job says that it is to be ignored."""
        told = self.ignored | self.declared.keys()
        unused = [name for name in data.unread if _wanted_by(name) not in told]
        if unused:
            log.warning("channel %r: %s cannot use %s of the data and ignores it: it has no parameter for it",
                        data.channel.name, self.kind.__name__, ", ".join(unused))  # fmt: skip


def _wanted_by(field: str) -> str:
    """The attribute of Features that a field of the data is for."""
    by_name = {FUTURE: "dynamic_real", PAST: "past_dynamic_real"}
    return by_name.get(field) or NAMES[field].wanted


def _carried(
    kind: Kind, statistics: Statistics, known: Features | None, given: Mapping[str, Any]
) -> Any:
    """How many features of a kind the series have; of categories the cardinalities."""
    if not kind.categorical:
        return statistics.count(kind)
    before = getattr(known, kind.wanted, None)
    if before is not None:
        return before
    for name, parameter in PARAMETERS.items():
        if parameter == (kind.wanted, CARDINALITIES) and given.get(name):
            return given[name]
    return [largest + 1 for largest in statistics.peaks_of(kind)]


def spoken(
    parameters: Mapping[str, Any], hyperparameters: Mapping[str, Any]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Takes the words `auto` and `ignore` out of a job's hyperparameters; returns the others, and what is ignored.

    DeepAR's `num_dynamic_feat` is understood for every class that has a parameter for it.
    """
    kept, ignored = dict(hyperparameters), set[str]()
    _dynamic_by_deepars_name(parameters, kept)
    for name in parameters.keys() & PARAMETERS.keys():
        said = word(kept.get(name))
        if said in (AUTO, IGNORE):
            del kept[name]
        if said == IGNORE:
            ignored.add(PARAMETERS[name][0])
    return kept, frozenset(ignored)


def _dynamic_by_deepars_name(parameters: Mapping[str, Any], kept: dict[str, Any]) -> None:
    """In place."""
    if DEEPARS_DYNAMIC not in kept or DEEPARS_DYNAMIC in parameters:
        return
    if "num_feat_dynamic_real" in parameters:
        kept.setdefault("num_feat_dynamic_real", kept.pop(DEEPARS_DYNAMIC))
    elif "dynamic_dims" in parameters:
        groups: Any = str(kept.pop(DEEPARS_DYNAMIC)).strip()
        if re.fullmatch("[0-9]{1,5}", groups):
            groups = _each_alone(int(groups))
        kept.setdefault("dynamic_dims", groups)


def derived(
    use: Use,
    data: Data,
    given: Mapping[str, Any],
    dialect: Translation | None,
    known: Features | None = None,
) -> dict[str, Any]:
    """`given` and what follows from the data, by the class's own derivation or ours; what was given wins.

    known: of the model that is trained further. Raises DataError or ConfigurationError where series
    and arguments contradict each other, ModelError where the class's own derivation fails.
    """
    arguments = dict(given)
    if dialect is not None:
        _explicit(arguments, dialect, data.statistics)
    ours = use.derived(arguments, data, known)
    if ours:
        shown = ", ".join(f"{name}={value!r}" for name, value in ours.items())
        log.info("derived from the data: %s", shown)
    theirs = {}
    if use.own and overrides_derivation(use.kind):
        theirs = _their_derivation(use.kind, data)
    arguments = {**ours, **theirs, **arguments}
    if dialect is None:
        return arguments
    if dialect.built_in and known is None:
        _all_categories_seen(arguments.get("cardinality") or (), data.statistics)
    _by_the_dialect(arguments, dialect, data.statistics)
    return arguments


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
        axes = getattr(step, "expected_ndim", None)
        if axes is not None and getattr(step, "field", None) == "target":
            return int(axes)
    return None


def _explicit(arguments: dict[str, Any], dialect: Translation, statistics: Statistics) -> None:
    """DeepAR's `cardinality` and `num_dynamic_feat` where they are not auto."""
    if dialect.cardinality == IGNORE:
        arguments |= {"num_feat_static_cat": 0, "cardinality": None}
    elif dialect.cardinality != AUTO:
        found = statistics.count(STATIC_CAT)
        if len(dialect.cardinality) != found:
            has = f"{found} categories (field cat)"
            raise _contradicted("cardinality", dialect.cardinality, has)
        arguments |= {"num_feat_static_cat": found, "cardinality": dialect.cardinality}
    if dialect.dynamic == IGNORE:
        arguments["num_feat_dynamic_real"] = 0
    elif dialect.dynamic != AUTO:
        found = statistics.count(NAMES["dynamic_feat"])
        if dialect.dynamic != found:
            raise _contradicted(DEEPARS_DYNAMIC, dialect.dynamic, f"{found} (field dynamic_feat)")
        arguments["num_feat_dynamic_real"] = found


def _contradicted(name: str, given: Any, has: str) -> ConfigurationError:
    return ConfigurationError(
        f"hyperparameter {name!r} is {given}, but the series of channel 'train' have {has}"
    )


def ignored_by(dialect: Translation | None) -> frozenset[str]:
    """DeepAR's own words for it; the built-in algorithm knows no other fields than cat and dynamic_feat."""
    if dialect is None:
        return frozenset()
    ignored = set()
    if dialect.cardinality == IGNORE:
        ignored.add("static_cat")
    if dialect.dynamic == IGNORE:
        ignored.add("dynamic_real")
    if dialect.built_in:
        ignored.add("static_real")
    return frozenset(ignored)


def _between_0_and_1(statistics: Statistics) -> bool:
    return 0 < statistics.smallest <= statistics.largest < 1


def _counts(statistics: Statistics) -> bool:
    return statistics.integers and statistics.smallest >= 0


SUPPORTS: Mapping[str, tuple[Callable[[Statistics], bool], str]] = {
    "BetaOutput": (_between_0_and_1, "numbers between 0 and 1, without 0 and 1 themselves"),
    "NegativeBinomialOutput": (_counts, "whole numbers from 0 on"),
}


def _within_support(distribution: Any, statistics: Statistics) -> None:
    """Outside of it a likelihood has no gradient, and training ends far from what caused it."""
    kind = type(distribution).__name__
    if kind not in SUPPORTS or not statistics.observations:
        return
    holds, expected = SUPPORTS[kind]
    if holds(statistics):
        return
    numbers = "whole numbers" if statistics.integers else "numbers"
    found = f"{numbers} from {statistics.smallest:g} to {statistics.largest:g}"
    raise DataError(
        f"channel 'train': the likelihood is {kind}, which needs {expected}, but target has {found}"
    )


def _all_categories_seen(cardinalities: Any, statistics: Statistics) -> None:
    """DeepAR's rule: every value below the cardinality occurs in training; an unseen one has a random embedding."""
    for position, seen in enumerate(statistics.categories[: len(cardinalities)]):
        cardinality = max(int(cardinalities[position]), max(seen) + 1)
        missing = sorted(set(range(min(cardinality, 10_000))) - seen)
        if not missing:
            continue
        more = " ..." if len(missing) > 10 else ""
        expected = f"cat[{position}] must take every value from 0 to {cardinality - 1}"
        lost = _only_in_short_series(position, missing, statistics)
        raise DataError(f"channel 'train': {expected}; missing: {_ten(missing)}{more}{lost}")


def _only_in_short_series(position: int, missing: list[int], statistics: Statistics) -> str:
    left_out = set[int]().union(*statistics.left_out[position : position + 1])
    lost = sorted(left_out.intersection(missing))
    if not lost:
        return ""
    return f"; series that are too short have {_ten(lost)}, but do not count"


def _ten(values: list[int]) -> str:
    return ", ".join(map(str, values[:10]))
