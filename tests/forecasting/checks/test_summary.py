"""The figures of a data set, against values counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gluonts_shell.forecasting.checks.summary import Summary, summarize

NAN = float("nan")


def entry(item_id: str, start: str, target: list[Any], **fields: Any) -> dict[str, Any]:
    arrays = {name: np.array(value) for name, value in fields.items()}
    return {
        "item_id": item_id,
        "start": pd.Period(start, "D"),
        "target": np.array(target, dtype=np.float32),
        **arrays,
    }


ENTRIES = [
    entry("a", "2024-01-05", [1, 2, NAN, 4], feat_static_cat=[0, 1]),
    entry("b", "2024-01-01", [0, 0], feat_static_cat=[1, 1]),
    entry("a", "2024-01-02", [7, 7, 7], feat_static_cat=[0, 1]),
    entry("c", "2024-02-01", [NAN], feat_static_cat=[0, 0], feat_dynamic_real=[[1.0], [2.0]]),
]


def test_series_lengths_dates_and_values_are_counted() -> None:
    found = summarize(ENTRIES, labels=(("x", "y"), None), too_short=3, needed=5)
    assert found == Summary(
        series=4,
        too_short=3,
        needed=5,
        lengths=(1, 2.5, 4),
        start="2024-01-01",
        end="2024-02-01",
        observations=8,
        missing=2,
        with_missing=2,
        empty=1,
        constant=1,
        zeros=1,
        duplicates={"a": 2},
        categories=[{"x": 3, "y": 1}, {"1": 3, "0": 1}],
        features={"feat_dynamic_real": 2},
    )


def test_a_person_reads_sentences() -> None:
    assert list(summarize(ENTRIES, labels=(("x", "y"), None), too_short=3, needed=5).lines()) == [
        "4 series of 1 to 4 values (median 2.5)",
        "3 series are left out: they have fewer than 5 values",
        "from 2024-01-01 to 2024-02-01",
        "2 of 10 values are missing, in 2 series",
        "1 series have no value",
        "1 series have zeros only",
        "1 series have one value only",
        "1 item_ids occur more than once: 'a' (2 times)",
        "cat[0]: 2 categories: x (3), y (1)",
        "cat[1]: 2 categories: 1 (3), 0 (1)",
        "feat_dynamic_real: 2",
    ]


def test_targets_of_several_dimensions_have_the_length_of_each() -> None:
    found = summarize([entry("a", "2024-01-01", [[1, 2, 3], [4, NAN, 6]])])
    assert (found.lengths, found.dimensions, found.missing, found.end) == (
        (3, 3.0, 3),
        2,
        1,
        "2024-01-03",
    )


def test_many_categories_are_not_all_named() -> None:
    entries = [entry(str(i), "2024-01-01", [1], feat_static_cat=[i]) for i in range(30)]
    (line,) = [line for line in summarize(entries).lines() if line.startswith("cat[0]")]
    assert line.startswith("cat[0]: 30 categories: 0 (1), 1 (1)")
    assert line.endswith(", 9 (1), ...")
