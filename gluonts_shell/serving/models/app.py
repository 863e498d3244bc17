"""The routes of an endpoint with many models. It never sees a socket, and knows no processes.

Source: AWS, "Custom Containers Contract for Multi-Model Endpoints". What /models/NAME/invoke answers is said by the
model's own process, which logs it too; here is only what comes before or instead of that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from gluonts_shell.errors import MethodNotAllowed, NotFound, RequestError
from gluonts_shell.serving.endpoint import codec
from gluonts_shell.serving.endpoint.app import NO_HEADERS, echoed
from gluonts_shell.serving.endpoint.journal import Journal, Note
from gluonts_shell.serving.endpoint.refusal import CONTENT_TYPE, refuse
from gluonts_shell.serving.http.exchange import Request, Response
from gluonts_shell.serving.metrics import prometheus
from gluonts_shell.serving.metrics.counters import Meter
from gluonts_shell.serving.models.registry import Model, Registry

PING, METRICS = "/ping", "/metrics"
MODELS, MODEL, INVOKE = "/models", "/models/NAME", "/models/NAME/invoke"
METHODS = {
    PING: ("GET", "HEAD"),
    MODELS: ("GET", "HEAD", "POST"),
    MODEL: ("GET", "HEAD", "DELETE"),
    INVOKE: ("POST",),
}
# SageMaker makes names of hexadecimal digits; a name stands in paths and in the log
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]{0,255}")
PATH = re.compile(r"/models/([^/]+)(/invoke)?")
LONGEST_URL = 4096


class Models:
    """An application as of http.exchange.App. advice, meter, page: as of endpoint.app.App."""

    def __init__(
        self,
        registry: Registry,
        advice: Mapping[type[BaseException], str] | None = None,
        *,
        meter: Meter | None = None,
        page: bool = False,
    ) -> None:
        self._registry = registry
        self._advice = advice or {}
        self._meter = meter
        self._methods = {**METHODS, METRICS: ("GET", "HEAD")} if meter and page else METHODS
        self._journal = Journal()

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:  # noqa: ARG002 - the model looks at them
        """Raises NotFound and MethodNotAllowed."""
        route, name = self._route(method, path)
        if route == INVOKE:
            self._registry.find(name)

    def __call__(self, request: Request) -> Response:
        route, name = self._route(request.method, request.path)
        if route == PING:  # AWS: "an empty body"
            return Response(200)
        if route == METRICS:
            return self._numbers()
        if route == INVOKE:
            return self._registry.invoke(name, request)
        if request.method == "DELETE":
            return _told(_shown(self._registry.unload(name)))
        if route == MODEL:
            return _told(_shown(self._registry.find(name)))
        if request.method == "POST":
            return self._load(request.body)
        return self._list(request.query)

    def refuse(
        self,
        error: BaseException,
        path: str = "",  # noqa: ARG002 - the protocol's
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Response:
        note = Note()
        response, note.error = refuse(error, self._advice.get(type(error), ""))
        self._journal.write(response.status, 0.0, headers, note)
        if self._meter is not None:
            self._meter.count(response.status, 0.0, 0)
        return echoed(response, headers)

    def overdue(self) -> str | None:
        """Never: nothing is computed here."""
        return None

    def _load(self, body: bytes) -> Response:
        name, url = asked(body)
        self._registry.load(name, url)
        return _told({"modelName": name, "modelUrl": url})

    def _list(self, query: str) -> Response:
        """AWS: "If a nextPageToken is not returned, it means that there are no more models to return"."""
        after = parse_qs(query).get("next_page_token", [""])[0]
        models, last = self._registry.page(after)
        page: dict[str, Any] = {"models": [_shown(model) for model in models]}
        if last is not None:
            page["nextPageToken"] = last
        return _told(page)

    def _numbers(self) -> Response:
        assert self._meter is not None
        text = prometheus.page(self._meter.counters)
        return Response(200, text.encode("ascii"), (("Content-Type", prometheus.CONTENT_TYPE),))

    def _route(self, method: str, path: str) -> tuple[str, str]:
        """The route, and the model's name where it has one. Raises NotFound and MethodNotAllowed."""
        route, name = path, ""
        if found := PATH.fullmatch(path):
            route, name = INVOKE if found[2] else MODEL, found[1]
        elif path not in self._methods:
            raise NotFound(self._nothing_at(path))
        methods = self._methods[route]
        if method not in methods:
            allowed = ", ".join(methods)
            raise MethodNotAllowed(
                f"{path[:300]} does not take {method[:20]!r}; it takes {allowed}", allowed
            )
        return route, name

    def _nothing_at(self, path: str) -> str:
        if path == "/invocations":
            return (
                "this server has many models (SAGEMAKER_MULTI_MODEL), and none at '/invocations'; "
                f"ask {INVOKE}"
            )
        return f"there is no {path[:100]!r}; there are {', '.join(self._methods)}"


def asked(body: bytes) -> tuple[str, str]:
    """The name and the folder of the model that a body asks to load. Raises RequestError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise RequestError(f"the body is {codec.called(document)}, expected an object")
    name, url = _text(document, "model_name"), _text(document, "url")
    if NAME.fullmatch(name) is None:
        raise RequestError(
            f"model_name is {name[:100]!r}, expected 1 to 256 letters, digits, '_', '-', '.' and '~', "
            "with a letter, a digit or '_' in front"
        )
    if not url.startswith("/") or "\0" in url or len(url) > LONGEST_URL:
        raise RequestError(
            f"url is {url[:100]!r}, expected the path of a folder, beginning with '/'"
        )
    return name, url


def _text(document: dict[str, Any], field: str) -> str:
    if field not in document:
        raise RequestError(f"the body has no {field!r}, expected 'model_name' and 'url'")
    value = document[field]
    if not isinstance(value, str):
        raise RequestError(f"{field} is {json.dumps(value)[:100]}, expected a text")
    return value


def _shown(model: Model) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": model.url}


def _told(document: dict[str, Any]) -> Response:
    return Response(200, json.dumps(document).encode("ascii"), (CONTENT_TYPE,))
