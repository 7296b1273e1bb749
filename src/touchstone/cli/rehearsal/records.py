"""What the gateway recorded, read from its event store by SQL as an operator would."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

DEFECTS: Final = (
    "order_defect",
    "order_terms_differ",
    "order_missing",
    "order_adopted",
    "position_adopted",
    "journal_lost",
    "journal_damaged",
    "store_gap",
)
"""Events that tell of something that should not have happened where nothing was broken."""
_BAD_LEVELS: Final = ("error", "critical")


@dataclass(frozen=True, slots=True)
class Records:
    """One event store, opened for reading."""

    path: Path

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            return list(database.execute(query, values))

    def payloads(self, event_type: str) -> Iterator[dict[str, Any]]:
        """Yield the payloads of a type of event, oldest first."""
        query = "SELECT payload FROM events WHERE type = ? ORDER BY sequence"
        for (payload,) in self.rows(query, event_type):
            yield json.loads(payload)

    def count(self, event_type: str) -> int:
        """Return how many events of a type there are."""
        return int(self.rows("SELECT COUNT(*) FROM events WHERE type = ?", event_type)[0][0])

    def defects(self) -> dict[str, int]:
        """Return how often what should not happen did, by type."""
        marks = ",".join("?" * len(DEFECTS))
        query = f"SELECT type, COUNT(*) FROM events WHERE type IN ({marks}) GROUP BY type"  # noqa: S608 - only question marks
        return dict(self.rows(query, *DEFECTS))

    def orders(self) -> dict[str, int]:
        """Return how many orders have each status."""
        return dict(self.rows("SELECT status, COUNT(*) FROM orders GROUP BY status"))

    def bot_ids(self) -> list[str]:
        """Return the bots that the events name."""
        return [row[0] for row in self.rows("SELECT DISTINCT bot_id FROM events")]

    def totals(self, column: str) -> dict[str, Decimal]:
        """Return the sum of a column of the positions' deltas, by symbol."""
        if column not in ("quantity", "cost", "realized_pnl", "fees", "funding_paid"):
            raise AssertionError(f"column: {column!r}")
        found: dict[str, Decimal] = {}
        for symbol, value in self.rows(f"SELECT symbol, {column} FROM positions"):  # noqa: S608 - one of four names
            found[symbol] = found.get(symbol, Decimal(0)) + Decimal(str(value))
        return found


def logged_errors(log: Path) -> list[str]:
    """Return the lines of a JSON log that tell of an error, shortened; no JSON is one, too."""
    found = []
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in filter(None, lines):
        try:
            record = json.loads(line)
        except ValueError:
            found.append(line[:200])
            continue
        if isinstance(record, dict) and record.get("level") in _BAD_LEVELS:
            why = record.get("why") or record.get("what") or record.get("exception") or ""
            found.append(f"{record.get('event')}: {why}"[:200])
    return found
