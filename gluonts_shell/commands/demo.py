"""The whole journey on a small real data set: make an /opt/ml-like tree, train, compare, serve, ask once.

It drives the same commands that SageMaker does, as child processes, and stops what it starts. Its folder has a record
of what it wrote, and only that is replaced: a folder without a record, or one that somebody changed, is refused.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import IO, Any

from gluonts_shell.errors import ConfigurationError, ModelError
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.written import Written

HORIZON = 12
JOB_FILE = "input/config/hyperparameters.json"  # is written first, so that a folder whose record has it is the demo's
JOB = {"freq": "M", "prediction_length": str(HORIZON), "seed": "1", "evaluation": "required"}
# With the torch extra a real training of DeepAR, about 20 seconds; without it a forecaster that needs no training.
DEEPAR = {
    **JOB,
    "forecaster_name": "gluonts.torch.model.deepar.DeepAREstimator",
    "context_length": "36",
    "epochs": "10",
    "learning_rate": "3e-3",
}
NPTS = {**JOB, "forecaster_name": "gluonts.model.npts.NPTSPredictor", "context_length": "24"}
NAIVE = {**JOB, "forecaster_name": "gluonts.model.seasonal_naive.SeasonalNaivePredictor", "season_length": "12"}
SCORES = ("mean_wQuantileLoss", "MASE", "RMSE")


def run(folder: Path) -> int:
    """Returns the exit status; raises ConfigurationError where `folder` holds something that is not the demo's."""
    _check_ours(folder)
    job = DEEPAR if importlib.util.find_spec("lightning") else NPTS
    name = job["forecaster_name"].rpartition(".")[2]
    log = str(folder / "train.log")
    say(f"Training {name} on 11 monthly series; the tree is in {str(folder)!r}, the log in {log!r}.")
    scores = train(folder, job)
    with tempfile.TemporaryDirectory() as other:
        naive = train(Path(other) / "ml", NAIVE)
    say(f"\n{'score (lower is better)':<26}{name:>20}{'seasonal naive':>18}")
    for score in SCORES:
        say(f"{score:<26}{scores[score]:>20.4f}{naive[score]:>18.4f}")
    with served(folder) as port:
        series = json.loads((Paths(folder).data / "train" / "data.json").read_text().splitlines()[0])
        request = {
            "instances": [{"start": series["start"], "target": series["target"]}],
            "configuration": {"num_samples": 100, "output_types": ["quantiles"], "quantiles": ["0.1", "0.5", "0.9"]},
        }
        quantiles = post(port, request)["predictions"][0]["quantiles"]
    say(f"\nForecast of {series['item_id']}, from a request as DeepAR's clients send it:")
    say(f"{'month':>5}{'0.1':>9}{'0.5':>9}{'0.9':>9}")
    for month, values in enumerate(zip(*(quantiles[q] for q in ("0.1", "0.5", "0.9")), strict=True), 1):
        say(f"{month:>5}" + "".join(f"{value:>9.1f}" for value in values))
    return 0


def _check_ours(folder: Path) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise ConfigurationError(f"{str(folder)!r} is not a folder; give another one with --data-path")
    if folder.exists() and any(folder.iterdir()) and JOB_FILE not in Written.read(folder).files:
        raise ConfigurationError(
            f"{str(folder)!r} is not empty, and the demo did not make it; give another folder with --data-path"
        )


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def train(folder: Path, hyperparameters: dict[str, str]) -> dict[str, float]:
    """Make the tree as SageMaker would, run the job, and return its scores.

    The job replaces the model and the scores of an earlier run itself, and keeps what is not its own.
    """
    paths = Paths(folder)
    write(folder, _inputs(hyperparameters))
    with written_log(folder / "train.log") as log:
        status = subprocess.run(
            _command("train", folder), env=_environ(), stdout=log, stderr=log, check=False
        ).returncode
    if status:
        reason = paths.failure.read_text().splitlines()[0] if paths.failure.exists() else f"exit status {status}"
        raise ModelError(f"the training job failed: {reason}")
    scores: dict[str, float] = json.loads((paths.output_data / "agg_metrics.json").read_text())
    return scores


def _inputs(hyperparameters: dict[str, str]) -> dict[str, bytes]:
    """Path below /opt/ml -> content."""
    monthly = resources.files("gluonts_shell") / "data" / "monthly"
    channels = {f"input/data/{name}/data.json": (monthly / name / "data.json") for name in ("train", "test")}
    files = {path: source.read_bytes() for path, source in channels.items()}
    return {JOB_FILE: json.dumps(hyperparameters, indent=2).encode(), **files}


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Replace the demo's own files. Raises ConfigurationError, with nothing written, where one is somebody else's."""
    written = Written.read(folder)
    for path in (folder / name for name in (*files, "train.log", "serve.log")):
        foreign = written.foreign(path)
        if foreign:
            raise ConfigurationError(
                f"{str(foreign)!r} was not written by the demo, or was changed since; "
                "give another folder with --data-path"
            )
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written = written.add(path)


@contextlib.contextmanager
def written_log(path: Path) -> Iterator[IO[str]]:
    """Recorded once it is closed, that is with all of its content, and after an interruption too."""
    try:
        with path.open("w") as log:
            yield log
    finally:
        Written.read(path.parent).add(path)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[int]:
    """A server on this machine only, for as long as the block runs; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environ = {**_environ(), "SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1"}
    with written_log(folder / "serve.log") as log:
        server = subprocess.Popen(_command("serve", folder), env=environ, stdout=log, stderr=log)
        try:
            _wait_for(server, port)
            yield port
        finally:
            server.terminate()
            server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise ModelError("the server did not start; the reason is in serve.log, beside train.log")


def post(port: int, request: dict[str, Any]) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/invocations", json.dumps(request), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    if answer.status != 200:
        raise ModelError(f"the server answered {answer.status}: {body}")
    return body


def _command(name: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "gluonts_shell", name, "--data-path", str(folder)]


def _environ() -> dict[str, str]:
    """This process's environment without what would make the demo another job."""
    return {n: v for n, v in os.environ.items() if n not in ("GLUONTS_FORECASTER", "SAGEMAKER_BATCH")}
