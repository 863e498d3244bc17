"""What SageMaker does between a client and a container, for clients that talk to a container on their own machine.

Source: AWS, "InvokeEndpoint": the path, and ModelError (status 424) with its four members; botocore takes the class of
an error from the header `x-amzn-errortype`.
"""

from __future__ import annotations

import json
import re

from gluonts_shell.serving.http.connection import Response

PATH = re.compile(r"/endpoints/[A-Za-z0-9-]{1,63}/(invocations|async-invocations|invocations-response-stream)")
ABSENT = {
    "async-invocations": "asynchronous invocations, which need S3",
    "invocations-response-stream": "streamed answers",
}


def operation(path: str) -> str | None:
    """The last part of one of the API's paths; None for any other path."""
    found = PATH.fullmatch(path)
    return found[1] if found else None


def absent(name: str) -> str:
    return f"this server has no {ABSENT[name]}; there is /endpoints/NAME/invocations"


def model_error(response: Response) -> Response:
    """A container's error as SageMaker hands it to the client."""
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
    return Response(status, body, (("Content-Type", "application/json"), ("x-amzn-errortype", kind)))
