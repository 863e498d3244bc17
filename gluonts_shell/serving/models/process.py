"""A model's process: what it does in itself, and how the front sees it.

In itself it is a worker as any server has (processes/worker.py), but for where its connections come from: the front
hands each over, and while there is none it sleeps. Over the same link it tells once whether the model is loaded.
"""

from __future__ import annotations

import json
import logging
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, NoReturn

from gluonts_shell.errors import ModelError, NoRoom, RequestError, ShellError
from gluonts_shell.serving.http.exchange import App
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.http.shares import Shares
from gluonts_shell.serving.processes.link import (
    BEAT,
    LEAVING,
    ParentEnd,
    ParentGone,
    WorkerEnd,
)
from gluonts_shell.serving.processes.memory import own_bytes
from gluonts_shell.serving.processes.worker import Terms, work

log = logging.getLogger(__name__)

END = b"\n"
LONGEST = 2000  # characters of a sentence on the link
FRONT = "the front"
KEEP_SECONDS = 1.0  # that a connection is kept after a request
OOM_SCORE = "500"  # of -1000 to 1000 (proc(5)): where memory ends, the kernel shall end a model, not the front


class Handed:
    """In the place of a listening socket: its connections are those that the front hands over."""

    def __init__(self, link: WorkerEnd) -> None:
        self._link = link

    def fileno(self) -> int:
        return self._link.fileno()

    def getsockname(self) -> str:
        return FRONT

    def accept(self) -> tuple[socket.socket, str]:
        try:
            connection = self._link.connection()
        except ParentGone:
            raise ConnectionAbortedError from None
        if connection is None:
            raise BlockingIOError
        return connection, FRONT

    def close(self) -> None:
        """The link stays open until the process ends, which is how the front knows that it has."""


def become(
    link: WorkerEnd, load: Callable[[], tuple[App, str]], limits: Limits, terms: Terms
) -> NoReturn:
    """Load a model and serve it, in a process of its own, until the front is gone or ends it.

    load: the application and a description for the log.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)

    def make() -> App:
        try:
            app, description = load()
        except BaseException as error:
            _tell(link, _failure(error))
            raise
        _tell(link, {"ready": description, "bytes": own_bytes()})
        return app

    work(
        listener=Handed(link),
        make=make,
        limits=replace(limits, parting_seconds=0.0),  # the front knows what it sends
        terms=terms,
        link=link,
        share=Shares(1).of(0),
    )


def _tell(link: WorkerEnd, word: dict[str, Any]) -> None:
    link.say(json.dumps(word).encode("ascii") + END)


def _failure(error: BaseException) -> dict[str, Any]:
    """For the front; the log has the rest."""
    if isinstance(error, MemoryError):
        return {"status": NoRoom.status, "error": "there was no memory for it"}
    if isinstance(error, ShellError):
        return {"status": error.status, "error": str(error)[:LONGEST]}
    said = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return {"status": ModelError.status, "error": f"it failed with {reason[:300]}"}


def failed(word: dict[str, Any]) -> ShellError:
    """The error in the front that such a word tells of."""
    kinds = {NoRoom.status: NoRoom, ModelError.status: ModelError}
    kind = kinds.get(word["status"], RequestError)
    return kind(str(word["error"]))


@dataclass
class Connection:
    """To a model's process, for one request at a time. since: of time.monotonic(), when the last one was done."""

    end: socket.socket
    since: float = -inf

    @property
    def silent(self) -> bool:
        """Whether nothing has come unasked, nor the end."""
        poller = select.poll()
        poller.register(self.end, select.POLLIN)
        return not poller.poll(0)


class Process:
    """As the front sees it; used by many threads. beats: changes as long as the process answers, while it has work."""

    def __init__(self, pid: int, link: ParentEnd, end: Callable[[int], int]) -> None:
        self.pid = pid
        self.beats = 0
        self.leaving = False
        self._link = link
        self._end = end
        self._status: int | None = None
        self._heard = b""
        self._kept: list[Connection] = []
        # around the link, so that nobody uses a descriptor that was closed; never held for long
        self._lock = threading.Lock()
        self._finishing = threading.Lock()

    @property
    def serves(self) -> bool:
        self.hear()
        return not self.leaving and not self.gone

    @property
    def gone(self) -> bool:
        return self.ended(0.0)

    def ended(self, seconds: float) -> bool:
        """Whether the process has ended, by itself, within so many seconds."""
        poller = select.poll()
        with self._lock:
            if self._status is not None:
                return True
            poller.register(self._link, 0)  # the end of the stream is told whatever one asks for
        return bool(poller.poll(1000 * seconds))

    def finish(self) -> int:
        """End it if it has not ended, and return its wait status. Its memory is free then."""
        with self._finishing:
            if self._status is None:
                with self._lock:
                    self._close_kept(inf)
                status = self._end(self.pid)
                with self._lock:
                    self._close_kept(inf)
                    self._hear()
                    self._status = status
                    self._link.close()
            return self._status

    def word(self, seconds: float) -> dict[str, Any] | None:
        """What became of loading; None if that is not known within so many seconds, nor that the process ended."""
        poller = select.poll()
        poller.register(self._link, select.POLLIN)
        poller.poll(1000 * seconds)
        self._heard += self._link.heard()
        word, end, _ = self._heard.partition(END)
        return json.loads(word) if end else None

    def hear(self) -> None:
        with self._lock:
            self._hear()

    def _hear(self) -> None:
        words = self._link.heard()
        self.beats += words.count(BEAT)
        self.leaving = self.leaving or LEAVING in words

    def connection(self) -> Connection | None:
        """One that was kept, else a new one; None where there is no room for it, or nobody to take it."""
        with self._lock:
            while self._kept:
                kept = self._kept.pop()
                if kept.silent:
                    return kept
                kept.end.close()
        return self._connected()

    def _connected(self) -> Connection | None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with self._lock:
            if self._link.hand(theirs):
                return Connection(ours)
        ours.close()
        theirs.close()
        return None

    def keep(self, connection: Connection) -> None:
        """For the next request, if that comes soon: the process sleeps only while it has no connection."""
        with self._lock:
            if self._status is None:
                connection.since = time.monotonic()
                self._kept.append(connection)
                return
        connection.end.close()

    def close_idle(self) -> None:
        """What was kept for long enough."""
        with self._lock:
            self._close_kept(time.monotonic() - KEEP_SECONDS)

    def _close_kept(self, before: float) -> None:
        for kept in self._kept:
            if kept.since < before:
                kept.end.close()
        self._kept = [kept for kept in self._kept if kept.since >= before]
