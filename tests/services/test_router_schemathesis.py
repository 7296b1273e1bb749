"""Schemathesis against a real router: no 5xx, no status, type or shape that is not documented."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.services.test_router_process import environment, start
from touchstone.kit.redis_server import RedisServer

pytest.importorskip("schemathesis")

TOKEN = "a-token-of-24-characters"
SECONDS = 45
SEED = 20_260_105


@pytest.fixture
def address(root: Path, tmp_path: Path, own_redis: RedisServer) -> Iterator[str]:
    """A router process with Redis and a token, without a simulator."""
    env = environment(
        tmp_path,
        TOUCHSTONE_REDIS_URL=f"redis://127.0.0.1:{own_redis.port}/0",
        TOUCHSTONE_ROUTER_API_TOKEN=TOKEN,
    )
    url = f"http://127.0.0.1:{env['TOUCHSTONE_ROUTER_PORT']}"
    log = tmp_path / "router.log"
    process = start(root, env, log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                httpx.get(f"{url}/healthz", timeout=5)
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield url
        process.terminate()
        assert process.wait(20) == 0
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_no_request_finds_a_gap_between_the_document_and_the_router(
    address: str, tmp_path: Path
) -> None:
    """Examples, boundary values, drawn requests wrong and right, and chains along the links.

    `positive_data_acceptance` is left out: that an order is right depends on several fields at
    once (a limit order has a limit price, a book is not crossed), which a schema does not say. That
    right requests are taken is the business of the tests of the examples.
    """
    program = Path(sys.executable).with_name("st")
    command = str(program) if program.exists() else shutil.which("st")
    assert command is not None
    found = subprocess.run(
        [
            command,
            "run",
            f"{address}/openapi.json",
            *("--seed", str(SEED), "--max-time", str(SECONDS), "--max-examples", "20"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
            *("--header", f"Authorization: Bearer {TOKEN}", "--no-color"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-20_000:]
    # A run that was cut short still has to have come to every operation.
    tested = [line.split()[1] for line in found.stdout.splitlines() if "Tested: " in line]
    selected = [line.split()[1] for line in found.stdout.splitlines() if "Selected: " in line]
    assert len(tested) == 1, found.stdout[-5_000:]
    assert selected == [f"{tested[0]}/{tested[0]}"]
