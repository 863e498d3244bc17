"""Bodies are read in one way for endpoints and batch jobs, and what is wrong with them is said."""

from __future__ import annotations

import gzip
import json
import logging
import pickle
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import RequestError
from gluonts_shell.serving.endpoint import codec, records

try:
    import orjson
except ImportError:
    orjson = None

ENCODERS = [None] if orjson is None else [None, orjson]
GOOD = b'{"target": [1], "item_id": 1.50}'


@pytest.fixture(params=ENCODERS, ids=lambda module: "orjson" if module else "json")
def encoder(request, monkeypatch):
    monkeypatch.setattr(codec, "orjson", request.param)


def refused(body, kind=codec.JSON):
    with pytest.raises(RequestError) as caught:
        records.request(body, kind)
    return str(caught.value)


def test_a_request_is_its_instances_and_its_configuration(encoder):
    payload = records.request(
        b'{"instances": [{"a": 1}, 2], "configuration": {"num_samples": 5}, "x": 0}'
    )
    assert payload == records.Payload([{"a": 1}, 2], {"num_samples": 5})


@pytest.mark.parametrize("body", [b'{"instances":[]}', b'{"instances":[],"configuration":null}'])
def test_the_configuration_is_optional(encoder, body):
    assert records.request(body) == records.Payload([], {})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", 'the request has an empty body, expected {"instances": [...]}'),
        (b" \r\n", 'the request has an empty body, expected {"instances": [...]}'),
        (b'{"instances": [', "the body is not JSON: Expecting value at column 16"),
        (b'{"a":\n"b" c}', "the body is not JSON: Expecting ',' delimiter at line 2 column 5"),
        (b"[1] x", "the body is not JSON: Extra data at column 5"),
        (b'{"a": "\xff"}', "the body is not UTF-8: byte 0xff at offset 7"),
        (
            '{"instances": []}'.encode("utf-16"),
            "the body is UTF-16, expected JSON: write it as UTF-8",
        ),
        (
            '{"instances": []}'.encode("utf-32"),
            "the body is UTF-32, expected JSON: write it as UTF-8",
        ),
        ("[1]".encode("utf-32-be"), "the body is UTF-32, expected JSON: write it as UTF-8"),
        (pickle.dumps([1]), "the body is a pickle, expected JSON: write its rows as JSON Lines"),
        (b"Obj\x01\x04", "the body is avro, expected JSON: write its rows as JSON Lines"),
        (
            b"\xff\xff\xff\xff\x10",
            "the body is an arrow stream, expected JSON: write its rows as JSON Lines",
        ),
        (
            b"\x0a\x23\xd7\xce\x05",
            "the body is RecordIO, as of recordio-protobuf, expected JSON: write its rows as JSON Lines",
        ),
        (
            b"<!DOCTYPE html>",
            "the body is XML or HTML, expected JSON: write its rows as JSON Lines",
        ),
        (zlib.compress(b"[1]"), "the body is zlib, expected JSON: unpack it, or pack it with gzip"),
        (
            b"x.jsonl".ljust(257, b"\0") + b"ustar\x0000",
            "the body is a tar archive, expected JSON: unpack it",
        ),
        (b"[" * 100_000, "the body is nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "the body has a number with too many digits"),
        (b"[1, 2]", 'the request is a list, expected an object {"instances": [...]}'),
        (b"null", 'the request is null, expected an object {"instances": [...]}'),
        (b"{}", "the request has no field 'instances', expected a list of instances"),
        (
            b'{"start": "2020-01-01", "target": []}',
            "the request has no field 'instances', expected a list of instances; put the instance into that list",
        ),
        (
            b'{"instances": {"target": []}}',
            "'instances' is an object, expected a list of instances",
        ),
        (
            b'{"instances": [], "configuration": []}',
            "'configuration' is a list, expected an object",
        ),
        (
            b'{"instances": [], "configuration": 3}',
            "'configuration' is a number, expected an object",
        ),
    ],
)
def test_what_is_wrong_with_a_body_is_said(encoder, body, sentence):
    with pytest.raises(RequestError) as caught:
        records.request(body)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("line", [b"<xml>", b"--", b"%PDF", b"ORC", b"x"])
def test_a_line_that_is_some_other_text_is_refused_by_itself(line):
    found = records.records(line + b'\n{"target": [1]}')
    assert [bool(record.error) for record in found] == [True, False]


def test_json_lines_are_an_instance_each_and_blank_lines_are_none(encoder):
    payload = records.request(b'{"a": 1}\r\n\n  \n{"a": "\xe2\x80\xa8"}', codec.JSON_LINES)
    assert (payload.instances, payload.configuration) == ([{"a": 1}, {"a": "\u2028"}], {})


def test_a_bad_line_is_named_by_its_number(encoder):
    with pytest.raises(RequestError, match=r"^line 3 is not JSON: Expecting value at column 2$"):
        records.request(b"{}\n\n[", codec.JSON_LINES)
    with pytest.raises(
        RequestError, match=r"^the request has an empty body, expected one instance a line$"
    ):
        records.request(b"\n", codec.JSON_LINES)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_request_error(body):
    for kind in (codec.JSON, codec.JSON_LINES):
        try:
            records.request(body, kind)
        except RequestError as error:
            assert str(error)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_an_envelope_is_a_line_of_json_lines(encoder, mark):
    body = (
        mark + b'{"instances": [{"a": 1}, {"a": 2}], "configuration": {"num_samples": 3}}\n{"a": 3}'
    )
    payload = records.request(body, codec.JSON_LINES)
    assert [instance["a"] for instance in payload.instances] == [1, 2, 3]
    assert payload.configuration == {"num_samples": 3}
    first = 2 if mark.endswith(b"\n") else 1
    places = [record.where for record in payload.records]
    assert places == [f"line {first}, instance 0", f"line {first}, instance 1", f"line {first + 1}"]


@pytest.mark.parametrize("name", ["instances", "inputs"])
def test_an_envelope_around_a_single_instance_is_told_as_that(encoder, name):
    line = b'{"%s": {"target": [1]}}' % name.encode()
    sentence = f"'{name}' is an object, expected a list of instances"
    assert refused(line) == sentence
    assert refused(line, codec.JSON_LINES) == f"line 1: {sentence}"
    assert refused(GOOD + b"\n" + line, codec.JSON_LINES) == f"line 2: {sentence}"


def test_a_request_has_one_configuration():
    line = b'{"instances": [{}], "configuration": {"num_samples": %d}}\n'
    assert records.request(line % 1 + line % 1, codec.JSON_LINES).configuration == {
        "num_samples": 1
    }
    assert refused(line % 1 + GOOD + b"\n" + line % 2, codec.JSON_LINES) == (
        "line 3, instance 0: its configuration is not that of line 1, instance 0, expected one for all; "
        "send what is configured differently as another request"
    )


def test_several_values_are_json_lines(encoder):
    sentence = (
        "the body holds several JSON values: send 'Content-Type: application/jsonlines' with one a line, "
        'or all of them in one {"instances": [...]}'
    )
    assert refused(GOOD + b"\n" + GOOD) == sentence
    assert refused(b'{"instances": []} {"instances": []}') == sentence
    assert refused(b'{"instances": []} x') == "the body is not JSON: Extra data at column 19"


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (
            {"config": {}},
            "'config' stands beside 'instances' and is not known; did you mean 'configuration'?",
        ),
        (
            {"output_types": ["mean"]},
            "'output_types' stands beside 'instances', where it has no effect; put 'output_types' into 'configuration'",
        ),
        (
            {"num_samplse": 3},
            "'num_samplse' stands beside 'instances', where it has no effect; put 'num_samples' into 'configuration'",
        ),
        (
            {"prediction_length": 12},
            "'prediction_length' stands beside 'instances', where it has no effect; "
            "put 'prediction_length' into 'configuration'",
        ),
        (
            {"timeFreq": "h"},
            "'timeFreq' stands beside 'instances', where it has no effect; put 'time_freq' into 'configuration'",
        ),
        (
            {"quantile_levels": [0.5]},
            "'quantile_levels' stands beside 'instances', where it has no effect; put 'quantiles' into 'configuration'",
        ),
        (
            {"parameters": {"quantile_levels": [0.5]}},
            "'parameters' stands beside 'instances', which is configured by 'configuration'",
        ),
    ],
)
def test_slips_beside_the_instances_are_refused(encoder, members, sentence):
    body = json.dumps({"instances": [], **members}).encode()
    assert refused(body) == sentence
    assert refused(body, codec.JSON_LINES) == f"line 1: {sentence}"


@pytest.mark.parametrize(
    "body", [b"", b"\n", records.BYTE_ORDER_MARK, records.BYTE_ORDER_MARK + b"\r\n"]
)
def test_lines_that_hold_nothing_are_an_empty_body(body):
    sentence = "the request has an empty body, expected one instance a line"
    assert refused(body, codec.JSON_LINES) == sentence


def test_a_slip_in_the_name_of_the_instances_is_named():
    sentence = (
        "the request has no field 'instances', expected a list of instances; 'instance' is none"
    )
    assert refused(b'{"instance": []}') == sentence
    assert refused(b'{"instance": []}', codec.JSON_LINES) == f"line 1: {sentence}"
    assert "'INSTANCES' is none" in refused(b'{"INSTANCES": []}', codec.JSON_LINES)


def test_names_that_mean_something_else_are_ignored_and_told_once(caplog):
    caplog.set_level(logging.INFO)
    records.tell_once.cache_clear()
    for _ in range(2):
        assert records.request(b'{"instances": [1], "signature_name": "x"}').instances == [1]
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == "a request has 'signature_name' beside 'instances', which is ignored (told once)"


@pytest.mark.parametrize("kind", [codec.JSON, codec.JSON_LINES])
@pytest.mark.parametrize(
    ("body", "what"),
    [
        (
            gzip.compress(GOOD, mtime=0),
            "gzip, expected JSON: send it with 'Content-Encoding: gzip', in a batch transform job with",
        ),
        (b"BZh91AY&SY", "bzip2, expected JSON: unpack it"),
        (b"PK\x03\x04....", "a zip archive, expected JSON: unpack it"),
        (b"PAR1....", "parquet, expected JSON: write its rows as JSON Lines"),
        ('{"instances": []}'.encode("utf-16-le"), "UTF-16, expected JSON: write it as UTF-8"),
        ('{"instances": []}'.encode("utf-16"), "UTF-16, expected JSON: write it as UTF-8"),
    ],
)
def test_foreign_bodies_are_named_by_their_first_bytes(body, what, kind):
    assert refused(body, kind).startswith(f"the body is {what}")


def test_fields_are_copied_as_they_stand():
    for body, kind in ((GOOD, codec.JSON_LINES), (b'{"instances": [' + GOOD + b"]}", codec.JSON)):
        (record,) = records.request(body, kind, places=True).records
        assert (
            record.with_fields(b'{"mean":[1.0]}', ("item_id", "start"))
            == b'{"mean":[1.0],"item_id":1.50,"start":null}'
        )
