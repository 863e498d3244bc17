"""A body -> its instances, each with the place that it stands at: one reader for endpoints and for batch jobs.

It knows lines, byte order marks and `{"instances": [...]}`; what an instance or a configuration must hold is the
service's to say.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from gluonts_shell import nearby
from gluonts_shell.errors import LineError, RequestError, ShellError
from gluonts_shell.messages import CONFIGURATION_KEYS
from gluonts_shell.serving.endpoint import codec, content, verbatim

log = logging.getLogger(__name__)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MEMBERS = ("instances", "configuration")
EMPTY = b'{"predictions":[]}'  # the answer to a line `{"instances": []}`, so that a line in is a line out


@dataclass(slots=True)
class Record:
    """One instance of a body: `where` it stands, for messages, and at which offset of which document.

    places: where the values of its fields begin in the document, once they were looked for. configuration: what stood
    beside it. empty: it stands for a line `{"instances": []}`, which has no instance and still gets its line.
    """

    where: str
    document: str
    at: int
    instance: Any
    error: ShellError | None = None
    places: Mapping[str, int] = field(default_factory=dict)
    configuration: Mapping[str, Any] | None = None
    empty: bool = False

    def locate(self) -> None:
        """Find the places. Raises LineError where the standard library's reader gives up before a faster one."""
        try:
            self.places = verbatim.members(self.document, self.at)
        except RecursionError:
            raise LineError(self.where, "is nested too deeply") from None

    def with_fields(self, line: bytes, names: Iterable[str]) -> bytes:
        """A JSON object with the fields' text added as it stands in the input, null for those that are not there."""
        members = []
        for name in names:
            text = "null"
            if name in self.places:
                text = verbatim.value(self.document, self.places[name])
            members.append(b"," + codec.dumps(name) + b":" + text.encode())
        return line[:-1] + b"".join(members) + b"}"


@dataclass(frozen=True)
class Payload:
    """A request's body, parsed; nothing inside the instances or the configuration was looked at.

    records: the lines that the instances came from, empty ones too; None for a body that is one JSON document.
    """

    instances: list[Any]
    configuration: Mapping[str, Any]
    records: Sequence[Record] | None = None


def request(body: bytes, kind: str = codec.JSON, *, places: bool = False) -> Payload:
    """What an endpoint is asked. places: with records in any case, for whoever copies fields. Raises RequestError."""
    if kind == codec.JSON_LINES:
        return _of_lines(body, places)
    if not body or body.isspace():
        raise RequestError('the request has an empty body, expected {"instances": [...]}')
    value = _document(body)
    configuration = value.get("configuration") or {}
    if not places or not value["instances"]:
        return Payload(value["instances"], configuration)
    found = located(_opened(_read("the body", body), ""))
    return Payload(_instances(found), configuration, found)


def _of_lines(body: bytes, places: bool) -> Payload:
    if not body or body.isspace():
        raise RequestError("the request has an empty body, expected one instance a line")
    found = records(body)
    instances = _instances(found)
    if places:
        located(found)
    return Payload(instances, _common_configuration(found), found)


def located(found: list[Record]) -> list[Record]:
    """The records with their places. Raises RequestError."""
    for record in found:
        record.locate()
    return found


def _document(body: bytes) -> dict[str, Any]:
    content.check(body)
    try:
        value = codec.decode(body)
    except LineError:
        if codec.holds_several(body):
            raise RequestError(
                f"the body holds several JSON values: send 'Content-Type: {codec.JSON_LINES}' with one a line, "
                'or all of them in one {"instances": [...]}'
            ) from None
        raise
    if not isinstance(value, dict):
        raise RequestError(
            f'the request is {codec.called(value)}, expected an object {{"instances": [...]}}'
        )
    if "instances" not in value:
        hint = _hint_for_missing(value)
        raise RequestError(
            f"the request has no field 'instances', expected a list of instances{hint}"
        )
    if not isinstance(value["instances"], list):
        found = codec.called(value["instances"])
        raise RequestError(f"'instances' is {found}, expected a list of instances")
    _check_members(value)
    return value


def _hint_for_missing(value: Mapping[str, Any]) -> str:
    if "target" in value:
        return "; put the instance into that list"
    for name in value:
        if nearby.near_miss(name, MEMBERS) == "instances":
            return f"; {name[:50]!r} is none"
    return ""


def _check_members(value: Mapping[str, Any]) -> None:
    """What stands beside the instances. Raises RequestError where it would be a silent mistake to ignore it."""
    configuration = value.get("configuration")
    if configuration is not None and not isinstance(configuration, dict):
        raise RequestError(f"'configuration' is {codec.called(configuration)}, expected an object")
    if len(value) == 1 + ("configuration" in value):
        return
    for name in value:
        if name not in MEMBERS:
            _check_stranger(name)


def _check_stranger(name: str) -> None:
    own = CONFIGURATION_KEYS
    inside = name if name in own else nearby.near_miss(name, sorted(own))
    if inside is not None:
        raise RequestError(
            f"{name[:50]!r} stands beside 'instances', where it has no effect; put {inside!r} into 'configuration'"
        )
    meant = nearby.near_miss(name, MEMBERS)
    if meant is not None:
        raise RequestError(
            f"{name[:50]!r} stands beside 'instances' and is not known; did you mean {meant!r}?"
        )
    tell_once(f"a request has {name[:50]!r} beside 'instances', which is ignored")


@lru_cache(maxsize=256)
def tell_once(sentence: str) -> None:
    """Log what is so of every request of a client once."""
    log.info("%s (told once)", sentence)


def _instances(found: Sequence[Record]) -> list[Any]:
    """Raises the error of the first record that has one."""
    for record in found:
        if record.error is not None:
            raise record.error
    return [record.instance for record in found if not record.empty]


def _common_configuration(found: Sequence[Record]) -> Mapping[str, Any]:
    """That of all envelopes of a body. Raises RequestError where two of them differ."""
    having = [record for record in found if record.configuration]
    if not having:
        return {}
    first = having[0]
    for record in having:
        if record.configuration != first.configuration:
            raise RequestError(
                f"{record.where}: its configuration is not that of {first.where}, expected one for all; "
                "send what is configured differently as another request"
            )
    return first.configuration or {}


def records(body: bytes, first_line: int = 1) -> list[Record]:
    """The instances of a body in their order, one for each line that is not blank.

    A line `{"instances": [...]}`, or a whole body, stands for as many lines as it has instances, and for one if it has
    none. Lines that cannot be read are records with an error. Raises RequestError for a body that is no text at all.
    """
    content.check(body)
    if b'"instances"' in body and b"\n" in body.strip():
        whole = _read("the body", body)
        if _is_envelope(whole.instance):  # written over several lines
            return _opened(whole, "")
    found: list[Record] = []
    for number, line in codec.lines(body):
        if line.strip() == BYTE_ORDER_MARK:
            continue
        record = _read(f"line {first_line + number - 1}", line)
        if _is_envelope(record.instance):
            found.extend(_opened(record, record.where + ", "))
        else:
            found.append(record)
    return found


def _read(where: str, text: bytes) -> Record:
    text = text.removeprefix(BYTE_ORDER_MARK)  # files with one may have been strung together
    try:
        instance = codec.decode(text, where)
        document = str(text, "utf-8")
        return Record(where, document, len(document) - len(document.lstrip()), instance)
    except RequestError as error:
        return Record(where, "", 0, None, error)


def _is_envelope(value: Any) -> bool:
    if not isinstance(value, dict) or "target" in value:
        return False
    return isinstance(value.get("instances"), list)


def _opened(record: Record, prefix: str) -> list[Record]:
    """One record for each instance of an envelope; one that is empty, or that has an error, where there are none."""
    envelope = record.instance
    try:
        _check_members(envelope)
        places = _places(record)
    except LineError as error:
        return [_failed(record, error)]
    except RequestError as error:
        return [_failed(record, RequestError(f"{record.where}: {error.marked()}"))]
    record.configuration = envelope.get("configuration")
    record.empty = not places
    if record.empty:
        return [record]
    found = []
    for index, (instance, at) in enumerate(zip(envelope["instances"], places, strict=True)):
        where = f"{prefix}instance {index}"
        one = Record(where, record.document, at, instance, configuration=record.configuration)
        found.append(one)
    return found


def _places(record: Record) -> list[int]:
    """Where each instance of an envelope begins."""
    record.locate()
    try:
        return list(verbatim.elements(record.document, record.places["instances"]))
    except RecursionError:
        raise LineError(record.where, "is nested too deeply") from None


def _failed(record: Record, error: RequestError) -> Record:
    return Record(record.where, "", 0, None, error)
