"""Real processes for service tests: a paper exchange and a gateway on free ports, in a folder."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 40
MODULES = {"watchdog": "services.order_gateway.watchdog"}


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request; never through a proxy."""
        with httpx.Client(base_url=self.url, timeout=10, trust_env=False) as client:
            return client.request(method, path, **options)

    def wait_until(self, path: str, **wanted: object) -> dict[str, Any]:
        """Ask until the JSON answer has these fields; fail with the log after a while."""
        deadline = time.monotonic() + START_SECONDS_MAX
        body: dict[str, Any] = {}
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                body = self.call("GET", path).json()
                if all(body.get(name) == value for name, value in wanted.items()):
                    return body
            time.sleep(0.05)
        raise AssertionError(f"{path} is {body}, not {wanted}: {self.log.read_text()[-2000:]}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=20)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number: int = sock.getsockname()[1]
        return number


@contextlib.contextmanager
def running(
    name: str, port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[Service]:
    """Run `python -m services.<name>`; whatever still runs at the end is stopped."""
    log = folder / f"{name}-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULES.get(name, f"services.{name}")],
            cwd=ROOT,
            env={**os.environ, "TOUCHSTONE_DATA_DIR": str(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    service = Service(process, f"http://127.0.0.1:{port}", log)
    try:
        yield service
    finally:
        try:
            service.stop()
        except subprocess.TimeoutExpired:
            service.stop(signal.SIGKILL)


@contextlib.contextmanager
def paper_exchange(folder: Path, port: int = 0, **settings: str) -> Iterator[Service]:
    """Run a paper exchange that answers."""
    port = port or free_port()
    environment = {
        "TOUCHSTONE_EXCHANGE_PORT": str(port),
        **{f"TOUCHSTONE_EXCHANGE_{name.upper()}": value for name, value in settings.items()},
    }
    with running("paper_exchange", port, folder, environment) as made:
        made.wait_until("/healthz", status="ok")
        yield made


@contextlib.contextmanager
def order_gateway(
    folder: Path, redis_url: str, venue_port: int, **settings: str
) -> Iterator[Service]:
    """Run a gateway that answers (it need not be ready)."""
    port = free_port()
    environment = {
        "TOUCHSTONE_REDIS_URL": redis_url,
        "TOUCHSTONE_GATEWAY_PORT": str(port),
        "TOUCHSTONE_GATEWAY_VENUE_URL": f"http://127.0.0.1:{venue_port}",
        "TOUCHSTONE_GATEWAY_VENUE_WS_URL": f"ws://127.0.0.1:{venue_port}",
        **{f"TOUCHSTONE_GATEWAY_{name.upper()}": value for name, value in settings.items()},
    }
    with running("order_gateway", port, folder, environment) as made:
        made.wait_until("/healthz", status="ok")
        yield made


@contextlib.contextmanager
def watchdog(
    folder: Path, redis_url: str, gateway: str, venue: str, key_file: Path, **settings: str
) -> Iterator[Service]:
    """Run a watchdog that answers, over the gateway and the venue at these addresses."""
    port = free_port()
    environment = {
        "TOUCHSTONE_REDIS_URL": redis_url,
        "TOUCHSTONE_WATCHDOG_PORT": str(port),
        "TOUCHSTONE_WATCHDOG_GATEWAY_URL": gateway,
        "TOUCHSTONE_WATCHDOG_VENUE_URL": venue,
        "TOUCHSTONE_WATCHDOG_API_KEY_FILE": str(key_file),
        **{f"TOUCHSTONE_WATCHDOG_{name.upper()}": value for name, value in settings.items()},
    }
    with running("watchdog", port, folder, environment) as made:
        made.wait_until("/healthz", status="ok")
        yield made
