"""The one place that runs pip. It knows pip's options and how it reports failure, not where code comes from.

pip's `--target` ignores what the image has and would install GluonTS and numpy once more beside every package that
needs them. So pip is asked first what is lacking (`--dry-run --report`, since pip 22.2), and then installs just that.
PIP_* variables and pip's configuration files work as always.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import requirements, wheels
from gluonts_shell.sagemaker.code.wheels import Distribution

log = logging.getLogger(__name__)

QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}
# nothing listens on the discard port: what tries to reach a network offline all the same fails at once
NOWHERE = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")

NOT_FOUND = re.compile(r"^ERROR: No matching distribution found for (.+)$", re.MULTILINE)
CONFLICT = re.compile(r"^The conflict is caused by:\n((?: +.+\n)+)", re.MULTILINE)
ERROR = re.compile(r"^(?:ERROR|error): (?!ResolutionImpossible|Exception:$|[a-z-]+$)(.+)$", re.MULTILINE)
# a build that failed: pip gives it a code, and what the build itself said is further up, indented
FAILED_BUILD = re.compile(r"^\s*(?:ERROR|error): [a-z]+(?:-[a-z]+)+$", re.MULTILINE)
RAISED = re.compile(
    r"^\s+(?:╰─> )?((?:\w+\.)*(?:\w+(?:Error|Exception|Unavailable)|error): .+)$",
    re.MULTILINE,
)
NO_BUILD_TOOLS = re.compile(r"[Bb]ackend-?[Uu]navailable|setuptools is not available|No module named '?setuptools")


@dataclass(frozen=True)
class Installed:
    """`sha256` is that of the wheel or source distribution; None where there was no such file, as with git."""

    name: str
    version: str
    sha256: str | None


@dataclass(frozen=True)
class Pip:
    """`work` is a scratch folder. With `supply` (the folder that holds these files), or offline, no index is asked."""

    work: Path
    environ: Mapping[str, str]
    offline: bool = False
    supply: Sequence[Distribution] = ()

    def build(self, project: Path, label: str) -> Distribution:
        """Make a wheel of the project in the folder `project`, which is written to. Raises CodeChannelError."""
        folder = self.work / f"built-{project.name}"
        status, output = self._build("wheel", "--no-deps", "--wheel-dir", str(folder), str(project))
        if status and NO_BUILD_TOOLS.search(output) and (self.offline or self.supply):
            raise CodeChannelError(
                f"cannot build {label!r} offline: its build tools are not in this image ({_reason(output)}); "
                "put a wheel of it into the code channel instead"
            )
        if status:
            raise CodeChannelError(f"pip cannot build {label!r} of the code channel: {_reason(output)}")
        found = Distribution.parse(next(folder.glob("*.whl")), label)
        assert found is not None
        return found

    def install(self, explicit: Sequence[Distribution], lines: Sequence[str], target: Path) -> list[Installed]:
        """Install `explicit` and what the requirement `lines` ask for, with all that they need and this image lacks.

        Raises CodeChannelError; offline it names all that is missing.
        """
        pins = {one.name: (f"{one.name} @ {one.path.as_uri()}", _installed(one)) for one in explicit}
        if lines or wheels.missing([need for one in explicit for need in one.requires()], explicit):
            for item in self._lacking(explicit, lines):
                pins.setdefault(wheels.normalized(item["metadata"]["name"]), _reported(item))
        if not pins:
            return []
        hashed = all(installed.sha256 for _, installed in pins.values())
        exact = self.work / "exact.txt"
        exact.write_text(
            "\n".join(
                [*filter(requirements.is_option, lines)]
                + [pin + (f" --hash=sha256:{installed.sha256}" if hashed else "") for pin, installed in pins.values()]
            )
            + "\n"
        )
        status, output = self._build("install", "--no-deps", "--target", str(target), "-r", str(exact))
        if status:
            raise CodeChannelError(self._sentence(output, explicit, lines))
        return sorted((installed for _, installed in pins.values()), key=lambda one: one.name.lower())

    def _lacking(self, explicit: Sequence[Distribution], lines: Sequence[str]) -> list[Any]:
        """What pip would install, as its report has it. This is where all requirements are resolved together."""
        asked, report = self.work / "asked.txt", self.work / "report.json"
        asked.write_text("\n".join([*lines, *(one.path.as_uri() for one in explicit)]) + "\n")
        status, output = self._build("install", "--dry-run", "--report", str(report), "-r", str(asked))
        if status:
            raise CodeChannelError(self._sentence(output, explicit, lines))
        return list(json.loads(report.read_text())["install"])

    def download(self, file: Path, output: Path, python_version: str | None, platforms: Sequence[str]) -> None:
        """Fill `output` with what the requirements file needs. Raises CodeChannelError."""
        options = [option for platform in platforms for option in ("--platform", platform)]
        options += ["--python-version", python_version] if python_version else []
        if options:  # pip builds nothing for another Python than its own
            options += ["--implementation", "cp", "--only-binary", ":all:"]
        status, text = self._call("download", "--dest", str(output), "--prefer-binary", "-r", str(file), *options)
        if status:
            raise CodeChannelError(f"pip cannot download what {str(file)!r} needs: {_reason(text)}")

    def _build(self, *arguments: str) -> tuple[int, str]:
        """Run a command that may have to build something.

        Without an index pip's isolated build finds its tools in the channel only; those of this image are next best.
        """
        if self.offline:
            return self._call(*arguments, "--no-build-isolation")
        status, output = self._call(*arguments)
        if status and self.supply and "build dependencies" in output:
            log.info("the build tools are not in the code channel; trying those of this image")
            status, output = self._call(*arguments, "--no-build-isolation")
        return status, output

    def _call(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output. It runs in an empty folder, because `-m` puts that first on the path."""
        environ = {**QUIET, **self.environ}
        command = [sys.executable, "-m", "pip", *arguments]
        command += ["--no-index"] if self.offline or self.supply else []
        command += ["--find-links", str(self.supply[0].path.parent)] if self.supply else []
        if self.offline:
            command += ["--retries", "0", "--proxy", NOWHERE]
            environ = {name: value for name, value in environ.items() if not name.lower().endswith("_proxy")}
            environ |= dict.fromkeys(PROXIES, NOWHERE)
        log.info("running %s", shlex.join(command))
        folder = self.work / "empty"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        log.log(logging.ERROR if done.returncode else logging.DEBUG, "pip's output:\n%s", done.stdout)
        return done.returncode, done.stdout

    def _sentence(self, output: str, explicit: Sequence[Distribution], lines: Sequence[str]) -> str:
        found = NOT_FOUND.findall(output)
        if not found or not (self.offline or self.supply):
            return f"pip cannot install the code channel: {_reason(output)}"
        wanted = [*lines, *(need for one in explicit for need in one.requires())]
        missing = dict.fromkeys([*found, *wheels.missing(wanted, [*self.supply, *explicit])])
        names = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'}"
        return f"cannot install offline: {names} not in the code channel (this container takes {wheels.container()})"


def _reason(output: str) -> str:
    """pip's last reason: of a failed build the exception that ended it, of a conflict its parties."""
    raised, errors, conflict = RAISED.findall(output), ERROR.findall(output), CONFLICT.search(output)
    if FAILED_BUILD.search(output) and raised:
        return str(raised[-1])
    if conflict and errors:
        return f"{errors[-1]} {'; '.join(line.strip() for line in conflict[1].splitlines())}"
    return str(errors[-1]) if errors else (output.strip().splitlines() or ["it said nothing"])[-1]


def _reported(item: Mapping[str, Any]) -> tuple[str, Installed]:
    """A requirement for exactly what pip's report chose, and what to write down of it."""
    name, version, info = item["metadata"]["name"], item["metadata"]["version"], item["download_info"]
    archive = info.get("archive_info", {})
    sha256 = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=") or None
    url = info["url"]
    if sha256 is None and "archive_info" in info and url.startswith("file:"):
        sha256 = _sha256(Path(unquote(urlsplit(url).path)))
    if not item["is_direct"]:
        return f"{name}=={version}", Installed(name, version, sha256)
    if "vcs_info" in info:
        url = f"{info['vcs_info']['vcs']}+{url}@{info['vcs_info']['commit_id']}"
    return f"{name} @ {url}", Installed(name, version, sha256)


def _installed(one: Distribution) -> Installed:
    return Installed(one.name, str(one.version), _sha256(one.path))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()
