"""Bytes <-> messages: DeepAR's JSON, JSON Lines and content negotiation. Pure, and the same with or without orjson.

It knows the shape of a request and of an answer; what an instance or a configuration may hold is the service's to say.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from gluonts_shell.errors import LineError, NotAcceptable, UnsupportedMediaType
from gluonts_shell.messages import Prediction, Row

orjson: Any
try:
    import orjson
except ImportError:  # the `fast` extra; without it the answers are the same, only slower to make
    orjson = None

JSON = "application/json"
JSON_LINES = "application/jsonlines"
# what clients call the two formats -> the format. Without a Content-Type a body is JSON.
MEDIA_TYPES = {
    JSON: JSON,
    "text/json": JSON,
    JSON_LINES: JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
    "application/ndjson": JSON_LINES,
}
# AWS shows the first 2048 characters of an error's body to the caller (API reference, ModelError)
ERROR_BYTES = 2048


@functools.lru_cache(maxsize=64)
def request_type(content_type: str | None) -> str:
    """JSON or JSON_LINES. Raises UnsupportedMediaType, whose sentence names the header to send."""
    media_type = (content_type or JSON).partition(";")[0].strip().lower()
    try:
        return MEDIA_TYPES[media_type]
    except KeyError:
        raise UnsupportedMediaType(
            f"Content-Type {media_type[:100]!r} is not supported: send 'Content-Type: {JSON}' with a body of "
            f'{{"instances": [...], "configuration": {{...}}}}, or {JSON_LINES!r} with one instance a line'
        ) from None


@functools.lru_cache(maxsize=64)
def answer_type(accept: str | None, request: str) -> str:
    """The format that the client likes best, the request's own where it has no preference (RFC 9110 section 12.5.1).

    Raises NotAcceptable where it wants neither.
    """
    wanted = (accept or "").strip()
    if not wanted:
        return request
    ranges = _ranges(wanted)
    other = JSON_LINES if request == JSON else JSON
    weights = {request: _weight_of(request, ranges), other: _weight_of(other, ranges)}
    best = max(weights, key=weights.__getitem__)  # of equal weights the first
    if weights[best] <= 0:
        raise NotAcceptable(
            f"Accept {wanted[:100]!r} asks for a format that is not there: {JSON} and {JSON_LINES} are"
        )
    return best


def _ranges(accept: str) -> dict[str, float]:
    """Each media range of an Accept field with its weight."""
    found: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = part.lower().split(";")
        found[name.strip()] = 1.0
        for parameter in parameters:
            if parameter.strip().startswith("q="):
                found[name.strip()] = _weight(parameter.strip()[2:])
    return found


def _weight_of(kind: str, ranges: Mapping[str, float]) -> float:
    """The best of the names that a format has; that of the wildcards where none is named."""
    named = [ranges[name] for name in ranges if MEDIA_TYPES.get(name) == kind]
    anything = ranges.get("application/*", ranges.get("*/*", 0.0))
    return max(named, default=anything)


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0


def lines(body: bytes) -> list[tuple[int, bytes]]:
    """The lines that are not blank, numbered from 1. Only LF (or CRLF) ends a line: JSON may hold the other marks."""
    return [
        (number, line)
        for number, line in enumerate(body.split(b"\n"), start=1)
        if line and not line.isspace()
    ]


def decode(body: bytes, where: str = "the body") -> Any:
    """One JSON value from UTF-8 bytes (a byte order mark is skipped); bare NaN is read too, as clients send it.

    Raises LineError, beginning with `where`, for everything else: deep nesting and endless numbers included.
    """
    if orjson is not None:
        try:
            return orjson.loads(body)
        except ValueError:
            pass  # the standard library reads more (NaN, lone surrogates), and tells better what is wrong
    try:
        return json.loads(str(body.removeprefix(b"\xef\xbb\xbf"), "utf-8"))
    except (ValueError, RecursionError) as error:
        raise LineError(where, _fault(error)) from None


def _fault(error: ValueError | RecursionError) -> str:
    """The end of a sentence that begins with what was read."""
    match error:
        case UnicodeDecodeError():
            return f"is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}"
        case json.JSONDecodeError(lineno=1):
            return f"is not JSON: {error.msg} at column {error.colno}"
        case json.JSONDecodeError():
            return f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        case RecursionError():
            return "is nested too deeply"
    return "has a number with too many digits"  # int() refuses more than 4300


def holds_several(body: bytes) -> bool:
    """Whether more than one object or list stands in a body that is not JSON."""
    text = body.decode("utf-8-sig", "replace").lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return text[end:].lstrip().startswith(("{", "["))


def encode(predictions: Iterable[Prediction], kind: str = JSON) -> bytes:
    """The body of an answer: `{"predictions": [...]}`, or one prediction a line without a final line end."""
    return joined([encode_prediction(prediction) for prediction in predictions], kind)


def joined(texts: Iterable[bytes], kind: str) -> bytes:
    """The body of an answer from the text of each prediction."""
    if kind == JSON_LINES:
        return b"\n".join(texts)
    return b'{"predictions":[' + b",".join(texts) + b"]}"


def encode_prediction(prediction: Prediction, more: Mapping[str, Any] | None = None) -> bytes:
    """A JSON object with what was asked for, and with `more` fields, already plain values, if there are any."""
    members = []
    values, row = prediction.mean, b""
    if values is not None:
        row = encode_row(values)
        members.append(b'"mean":' + row)
    if prediction.quantiles is not None:
        quantiles = []
        for name, each in prediction.quantiles.items():
            # a forecast of one path has the same list for the mean and all quantiles
            if each is not values:
                values, row = each, encode_row(each)
            quantiles.append(_string(name) + b":" + row)
        members.append(b'"quantiles":{' + b",".join(quantiles) + b"}")
    if prediction.samples is not None:
        members.append(b'"samples":[' + b",".join(map(encode_row, prediction.samples)) + b"]")
    if more:
        members += [_string(name) + b":" + dumps(value) for name, value in more.items()]
    return b"{" + b",".join(members) + b"}"


def encode_row(values: Row) -> bytes:
    """Floats that read back equal as float32; non-finite ones are strings, as JSON has no such numbers.

    Of several dimensions it is a list of such lists.
    """
    if values and type(values[0]) is list:
        return b"[" + b",".join(map(encode_row, values)) + b"]"
    # a finite sum needs finite values; an overflowing one only takes the slow way
    if not math.isfinite(sum(values)):
        return b"[" + b",".join(map(_number, values)) + b"]"
    if orjson is not None:
        return bytes(orjson.dumps(values))
    text = _template(len(values)) % tuple(values)
    if b"e" not in text:
        points = text.count(b".")
        if points == len(values):
            return text
        # whole ones are kept floats for whoever reads them; forecasts of counts often have no others
        if not points:
            return text.replace(b",", b".0,").replace(b"]", b".0]")
    return b"[" + b",".join(map(_number, values)) + b"]"


@functools.lru_cache(maxsize=64)
def _template(length: int) -> bytes:
    # nine digits hold every float32 exactly (IEEE 754 section 5.12.2); repr() of the float64 would take thrice as long
    return b"[" + b",".join([b"%.9g"] * length) + b"]"


def _number(value: float) -> bytes:
    if not math.isfinite(value):
        return b'"%s"' % _word(value).encode("ascii")
    text = b"%.9g" % value
    return text if b"." in text or b"e" in text else text + b".0"


def _word(value: float) -> str:
    """What stands for a number that JSON does not have."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def dumps(value: Any) -> bytes:
    """Valid JSON for any plain value: non-finite floats as strings, lone surrogates escaped."""
    if type(value) is str:
        return _string(value)
    try:
        return json.dumps(value, allow_nan=False).encode("ascii")
    except ValueError:
        return json.dumps(_plain(value)).encode("ascii")


@functools.lru_cache(maxsize=512)
def _string(text: str) -> bytes:
    return json.dumps(text).encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return _word(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def encode_error(sentence: str) -> bytes:
    """`{"error": sentence}`, cut so that the whole of it reaches the caller."""
    limit = ERROR_BYTES
    while len(body := json.dumps({"error": sentence[:limit]}).encode("ascii")) >= ERROR_BYTES:
        limit = limit * 3 // 4
    return body


def called(value: Any) -> str:
    """What a JSON value is, without quoting it."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(type(value), "a number")
