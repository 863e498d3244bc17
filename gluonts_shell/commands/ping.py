"""Ask the server on this machine whether it is well: the image's HEALTHCHECK.

A container that trains serves nothing; it is well as long as it runs.
"""

from __future__ import annotations

import re
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from gluonts_shell.errors import ShellError
from gluonts_shell.settings import Settings

SECONDS = 4.0
ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - what the server listens on, never what is asked
FIRST_PROCESS = Path("/proc/1/cmdline")


def run(settings: Settings, first_process: Path = FIRST_PROCESS) -> int:
    """Returns 0 if the server answers 200, or if the container's first process trains. Raises Unwell otherwise.

    http.client asks no proxy, whatever the environment names.
    """
    if trains(first_process):
        return 0
    address = "127.0.0.1" if settings.address in ANY_ADDRESS else settings.address
    where = f"/ping on port {settings.port} of {address}"
    connection = HTTPConnection(address, settings.port, timeout=SECONDS)
    try:
        connection.request("GET", "/ping")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Unwell(f"{where} did not answer: {error or type(error).__name__}") from None
    finally:
        connection.close()
    if status != 200:
        raise Unwell(f"{where} answered {status}, expected 200")
    return 0


class Unwell(ShellError):
    """The server does not answer, or says itself that it cannot."""


def trains(first_process: Path) -> bool:
    """Whether process 1, perhaps an init or a shell with the command behind it, was started to train."""
    try:
        text = first_process.read_bytes().decode("utf-8", "replace")
    except OSError:  # no such file system: not in a Linux container
        return False
    words = re.split(r"[\0\s]+", text)
    return "train" in words and "serve" not in words
