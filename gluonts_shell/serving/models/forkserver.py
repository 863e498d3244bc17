"""The process that has imported everything and computed nothing, and is forked for each model.

So loading a model costs no import, its pages of code are everybody's, and unloading it is the end of a process. It has
one thread, since a process that is forked while another thread computes may deadlock; the front, which has many, asks
for everything over a socket and gets one answer to each question. Where either of the two ends, so do the models.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from gluonts_shell.errors import ModelError, NoRoom, Overloaded
from gluonts_shell.serving.processes.child import fork, leave_sockets
from gluonts_shell.serving.processes.link import WorkerEnd
from gluonts_shell.serving.processes.signals import Signals, recorded

log = logging.getLogger(__name__)

MESSAGE = 65536  # bytes of the longest
CLOSE_SECONDS = 5.0
# seconds that a process has to write what it holds back of the log, before it is killed
GRACE = 0.5
WAIT = 0.005

Order = dict[str, Any]
"""What is to be loaded: values of JSON, understood by whoever is forked."""


class ForkServer:
    """The front's side. Every method may be called by any thread."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self._control = control
        self._lock = threading.Lock()

    @classmethod
    def start(
        cls, prepare: Callable[[], None], become: Callable[[Order, WorkerEnd], NoReturn]
    ) -> ForkServer:
        """Call it before a thread is started.

        prepare: imports what models need. become: what the child that is forked for a model does.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = fork(lambda: _run(theirs, prepare, become))
        theirs.close()
        return cls(pid, ours)

    def wait_until_ready(self) -> None:
        """Until everything is imported. Raises ModelError where it cannot be."""
        if not self._control.recv(MESSAGE):
            raise ModelError(
                "the process that starts models could not import what they need; the log tells why"
            )

    def begin(self, order: Order, link: WorkerEnd) -> int:
        """The pid of a process that has begun with the order. Raises NoRoom where the system has no more of them."""
        answer = self._ask({"begin": order}, link)
        if "refused" in answer:
            raise NoRoom(f"no process could be forked: {answer['refused']}")
        return int(answer["pid"])

    def end(self, pid: int) -> int:
        """End a process that was begun here, and whatever it started; returns its wait status.

        It has given its memory back then. To be called once for each, whether it has ended by itself or not: until then
        its number is nobody else's.
        """
        return int(self._ask({"end": pid})["status"])

    def close(self) -> None:
        """End every process that was begun here, and this one."""
        self._control.close()
        ends = time.monotonic() + CLOSE_SECONDS
        with suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > ends:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(WAIT)

    def _ask(self, question: dict[str, Any], link: WorkerEnd | None = None) -> dict[str, Any]:
        descriptors = [] if link is None else [link.fileno()]
        with self._lock:
            try:
                socket.send_fds(self._control, [json.dumps(question).encode()], descriptors)
                answer = self._control.recv(MESSAGE)
            except OSError:
                answer = b""
        if not answer:
            raise Overloaded("the process that starts models has ended, and so does the server")
        return dict(json.loads(answer))


def _run(
    control: socket.socket,
    prepare: Callable[[], None],
    become: Callable[[Order, WorkerEnd], NoReturn],
) -> None:
    leave_sockets(control.fileno())
    gc.disable()
    prepare()
    gc.collect()
    gc.freeze()  # so that no collection in a model's process writes to the pages that it shares
    gc.enable()
    with recorded(signal.SIGCHLD) as signals:
        server = _Server(control, signals, become)
        control.send(b"ready")
        server.serve()


class _Server:
    """names: of the models, by the processes that were not asked to end. ended: those that did by themselves."""

    def __init__(
        self,
        control: socket.socket,
        signals: Signals,
        become: Callable[[Order, WorkerEnd], NoReturn],
    ) -> None:
        self.control, self.signals, self.become = control, signals, become
        self.names: dict[int, str] = {}
        self.ended: set[int] = set()

    def serve(self) -> None:
        """Until the front is gone."""
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        poller.register(self.signals.descriptor, select.POLLIN)
        while True:
            readable = [descriptor for descriptor, _ in poller.poll()]
            self.signals.drain()
            self._look()
            if self.control.fileno() in readable and not self._answer():
                break
        for pid in self.names:
            os.kill(pid, signal.SIGTERM)
        ends = time.monotonic() + GRACE
        for pid in list(self.names):
            self._end(pid, ends)

    def _answer(self) -> bool:
        """One question; False where there will be no more."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.control, MESSAGE, 1)
        except OSError:
            return False
        if not data:
            return False
        question = json.loads(data)
        if "begin" in question:
            answer = self._begin(question["begin"], descriptors)
        else:
            os.kill(question["end"], signal.SIGTERM)
            answer = {"status": self._end(question["end"], time.monotonic() + GRACE)}
        with suppress(OSError):
            self.control.send(json.dumps(answer).encode())
        return True

    def _begin(self, order: Order, descriptors: list[int]) -> dict[str, Any]:
        if not descriptors:
            return {"refused": "no descriptor is free"}
        link = WorkerEnd(socket.socket(fileno=descriptors[0]))
        os.set_inheritable(link.fileno(), False)

        def run() -> None:
            os.setpgid(0, 0)
            leave_sockets(link.fileno())
            self.become(order, link)

        try:
            pid = fork(run)
        except OSError as error:
            return {"refused": str(error.strerror)}
        finally:
            link.close()
        with suppress(OSError):  # whichever of the two is first
            os.setpgid(pid, pid)
        self.names[pid] = str(order["name"])
        return {"pid": pid}

    def _end(self, pid: int, ends: float) -> int:
        """Of a process that was asked to end; ends: of time.monotonic(), when it is killed."""
        while _ending(pid) is None and time.monotonic() < ends:
            time.sleep(WAIT)
        _kill(pid)
        status = os.waitpid(pid, 0)[1]
        del self.names[pid]
        self.ended.discard(pid)
        return status

    def _look(self) -> None:
        """Tell of processes that ended by themselves. They are not reaped here, so that their numbers stay theirs."""
        for pid in self.names.keys() - self.ended:
            found = _ending(pid)
            if found is None:
                continue
            self.ended.add(pid)
            _kill(pid)  # what it has started
            how = "was killed by signal"
            if found.si_code == os.CLD_EXITED:
                how = "ended with exit status"
            log.warning("the process of model %r %s %d", self.names[pid], how, found.si_status)


def _ending(pid: int) -> os.waitid_result | None:
    """How a child ended that is not reaped yet; None while it runs."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def _kill(pid: int) -> None:
    """A process and its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
