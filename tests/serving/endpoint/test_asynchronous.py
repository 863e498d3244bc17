"""What an asynchronous endpoint sends: bodies of many megabytes, and requests that take longer than others may wait."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from toy import serving

from gluonts_shell.errors import TooLarge
from gluonts_shell.messages import Call, Configuration, Prediction
from gluonts_shell.serving.endpoint.app import App
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.invocations import Endpoint

MEBIBYTE = 1024 * 1024
ADVICE = {TooLarge: "; MAX_CONTENT_LENGTH sets this limit"}


class Slow:
    """An instance is a list; its prediction, its length, takes as long as `seconds` says. started: one is at work."""

    joins = False

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.started = threading.Event()

    def configure(self, configuration: Any) -> Configuration:
        return Configuration()

    def prepare(self, instances: Any, configuration: Configuration) -> Call:
        return Call(configuration, list(instances), [len(instance) for instance in instances])

    def predict(self, calls: Any, *_: Any) -> list[list[Prediction]]:
        self.started.set()
        time.sleep(self.seconds)
        return [[Prediction(mean=[float(len(entry))]) for entry in call.entries] for call in calls]


def app(service: Slow, timeout: float, limit: int = 6 * MEBIBYTE) -> App:
    batcher = Batcher(service.predict, joins=False, timeout=timeout)
    return App(Endpoint(service, batcher), {}, limit=limit, advice=ADVICE)


def post(port: int, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(
        "POST", "/invocations", body, {"Content-Type": "application/json", **headers}
    )
    response = connection.getresponse()
    found = response.status, json.loads(response.read())
    connection.close()
    return found


def test_a_body_of_20_megabytes() -> None:
    count = 4 * MEBIBYTE
    body = b'{"instances": [[' + b"1.5, " * count + b"1.5]]}"
    assert len(body) > 20_000_000
    limit = 64 * MEBIBYTE
    with serving(app(Slow(), 0, limit), body=limit) as port:
        answer = 200, {"predictions": [{"mean": [count + 1.0]}]}
        assert post(port, body) == answer
        assert post(port, gzip.compress(body, 1), **{"Content-Encoding": "gzip"}) == answer
    with serving(app(Slow(), 0)) as port:
        status, answer_413 = post(port, gzip.compress(body, 1), **{"Content-Encoding": "gzip"})
        assert (status, answer_413["error"]) == (
            413,
            "the body unpacks to more than 6291456 bytes; MAX_CONTENT_LENGTH sets this limit",
        )


def test_a_request_that_takes_longer_than_others_may_wait() -> None:
    body = b'{"instances": [[1]]}'
    for timeout, second in ((0.2, 503), (3600.0, 200)):
        service = Slow(0.6)
        with serving(app(service, timeout)) as port, ThreadPoolExecutor(1) as pool:
            long_one = pool.submit(post, port, body)
            assert service.started.wait(30)
            status, answer = post(port, body)
            assert status == second
            assert long_one.result() == (200, {"predictions": [{"mean": [1.0]}]})
        if status == 503:
            assert answer["error"] == (
                "the request waited for more than 0.2 s, and was not predicted; try again later "
                "(SAGEMAKER_SERVER_TIMEOUT sets this limit)"
            )
