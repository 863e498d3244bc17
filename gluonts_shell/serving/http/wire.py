"""The head of a request and of an answer as HTTP/1.1 has them on the wire: pure functions of bytes.

It knows RFC 9112 and RFC 9110 and refuses to know sockets, bodies and routes. Where the RFCs leave a choice between
repairing and refusing, it refuses, because two parsers that repair differently are how requests are smuggled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from gluonts_shell.errors import (
    ExpectationFailed,
    HeadTooLarge,
    NotImplementedByServer,
    RequestError,
    TargetTooLong,
    TooLarge,
    VersionNotSupported,
)

LINE_LIMIT = 8190  # request line and each field, as Apache and gunicorn have it
FIELDS_LIMIT = 100

FIELD_NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]"
VALUE = r"[\t\x20-\x7e\x80-\xff]"  # obs-text is legal, control characters are not (RFC 9110 section 5.5)
LINE = re.compile(rf"({FIELD_NAME}{{1,40}}) ([!-~]+) HTTP/([0-9])\.([0-9])")
FIELD_LINE = re.compile(rf"{FIELD_NAME}+:{VALUE}*")
FIELDS = re.compile(rf"(?:{FIELD_NAME}+:{VALUE}*\r\n)*")
FIELD = re.compile(r"([^:\r\n]+):[ \t]*([^\r]*)\r\n")
HOST = re.compile(
    r"(?:\[(?:[0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]"
    r"|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?"
)
LIST_COMMA = re.compile(r"[ \t]*,[ \t]*")
DIGITS = re.compile("[0-9]+")
ABSOLUTE = re.compile(r"https?://(?!:)([^/?#]+)(/[^?#]*)?(?:\?[^#]*)?", re.IGNORECASE)
ORIGIN = re.compile(r"(/[^?#]*)(?:\?[^#]*)?")
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
UNRESERVED = re.compile("[A-Za-z0-9._~-]")
CONTROL = re.compile("[\x00-\x1f\x7f]")

CHUNKED = -1


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head, understood. `length` is the body's in bytes, or CHUNKED; `path` has no query and no host.

    query: what stands behind the target's question mark, as it was sent.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    length: int
    minor: int
    keep_alive: bool
    expects: bool
    query: str = ""


def parse_head(raw: bytes) -> Head:
    """The head up to and including its empty line.

    Raises TargetTooLong, HeadTooLarge, VersionNotSupported, NotImplementedByServer, ExpectationFailed, TooLarge (a
    Content-Length beyond reason) and RequestError; after each of them the connection must be closed, since the end
    of the request is not known.
    """
    text = raw.decode("latin-1")
    end = text.index("\r\n")
    method, target, minor = parse_line(text[:end])
    if text.count("\r\n") > FIELDS_LIMIT + 2:
        raise HeadTooLarge(f"the request has more than {FIELDS_LIMIT} header fields")
    headers, hosts = _fields(text[end + 2 : -2])
    _check_host(headers, hosts, minor)
    return Head(
        method=method,
        path=_path(method, target),
        headers=headers,
        length=_length(headers, minor),
        minor=minor,
        keep_alive=_keep_alive(headers, minor),
        expects=_expects(headers, minor),
        query=target.partition("?")[2],
    )


def parse_line(line: str) -> tuple[str, str, int]:
    """(method, target, minor version) of the request line, without its CRLF."""
    if len(line) > LINE_LIMIT:
        raise TargetTooLong(f"the request line is longer than {LINE_LIMIT} bytes")
    match = LINE.fullmatch(line)
    if match is None:
        raise RequestError(
            f"request line {line[:100]!r} is malformed, expected METHOD TARGET HTTP/1.1"
        )
    method, target, major, minor = match.groups()
    if major != "1":
        raise VersionNotSupported(f"HTTP/{major}.{minor} is not spoken here, expected HTTP/1.1")
    # RFC 9110 section 2.5: a higher minor version is taken as the highest one that is known here
    return method, target, min(int(minor), 1)


def _fields(block: str) -> tuple[dict[str, str], int]:
    """The header fields, a repeated one joined, and how many Host fields there were."""
    if FIELDS.fullmatch(block) is None:
        raise RequestError(f"header field {_first_bad_field(block)!r:.100} is malformed")
    if len(block) > LINE_LIMIT and max(map(len, block.split("\r\n"))) > LINE_LIMIT:
        raise HeadTooLarge(f"a header field is longer than {LINE_LIMIT} bytes")
    headers: dict[str, str] = {}
    hosts = 0
    for name, value in FIELD.findall(block):
        key = name.lower()
        hosts += key == "host"
        if key in headers:  # RFC 9110 section 5.3
            headers[key] += ", " + value.rstrip(" \t")
        else:
            headers[key] = value.rstrip(" \t")
    return headers, hosts


def _keep_alive(headers: Mapping[str, str], minor: int) -> bool:
    """RFC 9112 section 9.3."""
    field = headers.get("connection")
    if field is None:
        return minor == 1
    options = _listed(field)
    if "close" in options:
        return False
    return minor == 1 or "keep-alive" in options


def _listed(field: str) -> list[str]:
    """The members of a list (RFC 9110 section 5.6.1) in lower case; empty ones among them."""
    return LIST_COMMA.split(field.strip(" \t").lower())


def _first_bad_field(block: str) -> str:
    return next(line for line in block.split("\r\n") if FIELD_LINE.fullmatch(line) is None)


def _check_host(headers: Mapping[str, str], count: int, minor: int) -> None:
    """RFC 9112 section 3.2: 400 to a request of HTTP/1.1 without Host, and to any with two or an invalid one."""
    if count > 1 or (count == 0 and minor == 1):
        raise RequestError(f"the request has {count} Host fields, expected one")
    if count and HOST.fullmatch(headers["host"]) is None:
        raise RequestError(f"Host {headers['host'][:100]!r} is not a host and port")


def _path(method: str, target: str) -> str:
    """The path of the request target, whatever its form (RFC 9112 section 3.2)."""
    if method == "CONNECT":
        raise NotImplementedByServer("CONNECT is not served: this is no proxy")
    if target == "*" and method == "OPTIONS":
        return target
    match = ORIGIN.fullmatch(target)
    path = match[1] if match is not None else _path_of_url(method, target)
    if "%" not in path:
        return path
    return ESCAPE.sub(_unescape, path)


def _path_of_url(method: str, target: str) -> str:
    match = ABSOLUTE.fullmatch(target)
    if match is None or HOST.fullmatch(match[1]) is None:
        raise RequestError(f"request target {target[:100]!r} is neither a path nor an http URL")
    if match[2]:
        return match[2]
    return "*" if method == "OPTIONS" else "/"


def _unescape(match: re.Match[str]) -> str:
    """Only what never needed the escape becomes plain, so that no delimiter appears (RFC 3986 section 6.2.2.2)."""
    if match[1] is None:
        raise RequestError(
            "the request target has a % that is not followed by two hexadecimal digits"
        )
    char = chr(int(match[1], 16))
    return char if UNRESERVED.fullmatch(char) else match[0]


def _length(headers: Mapping[str, str], minor: int) -> int:
    """RFC 9112 section 6: what frames the body. Doubt is an error, for the next request begins where this one ends."""
    coding = headers.get("transfer-encoding")
    text = headers.get("content-length")
    if coding is not None:
        if text is not None or minor == 0:
            raise RequestError(
                "Transfer-Encoding cannot stand beside Content-Length, nor in HTTP/1.0"
            )
        _check_coding(coding)
        return CHUNKED
    if text is None:
        return 0
    if DIGITS.fullmatch(text) is None:
        raise RequestError(f"Content-Length {text[:100]!r} is not one whole number")
    significant = text.lstrip("0")
    if len(significant) > 18:
        raise TooLarge("Content-Length is beyond every limit")
    return int("0" + significant)


def _check_coding(coding: str) -> None:
    """Only chunked alone is taken."""
    codings = list(filter(None, _listed(coding)))
    if codings == ["chunked"]:
        return
    if "chunked" in codings[:-1]:
        raise RequestError(f"Transfer-Encoding {coding[:100]!r} has chunked before its end")
    raise NotImplementedByServer(
        f"Transfer-Encoding {coding[:100]!r} is not implemented, expected chunked"
    )


def _expects(headers: Mapping[str, str], minor: int) -> bool:
    """RFC 9110 section 10.1.1: an expectation of HTTP/1.0 is ignored."""
    expectation = headers.get("expect")
    if not expectation or minor == 0:
        return False
    if expectation.lower() != "100-continue":
        raise ExpectationFailed(
            f"Expect {expectation[:100]!r} cannot be met, expected 100-continue"
        )
    return True


@lru_cache(maxsize=256)
def answer_head(status: int, fields: tuple[tuple[str, str], ...], connection: str) -> bytes:
    """Status line and fields without Date, Content-Length and the empty line; cached because answers are alike.

    A control character in a value becomes a space: nothing that is echoed can end a line.
    """
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        *(f"{name}: {CONTROL.sub(' ', value)}" for name, value in fields),
    ]
    if connection:
        lines.append(f"Connection: {connection}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")


@lru_cache(maxsize=2)
def date_field(now: int) -> bytes:
    """RFC 9110 section 6.6.1: an origin server with a clock sends Date."""
    return f"Date: {formatdate(now, usegmt=True)}\r\n".encode("latin-1")
