"""The rollout plan's kill-switch command, as printed but for the port, and the CLI beside it."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.processes import ROOT, Service, free_port, order_gateway
from touchstone.kit.redis_server import RedisServer, running_redis

PRINTED = "curl -X POST localhost:8080/reduce-only"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this module's own."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def gateway(redis: RedisServer, tmp_path: Path) -> Iterator[Service]:
    """A gateway without a venue: the kill switch needs none."""
    import redis as client  # noqa: PLC0415 - the fixture has its name

    with client.Redis.from_url(redis.url) as connection:
        connection.flushdb()
    with order_gateway(tmp_path, redis.url, free_port()) as made:
        made.wait_until("/v1/kill-switch", state="ACTIVE", known=True)
        yield made


def touchstone(environment: dict[str, str], *words: str) -> tuple[int, str, str]:
    """Run a command of the command line in a program that has only the kill commands."""
    program = (
        "import sys, typer\n"
        "from touchstone.cli import kill\n"
        "app = typer.Typer()\n"
        "app.command('kill')(kill.kill)\n"
        "app.command('reduce-only')(kill.reduce_only)\n"
        "app()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def environment_of(gateway: Service, redis: RedisServer) -> dict[str, str]:
    """Return the environment that points the command line at both."""
    port = gateway.url.rsplit(":", 1)[1]
    return {"TOUCHSTONE_GATEWAY_PORT": port, "TOUCHSTONE_REDIS_URL": redis.url}


def test_the_printed_curl_closes_the_gate(gateway: Service) -> None:
    """Word for word from loopback, no body, no header, no token."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH")
    command = PRINTED.replace("localhost:8080", gateway.url.removeprefix("http://"))
    command = command.replace("127.0.0.1", "localhost")
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", *command.split()[1:]],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    [ack] = answer.pop("acks")
    assert ack["member"].startswith("gateway:")
    assert answer.pop("seconds") >= ack["seconds"] > 0
    assert answer == {
        "scope": "global",
        "state": "REDUCE_ONLY",
        "requested": "REDUCE_ONLY",
        "generation": 2,
        "persisted": True,
        "detail": "persisted",
        "acked": 2,
        "lapsed": [],
    }
    assert gateway.call("GET", "/v1/kill-switch").json()["state"] == "REDUCE_ONLY"


def test_the_command_line_goes_through_the_gateway(gateway: Service, redis: RedisServer) -> None:
    """Tighten, refuse without a confirmation, loosen with everything named."""
    environment = environment_of(gateway, redis)
    code, out, _ = touchstone(environment, "reduce-only", "--json")
    assert (code, json.loads(out)["state"], json.loads(out)["by"]) == (0, "REDUCE_ONLY", "gateway")
    words = ["kill", "--scope", "global", "--state", "HALTED", "--reason", "drill"]
    code, _, told = touchstone(environment, *words)
    assert (code, "--confirm" in told) == (2, True)
    code, out, _ = touchstone(environment, *words, "--confirm", "--json")
    assert (code, json.loads(out)["state"]) == (0, "HALTED")
    code, _, told = touchstone(environment, "kill", "--confirm")
    assert (code, "--reason" in told) == (2, True)
    loosen = ["kill", "--state", "REDUCE_ONLY", "--reason", "over", "--confirm"]
    assert touchstone(environment, *loosen)[0] == 2
    assert touchstone(environment, *loosen, "--expected-generation", "1")[0] == 1
    code, out, _ = touchstone(environment, *loosen, "--expected-generation", "3")
    assert (code, "REDUCE_ONLY (generation 4" in out) == (0, True)


def test_without_a_gateway_the_command_line_writes_to_redis(
    gateway: Service, redis: RedisServer
) -> None:
    """The gateway is gone: the state is there for whoever starts next; loosening is refused."""
    environment = environment_of(gateway, redis)
    gateway.stop()
    code, out, told = touchstone(environment, "reduce-only", "--json")
    assert (code, json.loads(out)["by"], json.loads(out)["generation"]) == (0, "redis", 2)
    assert "writing to Redis directly" in told
    words = ["kill", "--state", "ACTIVE", "--reason", "r", "--confirm", "--expected-generation"]
    assert touchstone(environment, *words, "2")[0] == 1
    environment["TOUCHSTONE_REDIS_URL"] = "redis://127.0.0.1:1/0"
    code, out, told = touchstone(environment, "reduce-only")
    assert (code, out) == (1, "")
    assert "Traceback" not in told


def test_something_else_on_the_port_is_not_taken_for_a_gateway(redis: RedisServer) -> None:
    """A server that answers 200 without being a gateway: said so, and written to Redis."""

    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "TOUCHSTONE_GATEWAY_PORT": str(server.server_port),
            "TOUCHSTONE_REDIS_URL": redis.url,
        }
        code, out, told = touchstone(environment, "reduce-only", "--json")
        server.shutdown()
    assert (code, json.loads(out)["by"]) == (0, "redis")
    assert "no answer of a gateway" in told
    assert "Traceback" not in told
