"""Jobs whose standard streams are closed, as some schedulers start processes: they train and serve all the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.image_journey import ask, free_port
from tests.test_code_journey import HORIZON, SERIES, environment, loose_modules, tree

pytestmark = pytest.mark.once

ALL = "<&- >&- 2>&-"


def started(base: Path, closed: str, command: str, **environ: str) -> subprocess.Popen[bytes]:
    line = f'exec "$0" -m gluonts_shell {command} {closed}'
    return subprocess.Popen(
        ["sh", "-c", line, sys.executable], env={**environment(base), **environ}, cwd=base
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_training_with_a_closed_stream(closed: str, tmp_path: Path) -> None:
    tree(tmp_path, "SeasonalNaivePredictor", season_length="12").rmdir()
    assert started(tmp_path, closed, "train").wait(120) == 0
    assert (tmp_path / "model" / "gluonts_shell.json").exists()


def test_training_and_serving_with_a_code_channel_and_no_stream_at_all(tmp_path: Path) -> None:
    forecaster = loose_modules(tree(tmp_path, "mymodel.Mine", factor="2"))
    assert forecaster == "mymodel.Mine"
    assert started(tmp_path, ALL, "train").wait(300) == 0
    port = free_port()
    served = {"SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1"}
    server = started(tmp_path, ALL, "serve", **served)
    try:
        give_up = time.monotonic() + 120
        while started(tmp_path, "", "ping 2>/dev/null", **served).wait(60) != 0:
            assert server.poll() is None
            assert time.monotonic() < give_up
        body = {"instances": [SERIES], "configuration": {"output_types": ["mean"]}}
        status, answer = ask(port, "/invocations", json.dumps(body).encode())
        assert (status, json.loads(answer)) == (200, {"predictions": [{"mean": [48.0] * HORIZON}]})
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
