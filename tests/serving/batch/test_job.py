"""Batch transform's policy, with a service that forecasts the last value."""

from __future__ import annotations

import gzip
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonts_shell.errors import (
    Cancelled,
    ConfigurationError,
    InstanceError,
    ModelError,
    RequestError,
)
from gluonts_shell.messages import Call, Configuration, Prediction
from gluonts_shell.serving.batch import job
from gluonts_shell.serving.batch.job import Batch
from gluonts_shell.serving.batch.outcomes import Isolated
from gluonts_shell.serving.endpoint.records import tell_once


class LastValue:
    """`poison` in a target makes the model raise; everything that is no list of numbers is refused before."""

    joins = False

    def __init__(self) -> None:
        self.predicted: list[int] = []

    def configure(self, configuration: Mapping[str, Any]) -> Configuration:
        samples = configuration.get("num_samples", 100)
        if not isinstance(samples, int):
            raise RequestError(f"configuration.num_samples is {samples!r}, expected a whole number")
        return Configuration(num_samples=samples, output_types=("mean",))

    def prepare(self, instances: Sequence[Any], configuration: Configuration) -> Call:
        for index, instance in enumerate(instances):
            if not isinstance(instance, dict):
                raise InstanceError(f"instance {index}", "it is no object", index=index)
            item = repr(instance["item_id"]) if "item_id" in instance else None
            if not isinstance(instance.get("target"), list):
                raise InstanceError(f"instance {index}", "target is missing", item, index)
        return Call(configuration, list(instances))

    def predict(self, calls: Sequence[Call], wanted: object = None) -> list[list[Prediction]]:
        self.predicted.append(sum(len(call.entries) for call in calls))
        return [[self._one(entry["target"]) for entry in call.entries] for call in calls]

    def _one(self, target: list[Any]) -> Prediction:
        if "interrupt" in target:
            raise KeyboardInterrupt
        if "poison" in target:
            raise ZeroDivisionError("secret detail")
        return Prediction(mean=[float(target[-1]) if target else math.nan] * 2)


def batch(service: LastValue | None = None, suppress: bool = False, **options: Any) -> Batch:
    service = service or LastValue()
    isolated = Isolated(service.predict, thorough=suppress)
    text = options.pop("text", None)
    configuration = job.configure(service, text)
    return Batch(
        service.prepare,
        lambda call, wanted: isolated.predict([call])[0],
        configuration,
        chronos=job.chronos(service, text),
        suppress_errors=suppress,
        **options,
    )


def line(target: list[Any], **fields: Any) -> bytes:
    return json.dumps({"start": "2024-01-01", "target": target, **fields}).encode()


def means(answer: bytes) -> list[float]:
    return [json.loads(text)["mean"][0] for text in answer.split(b"\n")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n \t\n"])
@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\n\n", b"\r\n  \r\n\n"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf", b"\n", b"\xef\xbb\xbf\r\n"])
def test_one_line_out_for_each_line_in(begin: bytes, between: bytes, end: bytes) -> None:
    body = begin + between.join(line([number]) for number in (1, 2, 3)) + end
    answer = batch().answer(body)
    assert means(answer) == [1.0, 2.0, 3.0]
    assert not answer.endswith(b"\n")


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_nothing_in_nothing_out(body: bytes) -> None:
    assert batch().answer(body) == b""


def test_files_with_byte_order_marks_may_be_strung_together() -> None:
    mark = b"\xef\xbb\xbf"
    answer = batch(forward=["n"]).answer(mark + line([1], n=1) + b"\n" + mark + line([2], n=2))
    assert [json.loads(text)["n"] for text in answer.split(b"\n")] == [1, 2]


def test_a_lone_carriage_return_is_white_space_of_json() -> None:
    assert means(batch().answer(b'{"target":\r[4]}')) == [4.0]


@pytest.mark.parametrize("indent", [None, 2])
def test_instances_in_one_document_are_a_line_each(indent: int | None) -> None:
    body = json.dumps(
        {"instances": [{"target": [1]}, {"target": [2]}], "configuration": {}}, indent=indent
    )
    assert means(batch().answer(body.encode())) == [1.0, 2.0]


def test_a_line_with_instances_counts_as_so_many_lines() -> None:
    body = (
        line([1])
        + b'\n{"instances": [{"target": [2], "n": 2.0}, {"target": [3], "n": 3e0}]}\n'
        + line([4])
    )
    answer = batch(forward=["n"]).answer(body)
    assert means(answer) == [1.0, 2.0, 3.0, 4.0]
    assert [text.rpartition(b":")[2] for text in answer.split(b"\n")] == [
        b"null}",
        b"2.0}",
        b"3e0}",
        b"null}",
    ]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b'{"item_id": "SKU-7"}', "line 3 (item_id 'SKU-7'): target is missing"),
        (b'{"item_id": "a): \'b"}', """line 3 (item_id "a): 'b"): target is missing"""),
        (b"{}", "line 3: target is missing"),
        (b"[1]", "line 3: it is no object"),
        (b'{"target": [1}', "line 3 is not JSON: Expecting ',' delimiter at column 14"),
        (b'{"target": ["\xff"]}', "line 3 is not UTF-8: byte 0xff at offset 13"),
        (b"[" * 100_000, "line 3 is nested too deeply"),
        (b'{"instances": [{}]}', "line 3, instance 0: target is missing"),
    ],
)
def test_a_bad_line_fails_the_request_and_is_named(bad: bytes, sentence: str) -> None:
    service = LastValue()
    with pytest.raises(RequestError) as caught:
        batch(service).answer(line([1]) + b"\n\n" + bad + b"\n" + line([2]))
    assert str(caught.value) == sentence
    assert caught.value.status == 400
    assert sum(service.predicted) == 0, "nothing is predicted for a request that fails anyway"


@pytest.mark.parametrize(
    "body", [b'{"instances": []}', b'{"instances": [], "configuration": {}}\r\n']
)
def test_a_line_without_instances_is_a_line(body: bytes) -> None:
    assert batch().answer(body) == b'{"predictions":[]}'
    assert batch(forward=["item_id"]).answer(body) == b'{"predictions":[],"item_id":null}'
    answer = batch().answer(line([1]) + b"\n" + body + b"\n" + line([2])).split(b"\n")
    assert len(answer) == 3 and answer[1] == b'{"predictions":[]}'


def test_a_configuration_in_a_line_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tell_once.cache_clear()
    body = b'{"instances": [{"target": [1]}, {"target": [2]}], "configuration": {"num_samples": 3}}'
    ours = batch()
    ours.answer(body)
    ours.answer(body)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith(
        "a line has a configuration, which is ignored: a job's is INFERENCE_CONFIG"
    )


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b'{"instances": [{"target": [1]}], "config": {}}', "did you mean 'configuration'?"),
        (
            b'{"instances": [{"target": [1]}], "quantile": []}',
            "put 'quantiles' into 'configuration'",
        ),
    ],
)
def test_a_slip_beside_the_instances_costs_its_line(bad: bytes, sentence: str) -> None:
    with pytest.raises(RequestError, match=r"^line 2: .*" + re.escape(sentence) + "$"):
        batch().answer(line([1]) + b"\n" + bad)
    with pytest.raises(RequestError, match=r"^(?!line 2: line 2)"):
        batch().answer(line([1]) + b"\n" + bad)
    answer = batch(suppress=True).answer(line([1]) + b"\n" + bad).split(b"\n")
    error = json.loads(answer[1])["error"]
    assert len(answer) == 2 and error.endswith(sentence) and not error.startswith("line")


@pytest.mark.parametrize("suppress", [False, True])
def test_a_body_that_is_no_text_is_refused_as_a_whole(suppress: bool) -> None:
    with pytest.raises(RequestError, match=r"^the body is gzip, .* CompressionType=Gzip$"):
        batch(suppress=suppress).answer(gzip.compress(line([1])))


def test_the_line_number_counts_from_where_the_body_began() -> None:
    with pytest.raises(RequestError, match=r"^line 102: target is missing$"):
        batch().answer(line([1]) + b"\n{}", first_line=101)


def test_a_failing_model_is_a_500_that_names_the_line_and_not_the_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = b"\n".join([line([1]), line(["poison"], item_id="a"), line([3])])
    with pytest.raises(
        ModelError, match=r"^line 2 \(item_id 'a'\): the model failed on this series"
    ) as caught:
        batch().answer(body)
    assert caught.value.status == 500
    assert "secret detail" not in str(caught.value)
    identity = str(caught.value).split()[-1].rstrip(")")
    assert any(identity in record.getMessage() and record.exc_info for record in caplog.records)


def test_suppressed_errors_have_a_line_of_their_own() -> None:
    bad = [
        b'{"item_id": "SKU-7", "foo": 1.50}',
        b"garbage",
        b"[3]",
        line(["poison"], item_id=7, foo={"a": []}),
    ]
    body = b"\n".join([line([1], foo="\u00e9"), *bad, line([2])])
    answer = batch(suppress=True, forward=["foo"]).answer(body).split(b"\n")
    assert means(answer[0]) == [1.0] and answer[0].endswith(b',"foo":"\\u00e9"}')
    assert answer[1] == b'{"error":"target is missing","item_id":"SKU-7","foo":1.50}'
    assert json.loads(answer[2]) == {
        "error": "the line is not JSON: Expecting value at column 1",
        "item_id": None,
        "foo": None,
    }
    assert json.loads(answer[3])["error"] == "it is no object"
    assert json.loads(answer[4])["error"].startswith(
        "the model failed on this series: ZeroDivisionError"
    )
    assert answer[4].endswith(b',"item_id":7,"foo":{"a": []}}')
    assert means(answer[5]) == [2.0]
    assert b"Traceback" not in b"".join(answer)


def test_the_same_line_gives_the_same_output_wherever_it_stands() -> None:
    bad = b'{"item_id": "x"}'
    alone = batch(suppress=True).answer(bad)
    assert batch(suppress=True).answer(line([1]) + b"\n" + bad).split(b"\n")[1] == alone


@pytest.mark.parametrize("depth", [900, 1010, 100_000])
def test_deep_nesting_costs_its_line_at_most(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    alone = b'{"target": [1], "deep": ' + deep + b"}"
    body = line([1]) + b"\n" + alone + b'\n{"instances": [' + alone + b"]}\n" + line([2])
    answer = batch(suppress=True, forward=["deep"]).answer(body).split(b"\n")
    assert len(answer) == 4
    for text in answer[1:3]:
        assert text.endswith(b'"deep":' + deep + b"}") or json.loads(text)["error"].endswith(
            "is nested too deeply"
        )


def test_item_id_is_forwarded_once_even_on_an_error_line() -> None:
    answer = batch(suppress=True, forward=["item_id", "item_id"]).answer(
        b'{"item_id": 1.0}\n' + line([1], item_id="a")
    )
    first, second = answer.split(b"\n")
    assert first == b'{"error":"target is missing","item_id":1.0}'
    assert second == b'{"mean":[1.0,1.0],"item_id":"a"}'


@pytest.mark.parametrize("name", ["mean", "quantiles", "samples", "error", "fallback", "debug"])
def test_a_forwarded_field_cannot_hide_a_forecast(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"GLUONTS_FORWARD_FIELDS names '{name}'"):
        batch(forward=["foo", name])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[1]", "expected a JSON object"),
        ('{"num_samples": "x"}', "configuration.num_samples is 'x'"),
        ('{"DEBUG": "yes"}', "DEBUG is 'yes', expected true or false"),
    ],
)
def test_a_broken_configuration_is_named(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        batch(text=text)
    assert str(caught.value).startswith("INFERENCE_CONFIG (or DEEPAR_INFERENCE_CONFIG)")
    assert sentence in str(caught.value)


def test_debug_adds_the_seconds_of_each_line() -> None:
    answer = batch(text='{"DEBUG": true}').answer(line([1]) + b"\n" + line([2]))
    assert all(json.loads(text)["debug"]["timing"] >= 0 for text in answer.split(b"\n"))
    assert b"debug" not in batch(text='{"DEBUG": false}').answer(line([1]))


def test_a_large_body_is_predicted_in_slices() -> None:
    service = LastValue()
    assert means(batch(service).answer(b"\n".join(line([n]) for n in range(1000)))) == [
        float(n) for n in range(1000)
    ]
    assert max(service.predicted) == job.SLICE
    batch(service, whole=True).answer(b"\n".join(line([n]) for n in range(1000)))
    assert service.predicted[-1] == 1000


def test_a_log_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    ours = batch(suppress=True)
    ours.answer(line([1]))
    assert not caplog.records
    monkeypatch.setattr(job.Tally, "INTERVAL", 0.0)
    ours.answer(line([1]) + b"\n{}")
    assert "batch: 3 lines scored" in caplog.text and "1 errors" in caplog.text


BLANK = st.sampled_from([b"", b" ", b"\t", b"\r"])
GOOD = st.integers(-5, 5).map(lambda n: line([n], tag=[n, {"n": float(n)}]))
BAD = st.sampled_from(
    [
        b"x",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'"text"',
        b"{}",
        b'{"item_id": NaN}',
        b"\xff\xfe",
        b'{"tag": 1.0, "tag": 2.50}',
    ]
) | st.just(line(["poison"]))


@settings(max_examples=150, deadline=None)
@given(st.lists(GOOD | BAD | BLANK, max_size=12), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_as_many_lines_out_as_lines_in_whatever_they_are(
    lines: list[bytes], end: bytes, last: bool
) -> None:
    logging.getLogger("gluonts_shell.serving.blame").disabled = True
    body = end.join(lines) + (end if last else b"")
    answer = batch(suppress=True, forward=["tag"]).answer(body)
    real = [text for text in lines if text.strip()]
    out = answer.split(b"\n") if answer else []
    assert len(out) == len(real)
    for text, result in zip(real, map(json.loads, out), strict=True):
        if b'"start"' in text and b"poison" not in text:
            assert result["mean"][0] == json.loads(text)["target"][-1]
            assert result["tag"] == json.loads(text)["tag"]
        else:
            assert set(result) == {"error", "item_id", "tag"}
    logging.getLogger("gluonts_shell.serving.blame").disabled = False


@settings(max_examples=50, deadline=None)
@given(st.lists(GOOD | BAD | BLANK, max_size=8))
def test_a_body_gives_what_its_lines_give_one_by_one(lines: list[bytes]) -> None:
    lines = [text for text in lines if b"poison" not in text]
    ours = batch(suppress=True, forward=["tag"])
    single = [ours.answer(text) for text in lines]
    assert ours.answer(b"\n".join(lines)) == b"\n".join(text for text in single if text)


def test_what_is_no_exception_is_its_lines_error_alone() -> None:
    body = b"\n".join([line([1]), line(["interrupt"]), line([3])])
    first, second, third = map(json.loads, batch(suppress=True).answer(body).split(b"\n"))
    assert (first["mean"], third["mean"]) == ([1.0, 1.0], [3.0, 3.0])
    assert second["error"].startswith("the model failed on this series: KeyboardInterrupt")
    with pytest.raises(
        ModelError, match="line 2: the model failed on this series: KeyboardInterrupt"
    ):
        batch().answer(body)


def test_a_request_that_nobody_waits_for_is_no_error_of_its_lines() -> None:
    class Leaving(LastValue):
        def predict(self, calls: Sequence[Call], wanted: object = None) -> list[list[Prediction]]:
            raise Cancelled("it was stopped after 0 of 2 series")

    with pytest.raises(Cancelled, match="stopped after 0 of 2 series"):
        batch(Leaving(), suppress=True).answer(b"\n".join([line([1]), line([3])]))
