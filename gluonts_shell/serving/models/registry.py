"""Which models are loaded, and by which process: loads, unloads, and loads again what has died.

A name is worked on by one thread at a time (`_claimed`), and other names do not wait for it. Requests do not claim:
they are counted, so that unloading lets those that are in flight have their answers. It knows no paths of HTTP.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from gluonts_shell.errors import (
    Conflict,
    ModelError,
    NoRoom,
    NotFound,
    Overloaded,
    RequestError,
    ShellError,
)
from gluonts_shell.serving.blame import PREDICT_LIMIT
from gluonts_shell.serving.http.exchange import Request, Response
from gluonts_shell.serving.metrics.counters import Counters
from gluonts_shell.serving.models import relay
from gluonts_shell.serving.models.forkserver import ForkServer, Order
from gluonts_shell.serving.models.process import Process, failed
from gluonts_shell.serving.models.room import MEBIBYTE, Room
from gluonts_shell.serving.processes.child import ending
from gluonts_shell.serving.processes.link import pair
from gluonts_shell.serving.processes.worker import Terms

log = logging.getLogger(__name__)

PAGE = 100  # models in one answer
LOOK_SECONDS = 0.05  # between two looks at the memory while a model is loaded
# AWS, "Invoke a Multi-Model Endpoint": SageMaker lets a model be loaded "for up to 360 seconds"
LOAD_SECONDS = 360.0
END_SECONDS = 1.0  # in which a process that closed a connection shows that it ends
NOTICE_SECONDS = 0.1  # in which one that took no request shows the same
ATTEMPTS = 3
FRONT, FORK_SERVER = 0, 1  # the slots of the counters that are no model's


@dataclass(eq=False)
class Model:
    """place: a folder for what its code channel installs. slot: where its requests are counted.

    busy: requests in flight. leaving: it is being unloaded.
    """

    name: str
    url: str
    place: Path
    slot: int
    process: Process | None = None
    busy: int = 0
    leaving: bool = False

    @property
    def order(self) -> Order:
        return {
            "name": self.name,
            "url": self.url,
            "place": str(self.place),
            "slot": self.slot,
        }


class Registry:
    """Used by many threads. check: raises a RequestError for a folder that is no model. places: a folder of its own."""

    def __init__(
        self,
        forkserver: ForkServer,
        check: Callable[[Path], None],
        *,
        room: Room,
        terms: Terms,
        places: Path,
        counters: Counters,
    ) -> None:
        self._forkserver = forkserver
        self._check = check
        self._room = room
        self._terms = terms
        self._places = places
        self._numbers = count(1)
        self._counters = counters
        self._slots = list(range(counters.slots - 1, FORK_SERVER, -1))
        self._models: dict[str, Model] = {}
        self._claims: set[str] = set()
        self._changed = threading.Condition()
        self._making_room = threading.Lock()

    def load(self, name: str, url: str) -> None:
        """Until it can be asked.

        Raises Conflict, NoRoom, RequestError where the folder holds no model, ModelError where it does not load.
        """
        with self._claimed(name):
            if name in self._models:
                raise Conflict(f"model {name!r} is loaded already, from {self._models[name].url!r}")
            self._check(Path(url))
            model = self._new(name, url)
            try:
                self._start(model)
            except BaseException:
                self._forget(model)
                raise
            with self._changed:
                self._models[name] = model

    def unload(self, name: str) -> Model:
        """Until its memory is returned; requests in flight have time to be answered. Raises NotFound."""
        with self._changed:
            model = self.find(name)
            del self._models[name]
            model.leaving = True
            self._changed.notify_all()
        with self._claimed(name):
            with self._changed:
                self._changed.wait_for(lambda: not model.busy, self._terms.drain_seconds)
            if model.process is not None:
                model.process.finish()
            self._forget(model)
        log.info("unloaded model %r", name)
        return model

    def _new(self, name: str, url: str) -> Model:
        with self._changed:
            if not self._slots:
                raise NoRoom(f"there are {len(self._models)} models already")
            return Model(name, url, self._places / str(next(self._numbers)), self._slots.pop())

    def _forget(self, model: Model) -> None:
        """Of a model whose process has ended."""
        shutil.rmtree(model.place, ignore_errors=True)
        with self._changed:
            self._counters.left(model.slot)
            self._slots.append(model.slot)

    def find(self, name: str) -> Model:
        """Raises NotFound."""
        model = self._models.get(name)
        if model is None:
            raise NotFound(f"model {name[:100]!r} is not loaded")
        return model

    def page(self, after: str, most: int = PAGE) -> tuple[list[Model], str | None]:
        """The models whose names follow, in their order, and where the next page begins, if there is one."""
        with self._changed:
            following = sorted(name for name in self._models if name > after)
            models = [self._models[name] for name in following[:most]]
        return models, models[-1].name if len(following) > most else None

    def close_idle(self) -> None:
        """Connections to models that have not been asked for a while, which then sleep. Called now and then."""
        with self._changed:
            processes = [model.process for model in self._models.values()]
        for process in processes:
            if process is not None:
                process.close_idle()

    def invoke(self, name: str, request: Request) -> Response:
        """Raises NotFound, Overloaded, ModelError where the process ends without an answer, and as `load` does."""
        with self._entered(name) as model:
            for _ in range(ATTEMPTS):
                process = self._living(model)
                try:
                    return relay.invoke(process, name, request, self._terms.silent_seconds)
                except relay.NotTaken:
                    process.ended(NOTICE_SECONDS)
                except relay.Cut:
                    raise self._cut(model, process) from None
                except relay.Silent:
                    raise self._silent(model, process) from None
            raise Overloaded(f"the process of model {name!r} ends again and again; try again later")

    @contextmanager
    def _entered(self, name: str) -> Iterator[Model]:
        with self._changed:
            model = self.find(name)
            model.busy += 1
        try:
            yield model
        finally:
            with self._changed:
                model.busy -= 1
                self._changed.notify_all()

    @contextmanager
    def _claimed(self, name: str, model: Model | None = None) -> Iterator[None]:
        """model: one in use, whose unloading is not waited for: raises NotFound."""
        with self._changed:
            while name in self._claims and not (model and model.leaving):
                self._changed.wait()
            if model and model.leaving:
                raise NotFound(f"model {name!r} is being unloaded")
            self._claims.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._claims.discard(name)
                self._changed.notify_all()

    def _living(self, model: Model) -> Process:
        """The model's process; one that died or is about to end is replaced."""
        process = model.process
        if process is not None and process.serves:
            return process
        with self._claimed(model.name, model):
            if model.process is None or not model.process.serves:
                self._retire(model)
                self._start_again(model)
            assert model.process is not None
            return model.process

    def _start_again(self, model: Model) -> None:
        """Whoever asks the model did not ask for its loading, and is not to blame for it."""
        try:
            self._check(Path(model.url))
            self._start(model)
        except RequestError as error:
            raise ModelError(f"model {model.name!r} cannot be loaded again: {error}") from error

    def _start(self, model: Model) -> None:
        began = time.monotonic()
        with self._room.claimed(Path(model.url)) as took:
            process = self._begun(model)
            try:
                word = self._loaded(process)
            except BaseException:
                process.finish()
                raise
            took(word["bytes"])
        model.process = process
        log.info(
            "loaded model %r from %r in %.2f s, with %.1f MiB of its own: %s",
            model.name,
            model.url,
            time.monotonic() - began,
            word["bytes"] / MEBIBYTE,
            word["ready"],
        )

    def _begun(self, model: Model) -> Process:
        try:
            ours, theirs = pair()
        except OSError as error:
            raise NoRoom(f"no socket can be had for it: {error.strerror}") from error
        try:
            pid = self._forkserver.begin(model.order, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Process(pid, ours, self._forkserver.end)

    def _loaded(self, process: Process) -> dict[str, Any]:
        """What the process tells once the model is loaded. Raises the error that it tells of, or that it met."""
        ends = time.monotonic() + LOAD_SECONDS
        while (word := process.word(LOOK_SECONDS)) is None:
            if process.gone:
                raise _died_loading(process.finish())
            if self._room.scarce():
                self._make_room(process)
            if time.monotonic() > ends:
                raise ModelError(f"it was not loaded within {LOAD_SECONDS:g} s, and was ended")
        if "error" in word:
            raise failed(word)
        return word

    def _make_room(self, process: Process) -> None:
        """Of several that are being loaded one is ended at a time, and the next only if that did not suffice."""
        with self._making_room:
            if self._room.scarce():
                process.finish()
                raise NoRoom("the memory was used up while it was loaded")

    def _retire(self, model: Model) -> None:
        """The process that is to be replaced; one that is about to end may answer what it has."""
        if model.process is not None:
            model.process.ended(self._terms.drain_seconds)
            how = ending(model.process.finish())
            log.warning("model %r is loaded again: its process %s", model.name, how)
            model.process = None

    def _cut(self, model: Model, process: Process) -> ShellError:
        """What to tell whoever had no answer."""
        if not process.ended(END_SECONDS):
            return Overloaded("the model's process closed the connection; try again later")
        status = process.finish()
        if model.leaving:
            return Overloaded(f"model {model.name!r} was unloaded before the answer was there")
        # one that ends with 0 and did not say that it would was ended by the model's own code
        if status == 0 and process.leaving:
            return Overloaded("the model's process made room for another; try again later")
        how = ending(status)
        log.error("the process of model %r %s while it computed", model.name, how)
        return ModelError(f"the model's process {how} while it computed the answer")

    def _silent(self, model: Model, process: Process) -> ShellError:
        log.error(
            "the process of model %r has given no sign for %g s; killing it",
            model.name,
            self._terms.silent_seconds,
        )
        process.finish()
        return ModelError(
            "the model gave no sign for longer than any prediction may take, and was ended "
            f"({PREDICT_LIMIT})"
        )


def _died_loading(status: int) -> ShellError:
    how = f"its process {ending(status)} while it was loaded"
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    # nobody but the kernel, where memory ends, is expected to kill it
    return NoRoom(how) if killed else ModelError(how)
