"""The router with the real simulator over gRPC: L3 answers, and dies, and comes back."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.services.router_harness import (
    ROOT,
    request_json,
    running_router,
    to_canary,
)

Eventually = Callable[..., Awaitable[float]]


class Simulator:
    """A simulator process on a fixed free port."""

    def __init__(self, data_dir: Path) -> None:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            self.port, self.metrics_port = first.getsockname()[1], second.getsockname()[1]
        self.data_dir = data_dir
        self.log = data_dir / "simulator.log"
        self.start()

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")}
        env |= {
            "TOUCHSTONE_SIMULATOR_PORT": str(self.port),
            "TOUCHSTONE_SIMULATOR_METRICS_PORT": str(self.metrics_port),
            "TOUCHSTONE_DATA_DIR": str(self.data_dir),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.simulator"],
            cwd=ROOT,
            env=env,
            stderr=self.log.open("a"),
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the simulator does not listen")

    def kill(self) -> None:
        """End it at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """A running simulator, ended with the test."""
    running = Simulator(tmp_path)
    yield running
    running.kill()


@pytest.mark.usefixtures("router_environment")
async def test_l3_answers_dies_and_comes_back(
    simulator: Simulator, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request has an answer: L3's, then L2's by fallback, then L3's again.

    With the triggers on, a simulator that is dead for long is rolled back: another test's matter.
    """
    monkeypatch.setenv("AUTO_ROLLBACK_ENABLED", "false")
    async with running_router(simulator=f"127.0.0.1:{simulator.port}") as harness:
        await eventually(lambda: harness.decides)
        await harness.execute()
        await eventually(lambda: harness.components.shadow.mirrored == 1)
        pair = (await harness.client.get("/v1/shadow/pairs")).json()["pairs"][0]
        assert pair["error"] is None
        assert pair["candidate"]["attribution"]["provider"] == "L3"
        await to_canary(harness)
        answer = await harness.execute()
        assert answer["decision"]["arm"] == "L3"
        assert answer["fill"]["attribution"]["provider"] == "L3"
        ready = (await harness.client.get("/readyz")).json()
        assert ready["status"] == "ready", ready

        simulator.kill()
        for _ in range(5):
            started = time.monotonic()
            answer = await harness.execute()
            assert time.monotonic() - started < 1.0
            assert answer["decision"]["arm"] == "L2"
            assert answer["decision"]["rule"].startswith("fallback:")
            assert answer["fill"]["status"] == "FILLED"
        assert (await harness.client.get("/readyz")).json()["status"] == "degraded"

        simulator.start()
        deadline = time.monotonic() + 30
        while (answer := await harness.execute())["decision"]["arm"] != "L3":
            assert time.monotonic() < deadline, answer["decision"]
            # A client in this process leaves the loop no time to renew the router's lease.
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("router_environment")
async def test_a_trace_leads_from_the_request_to_the_simulator(
    simulator: Simulator, eventually: Eventually
) -> None:
    """Both services log the caller's trace id and the decision's id, one by one and in batch."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}

    def logged() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in simulator.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == "execution"]

    async with running_router(simulator=f"127.0.0.1:{simulator.port}") as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        assert "L3" == (await harness.execute())["decision"]["arm"]
        with structlog.testing.capture_logs() as ours:
            one = await harness.client.post("/v1/executions", json=request_json(), headers=headers)
            body = {"requests": [request_json(), request_json()]}
            many = await harness.client.post("/v1/executions/batch", json=body, headers=headers)
        assert (200, 200) == (one.status_code, many.status_code)
        assert trace in one.headers["traceresponse"]
        await eventually(lambda: len(logged()) == 3)
    identity = one.json()["decision"]["id"]
    assert [trace] * 3 == [line["trace_id"] for line in logged()]
    assert identity == logged()[0]["decision_id"]
    answers = [one.json(), *many.json()["results"]]
    told = [line["decision_id"] for line in ours if line["event"] == "execution"]
    assert [answer["decision"]["id"] for answer in answers] == told
