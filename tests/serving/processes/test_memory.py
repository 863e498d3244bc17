"""What memory a container has, from readings of the kernel's files."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable

import pytest

from gluonts_shell.serving.processes.memory import Memory, memory, own_bytes

MEMINFO = "MemTotal:       1000000 kB\nMemFree:  1 kB\nMemAvailable:    600000 kB\n"


def files(**texts: str) -> Callable[[str], str]:
    """By the last part of their names; a group's by its path, with __ for each slash."""

    def read(path: str) -> str:
        name = path.removeprefix("/sys/fs/cgroup/").replace("/", "__").replace(".", "_")
        if name in texts:
            return texts[name]
        raise FileNotFoundError(path)

    return read


def test_without_control_groups_it_is_the_machines() -> None:
    found = memory(files(__proc__meminfo=MEMINFO))
    assert found == Memory(1_000_000 * 1024, 400_000 * 1024)


def test_a_system_that_tells_nothing_has_none() -> None:
    assert memory(files()) is None


def test_a_limit_of_version_2_counts_without_what_the_kernel_can_drop() -> None:
    found = memory(
        files(
            __proc__meminfo=MEMINFO,
            __proc__self__cgroup="0::/\n",
            memory_max="1000000\n",
            memory_current="700000\n",
            memory_stat="anon 400000\ninactive_file 200000\nactive_file 1\n",
        )
    )
    assert found == Memory(1_000_000, 500_000) and found.free == 500_000


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n", "nonsense\n", ""])
def test_no_limit_is_the_machines(limit: str) -> None:
    found = memory(
        files(
            __proc__meminfo=MEMINFO,
            __proc__self__cgroup="0::/\n",
            memory_max=limit,
            memory_current="700000\n",
        )
    )
    assert found == Memory(1_000_000 * 1024, 400_000 * 1024)


def test_the_group_that_leaves_the_least_counts_and_version_1_is_read() -> None:
    found = memory(
        files(
            __proc__self__cgroup="4:cpu:/a\n7:memory:/pod/job\n0::/\n",
            memory__pod__job__memory_limit_in_bytes="5000\n",
            memory__pod__job__memory_usage_in_bytes="1000\n",
            memory__pod__memory_limit_in_bytes="4000\n",
            memory__pod__memory_usage_in_bytes="3500\n",
            memory__pod__memory_stat="inactive_file 7\ntotal_inactive_file 500\n",
        )
    )
    assert found == Memory(4000, 3000)


def test_a_limit_that_was_made_less_than_what_is_used_leaves_nothing() -> None:
    assert Memory(10, 20).free == 0


def test_what_a_process_has_of_its_own_does_not_count_what_it_shares() -> None:
    before = own_bytes()
    # not what malloc may still have of an earlier test
    content = mmap.mmap(-1, 30_000_000)
    for offset in range(0, len(content), mmap.PAGESIZE):
        content[offset] = 1
    grown = own_bytes(os.getpid()) - before
    assert 25_000_000 < grown < 60_000_000
    assert len(content) and own_bytes(2**22 + 1) == 0
