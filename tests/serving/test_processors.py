"""CPUs by the cgroup's quota, and native threads that the user may set."""

import os

import pytest

from gluonts_shell.serving import processors

AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", AFFINITY),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("x", AFFINITY),
        ("9900000 100000", AFFINITY),
    ],
)
def test_quota_of_cgroup_version_2(tmp_path, limit, expected):
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert processors.available(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", AFFINITY), ("100000", 1)])
def test_quota_of_cgroup_version_1(tmp_path, quota, expected):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert processors.available(tmp_path) == expected


def test_no_cgroup_means_affinity(tmp_path):
    assert processors.available(tmp_path) == AFFINITY


def test_what_the_user_set_stays():
    environ = {"OMP_NUM_THREADS": "7"}
    processors.limit_native_threads(2, environ)
    assert environ == {
        "OMP_NUM_THREADS": "7",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
