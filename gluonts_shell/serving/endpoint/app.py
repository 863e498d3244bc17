"""The routes: which paths there are, with which methods, and what answers them. It never sees a socket.

Source: AWS, "Custom Inference Code with Hosting Services" (/ping, /invocations) and "... with Batch Transform"
(/execution-parameters).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from gluonts_shell.errors import MethodNotAllowed, NotFound
from gluonts_shell.serving.endpoint import content
from gluonts_shell.serving.endpoint.journal import Journal, Note
from gluonts_shell.serving.endpoint.refusal import CONTENT_TYPE, model_error, not_here, refuse
from gluonts_shell.serving.http.exchange import Request, Response
from gluonts_shell.serving.metrics import prometheus
from gluonts_shell.serving.metrics.counters import Meter

ROUTES = {
    "/ping": ("GET", "HEAD"),
    "/execution-parameters": ("GET", "HEAD"),
    "/invocations": ("POST",),
}
# the API's own paths, which clients of the SDK use against a server on their own machine
API = re.compile(
    r"/endpoints/[A-Za-z0-9-]{1,63}/(invocations|async-invocations|invocations-response-stream)"
)
ABSENT = {
    "async-invocations": "asynchronous invocations, which need S3",
    "invocations-response-stream": "streamed answers",
}
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
# AWS, InvokeEndpoint: "no more than 1024 visible US-ASCII characters ... as specified in Section 3.3.6. Field Value"
ATTRIBUTES = re.compile(r"[\x20-\x7e]{1,1024}")
NO_HEADERS: Mapping[str, str] = {}


class Handler(Protocol):
    """What answers /invocations. successes: whether what goes well has a line in the log too."""

    @property
    def successes(self) -> bool: ...

    def check(self, headers: Mapping[str, str]) -> None:
        """Before the body is read: raises a RequestError."""
        ...

    def __call__(self, request: Request, note: Note) -> Response:
        """Fills in the note. May raise whatever the model raises."""
        ...


class App:
    """limit: bytes that a body may have once it is unpacked. advice: what ends the sentences of an error's class, such
    as the name of the setting that a limit has. overdue: as of http.exchange.App; what tells that a computation has run
    for too long. waiting: how many requests wait for the model. meter: what counts requests, if anything does; page:
    whether what all workers counted is answered on /metrics."""

    def __init__(
        self,
        invocations: Handler,
        parameters: Mapping[str, object],
        *,
        limit: int = 6 * 1024 * 1024,
        advice: Mapping[type[BaseException], str] | None = None,
        local_endpoints: bool = False,
        overdue: Callable[[], str | None] = lambda: None,
        waiting: Callable[[], int] = lambda: 0,
        meter: Meter | None = None,
        page: bool = False,
    ) -> None:
        self._overdue = overdue
        self._waiting = waiting
        self._meter = meter
        self._routes = {**ROUTES, "/metrics": ("GET", "HEAD")} if meter and page else ROUTES
        self._invocations = invocations
        self._parameters = Response(200, json.dumps(parameters).encode("ascii"), (CONTENT_TYPE,))
        self._limit = limit
        self._advice = advice or {}
        self._local_endpoints = local_endpoints
        self._journal = Journal(invocations.successes)

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raises NotFound, MethodNotAllowed, UnsupportedMediaType or NotAcceptable."""
        if self._route(method, path) == "/invocations":
            content.check_coding(headers)
            self._invocations.check(headers)

    def __call__(self, request: Request) -> Response:
        try:
            route = self._route(request.method, request.path)
        except (NotFound, MethodNotAllowed) as error:
            return self.refuse(error, request.path, request.headers)
        # AWS: 200 "and an empty body"; the process serves only once the model is loaded
        if route == "/ping":
            return Response(200)
        if route == "/execution-parameters":
            return self._parameters
        if route == "/metrics":
            return self._numbers()
        return self._invoke(request)

    def overdue(self) -> str | None:
        """As of http.exchange.App. How many wait is counted as often as this is asked."""
        if self._meter is not None:
            self._meter.waits(self._waiting())
        return self._overdue()

    def _numbers(self) -> Response:
        assert self._meter is not None
        text = prometheus.page(self._meter.counters)
        return Response(200, text.encode("ascii"), (("Content-Type", prometheus.CONTENT_TYPE),))

    def _invoke(self, request: Request) -> Response:
        note = Note()
        started = time.perf_counter()
        try:
            if "content-encoding" in request.headers:
                body = content.decoded(request.body, request.headers, self._limit)
                request = replace(request, body=body)
            response = self._invocations(request, note)
        except BaseException as error:  # whatever a model raises is its request's alone
            response, note.error = refuse(error, self._advice.get(type(error), ""))
        seconds = time.perf_counter() - started
        return self._finished(response, seconds, request.path, request.headers, note)

    def refuse(
        self, error: BaseException, path: str = "", headers: Mapping[str, str] = NO_HEADERS
    ) -> Response:
        """The answer to what came before or instead of an invocation; path and headers as far as they are known."""
        note = Note()
        response, note.error = refuse(error, self._advice.get(type(error), ""))
        return self._finished(response, 0.0, path, headers, note)

    def _finished(
        self, response: Response, seconds: float, path: str, headers: Mapping[str, str], note: Note
    ) -> Response:
        """The response as it is sent, and its line in the log."""
        self._journal.write(response.status, seconds, headers, note)
        if self._meter is not None:
            self._meter.count(response.status, seconds, note.joined)
        if response.status >= 400 and self._local_endpoints:
            response = self._as_sagemaker_sends_it(response, path, note)
        return echoed(response, headers)

    def _as_sagemaker_sends_it(self, response: Response, path: str, note: Note) -> Response:
        operation = _operation(path)
        if operation in ABSENT:
            return not_here(note.error)
        # a wrong method is the API's to refuse, not the container's
        if operation is None or response.status == 405:
            return response
        return model_error(response)

    def _route(self, method: str, path: str) -> str:
        if self._local_endpoints:
            operation = _operation(path)
            if operation == "invocations":
                path = "/invocations"
            elif operation is not None:
                raise NotFound(
                    f"this server has no {ABSENT[operation]}; there is /endpoints/NAME/invocations"
                )
        methods = self._routes.get(path)
        if methods is None:
            raise NotFound(f"there is no {path[:100]!r}; there are {', '.join(self._routes)}")
        if method not in methods:
            allowed = ", ".join(methods)
            raise MethodNotAllowed(
                f"{path} does not take {method[:20]!r}; it takes {allowed}", allowed
            )
        return path


def echoed(response: Response, headers: Mapping[str, str]) -> Response:
    """The response with the custom attributes of its request."""
    attributes = headers.get(CUSTOM_ATTRIBUTES)
    if attributes and ATTRIBUTES.fullmatch(attributes):
        response.headers += (("X-Amzn-SageMaker-Custom-Attributes", attributes),)
    return response


def _operation(path: str) -> str | None:
    """The last part of one of the API's paths; None for any other path."""
    found = API.fullmatch(path)
    return found[1] if found else None


def execution_parameters(
    *, workers: int, joins: bool, strategy: str, max_payload_in_mb: int, most: int | None
) -> dict[str, object]:
    """What a batch transform job asks for before it sends anything.

    A job keeps just MaxConcurrentTransforms requests in flight, so a model whose waiting requests join one predict
    wants more of them than there are workers. most: the job's own setting, if any; 0 stands for "ask the container".
    AWS, CreateTransformJob: "The value of MaxPayloadInMB cannot be greater than 100 MB ... (MaxConcurrentTransforms *
    MaxPayloadInMB) must not exceed 100 MB."
    """
    wanted = workers * (8 if joins else 1)
    concurrent = min(wanted, most or wanted, 100 // max(1, max_payload_in_mb))
    return {
        "MaxConcurrentTransforms": max(1, concurrent),
        "BatchStrategy": strategy,
        "MaxPayloadInMB": max_payload_in_mb,
    }
