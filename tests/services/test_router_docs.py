"""docs/rollout.md: its tables are those of the code, and its commands work in their order."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from touchstone.rollout.assignment import truth_table_markdown
from touchstone.rollout.phases import guards_markdown, mermaid, transitions_markdown
from touchstone.rollout.triggers import triggers_markdown


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page's text."""
    return (root / "docs" / "rollout.md").read_text()


def test_the_tables_are_generated(page: str) -> None:
    """What is published is what decides."""
    for name, table in (
        ("truth table", truth_table_markdown()),
        ("phases", transitions_markdown()),
        ("moves", guards_markdown()),
        ("triggers", triggers_markdown()),
        ("diagram", f"```mermaid\n{mermaid()}\n```"),
    ):
        assert f"<!-- {name} -->\n{table}\n<!-- end -->" in page


async def test_the_commands_work_as_printed(page: str, url: str) -> None:
    """Each block, from top to bottom, against a fresh router: all answers are JSON, no error."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH to run the page's commands with")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 10
    for block in blocks:
        for command in re.split(r"\n(?=curl)", block.strip()):
            process = await asyncio.create_subprocess_exec(
                "bash",
                "-c",
                command.replace("localhost:8000", url),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(10):
                stdout, stderr = await process.communicate()
            assert process.returncode == 0, (command, stdout, stderr)
            assert "error" not in json.loads(stdout)
