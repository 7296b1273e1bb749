"""`touchstone convert`: write what any reader reads in another format."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lob.feeds.writers import WRITERS, Conversion, convert, writer_format
from touchstone.cli.console import EXIT_OK, JsonOption, guarded, out, print_json
from touchstone.cli.feeds import (
    FORMATS,
    LotSize,
    Publisher,
    Quiet,
    Snapshot,
    Source,
    Symbol,
    TickSize,
    advance,
    find_source,
    progress_bar,
)


def convert_file(
    file: Annotated[Path, typer.Argument(help="The file to read.")],
    output: Annotated[Path, typer.Argument(help="The file to write.")],
    from_format: Annotated[
        str | None, typer.Option("--from", help=f"Its format, if not found: {FORMATS}.")
    ] = None,
    to_format: Annotated[
        str | None,
        typer.Option("--to", help=f"Else the ending says it: {', '.join(WRITERS)}."),
    ] = None,
    symbol: Symbol = None,
    publisher: Publisher = None,
    tick_size: TickSize = None,
    lot_size: LotSize = None,
    snapshot: Snapshot = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    json_output: JsonOption = False,
    quiet: Quiet = False,
) -> None:
    """Write a file's messages in another format, and say what that one cannot say.

    Exit code 0 when the file is written, 1 when it is there already (--force replaces it), 2 when a
    file or an option cannot be used. A file that is not whole never appears under its name.
    """

    def run() -> int:
        source = find_source(
            file, from_format, symbol, tick_size, lot_size, publisher=publisher, quiet=quiet
        )
        source = source._replace(snapshot=snapshot)
        name = writer_format(output) if to_format is None else to_format
        return _convert(source, output, name, force, json_output, quiet)

    raise typer.Exit(guarded(run))


def _convert(
    source: Source, output: Path, to_format: str, force: bool, json_output: bool, quiet: bool
) -> int:
    started = time.perf_counter()
    with progress_bar(quiet) as bar:
        done = convert(
            source.open(),
            output,
            format=to_format,
            force=force,
            progress=advance(bar, source.path.name),
        )
    document = _document(source, output, done, time.perf_counter() - started)
    if json_output:
        print_json(document)
    else:
        _show(document)
    return EXIT_OK


def _document(source: Source, output: Path, done: Conversion, seconds: float) -> dict[str, Any]:
    told = done.source
    return {
        "file": str(source.path),
        "from": source.format,
        "output": str(output),
        "to": done.format,
        "symbol": source.instrument.symbol,
        "tick_size": str(source.instrument.tick_size),
        "lot_size": str(source.instrument.lot_size),
        "records": told.records,
        "messages": told.messages,
        "unusable": dict(told.unusable),
        "gaps": told.gap_count,
        "left_out": dict(done.left_out),
        "bytes_written": done.bytes_written,
        "seconds": round(seconds, 3),
        "messages_per_second": round(told.messages / seconds) if seconds else None,
    }


def _show(document: dict[str, Any]) -> None:
    def line(name: str, value: object) -> None:
        out.print(f"{name:<20} {value}", markup=False, soft_wrap=True)

    def counts(values: dict[str, int]) -> str:
        return ", ".join(f"{key} {count:,}" for key, count in sorted(values.items())) or "none"

    line("read", f"{document['file']} ({document['from']})")
    line("written", f"{document['output']} ({document['to']}, {document['bytes_written']:,} bytes)")
    line("messages", f"{document['messages']:,} of {document['records']:,} records")
    line("not used", counts(document["unusable"]))
    line("not to be said", counts(document["left_out"]))
    if document["gaps"]:
        line("gaps", f"{document['gaps']:,}")
    rate = document["messages_per_second"]
    line("time", f"{document['seconds']} s, {rate:,} messages/s" if rate else "0 s")
