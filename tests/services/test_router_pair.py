"""Two router processes on one real Redis, each with half of a trouble: they trip as one."""

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.services.router_harness import request_json
from tests.services.test_router_process import environment, start, wait_for

ORDERS_EACH = 60
"""Below the hundred that `error_rate` wants, so that neither router trips alone."""
SECONDS_APART = 1 / 15
"""Below the twenty a second that each router's own breaker wants."""


class _Refusing(grpc.GenericRpcHandler):
    """Answer every call of every other service with UNAVAILABLE."""

    def service(self, _call: grpc.HandlerCallDetails) -> Any:
        """Return a handler that refuses."""

        def refuse(_requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.UNAVAILABLE, "no books")
            yield b""

        return grpc.stream_stream_rpc_method_handler(refuse)


@pytest.fixture
def refusing_simulator() -> Iterator[str]:
    """The address of a simulator that says it serves, and executes nothing."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    healthy = health.HealthServicer()
    for name in ("", "touchstone.v1.ExecutionService"):
        healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    server.add_generic_rpc_handlers((_Refusing(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


@pytest.fixture
def two_routers(
    root: Path, tmp_path: Path, redis_url: str, refusing_simulator: str
) -> Iterator[list[tuple[subprocess.Popen[str], str]]]:
    """Two processes with their addresses, in the canary phase, AAPL on L3."""
    running = []
    try:
        for n in range(2):
            env = environment(
                tmp_path / f"r{n}",
                TOUCHSTONE_REDIS_URL=redis_url,
                TOUCHSTONE_ROUTER_SIMULATOR_ADDRESS=refusing_simulator,
            )
            url = f"http://127.0.0.1:{env['TOUCHSTONE_ROUTER_PORT']}"
            running.append((start(root, env), url))
        for process, url in running:
            wait_for(process, partial(is_leased, url))
        change = httpx.put(
            f"{running[0][1]}/v1/rollout",
            json={"phase": "CANARY", "canary_symbols": ["AAPL"]},
            headers={"If-Match": f'"{state(running[0][1])["generation"]}"'},
            timeout=5,
        )
        assert 200 == change.status_code, change.text
        for process, url in running:
            wait_for(process, partial(may_answer, url))
        yield running
    finally:
        for process, _ in running:
            process.kill()
            process.communicate()


def state(url: str) -> Any:
    """Return a router's view of the rollout."""
    return httpx.get(f"{url}/v1/rollout", timeout=5).json()


def is_leased(url: str) -> bool:
    """Return whether a router holds a lease on the state."""
    return bool(state(url)["control"]["leased"])


def may_answer(url: str) -> bool:
    """Return whether a router's L3 may answer."""
    return bool(state(url)["l3_may_answer"])


def is_rolled_back(url: str) -> bool:
    """Return whether a router sees the rollback."""
    return bool(state(url)["phase"] == "ROLLED_BACK")


def has_dossier(url: str) -> bool:
    """Return whether a router has written one dossier."""
    return metric(url, 'rollout_dossiers_total{outcome="written"}') == 1


def metric(url: str, line: str) -> float:
    """Return one sample of a router's metrics."""
    rows = httpx.get(f"{url}/metrics", timeout=5).text.splitlines()
    (found,) = [row for row in rows if row.startswith(f"{line} ")]
    return float(found.rsplit(" ", 1)[1])


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Return once a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_halves_of_a_trouble_in_two_processes_trip_both_once(
    two_routers: list[tuple[subprocess.Popen[str], str]],
) -> None:
    """Sixty failures each: one rollback in the audit, L2 in both, a dossier of each."""
    urls = [url for _, url in two_routers]
    with httpx.Client(timeout=5) as client:
        for _ in range(ORDERS_EACH):
            for url in urls:
                answer = client.post(f"{url}/v1/executions", json=request_json()).json()
                assert "FILLED" == answer["fill"]["status"]
            time.sleep(SECONDS_APART)
    for url in urls:
        until(partial(is_rolled_back, url), 5)
    entries = httpx.get(f"{urls[1]}/v1/rollout/audit", timeout=5).json()["entries"]
    assert 1 == [entry["phase"] for entry in entries].count("ROLLED_BACK")
    assert entries[0]["reason"].startswith("error_rate: ")
    assert "trigger" == entries[0]["actor"]
    kept = []
    for url in urls:
        until(partial(has_dossier, url), 10)
        answer = httpx.post(f"{url}/v1/executions", json=request_json(), timeout=5).json()
        assert ("L2", "rolled_back") == (answer["decision"]["arm"], answer["decision"]["rule"])
        (dossier,) = httpx.get(f"{url}/v1/rollout/dossiers", timeout=5).json()["dossiers"]
        kept.append((dossier["kind"], dossier["generation"]))
        assert 0 == metric(url, 'rollout_dossiers_total{outcome="failed"}')
        assert 0 == metric(url, 'rollout_trigger_trips_total{trigger="error_storm"}')
    assert [("automatic", entries[0]["generation"])] * 2 == kept
    time.sleep(1.0)
    assert entries == httpx.get(f"{urls[0]}/v1/rollout/audit", timeout=5).json()["entries"]
