"""Schemathesis against a real gateway: no 5xx that is not documented, no undocumented status."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.processes import free_port, order_gateway
from touchstone.kit.redis_server import RedisServer

TOKEN = "a-token-of-24-characters"
# Without a venue every order is refused, which no schema says; a change of the kill switch has to
# name the present generation.
CONFIG = """\
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
positive_data_acceptance.expected-statuses = [
    "2xx", "400", "401", "403", "404", "409", "422", "429", "501", "503",
]
"""
SECONDS = 8
SEED = 20_261_121


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_request_finds_a_gap_between_the_document_and_the_gateway(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    """Examples, boundary values, drawn requests wrong and right: each answer is documented."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    program = Path(sys.executable).with_name("st")
    command = str(program) if program.exists() else shutil.which("st")
    assert command is not None
    with order_gateway(tmp_path, own_redis.url, free_port(), api_token=TOKEN) as gateway:
        gateway.wait_until("/v1/kill-switch", state="ACTIVE")
        found = subprocess.run(
            [
                command,
                *("--config-file", str(config), "run", f"{gateway.url}/openapi.json"),
                *("--seed", str(SEED), "--max-time", str(SECONDS), "--max-examples", "10"),
                *("--no-color", "--header", f"Authorization: Bearer {TOKEN}"),
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": ""},
            capture_output=True,
            text=True,
            timeout=SECONDS + 90,
            check=False,
        )
        assert found.returncode == 0, found.stdout[-20_000:]
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log.read_text()
    # A run that was cut short still has to have come to every operation.
    tested = [line.split()[1] for line in found.stdout.splitlines() if "Tested: " in line]
    selected = [line.split()[1] for line in found.stdout.splitlines() if "Selected: " in line]
    assert selected == [f"{tested[0]}/{tested[0]}"], found.stdout[-5_000:]
