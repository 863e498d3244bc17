"""Over a socket: every complete head that is refused, and every invocation, has exactly one line in the log."""

from __future__ import annotations

import logging
import socket
import struct
import time
from typing import Any

import pytest
from toy import serving

from gluonts_shell.messages import Call, Configuration, Prediction
from gluonts_shell.serving.endpoint import journal
from gluonts_shell.serving.endpoint.app import App
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.invocations import Endpoint, Transform

HOST = b"Host: a\r\nX-Amzn-SageMaker-Inference-Id: inf-7\r\n"


class Nothing:
    joins = False

    def configure(self, configuration: Any) -> Configuration:
        return Configuration()

    def prepare(self, instances: Any, configuration: Configuration) -> Call:
        return Call(configuration)

    def predict(self, calls: Any, *_: Any) -> list[list[Prediction]]:
        return [[] for _ in calls]


def endpoint() -> App:
    service = Nothing()
    return App(Endpoint(service, Batcher(service.predict, joins=False)), {})


def batch() -> App:
    return App(Transform(lambda body, wanted: b""), {})


def post(body: bytes, *fields: bytes) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST /invocations HTTP/1.1\r\n" + HOST + b"".join(fields) + length + b"\r\n" + body


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n", (404, 404)),
        (b"GET /invocations HTTP/1.1\r\n" + HOST + b"\r\n", (405, 405)),
        (post(b"{}", b"Accept: text/csv\r\n"), (406, 200)),
        (post(b"{}", b"Content-Type: text/csv\r\n"), (415, 200)),
        (post(b"{}", b"Content-Encoding: br\r\n"), (415, 415)),
        (post(b"x" * 2000), (413, 413)),
        (post(b"{}"), (400, 200)),
        (post(b'{"instances": []}'), (200, 200)),
        (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", (505, 505)),
        (b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n", (200, 200)),
    ],
)
@pytest.mark.parametrize("make", [endpoint, batch])
def test_one_line_for_each_request(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    raw: bytes,
    statuses: tuple[int, int],
) -> None:
    caplog.set_level(logging.INFO)
    status = statuses[make is batch]
    with (
        serving(make(), body=1000) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(raw)
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    lines = [record.getMessage() for record in caplog.records if record.name == journal.__name__]
    silent = raw.startswith(b"GET /ping") or (make is batch and status == 200)
    assert len(lines) == (0 if silent else 1)
    if lines:
        assert lines[0].startswith(f"invocation: status {status}, 0 instances, ")
        assert ("id inf-7" in lines[0]) == (status != 505), (
            "the head that cannot be read has no fields"
        )


@pytest.mark.parametrize("make", [endpoint, batch])
def test_a_body_that_never_comes_has_its_line(caplog: pytest.LogCaptureFixture, make: Any) -> None:
    with serving(make()) as port:
        for reset in (False, True):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(post(b"{}")[:-1])
                time.sleep(0.1)
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    client.shutdown(socket.SHUT_WR)
                    assert client.recv(65536) == b""
    lines = [record.getMessage() for record in caplog.records if record.name == journal.__name__]
    gone = "invocation: status 400, 0 instances, 0.0 ms, id inf-7: the connection ended before the body did"
    assert lines == [gone, gone]


def test_a_body_that_comes_too_late_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    head = post(b"{}")[:-2]
    limits = {"body_seconds": 0.1}
    with (
        serving(batch(), body=1, **limits) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(head.replace(b"Content-Length: 2", b"Content-Length: 1"))
        assert client.recv(65536).startswith(b"HTTP/1.1 408 ")
    (line,) = (record.getMessage() for record in caplog.records if record.name == journal.__name__)
    assert line.startswith(
        "invocation: status 408, 0 instances, 0.0 ms, id inf-7: the request did not arrive in time"
    )


def test_the_line_has_the_model_that_the_client_named(caplog: pytest.LogCaptureFixture) -> None:
    named = (b"X-Amzn-SageMaker-Target-Model: shops/a.tar.gz\r\n", b"X-Amzn-SageMaker-Target-Model: a b\r\n")  # fmt: skip
    with caplog.at_level(logging.INFO), serving(endpoint()) as port:
        for field in named:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(post(b'{"instances": []}', field, b"Connection: close\r\n"))
                while connection.recv(4096):
                    pass
    lines = [one.getMessage() for one in caplog.records if "invocation: " in one.getMessage()]
    assert [line.partition("id inf-7")[2] for line in lines] == [", model shops/a.tar.gz", ""]
    # 'a b' could be taken for the sentence that follows
