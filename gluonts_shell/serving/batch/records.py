"""A body of batch transform -> its records: one for each line that is not blank, each with the place that it stands at.

It knows lines, byte order marks and `{"instances": [...]}`; what an instance must hold is the service's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gluonts_shell.errors import RequestError, ShellError, UserError
from gluonts_shell.serving.batch import verbatim
from gluonts_shell.serving.endpoint import codec

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Record:
    """One instance of a body: `where` it stands, for messages, and at which offset of which document.

    places: where the values of its fields begin in the document, once they were looked for.
    """

    where: str
    document: str
    at: int
    instance: Any
    error: ShellError | None = None
    places: Mapping[str, int] = field(default_factory=dict)

    def locate(self) -> None:
        """Find the places. Raises RequestError where the standard library's reader gives up before a faster one."""
        try:
            self.places = verbatim.members(self.document, self.at)
        except RecursionError:
            raise RequestError(f"{self.where} is nested too deeply") from None


def records(body: bytes, first_line: int = 1) -> list[Record]:
    """The instances of a body in their order, one for each line that is not blank.

    A line `{"instances": [...]}`, or a whole body, stands for as many lines as it has instances; a configuration
    beside them is ignored, since a job has one. Lines that cannot be read are records with an error.
    """
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
    except UserError as error:
        return Record(where, "", 0, None, error)


def _is_envelope(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("instances"), list) and "target" not in value


def _opened(record: Record, prefix: str) -> list[Record]:
    try:
        record.locate()
        places = list(verbatim.elements(record.document, record.places["instances"]))
    except (RequestError, RecursionError):
        return [Record(record.where, "", 0, None, RequestError(f"{record.where} is nested too deeply"))]
    return [
        Record(f"{prefix}instance {index}", record.document, at, instance)
        for index, (instance, at) in enumerate(zip(record.instance["instances"], places, strict=True))
    ]
