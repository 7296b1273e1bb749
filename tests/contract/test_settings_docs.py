"""docs/settings.md holds the variables that the services read, as the schemas have them."""

from pathlib import Path

from touchstone.cli.config import SERVICES
from touchstone.cli.config_variables import markdown, variables
from touchstone.kit.settings import environment_names


def test_the_page_is_generated(root: Path) -> None:
    """What is listed is what is checked."""
    page = (root / "docs" / "settings.md").read_text()
    assert f"<!-- variables -->\n{markdown(SERVICES)}<!-- end -->" in page


def test_no_variable_is_left_out() -> None:
    """Each name that a service's settings read is in one of the tables, once."""
    listed = [variable.name for found in variables(SERVICES).values() for variable in found]
    assert sorted(set(listed)) == sorted(listed)
    assert set(listed) == set().union(*(environment_names(cls) for cls in SERVICES.values()))
