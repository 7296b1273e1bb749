"""What `touchstone replay` and `touchstone convert` share: which file, which scale, how far."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from lob.errors import InvalidInput
from lob.feeds import READERS, Feed, detect_format, open_feed, own_instrument
from lob.types import AssetClass, Instrument
from touchstone.cli.console import err

Symbol = Annotated[
    str | None, typer.Option("--symbol", help="Which instrument of the file, or its name.")
]
TickSize = Annotated[
    str | None, typer.Option("--tick-size", help="The tick, where the file does not say it.")
]
LotSize = Annotated[
    str | None, typer.Option("--lot-size", help="The lot, where the file does not say it.")
]
Snapshot = Annotated[
    Path | None,
    typer.Option("--snapshot", help="What rested before the file begins (Coinbase level 3)."),
]
Publisher = Annotated[
    int | None, typer.Option("--publisher", help="Which of a Databento file's publishers.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
FORMATS = ", ".join(READERS)


class Source(NamedTuple):
    """A file, its format, and the scale of its numbers."""

    path: Path
    format: str
    instrument: Instrument
    symbol: str | None
    snapshot: Path | None = None
    publisher: int | None = None

    def open(self) -> Feed:
        """Return a reader of it; `InvalidInput` where its format starts from no snapshot."""
        told = {"snapshot": self.snapshot, "publisher_id": self.publisher}
        options = {name: value for name, value in told.items() if value is not None}
        return open_feed(
            self.path, format=self.format, instrument=self.instrument, symbol=self.symbol, **options
        )


def find_source(
    path: Path,
    format_name: str | None,
    symbol: str | None,
    tick_size: str | None,
    lot_size: str | None,
    *,
    publisher: int | None = None,
    quiet: bool = False,
) -> Source:
    """Return what the options and the file say of it.

    Some files are read for their scale: a bar shows how far, unless `quiet`.

    Raises:
        InvalidInput: no such file or format, a size that is no number above 0, a publisher of a
            file that has none, or a scale that neither the file nor the options say.
    """
    known = detect_format(path) if format_name is None else format_name
    if publisher is not None and known != "databento":
        raise InvalidInput(f"--publisher: {path} ({known}); allowed: of a databento file")
    sizes = {"tick_size": tick_size, "lot_size": lot_size}
    told: dict[str, Any] = {
        name: _size(name, text) for name, text in sizes.items() if text is not None
    }
    if symbol is not None and len(told) == len(sizes):
        return Source(path, known, _instrument(symbol, told), symbol, publisher=publisher)
    with progress_bar(quiet) as bar:
        seen = advance(bar, f"{path.name}: its tick")
        own = own_instrument(path, known, symbol=symbol, progress=seen, publisher_id=publisher)
    if own is not None:
        return Source(path, known, replace(own, **told), symbol, publisher=publisher)
    if len(told) < len(sizes):
        missing = next(name for name in sizes if name not in told)
        raise InvalidInput(
            f"--{missing.replace('_', '-')}: {path} ({known}) does not say it; allowed: a number "
            "above 0"
        )
    named = _instrument(path.name.split(".")[0] or "UNKNOWN", told)
    return Source(path, known, named, symbol, publisher=publisher)


def progress_bar(quiet: bool) -> Progress:
    """Return a bar on stderr, seen only by a person at a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=err,
        # Where nobody watches, an ended bar would still leave a blank line among the complaints.
        disable=quiet or not err.is_terminal,
        transient=True,
    )


def advance(bar: Progress, name: str) -> Callable[[int, int], None]:
    """Return what moves a new line of the bar."""
    task = bar.add_task(name, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _instrument(symbol: str, sizes: dict[str, Any]) -> Instrument:
    # What kind of thing is traded changes nothing about its book.
    return Instrument(symbol=symbol, asset_class=AssetClass.EQUITY, **sizes)


def _size(name: str, text: str) -> Decimal:
    try:
        size = Decimal(text)
    except InvalidOperation:
        size = Decimal(0)
    if not size.is_finite() or size <= 0:
        option = f"--{name.replace('_', '-')}"
        raise InvalidInput(f"{option}: {text!r}; allowed: a number above 0")
    return size
