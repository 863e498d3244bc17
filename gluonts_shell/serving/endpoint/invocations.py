"""What answers /invocations: for an endpoint a request of instances, for a batch transform job a body of lines.

An endpoint leaves one line a request in the log, a job only its failures: it may have a hundred thousand requests, and
tells once a minute how many lines it scored. Neither tells anything of the customer's data.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from gluonts_shell.log import say
from gluonts_shell.messages import Prediction, Service
from gluonts_shell.serving.endpoint import codec
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.refusal import refuse
from gluonts_shell.serving.http.exchange import Request, Response

log = logging.getLogger(__name__)

SMALL = 16 * 1024  # bytes of a body that are parsed and checked in less time than the threads' switch interval


@dataclass(slots=True)
class Note:
    """What is known of a request when its line is logged."""

    instances: int = 0
    lengths: str = ""
    joined: int = 1


class Endpoint:
    """DeepAR's protocol: a request of instances in, as many predictions out."""

    def __init__(self, service: Service, batcher: Batcher[Prediction], accept: str | None = None) -> None:
        """accept: what a client that sends no Accept is taken to want; None for the format of its request."""
        self._service = service
        self._accept = accept
        self._batcher = batcher
        self._turn = threading.Lock()

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises UnsupportedMediaType and NotAcceptable."""
        codec.answer_type(headers.get("accept") or self._accept, codec.request_type(headers.get("content-type")))

    def __call__(self, request: Request) -> Response:
        note = Note()
        return logged(lambda: self._answer(request, note), note)

    def _answer(self, request: Request, note: Note) -> Response:
        kind = codec.request_type(request.headers.get("content-type"))
        answer = codec.answer_type(request.headers.get("accept") or self._accept, kind)
        with self._computing(request):
            payload = codec.parse(request.body, kind)
            note.instances = len(payload.instances)
            configuration = self._service.configure(payload.configuration)
            call = self._service.prepare(payload.instances, configuration)
        if call.lengths:
            note.lengths = f" of {min(call.lengths)} to {max(call.lengths)} values"
        predictions, note.joined = self._batcher.submit(call, request.alive, request.arrived)
        with self._computing(request):
            return Response(200, codec.encode(predictions, answer), (("Content-Type", answer),))

    def _computing(self, request: Request) -> AbstractContextManager[object]:
        """Around what holds the interpreter for milliseconds: one thread at a time, since side by side they gain
        nothing and /ping waits for each. Small requests pass, for waiting costs more than they take."""
        return self._turn if len(request.body) > SMALL else nullcontext()


class Transform:
    """A batch transform job's protocol: lines in, as many lines out.

    answer: the policy, bytes to bytes; its second argument tells whether somebody still waits. Jobs often send no
    Content-Type, or one of another container, and an Accept that fits nothing; what they send is lines all the same.
    """

    def __init__(self, answer: Callable[[bytes, Callable[[], bool]], bytes]) -> None:
        self._lines = answer

    def check(self, headers: Mapping[str, str]) -> None:
        """Takes everything."""

    def __call__(self, request: Request) -> Response:
        try:
            lines = self._lines(request.body, request.alive)
            return Response(200, lines, (("Content-Type", codec.JSON_LINES),))
        except BaseException as error:  # whatever a model raises is its request's alone
            response = refuse(error)
            log.warning("a request of %d bytes failed with status %d", len(request.body), response.status)
            return response


def logged(answer: Callable[[], Response], note: Note) -> Response:
    started = time.perf_counter()
    try:
        response = answer()
    except BaseException as error:  # whatever a model raises is its request's alone
        response = refuse(error)
    seconds = time.perf_counter() - started
    what = f"status {response.status}, {note.instances} instances{note.lengths}"
    say(log, f"invocation: {what}, {1000 * seconds:.1f} ms, {note.joined} joined")
    return response
