"""What one processor can do without a server: bodies in, answers out, by the code that the server runs.

    python inprocess.py TREE INSTANCES CALLS SECONDS      (with the interpreter that has gluonts_shell)

CALLS requests are predicted together, as the server joins them. It prints requests a second.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

from inputs import request

from gluonts_shell.commands import serve
from gluonts_shell.forecasting.service.service import start_worker
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.serving.endpoint import codec, records
from gluonts_shell.settings import Settings


def run(tree: Path, instances: int, calls: int, seconds: float) -> float:
    service = serve.served(Settings(data_path=str(tree)), Paths(tree).model, None)
    start_worker(1)
    body = request(instances)

    def once() -> None:
        prepared = []
        for _ in range(calls):
            payload = records.request(body)
            configuration = service.configure(payload.configuration)
            prepared.append(service.prepare(payload.instances, configuration))
        for predictions in service.predict(prepared):
            codec.encode(predictions)

    once()
    gc.collect()
    gc.freeze()
    rounds, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        once()
        rounds += 1
    return rounds * calls / (time.perf_counter() - began)


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), *map(int, sys.argv[2:5])))
