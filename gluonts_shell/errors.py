"""The exception tree. It imports nothing of ours, so that every layer may raise from it.

    ShellError                     ours unless a subclass says otherwise: exit status 1, HTTP 500, traceback in the log
    ├── UserError                  the user's to mend: one sentence, no traceback; HTTP 400
    │   ├── ConfigurationError     a setting, hyperparameter or configuration file
    │   ├── ForecasterError        no such forecaster, or it cannot be imported or constructed
    │   ├── DataError              a channel, a file, a line, a field
    │   ├── CodeChannelError       the user's code cannot be unpacked or installed
    │   ├── HostError              another host of the job never came, is gone or has failed
    │   └── RequestError           an HTTP request; the status rides on the class
    │       ├── InstanceError, LineError   one instance is wrong, or a line that should hold one is not JSON
    │       ├── AskedError                 a key of the request's configuration is wrong
    │       ├── NotFound 404, MethodNotAllowed 405, NotAcceptable 406, RequestTimeout 408, Conflict 409,
    │       └── TooLarge 413, TargetTooLong 414, UnsupportedMediaType 415, ExpectationFailed 417, HeadTooLarge 431
    ├── ModelError                 the forecaster failed while it trained or predicted; HTTP 500
    ├── NotImplementedByServer     a transfer coding that we do not have; HTTP 501
    ├── Overloaded                 too much is waiting already; HTTP 503 with Retry-After
    ├── Cancelled                  nobody waits for it any more, or it took too long; HTTP 503
    ├── VersionNotSupported        not HTTP/1.0 or HTTP/1.1; HTTP 505
    └── NoRoom                     memory, or another resource, does not suffice for one more model; HTTP 507

One place turns them into an exit status and output/failure (`sagemaker.failure`), another into HTTP
(`serving.endpoint.refusal`).

What a sentence quotes of a customer's data is marked with `private`: who sent it reads it, the log does not.
A sentence says what was found and what was expected, counts what it names, and cuts long lists short.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Of Unicode's private use area. No text of a customer holds them by then, since repr() escapes them.
OPENS, CLOSES = "\ue000", "\ue001"
MARKED = re.compile(f"{OPENS}([^{OPENS}{CLOSES}]*){CLOSES}")


def private(text: str) -> str:
    """Mark what a sentence quotes of a customer's data."""
    return f"{OPENS}{text}{CLOSES}"


def shown(sentence: str) -> str:
    """The sentence for whoever sent the data."""
    return MARKED.sub(r"\1", sentence) if OPENS in sentence else sentence


def redacted(sentence: str) -> str:
    """The sentence for the log."""
    return MARKED.sub("...", sentence)


def counted(count: int, nouns: str) -> str:
    """`1 list`, `2 lists`, `1 category`."""
    if count != 1:
        return f"{count} {nouns}"
    if nouns.endswith("ies"):
        return f"1 {nouns[:-3]}y"
    return f"1 {nouns[:-1]}"


def some(names: Sequence[str], most: int = 5) -> str:
    """`a, b, c`, and of many the first and how many there are besides."""
    text = ", ".join(names[:most])
    if len(names) > most:
        text += f" and {len(names) - most} more"
    return text


def known_as(item: str | None) -> str:
    """What stands behind the place of a series with this item_id, as Python writes it; nothing where it has none."""
    return "" if item is None else private(f" (item_id {item})")


class ShellError(Exception):
    """Base of all errors that this package raises on purpose; `str()` of it is the sentence to show."""

    exit_code = 1
    status = 500

    def __str__(self) -> str:
        return shown(self.marked())

    def marked(self) -> str:
        """The sentence as it was raised; for whoever builds another sentence around it."""
        return super().__str__()

    def redacted(self) -> str:
        """The sentence without what it quotes of a customer's data."""
        return redacted(self.marked())

    @classmethod
    def expect(cls, holds: object, found: str, expected: str) -> None:
        """Raises it where the condition does not hold, with a sentence of what was found and what was expected."""
        if not holds:
            raise cls(f"{found}, expected {expected}")


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


class HostError(UserError):
    """Another host of the job never came, is gone, or ended with this exit status; its own log tells more."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RequestError(UserError):
    """The request is wrong; 400 unless a subclass says otherwise."""


class InstanceError(RequestError):
    """One instance of a request is wrong.

    place: where it stands, such as `instance 3` or `line 7`; reason: the sentence without it; item: the item_id as
    Python writes it, or None; index: which instance of those that were looked at together; field: what of it is wrong.
    """

    def __init__(
        self,
        place: str,
        reason: str,
        item: str | None = None,
        index: int = 0,
        field: str | None = None,
    ) -> None:
        super().__init__(place, reason, item, index, field)
        self.place, self.reason, self.item, self.index = place, reason, item, index
        self.field = field

    def marked(self) -> str:
        return f"{self.place}{known_as(self.item)}: {self.reason}"

    def at(self, place: str) -> InstanceError:
        """The same of an instance that its sender knows by another place."""
        return InstanceError(place, self.reason, self.item, self.index, self.field)

    def below(self, place: str) -> RequestError:
        """The same with a path to what is wrong, where its sender reads paths: `inputs[3].target[2] is ...`."""
        if self.field is None or not self.reason.startswith(self.field):
            return self.at(place)
        return RequestError(f"{place}.{self.reason}{known_as(self.item)}")


class AskedError(RequestError):
    """A key of a request's configuration is wrong. inside: where in its value; reason: the sentence without both."""

    def __init__(self, key: str, reason: str, inside: str = "") -> None:
        super().__init__(key, reason, inside)
        self.key, self.reason, self.inside = key, reason, inside

    def marked(self) -> str:
        return f"configuration.{self.key}{self.inside} {self.reason}"

    def called(self, name: str) -> RequestError:
        """The same of a key that its sender knows by another name."""
        return RequestError(f"{name}{self.inside} {self.reason}")


class LineError(RequestError):
    """A text that should be JSON is none; reason: the sentence without its subject, which is the place."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place, self.reason = place, reason

    def marked(self) -> str:
        return f"{self.place} {self.reason}"


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


class Conflict(RequestError):
    status = 409


class TooLarge(RequestError):
    status = 413


class TargetTooLong(RequestError):
    status = 414


class UnsupportedMediaType(RequestError):
    """`accept_encoding` is set where a content coding is at fault (RFC 9110 section 15.5.16)."""

    status = 415

    def __init__(self, message: str, accept_encoding: str = "") -> None:
        super().__init__(message)
        self.accept_encoding = accept_encoding


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


class NoRoom(ShellError):
    """AWS, "Custom Containers Contract for Multi-Model Endpoints": SageMaker then unloads another model."""

    status = 507


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
