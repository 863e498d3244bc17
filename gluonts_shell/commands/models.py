"""JOURNEY 3: `serve` with many models on one endpoint (SAGEMAKER_MULTI_MODEL): a process for each, forked from one.

What a model is and how its requests are answered is that of `serve`; here is what a model's process does before.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from gluonts_shell import log as logs
from gluonts_shell.commands import serve
from gluonts_shell.errors import ConfigurationError, RequestError
from gluonts_shell.sagemaker import modeldir
from gluonts_shell.sagemaker.code import channel, contents
from gluonts_shell.sagemaker.code.installation import modules
from gluonts_shell.serving.batch import job
from gluonts_shell.serving.http.exchange import App
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.metrics.counters import Counters
from gluonts_shell.serving.metrics.emf import Minutes
from gluonts_shell.serving.models import front
from gluonts_shell.serving.models.app import Models
from gluonts_shell.serving.models.forkserver import Order
from gluonts_shell.serving.models.process import become
from gluonts_shell.serving.models.registry import FORK_SERVER, FRONT
from gluonts_shell.serving.processes.link import WorkerEnd
from gluonts_shell.serving.processes.machine import Machine
from gluonts_shell.serving.processes.signals import Stopped, stop_at, stop_no_more
from gluonts_shell.settings import Settings

log = logging.getLogger(__name__)

# what a process that starts anew for its model finds in the environment
ANEW = "GLUONTS_SHELL_MODEL"
# of what GluonTS imports by name or late, what most models need
IMPORTED = (
    "gluonts.model.seasonal_naive",
    "gluonts_shell.forecasting.artifact",
    "gluonts_shell.forecasting.forecaster.known",
    "gluonts_shell.forecasting.service.canary",
    "gluonts_shell.forecasting.service.service",
)
SLOTS = 4096  # in which requests are counted: those of registry.py, and one for each model
IMPORTED_WITH_TORCH = ("torch", "gluonts.torch.model.predictor")


def run(settings: Settings, model: Path | None = None) -> int:
    """Serve models that are loaded and unloaded while it runs, until a signal; returns the exit status.

    Raises ShellError with a sentence if it cannot begin.
    """
    stop_at(signal.SIGTERM)
    logs.configure(settings.log_level, settings.log_format)
    logs.catch_prints()
    try:
        _check_settings(settings, model)
        return _serve(settings)
    except Stopped:
        return 0
    finally:
        stop_no_more()


def _serve(settings: Settings) -> int:
    machine = Machine.of(settings.workers)
    machine.limit_threads(os.environ)
    if ANEW in os.environ:
        _go_on_anew(settings, machine, json.loads(os.environ.pop(ANEW)))
    each = Each(settings, machine)
    return front.run(
        address=settings.address,
        port=settings.port,
        prepare=each.prepare,
        become=each.become,
        check=check,
        app=lambda registry: Models(
            registry,
            serve.advice(settings),
            meter=each.counters.of(FRONT) if settings.metrics else None,
            page=settings.metrics in ("prometheus", "both"),
        ),
        limits=each.limits,
        terms=each.terms,
        counters=each.counters,
        minutes=Minutes(each.counters, "many") if settings.metrics in ("emf", "both") else None,
        announce=lambda port: log.info("serving many models on port %d: none is loaded yet", port),
    )


def _check_settings(settings: Settings, model: Path | None) -> None:
    if model is not None:
        raise ConfigurationError(
            f"--model is {str(model)!r}, but models are loaded by POST /models (SAGEMAKER_MULTI_MODEL)"
        )
    if settings.batch:
        raise ConfigurationError(
            "SAGEMAKER_MULTI_MODEL and SAGEMAKER_BATCH are both true: a batch transform job has one model"
        )
    # or every model would be refused as it is loaded, with a setting's sentence
    job.forwarded(settings.forward_fields)
    if sys.platform != "linux":
        raise ConfigurationError(
            f"SAGEMAKER_MULTI_MODEL is true, but many models are served on Linux only, not on {sys.platform}"
        )


def import_all() -> None:
    """Once, for all models."""
    from gluonts_shell.forecasting.shortcuts import compiler

    for name in IMPORTED:
        importlib.import_module(name)
    # a model that needs it will say so
    with suppress(ImportError):
        compiler.import_lightning()
        for name in IMPORTED_WITH_TORCH:
            importlib.import_module(name)
    _warm()


def _warm() -> None:
    """Do here, once, what would make shared pages each model's own, or fill new ones, if its process did it first."""
    from gluonts.core import serde
    from gluonts.model.seasonal_naive import SeasonalNaivePredictor

    from gluonts_shell.forecasting import artifact
    from gluonts_shell.forecasting.shortcuts import patches

    patches.take()  # looks at all modules: 13 MB
    artifact.versions()  # reads what is installed: 6 MB
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)  # reads torch's sources: 3 MB
    naive = SeasonalNaivePredictor(prediction_length=1, season_length=1)
    serde.load_json(serde.dump_json(naive))  # 2 MB


def check(folder: Path) -> None:
    """Raises RequestError where the folder holds no model."""
    try:
        if any((folder / name).exists() for name in modeldir.MODEL):
            return
        instead = modeldir.instead(folder)
    except OSError as error:
        instead = f": it cannot be read: {error.strerror}"
    raise RequestError(f"url is {str(folder)!r}, and holds no model{instead}")


class Each:
    """What is the same for every model."""

    def __init__(self, settings: Settings, machine: Machine, slots: int = SLOTS) -> None:
        # a folder has the model or none; what SDKs call endpoints has one
        self.settings = replace(settings, forecaster=None, local_endpoints=False)
        self.machine = machine
        self.counters = Counters(slots)
        self.limits = Limits(body=settings.body_limit, body_seconds=settings.body_seconds)
        self.terms = replace(serve.terms(settings), sleeps=True)

    def prepare(self) -> None:
        """In the fork server, whose memory is counted too."""
        import_all()
        self.counters.of(FORK_SERVER).begin()

    def become(self, order: Order, link: WorkerEnd) -> NoReturn:
        become(link, lambda: self.load(order, link), self.limits, self.terms)

    def load(self, order: Order, link: WorkerEnd) -> tuple[App, str]:
        folder = Path(order["url"])
        code = self.activate(folder / "code", order, link)
        loaded = serve.load(self.settings, folder, code, self.machine)
        return loaded.start(self.counters.of(order["slot"])), loaded.description

    def activate(self, source: Path, order: Order, link: WorkerEnd) -> Path | None:
        """Install the model's own code, if it has any, and put it first on the path; returns where it is.

        Code that brings a module that is imported here already gets a process that has imported nothing: then this
        does not return. A model that is loaded again finds what was installed before. Raises CodeChannelError.
        """
        if not source.is_dir() or not contents.visible(source):
            return None
        folder = Path(order["place"])
        if not folder.is_dir():
            folder = channel.install(source.resolve(), folder, self.settings, os.environ)
        path = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path))
        if "link" not in order and modules(folder) & {
            name.partition(".")[0] for name in sys.modules
        }:
            channel.try_start(folder, os.environ)
            start_anew(order, link)
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
            importlib.invalidate_caches()
        log.info(
            "from the code channel of model %r: %s",
            order["name"],
            ", ".join(sorted(modules(folder))),
        )
        return folder


def _go_on_anew(settings: Settings, machine: Machine, order: Order) -> NoReturn:
    """The rest of a start anew. The shared memory of the counters is gone, and what it counts is read by nobody."""
    logs.never_wait()
    logs.drop_prints()
    each = Each(settings, machine, 1)
    each.become({**order, "slot": 0}, WorkerEnd(socket.socket(fileno=order["link"])))


def start_anew(order: Order, link: WorkerEnd) -> NoReturn:
    """The same command, which finds in the environment that it is a model's process."""
    log.info("model %r brings modules that are imported already, and starts anew", order["name"])
    os.set_inheritable(link.fileno(), True)
    logs.flush()
    environ = {**os.environ, ANEW: json.dumps({**order, "link": link.fileno()})}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606 - ourselves, no shell
