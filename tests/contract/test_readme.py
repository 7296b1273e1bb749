"""What the README shows exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BLOCKS = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [shlex.split(line)[1:] for line in LINES if line.startswith("./touchstone")]
# `lock` is the bootstrap script's own.
SUBCOMMANDS = sorted({words[0] for words in COMMANDS} - {"lock"})


def test_the_readme_shows_commands() -> None:
    """The test below is about something."""
    assert {"up", "demo", "test"} <= set(SUBCOMMANDS)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_command_of_the_readme_has_help(name: str) -> None:
    """Each command shown exists and explains itself."""
    done = subprocess.run(
        [sys.executable, "-m", "touchstone.cli", name, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "Usage" in done.stdout


def test_every_link_leads_somewhere(root: Path) -> None:
    """Links between our own documents are not dead."""
    pages = [root / "README.md", root / "CHANGELOG.md", *sorted((root / "docs").glob("**/*.md"))]
    dead = [
        f"{page.relative_to(root)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert [] == dead
