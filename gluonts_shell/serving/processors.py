"""How many CPUs this container really has, which is rarely how many the host has, and how they are shared out."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

# Read by the OpenMP runtimes and BLAS libraries when numpy or torch is imported, so set before that.
NATIVE_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs by affinity and by the cgroup's quota, whichever is less; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(affinity, int(quota + 0.5)) if quota else affinity)


def _quota(cgroup: Path) -> float:
    """CPU seconds a second, 0 for no limit. Source: the kernel's documents cgroup-v2 (cpu.max) and sched-bwc (v1)."""
    try:
        if (version2 := cgroup / "cpu.max").exists():
            limit, period = version2.read_text().split()[:2]
        else:
            limit, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return max(0.0, int(limit) / int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no cgroup, or "max"
        return 0.0


def limit_native_threads(threads: int, environ: MutableMapping[str, str]) -> None:
    """Workers that each start a thread a CPU are slower together than with one each; what the user set stays."""
    for variable in NATIVE_THREADS:
        environ.setdefault(variable, str(threads))
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads steal the time of the other workers


def has_accelerator() -> bool:
    """Whether a driver is there; asking torch would begin to use it, and then no process may fork."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/neuron0"))
