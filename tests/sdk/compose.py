"""Stands in for the `docker` command that the SDK's local mode calls: no daemon, no image, the same trees.

    compose.py ADDRESS PYTHON compose -f FILE up ...

Each service of the compose file runs as a process in a mount namespace of its own, where its volumes lie below /opt/ml
as the file says, and where the other services' names are known. ENTRYPOINT and CMD are the Dockerfile's, the
interpreter is PYTHON, and a published port is one of ADDRESS. Needs PyYAML, and Linux with mount namespaces.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 10  # docker's own time between SIGTERM and SIGKILL


def started_by_the_image() -> dict[str, list[str]]:
    """The Dockerfile's ENTRYPOINT and CMD."""
    text = (ROOT / "Dockerfile").read_text()
    found = re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)
    return {name: json.loads(value) for name, value in found}


def namespace() -> list[str]:
    """The command that runs another with mounts of its own."""
    for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        command = ["unshare", *options]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    raise SystemExit("there are no mount namespaces here")


def bind(source: Path, target: Path) -> None:
    if source.is_file():
        target.touch()
    else:
        source.mkdir(parents=True, exist_ok=True)  # as docker does
        target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--rbind", source, target], check=True)


def enter(service: dict[str, Any]) -> None:
    """In the namespace: mounts what the container would have, and becomes its first process."""
    opt, aside = Path("/opt"), Path(service["aside"])
    bind(aside / "hosts", Path("/etc/hosts"))
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", aside], check=True)
    for entry in opt.iterdir():
        bind(entry, aside / entry.name)
    (aside / "ml").mkdir(exist_ok=True)
    subprocess.run(["mount", "--rbind", aside, opt], check=True)
    volumes = [volume.split(":")[:2] for volume in service["volumes"]]
    for source, target in sorted(volumes, key=lambda volume: volume[1]):
        bind(Path(source), Path(target))
    os.chdir("/")
    command = service["command"]
    os.execvpe(command[0], command, service["environ"])


def environ(service: dict[str, Any], address: str, python: str) -> dict[str, str]:
    """The image's variables, those of the service, and where to listen."""
    found = {
        "PATH": f"{Path(python).parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",
        # where hosts meet: here they all share one network
        "MASTER_PORT": str(20_000 + 10 * int(address.split(".")[1])),
    }
    for published in service.get("ports", ()):
        port = published.split(":")[0]
        found |= {"SAGEMAKER_SERVER_ADDRESS": address, "SAGEMAKER_SERVER_PORT": port}
    return found | dict(line.split("=", 1) for line in service["environment"])


def start(
    service: dict[str, Any], address: str, python: str, aside: str
) -> subprocess.Popen[bytes]:
    built = started_by_the_image()
    arguments = service.get("command") or ([] if "entrypoint" in service else built["CMD"])
    arguments = [arguments] if isinstance(arguments, str) else arguments
    described = {
        "command": [*service.get("entrypoint", built["ENTRYPOINT"]), *arguments],
        "volumes": service["volumes"],
        "environ": environ(service, address, python),
        "aside": aside,
    }
    command = [*namespace(), sys.executable, __file__, json.dumps(described)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)


def run(file: str, address: str, python: str, caller: socket.socket) -> int:
    """Runs all services until one ends or the caller hangs up, and stops the others; the status of the first."""
    services = yaml.safe_load(Path(file).read_text())["services"]
    aside = tempfile.mkdtemp(prefix="opt-")
    first = ipaddress.ip_address(address)
    names = "".join(f"{first + number} {name}\n" for number, name in enumerate(services))
    Path(aside, "hosts").write_text(f"127.0.0.1 localhost\n{names}")
    running = [start(service, address, python, aside) for service in services.values()]
    while all(process.poll() is None for process in running):
        if select.select([caller], [], [], 0.02)[0]:
            break
    status = next((process.returncode for process in running if process.returncode is not None), 0)
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    shutil.rmtree(aside)
    return status if status >= 0 else 128 - status


def up(file: str, address: str, python: str) -> int:
    """The services run in a process that is no child of this one, as docker's are not: the SDK signals children.

    SIGTERM stops all of them, and so does the end of the SDK, so that no check leaves a server behind.
    """
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        if os.fork() == 0:
            ours.close()
            theirs.send(bytes([run(file, address, python, theirs)]))
        os._exit(0)
    os.wait()
    theirs.close()
    sdk = os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: ours.shutdown(socket.SHUT_WR))
    while not select.select([ours], [], [], 0.2)[0]:
        if os.getppid() != sdk:
            ours.shutdown(socket.SHUT_WR)
    return ours.recv(1)[0]


def main() -> int:
    match sys.argv[1:]:
        case [service]:
            enter(json.loads(service))
        case [_, _, "compose", "version"]:
            print("Docker Compose version v2.40.0")
            return 0
        case [address, python, "compose", "-f", file, "up", *_]:
            return up(file, address, python)
    print(f"docker: {sys.argv[3:]} is not a call that is stood in for", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
