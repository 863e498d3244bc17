"""The text of a JSON value exactly as it stands in its document: `1.0`, `1e3` and `"\\u00e9"` stay what they are.

It reads only documents that were parsed before, so it checks nothing; it never builds or writes values of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\r\n]*")
_VALUE = json.JSONDecoder()
# a whole string, or one of the three words that Python's reader takes for numbers and JSON does not have
_STRING_OR_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')


def members(document: str, at: int = 0) -> dict[str, int]:
    """Where the value of each member begins, for the object that begins at `at`; the last of equal names wins.

    Empty where no object begins there.
    """
    return dict(_members(document, _skip(document, at)))


def elements(document: str, at: int) -> Iterator[int]:
    """Where each element begins, for the array that begins at `at`."""
    at = _skip(document, at + 1)
    while document[at] != "]":
        yield at
        at = _next(document, _end(document, at))


def value(document: str, at: int) -> str:
    """The text of the value that begins at `at`, on one line and as valid JSON: bare NaN and Infinity, which clients
    send and JSON does not have, become the strings that stand for them everywhere in our output."""
    text = document[at : _end(document, at)].replace("\n", " ").replace("\r", " ")
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _STRING_OR_WORD.sub(
        lambda found: found[0] if found[0][0] == '"' else f'"{found[0]}"', text
    )


def _members(document: str, at: int) -> Iterator[tuple[str, int]]:
    if document[at : at + 1] != "{":
        return
    at = _skip(document, at + 1)
    while document[at] != "}":
        name, at = _VALUE.raw_decode(document, at)
        at = _skip(document, _skip(document, at) + 1)  # past the colon
        yield name, at
        at = _next(document, _end(document, at))


def _next(document: str, at: int) -> int:
    """From behind a value to the next one, or to the closing bracket."""
    at = _skip(document, at)
    return _skip(document, at + 1) if document[at] == "," else at


def _end(document: str, at: int) -> int:
    return _VALUE.raw_decode(document, at)[1]


def _skip(document: str, at: int) -> int:
    found = _SPACE.match(document, at)
    assert found is not None
    return found.end()
