"""Bytes to messages and back: what clients send is read, and every answer is valid JSON, with or without orjson."""

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import NotAcceptable, UnsupportedMediaType
from gluonts_shell.messages import Prediction
from gluonts_shell.serving.endpoint import codec

try:
    import orjson
except ImportError:
    orjson = None

ENCODERS = [None] if orjson is None else [None, orjson]


@pytest.fixture(params=ENCODERS, ids=lambda module: "orjson" if module else "json")
def encoder(request, monkeypatch):
    monkeypatch.setattr(codec, "orjson", request.param)


def strictly(body: bytes):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(body.decode("ascii"), parse_constant=refuse)


def float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def test_the_last_of_two_equal_names_counts(encoder):
    assert codec.decode(b'{"a": 1, "a": 2}') == {"a": 2}


def test_what_clients_send_beside_json_is_read(encoder):
    target = codec.decode(b'{"target": [1, NaN, null, 1e999, "\xc3\xa9"], "item_id": "\\ud800"}')
    assert math.isnan(target["target"][1])
    assert target["target"][2:] == [None, math.inf, "é"]
    assert target["item_id"] == "\ud800"
    assert codec.decode(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (None, codec.JSON),
        ("", codec.JSON),
        ("application/json", codec.JSON),
        ("Application/JSON; charset=utf-8", codec.JSON),
        ("application/jsonlines", codec.JSON_LINES),
        ("application/x-ndjson ; x=y", codec.JSON_LINES),
    ],
)
def test_content_types_that_are_taken(header, kind):
    assert codec.request_type(header) == kind


@pytest.mark.parametrize(
    "header", ["text/csv", "application/octet-stream", "application/x-www-form-urlencoded", "x"]
)
def test_other_content_types_are_refused_with_the_header_to_send(header):
    with pytest.raises(UnsupportedMediaType) as caught:
        codec.request_type(header)
    assert str(caught.value) == (
        f"Content-Type {header!r} is not supported: send 'Content-Type: application/json' with a body of "
        '{"instances": [...], "configuration": {...}}, or \'application/jsonlines\' with one instance a line'
    )


@pytest.mark.parametrize(
    ("accept", "request_kind", "kind"),
    [
        (None, codec.JSON, codec.JSON),
        (None, codec.JSON_LINES, codec.JSON_LINES),
        ("", codec.JSON_LINES, codec.JSON_LINES),
        ("*/*", codec.JSON, codec.JSON),
        ("*/*", codec.JSON_LINES, codec.JSON_LINES),
        ("application/*", codec.JSON, codec.JSON),
        ("application/json", codec.JSON_LINES, codec.JSON),
        ("application/jsonlines", codec.JSON, codec.JSON_LINES),
        ("text/html, application/json;q=0.9, */*;q=0.1", codec.JSON_LINES, codec.JSON),
        ("application/json;q=0.2, application/jsonlines;q=0.8", codec.JSON, codec.JSON_LINES),
        ("application/json;q=0, */*", codec.JSON, codec.JSON_LINES),
        ("application/json;verbose", codec.JSON, codec.JSON),
        ("text/csv, */*;q=0.5", codec.JSON, codec.JSON),
    ],
)
def test_the_format_of_the_answer(accept, request_kind, kind):
    assert codec.answer_type(accept, request_kind) == kind


@pytest.mark.parametrize("accept", ["text/csv", "text/*", "application/json;q=0", "*/*;q=0"])
def test_an_accept_without_either_format_is_not_acceptable(accept):
    with pytest.raises(NotAcceptable, match=r"application/json and application/jsonlines are$"):
        codec.answer_type(accept, codec.JSON)


def test_an_answer_has_what_was_asked_for_in_order(encoder):
    predictions = [
        Prediction(mean=[1.5, 2.0]),
        Prediction(quantiles={"0.50": [0.1], "0.9": [3.0]}, samples=[[1.0], [2.5]]),
        Prediction(),
    ]
    expected = [
        {"mean": [1.5, 2.0]},
        {"quantiles": {"0.50": [0.1], "0.9": [3.0]}, "samples": [[1.0], [2.5]]},
        {},
    ]
    assert strictly(codec.encode(predictions)) == {"predictions": expected}
    assert [
        strictly(line) for line in codec.encode(predictions, codec.JSON_LINES).split(b"\n")
    ] == expected
    assert codec.encode([]) == b'{"predictions":[]}'
    assert codec.encode([], codec.JSON_LINES) == b""


def test_non_finite_numbers_are_strings(encoder):
    row = [1.0, math.nan, math.inf, -math.inf, 1e30, 0.1]
    body = codec.encode([Prediction(mean=row, samples=[row, [1.0]], quantiles={"0.5": row})])
    expected = [1.0, "NaN", "Infinity", "-Infinity", 1e30, 0.1]
    assert strictly(body)["predictions"] == [
        {"mean": expected, "quantiles": {"0.5": expected}, "samples": [expected, [1.0]]}
    ]


def test_sums_that_overflow_or_cancel_do_not_matter(encoder):
    row = [1.7e308, 1.7e308, -1.0]
    assert strictly(codec.encode_prediction(Prediction(mean=row)))["mean"] == pytest.approx(row)


def test_numbers_are_floats_for_whoever_reads_them(encoder):
    whole = [[], [1.0, 2.0, -0.0], [7.0] * 200, [1e8, 1e9], [1e20, 3.0]]
    for row in (*whole, [1.0, 2.5], [1e-7, 1e20, 3.0], [1e20, 1.5]):
        read = strictly(codec.encode_prediction(Prediction(mean=row)))["mean"]
        assert read == row
        assert all(type(number) is float for number in read)


@given(st.lists(st.floats(width=32)))
def test_every_float32_reads_back(row):
    names = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    for module in ENCODERS:
        codec.orjson = module
        try:
            read = strictly(codec.encode_prediction(Prediction(mean=row)))["mean"]
        finally:
            codec.orjson = orjson
        again = [names[number] if isinstance(number, str) else float32(number) for number in read]
        assert [str(number) for number in again] == [str(number) for number in row]


def test_more_fields_beside_a_prediction(encoder):
    more = {"item_id": "\ud800é", "n": math.nan, "deep": {"a": [math.inf, None]}}
    line = codec.encode_prediction(Prediction(mean=[1.0]), more)
    assert strictly(line) == {
        "mean": [1.0],
        "item_id": "\ud800é",
        "n": "NaN",
        "deep": {"a": ["Infinity", None]},
    }


@pytest.mark.parametrize("sentence", ["short", "x" * 10_000, "é\ud800\x00" * 5_000])
def test_an_error_stays_below_what_sagemaker_shows(sentence):
    body = codec.encode_error(sentence)
    assert len(body) < 2048
    assert sentence.startswith(strictly(body)["error"])
    assert sentence == "short" or len(body) > 1300


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
        max_leaves=20,
    )
)
def test_any_json_value_is_read_alike_with_and_without_orjson(value):
    body = json.dumps(value).encode()
    for module in ENCODERS:
        codec.orjson = module
        try:
            assert codec.decode(body) == value
        finally:
            codec.orjson = orjson


def test_several_dimensions_are_lists_of_lists():
    rows = [[1.0, 2.5], [float("nan"), 4.0]]
    answer = json.loads(codec.encode_prediction(Prediction(rows, {"0.5": rows}, [rows, rows])))
    plain = [[1.0, 2.5], ["NaN", 4.0]]
    assert answer == {"mean": plain, "quantiles": {"0.5": plain}, "samples": [plain, plain]}
