"""docs/paper-exchange.md: its commands run as printed, its tables are whole.

Its programs run among the clients' cases, in `tests.conformance.guide`.
"""

import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.transport import tls_options
from tests.conformance.guide import GUIDE
from tests.conftest import ROOT
from touchstone.kit.settings import environment_names


def blocks(language: str) -> list[str]:
    """Return the guide's blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_commands_work(target: dict[str, Any]) -> None:
    """Each shell block ends with 0 and complains of nothing."""
    commands = [block for block in blocks("bash") if "curl" in block]
    assert commands
    for command in commands:
        asked = command.replace("127.0.0.1:8090", target["plain"]).replace("curl ", "curl -sSf ")
        done = subprocess.run(
            ["bash", "-ec", asked],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (0, "") == (done.returncode, done.stderr), asked


def test_the_certificate_is_one_for_the_loopback_address(tmp_path: Path) -> None:
    """What the guide's openssl command makes is accepted by the service and names 127.0.0.1."""
    (block,) = [block for block in blocks("bash") if "openssl" in block]
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    command = block.split("\n\n")[0]
    subprocess.run(
        ["bash", "-ec", command], cwd=tmp_path, capture_output=True, timeout=30, check=True
    )
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    assert {"ssl_certfile": certificate, "ssl_keyfile": key} == tls_options(certificate, key)
    trusted = ssl.create_default_context(cafile=str(certificate)).get_ca_certs()
    assert (("IP Address", "127.0.0.1"),) == trusted[0]["subjectAltName"]


def test_the_guide_lists_every_setting() -> None:
    """No setting is missing from the guide's table, and none is there that does not exist."""
    names = {
        name.removeprefix("TOUCHSTONE_EXCHANGE_")
        for name in environment_names(ExchangeSettings) - {"TOUCHSTONE_REDIS_URL"}
    }
    # Every service's, and so without this one's prefix.
    names = names - {"TOUCHSTONE_LOG_FORMAT"} | {"LOG_FORMAT"}
    section = GUIDE.read_text().partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert listed <= names
    assert all(f"`{name}`" in section for name in names), names - listed


def test_every_test_that_the_guide_names_exists() -> None:
    """What shows a claim is there: each file that a command names."""
    text = GUIDE.read_text()
    commands = re.findall(r"`pytest ([^`]+)`", text)
    named = [path for command in commands for path in command.split() if "/" in path]
    assert len(named) > 20
    assert [] == [path for path in named if not (ROOT / path).exists()]
