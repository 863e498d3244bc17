"""What is said between the front and a model's process: the head of a request, and an answer."""

from __future__ import annotations

import pytest

from gluonts_shell.serving.http.exchange import Request
from gluonts_shell.serving.http.wire import parse_head
from gluonts_shell.serving.models.relay import Cut, head, response


def test_a_request_is_passed_on_without_what_concerns_its_connection() -> None:
    headers = {
        "host": "a:80",
        "content-type": "application/json",
        "transfer-encoding": "chunked",
        "connection": "keep-alive",
        "expect": "100-continue",
        "x-amzn-sagemaker-custom-attributes": "t=\xe9",
    }
    request = Request("POST", "/models/m/invoke", headers, b"12345", lambda: True, 0.0)
    found = parse_head(head("m", request))
    assert (found.method, found.path, found.length) == ("POST", "/invocations", 5)
    assert found.keep_alive and not found.expects
    assert found.headers == {
        "host": "a:80",
        "content-length": "5",
        "content-type": "application/json",
        "x-amzn-sagemaker-custom-attributes": "t=\xe9",
        "x-amzn-sagemaker-target-model": "m",
    }


def test_the_model_that_the_client_named_stays() -> None:
    headers = {"x-amzn-sagemaker-target-model": "shops/m.tar.gz"}
    request = Request("POST", "/models/m/invoke", headers, b"", lambda: True, 0.0)
    found = parse_head(head("m", request))
    assert found.headers["x-amzn-sagemaker-target-model"] == "shops/m.tar.gz"
    assert found.headers["host"] == "localhost"


def test_an_answer_is_taken_apart() -> None:
    raw = (
        b"HTTP/1.1 415 Unsupported Media Type\r\nContent-Type: application/json\r\nAccept-Encoding: gzip, identity\r\n"
        b"Connection: close\r\nDate: Sun, 01 Nov 2026 00:00:00 GMT\r\nContent-Length: 4\r\n\r\n\r\n\r\n"
    )
    found = response(raw)
    assert (found.status, found.body) == (415, b"\r\n\r\n")
    assert found.headers == (
        ("Content-Type", "application/json"),
        ("Accept-Encoding", "gzip, identity"),
    )


def test_an_answer_without_a_body_is_one() -> None:
    assert response(b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n").body == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
    ],
)
def test_what_is_no_whole_answer_is_none(raw: bytes) -> None:
    with pytest.raises(Cut):
        response(raw)
