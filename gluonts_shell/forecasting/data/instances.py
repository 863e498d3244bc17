"""Instances of a request, or rows of a channel -> GluonTS data entries, or the sentence that says what is wrong.

Everything that can be known to be wrong is found here, before the model is called. What the fields must be is
`fields`' and `covariates`' business; here they are put together.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonts_shell import nearby
from gluonts_shell.errors import InstanceError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data import fields
from gluonts_shell.forecasting.data.covariates import (
    KINDS,
    NAMES,
    OURS,
    STATIC_CAT,
    Kind,
    Span,
    finite,
    own_fields,
    static_cat,
)
from gluonts_shell.forecasting.data.fields import FieldError, brief, quoted
from gluonts_shell.forecasting.data.naming.labels import Numbering
from gluonts_shell.forecasting.data.naming.order import (
    AHEAD,
    CATEGORIES,
    FUTURE,
    GROUPS,
    PAST,
    Covariates,
    Names,
)

log = logging.getLogger(__name__)

CONFIGURATION = "configuration"  # of a request, and of no instance
LOOKED_AT = 50  # names of an instance, for a slip
OVER_TIME = (
    "feat_dynamic_real",
    "past_feat_dynamic_real",
    "feat_dynamic_cat",
    "past_feat_dynamic_cat",
)


@dataclass(frozen=True)
class Reader:
    """What one model wants of an instance.

    pads_empty: a cold start (no target) is given to the model as one missing value just before `start`, because models
    written series by series index into the target; those that pad it themselves get it as it is.
    numbering, learnt: where a channel is read whose labels, or names of covariates, are not known yet.
    """

    prediction_length: int
    features: Features
    pads_empty: bool
    numbering: Numbering | None = None
    learnt: Names | None = None

    def decided(self) -> dict[str, Any]:
        """What a client cannot choose any more, under DeepAR's names; None where it is not known."""
        categories = self.features.static_cat
        return {
            "prediction_length": self.prediction_length,
            "num_dynamic_feat": self.features.dynamic_real,
            "cardinality": None if categories is None else list(categories),
        }

    def read(self, instances: Sequence[Any], freq: str) -> tuple[list[dict[str, Any]], list[int]]:
        """Data entries with start (Period), target (float32) and features, and the lengths of the targets.

        Raises InstanceError, which names instance, item_id and field, found and expected.
        """
        entries, lengths = [], []
        for index, instance in enumerate(instances):
            try:
                entry = self.entry(instance, freq)
            except FieldError as fault:
                reason = f"{fault}{slip(instance, fault.field)}"
                raise InstanceError(
                    f"instance {index}", reason, _item(instance), index, fault.field
                ) from None
            if CONFIGURATION in instance and not self.features.own:
                _tell_ignored()
            lengths.append(entry["target"].shape[-1])
            entries.append(padded(entry) if self.pads_empty and not lengths[-1] else entry)
        return entries, lengths

    def entry(self, instance: Any, freq: str) -> dict[str, Any]:
        """One data entry, as `read` has it. Raises FieldError. In training, where prediction_length is 0 here, dynamic
        features are as long as the target."""
        if type(instance) is not dict:
            raise FieldError(
                f"it is {quoted(instance)}, expected an object with 'start' and 'target'"
            )
        target = fields.target(instance, self.features.dimensions)
        entry = {
            "item_id": _item_id(instance.get("item_id")),
            "start": fields.start(instance, freq),
            "target": target,
        }
        if PAST in instance or FUTURE in instance:
            self._add_by_name(entry, instance, target.shape[-1])
        elif self._kinds:
            self._add_covariates(entry, instance, self._kinds, target.shape[-1])
        if self.features.own:
            entry |= own_fields(instance, (PAST, FUTURE) if self._names else ())
        return entry

    @functools.cached_property
    def _kinds(self) -> list[tuple[Kind, Any, tuple[str, ...]]]:
        """The fields that are to be read, with what is wanted of each, and by which names; the others are not looked
        at."""
        found: list[tuple[Kind, Any, tuple[str, ...]]] = []
        for kind in KINDS:
            wanted = getattr(self.features, kind.wanted)
            if wanted not in (0, ()):
                names = getattr(self.features, GROUPS.get(kind.wanted, ""), ())
                found.append((kind, wanted, names))
        return found

    @functools.cached_property
    def _names(self) -> Names:
        return Names.of(self.features) if self.learnt is None else self.learnt

    def _add_covariates(
        self,
        entry: dict[str, Any],
        instance: dict[str, Any],
        kinds: list[tuple[Kind, Any, tuple[str, ...]]],
        length: int,
    ) -> None:
        span = Span(length, self.prediction_length, self.features.lead_time)
        for kind, wanted, names in kinds:
            sent = kind.sent(instance, wanted, names)
            if sent is None:
                continue
            if kind is STATIC_CAT:
                entry[kind.name] = static_cat(*sent, wanted, self.features, self.numbering)
            else:
                entry[kind.name] = kind.read(*sent, wanted, span)

    def _add_by_name(self, entry: dict[str, Any], instance: dict[str, Any], length: int) -> None:
        """The dynamic features of an instance that names its covariates, and the other fields."""
        named = {}
        if not self._passes_over_names:
            sent = Covariates.sent(instance, self._names, length)
            span = Span(length, self.prediction_length, self.features.lead_time)
            for kind, _, _ in self._kinds:
                rows = _rows(kind, sent, span)
                if rows:
                    named[kind.name] = np.stack(rows)
        entry |= named
        kinds = [each for each in self._kinds if each[0].name not in named]
        self._add_covariates(entry, instance, kinds, length)

    @functools.cached_property
    def _passes_over_names(self) -> bool:
        """A class of the user's that nobody trained gets covariates by name as they came; and of channels beside the
        first they are not looked at where the model uses none: a client learns that they mean nothing, a job need not.
        """
        if self._names or self._names.learns:
            return False
        counts = (self.features.dynamic_real, self.features.past_dynamic_real)
        return self.features.own or (counts == (0, 0) and not self.prediction_length)


def _rows(kind: Kind, sent: Covariates, span: Span) -> list[np.ndarray]:
    """In the order of training; none where it saw no names for the kind."""
    ahead = kind.wanted in AHEAD
    return [_row(name, sent, span, ahead) for name in sent.names.groups.get(kind.wanted, ())]


def _row(name: str, sent: Covariates, span: Span, ahead: bool) -> np.ndarray:
    """ahead: with the steps beyond the target, of which there are none in training."""
    past = sent.row(PAST, name, span.length, "as the target has")
    if not ahead:
        return _values(name, PAST, sent, past)
    sent.check_there(FUTURE, name)
    if not span.prediction_length:
        return _values(name, PAST, sent, past)
    lead = f"lead_time {span.lead_time} + " if span.lead_time else ""
    expected = f"{lead}the model's prediction_length {span.prediction_length}"
    future = sent.row(FUTURE, name, span.beyond, expected)
    return np.concatenate([_values(name, PAST, sent, past), _values(name, FUTURE, sent, future)])


def _values(name: str, field: str, sent: Covariates, row: tuple[str, list[Any]]) -> np.ndarray:
    """float32, or int64 where it is text."""
    if name in (n for wanted in CATEGORIES for n in sent.names.groups.get(wanted, ())):
        return np.array(sent.names.codes(name, *row), dtype=np.int64)
    return finite(field, *row)


def _item_id(value: Any) -> str | None:
    """As text that can be written to a file: JSON can hold half of a surrogate pair, UTF-8 cannot."""
    if value is None:
        return None
    try:
        text = value if type(value) is str else str(value)
    except RecursionError:  # orjson reads deeper than Python's own functions go
        raise FieldError("item_id is nested too deeply, expected a text", "item_id") from None
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def padded(entry: dict[str, Any]) -> dict[str, Any]:
    """A cold start as one missing value just before `start`, with the features of the step after it."""
    target = entry["target"]
    missing = np.full((*target.shape[:-1], 1), np.nan, dtype=np.float32)
    longer = {**entry, "start": entry["start"] - 1, "target": missing}
    for name in OVER_TIME:
        if name in entry:
            features = entry[name]
            before = (
                features[:, :1]
                if features.size
                else np.zeros((len(features), 1), dtype=features.dtype)
            )
            longer[name] = np.concatenate([before, features], axis=1)
    return longer


def length_of(entry: dict[str, Any]) -> int:
    """Of a target of one dimension, or of several: (length,) or (dimensions, length)."""
    return int(entry["target"].shape[-1])


def history(entry: dict[str, Any], length: int, window: int) -> dict[str, Any]:
    """Cut an entry as GluonTS' `split` does: features known in advance keep the window that is to be forecast."""
    cut = dict(entry, target=entry["target"][..., : length - window])
    for name, end in (
        ("feat_dynamic_real", length),
        ("feat_dynamic_cat", length),
        ("past_feat_dynamic_real", length - window),
        ("past_feat_dynamic_cat", length - window),
    ):
        if name in entry:
            cut[name] = entry[name][:, :end]
    return cut


@functools.lru_cache(maxsize=1)
def _tell_ignored() -> None:
    log.info(
        "an instance has a field %r, which is ignored: it belongs beside the instances (told once)",
        CONFIGURATION,
    )


def slip(instance: Any, field: str | None) -> str:
    """The end of a sentence about a field that is not there: by which name the client may have meant it."""
    if field is None or type(instance) is not dict:
        return ""
    kind = NAMES.get(field)
    names = [field]
    if kind is not None:
        names = [kind.synonym or kind.name, kind.name]
    if any(name in instance for name in names):
        return ""
    for name in itertools.islice(instance, LOOKED_AT):
        known = name in NAMES or name in OURS
        meant = None if known else nearby.near_miss(name, names)
        if meant is not None:
            return f"; did you mean {meant!r}, not {name[:50]!r}?"
    return ""


def _item(instance: Any) -> str | None:
    """The item_id, short enough for a sentence."""
    item_id = instance.get("item_id") if isinstance(instance, dict) else None
    return None if item_id is None else brief(item_id)
