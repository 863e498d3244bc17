"""Where a request ends: cuts heads and bodies off a stream of bytes.

It knows RFC 9112 sections 6 and 7 and refuses to know sockets: bytes come from a `recv` that is handed in. Every size
is checked before the bytes that it announces are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO

from gluonts_shell.errors import HeadTooLarge, RequestError, TargetTooLong, TooLarge
from gluonts_shell.serving.http.wire import FIELD_LINE, LINE_LIMIT, parse_line

HEAD_LIMIT = 64 * 1024
END = b"\r\n\r\n"
CHUNK_LINE_LIMIT = 1024
EXTENSIONS_LIMIT = 8190  # of all chunks together: extensions cost us and carry nothing
PIECE = 16 * 1024  # one recv takes head and body of an ordinary request
LARGE_PIECE = 256 * 1024

# what no head can contain: a lone CR or LF, or any other control character but the tab
STRAY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")
CHUNK = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    rb'(?:[ \t]*=[ \t]*(?:[!#$%&\'*+.^_`|~0-9A-Za-z-]+|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)*)'
)
CHUNK_PREFIX = re.compile(rb"[0-9A-Fa-f]{0,16}(?:[ \t]*(?:;[\t -~\x80-\xff]*)?)?\r?")


def _check_size(size: int) -> None:
    if size > HEAD_LIMIT:
        raise HeadTooLarge(f"the head of the request is longer than {HEAD_LIMIT} bytes")


class Reader:
    """Cuts heads and bodies off a stream of bytes, and keeps what was read beyond them for the next request.

    recv: as of a socket; b"" at the end of the stream. Every method raises EOFError where the stream ends too early.
    """

    __slots__ = ("at", "data", "recv")

    def __init__(self, recv: Callable[[int], bytes]) -> None:
        self.recv = recv
        self.data = b""
        self.at = 0

    @property
    def waiting(self) -> bool:
        """Whether bytes are here that no request has taken yet."""
        return self.at < len(self.data)

    def more(self) -> None:
        piece = self.recv(PIECE)
        if not piece:
            raise EOFError
        self.data = self.data[self.at :] + piece if self.at < len(self.data) else piece
        self.at = 0

    def head(self, slow: Callable[[], None]) -> bytes:
        """The next head up to and including its empty line; `slow` is called once if more than one recv is needed.

        What can never become a head is refused as soon as it is seen, for its sender may wait and send no more.
        Raises RequestError, TargetTooLong, HeadTooLarge, VersionNotSupported.
        """
        if self.at >= len(self.data):
            self.more()
        seen = 0
        while True:
            start = self._start_of_head()
            end = self.data.find(END, max(start, self.at + seen - 3))
            if end >= 0:
                end += len(END)
                _check_size(end - start)
                head = self.data[start:end]
                self.at = end
                return head
            _check_size(len(self.data) - start)
            self._refuse_early(start, seen)
            if not seen:
                slow()
            seen = len(self.data) - self.at
            self.more()

    def _start_of_head(self) -> int:
        """RFC 9112 section 2.2: an empty line before the request line is ignored."""
        if self.data.startswith(b"\r\n", self.at):
            return self.at + 2
        return self.at

    def _refuse_early(self, start: int, seen: int) -> None:
        stray = STRAY.search(self.data, max(start, self.at + seen - 1))
        if stray is not None:
            raise RequestError(f"the head of the request contains {stray[0]!r}, which no head may")
        line = self.data.find(b"\r\n", start)
        if line >= 0:
            parse_line(self.data[start:line].decode("latin-1"))
        elif len(self.data) - start > LINE_LIMIT + 1:
            raise TargetTooLong(f"the request line is longer than {LINE_LIMIT} bytes")

    def exactly(self, size: int) -> bytes:
        """`size` bytes, in pieces as they come: what a head claims costs no memory before it arrives."""
        start = self.at
        if len(self.data) - start >= size:
            self.at = start + size
            return self.data[start : start + size]
        sink = BytesIO()
        self._into(sink, size)
        return sink.getvalue()

    def _into(self, sink: BytesIO, size: int) -> None:
        got = sink.write(self.data[self.at : self.at + size])
        self.at += got
        while got < size:
            piece = self.recv(min(size - got, LARGE_PIECE))
            if not piece:
                raise EOFError
            got += sink.write(piece)

    def chunked(self, limit: int) -> bytes:
        """A chunked body (RFC 9112 section 7.1) of at most `limit` bytes; its trailers are checked and dropped.

        Raises TooLarge from the size line alone, and RequestError.
        """
        sink = BytesIO()
        extensions = 0
        while True:
            line = self._line(CHUNK_LINE_LIMIT, CHUNK_PREFIX)
            match = CHUNK.fullmatch(line)
            if match is None:
                raise RequestError(f"chunk size {line[:40]!r} is not a hexadecimal number")
            extensions += len(match[2])
            if extensions > EXTENSIONS_LIMIT:
                raise RequestError(f"the chunk extensions are longer than {EXTENSIONS_LIMIT} bytes")
            size = int(match[1], 16)
            if size == 0:
                break
            if sink.tell() + size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes")
            self._into(sink, size)
            if self.exactly(2) != b"\r\n":
                raise RequestError("a chunk is longer than its size says")
        self._trailers()
        return sink.getvalue()

    def _trailers(self) -> None:
        total = 0
        while line := self._line(LINE_LIMIT, None):
            total += len(line)
            if total > LINE_LIMIT:
                raise HeadTooLarge(f"the trailers are longer than {LINE_LIMIT} bytes")
            if FIELD_LINE.fullmatch(line.decode("latin-1")) is None:
                raise RequestError(f"trailer field {line[:100]!r} is malformed")

    def _line(self, limit: int, prefix: re.Pattern[bytes] | None) -> bytes:
        """A line without its CRLF. `prefix` is what an unfinished line may look like."""
        while (end := self.data.find(b"\r\n", self.at)) < 0:
            part = self.data[self.at :]
            if len(part) > limit or STRAY.search(part) or (prefix and not prefix.fullmatch(part)):
                break
            self.more()
        if end < 0 or end - self.at > limit:
            raise RequestError(
                f"line {self.data[self.at : self.at + 40]!r} of the chunked body is malformed or too long"
            )
        line = self.data[self.at : end]
        self.at = end + 2
        return line
