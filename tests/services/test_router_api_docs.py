"""docs/api.md: its table is that of the document, its commands work in their order."""

import asyncio
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from services.router.openapi_model import refusals_markdown
from touchstone.openfeature.flags import FLAGS, WHY


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page's text."""
    return (root / "docs" / "api.md").read_text()


def test_the_statuses_are_those_of_the_document(page: str) -> None:
    """What is published is what is answered."""
    assert f"<!-- statuses -->\n{refusals_markdown()}\n<!-- end -->" in page


def test_every_flag_and_every_rule_is_on_the_page(page: str) -> None:
    """With the reason that a rule is told by."""
    flags = re.findall(r"^\| `([a-z_0-9.]+)` \| (?:string|bool|float|obj)", page, re.MULTILINE)
    assert set(FLAGS) == set(flags)
    for rule, why in WHY.items():
        rows = [row for row in page.splitlines() if re.match(rf"\|.*`{rule}`.*\| `{why}` \|", row)]
        assert len(rows) == 1, rule


async def test_the_commands_do_what_the_page_says(page: str, url: str) -> None:
    """From top to bottom against a fresh router: answered, or refused where the page says so."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH to run the page's commands with")
    blocks = re.findall(r"```(bash|refused)\n(.*?)```", page, re.DOTALL)
    assert [kind for kind, _ in blocks].count("refused") == 2
    for kind, block in blocks:
        for command in re.split(r"\n(?=curl)", block.strip()):
            process = await asyncio.create_subprocess_exec(
                "bash",
                "-c",
                command.replace("localhost:8000", url.removeprefix("http://")),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(10):
                stdout, stderr = await process.communicate()
            assert process.returncode == 0, (command, stdout, stderr)
            assert ("error" in json.loads(stdout)) is (kind == "refused"), (command, stdout)


async def test_the_program_on_the_page_runs(
    page: str, url: str, router_environment: str, root: Path
) -> None:
    """Beside a router in SHADOW: L2, disabled, by the rule shadow."""
    assert url
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program.replace("redis://127.0.0.1:6379/0", router_environment),
        cwd=root,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr
    # With the files as they are shipped the master switch may be off: both say L2.
    assert re.search(rb"^L2 DISABLED (shadow|master_flag)$", stdout, re.MULTILINE), stdout
