"""One run of docker-compose.yml under a project of its own, on free loopback ports."""

import contextlib
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

TOKEN = "compose-test-token"
OURS = ("simulator", "router", "paper-exchange", "order-gateway", "watchdog")
SERVICES = (*OURS, "redis", "postgres", "prometheus", "alertmanager", "grafana")
PORT_NAMES = {
    "router": "TOUCHSTONE_ROUTER_PORT",
    "order-gateway": "TOUCHSTONE_GATEWAY_PORT",
    "paper-exchange": "TOUCHSTONE_EXCHANGE_PORT",
    "simulator": "TOUCHSTONE_SIMULATOR_PORT",
    "simulator-metrics": "TOUCHSTONE_SIMULATOR_METRICS_PORT",
    "redis": "TOUCHSTONE_REDIS_PORT",
    "watchdog": "TOUCHSTONE_WATCHDOG_PORT",
    "postgres": "POSTGRES_PORT",
    "prometheus": "PROMETHEUS_PORT",
    "alertmanager": "ALERTMANAGER_PORT",
    "grafana": "GRAFANA_PORT",
}
COMMAND_SECONDS = 240
POLL_SECONDS = 0.25
T = TypeVar("T")


def why_no_engine() -> str:
    """Return why no container engine can be used, '' when one answers."""
    try:
        result = subprocess.run(  # noqa: PLW1510 - the exit code is the answer
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no container engine answers: {error}"
    return "" if result.returncode == 0 else f"no container engine answers: {result.stderr.strip()}"


def free_ports() -> dict[str, int]:
    """Return a free loopback port for every published one, each another."""
    sockets = {name: socket.socket() for name in PORT_NAMES}
    try:
        for sock in sockets.values():
            sock.bind(("127.0.0.1", 0))
        return {name: sock.getsockname()[1] for name, sock in sockets.items()}
    finally:
        for sock in sockets.values():
            sock.close()


def free_row(count: int) -> range:
    """Return neighbouring loopback ports that are free, below those that clients get.

    A closed client keeps its port for a minute, and until then nobody can listen there.
    """
    for first in random.sample(range(20_000, 32_000), 100):
        row = range(first, first + count)
        with contextlib.ExitStack() as held:
            try:
                for port in row:
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return row
    raise AssertionError(f"no {count} neighbouring ports are free in 20000 to 32000")


@dataclass
class ComposeStack:
    """The stack under one project name; `command` is Compose v2 or docker-compose 1.29."""

    root: Path
    project: str
    image_tag: str
    command: Sequence[str]
    report: Callable[[str], None]
    ports: dict[str, int] = field(default_factory=free_ports)

    def compose(self, *arguments: str, **settings: str) -> str:
        """Run one compose command and return its output; AssertionError where it fails.

        `settings` are variables of the environment beside the stack's own.
        """
        environment = {
            # A developer's own settings stay out of the test; .env is overridden name by name.
            **{k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")},
            **{PORT_NAMES[name]: str(port) for name, port in self.ports.items()},
            "IMAGE_TAG": self.image_tag,
            "TOUCHSTONE_GATEWAY_API_TOKEN": TOKEN,
            "POSTGRES_PASSWORD": "compose-test",
            "DASHBOARDS_DB_PASSWORD": "compose-test-dashboards",
            "ALERT_WEBHOOK_URL": "",
            "WATCHDOG_WEBHOOK_URL": "",
            **settings,
        }
        started = time.monotonic()
        result = subprocess.run(  # noqa: PLW1510 - the assertion says more than the exception
            [*self.command, "-p", self.project, *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert 0 == result.returncode, (
            f"{arguments}: {result.stdout[-2000:]}{result.stderr[-4000:]}"
        )
        self.report(f"{arguments[0]}: {time.monotonic() - started:.1f} s")
        return result.stdout

    def up(self, *options: str) -> None:
        """Start everything, and wait until every container is healthy."""
        self.compose("up", "-d", *options)
        self.wait_healthy(SERVICES)

    def down(self, *options: str) -> None:
        """Stop and remove everything of this project; volumes only with `-v`."""
        self.compose("down", "--remove-orphans", "--timeout", "5", *options)

    def container(self, service: str) -> dict[str, Any]:
        """Return what the engine says of a service's only container."""
        found = self.containers(service)
        assert 1 == len(found), f"{service}: {found}"
        return found[0]

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return what the engine says of a service's containers."""
        filters = (
            f"label=com.docker.compose.project={self.project}",
            f"label=com.docker.compose.service={service}",
        )
        found = docker("ps", "-aq", "--filter", filters[0], "--filter", filters[1]).split()
        return [json.loads(docker("inspect", one))[0] for one in found]

    def wait_healthy(self, services: Sequence[str], seconds: float = 90) -> None:
        """Wait until these services' health checks pass."""
        started, waiting = time.monotonic(), list(services)
        while waiting:
            for service in list(waiting):
                state = self.container(service)["State"]
                if state["Status"] == "running" and state["Health"]["Status"] == "healthy":
                    waiting.remove(service)
                    self.report(f"{service} healthy after {time.monotonic() - started:.1f} s")
            if waiting and time.monotonic() - started > seconds:
                raise AssertionError(f"not healthy after {seconds} s: {self.logs(waiting)}")
            time.sleep(POLL_SECONDS)

    def logs(self, services: Sequence[str]) -> str:
        """Return the last lines of these services."""
        return "\n".join(
            f"--- {name}\n{docker('logs', '--tail', '15', self.container(name)['Id'])}"
            for name in services
        )

    def inside(self, service: str, *command: str, **environment: str) -> str:
        """Run a command inside a service's container."""
        options = [f"--env={name}={value}" for name, value in environment.items()]
        return docker("exec", *options, self.container(service)["Id"], *command)

    def url(self, service: str, path: str = "/") -> str:
        """Return an address on the published port."""
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def call(
        self,
        method: str,
        service: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request through a published port."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.request(
            method,
            self.url(service, path),
            json=body,
            headers=headers,
            params=params,
            timeout=10,
        )


def docker(*arguments: str) -> str:
    """Run one engine command and return its output; AssertionError where it fails."""
    result = subprocess.run(  # noqa: PLW1510 - the assertion says more than the exception
        ["docker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert 0 == result.returncode, f"docker {arguments[0]}: {result.stdout[-2000:]}"
    return result.stdout


def eventually(what: str, read: Callable[[], T | None], seconds: float = 45) -> T:
    """Return the first value of `read` that is neither None nor empty."""
    deadline = time.monotonic() + seconds
    while True:
        value = read()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(POLL_SECONDS)
