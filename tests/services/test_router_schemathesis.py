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

TOKEN = "a-token-of-24-characters"
HOOKS = Path(__file__).with_name("consistent_orders.py")
# That a change has to name its generation (428) is no matter of its schema.
CONFIG = f"""\
hooks = "{HOOKS}"
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "428", "429"]
# What an order costs where nobody offers depends on all of its numbers: no schema says which are
# refused.
[[operations]]
include-path = "/v1/executions"
checks.positive_data_acceptance.enabled = false
[[operations]]
# Each that is taken is a process of seconds at the lowest priority: its boundary values have a
# test of their own.
include-path = "/v1/rollout/what-if"
request-timeout = 110
phases.coverage.enabled = false
phases.fuzzing.enabled = false
phases.stateful.enabled = false
"""
SEED = 20_260_105


@pytest.fixture
def address(
    request: pytest.FixtureRequest, root: Path, tmp_path: Path, own_redis: RedisServer
) -> Iterator[str]:
    """A router process with Redis, with a token or without, and without a simulator."""
    token: str | None = request.param
    env = environment(
        tmp_path,
        TOUCHSTONE_REDIS_URL=f"redis://127.0.0.1:{own_redis.port}/0",
        **({} if token is None else {"TOUCHSTONE_ROUTER_API_TOKEN": token}),
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
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("address", "token", "phases", "seconds_max"),
    # Behind the token are the same operations: drawn requests and chains need not be done twice.
    [
        (TOKEN, TOKEN, "examples,coverage", 150),
        (None, None, "examples,coverage,fuzzing,stateful", 60),
    ],
    indirect=["address"],
    ids=["token", "open"],
)
def test_no_request_finds_a_gap_between_the_document_and_the_router(
    address: str, token: str | None, phases: str, seconds_max: int, tmp_path: Path
) -> None:
    """Examples, boundary values, drawn requests wrong and right, and chains along the links.

    What the schema allows is taken, but for single executions. Orders are made consistent first,
    where several numbers have to be right together (`consistent_orders`).
    """
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    program = Path(sys.executable).with_name("st")
    command = str(program) if program.exists() else shutil.which("st")
    assert command is not None
    found = subprocess.run(
        [
            command,
            *("--config-file", str(config)),
            "run",
            f"{address}/openapi.json",
            *("--seed", str(SEED), "--max-time", str(seconds_max), "--max-examples", "10"),
            *("--phases", phases, "--no-color"),
            *(() if token is None else ("--header", f"Authorization: Bearer {token}")),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=seconds_max + 60,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-20_000:]
    # A run that was cut short still has to have come to every operation.
    tested = [line.split()[1] for line in found.stdout.splitlines() if "Tested: " in line]
    selected = [line.split()[1] for line in found.stdout.splitlines() if "Selected: " in line]
    assert len(tested) == 1, found.stdout[-5_000:]
    assert selected == [f"{tested[0]}/{tested[0]}"]
