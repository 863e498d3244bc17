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
ROWS = "write its rows as JSON Lines"
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
    b"\x04\x22\x4d\x18": ("lz4", PACKED),
    b"\xff\x06\x00\x00sNaPpY": ("snappy", PACKED),
    b"\x78\x01": ("zlib", PACKED),
    b"\x78\x9c": ("zlib", PACKED),
    b"\x78\xda": ("zlib", PACKED),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", PACKED),
    b"Rar!\x1a": ("a rar archive", PACKED),
    b"PAR1": ("parquet", ROWS),
    b"ARROW1": ("arrow", ROWS),
    b"\xff\xff\xff\xff": ("an arrow stream", ROWS),
    b"FEA1": ("feather", ROWS),
    b"Obj\x01": ("avro", ROWS),
    b"\x0a\x23\xd7\xce": ("RecordIO, as of recordio-protobuf", ROWS),
    b"\x93NUMPY": ("an array of numpy", ROWS),
    b"\x89HDF": ("HDF5", ROWS),
    b"SQLite format 3": ("a database of SQLite", ROWS),
    b"\x80\x02": ("a pickle", ROWS),
    b"\x80\x03": ("a pickle", ROWS),
    b"\x80\x04": ("a pickle", ROWS),
    b"\x80\x05": ("a pickle", ROWS),
    b"\x89PNG": ("a picture (PNG)", ROWS),
}
TAR = b"\x00ustar"  # from byte 256 on: what comes before is filled with zeros (POSIX.1-1988)
# text is looked at only where a document is no JSON: a line of a body may be anything, and is answered by itself
TEXTS = {
    b"<": "XML or HTML",
    b"%PDF": "PDF",
    b"ORC": "ORC",
    b"--": "YAML or a multipart form",
}
UTF_32 = (
    *(b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"),
    *(b"{\x00\x00\x00", b"[\x00\x00\x00", b"\x00\x00\x00{", b"\x00\x00\x00["),
)
UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"[\x00", b"\x00{", b"\x00[")
BEGINNINGS = tuple(FOREIGN)


def check(body: bytes) -> None:
    """Raises RequestError where the body begins as no JSON does and as something else is known to."""
    if body.startswith(b'{"'):  # as nearly all do
        return
    if body.startswith(BEGINNINGS):
        what, advice = _described(body)
        raise RequestError(f"the body is {what}, expected JSON: {advice}")
    if body[256:262] == TAR:
        raise RequestError("the body is a tar archive, expected JSON: unpack it")
    if body.startswith(UTF_32):
        raise RequestError("the body is UTF-32, expected JSON: write it as UTF-8")
    # half of the bytes of UTF-16 are zero where the text is ASCII, and no byte of UTF-8 is
    if body.startswith(UTF_16) and b"\x00" in body[:8]:
        raise RequestError("the body is UTF-16, expected JSON: write it as UTF-8")


def check_text(body: bytes) -> None:
    """Raises RequestError for a document that is no JSON, if it begins as something else does."""
    for beginning, what in TEXTS.items():
        if body.startswith(beginning):
            raise RequestError(f"the body is {what}, expected JSON: {ROWS}")


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
        found = gunzip(body, limit)
        if found.startswith(GZIP_MAGIC):
            raise RequestError("the body is packed with gzip twice, expected once")
        return found
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
