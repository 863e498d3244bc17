"""Whole journeys with a code channel: train in one tree, serve from its model.tar.gz in a fresh one, forecast.

The forecaster is a class from the channel. Real commands, real pip, local wheels, no network.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from gluonts_shell.written import RECORD
from tests.image_journey import ask, free_port
from tests.local_wheels import pack, project, wheel, write

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
DRIVER = Path(__file__).with_name("image_journey.py")
SERIES = {"start": "2020-01", "target": [float(value) for value in range(1, 25)]}
HORIZON = 3

# An estimator and a predictor that forecast the last value times `factor`, in the three ways that people write them.
FORECAST = """
    def predict_item(self, item):
        samples = np.full((1, self.prediction_length), item["target"][-1] * self.factor)
        return SampleForecast(samples, item["start"] + len(item["target"]), item.get("item_id"))
"""
IMPORTS = """
import numpy as np
from gluonts.core.component import validated
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import RepresentablePredictor
"""
VALIDATED = f"""{IMPORTS}
class Mine(RepresentablePredictor):
    @validated()
    def __init__(self, prediction_length: int, factor: float = 1.0):
        super().__init__(prediction_length=prediction_length)
        self.factor = factor
{FORECAST}"""
PLAIN = f"""{IMPORTS}
class Mine(RepresentablePredictor):
    def __init__(self, prediction_length, factor=1.0):
        self.prediction_length, self.lead_time, self.factor = prediction_length, 0, factor

    def __getnewargs_ex__(self):
        return (), dict(prediction_length=self.prediction_length, factor=self.factor)
{FORECAST}"""
ESTIMATOR = f"""{VALIDATED.replace("class Mine", "class Trained")}
class Mine(Estimator):
    @validated()
    def __init__(self, prediction_length: int, factor: float):
        super().__init__()
        self.prediction_length, self.factor = prediction_length, factor

    def train(self, training_data, validation_data=None):
        assert len(list(training_data)) == 1
        return Trained(prediction_length=self.prediction_length, factor=self.factor)
"""


def environment(base: Path) -> dict[str, str]:
    dropped = ("PIP_", "SAGEMAKER_", "GLUONTS_", "TRAINING_JOB")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    ours = {
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHONPATH": str(ROOT),
        "MODEL_SERVER_WORKERS": "1",
    }
    return {**kept, **ours, "PIP_NO_BUILD_ISOLATION": "0", "SAGEMAKER_DATA_PATH": str(base)}


def tree(base: Path, forecaster: str, **parameters: str) -> Path:
    """A training job's tree; returns the folder of its code channel."""
    job = {
        "forecaster_name": forecaster,
        "freq": "M",
        "prediction_length": str(HORIZON),
        **parameters,
    }
    write(base / "input", {"config/hyperparameters.json": json.dumps(job)})
    write(base / "input", {"data/train/data.json": json.dumps(SERIES)})
    code = base / "input" / "data" / "code"
    code.mkdir()
    return code


def train(base: Path, status: int = 0) -> str:
    """The log. The job must end with `status`."""
    command = [sys.executable, "-m", "gluonts_shell", "train"]
    done = subprocess.run(
        command, env=environment(base), cwd=base, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def served(base: Path, model: Path, *requests: dict[str, Any]) -> list[list[float]]:
    """The mean of each forecast, from a server in a tree that has nothing but the model of another."""
    base.mkdir()
    pack(model, base / "model.tar.gz")
    with tarfile.open(base / "model.tar.gz") as tar:
        tar.extractall(base / "model")
    port = free_port()
    environ = {
        **environment(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1",
    }
    command = [sys.executable, "-m", "gluonts_shell", "serve"]
    with (base / "log").open("w") as log:
        server = subprocess.Popen(command, env=environ, cwd=base, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 300
        while True:
            assert server.poll() is None, (base / "log").read_text()
            try:
                ask(port, "/ping")
                break
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < deadline, (base / "log").read_text()
                time.sleep(0.1)
        answers = []
        for configuration in requests or ({},):
            body = {
                "instances": [SERIES],
                "configuration": {"output_types": ["mean"], **configuration},
            }
            status, answer = ask(port, "/invocations", json.dumps(body).encode())
            assert status == 200
            answers.append(json.loads(answer)["predictions"][0]["mean"])
        return answers
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def a_package(code: Path) -> str:
    write(code / "src", {"mypkg/__init__.py": "", "mypkg/models.py": ESTIMATOR})
    return "mypkg.models.Mine"


def loose_modules(code: Path) -> str:
    write(code, {"mymodel.py": PLAIN, "notes.txt": "beside it"})
    return "mymodel.Mine"


def an_archive_in_an_archive(code: Path) -> str:
    pack(write(code.parent / "1", {"__init__.py": VALIDATED}), code.parent / "2" / "mypkg.zip")
    pack(code.parent / "2", code / "sourcedir.tar.gz")
    shutil.rmtree(code.parent / "1")
    shutil.rmtree(code.parent / "2")
    return "mypkg.Mine"


def a_wheel(code: Path) -> str:
    wheel(code, "mypkg", files={"mypkg/__init__.py": VALIDATED}, requires=["gluonts", "numpy"])
    return "mypkg.Mine"


@pytest.mark.parametrize("form", [a_package, loose_modules, an_archive_in_an_archive, a_wheel])
def test_a_class_from_the_channel_is_trained_and_served_elsewhere(
    form: Any, tmp_path: Path
) -> None:
    code = tree(tmp_path / "ml", "", factor="2")
    name = form(code)
    tree_job = tmp_path / "ml" / "input" / "config" / "hyperparameters.json"
    tree_job.write_text(json.dumps({**json.loads(tree_job.read_text()), "forecaster_name": name}))
    train(tmp_path / "ml")
    assert served(tmp_path / "server", tmp_path / "ml" / "model") == [[48.0] * HORIZON]


def test_all_forms_together_and_a_class_that_the_request_names(tmp_path: Path) -> None:
    """The factor is the product of what the seven forms bring; one that is missing fails the import."""
    code = tree(tmp_path / "ml", "mymodel.Mine", factor="1")
    names = (
        "by_setup",
        "by_pyproject",
        "by_archive",
        "by_wheel",
        "by_requirements",
        "by_package",
        "by_module",
    )
    value = [f"VALUE = {prime}\n" for prime in (2, 3, 5, 7, 11, 13, 17)]
    write(project(code / "a", names[0], form="setup.py"), {"by_setup/__init__.py": value[0]})
    write(
        project(code / "b", names[1], form="src", requires=[names[0]]),
        {"src/by_pyproject/__init__.py": value[1]},
    )
    pack(write(code.parent / "x", {"by_archive.py": value[2]}), code / "c.tar.bz2")
    shutil.rmtree(code.parent / "x")
    wheel(code / "wheels", names[3], files={"by_wheel.py": value[3]})
    wheel(code / "wheels", names[4], files={"by_requirements.py": value[4]})
    write(
        code,
        {
            "requirements.txt": "by_requirements\n",
            "by_package/__init__.py": value[5],
            "by_module.py": value[6],
        },
    )
    product = " * ".join(f"{name}.VALUE" for name in names)
    used = VALIDATED.replace("self.factor = factor", f"self.factor = factor * {product}")
    write(code, {"mymodel.py": f"import {', '.join(names)}\n{used}"})
    log = train(tmp_path / "ml")
    assert "starting again with" in log
    named = {"forecaster_name": "mymodel.Mine", "prediction_length": 2, "freq": "M", "factor": 2}
    answers = served(tmp_path / "server", tmp_path / "ml" / "model", {}, named)
    assert answers == [[24.0 * 510510] * HORIZON, [48.0 * 510510] * 2]


def test_a_class_that_cannot_be_saved_says_which_method_to_add(tmp_path: Path) -> None:
    code = tree(tmp_path / "ml", "mymodel.Mine")
    write(code, {"mymodel.py": PLAIN.replace("__getnewargs_ex__", "other")})
    train(tmp_path / "ml", status=1)
    failure = (tmp_path / "ml" / "output" / "failure").read_text().splitlines()[0]
    assert "mymodel.Mine" in failure
    assert "__getnewargs_ex__" in failure


def test_as_the_sagemaker_sdk_v3_starts_it(tmp_path: Path) -> None:
    """ModelTrainer uploads source_dir as `code` and its own scripts as `sm_drivers`, and runs the command in `code`."""
    code = tree(tmp_path / "ml", "mymodel.Mine", factor="2")
    write(code, {"mymodel.py": PLAIN, "train.sh": "python -m gluonts_shell train\n"})
    data = tmp_path / "ml" / "input" / "data"
    write(
        data, {"sm_drivers/sm_train.sh": "#!/bin/bash\nset -e\ncd $SM_SOURCE_DIR\neval $COMMAND\n"}
    )
    write(
        data,
        {
            "sm_drivers/distributed_drivers/basic_script_driver.py": "",
            "sm_drivers/sourcecode.json": "{}",
        },
    )
    channel = {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    config = dict.fromkeys(("train", "code", "sm_drivers"), channel)
    write(tmp_path / "ml" / "input" / "config", {"inputdataconfig.json": json.dumps(config)})
    environ = environment(tmp_path / "ml")
    environ |= {"SM_SOURCE_DIR": str(code), "COMMAND": f"{sys.executable} -m gluonts_shell train"}
    script = data / "sm_drivers" / "sm_train.sh"
    done = subprocess.run(
        ["bash", str(script)], env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    model = tmp_path / "ml" / "model"
    assert sorted(path.name for path in (model / "code").iterdir()) == [
        RECORD,
        "mymodel.py",
        "train.sh",
    ]
    assert (model / "gluonts_shell.json").exists()


def test_the_source_dir_that_local_mode_mounts_is_the_code_channel(tmp_path: Path) -> None:
    """SDK version 2, LocalSession: the folder of an estimator's source_dir lies at /opt/ml/code."""
    code = tree(
        tmp_path / "ml", "mymodel.Mine", factor="2", sagemaker_submit_directory='"/opt/ml/code"'
    )
    code.rmdir()
    mounted = write(tmp_path / "ml" / "code", {"mymodel.py": PLAIN})
    log = train(tmp_path / "ml")
    assert f"the job's source_dir in {mounted} is used as the code channel" in log
    assert [path.name for path in mounted.iterdir()] == ["mymodel.py"]
    kept = tmp_path / "ml" / "model" / "code"
    assert [path.name for path in kept.iterdir() if not path.name.startswith(".")] == ["mymodel.py"]


LOOPBACK = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
assert len(open("/proc/net/route").readlines()) <= 1
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_the_air_gap(tmp_path: Path) -> None:
    """Train, serve and forecast in a network namespace without a route: what runs inside the image runs here as well."""
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], capture_output=True).returncode == 0
        ):
            break
    else:
        pytest.skip("the kernel refuses a network namespace")
    file = wheel(tmp_path, "scaling", files={"scaling.py": "FACTOR = 2\n"})
    environ = {**environment(tmp_path / "ml"), "GLUONTS_SHELL_OFFLINE": "true"}
    del environ["PIP_NO_INDEX"]
    argv = [*command, sys.executable, "-c", LOOPBACK, str(DRIVER), str(tmp_path / "ml"), str(file)]
    done = subprocess.run(
        argv, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "trained and served as uid" in done.stdout
