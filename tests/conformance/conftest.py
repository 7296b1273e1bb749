"""The clients' environment, made on first use, and two venues that its scripts run against."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.locked_environment import bare_environment, locked_environment
from lob.errors import ConfigError
from tests.conformance.venue_process import venue_process, write_keys
from tests.conftest import ROOT
from tests.services.test_paper_exchange_process import write_certificate

SCRIPTS = ("sdk_rest", "sdk_feed", "ccxt_rest", "ccxt_feed", "guide")
RUN_SECONDS = 280


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """The Python that has ccxt and the SDK: they pin versions that the product does not."""
    lock = ROOT / "tests" / "conformance" / "clients" / "requirements.txt"
    venv = ROOT / ".touchstone" / "conformance" / "clients-venv"
    try:
        return locked_environment(lock, venv, "the clients'")
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Two venues with the same keys: a lively one speaks http, a quiet one https."""
    plain, tls = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("tls")
    certificate, private_key = write_certificate(tls)
    keys = write_keys(plain / "exchange" / "keys")
    desk = tmp_path_factory.mktemp("desk")
    (desk / ".touchstone").symlink_to(plain)
    (tls / "exchange").mkdir()
    (tls / "exchange" / "keys").symlink_to(plain / "exchange" / "keys")
    settings = {
        "STARTING_BALANCE": "500000",
        "RATE_LIMIT_PER_SECOND": "1000",
        "PUBLIC_RATE_LIMIT_PER_SECOND": "1000",
        "CONNECTIONS_PER_SECOND": "1000",
        "UNAUTHENTICATED_MESSAGES_PER_SECOND": "1000",
    }
    quiet = {
        **settings,
        "FLOW": "none",
        "TLS_CERTIFICATE": str(certificate),
        "TLS_KEY": str(private_key),
    }
    with contextlib.ExitStack() as stack:
        yield {
            "plain": stack.enter_context(venue_process(plain, settings)),
            "tls": stack.enter_context(venue_process(tls, quiet, certificate)),
            "keys": keys,
            "certificate": str(certificate),
            "desk": str(desk),
        }


@pytest.fixture(scope="session")
def problems(clients_python: Path, target: dict[str, Any]) -> dict[tuple[str, str], str]:
    """What went wrong in each (script, case), "" for nothing; all run once, in one process.

    Importing ccxt costs more than all its cases do.
    """
    spoken = {name: value for name, value in target.items() if name != "certificate"}
    variables = {**bare_environment(), "REQUESTS_CA_BUNDLE": target["certificate"]}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(
        [str(clients_python), "-m", "tests.conformance.runner", *SCRIPTS],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, errors = process.communicate(json.dumps(spoken), timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
    lines = [json.loads(line) for line in output.splitlines()]
    assert lines, errors[-3_000:]
    return {(line["script"], line["case"]): line["problem"] for line in lines}
