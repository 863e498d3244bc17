"""The hosts of one job: they meet, say that they live, show each other what they found, and tell how they ended.

Every host has one connection, to the first of them, and lines of JSON go over it; what a line says is data only. The
names of the others may not be known yet when a container starts, so the first is called again and again ("How Amazon
SageMaker provides training information" in AWS's guide: names of hosts may need retries). That a process was killed
shows at once, because its connection ends; that a host hangs, or that its network is gone, shows by its silence.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gluonts_shell.errors import HostError

LONGEST = 256 * 1024 * 1024  # bytes of a line: all labels of a channel may be in one
LONGEST_GREETING = 65_536
HELLO = 5.0  # seconds for a host to say who it is; whatever else calls is sent away
FAREWELL = 2.0  # seconds in which the others may read how this host ended
# seconds in which the others may come and hear that this host ended before they met
EARLY, EARLY_STOP = 60.0, 10.0

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Ending:
    """How a host ended: its exit status, and what follows its name in a sentence."""

    host: str
    status: int
    what: str

    def __str__(self) -> str:
        return f"host {self.host} {self.what}"

    @property
    def stopped(self) -> bool:
        """By a signal, as StopTrainingJob sends it."""
        return self.status >= 128


class Link:
    """The connection to another host. heard: when it last said something. ending: of one that ended before they met."""

    def __init__(self, end: socket.socket, host: str) -> None:
        self.end, self.host = end, host
        self.heard = time.monotonic()
        self.ending: Ending | None = None
        self.values: deque[Any] = deque()
        self._rest = b""
        self._sending = threading.Lock()

    def send(self, line: Line) -> None:
        """Raises OSError where the other end is gone, or takes nothing for too long."""
        with self._sending:
            self.end.sendall(json.dumps(line).encode() + b"\n")

    def first(self) -> Line:
        """The first line, and nothing of what follows. Raises EOFError, OSError or ValueError."""
        text = b""
        while not text.endswith(b"\n"):
            one = self.end.recv(1)
            if not one:
                raise EOFError
            text += one
            if len(text) > LONGEST_GREETING:
                raise ValueError("a line without end")
        return _line(text)

    def read(self) -> list[Line]:
        """The lines that have come, at least a part of one being there. Raises EOFError, OSError or ValueError."""
        data = self.end.recv(1 << 16)
        if not data:
            raise EOFError
        self.heard = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST:
            raise ValueError("a line without end")
        return [_line(text) for text in lines]


def _line(text: bytes) -> Line:
    """Raises ValueError for whatever is none."""
    try:
        line = json.loads(text)
    except RecursionError:
        raise ValueError("a line is nested too deeply") from None
    if not isinstance(line, dict):
        raise ValueError(f"a line is a JSON {type(line).__name__}, expected an object")
    return line


def _ending(line: Line) -> Ending:
    """Raises ValueError or KeyError for a line that no host has sent."""
    return Ending(str(line["host"]), int(line["ended"]), str(line["what"]))


class Hosts:
    """All of them, as one of them sees it; links: to the others that it is connected with.

    silence: seconds after which a host that said nothing counts as dead. One host alone has no links and no thread.
    """

    def __init__(
        self, host: str, hosts: Sequence[str], links: Sequence[Link] = (), silence: float = 30.0
    ) -> None:
        self.host, self.hosts, self.links, self.silence = host, tuple(hosts), list(links), silence
        # whether what happens here may be the consequence of what happens to another process
        self.shared = bool(links)
        # of another host: the first to end, for whatever reason
        self.ending: Ending | None = None
        self._listener: Callable[[Ending], None] | None = None
        self._answers: deque[list[Any]] = deque()
        self._changed = threading.Condition()
        self._left = threading.Event()
        for link in links:
            link.end.settimeout(max(silence, 1.0))
            link.heard = time.monotonic()
        if links:
            threading.Thread(target=self._watch, name="hosts", daemon=True).start()

    @classmethod
    def meet(
        cls, host: str, hosts: Sequence[str], *, port: int, wait: float, silence: float
    ) -> Hosts:
        """All of the job's hosts, once all of them are there. Raises HostError after `wait` seconds."""
        if len(hosts) < 2:
            return cls(host, (host,))
        meeting = _gathered if host == hosts[0] else _joined
        return cls(host, hosts, meeting(host, hosts, port, wait), silence)

    @property
    def first(self) -> bool:
        return self.host == self.hosts[0]

    @property
    def position(self) -> int:
        return self.hosts.index(self.host)

    @property
    def address(self) -> str | None:
        """Of this host, as the others reach it."""
        if not self.links:
            return None
        # an IPv4 address of a socket for both kinds (RFC 4291, 2.5.5.2)
        return str(self.links[0].end.getsockname()[0]).removeprefix("::ffff:")

    @property
    def master(self) -> str | None:
        """The address of the first host, as this one reaches it; None on itself."""
        return None if self.first else str(self.links[0].end.getpeername()[0])

    def gather(self, value: Any) -> list[Any]:
        """What each host says, in their order; every host has to ask. Plain values, as JSON has them.

        Raises HostError where one of the hosts ended.
        """
        if not self.links:
            return [value]
        if not self.first:
            _send(self.links[0], {"value": value})
            return list(self._awaited(self._answers))
        found = {self.host: value}
        for link in self.links:
            found[link.host] = self._awaited(link.values)
        values = [found[host] for host in self.hosts]
        for link in self.links:
            _send(link, {"values": values})
        # what every host sees went through JSON
        return list(json.loads(json.dumps(values)))

    def wait(self) -> Ending:
        """Until another host ends, which is the first if nothing goes wrong."""
        with self._changed:
            self._changed.wait_for(lambda: self.ending is not None)
        assert self.ending is not None
        return self.ending

    def news(self, seconds: float) -> Ending | None:
        """How another host ended, if it is known by then: what fails here may be no more than its consequence."""
        with self._changed:
            self._changed.wait_for(lambda: self.ending is not None, seconds)
        return self.ending

    def trouble(self, ending: Ending) -> None:
        """Tell everybody, and whoever listens here. Only the first trouble counts: others are its consequences."""
        with self._changed:
            if self.ending is not None or self._left.is_set():
                return
            self.ending = ending
            self._changed.notify_all()
        if self.first:
            self._tell_all(ending)
        self._tell_listener()

    def listen(self, listener: Callable[[Ending], None]) -> None:
        """Call it, in a thread of its own, once another host has failed or was stopped, if it has not yet."""
        with self._changed:
            self._listener = listener
        self._tell_listener()

    def _tell_listener(self) -> None:
        """Once, whichever is there last: the listener, or what it wants to hear."""
        with self._changed:
            listener, ending = self._listener, self.ending
            if listener is None or ending is None or not ending.status:
                return
            self._listener = None
        threading.Thread(target=listener, args=(ending,), daemon=True).start()

    def leave(self, status: int, what: str) -> None:
        """This host ends, and the others shall know."""
        self._left.set()
        self._tell_all(Ending(self.host, status, what))
        deadline = time.monotonic() + FAREWELL
        for link in self.links:
            _close(link, deadline)

    def left(self, seconds: float) -> bool:
        """Whether this host leaves within so many seconds."""
        return self._left.wait(seconds)

    def _tell_all(self, ending: Ending) -> None:
        line = {"ended": ending.status, "host": ending.host, "what": ending.what}
        for link in self.links:
            if link.host != ending.host:
                _send(link, line)

    def _awaited(self, values: deque[Any]) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: values or self.ending is not None)
        if not values:
            raise HostError(str(self.ending))
        return values.popleft()

    def _watch(self) -> None:
        """The thread: says that this host lives, and hears whether the others do."""
        pause, due = min(1.0, self.silence / 5), 0.0
        open_ = list(self.links)
        while open_ and not self._left.is_set():
            now = time.monotonic()
            if now >= due:
                due = now + pause
                for link in open_:
                    _send(link, {})
            ready, _, _ = select.select([link.end for link in open_], [], [], due - now)
            open_ = [link for link in open_ if self._alive(link, link.end in ready)]

    def _alive(self, link: Link, ready: bool) -> bool:
        """Whether more is to be heard of the host."""
        if not ready:
            if time.monotonic() - link.heard <= self.silence:
                return True
            silent = f"is silent: it gave no sign of life for {self.silence:g} seconds"
            self._lost(link, silent)
            return False
        try:
            lines = link.read()
        except (EOFError, OSError, ValueError):
            self._lost(link, "is gone: its process ended without a word")
            return False
        more = True
        for line in lines:
            more = self._take(link, line) and more
        return more

    def _lost(self, link: Link, what: str) -> None:
        if not self._left.is_set():
            self.trouble(Ending(link.host, 1, what))

    def _take(self, link: Link, line: Line) -> bool:
        """Whether more is to be heard of the host after this."""
        if "ended" in line:
            self.trouble(_ending(line))
            return False
        with self._changed:
            if "value" in line:
                link.values.append(line["value"])
            if "values" in line:
                self._answers.append(line["values"])
            self._changed.notify_all()
        return True


def _send(link: Link, line: Line) -> None:
    """Where the other end is gone, reading tells, and perhaps why."""
    with suppress(OSError):
        link.send(line)


def _gathered(host: str, hosts: Sequence[str], port: int, wait: float) -> list[Link]:
    """On the first host: the connections of all others."""
    links: dict[str, Link] = {}
    missing = [name for name in hosts if name != host]
    deadline = time.monotonic() + wait
    with _listening(port) as listener:
        while missing and time.monotonic() < deadline:
            link = _caller(listener, min(1.0, wait), missing)
            if link is None:
                continue
            links[link.host] = link
            missing.remove(link.host)
            if link.ending is not None:
                _send_away(list(links.values()), link.ending)
                _turn_away(listener, missing, link.ending, min(deadline, _early(link.ending)))
                raise HostError(str(link.ending), link.ending.status)
    found = [links[name] for name in hosts if name in links]
    if missing:
        absent = Ending(", ".join(missing), 1, f"did not come within {wait:g} seconds")
        _send_away(found, absent)
        raise HostError(str(absent))
    for link in found:
        _send(link, {"welcome": len(hosts)})
    return found


def tell_early(host: str, hosts: Sequence[str], ending: Ending, port: int) -> None:
    """For a host that ends before the hosts have met: the others need not wait for it. Raises nothing.

    It stays until they came, but for a stop not long, and for a failure no longer than a minute.
    """
    deadline = _early(ending)
    with suppress(HostError, OSError):
        if host == hosts[0]:
            with _listening(port) as listener:
                _turn_away(listener, [name for name in hosts if name != host], ending, deadline)
            return
        seconds = deadline - time.monotonic()
        link = Link(_connected(hosts[0], port, seconds, deadline), hosts[0])
        link.send({"host": host, "ended": ending.status, "what": ending.what})
        _close(link, deadline)


def _early(ending: Ending) -> float:
    return time.monotonic() + (EARLY_STOP if ending.stopped else EARLY)


def _turn_away(
    listener: socket.socket, missing: Sequence[str], ending: Ending, deadline: float
) -> None:
    """Tell the hosts that are missing still how one ended, when they come."""
    expected = list(missing)
    while expected and time.monotonic() < deadline:
        link = _caller(listener, 1.0, expected)
        if link is not None:
            expected.remove(link.host)
            _send_away([link], ending)


def _send_away(links: Sequence[Link], ending: Ending) -> None:
    for link in links:
        _send(link, {"ended": ending.status, "host": ending.host, "what": ending.what})
    for link in links:
        _close(link, time.monotonic() + FAREWELL)


def _listening(port: int) -> socket.socket:
    """For callers by IPv4 and, where the system has it, by IPv6."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise HostError(
            f"port {port}, at which the hosts of the job meet (MASTER_PORT + 1), cannot be used: {reason}"
        ) from None


def _caller(listener: socket.socket, seconds: float, missing: Sequence[str]) -> Link | None:
    """A host that is missing still, if one calls meanwhile."""
    listener.settimeout(seconds)
    try:
        end, _ = listener.accept()
    except OSError:
        return None
    end.settimeout(HELLO)
    link = Link(end, "")
    with suppress(EOFError, OSError, ValueError, KeyError, TypeError):
        line = link.first()
        link.ending = _ending(line) if "ended" in line else None
        link.host = str(line["host"])
    if link.host not in missing:
        end.close()
        return None
    return link


def _joined(host: str, hosts: Sequence[str], port: int, wait: float) -> list[Link]:
    """On any other host: the connection to the first, once all hosts have theirs."""
    first, deadline = hosts[0], time.monotonic() + wait
    link = Link(_connected(first, port, wait, deadline), first)
    try:
        link.send({"host": host})
        # the first may have begun to wait later than this host
        link.end.settimeout(wait + HELLO)
        line = link.first()
    except TimeoutError:
        raise HostError(str(Ending(first, 1, "does not answer"))) from None
    except (EOFError, OSError, ValueError):
        raise HostError(f"host {first} is gone: its process ended while hosts met") from None
    if "ended" in line:
        link.end.close()  # the other end waits until it was read
        ending = _ending(line)
        raise HostError(str(ending), ending.status)
    # hosts that count differently would wait for each other for ever
    if line.get("welcome") != len(hosts):
        sentence = (
            f"host {first} has a job of {line.get('welcome')} hosts, and host {host} one of {len(hosts)}: "
            "expected the same hosts in resourceconfig.json everywhere"
        )
        _send_away([link], Ending(host, 1, f"failed: {sentence}"))
        raise HostError(sentence)
    return [link]


def _connected(first: str, port: int, wait: float, deadline: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection((first, port), timeout=HELLO)
        except UnicodeError:
            raise HostError(f"{first[:100]!r} cannot be the name of a host") from None
        except OSError as error:
            if time.monotonic() > deadline:
                reason = error.strerror or str(error)
                raise HostError(
                    f"host {first} did not come within {wait:g} seconds (port {port}: {reason})"
                ) from None
        time.sleep(min(0.5, wait / 10))


def _close(link: Link, deadline: float) -> None:
    """Say that nothing more comes, and go once the other end has read it all: a plain close may destroy what is on
    its way. The thread may still look at the socket, which the end of the process closes.
    """
    with suppress(OSError, EOFError, ValueError):
        link.end.shutdown(socket.SHUT_WR)
        while True:
            link.end.settimeout(max(deadline - time.monotonic(), 0.01))
            link.read()
