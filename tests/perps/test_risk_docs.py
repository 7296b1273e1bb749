"""The page about risk says what the code does."""

from pathlib import Path

from touchstone.perps.filters import EntryRefusal
from touchstone.perps.profiles import profile_table
from touchstone.perps.risk import guard_table


def test_tables_are_the_codes_own(root: Path) -> None:
    """docs/gateway-risk.md has profiles, guards and every code of a refusal as they run."""
    text = (root / "docs" / "gateway-risk.md").read_text()
    assert profile_table() in text
    assert guard_table() in text
    for code in EntryRefusal:
        assert f"`{code.value}`" in text
