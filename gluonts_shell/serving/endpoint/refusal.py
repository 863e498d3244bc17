"""An exception -> the answer that the client gets: a status, a sentence as JSON, and never a traceback.

Clients that talk to a container on their own machine get it as SageMaker would hand it on.
"""

from __future__ import annotations

import json
import logging
import uuid

from gluonts_shell.errors import (
    MethodNotAllowed,
    ModelError,
    Overloaded,
    ShellError,
    UnsupportedMediaType,
)
from gluonts_shell.serving.endpoint import codec
from gluonts_shell.serving.http.exchange import Response

log = logging.getLogger(__name__)

CONTENT_TYPE = ("Content-Type", codec.JSON)


def refuse(error: BaseException, advice: str = "") -> tuple[Response, str]:
    """The answer, and the same sentence as the log may have it.

    Errors of ours carry their status and sentence, which the advice ends; of any other the client gets an id, and the
    log the traceback.
    """
    if isinstance(error, ShellError) and (error.status != 500 or isinstance(error, ModelError)):
        body = codec.encode_error(f"{error}{advice}")
        headers = (CONTENT_TYPE, *_headers(error))
        return Response(error.status, body, headers), f"{error.redacted()}{advice}"
    identity = uuid.uuid4().hex
    log.error("error %s", identity, exc_info=error)
    failed = f"the model failed with {type(error).__name__}"
    body = codec.encode_error(f"{failed}; the log tells why under error id {identity}")
    return Response(500, body, (CONTENT_TYPE,)), f"{failed}, error {identity}"


def _headers(error: ShellError) -> tuple[tuple[str, str], ...]:
    match error:
        case MethodNotAllowed():
            return (("Allow", error.allow),)
        case Overloaded():
            return (("Retry-After", str(error.retry_after)),)
        case UnsupportedMediaType(accept_encoding=codings) if codings:
            return (("Accept-Encoding", codings),)
    return ()


def model_error(response: Response) -> Response:
    """A container's error as SageMaker hands it to the client.

    Source: AWS, "InvokeEndpoint", ModelError; botocore takes the class of an error from `x-amzn-errortype`.
    """
    original = response.body.decode("utf-8", "replace")
    kind = "client" if response.status < 500 else "server"
    members = {
        "Message": f'Received {kind} error ({response.status}) from primary with message "{original}"',
        "OriginalMessage": original,
        "OriginalStatusCode": response.status,
        "LogStreamArn": "",
    }
    return _error(424, "ModelError", members)


def not_here(sentence: str) -> Response:
    """The error of an operation that SageMaker has and this server has not."""
    return _error(404, "ValidationError", {"Message": sentence, "error": sentence})


def _error(status: int, kind: str, members: dict[str, object]) -> Response:
    body = json.dumps(members).encode("ascii")
    return Response(status, body, (CONTENT_TYPE, ("x-amzn-errortype", kind)))
