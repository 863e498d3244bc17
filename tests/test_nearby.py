"""Slips are found, and names that mean something else are left alone."""

from __future__ import annotations

import pytest

from gluonts_shell import nearby
from gluonts_shell.messages import CONFIGURATION_KEYS

TOP = ("instances", "configuration")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("num_samplse", "num_samples"),
        ("numSamples", "num_samples"),
        ("num-samples", "num_samples"),
        ("samples", "num_samples"),
        ("output_type", "output_types"),
        ("Quantiles", "quantiles"),
        ("quantile", "quantiles"),
        ("quantile_levels", None),
        ("frequency", "freq"),
        ("forecaster", "forecaster_name"),
        ("epochs", None),
        ("context_length", None),
        ("num_parallel_samples", None),
        ("cardinality", None),
        ("learning_rate", None),
        ("", None),
    ],
)
def test_near_misses_of_the_configuration(name: str, meant: str | None) -> None:
    assert nearby.near_miss(name, sorted(CONFIGURATION_KEYS)) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [("config", "configuration"), ("instance", "instances"), ("inst", "instances"), ("id", None)],
)
def test_near_misses_at_the_top(name: str, meant: str | None) -> None:
    assert nearby.near_miss(name, TOP) == meant


def test_the_end_of_a_sentence() -> None:
    assert nearby.did_you_mean("epoch", ["epochs", "lr"]) == "; did you mean 'epochs'?"
    assert nearby.did_you_mean("zzz", ["epochs", "lr"]) == ""
    assert nearby.similar("deepar", ["DeepAREstimator", "TFT"], cutoff=0.3) == ["DeepAREstimator"]
