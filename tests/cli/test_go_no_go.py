"""The go/no-go matrix as the terminal shows it."""

import io

from rich.console import Console

from touchstone.cli import go_no_go

NAME = "order_success_rate"


def test_a_rows_name_stays_whole_on_a_narrow_terminal() -> None:
    """The runbooks name rows; a name in two pieces is found by nobody."""
    row = {
        "name": NAME,
        "direction": "higher",
        "colour": "UNKNOWN",
        "reason": "58 observations; at least 100 are needed",
        "green": 0.95,
        "red": 0.9,
        "unit": "share",
    }
    verdict = {"rows": [row], "waivers": [], "reasons": [], "decision": "HOLD"}
    console = Console(file=io.StringIO(), width=60)
    go_no_go._print(verdict, console)
    assert NAME in console.file.getvalue()  # type: ignore[attr-defined]
