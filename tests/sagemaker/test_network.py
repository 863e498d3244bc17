import socket

import pytest

from gluonts_shell.sagemaker import network


@pytest.fixture
def loopback():
    names = [name for _, name in socket.if_nameindex()]
    if "lo" not in names:
        pytest.skip("this machine calls its loopback otherwise")
    return "lo"


def test_the_interface_that_is_named_wins_where_it_is_there(loopback):
    assert network.interface(loopback, "10.0.0.1") == loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.3", "::1"])
def test_else_the_one_that_has_the_address(loopback, address):
    assert network.interface("eth77", address) == loopback
    assert network.interface(None, address) == loopback


def test_none_where_nothing_is_known():
    assert network.interface("eth77", "203.0.113.9") is None
