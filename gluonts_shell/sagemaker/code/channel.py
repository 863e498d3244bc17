"""Installs the code channel and starts this program again with it on the path. Standard library only.

It runs before anything heavy is imported, so that the code may bring its own GluonTS. First iteration: the channel is
installed aside and swapped in, a trial child shows that Python still starts, and the process replaces itself (its pid
stays). Second iteration: the guard in the environment names this pid and is taken out at once, so that no grandchild
inherits it.

What only an installation needs is imported once there is something to install: most servers have no code channel.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.settings import Settings
from gluonts_shell.written import Written

if TYPE_CHECKING:
    from gluonts_shell.sagemaker.code.archives import Budget
    from gluonts_shell.sagemaker.code.contents import Plan
    from gluonts_shell.sagemaker.code.pip import Installed

log = logging.getLogger(__name__)

GUARD = "GLUONTS_SHELL_CODE"
RECORD = "code-installed.json"
GLUONTS = "gluonts.model.predictor"  # it imports numpy, pandas and pydantic


def activate(
    channel: Path,
    target: Path,
    settings: Settings,
    environ: MutableMapping[str, str],
    *,
    copy_to: Path | None = None,
    replaces: Path | None = None,
    command: Sequence[str] | None = None,
    execve: Callable[[str, list[str], dict[str, str]], Any] = os.execve,
) -> Path | None:
    """Install the channel and re-execute the process; afterwards, say where the code was installed.

    channel: folder of the code; one that is missing or empty means that there is no code, and None is returned.
    target: where to install; where that cannot be written a temporary folder takes its place.
    copy_to: training only: the folder that keeps the channel's contents, with code-installed.json beside it.
    replaces: the folder whose place that copy will take in the end, where it is not there from the start.
    command: the interpreter's arguments for the second iteration; those of this process unless given.

    Returns the folder that is first on PYTHONPATH in the second iteration, and does not return in the first.
    Raises CodeChannelError with a sentence if the code cannot be installed, or Python cannot start with it.
    """
    again = started_again(environ)
    _, _, place = environ.pop(GUARD, "").partition(":")
    if again:
        from gluonts_shell.sagemaker.code.installation import modules

        log.info("from the code channel in %s: %s", place, ", ".join(sorted(modules(Path(place)))))
        return Path(place)
    if settings.program:
        log.warning(
            "SAGEMAKER_PROGRAM is %r: no program of AWS's toolkits is run here", settings.program
        )
    if not _holds_something(channel):
        return None
    folder = install(
        channel.resolve(), target.absolute(), settings, environ, copy_to, replaces=replaces
    )
    path = [str(folder), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    new = {**environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}
    try_start(folder, new)
    log.info("starting again with %s first on PYTHONPATH", folder)
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = sys.orig_argv[1:] if command is None else command
    execve(sys.executable, [sys.executable, *arguments], {**new, GUARD: f"{os.getpid()}:{folder}"})
    return folder


def discard(workspace: Path, code: Path | None) -> None:
    """Remove a folder that was made for installed code, and the one that it was installed to before the new start."""
    shutil.rmtree(workspace, ignore_errors=True)
    if code is not None:
        shutil.rmtree(code.parent, ignore_errors=True)


def _holds_something(channel: Path) -> bool:
    if not channel.is_dir():
        return False
    from gluonts_shell.sagemaker.code import contents

    return bool(contents.visible(channel))


def started_again(environ: MutableMapping[str, str]) -> bool:
    """Whether this process has installed the channel and replaced itself; known until `activate` is called."""
    return environ.get(GUARD, "").partition(":")[0] == str(os.getpid())


def install(
    channel: Path,
    target: Path,
    settings: Settings,
    environ: MutableMapping[str, str],
    copy_to: Path | None = None,
    *,
    replaces: Path | None = None,
) -> Path:
    """Install the channel's contents and return where: `target`, or a temporary folder if that cannot be written.

    Raises CodeChannelError, also where the disk is full.
    """
    from gluonts_shell.sagemaker.code import contents, installation
    from gluonts_shell.sagemaker.code.archives import Budget

    workspace = _workspace(target)
    try:
        code = workspace / "code"
        code.mkdir()
        plan = contents.plan(channel, workspace / "unpacked", Budget(settings.max_unpacked_bytes))
        if copy_to:
            _check_replaceable(replaces or copy_to)
        budget = Budget(settings.max_unpacked_bytes)
        installed = installation.install(
            plan, code, workspace, offline=settings.offline, environ=dict(environ), budget=budget
        )
        _warn(plan, code, channel)
        if copy_to:
            _keep(channel, copy_to, workspace, installed, Budget(settings.max_unpacked_bytes))
        return _swap(code, target)
    except OSError as error:
        raise CodeChannelError(
            f"the code channel {str(channel)!r} cannot be installed: {_said(error)}"
        ) from error
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _said(error: OSError) -> str:
    """shutil gathers what it met with several files: (from, to, reason) of each."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        _, _, reason = error.args[0][0]  # which has the paths
        return str(reason)
    named = f"{error.filename2 or error.filename}: " if error.filename else ""
    return f"{named}{error.strerror or error}"


def _warn(plan: Plan, code: Path, channel: Path) -> None:
    """Of what is installed and may not be what was meant."""
    from gluonts_shell.sagemaker.code import contents, installation

    ours = installation.of_the_image(code)
    for name in sorted(installation.shadows(code) | ours):
        kind = "this image's" if name in ours else "the standard library's"
        log.warning(
            "the code channel brings a module %r, which is imported instead of %s", name, kind
        )
    for label, names in contents.hooks(plan).items():
        log.warning(
            "%r in the code channel defines %s for AWS's toolkits; nothing calls that here: "
            "the forecaster is named by forecaster_name, and requests are read as DeepAR's",
            label,
            ", ".join(names),
        )
    for name in contents.overlooked(channel):
        log.warning(
            "%r in the code channel is not read: requirements*.txt names what to install", name
        )
    if any(code.iterdir()):
        return
    if plan.requirements or plan.wheels:
        log.info("this image has all that the code channel asks for")
    else:
        log.warning(
            "the code channel holds no project, wheel, requirements, package or module: nothing to install"
        )


def _workspace(target: Path) -> Path:
    """A folder on the file system of `target`, so that swapping is renaming."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".code-", dir=target.parent))
    except OSError as error:  # serverless hosting mounts a read-only root
        log.warning("%s cannot be written: %s", target.parent, error)
        return Path(tempfile.mkdtemp(prefix="gluonts-shell-"))


def _swap(code: Path, target: Path) -> Path:
    """Put `code` in the place of `target`: a container may start twice in one tree.

    What this program did not install there stays, be it a user's folder or a link, and the code goes elsewhere.
    """
    code.chmod(0o755)
    Written(code, {}).add(code)
    foreign = _foreign(target)
    if foreign:
        log.warning("%s was not installed by this program, and %s stays as it is", foreign, target)
    elif code.parent.parent == target.parent:
        try:
            if os.path.lexists(target):
                target.rename(code.parent / "old")
            return code.rename(target)
        except OSError as error:  # a mount point, for one, does not move
            log.warning("%s cannot be replaced: %s", target, error)
    place = Path(shutil.move(code, tempfile.mkdtemp(prefix="gluonts-shell-code-")))
    log.warning("the code channel is installed in %s", place)
    return place


def _keep(
    channel: Path, copy_to: Path, workspace: Path, installed: Sequence[Installed], budget: Budget
) -> None:
    """The model carries the code that it was trained with, and a record of what pip made of it."""
    from gluonts_shell.sagemaker.code import installation

    kept = workspace / "kept"
    installation.copy(channel, kept, budget, channel, hidden=True)
    Written(kept, {}).add(kept)
    if copy_to.exists():  # and nothing but what an earlier run wrote is in it
        shutil.rmtree(copy_to)
    copy_to.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(kept, copy_to)
    record = {"python": platform.python_version(), "installed": [asdict(one) for one in installed]}
    (copy_to.parent / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def _foreign(folder: Path) -> Path | None:
    """What is not ours in a folder that is to be replaced; a link or a file in its place is not ours either."""
    if folder.is_symlink() or not folder.is_dir():
        return folder if os.path.lexists(folder) else None
    return Written.read(folder).foreign(folder)


def _check_replaceable(folder: Path) -> None:
    """Before anything is installed: a job that is to replace what somebody else put into the model does not start."""
    foreign = _foreign(folder) or _not_a_record(folder.parent / RECORD)
    if foreign:
        raise CodeChannelError(
            f"{str(foreign)!r} was not written by this program, or was changed since, and keeping the code channel "
            f"with the model would replace it; move it away first"
        )


def _not_a_record(path: Path) -> Path | None:
    """The record of an installation lies beside the code; it is known by what it holds."""
    if not os.path.lexists(path):
        return None
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return path
    return None if isinstance(value, dict) and set(value) == {"python", "installed"} else path


def try_start(folder: Path, environ: Mapping[str, str]) -> None:
    """Start Python with the new path and import what this process has imported of our own. Raises CodeChannelError.

    After the re-exec nobody would be left to write output/failure if, for one, the code's json.py broke our imports.
    Where the code replaces something of this image, GluonTS has to start with it too: its own error would not say why.
    """
    from gluonts_shell.sagemaker.code.installation import of_the_image, shadows

    rivals = of_the_image(folder)
    names = sorted(name for name in sys.modules if name.partition(".")[0] == "gluonts_shell")
    if rivals:
        names.append(GLUONTS)
    trial = [sys.executable, "-c", f"import {', '.join(names)}"]
    done = subprocess.run(
        trial, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode == 0:
        return
    output = (done.stderr + done.stdout).decode(errors="replace").strip()
    log.error("Python cannot start with the code channel:\n%s", output)
    last = output.splitlines()[-1] if output else f"exit status {done.returncode}"
    named = ", ".join(map(repr, sorted(rivals | shadows(folder))))
    advice = (
        f"; rename {named}, or leave it out: the code channel brings it instead of what has the same name here"
        if named
        else ""
    )
    raise CodeChannelError(
        f"this program cannot start with the modules of the code channel: {last}{advice}"
    )
