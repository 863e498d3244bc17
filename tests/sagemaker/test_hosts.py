"""Hosts that are threads of this process; as processes they are in `test_idle_hosts` and `test_distributed_journey`."""

import json
import socket
import threading
import time
from contextlib import suppress

import pytest

from gluonts_shell.errors import HostError
from gluonts_shell.sagemaker.hosts import EARLY_STOP, Ending, Hosts, tell_early
from tests.several import free_port

NAMES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def each(do, names=NAMES):
    """What do(name) returns or raises, for all names at once."""
    found = {}

    def run(name):
        try:
            found[name] = do(name)
        except Exception as error:
            found[name] = error

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [found[name] for name in names]


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def meet(port):
    def one(name, wait=10.0, silence=5.0):
        return Hosts.meet(name, NAMES, port=port, wait=wait, silence=silence)

    return one


def test_a_host_alone_meets_nobody_and_says_everything_to_itself(port):
    threads = threading.active_count()
    hosts = Hosts.meet("local", ["local"], port=port, wait=0, silence=1)
    assert hosts.first
    assert hosts.gather({"epoch": 3}) == [{"epoch": 3}]
    assert hosts.news(0) is None
    assert hosts.address is None
    hosts.leave(0, "is done")
    assert threading.active_count() == threads


def test_what_each_found_is_known_to_all_in_their_order(meet):
    def life(name):
        hosts = meet(name)
        found = [hosts.gather([name, number, None, float("inf")]) for number in range(5)]
        address = hosts.address
        if not hosts.first:
            ending = hosts.wait()
            assert (ending.host, ending.status) == (NAMES[0], 0)
        hosts.leave(0, "is done")
        return found, address

    expected = [[[name, number, None, float("inf")] for name in NAMES] for number in range(5)]
    for found, address in each(life):
        assert found == expected
        assert address.startswith("127.0.0.")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_hosts_are_reached_by_either_version_of_the_internet_protocol(port):
    names = ["::1", "127.0.0.1"]

    def life(name):
        hosts = Hosts.meet(name, names, port=port, wait=10, silence=5)
        found = hosts.gather(hosts.address), hosts.master
        hosts.leave(0, "is done")
        return found

    try:
        socket.create_server(("::1", port), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"the loopback of this machine has no IPv6: {error}")
    assert each(life, names) == [(["::1", "::1"], None), (["::1", "::1"], "::1")]


def test_how_one_ends_is_known_to_all_with_its_reason(meet):
    def life(name):
        hosts = meet(name)
        told = threading.Event()
        hosts.listen(lambda _: told.set())
        if name == NAMES[2]:
            hosts.leave(143, "was stopped by SIGTERM")
            return None
        assert told.wait(10)
        ending = hosts.news(0)
        with pytest.raises(HostError, match=r"host 127\.0\.0\.3 was stopped by SIGTERM"):
            hosts.gather(1)
        hosts.leave(143, "was stopped")
        return str(ending), ending.stopped

    expected = ("host 127.0.0.3 was stopped by SIGTERM", True)
    assert each(life) == [expected, expected, None]


@pytest.mark.parametrize("early", NAMES)
@pytest.mark.parametrize("late", [None, *NAMES])
def test_how_one_ends_before_they_meet_is_known_to_those_who_wait_and_who_come(
    meet, port, early, late
):
    def life(name):
        if name == late:
            time.sleep(0.5)
        if name == early:
            tell_early(name, NAMES, Ending(name, 1, "failed: no such file"), port)
            return None
        with pytest.raises(HostError) as told:
            meet(name)
        return str(told.value), told.value.exit_code

    expected = (f"host {early} failed: no such file", 1)
    assert each(life) == [None if name == early else expected for name in NAMES]


def test_all_may_end_before_they_meet(port):
    began = time.monotonic()

    def life(name):
        tell_early(name, NAMES, Ending(name, 143, "was stopped by SIGTERM"), port)

    assert each(life) == [None, None, None]
    assert time.monotonic() - began < EARLY_STOP


def test_strangers_are_sent_away(meet, port):
    gone = threading.Event()

    def strange(name):
        if name in NAMES:
            if name != NAMES[0]:
                assert gone.wait(20)
            hosts = meet(name)
            hosts.leave(0, "is done")
            return "met"
        for data in (
            b"GET / HTTP/1.0\r\n\r\n",
            b"[1]\n",
            json.dumps({"host": "x"}).encode() + b"\n",
            b"[" * 50_000 + b"\n",
            b"1" * 5_000 + b"\n",
            b"",
        ):
            while True:
                try:
                    end = socket.create_connection(("127.0.0.1", port), timeout=10)
                    break
                except OSError:
                    time.sleep(0.05)
            with end:
                end.sendall(data)
                if data:
                    end.settimeout(10)
                    with suppress(ConnectionResetError):  # of what was not read
                        assert end.recv(10) == b""
        gone.set()
        return "gone"

    assert each(strange, [*NAMES, "stranger"]) == ["met", "met", "met", "gone"]


def test_a_port_that_is_taken_is_named(port):
    with (
        socket.create_server(("", port)),
        pytest.raises(
            HostError, match=rf"port {port}, at which .* cannot be used: Address already in use$"
        ),
    ):
        Hosts.meet(NAMES[0], NAMES, port=port, wait=1, silence=1)


def test_a_name_that_is_never_known_is_told(port):
    with pytest.raises(HostError, match=r"host nowhere\.invalid did not come within 0\.2 seconds"):
        Hosts.meet("z", ["nowhere.invalid", "z"], port=port, wait=0.2, silence=1)


@pytest.mark.parametrize("name", ["..", "a" * 70 + ".example"])
def test_what_can_be_no_name_of_a_host_is_told_at_once(port, name):
    with pytest.raises(HostError, match=r"^'[a.]+(example)?' cannot be the name of a host$"):
        Hosts.meet("z", [name, "z"], port=port, wait=20, silence=1)


def test_hosts_that_count_differently_do_not_begin(port):
    """Each would wait for the others, or train as another part of the job."""

    def life(name):
        names = NAMES[:2] if name == NAMES[0] else NAMES
        hosts = Hosts.meet(name, names, port=port, wait=10, silence=5)
        ending = hosts.wait()
        hosts.leave(1, "failed")
        return str(ending)

    first, second = each(life, NAMES[:2])
    assert isinstance(second, HostError)
    assert str(second) == (
        "host 127.0.0.1 has a job of 2 hosts, and host 127.0.0.2 one of 3: "
        "expected the same hosts in resourceconfig.json everywhere"
    )
    assert first == f"host 127.0.0.2 failed: {second}"


def test_hosts_that_live_cost_next_to_nothing(meet):
    """Each says so once a second, however often the others do."""

    def life(name):
        hosts = meet(name)
        hosts.gather(None)
        sent = []
        for link in hosts.links:
            link.send = lambda line, send=link.send: (sent.append(line), send(line))
        time.sleep(2.5)
        hosts.gather(None)
        hosts.leave(0, "is done")
        return max(1, len(hosts.links)), len([line for line in sent if not line])

    for links, beats in each(life):
        assert links <= beats <= 4 * links
