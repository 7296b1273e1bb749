"""The simulator as a real process: start, serve, drain, and what it says when it cannot start."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.simulator_harness import ROOT, request
from touchstone.kit.simulator_client import SimulatorClient

PREFIX = "TOUCHSTONE_SIMULATOR_"


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**settings: object) -> dict[str, str]:
    """Return this environment with settings of the simulator."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()}


@contextlib.asynccontextmanager
async def process(**settings: object) -> AsyncIterator[Any]:
    """Start `python -m services.simulator`; kill it at the end if it still runs."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.simulator",
        cwd=ROOT,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def until_ready(metrics_port: int) -> dict[str, Any]:
    """Return the readiness body once the process answers."""
    async with asyncio.timeout(30), httpx.AsyncClient() as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.get(f"http://127.0.0.1:{metrics_port}/readyz")
                if answer.status_code == 200:
                    return dict(answer.json())
            await asyncio.sleep(0.05)


async def test_it_serves_and_drains_on_sigterm() -> None:
    """Health, an execution, metrics; SIGTERM under load answers what is under way and exits 0."""
    port, metrics_port = free_port(), free_port()
    async with process(port=port, metrics_port=metrics_port) as child:
        assert "ready" == (await until_ready(metrics_port))["status"]
        async with SimulatorClient(f"127.0.0.1:{port}", deadline_seconds=10.0) as client:
            assert "FILLED" == (await client.execute(request(), 1)).status
            async with httpx.AsyncClient() as http:
                metrics = (await http.get(f"http://127.0.0.1:{metrics_port}/metrics")).text
            assert 'l3_executions_total{result="filled",side="BUY",symbol="ABC"} 1.0' in metrics
            assert "l3_enabled 1.0" in metrics
            batch = asyncio.create_task(client.execute_batch([request()] * 200, 1))
            await asyncio.sleep(0.02)
            child.send_signal(signal.SIGTERM)
            assert 200 == len(await batch)
            assert 0 == await asyncio.wait_for(child.wait(), 15)


@pytest.mark.parametrize("which", ["port", "metrics_port"])
async def test_a_port_in_use_is_one_line_and_exit_1(which: str) -> None:
    """The line names the address; there is no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {"port": free_port(), "metrics_port": free_port()}
        ports[which] = taken.getsockname()[1]
        async with process(**ports, log_level="ERROR") as child:
            _, said = await asyncio.wait_for(child.communicate(), 30)
    assert 1 == child.returncode
    lines = said.decode().splitlines()
    assert [
        f"simulator: cannot listen on 127.0.0.1:{ports[which]}: Address already in use"
    ] == lines


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"l3_config_path": "nowhere.yaml"}, "nowhere.yaml"),
        ({"max_in_flght": 3}, "TOUCHSTONE_SIMULATOR_MAX_IN_FLGHT"),
        ({"seed": -1}, "TOUCHSTONE_SIMULATOR_SEED"),
    ],
)
async def test_a_wrong_setting_is_one_line_and_exit_2(
    settings: dict[str, object], named: str
) -> None:
    """The line names what is wrong."""
    async with process(**settings) as child:
        _, said = await asyncio.wait_for(child.communicate(), 30)
    assert 2 == child.returncode
    lines = said.decode().splitlines()
    assert 1 == len(lines)
    assert named in lines[0]


async def test_an_unknown_key_in_the_l3_file_is_one_line_and_exit_2(tmp_path: Path) -> None:
    """The line names the file and the key."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("latncy: {}\n")
    async with process(l3_config_path=wrong) as child:
        _, said = await asyncio.wait_for(child.communicate(), 30)
    assert 2 == child.returncode
    assert 1 == len(said.decode().splitlines())
    assert b"wrong.yaml: latncy" in said
