"""A job of the built-in DeepAR algorithm as SageMaker lays it down, and the commands of the container on it.

The files have every key that the real ones have; only the numbers in the hyperparameters are small.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MONTHLY = ROOT / "gluonts_shell" / "data" / "monthly"
# The built-in algorithm adds these by itself, and a tuning job the last one.
HIDDEN = {
    "_kvstore": "auto",
    "_num_gpus": "auto",
    "_num_kv_servers": "auto",
    "_tuning_objective_metric": "test:RMSE",
}
RESOURCES = {
    "current_host": "algo-1",
    "current_instance_type": "ml.c5.xlarge",
    "current_group_name": "homogeneousCluster",
    "hosts": ["algo-1"],
    "instance_groups": [
        {
            "instance_group_name": "homogeneousCluster",
            "instance_type": "ml.c5.xlarge",
            "hosts": ["algo-1"],
        }
    ],
    "network_interface_name": "eth0",
    "topology": None,
}
INPUT = {
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


def series(channel: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (channel / "data.json").read_text().splitlines()]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def lay_down(
    tree: Path, hyperparameters: Mapping[str, str], channels: Mapping[str, Mapping[str, Any]]
) -> Path:
    """The /opt/ml of a training job. channels: name -> file below the channel's folder -> its text or bytes.

    The key ContentType of a channel is no file: it is what the job declares.
    """
    config, declared = tree / "input" / "config", {}
    config.mkdir(parents=True)
    for name, files in channels.items():
        declared[name] = INPUT | {key: text for key, text in files.items() if key == "ContentType"}
        for path, content in files.items():
            if path != "ContentType":
                file = tree / "input" / "data" / name / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.encode() if isinstance(content, str) else content)
    (config / "hyperparameters.json").write_text(json.dumps({**hyperparameters, **HIDDEN}))
    (config / "inputdataconfig.json").write_text(json.dumps(declared))
    (config / "resourceconfig.json").write_text(json.dumps(RESOURCES))
    return tree


def environment(**variables: str) -> dict[str, str]:
    """One native thread each: the tests of other modules run at the same time."""
    foreign = re.compile("SAGEMAKER|GLUONTS|MODEL_|TRAINING_|MAX_|INFERENCE|DEEPAR")
    kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}


def train(tree: Path, **variables: str) -> str:
    """Run the job as the container's entry point does; returns its log, and fails if the job does."""
    variables = {
        "TRAINING_JOB_NAME": "deepar-2024-05-10",
        "SAGEMAKER_DATA_PATH": str(tree),
        **variables,
    }
    command = [sys.executable, "-m", "gluonts_shell", "train"]
    job = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=500
    )
    assert job.returncode == 0, job.stdout + job.stderr
    assert not (tree / "output" / "failure").exists()
    return job.stdout


def found(pattern: str, log: str) -> list[float]:
    """What CloudWatch makes of a metric definition: the first group of each match, as a number."""
    return [float(match[1]) for match in re.finditer(pattern, log)]


def scores_of(tree: Path) -> dict[str, float]:
    scores: dict[str, float] = json.loads(
        (tree / "output" / "data" / "agg_metrics.json").read_text()
    )
    return scores


class Endpoint:
    """A `serve` process on a free port of this machine."""

    def __init__(self, port: int, log: Path) -> None:
        self.port, self.log = port, log

    def post(self, body: bytes | str, **headers: str) -> tuple[int, bytes]:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        ) as connection:
            connection.request(
                "POST", "/invocations", body, {n.replace("_", "-"): v for n, v in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()

    def ask(self, request: Any, **headers: str) -> Any:
        """The answer to a JSON request, which must be a good one."""
        status, answer = self.post(
            json.dumps(request), **{"Content_Type": "application/json", **headers}
        )
        assert status == 200, answer
        return json.loads(answer)

    def refused(self, request: Any) -> str:
        status, answer = self.post(json.dumps(request), Content_Type="application/json")
        assert status == 400, answer
        return str(json.loads(answer)["error"])


@contextlib.contextmanager
def served(tree: Path, **variables: str) -> Iterator[Endpoint]:
    log = tree / f"serve-{time.monotonic_ns()}.log"
    variables = {
        "SAGEMAKER_DATA_PATH": str(tree),
        "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": "0",
        "MODEL_SERVER_WORKERS": "1",
        **variables,
    }
    with log.open("wb") as output:
        command = [sys.executable, "-m", "gluonts_shell", "serve"]
        process = subprocess.Popen(
            command, env=environment(**variables), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + 120
        while (found := re.search(r" on port (\d+): ", log.read_text())) is None:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield Endpoint(int(found[1]), log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
