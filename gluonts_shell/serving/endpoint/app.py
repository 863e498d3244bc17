"""The routes: which paths there are, with which methods, and what answers them. It never sees a socket.

Source: AWS, "Custom Inference Code with Hosting Services" (/ping, /invocations) and "... with Batch Transform"
(/execution-parameters).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from gluonts_shell.errors import MethodNotAllowed, NotFound
from gluonts_shell.serving.endpoint.refusal import CONTENT_TYPE, refuse
from gluonts_shell.serving.http.exchange import Request, Response

ROUTES = {"/ping": ("GET", "HEAD"), "/execution-parameters": ("GET", "HEAD"), "/invocations": ("POST",)}
# the API's own path, which clients of the SDK use against a server on their own machine
LOCAL_ENDPOINT = re.compile(r"/endpoints/[A-Za-z0-9-]{1,63}/invocations")
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
# AWS, InvokeEndpoint: "no more than 1024 visible US-ASCII characters ... as specified in Section 3.3.6. Field Value"
ATTRIBUTES = re.compile(r"[\x20-\x7e]{1,1024}")


class Handler(Protocol):
    """What answers /invocations. It logs its own line, and raises nothing."""

    def check(self, headers: Mapping[str, str]) -> None:
        """Before the body is read: raises a RequestError."""
        ...

    def __call__(self, request: Request) -> Response: ...


class App:
    """overdue: as of http.exchange.App; what tells that a computation has run for too long."""

    def __init__(
        self,
        invocations: Handler,
        parameters: Mapping[str, object],
        *,
        local_endpoints: bool = False,
        overdue: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.overdue = overdue
        self._invocations = invocations
        self._parameters = Response(200, json.dumps(parameters).encode("ascii"), (CONTENT_TYPE,))
        self._local_endpoints = local_endpoints

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raises NotFound, MethodNotAllowed, UnsupportedMediaType or NotAcceptable."""
        if self._route(method, path) == "/invocations":
            self._invocations.check(headers)

    def __call__(self, request: Request) -> Response:
        try:
            route = self._route(request.method, request.path)
        except (NotFound, MethodNotAllowed) as error:
            return self.refuse(error)
        if route == "/ping":  # AWS: 200 "and an empty body"; the process serves only once the model is loaded
            return Response(200)
        if route == "/execution-parameters":
            return self._parameters
        response = self._invocations(request)
        attributes = request.headers.get(CUSTOM_ATTRIBUTES)
        if attributes and ATTRIBUTES.fullmatch(attributes):
            response.headers += (("X-Amzn-SageMaker-Custom-Attributes", attributes),)
        return response

    def refuse(self, error: BaseException) -> Response:
        return refuse(error)

    def _route(self, method: str, path: str) -> str:
        if self._local_endpoints and LOCAL_ENDPOINT.fullmatch(path):
            path = "/invocations"
        methods = ROUTES.get(path)
        if methods is None:
            raise NotFound(f"there is no {path[:100]!r}; there are {', '.join(ROUTES)}")
        if method not in methods:
            allowed = ", ".join(methods)
            raise MethodNotAllowed(f"{path} does not take {method[:20]!r}; it takes {allowed}", allowed)
        return path


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
