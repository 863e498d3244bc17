"""What answers /invocations: for an endpoint a request of instances, for a batch transform job a body of lines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from gluonts_shell.errors import AskedError, InstanceError, RequestError
from gluonts_shell.messages import Call, Prediction, Service
from gluonts_shell.serving.endpoint import codec, records
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.chronos import dialect
from gluonts_shell.serving.endpoint.chronos.dialect import Dialect
from gluonts_shell.serving.endpoint.chronos.parameters import Asked, in_their_words
from gluonts_shell.serving.endpoint.journal import Note
from gluonts_shell.serving.endpoint.records import Inputs, Payload, Record
from gluonts_shell.serving.http.exchange import Request, Response

# bytes of a body that are parsed and checked in less time than the threads' switch interval
SMALL = 16 * 1024
AT_ONCE = nullcontext()


class Endpoint:
    """DeepAR's protocol, or Chronos's where the body is in it: a request of instances in, as many predictions out.

    forward: fields that each prediction has from its instance, as the text that stood there. accept: what a client that
    sends no Accept is taken to want; None for the format of its request.
    """

    successes = True

    def __init__(
        self,
        service: Service,
        batcher: Batcher[Prediction],
        forward: Sequence[str] = (),
        accept: str | None = None,
    ) -> None:
        self._service = service
        self._accept = accept
        self._batcher = batcher
        self._forward = tuple(forward)
        self._chronos = Dialect(service)
        self._forward_besides = dialect.forwarded(forward)
        self._turn = threading.Lock()

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises UnsupportedMediaType and NotAcceptable."""
        codec.answer_type(
            headers.get("accept") or self._accept, codec.request_type(headers.get("content-type"))
        )

    def __call__(self, request: Request, note: Note) -> Response:
        kind = codec.request_type(request.headers.get("content-type"))
        answer = codec.answer_type(request.headers.get("accept") or self._accept, kind)
        with self._computing(request):
            payload = records.request(request.body, kind, places=bool(self._forward))
            note.instances = len(payload.instances)
            asked = None
            if isinstance(payload, Inputs):
                asked = self._chronos.asked(payload.parameters)
            call = self._prepared(payload, asked)
        if call.lengths:
            note.lengths = min(call.lengths), max(call.lengths)
        try:
            predictions, note.joined = self._batcher.submit(call, request.alive, request.arrived)
        except InstanceError as error:
            raise _placed(payload, error) from error
        except AskedError as error:
            if asked is None:
                raise
            raise in_their_words(error) from error
        with self._computing(request):
            if asked is None:
                body = self._encoded(payload, predictions, answer)
            else:
                objects = self._objects(payload, call, predictions, asked)
                body = self._joined(payload.records or (), objects, self._forward_besides, answer)
            return Response(200, body, (("Content-Type", answer),))

    def _prepared(self, payload: Payload | Inputs, asked: Asked | None) -> Call:
        try:
            if isinstance(payload, Inputs):
                assert asked is not None
                return self._chronos.prepare(payload.instances, asked.configuration)
            configuration = self._service.configure(payload.configuration)
            return self._service.prepare(payload.instances, configuration)
        except InstanceError as error:
            raise _placed(payload, error) from error

    def _encoded(
        self, payload: Payload | Inputs, predictions: Sequence[Prediction], answer: str
    ) -> bytes:
        if payload.records is None:
            return codec.encode(predictions, answer)
        texts = map(codec.encode_prediction, predictions)
        return self._joined(payload.records, texts, self._forward, answer)

    def _objects(
        self,
        payload: Payload | Inputs,
        call: Call,
        predictions: Sequence[Prediction],
        asked: Asked,
    ) -> Iterator[bytes]:
        """What Chronos's clients get for each of their inputs."""
        for each in zip(payload.instances, call.entries, predictions, strict=True):
            yield self._chronos.encode(*each, asked)

    def _joined(
        self, found: Sequence[Record], texts: Iterator[bytes], forward: Sequence[str], answer: str
    ) -> bytes:
        """forward: fields that each has from its record."""
        lines = []
        for record in found:
            if not record.empty:
                lines.append(record.with_fields(next(texts), forward))
            elif answer == codec.JSON_LINES:
                lines.append(records.EMPTY)
        return codec.joined(lines, answer)

    def _computing(self, request: Request) -> AbstractContextManager[object]:
        """Around what holds the interpreter for milliseconds: one thread at a time, since side by side they gain
        nothing and /ping waits for each. Small requests pass, for waiting costs more than they take."""
        return self._turn if len(request.body) > SMALL else AT_ONCE


def _placed(payload: Payload | Inputs, error: InstanceError) -> RequestError:
    """The same error under the place at which the client finds the instance."""
    if payload.records is None:
        return error
    with_instances = [record for record in payload.records if not record.empty]
    return with_instances[error.index].placed(error)


class Transform:
    """A batch transform job's protocol: lines in, as many lines out.

    answer: the policy, bytes to bytes; its second argument tells whether somebody still waits. Jobs often send no
    Content-Type, or one of another container, and an Accept that fits nothing; what they send is lines all the same.
    """

    successes = False

    def __init__(self, answer: Callable[[bytes, Callable[[], bool]], bytes]) -> None:
        self._lines = answer

    def check(self, headers: Mapping[str, str]) -> None:
        """Takes everything."""

    def __call__(self, request: Request, note: Note) -> Response:  # noqa: ARG002 - how many lines, the job knows
        lines = self._lines(request.body, request.alive)
        return Response(200, lines, (("Content-Type", codec.JSON_LINES),))
