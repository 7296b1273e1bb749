"""Every alert leads to a section that says what it means, where to look and what to do."""

import re
from pathlib import Path

import pytest
import typer

from grafana.generate import build
from tests.monitoring.rules import ROOT, alerts
from touchstone.cli.app import app

RUNBOOKS = ROOT / "docs" / "runbooks"
PROCEDURES = ("index", "rollout", "rollback", "kill", "reduce-only", "emergency-close", "restore")
PAGES = sorted(RUNBOOKS.glob("*.md"))
CHECKLISTS = ROOT / "docs" / "checklists.md"


def sections(page: Path) -> dict[str, str]:
    """Return the text below each heading of the second level, by heading."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_is_a_page_for_each_procedure() -> None:
    """Whoever is woken finds the page by its name."""
    assert set(PROCEDURES) <= {page.stem for page in PAGES}


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_has_its_section(alert: str) -> None:
    """`runbook_url` is a page that exists and the alert's own section, with its three parts."""
    for rule in alerts()[alert]:
        path, anchor = rule["annotations"]["runbook_url"].split("#")
        assert alert.lower() == anchor
        text = sections(ROOT / path)[alert]
        for part in ("Means", "Look", "Do"):
            assert f"- **{part}**: " in text, f"{alert}: {part}"


def test_no_section_is_about_an_alert_that_is_gone() -> None:
    """A runbook does not outlive its alert."""
    named = {name for page in RUNBOOKS.glob("*-alerts.md") for name in sections(page)}
    assert set(alerts()) == named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link is a page, and its anchor a heading of it."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.parametrize("page", [*PAGES, CHECKLISTS], ids=lambda page: page.stem)
def test_commands_exist(page: Path) -> None:
    """What the page tells to type is a command of ours, or a script or a test that is there."""
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    for line in re.findall(r"touchstone ((?:[a-z-]+ ?)+)", page.read_text()):
        first, *rest = line.split()
        assert first in command.commands, line
        group = command.commands[first]
        if rest and isinstance(group, typer.core.TyperGroup) and not rest[0].startswith("-"):
            assert rest[0] in group.commands, line
    for script in re.findall(r"\b(?:scripts|(?<!alerts/)tests)/[\w/]+(?:\.py)?", page.read_text()):
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_panels_that_are_named_exist(page: Path) -> None:
    """What stands in italics is the title of a panel, or the page says that it is none."""
    titles = {panel["title"] for document in build().values() for panel in document["panels"]}
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*\n]+)\*(?!\*)", page.read_text()))
    assert set() == named - titles - {"Execution"}
