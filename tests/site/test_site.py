"""The pages as a site: it builds without a warning, and every page is in its menu."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown import markdown
from pymdownx.superfences import SuperFencesException
from ruamel.yaml import YAML

from touchstone.docs_diagrams import drawn

pytestmark = pytest.mark.slow


def named(entries: object) -> set[str]:
    """Return the pages that a menu names, however deep."""
    if isinstance(entries, str):
        return {entries}
    if isinstance(entries, dict):
        entries = list(entries.values())
    assert isinstance(entries, list)
    return set().union(*(named(entry) for entry in entries)) if entries else set()


def test_every_page_is_in_the_menu(root: Path) -> None:
    """And the menu names no page that is not there."""
    text = (root / "mkdocs.yml").read_text().replace("!!python/name:", "")
    pages = {str(page.relative_to(root / "docs")) for page in (root / "docs").rglob("*.md")}
    assert pages == named(YAML(typ="safe").load(text)["nav"])


def test_the_site_builds(root: Path, tmp_path: Path) -> None:
    """Strictly: a dead link, a missing anchor or a page outside the menu is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "touchstone.cli", "docs", "--out", str(tmp_path)],
        cwd=root,
        env=os.environ | {"TOUCHSTONE_HOME": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    front = (tmp_path / "index.html").read_text()
    assert "Touchstone" in front
    # No font is fetched from elsewhere when a page is opened, and no script that draws diagrams.
    assert "fonts.googleapis" not in front
    for page in (root / "docs").glob("*.md"):
        fences = page.read_text().count("```mermaid\n")
        made = (tmp_path / page.with_suffix(".html").name).read_text()
        assert fences == len(set(re.findall(r'<svg id="(diagram-\w+)"', made))), page.name
        assert 'class="mermaid"' not in made


def test_a_diagram_that_is_none_ends_the_build() -> None:
    """A text that nothing can be drawn of is found when the site is built, not by who reads it."""
    fence = {"name": "mermaid", "class": "mermaid", "format": drawn}
    of_fences = {"pymdownx.superfences": {"custom_fences": [fence]}}

    def page(diagram: str) -> str:
        text = f"```mermaid\nstateDiagram-v2\n    {diagram}\n```\n"
        return str(markdown(text, extensions=list(of_fences), extension_configs=of_fences))

    with pytest.raises(SuperFencesException, match="cannot be drawn"):
        page("this is --> -->")
    assert "<figure" in page("A --> B: why")
