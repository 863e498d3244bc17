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
import re
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
# With the torch extra a real training of DeepAR, a minute or so; without it a small forecaster of the demo's own, which
# comes by the code channel as a user's would: of those that GluonTS has without torch none beats seasonal naive on all
# three scores.
DEEPAR = {
    **JOB,
    "forecaster_name": "gluonts.torch.model.deepar.DeepAREstimator",
    "context_length": "36",
    "epochs": "10",
    "learning_rate": "3e-3",
}
OWN = {**JOB, "forecaster_name": "seasonal_growth.SeasonalGrowthPredictor"}
NAIVE = {
    **JOB,
    "forecaster_name": "gluonts.model.seasonal_naive.SeasonalNaivePredictor",
    "season_length": "12",
    "report": "no",
}
SCORES = ("mean_wQuantileLoss", "MASE", "RMSE")
OWN_MODULE = "seasonal_growth.py"
QUANTILES = ("0.1", "0.5", "0.9")
EPOCH = re.compile(r"#quality_metric: host=\S+, epoch=(\d+), train loss <loss>=(\S+)")


def run(folder: Path) -> int:
    """Returns the exit status; raises ConfigurationError where `folder` holds something that is not the demo's."""
    _check_ours(folder)
    job = DEEPAR if importlib.util.find_spec("lightning") else OWN
    name = job["forecaster_name"].rpartition(".")[2]
    origin = ", which the code channel brings," if job is OWN else ""
    log = str(folder / "train.log")
    say(
        f"Training {name}{origin} on 11 monthly series; the tree is in {str(folder)!r}, the log in {log!r}."
    )
    scores = train(folder, job)
    with tempfile.TemporaryDirectory() as other:
        naive = train(Path(other) / "ml", NAIVE)
    say("\n" + score_table(name, scores, naive))
    report = Paths(folder).output_data / "report.html"
    if report.exists():
        say(f"\nThe report, to open in a browser: {str(report)!r}")
    known, whole = (_first_series(folder, channel) for channel in ("train", "test"))
    request = {
        "instances": [{"start": known["start"], "target": known["target"]}],
        "configuration": {
            "num_samples": 100,
            "output_types": ["quantiles"],
            "quantiles": QUANTILES,
        },
    }
    with served(folder) as port:
        quantiles = post(port, request)["predictions"][0]["quantiles"]
    say(
        f"\nForecast of {known['item_id']}, from a request as DeepAR's clients send it, and what came:"
    )
    say(
        forecast_table(
            known["start"], quantiles, whole["target"][len(known["target"]) :], len(known["target"])
        )
    )
    return 0


def score_table(name: str, scores: dict[str, float], naive: dict[str, float]) -> str:
    """A line a score; where the forecaster is worse than seasonal naive, the last column says so."""
    lines = [f"{'score (lower is better)':<24}{name:>25}{'seasonal naive':>16}"]
    for score in SCORES:
        change = 100 * (scores[score] / naive[score] - 1)
        verdict = f"{abs(change):.0f} % {'better' if change < 0 else 'worse'}"
        lines.append(f"{score:<24}{scores[score]:>25.4f}{naive[score]:>16.4f}{verdict:>14}")
    return "\n".join(lines)


def forecast_table(
    start: str, quantiles: dict[str, list[float]], actual: list[float], known: int
) -> str:
    """A line a month, from the one that follows the `known` values since `start`."""
    year, month = int(start[:4]), int(start[5:7]) - 1 + known
    lines = [f"{'month':>7}" + "".join(f"{level:>9}" for level in (*QUANTILES, "actual"))]
    for values in zip(*(quantiles[level] for level in QUANTILES), actual, strict=True):
        date = f"{year + month // 12}-{month % 12 + 1:02}"
        lines.append(date + "".join(f"{value:>9.1f}" for value in values))
        month += 1
    return "\n".join(lines)


def _first_series(folder: Path, channel: str) -> Any:
    with (Paths(folder).data / channel / "data.json").open(encoding="utf-8") as file:
        return json.loads(file.readline())


def _check_ours(folder: Path) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise ConfigurationError(
            f"{str(folder)!r} is not a folder; give another one with --data-path"
        )
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
        status = _run_job(folder, log)
    if status:
        reason = (
            paths.failure.read_text().splitlines()[0]
            if paths.failure.exists()
            else f"exit status {status}"
        )
        raise ModelError(f"the training job failed: {reason}")
    scores: dict[str, float] = json.loads((paths.output_data / "agg_metrics.json").read_text())
    return scores


def _run_job(folder: Path, log: IO[str]) -> int:
    """The exit status; the whole output is in the log, and epochs are shown, because they can take long."""
    job = subprocess.Popen(
        _command("train", folder),
        env=_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert job.stdout is not None
    try:
        for line in job.stdout:
            log.write(line)
            log.flush()
            epoch = EPOCH.search(line)
            if epoch:
                say(f"epoch {int(epoch[1]) + 1:>3}: train loss {float(epoch[2]):.4f}")
        return job.wait()
    finally:
        job.stdout.close()
        if job.poll() is None:  # we are interrupted
            job.terminate()
            job.wait()


def _inputs(hyperparameters: dict[str, str]) -> dict[str, bytes]:
    """Path below /opt/ml -> content."""
    data = resources.files("gluonts_shell") / "data"
    files = {JOB_FILE: json.dumps(hyperparameters, indent=2).encode()}
    for name in ("train", "test"):
        files[f"input/data/{name}/data.json"] = (data / "monthly" / name / "data.json").read_bytes()
    if hyperparameters["forecaster_name"] == OWN["forecaster_name"]:
        files[f"input/data/code/{OWN_MODULE}"] = (data / "code" / OWN_MODULE).read_bytes()
    return files


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
    for name in written.files:
        if name.startswith("input/") and name not in files:  # of a demo with another forecaster
            written.remove(name)
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
    environ = {
        **_environ(),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1",
    }
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
    connection.request(
        "POST", "/invocations", json.dumps(request), {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    body = json.loads(answer.read())
    if answer.status != 200:
        raise ModelError(f"the server answered {answer.status}: {body}")
    return body


def _command(name: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "gluonts_shell", name, "--data-path", str(folder)]


def _environ() -> dict[str, str]:
    """This process's environment without what would make the demo another job."""
    return {
        n: v for n, v in os.environ.items() if n not in ("GLUONTS_FORECASTER", "SAGEMAKER_BATCH")
    }
