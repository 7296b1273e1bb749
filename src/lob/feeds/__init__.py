"""Readers and writers of market data: streaming, bounded in memory, honest about what they leave.

`open_feed` finds the reader of a file by its content and name; `lob.feeds.writers.convert` writes
what any of them reads in another format. Readers are imported when they are first asked for.
"""

import importlib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lob.errors import InvalidInput
from lob.feeds.base import Feed, FeedBlock, FeedSummary, Gap, Progress, file_size
from lob.types import Instrument

__all__ = [
    "READERS",
    "Feed",
    "FeedBlock",
    "FeedSummary",
    "Gap",
    "detect_format",
    "open_feed",
    "own_instrument",
    "reader_class",
]

HEAD_BYTES: Final = 65_536

READERS: Final[dict[str, tuple[str, str]]] = {
    "parquet": ("lob.feeds.parquet", "ParquetFeed"),
    "arrays": ("lob.feeds.arrays", "ArraysFeed"),
    "hftbacktest": ("lob.feeds.hftbacktest", "HftBacktestFeed"),
    "databento": ("lob.feeds.databento", "DatabentoFeed"),
    "coinbase-snapshot": ("lob.feeds.coinbase", "CoinbaseSnapshotFeed"),
    "coinbase": ("lob.feeds.coinbase", "CoinbaseFeed"),
    "bitstamp": ("lob.feeds.bitstamp", "BitstampFeed"),
    "lobster": ("lob.feeds.lobster_feed", "LobsterFeed"),
    "itch": ("lob.feeds.itch", "ItchFeed"),
}
"""The module and class of each format's reader, in the order in which they are asked whether a file
is theirs: those with a mark of their own first."""


def open_feed(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - the word every user would look for
    instrument: Instrument | None = None,
    symbol: str | None = None,
    **options: Any,
) -> Feed:
    """Return a reader of the file, of the format named or found by content and name.

    Without `instrument` the file's own scale is taken where it says one. `symbol` chooses among a
    file's instruments, and names the one of a file that does not. `options` go to the reader.

    Raises:
        InvalidInput: no such file or format; a file of no known format; a scale that nobody says;
            an option that the reader does not have.
    """
    path = Path(path)
    name = detect_format(path) if format is None else format
    reader = reader_class(name)
    accepted = inspect.signature(reader).parameters
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        raise InvalidInput(f"{unknown[0]}: not an option of the {name} reader")
    if instrument is None:
        instrument = own_instrument(path, name, symbol=symbol, **options)
        if instrument is None:
            raise InvalidInput(
                f"instrument: {path} ({name}) does not say its tick and lot size; allowed: an "
                "Instrument (--tick-size and --lot-size)"
            )
    if "symbol" in accepted and symbol is not None:
        options["symbol"] = symbol
    feed: Feed = reader(path, instrument, **options)
    return feed


def reader_class(format: str) -> type[Feed]:  # noqa: A002 - the word every user would look for
    """Return the reader of a format; `InvalidInput` lists the known ones."""
    if format not in READERS:
        raise InvalidInput(f"format: {format!r}; allowed: {', '.join(READERS)}")
    module, name = READERS[format]
    reader: type[Feed] = getattr(importlib.import_module(module), name)
    return reader


def detect_format(path: str | Path) -> str:
    """Return the format of a file, by its first bytes and its name.

    Raises:
        InvalidInput: the file cannot be read, is empty, or is of no known format.
    """
    path = Path(path)
    file_size(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error
    if not head:
        raise InvalidInput(f"{path}: empty; allowed: at least one record")
    for name in READERS:
        if reader_class(name).sniff(path, head):
            return name
    raise InvalidInput(f"{path}: of no known format; allowed (--format): {', '.join(READERS)}")


def own_instrument(
    path: str | Path,
    format: str,  # noqa: A002 - the word every user would look for
    *,
    symbol: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Instrument | None:
    """Return the instrument as the file or its format says it, or None where neither does.

    `symbol` chooses among several, and names the one of a file that does not; so do those `options`
    of the reader that choose. Some formats say no scale, and a file's prices are read to find it:
    `progress(done, total)` is told, in bytes.
    """
    path = Path(path)
    file_size(path)
    find: Any = reader_class(format).default_instrument
    accepted = inspect.signature(find).parameters
    told = options | {"symbol": symbol or None, "progress": progress}
    own: Instrument | None = find(
        path, **{name: told[name] for name in accepted if told.get(name) is not None}
    )
    if own is not None and symbol is not None and own.symbol != symbol:
        own = replace(own, symbol=symbol)
    return own
