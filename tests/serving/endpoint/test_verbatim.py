"""The text of a JSON value is copied exactly as it stands."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.serving.endpoint import verbatim

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


def field(document: str, name: str) -> str:
    return verbatim.value(document, verbatim.members(document)[name])


@pytest.mark.parametrize(
    "text",
    [
        "1.0",
        "1e3",
        "1E+05",
        "-0",
        "12345678901234567890",
        '"\\u00e9\\n\\"x"',
        '"é\u2028"',
        '"\\ud800"',
        "null",
        "true",
        '{"a" : [1,  2.50], "b":{}}',
        "[]",
        '"NaN"',
        '"a \\" NaN"',
    ],
)
def test_a_value_keeps_its_spelling(text: str) -> None:
    assert field('{"before": [{"x": 0}], "x" :  ' + text + ' , "after": "x"}', "x") == text


def test_bare_words_become_strings_because_json_has_no_such_numbers() -> None:
    assert field('{"x": [NaN, -Infinity, Infinity, "NaN -Infinity"]}', "x") == (
        '["NaN", "-Infinity", "Infinity", "NaN -Infinity"]'
    )


def test_line_ends_inside_a_value_become_spaces() -> None:
    assert field('{"x": [1,\r\n 2]}', "x") == "[1,   2]"


def test_the_last_of_equal_names_wins() -> None:
    assert field('{"x": 1, "\\u0078": 2}', "x") == "2"


@pytest.mark.parametrize("document", ["", "[1]", "3", '"x"', "{}", " { } "])
def test_what_is_no_object_has_no_members(document: str) -> None:
    assert verbatim.members(document) == {}


@given(
    st.dictionaries(st.text(max_size=6), JSON_VALUES, max_size=5),
    st.sampled_from([None, 0, 3]),
    st.booleans(),
)
def test_every_member_of_any_object_reads_back_equal(
    value: dict, indent: int | None, ascii_only: bool
) -> None:
    document = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    places = verbatim.members(document)
    assert {name: json.loads(verbatim.value(document, at)) for name, at in places.items()} == value


@given(st.lists(JSON_VALUES, max_size=5), st.sampled_from([None, 2]))
def test_every_element_of_any_array_is_found(values: list, indent: int | None) -> None:
    document = json.dumps(values, indent=indent)
    assert [
        json.loads(verbatim.value(document, at)) for at in verbatim.elements(document, 0)
    ] == values
