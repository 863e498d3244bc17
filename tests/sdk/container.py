"""What the SDK's local mode takes for containers: processes of another environment's Python.

Nothing here may reach beyond this machine: every connection but those to the loopback addresses is refused.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = sys.argv[1]
LOOPBACK = ("127.", "::1", "localhost")
CONFIG = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}

ROLE = "arn:aws:iam::123456789012:role/forecaster"
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": ["sagemaker.amazonaws.com"]},
    "Action": "sts:AssumeRole",
}
IDENTITY: dict[str, Any] = {  # who asks, and that the role and the bucket are there
    "GetCallerIdentity": {"Arn": ROLE, "Account": "123456789012"},
    "GetRole": {"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": {"Statement": [TRUST]}}},
    "SimulatePrincipalPolicy": {},
    "HeadBucket": {},
    "ListBuckets": {
        "Buckets": [
            {"Name": name, "CreationDate": datetime(2024, 1, 1)}
            for name in ("my-forecasts", "sagemaker-eu-central-1-123456789012")
        ]
    },
}


def stay_on_this_machine() -> None:
    os.environ |= {
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not address[0].startswith(LOOPBACK):
            print(f"the SDK wants to connect to {address}", file=sys.stderr)
            os._exit(1)
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign,assignment]


def without_telemetry(folder: Path) -> None:
    """The SDK reads its configuration from a file in `folder`, and from nowhere else."""
    place = folder / "config.yaml"
    place.write_text(json.dumps(CONFIG))  # JSON is YAML
    for name in ("ADMIN", "USER"):
        os.environ[f"SAGEMAKER_{name}_CONFIG_OVERRIDE"] = str(place)


def answer(call: Callable[[Any, str, dict[str, Any]], Any]) -> None:
    """Calls of AWS's API go to `call(client, operation, parameters)`, apart from those by which the SDK knows itself."""
    import botocore.client

    def answered(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if operation in IDENTITY:
            return IDENTITY[operation]
        return call(client, operation, parameters)

    botocore.client.BaseClient._make_api_call = answered


def refuse(_client: Any, operation: str, parameters: dict[str, Any]) -> Any:
    """Ends the check; an exception would be swallowed by some parts of the SDK."""
    print(f"the SDK calls {operation} with {parameters}", file=sys.stderr)
    os._exit(1)


def stand_in_for_docker(folder: Path) -> None:
    """A `docker` on PATH whose containers are processes here, on a loopback address that it names as its host.

    The address is one whose port 8080 nobody has, because the SDK asks a container at no other.
    """
    address = next(filter(_is_free, (f"127.{random.randrange(1, 250)}.7.1" for _ in range(100))))
    host = json.dumps([{"Endpoints": {"docker": {"Host": f"tcp://{address}:2375"}}}])
    command = f"{sys.executable} {Path(__file__).with_name('compose.py')} {address} {PYTHON}"
    place = folder / "bin" / "docker"
    place.parent.mkdir()
    place.write_text(f"""#!/bin/sh
if [ "$1 $2" = "context inspect" ]; then echo '{host}'; else exec {command} "$@"; fi
""")
    place.chmod(0o755)
    os.environ["PATH"] = f"{place.parent}:{os.environ['PATH']}"


def _is_free(address: str) -> bool:
    try:
        socket.create_server((address, 8080)).close()
    except OSError:
        return False
    return True


def sleep_less() -> None:
    """The SDK sleeps for 5 and 10 seconds where a server is up within one; it gives up after 24 sleeps."""
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 2))


def environment(**variables: str) -> dict[str, str]:
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("SAGEMAKER", "GLUONTS", "PYTHON"))
    }
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", **variables}


def run(*command: str, **variables: str) -> None:
    subprocess.run([PYTHON, *command], env=environment(**variables), check=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Container:
    """`python -m gluonts_shell serve` on a port; has the methods of the SDK's own class that local mode calls."""

    def __init__(self, data_path: Path, port: int) -> None:
        self.data_path, self.port = data_path, port
        self.process: subprocess.Popen[bytes] | None = None

    def serve(self, _model_data_url: str | None, variables: dict[str, str]) -> None:
        places = {
            "SAGEMAKER_DATA_PATH": str(self.data_path),
            "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1",
            "SAGEMAKER_SERVER_PORT": str(self.port),
        }
        command = [PYTHON, "-m", "gluonts_shell", "serve"]
        self.process = subprocess.Popen(
            command, env=environment(**variables, **places), stdout=subprocess.DEVNULL
        )
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and self.process.poll() is None:
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping").status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the server does not start")

    def stop_serving(self) -> None:
        assert self.process
        self.process.terminate()
        assert self.process.wait(60) == 0
