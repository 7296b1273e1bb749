"""A router, a simulator with the minimal preset and a Redis: real processes, started as always."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lob.errors import Unavailable
from touchstone.kit.lifecycle import die_with_parent
from touchstone.kit.processor_time import computed_seconds
from touchstone.kit.redis_server import running_redis

ACCOUNT: Final = "bench"
"""On the canary list: its orders are L3's, everybody else's are L2's, in the same process."""
START_SECONDS_MAX: Final = 30.0
MINIMAL: Final = "latency:\n  enabled: false\n"
"""The preset `minimal` of `lob.config`: everything by default but for the latency."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Processes that serve."""

    port: int
    router: "subprocess.Popen[bytes]"
    simulator: "subprocess.Popen[bytes]"

    def cpu_seconds(self) -> dict[str, float]:
        """Return what each process has computed since its start, from /proc; Linux only."""
        found = {}
        for name, process in (("router", self.router), ("simulator", self.simulator)):
            if Path(f"/proc/{process.pid}").exists():
                found[name] = computed_seconds(process.pid)
        return found

    def load(self, home: Path, **job: Any) -> dict[str, Any]:
        """Run the load generator in a process of its own and return what it says."""
        before = self.cpu_seconds()
        found = run_load(home, "router_load", {"port": self.port, "batch": 0, **job})
        after = self.cpu_seconds()
        found["cpu"] = {name: after[name] - before[name] for name in after}
        found["cpu"]["generator"] = found.pop("cpu_seconds")
        return found


@contextlib.contextmanager
def running_stack(home: Path, folder: Path) -> Iterator[Stack]:
    """Serve in the canary phase with `ACCOUNT` on the list, for the length of a `with` block.

    The triggers watch as always but may not act: a machine that is loaded to its limit is slow, and
    that is what is measured here, not a reason to leave L3 half-way.
    """
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(running_redis(folder / "redis"))
        router, simulator, simulator_metrics, streams = free_ports(4)
        config = folder / "execution_l3.yaml"
        config.write_text(MINIMAL)
        environment = checkout_environment(home) | {
            "AUTO_ROLLBACK_ENABLED": "false",
            "TOUCHSTONE_REDIS_URL": redis.url,
            "TOUCHSTONE_DATA_DIR": str(folder),
            "TOUCHSTONE_ROUTER_PORT": str(router),
            "TOUCHSTONE_ROUTER_SIMULATOR_ADDRESS": f"127.0.0.1:{simulator}",
            "TOUCHSTONE_ROUTER_SIMULATOR_STREAM_ADDRESS": f"127.0.0.1:{streams}",
            "TOUCHSTONE_SIMULATOR_STREAM_PORT": str(streams),
            "TOUCHSTONE_SIMULATOR_PORT": str(simulator),
            "TOUCHSTONE_SIMULATOR_METRICS_PORT": str(simulator_metrics),
            "TOUCHSTONE_SIMULATOR_L3_CONFIG_PATH": str(config),
        }
        processes = [
            stack.enter_context(running_service(name, home, environment, folder))
            for name in ("simulator", "router")
        ]
        wait_until(lambda: call_json(simulator_metrics, "GET", "/readyz")[0] == http.client.OK)
        wait_until(lambda: _ready(router))
        _to_canary(router)
        yield Stack(router, processes[1], processes[0])


@contextlib.contextmanager
def running_simulator(
    home: Path, folder: Path, config: Path, **settings: object
) -> "Iterator[tuple[int, subprocess.Popen[bytes]]]":
    """Serve a simulator alone, with an L3 file, for a `with` block; yields its port and process."""
    port, metrics_port = free_ports(2)
    environment = checkout_environment(home) | {
        "TOUCHSTONE_DATA_DIR": str(folder),
        "TOUCHSTONE_SIMULATOR_PORT": str(port),
        "TOUCHSTONE_SIMULATOR_METRICS_PORT": str(metrics_port),
        "TOUCHSTONE_SIMULATOR_L3_CONFIG_PATH": str(config),
        **{f"TOUCHSTONE_SIMULATOR_{name.upper()}": str(value) for name, value in settings.items()},
    }
    with running_service("simulator", home, environment, folder) as process:
        wait_until(lambda: call_json(metrics_port, "GET", "/readyz")[0] == http.client.OK)
        yield port, process


def free_ports(count: int) -> list[int]:
    """Return so many ports that are free at this moment."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def run_load(home: Path, module: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run one of this package's load processes with a job and return what it says."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", f"bench.{module}"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        cwd=home,
        env=checkout_environment(home),
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"{module}: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def checkout_environment(home: Path) -> dict[str, str]:
    """Return this process's environment without settings of ours, with the checkout's code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHSTONE_")}
    kept.pop("USE_L3_SIMULATOR", None)
    return kept | {"PYTHONPATH": f"{home / 'src'}{os.pathsep}{home}"}


@contextlib.contextmanager
def running_service(
    name: str, home: Path, environment: dict[str, str], folder: Path
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a service's process for a `with` block; what it says goes into a file of the folder."""
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", f"services.{name}"],
            cwd=home,
            env=environment,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def call_json(
    port: int, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, Any]:
    """Send one request with a JSON body and return the answer's status and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _ready(port: int) -> bool:
    status, body = call_json(port, "GET", "/readyz")
    checks = body.get("checks", {})
    return status == http.client.OK and all(
        checks.get(name, {}).get("ok") for name in ("rollout", "redis", "simulator")
    )


def _to_canary(port: int) -> None:
    _, rollout = call_json(port, "GET", "/v1/rollout")
    change = {
        "phase": "CANARY",
        "basis_points": 0,
        "canary_accounts": [ACCOUNT],
        "canary_symbols": [],
    }
    tag = f'"{rollout["generation"]}"'
    status, answer = call_json(port, "PUT", "/v1/rollout", change, **{"If-Match": tag})
    if status != http.client.OK:
        raise Unavailable(f"PUT /v1/rollout: {status}: {answer}")


def wait_until(condition: Any) -> None:
    """Return when `condition()` holds; `Unavailable` where it does not in time."""
    until = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException, ValueError):
            pass
        if time.monotonic() > until:
            raise Unavailable(f"not ready within {START_SECONDS_MAX} s")
        time.sleep(0.05)
