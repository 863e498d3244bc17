"""Batch transform's policy: one line in, one line out, nothing lost.

It turns a body into output lines, for the server and for the `transform` command alike. It knows the configuration
of the job, errors and forwarded fields; it does not know HTTP, files, processes or what predicts.

Source: AWS, "Use Batch Transform", "Associate Prediction Results with Input Records" (the join needs one output line
for each input line, each valid JSON) and "DeepAR Inference Formats".
"""

from __future__ import annotations

import json
import logging
import reprlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from gluonts_shell.errors import (
    AskedError,
    ConfigurationError,
    InstanceError,
    LineError,
    RequestError,
    ShellError,
    UserError,
    private,
    shown,
)
from gluonts_shell.messages import OUTPUT_TYPES, Call, Configuration, Service
from gluonts_shell.serving.batch.outcomes import Outcome
from gluonts_shell.serving.blame import sentence
from gluonts_shell.serving.endpoint import codec
from gluonts_shell.serving.endpoint.chronos import dialect
from gluonts_shell.serving.endpoint.chronos.dialect import Dialect
from gluonts_shell.serving.endpoint.chronos.parameters import Asked, in_their_words
from gluonts_shell.serving.endpoint.records import EMPTY, Record, records, tell_once

log = logging.getLogger(__name__)

Forecast = Callable[[Call, Callable[[], bool]], list[Outcome]]

SLICE = 256
"""Lines that are predicted and encoded at a time: it bounds the memory that a large body takes."""
RESERVED = frozenset({*OUTPUT_TYPES, "error", "fallback", "debug"})
ANSWERED = ("output_types", "quantiles")
VARIABLE = "INFERENCE_CONFIG (or DEEPAR_INFERENCE_CONFIG)"


def given(text: str | None) -> dict[str, Any]:
    """What the job's configuration says, as it was written. Raises ConfigurationError."""
    if not text or text.isspace():
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{VARIABLE} is not JSON: {error}") from None
    is_object = isinstance(found, dict)
    ConfigurationError.expect(is_object, f"{VARIABLE} is {text!r:.100}", "a JSON object")
    return dict(found)


def configure(service: Service, text: str | None) -> Configuration:
    """The job's configuration; keys that it lacks have their defaults. Raises ConfigurationError naming the key."""
    found = given(text)
    debug = found.pop("DEBUG", False)
    is_flag = isinstance(debug, bool)
    ConfigurationError.expect(is_flag, f"{VARIABLE}: DEBUG is {debug!r:.100}", "true or false")
    try:
        configuration = replace(service.configure(found), debug=debug)
        # a forecaster that the configuration names is built now, or refused
        service.prepare([], configuration)
    except UserError as error:
        raise ConfigurationError(f"{VARIABLE}: {error}") from error
    return configuration


def chronos(service: Service, text: str | None) -> Dialect:
    """For lines in Chronos's dialect: they say what is to be answered, the job's configuration says the rest."""
    rest = {name: value for name, value in given(text).items() if name not in ANSWERED}
    debug = rest.pop("DEBUG", False)

    def configured(asked: Mapping[str, Any]) -> Configuration:
        return replace(service.configure({**rest, **asked}), debug=debug)

    return Dialect(service, configured)


def forwarded(names: Sequence[str]) -> tuple[str, ...]:
    """Fields to copy from input to output, each once. Raises ConfigurationError where one would hide a forecast."""
    for name in names:
        if name in RESERVED:
            taken = ", ".join(sorted(RESERVED))
            raise ConfigurationError(
                f"GLUONTS_FORWARD_FIELDS names {name!r}, which the output has a meaning for; "
                f"rename the field in the input ({taken} are taken)"
            )
    return tuple(dict.fromkeys(names))


@dataclass(slots=True)
class Line:
    """A record, and the call of its one entry; without entries where there is nothing to predict.

    asked: what a line in Chronos's dialect asks for.
    """

    record: Record
    call: Call
    asked: Asked | None = None

    def tell(self, outcome: Outcome) -> None:
        """Put an error about what was asked into the words in which it was asked."""
        if self.asked is not None and isinstance(outcome.error, AskedError):
            outcome.error = in_their_words(outcome.error)


class Batch:
    """Bytes to bytes.

    forecast: predicts one call and never raises for its entries; it may be called from many threads. Its second
    argument tells whether somebody still waits for the answer. chronos: for lines in that dialect.
    forward: fields to copy; suppress_errors: a bad line is a line of output instead of the request's failure.
    whole: predict all lines of a body in one call, because they share a time limit.
    """

    def __init__(
        self,
        prepare: Callable[[Sequence[Any], Configuration], Call],
        forecast: Forecast,
        configuration: Configuration,
        *,
        chronos: Dialect,
        forward: Sequence[str] = (),
        suppress_errors: bool = False,
        whole: bool = False,
    ) -> None:
        self._chronos = chronos
        self._prepare = prepare
        self._forecast = forecast
        self._configuration = configuration
        self._forward = forwarded(forward)
        self._suppress = suppress_errors
        self._whole = whole
        self.tally = Tally()

    def answer(
        self, body: bytes, first_line: int = 1, wanted: Callable[[], bool] = lambda: True
    ) -> bytes:
        """One JSON line for each instance of the body, in order, without a line end after the last.

        first_line: the number of the body's first line, for messages. Raises the first bad line's error, with its
        line and item_id in the sentence, unless errors are suppressed.
        """
        found = [self._checked(record) for record in records(body, first_line)]
        size = max(1, len(found)) if self._whole else SLICE
        answers: list[bytes] = []
        for start in range(0, len(found), size):
            answers += self._predicted(found[start : start + size], wanted)
        return b"\n".join(answers)

    def _checked(self, record: Record) -> Line:
        """Ready to predict; without entries if it cannot be, or is an empty line."""
        if record.configuration:
            tell_once(f"a line has a configuration, which is ignored: a job's is {VARIABLE}")
        try:
            if record.error is not None:
                raise record.error
            if self._forward:
                record.locate()
            if record.empty:
                return Line(record, Call(self._configuration))
            if record.parameters is not None:
                asked = self._chronos.asked(record.parameters)
                call = self._chronos.prepare([record.instance], asked.configuration)
                return Line(record, call, asked)
            return Line(record, self._prepare([record.instance], self._configuration))
        except Exception as error:
            record.error = sentence(error)
            if not self._suppress:
                raise placed(record, record.error) from None
            return Line(record, Call(self._configuration))

    def _predicted(self, found: Sequence[Line], wanted: Callable[[], bool]) -> Iterator[bytes]:
        started = time.perf_counter()
        outcomes = iter(self._outcomes(found, wanted))
        finished = []
        for line in found:
            record = line.record
            outcome = Outcome(error=record.error)
            if record.error is None and not record.empty:
                outcome = next(outcomes)
                line.tell(outcome)
            if outcome.error is not None and not self._suppress:
                raise placed(record, outcome.error)
            finished.append(outcome)
        self.tally.add(finished, time.perf_counter() - started)
        return map(self._answer, found, finished)

    def _outcomes(self, found: Sequence[Line], wanted: Callable[[], bool]) -> list[Outcome]:
        """One for each entry; lines that follow each other with the same configuration are predicted together."""
        calls = [line.call for line in found if line.call.entries]
        outcomes: list[Outcome] = []
        for configuration, same in groupby(calls, key=attrgetter("configuration")):
            entries = [entry for call in same for entry in call.entries]
            outcomes += self._forecast(Call(configuration, entries), wanted)
        return outcomes

    def _answer(self, line: Line, outcome: Outcome) -> bytes:
        record = line.record
        if outcome.error is not None:
            return self._error_line(record, outcome.error)
        if outcome.prediction is None:
            return record.with_fields(EMPTY, self._forward)
        more: dict[str, Any] = {}
        if outcome.fallback is not None:
            more["fallback"] = outcome.fallback
        if self._configuration.debug:
            more["debug"] = {"timing": round(outcome.seconds, 6)}
        if line.asked is None:
            text = codec.encode_prediction(outcome.prediction, more)
            return record.with_fields(text, self._forward)
        (entry,) = line.call.entries
        text = self._chronos.encode(record.instance, entry, outcome.prediction, line.asked, **more)
        return record.with_fields(text, dialect.forwarded(self._forward))

    def _error_line(self, record: Record, error: ShellError) -> bytes:
        # what SageMaker joins is found by its place, so the sentence needs no line number: the same line gives the
        # same output wherever a request or a file began
        line = b'{"error":' + codec.dumps(unplaced(error)) + b"}"
        with suppress(UserError):  # a line that cannot be read has no fields
            record.locate()
        return record.with_fields(line, dict.fromkeys(("item_id", *self._forward)))


def unplaced(error: ShellError) -> str:
    """The sentence without the place in front of it."""
    match error:
        case InstanceError():
            return shown(error.reason)
        case LineError():
            return shown(f"the line {error.reason}")
    return str(error)


def placed(record: Record, error: ShellError) -> ShellError:
    """The same error with the line and the item_id in front of its sentence."""
    match error:
        case InstanceError():
            return record.placed(error)
        case LineError():
            return error  # it knows its line
        case AskedError():
            return placed(record, RequestError(error.marked()))
    text = f"{record.where}{_item(record.instance)}: {error.marked()}"
    return type(error)(text)


def _item(instance: Any) -> str:
    item = instance.get("item_id") if isinstance(instance, dict) else None
    return "" if item is None else private(f" (item_id {reprlib.repr(item)})")


class Tally:
    """Counts lines, and logs a sentence a minute while there are some."""

    INTERVAL = 60.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._lines = self._errors = self._fallbacks = 0
        self._seconds = 0.0

    def add(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        with self._lock:
            self._lines += len(outcomes)
            self._errors += sum(outcome.error is not None for outcome in outcomes)
            self._fallbacks += sum(outcome.fallback is not None for outcome in outcomes)
            self._seconds += seconds
            if time.monotonic() - self._since >= self.INTERVAL:
                self._report()

    def _report(self) -> None:
        log.info(
            "batch: %d lines scored, %.4f seconds a line, %d errors, %d by the fallback",
            self._lines,
            self._seconds / max(1, self._lines),
            self._errors,
            self._fallbacks,
        )
        self._since = time.monotonic()
        self._lines = self._errors = self._fallbacks = 0
        self._seconds = 0.0
