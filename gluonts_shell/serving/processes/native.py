"""What numpy and torch do outside Python: the threads that they start, and devices that forbid a fork."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

# Read by the OpenMP runtimes and BLAS libraries when numpy or torch is imported, so set before that.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def limit_threads(threads: int, environ: MutableMapping[str, str]) -> None:
    """Workers that each start a thread a CPU are slower together than with one each; what the user set stays."""
    for variable in VARIABLES:
        environ.setdefault(variable, str(threads))
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads steal the time of the other workers


def has_accelerator() -> bool:
    """Whether a driver is there; asking torch would begin to use it, and then no process may fork."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/neuron0"))
