"""A body -> its instances, each with the place that it stands at: one reader for endpoints and for batch jobs.

It knows lines, byte order marks, `{"instances": [...]}` and `{"inputs": [...]}`; what an instance or a configuration
must hold is the service's to say.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from gluonts_shell import nearby
from gluonts_shell.errors import InstanceError, LineError, RequestError, ShellError
from gluonts_shell.messages import CONFIGURATION_KEYS, DECIDED_KEYS, SYNONYMS
from gluonts_shell.serving.endpoint import codec, content, verbatim
from gluonts_shell.serving.endpoint.chronos import parameters as chronos

log = logging.getLogger(__name__)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MEANT = frozenset({"instance", "instances"})  # whatever its capitals
EMPTY = b'{"predictions":[]}'  # the answer to a line `{"instances": []}`, so that a line in is a line out


@dataclass(frozen=True)
class Envelope:
    """What a dialect calls its two members. keys: what the second one may hold; place: of an instance.

    synonyms: what the other dialect calls a key -> what this one calls it.
    """

    instances: str
    configuration: str
    keys: tuple[str, ...]
    place: str
    synonyms: Mapping[str, str] = field(default_factory=dict)

    @property
    def members(self) -> tuple[str, str]:
        return self.instances, self.configuration

    def key(self, name: str) -> str | None:
        """The key that somebody meant by a name; None for a name that may well mean something else."""
        if name in self.keys:
            return name
        meant = nearby.near_miss(name, (*self.keys, *self.synonyms))
        return self.synonyms.get(meant, meant) if meant else None


KEYS = tuple(sorted(CONFIGURATION_KEYS | DECIDED_KEYS))
DEEPAR = Envelope("instances", "configuration", KEYS, "instance {}", SYNONYMS)
CHRONOS = Envelope("inputs", "parameters", chronos.NAMES, "inputs[{}]")


@dataclass(slots=True)
class Record:
    """One instance of a body: `where` it stands, for messages, and at which offset of which document.

    places: where the values of its fields begin in the document, once they were looked for. configuration: what stood
    beside it. empty: it stands for a line `{"instances": []}`, which has no instance and still gets its line.
    parameters: in place of a configuration for one of the `inputs` of Chronos's dialect, None for any other.
    """

    where: str
    document: str
    at: int
    instance: Any
    error: ShellError | None = None
    places: Mapping[str, int] = field(default_factory=dict)
    configuration: Mapping[str, Any] | None = None
    empty: bool = False
    parameters: Mapping[str, Any] | None = None

    def placed(self, error: InstanceError) -> RequestError:
        """The same error at the place at which the client finds the instance."""
        return error.at(self.where) if self.parameters is None else error.below(self.where)

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


@dataclass(frozen=True)
class Inputs:
    """The same in Chronos's dialect."""

    instances: list[Any]
    parameters: Mapping[str, Any]
    records: Sequence[Record]


def request(body: bytes, kind: str = codec.JSON, *, places: bool = False) -> Payload | Inputs:
    """What an endpoint is asked. places: with records in any case, for whoever copies fields. Raises RequestError."""
    if kind == codec.JSON_LINES:
        return _of_lines(body, places)
    if not body or body.isspace():
        raise RequestError('the request has an empty body, expected {"instances": [...]}')
    value = _document(body)
    if "instances" not in value:
        return _of_inputs(body, value, places)
    configuration = value.get("configuration") or {}
    if not places or not value["instances"]:
        return Payload(value["instances"], configuration)
    found = located(_opened(_read("the body", body), ""))
    return Payload(_instances(found), configuration, found)


def _of_inputs(body: bytes, value: Mapping[str, Any], places: bool) -> Inputs:
    inputs, given = value["inputs"], value.get("parameters") or {}
    if places and inputs:
        found = located(_opened(_read("the body", body), ""))
    else:
        found = [_input(index, each, given) for index, each in enumerate(inputs)]
    return Inputs(inputs, given, found)


def _input(index: int, each: Any, given: Mapping[str, Any]) -> Record:
    return Record(CHRONOS.place.format(index), "", 0, each, parameters=given)


def _of_lines(body: bytes, places: bool) -> Payload | Inputs:
    found = records(body)
    if not found:
        raise RequestError("the request has an empty body, expected one instance a line")
    instances = _instances(found)
    if places:
        located(found)
    common = _common_parameters(found)
    if common is not None:
        return Inputs(instances, common, found)
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
        content.check_text(body)
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
    _check_envelope(value, DEEPAR if "instances" in value else CHRONOS)
    return value


def _check_envelope(value: Mapping[str, Any], envelope: Envelope) -> None:
    name = envelope.instances
    if name not in value:
        hint = _hint_for_missing(value)
        raise RequestError(
            f"the request has no field 'instances', expected a list of instances{hint}"
        )
    _check_list(value, envelope)
    _check_members(value, envelope)


def _check_list(value: Mapping[str, Any], envelope: Envelope) -> None:
    name = envelope.instances
    if not isinstance(value[name], list):
        found = codec.called(value[name])
        raise RequestError(f"{name!r} is {found}, expected a list of instances")


def _hint_for_missing(value: Mapping[str, Any]) -> str:
    if "target" in value:
        return "; put the instance into that list"
    for name in value:
        meant = nearby.near_miss(name, (DEEPAR.instances, CHRONOS.instances))
        if meant == DEEPAR.instances:
            return f"; {name[:50]!r} is none"
        if meant is not None:
            return f"; did you mean {meant!r}, not {name[:50]!r}?"
    return ""


def _check_members(value: Mapping[str, Any], envelope: Envelope) -> None:
    """What stands beside the instances. Raises RequestError where it would be a silent mistake to ignore it."""
    configuration = value.get(envelope.configuration)
    if configuration is not None and not isinstance(configuration, dict):
        name = envelope.configuration
        raise RequestError(f"{name!r} is {codec.called(configuration)}, expected an object")
    if len(value) == 1 + (envelope.configuration in value):
        return
    for name in value:
        if name not in envelope.members:
            _check_stranger(name, envelope)


def _check_stranger(name: str, envelope: Envelope) -> None:
    beside = f"{name[:50]!r} stands beside {envelope.instances!r}"
    if name == CHRONOS.instances:
        raise RequestError(f"{beside}; send one of them, since they are answered differently")
    if name in (DEEPAR.configuration, CHRONOS.configuration):
        raise RequestError(f"{beside}, which is configured by {envelope.configuration!r}")
    inside = envelope.key(name)
    if inside is not None:
        raise RequestError(
            f"{beside}, where it has no effect; put {inside!r} into {envelope.configuration!r}"
        )
    meant = nearby.near_miss(name, envelope.members)
    if meant is not None:
        raise RequestError(f"{beside} and is not known; did you mean {meant!r}?")
    tell_once(f"a request has {name[:50]!r} beside {envelope.instances!r}, which is ignored")


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


def _common_parameters(found: Sequence[Record]) -> Mapping[str, Any] | None:
    """Those of all lines of a body; None where it is in DeepAR's dialect. Raises RequestError where two differ."""
    having = [record for record in found if not record.empty or record.parameters is not None]
    for record in having:
        if record.parameters != having[0].parameters:
            raise RequestError(
                f"{record.where}: it is not asked for in the way of {having[0].where}, expected one dialect and one "
                "'parameters' for all; send what differs as another request"
            )
    return having[0].parameters if having else None


def records(body: bytes, first_line: int = 1) -> list[Record]:
    """The instances of a body in their order, one for each line that is not blank.

    A line `{"instances": [...]}` (or `inputs`), or a whole body, stands for as many lines as it has instances, and for
    one if it has none. Lines that cannot be read are records with an error. Raises RequestError for a body that is no
    text at all.
    """
    content.check(body)
    if (b'"instances"' in body or b'"inputs"' in body) and b"\n" in body.strip():
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
    """Whether it is one, or was meant to be."""
    if not isinstance(value, dict) or "target" in value:
        return False
    if DEEPAR.instances in value or CHRONOS.instances in value:
        return True
    return "start" not in value and any(name.lower() in MEANT for name in value)


def _opened(record: Record, prefix: str) -> list[Record]:
    """One record for each instance of an envelope; one that is empty, or that has an error, where there are none."""
    value = record.instance
    envelope = CHRONOS if CHRONOS.instances in value and "instances" not in value else DEEPAR
    try:
        _check_envelope(value, envelope)
        places = _places(record, envelope)
    except LineError as error:
        return [_failed(record, error)]
    except RequestError as error:
        return [_failed(record, InstanceError(record.where, error.marked()))]
    configuration = value.get(envelope.configuration)
    if envelope is CHRONOS:
        record.parameters = configuration or {}
    else:
        record.configuration = configuration
    record.empty = not places
    if record.empty:
        return [record]
    found = []
    for index, (instance, at) in enumerate(zip(value[envelope.instances], places, strict=True)):
        where = prefix + envelope.place.format(index)
        found.append(replace(record, where=where, at=at, instance=instance, places={}))
    return found


def _places(record: Record, envelope: Envelope) -> list[int]:
    """Where each instance of an envelope begins."""
    record.locate()
    try:
        return list(verbatim.elements(record.document, record.places[envelope.instances]))
    except RecursionError:
        raise LineError(record.where, "is nested too deeply") from None


def _failed(record: Record, error: RequestError) -> Record:
    return Record(record.where, "", 0, None, error)
