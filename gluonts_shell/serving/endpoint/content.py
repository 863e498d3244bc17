"""Content codings: what a body is packed in, by its header (RFC 9110 section 8.4) or by its first bytes.

It knows gzip, and how to name what else it is given; it does not know what an unpacked body holds.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from io import BytesIO

from gluonts_shell.errors import RequestError, TooLarge, UnsupportedMediaType

PIECE = 1024 * 1024
GZIP = frozenset({"gzip", "x-gzip"})  # RFC 9110 section 8.4.1.3: the two are one
GZIP_MAGIC = b"\x1f\x8b"
PACKED = "unpack it, or pack it with gzip"
# what begins so -> what it is, and what to do. No JSON begins with one of these.
FOREIGN = {
    GZIP_MAGIC: (
        "gzip",
        "send it with 'Content-Encoding: gzip', in a batch transform job with CompressionType=Gzip",
    ),
    b"BZh": ("bzip2", PACKED),
    b"PK\x03\x04": ("a zip archive", PACKED),
    b"\xfd7zXZ\x00": ("xz", PACKED),
    b"\x28\xb5\x2f\xfd": ("zstandard", PACKED),
    b"PAR1": ("parquet", "write its rows as JSON Lines"),
    b"ARROW1": ("arrow", "write its rows as JSON Lines"),
}
UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"[\x00", b"\x00{", b"\x00[")
BEGINNINGS = tuple(FOREIGN)


def check(body: bytes) -> None:
    """Raises RequestError where the body begins as no JSON does and as something else is known to."""
    if body.startswith(BEGINNINGS):
        what, advice = _described(body)
        raise RequestError(f"the body is {what}, expected JSON: {advice}")
    # half of the bytes of UTF-16 are zero where the text is ASCII, and no byte of UTF-8 is
    if body.startswith(UTF_16) and b"\x00" in body[:8]:
        raise RequestError("the body is UTF-16, expected JSON: write it as UTF-8")


def _described(body: bytes) -> tuple[str, str]:
    return next(FOREIGN[magic] for magic in FOREIGN if body.startswith(magic))


def check_coding(headers: Mapping[str, str]) -> None:
    """Raises UnsupportedMediaType for what is not gzip, and for gzip that was packed once more."""
    codings = _codings(headers)
    if codings and (len(codings) > 1 or codings[0] not in GZIP):
        named = ", ".join(codings)[:100]
        raise UnsupportedMediaType(
            f"Content-Encoding {named!r} is not supported: send gzip, or the body as it is",
            "gzip, identity",
        )


def decoded(body: bytes, headers: Mapping[str, str], limit: int) -> bytes:
    """The body without its coding. Raises TooLarge as soon as it has more than `limit` bytes, and RequestError."""
    if "content-encoding" in headers and _codings(headers):
        return gunzip(body, limit)
    return body


def _codings(headers: Mapping[str, str]) -> list[str]:
    """Those to be undone; identity is none."""
    named = headers.get("content-encoding", "").lower().split(",")
    stripped = [coding.strip() for coding in named]
    return [coding for coding in stripped if coding not in ("", "identity")]


def gunzip(body: bytes, limit: int) -> bytes:
    found = BytesIO()
    try:
        with gzip.GzipFile(fileobj=BytesIO(body)) as file:
            while piece := file.read(PIECE):
                if found.tell() + len(piece) > limit:
                    raise TooLarge(f"the body unpacks to more than {limit} bytes")
                found.write(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(
            f"the body is not the gzip that Content-Encoding says: {error}"
        ) from None
    return found.getvalue()
