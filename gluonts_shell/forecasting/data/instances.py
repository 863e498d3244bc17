"""Instances of a request, or rows of a channel -> GluonTS data entries, or the sentence that says what is wrong.

Everything that can be known to be wrong is found here, before the model is called. What the fields must be is
`fields`' and `covariates`' business; here they are put together.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonts_shell.errors import InstanceError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data import fields
from gluonts_shell.forecasting.data.covariates import (
    KINDS,
    STATIC_CAT,
    Kind,
    Span,
    own_fields,
    static_cat,
)
from gluonts_shell.forecasting.data.fields import FieldError, brief, quoted
from gluonts_shell.forecasting.data.labels import Numbering

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
    numbering: where a channel is read whose labels are not known yet.
    """

    prediction_length: int
    features: Features
    pads_empty: bool
    numbering: Numbering | None = None

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
                raise InstanceError(
                    f"instance {index}", str(fault), _item(instance), index
                ) from None
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
        if self._kinds:
            self._add_covariates(entry, instance, target.shape[-1])
        if self.features.own:
            entry |= own_fields(instance)
        return entry

    @functools.cached_property
    def _kinds(self) -> list[tuple[Kind, Any]]:
        """The fields that are to be read, with what is wanted of each; the others are not looked at."""
        wanted = [(kind, getattr(self.features, kind.wanted)) for kind in KINDS]
        return [(kind, count) for kind, count in wanted if count not in (0, ())]

    def _add_covariates(self, entry: dict[str, Any], instance: dict[str, Any], length: int) -> None:
        span = Span(length, self.prediction_length, self.features.lead_time)
        for kind, wanted in self._kinds:
            sent = kind.sent(instance, wanted)
            if sent is None:
                continue
            if kind is STATIC_CAT:
                entry[kind.name] = static_cat(*sent, wanted, self.features, self.numbering)
            else:
                entry[kind.name] = kind.read(*sent, wanted, span)


def _item_id(value: Any) -> str | None:
    """As text that can be written to a file: JSON can hold half of a surrogate pair, UTF-8 cannot."""
    if value is None:
        return None
    text = value if type(value) is str else str(value)
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


def _item(instance: Any) -> str | None:
    """The item_id, short enough for a sentence."""
    item_id = instance.get("item_id") if isinstance(instance, dict) else None
    return None if item_id is None else brief(item_id)
