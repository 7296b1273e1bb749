"""The diagrams of the page on architecture are drawn from the tables that run."""

from pathlib import Path

from touchstone.perps.diagrams import kill_mermaid, order_mermaid
from touchstone.rollout.phases import mermaid


def test_the_diagrams_are_generated(root: Path) -> None:
    """Phases, kill switch and orders, as the code has them."""
    page = (root / "docs" / "architecture.md").read_text()
    for diagram in (mermaid(), kill_mermaid(), order_mermaid()):
        assert f"```mermaid\n{diagram}\n```" in page
