"""What a part of the evidence hands over: checks against a bar, tables and figures.

Every part of the evidence is one function `measure(..., *, progress, seed=0) -> Evidence`.
"""

import math
from dataclasses import dataclass
from typing import Any

from touchstone.plots import Figure, Kind, Series

__all__ = ["Cell", "Check", "Evidence", "Figure", "Kind", "Series", "Table", "Unmeasured"]

Cell = str | float | int
"""One cell of a table."""


@dataclass(frozen=True, slots=True)
class Check:
    """One figure, the bar that it has to reach, and whether it does."""

    name: str
    measured: float | str
    bar: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """What a market does not let one measure, and why: neither does it hold nor fail."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; each row has a cell for each column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One part of the evidence: what was measured, in plain words, figures and tables.

    `unmeasured` names the checks that could not be made, each with the reason.
    """

    name: str
    title: str
    text: str
    checks: tuple[Check, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()

    @property
    def holds(self) -> bool:
        """Return whether every check that was made holds."""
        return all(check.holds for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return it as an object that JSON can say: a figure that is not finite is null."""
        return {
            "name": self.name,
            "title": self.title,
            "text": self.text,
            "holds": self.holds,
            "checks": [
                {
                    "name": check.name,
                    "measured": _said(check.measured),
                    "bar": check.bar,
                    "holds": bool(check.holds),
                }
                for check in self.checks
            ],
            "unmeasured": [{"name": one.name, "why": one.why} for one in self.unmeasured],
            "tables": [
                {
                    "title": table.title,
                    "columns": list(table.columns),
                    "rows": [[_said(cell) for cell in row] for row in table.rows],
                }
                for table in self.tables
            ],
            "figures": [_figure(figure) for figure in self.figures],
        }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "title": figure.title,
        "x_label": figure.x_label,
        "y_label": figure.y_label,
        "kind": figure.kind,
        "log_x": figure.log_x,
        "log_y": figure.log_y,
        "series": [
            {
                "name": one.name,
                "x": [_said(value) for value in one.x],
                "y": [_said(value) for value in one.y],
                "low": [_said(value) for value in one.low],
                "high": [_said(value) for value in one.high],
            }
            for one in figure.series
        ],
    }


def _said(value: object) -> str | float | int | None:
    """Return a cell as JSON has it; numpy's numbers become Python's."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None
