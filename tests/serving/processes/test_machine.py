"""How many processors a container has, from readings of the kernel's files."""

from __future__ import annotations

import mmap
from collections.abc import Callable

import pytest

from gluonts_shell.serving.processes import machine
from gluonts_shell.serving.processes.machine import Machine, available, processors, resident_bytes

V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"


def v2(group: str, **texts: str) -> Callable[[str], str]:
    named = {f"/sys/fs/cgroup{folder}/cpu.max": text for folder, text in texts.items()}
    named["/proc/self/cgroup"] = f"0::{group}\n"
    return lambda path: named[path] if path in named else _missing(path)


def _missing(path: str) -> str:
    raise FileNotFoundError(path)


def v1(*, folder: str, quota: str, period: str = "100000\n") -> Callable[[str], str]:
    named = {
        "/proc/self/cgroup": V1,
        f"/sys/fs/cgroup/{folder}/cpu.cfs_quota_us": quota,
        f"/sys/fs/cgroup/{folder}/cpu.cfs_period_us": period,
    }
    return lambda path: named[path] if path in named else _missing(path)


def test_without_control_groups_the_affinity_counts() -> None:
    assert processors(6, _missing) == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("140000 100000\n", 1),
        ("20000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("", 8),
        ("nonsense\n", 8),
        ("100000 0\n", 8),
    ],
)
def test_a_quota_of_version_2(text: str, expected: int) -> None:
    assert processors(8, v2("/", **{"": text})) == expected


def test_the_tightest_group_on_the_way_up_counts() -> None:
    readings = {"": "max 100000", "/pod": "300000 100000", "/pod/job": "500000 100000"}
    assert processors(8, v2("/pod/job", **readings)) == 3


def test_a_container_that_sees_only_its_own_root() -> None:
    assert processors(8, v2("/system.slice/docker-abc.scope", **{"": "200000 100000"})) == 2


@pytest.mark.parametrize(
    "folder", ["cpu", "cpu,cpuacct", "cpu/docker/abc", "cpu,cpuacct/docker/abc"]
)
def test_a_quota_of_version_1_wherever_it_is_mounted(folder: str) -> None:
    assert processors(8, v1(folder=folder, quota="250000\n")) == 3


def test_no_quota_of_version_1_is_minus_1() -> None:
    assert processors(8, v1(folder="cpu", quota="-1\n")) == 8


def test_there_is_always_one() -> None:
    assert processors(0, _missing) == 1
    assert available() >= 1


def test_native_threads_that_the_user_set_stay() -> None:
    environ = {"OMP_NUM_THREADS": "7"}
    Machine(workers=1, threads=2, forks=True).limit_threads(environ)
    assert environ == {
        "OMP_NUM_THREADS": "7",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def test_workers_share_the_processors_out_among_their_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "available", lambda: 6)
    monkeypatch.setattr(machine, "has_accelerator", lambda: False)
    assert Machine.of(None) == Machine(workers=6, threads=1, forks=True)
    assert Machine.of(2) == Machine(workers=2, threads=3, forks=True)
    monkeypatch.setattr(machine, "has_accelerator", lambda: True)
    assert Machine.of(2) == Machine(workers=1, threads=6, forks=False)


def test_the_memory_of_a_process_is_told_in_bytes() -> None:
    before = resident_bytes()
    # of the kernel's, since an allocator may have that much to spare
    with mmap.mmap(-1, 50_000_000) as grown:
        grown.write(bytes(len(grown)))
        assert 40_000_000 < resident_bytes() - before < 200_000_000
