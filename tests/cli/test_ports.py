"""Ports: overrides, refusals, free ones."""

import socket

import pytest

from lob.errors import ConfigError, Unavailable
from touchstone.cli.ports import PORT_NAMES, Ports


def test_defaults_are_the_documented_ports() -> None:
    """Clients and docs rely on these numbers."""
    expected = Ports(6379, 50051, 50052, 9101, 8000, 8080, 8090, 8081)
    assert expected == Ports.from_environment({})


def test_environment_moves_a_port() -> None:
    """Each part can be moved by its own variable."""
    assert 8123 == Ports.from_environment({"TOUCHSTONE_ROUTER_PORT": "8123"}).router


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "eighty", "80.5"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """The error names the variable, the value and the range."""
    with pytest.raises(ConfigError, match=r"TOUCHSTONE_ROUTER_PORT.*allowed: 1 to 65535"):
        Ports.from_environment({"TOUCHSTONE_ROUTER_PORT": text})


def test_two_parts_cannot_share_a_port() -> None:
    """A clash inside the configuration is found before anything starts."""
    with pytest.raises(ConfigError, match="8080: TOUCHSTONE_ROUTER_PORT has this"):
        Ports.from_environment({"TOUCHSTONE_ROUTER_PORT": "8080"})


def test_a_port_in_use_is_named_with_the_variable_that_moves_it() -> None:
    """One line tells which port, for what, and what to set."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = Ports.from_environment({"TOUCHSTONE_GATEWAY_PORT": str(port)})
        with pytest.raises(Unavailable, match=rf"port {port} for order_gateway.*GATEWAY_PORT"):
            ports.refuse_taken(but=frozenset(PORT_NAMES) - {"order_gateway"})


def test_free_ports_are_different_and_free() -> None:
    """A demonstration never collides with a running stack."""
    ports = Ports.free()
    ports.refuse_shared()
    ports.refuse_taken()
