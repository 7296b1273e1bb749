"""A bot's profit, read from its event store and shown as a table; imported when it is asked for."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import URL

from lob.errors import NotFound
from touchstone.cli.console import out
from touchstone.cli.pnl_page import (
    DAY_HEADS,
    SYMBOL_HEADS,
    TOTALS,
    day_rows,
    html_page,
    money,
    symbol_rows,
)
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_url import database_url
from touchstone.kit.pnl_report import PnlReport, bot_of, report

__all__ = ["html_page", "read", "show", "store_at"]

DEADLINE_SECONDS = 30.0
WIDTH = 160


def store_at(url: str | None, folder: Path) -> URL:
    """Return the database, which has to be there: a report makes none."""
    target = database_url(url, folder / "gateway" / "events.db")
    if target.get_backend_name() == "sqlite" and not Path(target.database or "").is_file():
        raise NotFound(f"event store {target.database}: no such file; has a gateway run here?")
    return target


async def read(target: URL, bot_id: str | None, days: int | None) -> PnlReport:
    """Return the report of a bot's days, the newest `days` of them."""
    async with EventStore(
        target, bot_id=bot_id or "", deadline_seconds=DEADLINE_SECONDS, migrate=False
    ) as store:
        store.bot_id = await bot_of(store, bot_id)
        return await report(store, days=days)


def show(found: PnlReport) -> None:
    """Print days, symbols and totals."""
    console = Console(file=out.file, width=None if out.is_terminal else WIDTH, highlight=False)
    for title, heads, rows in (
        (f"Days of {found.bot_id}", DAY_HEADS, day_rows(found.days)),
        ("Symbols", SYMBOL_HEADS, symbol_rows(found.symbols)),
    ):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for head in heads:
            number = head.startswith("#")
            table.add_column(head.lstrip("#"), justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    totals = found.totals
    for name, label in TOTALS.items():
        console.print(f"{label}: {money(totals[name])}", markup=False)
