"""Instances of a request -> GluonTS data entries, or the sentence that says which field of which instance is wrong.

Everything that can be known to be wrong is found here, before the model is called. The usual case is checked in a few
numpy calls; only what fails them is looked at value by value, to name the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data import fields
from gluonts_shell.forecasting.data.fields import FieldError, quoted


@dataclass(frozen=True)
class Reader:
    """What one model wants of an instance.

    pads_empty: a cold start (no target) is given to the model as one missing value just before `start`, because models
    written series by series index into the target; those that pad it themselves get it as it is.
    """

    prediction_length: int
    features: Features
    pads_empty: bool

    def read(self, instances: Sequence[Any], freq: str) -> tuple[list[dict[str, Any]], list[int]]:
        """Data entries with start (Period), target (float32) and features, and the lengths of the targets.

        Raises RequestError, which names instance, item_id and field, found and expected.
        """
        entries, lengths = [], []
        for index, instance in enumerate(instances):
            try:
                entry = self.entry(instance, freq)
            except FieldError as fault:
                raise RequestError(f"{named(index, instance)}: {fault}") from None
            lengths.append(len(entry["target"]))
            entries.append(padded(entry) if self.pads_empty and not lengths[-1] else entry)
        return entries, lengths

    def entry(self, instance: Any, freq: str) -> dict[str, Any]:
        """One data entry, as `read` has it. Raises FieldError. In training, where prediction_length is 0 here, dynamic
        features are as long as the target."""
        if type(instance) is not dict:
            raise FieldError(f"it is {quoted(instance)}, expected an object with 'start' and 'target'")
        item_id = instance.get("item_id")
        target = fields.target(instance)
        entry = {
            "item_id": None if item_id is None else str(item_id),
            "start": fields.start(instance, freq),
            "target": target,
        }
        wanted, length, steps = self.features, len(target), self.prediction_length
        if wanted.static_cat != () and (sent := fields.either(instance, "cat", "feat_static_cat", wanted.static_cat)):
            entry["feat_static_cat"] = fields.categories(*sent, wanted)
        if wanted.static_real != 0 and (sent := fields.either(instance, "feat_static_real", None, wanted.static_real)):
            entry["feat_static_real"] = fields.static_real(*sent, wanted.static_real)
        count = wanted.dynamic_real
        if count != 0 and (sent := fields.either(instance, "dynamic_feat", "feat_dynamic_real", count)):
            origin = f"len(target) {length} + prediction_length {steps}" if steps else "len(target)"
            entry["feat_dynamic_real"] = fields.dynamic(*sent, count, length + steps, origin)
        count = wanted.past_dynamic_real
        if count != 0 and (sent := fields.either(instance, "past_feat_dynamic_real", None, count)):
            entry["past_feat_dynamic_real"] = fields.dynamic(*sent, count, length, "len(target)")
        return entry


def padded(entry: dict[str, Any]) -> dict[str, Any]:
    """A cold start as one missing value just before `start`: models that go series by series index into the target.

    The features are known from there on too; their first value stands for that step.
    """
    found = {**entry, "start": entry["start"] - 1, "target": np.full(1, np.nan, dtype=np.float32)}
    for name in ("feat_dynamic_real", "past_feat_dynamic_real"):
        if name in entry:
            found[name] = np.pad(entry[name], ((0, 0), (1, 0)), mode="edge" if entry[name].size else "constant")
    return found


def named(index: int, instance: Any) -> str:
    """`instance 3 (item_id 'SKU-7')`"""
    item_id = instance.get("item_id") if isinstance(instance, dict) else None
    return f"instance {index}" if item_id is None else f"instance {index} (item_id {quoted(item_id)})"
