"""Every program and every command on a page runs: here, or in the test that is named for it."""

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest
import pytest_asyncio

import execution_providers
import lob
import lob.config
from tests.conftest import ROOT
from touchstone.cli.ports import Ports
from touchstone.cli.stack import Stack
from touchstone.v1 import book_pb2, execution_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN: Final = frozenset({"bash", "python"})
SHOWN: Final = frozenset({"text", "json", "mermaid", "yaml", "sql", "refused", ""})
"""Fences that hold no command; where one matters, the test of its page knows it."""

ELSEWHERE: Final = {
    "README.md": "tests/contract/test_readme.py",
    "api.md": "tests/services/test_router_api_docs.py",
    "calibration.md": "tests/contract/test_calibration_docs.py",
    "configuration.md": "tests/contract/test_configuration_docs.py",
    "feeds.md": "tests/contract/test_feeds_docs.py",
    "models.md": "tests/contract/test_models_docs.py",
    "paper-exchange.md": "tests/conformance/test_guide.py",
    "perps-rollout.md": "tests/contract/test_plan_runner.py",
    "rollout.md": "tests/services/test_router_docs.py",
    "simulator.md": "tests/services/test_simulator_docs.py",
}

COMMANDS_ELSEWHERE: Final = {
    "./touchstone demo": "tests/e2e/test_demo.py",
    "./touchstone up": "tests/e2e/test_up.py",
    "./touchstone bench": "tests/bench",
    "touchstone bench": "tests/bench",
    "touchstone drill": "tests/cli",
    "touchstone go-no-go": "tests/cli",
    "touchstone calibrate": "tests/cli",
    "touchstone decisions": "tests/cli/test_decisions.py",
    "touchstone fidelity": "tests/fidelity",
    "python -m bench": "tests/bench",
    "python -m tests.properties.differential": "tests/properties",
    "touchstone replay": "tests/cli",
    "cp .env.example": "tests/compose/test_compose.py",
    "docker compose": "tests/compose/test_compose.py",
    "export TOUCHSTONE_SIMULATOR_PORT": "tests/compose/test_compose.py",
    "pytest tests/test_execution_providers_l3.py": "tests/test_execution_providers_l3.py",
    "curl": "tests/services",
    "python scripts/emergency_close_all.py": "tests/services/test_emergency_close.py",
    "python scripts/run_perps_bot_v2.py": "tests/contract/test_plan_runner.py",
    "touchstone kill": "tests/e2e/test_kill_paths.py",
    "touchstone rollback": "tests/services/test_router_cli.py",
    "touchstone rollout": "tests/services/test_router_cli.py",
    "promtool check rules": "tests/touchstone/test_alerts.py",
    "promtool test rules": "tests/touchstone/test_alerts.py",
}


class Block(NamedTuple):
    """One fenced block of a page."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}-{self.language}"


FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
INDENTED: Final = re.compile(r"(?<=\n\n)(?:    .+\n)+")


def pages() -> dict[str, str]:
    """Return the text of the README and of every page, by name."""
    paths = {"README.md": ROOT / "README.md"}
    paths |= {str(p.relative_to(ROOT / "docs")): p for p in sorted((ROOT / "docs").rglob("*.md"))}
    return {name: path.read_text() for name, path in paths.items()}


def blocks() -> list[Block]:
    """Return every fenced block of the README and the pages, in order."""
    found = []
    for name, page in pages().items():
        for number, fence in enumerate(FENCE.finditer(page), 1):
            indent = len(fence[1])
            text = "".join(line[indent:] for line in fence[3].splitlines(keepends=True))
            found.append(Block(name, number, fence[2], text))
    return found


BLOCKS: Final = blocks()
# What a page leaves behind is the next one's start: first those that find everything new, and last
# the one that halts trading.
FIRST: Final = ("quickstart.md", "L3_MIGRATION_GUIDE.md")
LAST: Final = ("gateway.md",)
HERE: Final = sorted(
    (b for b in BLOCKS if b.language in RUN and b.page not in ELSEWHERE),
    key=lambda block: (block.page in LAST, *(block.page != page for page in FIRST)),
)


def test_every_block_is_of_a_kind_that_somebody_looks_at() -> None:
    """A fence of another language would be run by nobody."""
    known = RUN | SHOWN | {"console", "sh"}
    assert [] == [str(block) for block in BLOCKS if block.language not in known]


@pytest.mark.parametrize("page", ELSEWHERE)
def test_pages_with_a_test_of_their_own_are_read_by_it(page: str) -> None:
    """The named test opens the page."""
    text = (ROOT / ELSEWHERE[page]).read_text()
    assert page in text or page.removesuffix(".md") in text


def test_commands_that_are_only_shown_have_a_test() -> None:
    """What takes minutes or ends the stack is run in the place that is named here."""
    shown = [
        line.removeprefix("$ ").removeprefix("./").strip()
        for block in BLOCKS
        if block.language in ("console", "sh") and block.page not in ELSEWHERE
        for line in block.text.splitlines()
        if line.startswith("$ ") or (block.language == "sh" and line[:1].strip())
    ]
    shown += [
        line.strip().removeprefix("./")
        for name, page in pages().items()
        if name not in ELSEWHERE
        for block in INDENTED.findall(FENCE.sub("", page))
        for line in block.splitlines()
        if re.match(r" {4}(\./)?(touchstone|python) ", line)
    ]
    known = [command.removeprefix("./") for command in COMMANDS_ELSEWHERE]
    assert [] == [line for line in shown if not line.startswith(tuple(known))]
    assert [] == [path for path in COMMANDS_ELSEWHERE.values() if not (ROOT / path).exists()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Everything that `./touchstone up` starts, on free ports."""
    # Blocks change the rollout, and a rollback is written into its file: not into the shipped one.
    folder = tmp_path_factory.mktemp("stack")
    rollout = folder / "l3_rollout.yaml"
    rollout.write_text((ROOT / "configs" / "l3_rollout.yaml").read_text())
    environment = {"TOUCHSTONE_ROUTER_ROLLOUT_PATH": str(rollout)}
    made = Stack(
        Ports.free(), folder, report=lambda _name, _what: None, extra_environment=environment
    )
    async with made as running:
        yield running


@pytest.mark.asyncio(loop_scope="module")
async def test_the_reference_lists_every_call(stack: Stack) -> None:
    """Those of the documents that router and gateway serve, of gRPC, and what Python imports."""
    page = (ROOT / "docs" / "reference.md").read_text()
    parts = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    async with httpx.AsyncClient(trust_env=False) as http:
        for title, port in (
            ("Router", stack.ports.router),
            ("Order gateway", stack.ports.order_gateway),
        ):
            document = (await http.get(f"http://127.0.0.1:{port}/openapi.json")).json()
            calls = {
                f"{method.upper()} {path}"
                for path, methods in document["paths"].items()
                for method in methods
            }
            assert calls == set(re.findall(r"^\| `([A-Z]+ /[^`]*)`", parts[title], re.MULTILINE))
    served = {
        f"{service.name}/{method.name}"
        for file in (execution_pb2, book_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert served == set(re.findall(r"^\| `(\w+/\w+)`", parts["Simulator"], re.MULTILINE))
    public = {*execution_providers.__all__, *lob.__all__, *lob.config.__all__}
    assert public == set(re.findall(r"^\| `(\w+)`", parts["Python"], re.MULTILINE))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("block", HERE, ids=str)
async def test_the_block_runs(stack: Stack, block: Block) -> None:
    """It ends with 0, in the order of the page, against a running stack."""
    if block.language == "python":
        command = [sys.executable, "-c", block.text]
    else:
        command = ["bash", "-e", "-o", "pipefail", "-c", at(stack.ports, block.text)]
    tools = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "TOUCHSTONE_DATA_DIR": str(stack.data_dir),
        "SIMULATOR": f"127.0.0.1:{stack.ports.simulator}",
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, complaints = await process.communicate()
    assert 0 == process.returncode, f"{printed.decode()}\n{complaints.decode()}"


def at(ports: Ports, text: str) -> str:
    """Return commands with this stack's addresses and tools instead of the usual ones."""
    for name, usual in (("router", 8000), ("order_gateway", 8080), ("paper_exchange", 8090)):
        for host in ("127.0.0.1", "localhost"):
            text = text.replace(f"{host}:{usual}", f"127.0.0.1:{getattr(ports, name)}")
    own = f"{shlex.quote(sys.executable)} -m touchstone.cli "
    return re.sub(r"^(\./)?touchstone ", lambda _found: own, text, flags=re.MULTILINE)
