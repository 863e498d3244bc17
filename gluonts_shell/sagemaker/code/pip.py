"""The one place that runs pip. It knows pip's options and how it reports failure, not where code comes from.

pip's `--target` ignores what the image has and would install GluonTS and numpy once more beside
every package that needs them. So pip is asked first what is lacking (`--dry-run --report`, since
pip 22.2), and then installs just that. PIP_* variables and pip's configuration files work as
always, but for those that say whether and where to install.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from gluonts_shell.errors import CodeChannelError, some
from gluonts_shell.sagemaker.code import reasons, requirements, wheels
from gluonts_shell.sagemaker.code.masking import masked
from gluonts_shell.sagemaker.code.requirements import Requirements
from gluonts_shell.sagemaker.code.wheels import Distribution
from gluonts_shell.written import digest

log = logging.getLogger(__name__)

QUIET = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}
# how images are built is no business of the code channel, which has a place of its own
ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_HOME")
HERE = {"PIP_USER": "0", "PIP_DRY_RUN": "0"}
# nothing listens on the discard port: what tries to reach a network offline all the same fails at once
NOWHERE = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# git speaks ssh and its own protocol past any proxy; so it refuses them itself (git's manual, GIT_ALLOW_PROTOCOL)
NO_TRANSPORT = {"GIT_ALLOW_PROTOCOL": "file"}

# git's reasons are looked for by their English words
ENGLISH = {"LC_MESSAGES": "C", "LANGUAGE": "en", "GIT_TERMINAL_PROMPT": "0"}
ASKED, GIVEN = "asked.txt", "given.txt"
FETCHED = "is fetched from an address; put a wheel of it into the code channel instead"
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:,]+ ", re.MULTILINE)  # before each line of pip's log
WARNED = re.compile(r"^\s*(?:WARNING|DEPRECATION): (.+)$", re.MULTILINE)
NO_BUILD_TOOLS = re.compile(
    r"[Bb]ackend-?[Uu]navailable|setuptools is not available|No module named '?setuptools"
)


@dataclass(frozen=True)
class Installed:
    """`sha256` is that of the wheel or source distribution; None where there was no such file, as with git."""

    name: str
    version: str
    sha256: str | None


@dataclass(frozen=True)
class Pin:
    """A requirement for exactly one file, and what to write down of it."""

    requirement: str
    installed: Installed

    def hashed(self) -> str:
        return f"{self.requirement} --hash=sha256:{self.installed.sha256}"


@dataclass(frozen=True)
class Run:
    """What became of a pip command. Both texts are masked: no user name, password or token is in them."""

    status: int
    output: str
    log: str

    @property
    def reason(self) -> str:
        return reasons.why(self.output, self.log)


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
        run = self._build("wheel", "--no-deps", "--wheel-dir", str(folder), str(project))
        if run.status and NO_BUILD_TOOLS.search(run.output) and self._alone:
            raise CodeChannelError(
                f"cannot build {label!r} offline: its build tools are not in this image ({run.reason}); "
                "put a wheel of it into the code channel instead"
            )
        if run.status:
            raise CodeChannelError(f"pip cannot build {label!r} of the code channel: {run.reason}")
        found = Distribution.parse(next(folder.glob("*.whl")), label)
        assert found is not None
        return found

    def install(
        self, explicit: Sequence[Distribution], asked: Requirements, target: Path
    ) -> list[Installed]:
        """Install `explicit` and what the requirements ask for, with all that they need and this image lacks.

        Raises CodeChannelError; offline it names all that is missing.
        """
        self._refuse_addresses(asked)
        pins = {}
        for one in explicit:
            pins[one.name] = Pin(f"{one.name} @ {one.path.as_uri()}", _installed(one))
        if asked.lines or wheels.missing(_needs(explicit), explicit):
            for item in self._lacking(explicit, asked):
                pins.setdefault(wheels.normalized(item["metadata"]["name"]), _reported(item))
        if pins:
            self._install_pinned(list(pins.values()), explicit, asked, target)
        installed = [pin.installed for pin in pins.values()]
        return sorted(installed, key=_by_name)

    def _install_pinned(
        self,
        pins: Sequence[Pin],
        explicit: Sequence[Distribution],
        asked: Requirements,
        target: Path,
    ) -> None:
        """Exactly these, checked against their hashes if there is one for each: pip takes hashes for all or none."""
        hashed = all(pin.installed.sha256 for pin in pins)
        lines = asked.options()
        for pin in pins:
            lines.append(pin.hashed() if hashed else pin.requirement)
        exact = self.work / "exact.txt"
        exact.write_bytes(requirements.written(lines))
        run = self._build(
            "install", "--no-deps", "--target", str(target), "-r", str(exact), asked=asked
        )
        if run.status:
            raise CodeChannelError(self._sentence(run, explicit, asked))

    def _lacking(self, explicit: Sequence[Distribution], asked: Requirements) -> list[Any]:
        """What pip would install, as its report has it. This is where all requirements are resolved together."""
        given, file = self.work / GIVEN, self.work / ASKED
        report = self.work / "report.json"
        given.write_bytes(requirements.written(one.path.as_uri() for one in explicit))
        file.write_bytes(requirements.written(asked.texts()))
        # what is given comes first: pip takes it for `name[extra]` only where it has seen it before
        files = ("-r", str(given), "-r", str(file))
        run = self._build("install", "--dry-run", "--report", str(report), *files, asked=asked)
        if run.status:
            raise CodeChannelError(self._sentence(run, explicit, asked))
        return list(json.loads(report.read_text())["install"])

    def download(
        self, file: Path, output: Path, python_version: str | None, platforms: Sequence[str]
    ) -> None:
        """Fill `output` with what the requirements file needs. Raises CodeChannelError."""
        options = ["--python-version", python_version] if python_version else []
        for platform in platforms:
            options += ["--platform", platform]
        if options:  # pip builds nothing for another Python than its own
            options += ["--implementation", "cp", "--only-binary", ":all:"]
        run = self._call(
            "download", "--dest", str(output), "--prefer-binary", "-r", str(file), *options
        )
        if run.status:
            raise CodeChannelError(f"pip cannot download what {str(file)!r} needs: {run.reason}")

    @property
    def _alone(self) -> bool:
        """Whether pip has nothing but the channel and this image to take from."""
        return bool(self.offline or self.supply)

    def _refuse_addresses(self, asked: Requirements) -> None:
        """Offline: an address leads nowhere, and some are asked past any proxy."""
        if not self.offline:
            return
        for line in asked.lines:
            if line.scheme not in ("", "file", "git+file"):
                raise CodeChannelError(
                    f"cannot install offline: {masked(line.text)!r} ({line.place}) {FETCHED}"
                )

    def _build(self, *arguments: str, asked: Requirements | None = None) -> Run:
        """Run a command that may have to build something.

        Without an index pip's isolated build finds its tools in the channel only; those of this image are next best.
        """
        if self.offline:
            return self._call(*arguments, "--no-build-isolation", asked=asked)
        run = self._call(*arguments, asked=asked)
        if run.status and self.supply and "build dependencies" in run.output:
            log.info("the build tools are not in the code channel; trying those of this image")
            run = self._call(*arguments, "--no-build-isolation", asked=asked)
        return run

    def _call(self, *arguments: str, asked: Requirements | None = None) -> Run:
        """It runs in an empty folder, because `-m` puts that first on the path.

        What pip says comes masked, and with the lines of `asked` named as a person wrote them.
        """
        command = [sys.executable, "-m", "pip", *arguments, *self._options()]
        environ = self._environment()
        own = self.work / "pip.log"
        journal = _writable(Path(environ["PIP_LOG"] or own), own)
        environ["PIP_LOG"] = str(journal)
        before = journal.stat().st_size if journal.exists() else 0
        log.info("running %s", masked(shlex.join(command)))
        folder = self.work / "empty"
        folder.mkdir(exist_ok=True)
        status, output = _called(command, folder, environ)
        details = STAMP.sub("", _tail(journal, before))
        if status and reasons.ELSEWHERE.search(output):
            output += reasons.of_the_child(details)
        run = Run(status, self._readable(output, asked), self._readable(details, asked))
        _tell(run)
        return run

    def _options(self) -> list[str]:
        options = ["--no-index"] if self._alone else []
        if self.supply:
            options += ["--find-links", str(self.supply[0].path.parent)]
        if self.offline:
            options += ["--retries", "0", "--proxy", NOWHERE]
        return options

    def _environment(self) -> dict[str, str]:
        """PIP_LOG, which the pips that build in isolation inherit, is where pip says why a page was not fetched."""
        environ = {
            "PIP_LOG": str(self.work / "pip.log"),
            **QUIET,
            **self.environ,
            **ENGLISH,
            **HERE,
        }
        for name in ELSEWHERE:
            environ.pop(name, None)
        if not self.offline:
            return environ
        for name in list(environ):
            if name.lower().endswith("_proxy"):
                del environ[name]
        return environ | dict.fromkeys(PROXIES, NOWHERE) | NO_TRANSPORT

    def _readable(self, text: str, asked: Requirements | None) -> str:
        if asked is None:
            return masked(text)
        return masked(
            asked.named(text, self.work / ASKED, self.work / GIVEN), asked.secrets(self.environ)
        )

    def _sentence(self, run: Run, explicit: Sequence[Distribution], asked: Requirements) -> str:
        found = reasons.not_found(run.output)
        fetched = reasons.not_downloaded(run.output)
        if self.offline and fetched:
            return f"cannot install offline: {fetched} {FETCHED}"
        if not found:
            return f"pip cannot install the code channel: {asked.blamed(run.reason)}"
        if not self._alone:
            return f"pip cannot install the code channel: {run.reason}"
        wrong = asked.wrong()
        if wrong:
            return f"pip cannot install the code channel: Invalid requirement: {wrong.text!r} ({wrong.place})"
        wanted = [*asked.texts(), *_needs(explicit)]
        missing = dict.fromkeys([*found, *wheels.missing(wanted, [*self.supply, *explicit])])
        verb = "is" if len(missing) == 1 else "are"
        names = ", ".join(missing)
        takes = f"this container takes {wheels.container()}"
        others = wheels.unfitting(missing, self.supply)
        if others:
            takes += f"; {some(list(map(repr, others)), 3)} came"
        return f"cannot install offline: {names} {verb} not in the code channel ({takes})"


def _tell(run: Run) -> None:
    log.log(logging.ERROR if run.status else logging.DEBUG, "pip's output:\n%s", run.output)
    if not run.status:
        for match in WARNED.finditer(run.output):
            log.warning("pip: %s", match[1])
    if run.status:
        for match in reasons.NOT_FETCHED.finditer(run.log):
            log.error("pip: %s", match[0])


def _needs(distributions: Sequence[Distribution]) -> list[str]:
    needs: list[str] = []
    for one in distributions:
        needs += one.requires()
    return needs


def _writable(journal: Path, other: Path) -> Path:
    """pip that cannot write its log says so in hundreds of lines, between which its reason is lost."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.open("ab").close()
    except OSError as error:
        log.warning("PIP_LOG names %s, which cannot be written: %s", journal, error.strerror)
        return other.absolute()
    return journal.absolute()


def _called(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """The exit status and the output. A stop that comes meanwhile ends what it has started too, such as builds."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            output, _ = process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def _tail(path: Path, before: int) -> str:
    """What was written behind `before`; nothing where the file is missing or no longer readable."""
    try:
        with path.open("rb") as file:
            file.seek(before)
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _reported(item: Mapping[str, Any]) -> Pin:
    """A requirement for exactly what pip's report chose."""
    name = item["metadata"]["name"]
    version = item["metadata"]["version"]
    info = item["download_info"]
    installed = Installed(name, version, _reported_hash(info))
    url = info["url"]
    if not item["is_direct"]:
        return Pin(f"{name}=={version}", installed)
    if "vcs_info" in info:
        url = f"{info['vcs_info']['vcs']}+{url}@{info['vcs_info']['commit_id']}"
    return Pin(f"{name} @ {url}", installed)


def _reported_hash(info: Mapping[str, Any]) -> str | None:
    """pip before 23.0 has it as `sha256=...`; of a file that lies here it may have none."""
    if "archive_info" not in info:
        return None
    archive = info["archive_info"]
    old = archive.get("hash", "").removeprefix("sha256=")
    known = archive.get("hashes", {}).get("sha256", old)
    if known:
        return str(known)
    url = urlsplit(info["url"])
    if url.scheme != "file":
        return None
    return digest(Path(unquote(url.path)))


def _by_name(installed: Installed) -> str:
    return installed.name.lower()


def _installed(one: Distribution) -> Installed:
    return Installed(one.name, str(one.version), digest(one.path))
