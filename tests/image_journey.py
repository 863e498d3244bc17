"""Runs inside the image: train on the monthly data with a code channel, serve the model, ask once, stop.

    python image_journey.py DATA_PATH

The forecaster comes from the channel, which holds a module and, as the air gap wants it, a wheel beside requirements.
Standard library only; it stops what it starts, and its exit status says whether all of it worked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path

COMMAND = [sys.executable, "-m", "gluonts_shell"]
HORIZON = 12
MODULE = """\
from gluonts.core.component import validated
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from scaling import FACTOR

class Scaled(SeasonalNaivePredictor):
    @validated()
    def __init__(self, prediction_length: int, season_length: int):
        super().__init__(prediction_length=prediction_length, season_length=season_length)

    def predict_item(self, item):
        forecast = super().predict_item(item)
        forecast.samples = forecast.samples * FACTOR
        return forecast
"""


def make_tree(base: Path, wheel: Path) -> None:
    data = resources.files("gluonts_shell") / "data" / "monthly"
    for channel in ("train", "test"):
        folder = base / "input" / "data" / channel
        folder.mkdir(parents=True)
        (folder / "data.json").write_bytes((data / channel / "data.json").read_bytes())
    code = base / "input" / "data" / "code"
    (code / "wheels").mkdir(parents=True)
    shutil.copy(wheel, code / "wheels")
    (code / "requirements.txt").write_text("scaling>=1\n")
    (code / "mymodel.py").write_text(MODULE)
    config = base / "input" / "config"
    config.mkdir(parents=True)
    job = {
        "forecaster_name": "mymodel.Scaled",
        "freq": "M",
        "prediction_length": str(HORIZON),
        "season_length": "12",
    }
    (config / "hyperparameters.json").write_text(json.dumps(job))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.read()


def serve_and_ask(base: Path) -> None:
    line = (base / "input" / "data" / "train" / "data.json").read_text().splitlines()[0]
    series = json.loads(line)
    port = free_port()
    server = subprocess.Popen(
        [*COMMAND, "serve"], env={**os.environ, "SAGEMAKER_BIND_TO_PORT": str(port)}
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None, f"the server ended with {server.returncode}"
            try:
                status, _ = ask(port, "/ping")
                break
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < deadline, "the server did not answer /ping"
                time.sleep(0.2)
        assert status == 200
        instance = {"start": series["start"], "target": series["target"]}
        request = {
            "instances": [instance],
            "configuration": {"num_samples": 3, "output_types": ["mean"]},
        }
        status, answer = ask(port, "/invocations", json.dumps(request).encode())
    finally:
        server.send_signal(signal.SIGTERM)
        stopped = server.wait(60)
    mean = json.loads(answer)["predictions"][0]["mean"]
    expected = [2 * value for value in series["target"][-HORIZON:]]
    assert mean == expected, f"{mean} is not the last year times the wheel's factor"
    assert stopped == 0, f"the server ended with {stopped}"


def main(base: Path, wheel: Path) -> None:
    make_tree(base, wheel)
    os.environ["SAGEMAKER_DATA_PATH"] = str(base)
    subprocess.run([*COMMAND, "train"], check=True)
    installed = json.loads((base / "model" / "code-installed.json").read_text())["installed"]
    assert [one["name"] for one in installed] == ["scaling"], installed
    shutil.rmtree(base / "code")
    serve_and_ask(base)
    print(f"trained and served as uid {os.getuid()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
