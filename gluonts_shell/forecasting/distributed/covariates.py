"""Covariates by name, which each host has learnt from its own first series: what all hosts make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gluonts_shell.errors import DataError
from gluonts_shell.forecasting.data.naming.order import Names

# attribute of Features -> the field of the series that has a row of categories for each name
ROWS = {"dynamic_cat": "feat_dynamic_cat", "past_dynamic_cat": "past_feat_dynamic_cat"}


def said(found: Mapping[str, Any]) -> Names:
    """What `dataclasses.asdict` made of names, once JSON has had it."""
    groups = {wanted: tuple(names) for wanted, names in found["groups"].items()}
    return Names(**{**found, "groups": groups})


def merged(shares: Sequence[Names], channel: str) -> Names:
    """Categories have the numbers of the first host, and those that it has not seen the next ones.

    Raises DataError where the hosts have other names, or another order of them.
    """
    first = shares[0]
    labels: dict[str, dict[str, int]] = {}
    for share in shares:
        if _groups(share) != _groups(first):
            raise DataError(
                f"channel {channel!r}: the covariates by name are {_shown(first)} on one host and {_shown(share)} "
                "on another; expected the same names in the same order in the first series of each file"
            )
        for name, known in share.labels.items():
            numbers = labels.setdefault(name, {})
            for text in known:  # in the order of their numbers
                numbers.setdefault(text, len(numbers))
    return Names(first.groups, labels, first.learns, first.numbers, first.teacher)


def renumber(entry: dict[str, Any], own: Names, of_all: Names) -> None:
    """The categories of a series, in place."""
    for wanted, field in ROWS.items():
        if field not in entry:
            continue
        for row, name in enumerate(own.groups.get(wanted, ())):
            numbers = np.array([of_all.labels[name][text] for text in own.labels[name]])
            entry[field][row] = numbers[entry[field][row].astype(int)]


def peaks(names: Names, found: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The largest category of each row: of those by name, the last that there is."""
    settled = dict(found)
    for wanted, field in ROWS.items():
        known = names.groups.get(wanted, ())
        if known and field in settled:
            settled[field] = [len(names.labels[name]) - 1 for name in known]
    return settled


def _groups(names: Names) -> dict[str, tuple[str, ...]]:
    return {wanted: found for wanted, found in names.groups.items() if found}


def _shown(names: Names) -> str:
    return ", ".join(map(repr, names.known)) or "none"
