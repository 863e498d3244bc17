"""An exception -> the answer that the client gets: a status, a sentence as JSON, and never a traceback."""

from __future__ import annotations

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
from gluonts_shell.serving.http.connection import Response

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
