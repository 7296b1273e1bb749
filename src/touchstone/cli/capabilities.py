"""`touchstone capabilities`: ask a venue what it can do, with a key of its own."""

import asyncio
import os
from typing import Annotated, Final

import typer

from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    JsonOption,
    guarded,
    print_json,
)
from touchstone.cli.up import DataDirOption, data_dir_or_default

DATA_DIR_NAME: Final = "TOUCHSTONE_DATA_DIR"


def capabilities(
    venue_url: Annotated[
        str | None, typer.Option("--url", help="The venue's address; else that of the settings.")
    ] = None,
    symbol: Annotated[str, typer.Option("--symbol", help="What to ask about.")] = "BTC-PERP",
    orders: Annotated[
        bool,
        typer.Option("--orders", help="Place orders far from the market; paper exchanges only."),
    ] = False,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Ask the venue which order types and options it supports: by previews, which change nothing.

    Exit code 0 when everything essential is there, 1 when something essential is not or the venue
    does not answer, 2 for wrong usage.
    """
    # The gateway's adapter takes a second to import, which no other command should wait for.
    from touchstone.cli import venue_features  # noqa: PLC0415 - see above

    def run() -> int:
        folder = data_dir_or_default(data_dir)
        os.environ.setdefault(DATA_DIR_NAME, str(folder))
        settings = venue_features.loaded()
        address = venue_url or venue_features.address_of(settings, folder)
        found = asyncio.run(venue_features.ask(settings, address, symbol, orders=orders))
        if json_output:
            print_json(found)
        else:
            venue_features.show(found)
        return EXIT_OK if found["usable"] else EXIT_FAILED

    raise typer.Exit(guarded(run))
