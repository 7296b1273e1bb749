"""The embedded stack, with a real Prometheus and Alertmanager beside it, on free loopback ports."""

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from ruamel.yaml import YAML

from tests.fakes.processes import free_port
from touchstone.cli.demo_flow import synthetic_requests
from touchstone.cli.ports import Ports

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("router", "simulator", "order_gateway", "watchdog", "paper_exchange")
T = TypeVar("T")


def eventually(what: str, read: Callable[[], T], seconds: float = 30.0) -> T:
    """Return the first value of `read` that is true; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = read()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def binary(*names: str) -> str:
    """Return the path of the first program that is there, or skip."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.skip(f"{names[0]} is not installed")
    raise AssertionError


@contextlib.contextmanager
def process(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of a `with` block."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(os.environ if environment is None else environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(5)


@dataclass
class Stack:
    """A running `touchstone up`."""

    ports: Ports
    folder: Path
    parts: dict[str, dict[str, Any]]
    environment: dict[str, str]
    http: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=10, trust_env=False), repr=False
    )

    def address(self, service: str) -> str:
        """Return where a service exports its metrics, as host and port."""
        port = "simulator_metrics" if service == "simulator" else service
        return f"127.0.0.1:{getattr(self.ports, port)}"

    def call(self, method: str, service: str, path: str, **options: Any) -> httpx.Response:
        """Send one request to a service."""
        return self.http.request(method, f"http://{self.address(service)}{path}", **options)

    def metrics(self, service: str) -> str:
        """Return what a service exports."""
        answer = self.call("GET", service, "/metrics")
        assert 200 == answer.status_code, service
        return answer.text

    def pid(self, service: str) -> int:
        """Return the process of a service."""
        return int(self.parts[service]["pid"])

    def phase(self, **document: object) -> None:
        """Put the rollout into another phase."""
        etag = self.call("GET", "router", "/v1/rollout").headers["ETag"]
        body = {"reason": "a test", **document}
        answer = self.call("PUT", "router", "/v1/rollout", json=body, headers={"If-Match": etag})
        assert 200 == answer.status_code, answer.text

    def kill_state(self, state: str) -> None:
        """Put the kill switch into another state, with the generation it has now."""
        now = self.call("GET", "order_gateway", "/v1/kill-switch").json()
        body = {"state": state, "reason": "a test", "expected_generation": now["generation"]}
        answer = self.call("POST", "order_gateway", "/v1/kill-switch", json=body)
        assert 200 == answer.status_code, answer.text


@contextlib.contextmanager
def embedded_stack(folder: Path, **more: str) -> Iterator[Stack]:
    """Start the stack on free ports; stop it at the end whatever became of it."""
    ports = Ports.free()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")}
    environment = clean | ports.environment() | {"TOUCHSTONE_HOME": str(ROOT)} | more
    command = [sys.executable, "-m", "touchstone.cli", "up", "--json", "--stop-after", "240"]
    # What a test ends stays away until its alert has fired.
    command += ["--no-restart"]
    with (folder / "up.txt").open("w") as stderr:
        running = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line, (folder / "up.txt").read_text()
        yield Stack(ports, folder, json.loads(line)["parts"], environment)
    finally:
        running.terminate()
        running.wait(30)


@dataclass
class Load:
    """Orders to router and gateway, from a thread of its own, until it is stopped."""

    stack: Stack
    seed: int = 3
    answers: int = 0
    placed: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator["Load"]:
        """Send for the length of a `with` block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(20)

    def _run(self) -> None:
        requests = list(synthetic_requests(300, self.seed))
        with httpx.Client(timeout=10, trust_env=False) as client:
            number = 0
            while not self._stop.wait(0.05):
                for _ in range(4):
                    self._execute(client, requests[number % len(requests)], number)
                    number += 1
                if number % 20 == 0:
                    self._place(client, number // 20)

    def _execute(self, client: httpx.Client, body: dict[str, Any], number: int) -> None:
        order = body["order"] | {"client_order_id": f"m{self.seed}-{number}"}
        with contextlib.suppress(httpx.HTTPError):
            url = f"http://{self.stack.address('router')}/v1/executions"
            answer = client.post(url, json=body | {"order": order})
            self.answers += answer.status_code == 200

    def _place(self, client: httpx.Client, number: int) -> None:
        side = "SELL" if number % 2 else "BUY"
        body: dict[str, object] = {
            "symbol": "BTC-PERP",
            "side": side,
            "quantity": "0.01",
            "type": "MARKET",
        }
        # Every fifth rests far from the market, and is cancelled at once.
        rests = number % 5 == 0
        if rests:
            body |= {"type": "LIMIT", "post_only": True, "side": "BUY", "limit_price": "20000"}
        url = f"http://{self.stack.address('order_gateway')}/v1/orders"
        with contextlib.suppress(httpx.HTTPError):
            answer = client.post(url, json=body)
            self.placed += answer.status_code == 201
            if rests and answer.status_code == 201:
                client.delete(f"{url}/{answer.json()['order']['client_order_id']}")


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str
    http: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=10, trust_env=False), repr=False
    )

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """Return the data of one call of its API."""
        answer = self.http.get(f"{self.url}/api/v1/{path}", params=parameters)
        assert 200 == answer.status_code, answer.text
        found: dict[str, Any] = answer.json()["data"]
        return found

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now."""
        data = self.get("query", query=expression)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        found: list[dict[str, Any]] = data["result"]
        return found

    def shows(self, expression: str) -> bool:
        """Return whether an expression gives a series that is not NaN."""
        return any(not math.isnan(float(series["value"][1])) for series in self.query(expression))

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {
            alert["labels"]["alertname"]
            for alert in self.get("alerts")["alerts"]
            if alert["state"] == "firing"
        }


@contextlib.contextmanager
def prometheus(stack: Stack, folder: Path, alertmanager_port: int = 0) -> Iterator[Prometheus]:
    """Run Prometheus with the project's configuration and rules, its intervals at one second."""
    yaml = YAML(typ="safe")
    document = yaml.load(ROOT / "configs/prometheus.yml")
    document["global"] = {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        # A hundred rules every second would be most of what the machine does.
        "evaluation_interval": "2s",
    }
    document["rule_files"] = [
        str(ROOT / "alerts" / Path(name).name) for name in document["rule_files"]
    ]
    managers = [f"127.0.0.1:{alertmanager_port}"] if alertmanager_port else []
    document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": managers}]}]}
    port = free_port()
    addresses = {name: stack.address(name) for name in SERVICES}
    addresses |= {
        "prometheus": f"127.0.0.1:{port}",
        "alertmanager": f"127.0.0.1:{alertmanager_port}",
    }
    document["scrape_configs"] = [
        {
            "job_name": config["job_name"],
            "static_configs": [{"targets": [addresses[config["job_name"]]]}],
        }
        for config in document["scrape_configs"]
    ]
    file = folder / "prometheus.yml"
    yaml.dump(document, file)
    command = [
        binary("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
        "--query.timeout=5s",
    ]
    with process(command, folder / "prometheus.log"):
        server = Prometheus(f"http://127.0.0.1:{port}")
        eventually("Prometheus", lambda: _answers(f"{server.url}/-/ready"))
        yield server


@contextlib.contextmanager
def alertmanager(folder: Path, operator: str, watchdog: str) -> Iterator[int]:
    """Run Alertmanager by the project's start script, its waits shortened; return its port."""
    template = folder / "alertmanager-template.yml"
    text = (ROOT / "configs/alertmanager.yml").read_text()
    for long, short in (
        ("group_wait: 5s", "group_wait: 0s"),
        ("group_interval: 30s", "group_interval: 1s"),
        ("group_interval: 1m", "group_interval: 1s"),
    ):
        assert long in text, long
        text = text.replace(long, short)
    template.write_text(text)
    port = free_port()
    environment = os.environ | {
        "ALERTMANAGER_TEMPLATE": str(template),
        "ALERTMANAGER_RENDERED": str(folder / "alertmanager.yml"),
        "ALERTMANAGER_BINARY": binary("alertmanager", "prometheus-alertmanager"),
        "ALERT_WEBHOOK_URL": operator,
        "WATCHDOG_WEBHOOK_URL": watchdog,
    }
    command = [
        *("sh", str(ROOT / "configs/alertmanager-start.sh")),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with process(command, folder / "alertmanager.log", environment):
        eventually("Alertmanager", lambda: _answers(f"http://127.0.0.1:{port}/-/ready"))
        yield port


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


class Receiver:
    """What the webhooks of Alertmanager post to; it keeps every alert that it is told of."""

    def __init__(self) -> None:
        received: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.extend(alert | {"path": self.path} for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Receiver"]:
        """Listen for the length of a `with` block."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(5)

    def told(self, name: str, status: str) -> list[dict[str, Any]]:
        """Return what was said of an alert with this status (firing or resolved)."""
        return [
            alert
            for alert in list(self.received)
            if alert["labels"]["alertname"] == name and alert["status"] == status
        ]
