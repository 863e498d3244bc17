"""The saved model, tried in a process of its own before the job ends, as `serve` will have it.

What a class does not save is still there in the process that trained it. The process that knows nothing of the
training is forked before anything is read or built, because a new interpreter would need a second or more to import
GluonTS; where a fork is no good (an accelerator, or not Linux) it is a new interpreter.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from gluonts_shell.errors import ForecasterError, ModelError
from gluonts_shell.serving.processes.child import Channel, fork
from gluonts_shell.serving.processes.machine import has_accelerator

log = logging.getLogger(__name__)

SAVED = "what it is constructed from must hold all that it needs"


class Rehearsal:
    """The process that waits for a model. `begin` and `check` are called at most once, in this order."""

    def __init__(self, channel: Channel, process: int) -> None:
        self._channel = channel
        self._process = process
        self._begun = False

    @classmethod
    def start(cls) -> Rehearsal:
        """Call it when everything is imported that a model may need, and before anything is read or built."""
        if sys.platform == "linux" and not has_accelerator():
            ours, theirs = Channel.pair()

            def wait() -> None:
                ours.close()
                _rehearse(theirs)

            process = fork(wait)
            theirs.close()
            return cls(ours, process)
        one, other = socket.socketpair()
        code = f"from gluonts_shell.commands.training.rehearsal import main; main({other.fileno()})"
        started = subprocess.Popen([sys.executable, "-c", code], pass_fds=[other.fileno()])
        other.close()
        return cls(Channel(one), started.pid)

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(self, *_: object) -> None:
        """A model that computes for ever must not outlive the job."""
        self._channel.close()
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._process, 0)

    def begin(self, folder: Path) -> None:
        """Let it load what was saved in the folder and forecast its canary, while this process does something else."""
        with suppress(EOFError):  # `check` will say so
            self._channel.send(str(folder))
        self._begun = True

    def check(self, predictor: Any) -> None:
        """Raises ForecasterError if the saved model is another than `predictor`, or does not forecast."""
        if not self._begun:
            return
        try:
            kind, reason, state = self._channel.receive()
        except EOFError:
            kind, reason, state = "failed", "its process ended", {}
        name = f"{type(predictor).__module__}.{type(predictor).__qualname__}"
        if kind == "differs":
            raise ForecasterError(
                f"the saved model forecasts something else than the trained one: its class {name} does not save "
                f"{_lost(predictor, state)}; {SAVED} ({reason})"
            )
        if kind == "failed":
            raise ForecasterError(
                f"{reason}, in a process that loaded it; its class is {name}, and {SAVED}"
            )


def main(descriptor: int) -> None:
    """Of the new interpreter."""
    _rehearse(Channel(socket.socket(fileno=descriptor)))


def _rehearse(channel: Channel) -> None:
    """Wait for a folder, try the model in it and say how that went."""
    try:
        folder = Path(channel.receive())
    except EOFError:  # the job came to nothing
        return
    if torch := sys.modules.get("torch"):
        # it was imported before the fork; if it had computed too, a forward pass of several threads would never end
        torch.set_num_threads(1)
    with suppress(EOFError):
        channel.send(_tried(folder))


def _tried(folder: Path) -> tuple[str, str, dict[str, str]]:
    from gluonts_shell.forecasting import artifact
    from gluonts_shell.forecasting.service import canary
    from gluonts_shell.forecasting.service.service import Model

    state: dict[str, str] = {}
    try:
        predictor, contract = artifact.load(folder)
        state = canary.state(predictor)
        canary.replay(
            Model.of(predictor, contract.freq, contract.features),
            contract.freq,
            folder,
            canary.SAME,
        )
    except canary.Differs as error:
        return "differs", str(error), state
    except ModelError as error:
        log.error("the saved model, in a process of its own:", exc_info=error.__cause__)
        return "failed", str(error), state
    except BaseException as error:
        log.exception("the saved model, in a process of its own:")
        return (
            "failed",
            f"the saved model does not forecast: {type(error).__name__}: {error}",
            state,
        )
    return "same", "", state


def _lost(predictor: Any, saved: dict[str, str]) -> str:
    """The attributes that came back otherwise, or not at all."""
    from gluonts_shell.forecasting.service import canary

    lost = [name for name, text in canary.state(predictor).items() if saved.get(name) != text]
    return " and ".join(map(repr, lost[:3])) or "all that it forecasts from"
