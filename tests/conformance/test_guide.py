"""docs/paper-exchange.md: each of its programs and commands runs as it is printed."""

import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.locked_environment import bare_environment
from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.transport import tls_options
from tests.conftest import ROOT
from touchstone.kit.settings import environment_names

GUIDE = ROOT / "docs" / "paper-exchange.md"


def blocks(language: str) -> list[str]:
    """Return the guide's blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def desk(target: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the venue's keys are where the guide says."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / ".touchstone").symlink_to(target["folder"])
    return folder


def test_the_programs_run(clients_python: Path, target: dict[str, Any], desk: Path) -> None:
    """The SDK's program, ccxt's and ccxt.pro's end without a complaint, given this venue."""
    programs = blocks("python")
    assert 3 == len(programs)
    for number, program in enumerate(programs):
        (desk / f"{number}.py").write_text(program.replace("127.0.0.1:8090", target["plain"]))
    both = "; ".join(f"runpy.run_path('{n}.py', run_name='__main__')" for n in range(3))
    done = subprocess.run(
        [str(clients_python), "-c", f"import runpy; {both}"],
        cwd=desk,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_the_commands_work(target: dict[str, Any], desk: Path) -> None:
    """Each shell block ends with 0 and complains of nothing."""
    commands = [block for block in blocks("bash") if "curl" in block]
    assert commands
    for command in commands:
        asked = command.replace("127.0.0.1:8090", target["plain"]).replace("curl ", "curl -sSf ")
        done = subprocess.run(
            ["bash", "-ec", asked], cwd=desk, capture_output=True, text=True, timeout=30, check=False
        )
        assert (0, "") == (done.returncode, done.stderr), asked


def test_the_certificate_is_one_for_the_loopback_address(desk: Path) -> None:
    """What the guide's openssl command makes is accepted by the service and names 127.0.0.1."""
    (block,) = [block for block in blocks("bash") if "openssl" in block]
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    command = block.split("\n\n")[0]
    subprocess.run(["bash", "-ec", command], cwd=desk, capture_output=True, timeout=30, check=True)
    certificate, key = desk / "cert.pem", desk / "key.pem"
    assert {"ssl_certfile": certificate, "ssl_keyfile": key} == tls_options(certificate, key)
    trusted = ssl.create_default_context(cafile=str(certificate)).get_ca_certs()
    assert (("IP Address", "127.0.0.1"),) == trusted[0]["subjectAltName"]


def test_the_guide_lists_every_setting() -> None:
    """No setting is missing from the guide's table, and none is there that does not exist."""
    names = {
        name.removeprefix("TOUCHSTONE_EXCHANGE_")
        for name in environment_names(ExchangeSettings) - {"TOUCHSTONE_REDIS_URL"}
    }
    section = GUIDE.read_text().partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert listed <= names
    assert all(f"`{name}`" in section for name in names), names - listed


def test_every_test_that_the_guide_names_exists() -> None:
    """What shows a claim is there: each file and each test that a command names."""
    text = GUIDE.read_text()
    named = re.findall(r"pytest (?:-\S+ )*(tests/\S+?)(?:::(\w+))?`", text)
    assert len(named) > 8
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), test
