"""`touchstone pnl`: what a bot has earned, from its event store, as a table, JSON or a page."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from touchstone.cli.console import EXIT_OK, JsonOption, guarded, print_json
from touchstone.cli.fidelity import require_writable, write_text
from touchstone.cli.up import DataDirOption, data_dir_or_default


def pnl(
    data_dir: DataDirOption = None,
    url: Annotated[
        str | None,
        typer.Option("--database-url", help="The event store (DATABASE_URL); else the folder's."),
    ] = None,
    bot_id: Annotated[
        str | None, typer.Option("--bot-id", help="Whose profit, where there are several bots.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Only the last days of the venue's clock.")
    ] = None,
    json_output: JsonOption = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write a self-contained page with an equity plot."),
    ] = None,
) -> None:
    """Report a bot's profit: by day and symbol, with funding, fees, win rate and drawdown.

    Exit code 0 when there was something to report, 1 when there is no event store or no bot in it,
    2 for wrong usage. Nothing is changed.
    """
    # The database's library takes a second to import, which no other command should wait for.
    from touchstone.cli import pnl_table  # noqa: PLC0415 - see above

    def told() -> int:
        require_writable(html)
        folder = data_dir_or_default(data_dir)
        target = pnl_table.store_at(url or os.environ.get("DATABASE_URL"), folder)
        found = asyncio.run(pnl_table.read(target, bot_id, days))
        if html is not None:
            write_text(html, pnl_table.html_page(found))
        if json_output:
            print_json(found.to_json())
        else:
            pnl_table.show(found)
        return EXIT_OK

    raise typer.Exit(guarded(told))
