"""Memory that a forward pass freed is kept for the next one, unless the environment chooses otherwise."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt"
)

FAULTS = """
import resource, threading
from gluonts_shell.forecasting import memory
memory.keep_freed()

def passes():
    for _ in range(5):
        [bytearray(15 << 20) for _ in range(4)]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=passes)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def faults(**environ: str) -> int:
    environ["PYTHONPATH"] = ":".join(sys.path)
    found = subprocess.run(
        [sys.executable, "-c", FAULTS], env=environ, capture_output=True, check=True
    )
    return int(found.stdout)


def test_memory_is_used_again_by_the_next_thread():
    assert faults() < 1000  # one pass has 15,000 pages


def test_the_environment_wins():
    assert faults(MALLOC_TRIM_THRESHOLD_="1048576", MALLOC_MMAP_THRESHOLD_="1048576") > faults()
