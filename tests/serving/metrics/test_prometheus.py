"""The page, as Prometheus' own client reads it."""

from __future__ import annotations

import pytest

from gluonts_shell.serving.metrics import prometheus
from gluonts_shell.serving.metrics.counters import BOUNDS, Counters

parser = pytest.importorskip("prometheus_client.parser")


def test_the_page_is_what_prometheus_reads() -> None:
    counters = Counters(2)
    for slot in (0, 1):
        counters.of(slot).count(200, 0.0012, 2)
    counters.of(1).count(503, 0.5, 0)
    counters.of(1).waits(6)
    families = {
        family.name: family
        for family in parser.text_string_to_metric_families(prometheus.page(counters))
    }
    kinds = {name: family.type for name, family in families.items()}
    assert kinds == {
        "gluonts_shell_requests": "counter",
        "gluonts_shell_joined_requests": "counter",
        "gluonts_shell_request_duration_seconds": "histogram",
        "gluonts_shell_waiting_requests": "gauge",
        "gluonts_shell_memory_bytes": "gauge",
    }
    assert all(family.documentation for family in families.values())
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert values["gluonts_shell_requests_total", "2xx"] == 2
    assert values["gluonts_shell_requests_total", "4xx"] == 0
    assert values["gluonts_shell_requests_total", "5xx"] == 1
    assert values["gluonts_shell_joined_requests_total",] == 2
    assert values["gluonts_shell_waiting_requests",] == 6
    assert values["gluonts_shell_memory_bytes",] > 1_000_000
    took = "gluonts_shell_request_duration_seconds"
    assert [values[f"{took}_bucket", le] for le in ("0.001", "0.0015", "0.5", "+Inf")] == [
        0,
        2,
        3,
        3,
    ]
    assert (values[f"{took}_count",], values[f"{took}_sum",]) == (3, pytest.approx(0.5024))
    buckets = [sample for sample in families[took].samples if sample.name.endswith("_bucket")]
    assert [float(sample.labels["le"]) for sample in buckets[:-1]] == pytest.approx(BOUNDS)
