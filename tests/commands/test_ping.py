"""`ping`: what a HEALTHCHECK learns, with a real server, without one, and in a container that trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy import Service, Toy, ask, serving

import gluonts_shell
from gluonts_shell.commands import ping
from gluonts_shell.settings import Settings


def settings(port: int) -> Settings:
    return Settings(port=port)


@pytest.fixture
def first(tmp_path: Path):
    """Writes the command line of a container's first process."""

    def write(*words: str) -> Path:
        path = tmp_path / "cmdline"
        path.write_bytes(b"".join(word.encode() + b"\0" for word in words))
        return path

    return write


def test_a_server_that_is_well(first) -> None:
    with serving(Toy()) as port:
        assert ping.run(settings(port), first("python", "-m", "gluonts_shell", "serve")) == 0


def test_no_server(first) -> None:
    with pytest.raises(
        ping.Unwell, match=r"/ping on port 1 of 127\.0\.0\.1 did not answer: .*refused"
    ):
        ping.run(settings(1), first("python", "-m", "gluonts_shell", "serve"))


def test_a_server_whose_only_worker_hangs_and_is_slow_to_come_back(first) -> None:
    with Service(workers=1, overdue_seconds=0.3, slow_restart=30) as service:
        assert ask(service.port, "/invocations", {"stuck": 60})[0] == 500
        with pytest.raises(ping.Unwell, match="answered 503, expected 200"):
            ping.run(settings(service.port), first("serve"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("python", "-m", "gluonts_shell", "train"), True),
        (("/sbin/docker-init", "--", "python", "-m", "gluonts_shell", "train"), True),
        (("sh", "-c", "gluonts-shell train --data-path /training"), True),
        (("python", "-m", "gluonts_shell", "serve"), False),
        (("gluonts-shell", "serve", "--data-path", "/opt/train"), False),
        (("/sbin/init",), False),
        ((), False),
    ],
)
def test_whether_the_container_trains(words, expected, first) -> None:
    assert ping.trains(first(*words)) is expected


def test_where_there_is_no_proc_it_does_not_train(tmp_path: Path) -> None:
    assert not ping.trains(tmp_path / "nothing")


def test_the_command_asks_no_proxy_and_the_port_of_the_settings() -> None:
    root = str(Path(gluonts_shell.__file__).parents[1])
    proxies = {
        "http_proxy": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "no_proxy": "",
    }
    command = [sys.executable, "-m", "gluonts_shell", "ping"]
    with serving(Toy()) as port:
        environ = {**os.environ, "PYTHONPATH": root, **proxies, "SAGEMAKER_SERVER_PORT": str(port)}
        assert subprocess.run(command, env=environ, timeout=60).returncode == 0
    done = subprocess.run(command, env=environ, timeout=60, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"gluonts-shell: /ping on port {port} of 127.0.0.1 did not answer"
    )
