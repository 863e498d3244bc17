"""`inputs` -> instances, and predictions -> what Chronos's clients read: a member for the mean and for each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gluonts_shell.errors import InstanceError
from gluonts_shell.messages import Call, Configuration, Prediction, Row, Service
from gluonts_shell.serving.endpoint import codec
from gluonts_shell.serving.endpoint.chronos import parameters
from gluonts_shell.serving.endpoint.chronos.parameters import Asked, Configure
from gluonts_shell.serving.endpoint.records import tell_once

# Of an input that tells none. It dates what a model knows of hours, weekdays and months, and nothing in the answer.
START = "1970-01-01 00:00:00"
# what an answer has by itself, whatever fields are forwarded
OWN = ("item_id", "start")


class Dialect:
    """Of one service. configure: checks a configuration; the service's own where nothing else is said."""

    def __init__(self, service: Service, configure: Configure | None = None) -> None:
        self._service = service
        self._configure = configure or service.configure

    def asked(self, given: Mapping[str, Any]) -> Asked:
        """Raises RequestError."""
        return parameters.asked(given, self._configure, self._service.horizon)

    def prepare(self, inputs: Sequence[Any], configuration: Configuration) -> Call:
        """Raises RequestError, of an input InstanceError."""
        instances = [_instance(index, each) for index, each in enumerate(inputs)]
        return self._service.prepare(instances, configuration)

    def encode(
        self, each: Any, entry: Any, prediction: Prediction, asked: Asked, **more: Any
    ) -> bytes:
        """The object that answers an input. entry: what was made of it; more: fields to be added."""
        rows = dict(prediction.quantiles or {})
        if prediction.mean is not None:
            rows = {"mean": prediction.mean, **rows}
        members = [
            codec.dumps(name) + b":" + codec.encode_row(_cut(row, asked.steps))
            for name, row in rows.items()
        ]
        item_id, start = each.get("item_id"), each.get("start")
        if start is not None:
            start = self._service.first_moment(start, entry, asked.configuration)
        for name, value in {"item_id": item_id, "start": start, **more}.items():
            if value is not None or name not in OWN:
                members.append(codec.dumps(name) + b":" + codec.dumps(value))
        return b"{" + b",".join(members) + b"}"


def forwarded(names: Sequence[str]) -> tuple[str, ...]:
    """Of the fields that answers are to have from their instances those that they do not have by themselves."""
    return tuple(name for name in names if name not in OWN)


def _instance(index: int, each: Any) -> dict[str, Any]:
    """Raises InstanceError for what is no object; the service would ask for a `start` too."""
    if not isinstance(each, dict):
        reason = f"it is {codec.called(each)}, expected an object with 'target'"
        raise InstanceError(f"instance {index}", reason, index=index)
    if each.get("start") is not None:
        return each
    tell_once(f"an input has no start, and is taken to begin at {START}")
    return {**each, "start": START}


def _cut(row: Row, steps: int | None) -> Row:
    """Of several dimensions each is cut."""
    if steps is None:
        return row
    if row and type(row[0]) is list:
        return [each[:steps] for each in row]
    return row[:steps]
