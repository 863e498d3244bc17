"""What a head means, the sentences about a wrong one, and how little the reader reads and keeps."""

from __future__ import annotations

import re

import pytest

from gluonts_shell.errors import HeadTooLarge, RequestError, ShellError, TooLarge
from gluonts_shell.serving.http.framing import LARGE_PIECE, PIECE, Reader
from gluonts_shell.serving.http.wire import CHUNKED, Head, answer_head, parse_head

POST = b"POST /invocations?x=1 HTTP/1.1\r\nHost: a\r\n"


def test_a_head_is_understood() -> None:
    assert parse_head(
        POST + b"Content-Length: 0012\r\nX-A: 1\r\nConnection: Keep-Alive\r\nx-a:\t2 \r\n\r\n"
    ) == Head(
        method="POST",
        path="/invocations",
        headers={"host": "a", "content-length": "0012", "x-a": "1, 2", "connection": "Keep-Alive"},
        length=12,
        minor=1,
        keep_alive=True,
        expects=False,
        query="x=1",
    )


def test_chunked_and_100_continue_are_understood() -> None:
    head = parse_head(POST + b"Transfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n")
    assert (head.length, head.expects) == (CHUNKED, True)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (
            b"GET /a b HTTP/1.1\r\n\r\n",
            "request line 'GET /a b HTTP/1.1' is malformed, expected METHOD TARGET HTTP/1.1",
        ),
        (b"GET / HTTP/3.0\r\n\r\n", "HTTP/3.0 is not spoken here, expected HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n\r\n", "the request has 0 Host fields, expected one"),
        (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "Host 'a:b' is not a host and port"),
        (
            b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
            "request target 'x' is neither a path nor an http URL",
        ),
        (POST + b"X Y: z\r\n\r\n", "header field 'X Y: z' is malformed"),
        (POST + b"Content-Length: -1\r\n\r\n", "Content-Length '-1' is not one whole number"),
        (POST + b"Expect: x\r\n\r\n", "Expect 'x' cannot be met, expected 100-continue"),
        (
            POST + b"Transfer-Encoding: br\r\n\r\n",
            "Transfer-Encoding 'br' is not implemented, expected chunked",
        ),
    ],
)
def test_the_sentence_names_what_was_found(head: bytes, sentence: str) -> None:
    with pytest.raises(ShellError, match=f"^{re.escape(sentence)}$"):
        parse_head(head)


def test_a_sentence_never_repeats_more_than_a_line_of_what_was_sent() -> None:
    for head in (
        b"G" * 8000 + b"\r\n\r\n",
        POST + b"X" * 8000 + b"\r\n\r\n",
        POST + b"Expect: " + b"x" * 8000 + b"\r\n\r\n",
    ):
        with pytest.raises(ShellError) as caught:
            parse_head(head)
        assert len(str(caught.value)) < 250


class Stream:
    """Hands out bytes piece by piece and remembers how much was asked for."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        self.data, self.most, self.asked = data, most, []

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        size = min(size, self.most)
        piece, self.data = self.data[:size], self.data[size:]
        return piece


def no_wait() -> None: ...


def test_head_and_body_of_an_ordinary_request_take_one_recv() -> None:
    stream = Stream(POST + b"\r\n" + b"x" * 8000)
    reader = Reader(stream.recv)
    reader.head(no_wait)
    assert reader.exactly(8000) == b"x" * 8000
    assert stream.asked == [PIECE]
    assert not reader.waiting


def test_a_large_body_is_asked_for_in_pieces() -> None:
    stream = Stream(POST + b"\r\n" + b"x" * 1_000_000)
    reader = Reader(stream.recv)
    reader.head(no_wait)
    assert len(reader.exactly(1_000_000)) == 1_000_000
    assert max(stream.asked) <= LARGE_PIECE


def test_the_end_of_the_stream_is_told_apart_from_the_end_of_a_body() -> None:
    with pytest.raises(EOFError):
        Reader(Stream(b"").recv).head(no_wait)
    with pytest.raises(EOFError):
        Reader(Stream(b"abc").recv).exactly(4)


def test_the_slow_way_is_told_once() -> None:
    told: list[int] = []
    reader = Reader(Stream(POST + b"\r\n", most=1).recv)
    assert reader.head(lambda: told.append(1)) == POST + b"\r\n"
    assert told == [1]


def test_chunks_are_joined_and_bounded() -> None:
    assert Reader(Stream(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n", most=1).recv).chunked(5) == b"abcde"
    with pytest.raises(TooLarge, match="the body is larger than 4 bytes"):
        Reader(Stream(b"3\r\nabc\r\n2\r\n").recv).chunked(4)


def test_chunks_without_end_are_not_kept() -> None:
    with pytest.raises(RequestError):
        Reader(Stream(b"1" * 100_000).recv).chunked(1 << 40)
    with pytest.raises(HeadTooLarge):
        Reader(Stream(b"0\r\n" + b"A: b\r\n" * 100_000).recv).chunked(1 << 40)


def test_the_head_of_an_answer() -> None:
    fields = (("Content-Type", "application/json"), ("Allow", "GET, HEAD"))
    assert answer_head(405, fields, "close") == (
        b"HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\nAllow: GET, HEAD\r\nConnection: close\r\n"
    )
    assert answer_head(599, (), "") == b"HTTP/1.1 599 \r\n"
