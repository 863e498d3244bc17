"""An exception -> the answer that the client gets: a status, a sentence as JSON, and never a traceback."""

from __future__ import annotations

import logging
import uuid

from gluonts_shell.errors import MethodNotAllowed, ModelError, Overloaded, ShellError
from gluonts_shell.serving.endpoint import codec
from gluonts_shell.serving.http.exchange import Response

log = logging.getLogger(__name__)

CONTENT_TYPE = ("Content-Type", codec.JSON)


def refuse(error: BaseException) -> Response:
    """Errors of ours carry their status and sentence; of any other the client gets an id, and the log the traceback."""
    if isinstance(error, ShellError) and (error.status != 500 or isinstance(error, ModelError)):
        return Response(error.status, codec.encode_error(str(error)), (CONTENT_TYPE, *_headers(error)))
    identity = uuid.uuid4().hex
    log.error("error %s", identity, exc_info=error)
    sentence = f"the model failed with {type(error).__name__}; the log tells why under error id {identity}"
    return Response(500, codec.encode_error(sentence), (CONTENT_TYPE,))


def _headers(error: ShellError) -> tuple[tuple[str, str], ...]:
    if isinstance(error, MethodNotAllowed):
        return (("Allow", error.allow),)
    if isinstance(error, Overloaded):
        return (("Retry-After", str(error.retry_after)),)
    return ()
