"""The exception tree. It imports nothing, so that every layer may raise from it.

    ShellError                     ours unless a subclass says otherwise: exit status 1, HTTP 500, traceback in the log
    ├── UserError                  the user's to mend: one sentence, no traceback; HTTP 400
    │   ├── ConfigurationError     a setting, hyperparameter or configuration file
    │   ├── ForecasterError        no such forecaster, or it cannot be imported or constructed
    │   ├── DataError              a channel, a file, a line, a field
    │   ├── CodeChannelError       the user's code cannot be unpacked or installed
    │   └── RequestError           an HTTP request; the status rides on the class
    │       ├── NotFound 404, MethodNotAllowed 405, NotAcceptable 406, RequestTimeout 408,
    │       └── TooLarge 413, TargetTooLong 414, UnsupportedMediaType 415, ExpectationFailed 417, HeadTooLarge 431
    ├── ModelError                 the forecaster failed while it trained or predicted; HTTP 500
    ├── NotImplementedByServer     a transfer coding that we do not have; HTTP 501
    ├── Overloaded                 too much is waiting already; HTTP 503 with Retry-After
    ├── Cancelled                  nobody waits for it any more, or it took too long; HTTP 503
    └── VersionNotSupported        not HTTP/1.0 or HTTP/1.1; HTTP 505

One place turns them into an exit status and output/failure (`sagemaker.failure`), another into HTTP (`serving.app`).
"""

from __future__ import annotations


class ShellError(Exception):
    """Base of all errors that this package raises on purpose; `str()` of it is the sentence to show."""

    exit_code = 1
    status = 500


class UserError(ShellError):
    """Something that the person who started the job or sent the request can mend."""

    status = 400


class ConfigurationError(UserError):
    """An environment variable, hyperparameter or configuration file is wrong."""


class ForecasterError(UserError):
    """The forecaster's name leads to no usable class, or the class refuses its arguments."""


class DataError(UserError):
    """A channel, file, line or field cannot be used."""


class CodeChannelError(UserError):
    """The code channel cannot be unpacked or installed."""


class RequestError(UserError):
    """The request is wrong; 400 unless a subclass says otherwise."""


class NotFound(RequestError):
    status = 404


class MethodNotAllowed(RequestError):
    """`allow` is the value of the Allow header that RFC 9110 section 15.5.6 demands."""

    status = 405

    def __init__(self, message: str, allow: str = "") -> None:
        super().__init__(message)
        self.allow = allow


class NotAcceptable(RequestError):
    status = 406


class RequestTimeout(RequestError):
    status = 408


class TooLarge(RequestError):
    status = 413


class TargetTooLong(RequestError):
    status = 414


class UnsupportedMediaType(RequestError):
    status = 415


class ExpectationFailed(RequestError):
    status = 417


class HeadTooLarge(RequestError):
    status = 431


class ModelError(ShellError):
    """The forecaster raised, or its process died."""


class NotImplementedByServer(ShellError):
    status = 501


class Overloaded(ShellError):
    """`retry_after` is in seconds (RFC 9110 section 10.2.3)."""

    status = 503
    retry_after = 1


class Cancelled(ShellError):
    """Predicting was given up between two series: nobody waits any more, or the request's time is over."""

    status = 503


class VersionNotSupported(ShellError):
    status = 505


def stop_behind(error: BaseException | None) -> BaseException | None:
    """The request to stop that `error` was made of, if it was; to be raised in its place.

    What a signal handler raises is no Exception, but libraries catch that too: pydoc.locate(), by which GluonTS finds
    classes, makes an ErrorDuringImport of whatever came while a module was imported. A plain SystemExit does not
    count: that is somebody's code that calls sys.exit(), where a handler's has a class of its own.
    """
    while error is not None:
        if not isinstance(error, Exception) and type(error) not in (SystemExit, GeneratorExit):
            return error
        error = error.__cause__ or error.__context__
    return None
