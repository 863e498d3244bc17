"""Takes secrets out of text before anybody reads it: pip and git repeat addresses as they were given to them.

User names as well as passwords, because a token is often given as the user name; every parameter of an address, because
signed ones carry their signature there; and parts of a path that look like a token, as some hosts have them. Rather
too much than too little: what is left says which server it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "****"
USER = re.compile(r"(?<=://)[^\s/@'\"<>]+(?=@)")
# a password with a slash in it: what follows the colon is no port
SLASHED = re.compile(r"(?<=://)[^\s/@:'\"]*:(?!\d+(?:[/\s'\"?#)]|$))[^\s'\"]*(?=@)")
# an address whose scheme was forgotten, as in PIP_INDEX_URL=user:password@host/simple
BARE = re.compile(r"(?<![^\s'\"(,=])[^\s/@:'\"<>]+:[^\s/@'\"]+(?=@\w)")
OPTION = re.compile(r"(?<=--username )\S+|(?<=--password )\S+")  # as pip calls svn
PARAMETERS = re.compile(r"\?[^\s?='\"]+=[^\s'\"#)>]*")
TOKEN = re.compile(r"(?<=/)(?=[A-Za-z]*\d)[A-Za-z0-9]{20,}(?=/)")


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """`secrets` are taken out wherever they stand, whatever they look like."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    for pattern in (SLASHED, USER, BARE, OPTION, TOKEN):
        text = pattern.sub(MASK, text)
    return PARAMETERS.sub(f"?{MASK}", text)
