"""The docs show the tables that run."""

from pathlib import Path

from touchstone.perps.diagrams import kill_table, order_table


def test_the_docs_hold_the_tables(root: Path) -> None:
    """docs/gateway.md contains both tables as the code has them."""
    text = (root / "docs" / "gateway.md").read_text()
    assert order_table() in text
    assert kill_table() in text
