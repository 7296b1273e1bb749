"""Databento's market-by-order files, DBN and CSV, against what a venue of its own did."""

import gzip
import importlib
import random
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import databento_dbn
import numpy as np
import pytest

from lob.book import OrderBook
from lob.errors import ConfigError, InvalidInput
from lob.feeds import databento, open_feed
from lob.feeds.base import FeedBlock, Gap
from lob.feeds.databento import DatabentoFeed, write
from lob.feeds.databento_write import csv_lines, dbn_metadata
from lob.feeds.dbn import MBO_DTYPE, UNDEF_PRICE, read_metadata
from lob.feeds.streams import open_stream
from lob.messages import Action, Array, Flag
from lob.types import INT64_MAX, AssetClass, Instrument, Side
from tests.lob.feeds.databento_venue import TICK, Venue, run

FUTURE = Instrument(
    symbol="X", asset_class=AssetClass.FUTURES, tick_size=Decimal("0.25"), lot_size=Decimal(1)
)
pa: Any = importlib.import_module("pyarrow")
official: Any = databento_dbn

SAMPLE = "databento/esm4-mbo-2024-05-08.dbn.zst"
LAST, SNAPSHOT, BAD_BOOK, TOP_OF_BOOK = 128, 32, 4, 64


def mbo(*records: tuple[Any, ...]) -> Array:
    """Return records of (action, side, price in ticks, size, order id, flags)."""
    rows = np.zeros(len(records), MBO_DTYPE)
    rows["length"], rows["rtype"], rows["publisher_id"], rows["instrument_id"] = 14, 160, 1, 1
    for at, (row, record) in enumerate(zip(rows, records, strict=True)):
        action, side, ticks, size, order_id, flags = record
        row["action"], row["side"] = ord(action), ord(side)
        row["price"] = UNDEF_PRICE if ticks is None else ticks * TICK
        row["size"], row["order_id"], row["flags"] = size, order_id, flags
        row["sequence"] = row["ts_event"] = row["ts_recv"] = 1_000 + at
    return rows


def file_of(folder: Path, rows: Array, name: str = "x.dbn") -> Path:
    """Write records as a DBN file."""
    path = folder / name
    path.write_bytes(dbn_metadata("mbo", "X") + rows.tobytes())
    return path


def said(messages: Array) -> list[tuple[str, int, int, int]]:
    """Return (action, order id, price, lots) of each message, 0 where the action has none."""
    names = tuple(Action)
    priced = (Action.FEED_ADD, Action.FEED_MODIFY)
    sized = (*priced, Action.FEED_EXECUTE, Action.FEED_REDUCE)
    return [
        (
            names[message["action"]].name.removeprefix("FEED_"),
            int(message["order_id"]),
            int(message["price_ticks"]) if message["action"] in priced else 0,
            int(message["quantity_lots"]) if message["action"] in sized else 0,
        )
        for message in messages
    ]


def read(path: Path, **options: Any) -> tuple[Array, DatabentoFeed]:
    """Return all messages of a file, and the reader."""
    feed = DatabentoFeed(path, FUTURE, **options)
    return np.concatenate([block.messages for block in feed.blocks()]), feed


def queue(book: OrderBook) -> list[tuple[str, int, int, int]]:
    """Return a book's orders as the venue lists its own."""
    return [
        ("B" if order.side is Side.BUY else "A", order.price_ticks, order.order_id, order.leaves)
        for order in book.orders()
    ]


# ---------------------------------------------------------------- whole files


@pytest.mark.parametrize("style", ["cme", "xnas"])
@pytest.mark.parametrize("seed", range(6))
def test_the_book_is_the_venues_queue_for_queue(tmp_path: Path, style: str, seed: int) -> None:
    """Icebergs, sweeps, replaces and hidden trades leave the venue's own orders, in its order."""
    venue = run(style, seed, 500)
    feed = DatabentoFeed(file_of(tmp_path, venue.mbo_rows()), FUTURE, block_rows=173)
    book, traded = OrderBook(), 0
    for block in feed.blocks():
        assert len(np.unique(block.positions)) <= 173
        trades = book.apply(block.messages)
        traded += int(trades["quantity_lots"].sum())
    assert list(venue.queue()) == queue(book)
    assert venue.traded == traded
    assert style == "xnas" or venue.refreshes > 10
    assert len(venue.mbo) == feed.summary.records
    assert feed.summary.gap_count == 0


def test_the_size_of_blocks_changes_nothing(tmp_path: Path) -> None:
    """Events that straddle blocks are read as if there was one block."""
    path = file_of(tmp_path, run("cme", 1, 400).mbo_rows())
    whole, _ = read(path)
    for block_rows in (60, 97, 1_000):
        assert whole.tolist() == read(path, block_rows=block_rows)[0].tolist()


def test_the_cme_sample_is_whole(market_data: Path) -> None:
    """A snapshot and some seconds of E-mini: no record is lost, and the book is never crossed."""
    path = market_data / SAMPLE
    feed = open_feed(path)
    assert isinstance(feed, DatabentoFeed)
    assert (Decimal("0.25"), "ESM4") == (feed.instrument.tick_size, feed.instrument.symbol)
    book = OrderBook(feed.instrument)
    blocks = list(feed.blocks())
    for block in blocks:
        ends = [0, *(np.flatnonzero(block.messages["flags"] & Flag.LAST) + 1).tolist()]
        for begin, end in pairwise(ends):
            book.apply(block.messages[begin:end])
            assert not book.crossed
    summary = feed.summary
    assert (13_796, 13_789) == (summary.records, summary.messages)
    assert {"trade": 5} == summary.unusable
    assert summary.gap_count == 0
    assert book.trade_count == 5
    rows = _sample_rows(path)
    assert _plain_book(rows) == {o[2]: (o[1], o[3]) for o in queue(book)}


def _sample_rows(path: Path) -> Any:
    decoder = official.DBNDecoder()
    decoder.write(pa.input_stream(str(path), compression="zstd").read())
    return [record for record in decoder.decode() if hasattr(record, "order_id")]


def _plain_book(records: Sequence[Any]) -> dict[int, tuple[int, int]]:
    """Return order id -> (price in ticks, size) by the plainest reading of A, C, M and R."""
    orders: dict[int, tuple[int, int]] = {}
    for record in records:
        action = str(record.action)
        if action == "R":
            orders.clear()
        elif action in "AM":
            orders[record.order_id] = (record.price // TICK, record.size)
        elif action == "C":
            price, size = orders.pop(record.order_id)
            if size > record.size:
                orders[record.order_id] = (price, size - record.size)
    return orders


@pytest.mark.parametrize(
    "how",
    [
        {"pretty_px": False, "pretty_ts": False},
        {"pretty_px": True, "pretty_ts": True, "map_symbols": True},
        {"pretty_px": True, "pretty_ts": False},
    ],
)
@pytest.mark.parametrize("block_rows", [65_536, 211])
def test_csv_says_what_dbn_says(tmp_path: Path, how: dict[str, Any], block_rows: int) -> None:
    """Databento's own CSV of a file, plain or pretty, gives the same messages."""
    dbn_path = file_of(tmp_path, run("cme", 2, 300).mbo_rows())
    csv_path = tmp_path / "x.csv"
    with csv_path.open("wb") as file:
        encoder = official.Transcoder(file, official.Encoding.CSV, official.Compression.NONE, **how)
        encoder.write(dbn_path.read_bytes())
        encoder.flush()
    feed = open_feed(csv_path, block_rows=block_rows)
    assert Decimal("0.25") == feed.instrument.tick_size
    found = np.concatenate([block.messages for block in feed.blocks()])
    assert read(dbn_path)[0].tolist() == found.tolist()


@pytest.mark.parametrize("name", ["x.dbn", "x.dbn.gz", "x.dbn.zst", "x.mbo.csv", "x.csv.zst"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    """A written feed gives the same messages, plain and compressed."""
    source = DatabentoFeed(file_of(tmp_path, run("xnas", 4, 200).mbo_rows(), "in.dbn"), FUTURE)
    path = tmp_path / name
    assert {} == write(path, source)
    feed = open_feed(path, instrument=FUTURE)
    before = np.concatenate([block.messages for block in source.blocks()])
    after = np.concatenate([block.messages for block in feed.blocks()])
    for field in ("ts_event_ns", "order_id", "action", "quantity_lots", "flags"):
        different = np.flatnonzero(before[field] != after[field])
        # Nothing is off an order that a delete takes out; it says no lots.
        sized = before["action"][different] != Action.FEED_DELETE
        assert [] == different[sized].tolist(), field


def test_databento_reads_what_is_written(tmp_path: Path) -> None:
    """Their own decoder takes our file, with its symbol."""
    source = DatabentoFeed(file_of(tmp_path, run("xnas", 4, 50).mbo_rows(), "in.dbn"), FUTURE)
    write(tmp_path / "out.dbn", source)
    decoder = official.DBNDecoder()
    decoder.write((tmp_path / "out.dbn").read_bytes())
    metadata, *records = decoder.decode()
    assert ["X"] == metadata.symbols
    assert metadata.mappings
    assert all(isinstance(record, official.MBOMsg) for record in records)
    assert len(records) > 50


# ---------------------------------------------------------------- record by record


def _fills(*records: tuple[Any, ...]) -> Array:
    return mbo(("A", "A", 100, 5, 1, LAST), ("A", "A", 100, 9, 2, LAST), *records)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param(
            [("T", "B", 100, 5, 7, 0), ("F", "A", 100, 5, 1, 0), ("C", "A", 100, 5, 1, LAST)],
            [("EXECUTE", 1, 0, 5)],
            id="filled",
        ),
        pytest.param(
            [("F", "A", 100, 2, 1, 0), ("C", "A", 100, 2, 1, LAST)],
            [("EXECUTE", 1, 0, 2)],
            id="not printed, in part, as Nasdaq has it",
        ),
        pytest.param(
            [("T", "B", 100, 2, 7, 0), ("F", "A", 100, 2, 1, 0), ("M", "A", 100, 3, 1, LAST)],
            [("EXECUTE", 1, 0, 2), ("MODIFY", 1, 100, 3)],
            id="filled in part, as CME has it",
        ),
        pytest.param(
            [("T", "B", 100, 5, 7, 0), ("F", "A", 100, 5, 1, 0), ("M", "A", 100, 5, 1, LAST)],
            [("EXECUTE", 1, 0, 5), ("ADD", 1, 100, 5)],
            id="an iceberg shows again at the tail",
        ),
        pytest.param(
            [("T", "B", 100, 5, 7, 0), ("F", "A", 100, 5, 1, 0), ("M", "A", 100, 2, 1, LAST)],
            [("EXECUTE", 1, 0, 5), ("ADD", 1, 100, 2)],
            id="an iceberg's last and smaller lots",
        ),
        pytest.param(
            [("T", "B", 100, 12, 7, 0), ("F", "A", 100, 12, 1, 0), ("M", "A", 100, 3, 1, LAST)],
            [("EXECUTE", 1, 0, 5), ("ADD", 1, 100, 10), ("EXECUTE", 1, 0, 7)],
            id="more than an iceberg showed",
        ),
        pytest.param(
            [("T", "B", 100, 9, 7, 0), ("F", "A", 100, 9, 1, 0), ("C", "A", 100, 5, 1, LAST)],
            [("EXECUTE", 1, 0, 5), ("ADD", 1, 100, 4), ("EXECUTE", 1, 0, 4)],
            id="an iceberg to its end",
        ),
        pytest.param(
            [("T", "B", 100, 3, 7, 0), ("F", "A", 100, 3, 1, 0), ("C", "A", 100, 5, 1, LAST)],
            [("EXECUTE", 1, 0, 3), ("DELETE", 1, 0, 0)],
            id="filled in part and the rest cancelled",
        ),
        pytest.param(
            [("T", "B", 100, 1, 7, 0), ("F", "A", 100, 1, 1, 0), ("C", "A", 100, 3, 1, LAST)],
            [("EXECUTE", 1, 0, 1), ("REDUCE", 1, 0, 2)],
            id="filled in part and some of the rest cancelled",
        ),
        pytest.param(
            [("T", "A", 99, 3, 1, 0), ("F", "A", 99, 3, 1, 0), ("M", "A", 99, 2, 1, LAST)],
            [("MODIFY", 1, 99, 2)],
            id="an aggressor's own fill",
        ),
        pytest.param(
            [("T", "A", 99, 5, 1, 0), ("F", "A", 99, 5, 1, 0), ("C", "A", 100, 5, 1, LAST)],
            [("DELETE", 1, 0, 0)],
            id="an aggressor that was resting, filled",
        ),
        pytest.param(
            [("T", "N", 100, 5, 0, 0), ("F", "A", 100, 5, 1, 0), ("C", "A", 100, 5, 1, LAST)],
            [("EXECUTE", 1, 0, 5)],
            id="both sides rest in an auction",
        ),
        pytest.param(
            [("T", "A", 100, 2, 0, 0), ("F", "A", 100, 2, 1, 0), ("C", "A", 100, 2, 1, LAST)],
            [("EXECUTE", 1, 0, 2)],
            id="a trade of no order, on the side of the order that it fills",
        ),
        pytest.param(
            [("M", "A", 100, 4, 1, LAST), ("M", "A", 101, 4, 2, LAST)],
            [("MODIFY", 1, 100, 4), ("MODIFY", 2, 101, 4)],
            id="modified without a fill",
        ),
        pytest.param([("M", "B", 98, 4, 3, LAST)], [("ADD", 3, 98, 4)], id="modified, unknown"),
        pytest.param([("M", "A", 100, 0, 1, LAST)], [("DELETE", 1, 0, 0)], id="modified to none"),
        pytest.param([("C", "A", 100, 2, 1, LAST)], [("REDUCE", 1, 0, 2)], id="cancelled in part"),
        pytest.param([("C", "A", 100, 8, 1, LAST)], [("DELETE", 1, 0, 0)], id="cancelled beyond"),
        pytest.param(
            [("R", "N", None, 0, 0, LAST), ("M", "A", 100, 4, 1, LAST)],
            [("CLEAR", 0, 0, 0), ("ADD", 1, 100, 4)],
            id="cleared: what was there is unknown",
        ),
        pytest.param(
            [("T", "B", 100, 9, 7, 0), ("F", "A", 100, 9, 8, LAST)], [], id="of a hidden order"
        ),
        pytest.param(
            [("F", "A", 100, 2, 1, LAST), ("C", "A", 100, 2, 1, LAST)],
            [("REDUCE", 1, 0, 2)],
            id="another event's fill",
        ),
    ],
)
def test_records_become_messages(
    tmp_path: Path, records: list[tuple[Any, ...]], expected: list[tuple[str, int, int, int]]
) -> None:
    """Each case of trades, fills, cancels and modifies, after two adds."""
    path = file_of(tmp_path, _fills(*records))
    messages, _ = read(path)
    assert expected == said(messages[2:])
    OrderBook().apply(messages)


def test_a_cancel_that_names_no_price_gives_none(tmp_path: Path) -> None:
    """An undefined price is 0 in the message, not ticks that no order has."""
    rows = mbo(("A", "A", 100, 5, 1, LAST), ("C", "A", None, 5, 1, LAST))
    messages, _ = read(file_of(tmp_path, rows))
    assert [100, 0] == messages["price_ticks"].tolist()
    OrderBook().apply(messages)


def test_an_event_ends_at_its_last_message(tmp_path: Path) -> None:
    """Where the record that ends an event says nothing of the book, the message before it does."""
    rows = mbo(
        ("A", "A", 100, 5, 1, 0),
        ("A", "A", 101, 5, 2, 0),
        ("N", "N", None, 0, 0, LAST),
        ("T", "N", 100, 5, 0, LAST),
        ("A", "A", 102, 5, 3, LAST | SNAPSHOT),
        ("A", "A", 103, 5, 4, 0),
    )
    messages, feed = read(file_of(tmp_path, rows))
    both = Flag.LAST | Flag.SNAPSHOT
    assert [0, Flag.LAST, both, 0] == messages["flags"].tolist()
    assert {"trade": 1, "no action": 1} == feed.summary.unusable
    assert {"trade": 4, "no action": 3} == feed.summary.first_unusable


def test_what_a_book_cannot_hold_is_counted_by_reason(tmp_path: Path) -> None:
    """Prices, sizes, ids and sides out of the book's range are neither wrapped nor dropped."""
    rows = mbo(
        ("A", "A", None, 5, 1, LAST),
        ("A", "A", -4, 5, 2, LAST),
        ("A", "A", 0, 5, 3, LAST),
        ("A", "A", 100, 0, 4, LAST),
        ("A", "A", 100, 2**32 - 1, 5, LAST),
        ("A", "A", 100, 5, 0, LAST),
        ("A", "A", 100, 5, 2**63, LAST),
        ("A", "N", 100, 5, 6, LAST),
        ("A", "A", 100, 5, 7, LAST | TOP_OF_BOOK),
        ("A", "A", 100, 5, 8, LAST),
        ("A", "A", 100, 2**32 - 2, INT64_MAX, LAST),
    )
    rows["price"][9] += 1
    messages, feed = read(file_of(tmp_path, rows))
    assert [("ADD", INT64_MAX, 100, 2**32 - 2)] == said(messages)
    assert {
        "undefined price": 1,
        "price not above 0": 2,
        "no size": 2,
        "no order id": 1,
        "order id above 2^63-1": 1,
        "no side": 1,
        "no single order": 1,
        "price off the tick": 1,
    } == feed.summary.unusable
    assert feed.summary.first_unusable["price off the tick"] == 10


def test_gaps_are_what_the_publisher_says_and_steps_back(tmp_path: Path) -> None:
    """Holes and repeats in a sequence are no gaps, since other instruments share it."""
    rows = mbo(*[("A", "A", 100 + at, 5, 1 + at, LAST) for at in range(8)])
    rows["sequence"] = [100, 100, 105, 106, 90, 91, 92, 93]
    rows["flags"][6:] |= BAD_BOOK
    _, feed = read(file_of(tmp_path, rows), block_rows=3)
    assert [Gap(5, 106, 90), Gap(7, 92, 92)] == feed.summary.gaps
    assert feed.summary.gap_count == 2
    assert feed.summary.by_type["flag maybe_bad_book"] == 2


def test_an_emptied_book_may_count_anew(tmp_path: Path) -> None:
    """A new day's sequence begins below the old one's, after a clear that has none."""
    rows = mbo(
        ("A", "A", 100, 5, 1, LAST), ("R", "N", None, 0, 0, LAST), ("A", "A", 101, 5, 2, LAST)
    )
    rows["sequence"] = [900, 0, 1]
    for block_rows in (1, 2, 3):
        assert read(file_of(tmp_path, rows), block_rows=block_rows)[1].summary.gap_count == 0


def test_channels_have_sequences_of_their_own(tmp_path: Path) -> None:
    """Two channels that interleave are no gap."""
    rows = mbo(*[("A", "A", 100 + at, 5, 1 + at, LAST) for at in range(4)])
    rows["sequence"], rows["channel_id"] = [500, 3, 501, 4], [1, 2, 1, 2]
    assert read(file_of(tmp_path, rows))[1].summary.gap_count == 0


# ---------------------------------------------------------------- choosing


def _two_instruments(tmp_path: Path) -> Path:
    rows = mbo(("A", "A", 100, 5, 1, LAST), ("A", "B", 90, 5, 2, LAST))
    rows["instrument_id"] = [1, 2]
    return file_of(tmp_path, rows)


def test_several_instruments_need_a_choice(tmp_path: Path) -> None:
    """Without one the reader lists what is there; a symbol or a number chooses."""
    path = _two_instruments(tmp_path)
    with pytest.raises(InvalidInput, match=r"x\.dbn:2: several instruments.*symbol=\): X, 2"):
        read(path)
    assert [1] == read(path, symbol="X")[0]["order_id"].tolist()
    assert [2] == read(path, symbol="2")[0]["order_id"].tolist()
    messages, feed = read(path, instrument_id=2)
    assert [2] == messages["order_id"].tolist()
    assert (2, {"other instrument": 1}) == (feed.summary.records, feed.summary.unusable)
    with pytest.raises(InvalidInput, match=r"symbol: 'Y' is not in .*; allowed: X"):
        read(path, symbol="Y")
    with pytest.raises(InvalidInput, match="nothing of 7"):
        read(path, instrument_id=7)


def test_a_column_of_symbols_chooses_in_text(tmp_path: Path) -> None:
    """Rows of other symbols are left out, on whatever line they are."""
    rows = mbo(*[("A", "A", 100 + at, 5, 1 + at, LAST) for at in range(4)])
    rows["instrument_id"] = [1, 2, 1, 3]
    lines = [csv_lines(rows[at : at + 1], name) for at, name in enumerate("XYXX")]
    path = tmp_path / "x.csv"
    source = DatabentoFeed(file_of(tmp_path, rows[:1]), FUTURE)
    write(path, source)
    header = path.read_text().splitlines()[0]
    path.write_text(header + "\n" + "".join(lines))
    messages, feed = read(path, symbol="X")
    assert [1, 3, 4] == messages["order_id"].tolist()
    assert {"other instrument": 1} == feed.summary.unusable
    assert "X" == DatabentoFeed.default_instrument(path, symbol="X").symbol
    with pytest.raises(InvalidInput, match=r"x\.csv:3: several instruments.*X, Y"):
        read(path)
    with pytest.raises(InvalidInput, match=r"x\.csv: nothing of Z; allowed: X, Y"):
        read(path, symbol="Z")


def test_several_publishers_need_a_choice(tmp_path: Path) -> None:
    """Two venues' orders do not go into one book."""
    rows = mbo(("A", "A", 100, 5, 1, LAST), ("A", "B", 90, 5, 2, LAST))
    rows["publisher_id"] = [39, 40]
    path = file_of(tmp_path, rows)
    with pytest.raises(InvalidInput, match=r"several publishers; allowed .*: 39, 40"):
        read(path)
    assert [2] == read(path, publisher_id=40)[0]["order_id"].tolist()
    # The scale is that of the chosen one's prices, and is found without an instrument.
    assert Decimal("22.5") == open_feed(path, publisher_id=40).instrument.tick_size
    with pytest.raises(InvalidInput, match=r"x\.dbn: nothing of publisher 7"):
        read(path, publisher_id=7)
    with pytest.raises(InvalidInput, match=r"x\.dbn: nothing of publisher 7"):
        open_feed(path, publisher_id=7)


def test_the_tick_is_the_largest_that_fits(tmp_path: Path) -> None:
    """Trades between ticks do not count, nor do prices that are none."""
    rows = mbo(
        ("A", "A", 100, 5, 1, LAST),
        ("M", "A", 106, 5, 1, LAST),
        ("A", "A", None, 5, 2, LAST),
        ("T", "A", 101, 5, 2, LAST),
    )
    instrument = DatabentoFeed.default_instrument(file_of(tmp_path, rows))
    assert (Decimal("0.5"), "X", AssetClass.FUTURES) == (
        instrument.tick_size,
        instrument.symbol,
        instrument.asset_class,
    )
    with pytest.raises(InvalidInput, match="no price of an order"):
        DatabentoFeed.default_instrument(file_of(tmp_path, rows[3:]))


def test_the_tick_is_looked_for_in_so_many_records_and_says_how_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The looking ends at its limit, not before the instrument is met; a finer price is counted."""
    monkeypatch.setattr(databento, "_SCAN_ROWS", 4)
    monkeypatch.setattr(databento, "TICK_RECORDS", 30)
    ticks = [("A", "A", 100 + 4 * number, 5, 1 + number, LAST) for number in range(60)]
    path = file_of(tmp_path, mbo(*ticks, ("A", "A", 101, 5, 99, LAST)))
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    instrument = open_feed(path).instrument
    assert Decimal(1) == DatabentoFeed.default_instrument(path, progress=progress).tick_size
    feed = DatabentoFeed(path, instrument)
    assert 60 == sum(len(block.messages) for block in feed.blocks())
    assert {"price off the tick": 1} == dict(feed.summary.unusable)
    size = path.stat().st_size
    assert len(told) == 2
    assert 0 < told[0][0] <= told[1][0] <= size
    assert {size} == {total for _, total in told}


# ---------------------------------------------------------------- what is no file of this kind


def test_other_records_are_passed_over_and_counted(tmp_path: Path) -> None:
    """Records of other types and lengths may stand between; ours may carry when they were sent."""
    rows = mbo(("A", "A", 100, 5, 1, LAST), ("A", "A", 101, 6, 2, LAST))
    status = bytes([10, 18]) + bytes(38)
    sent = bytearray(rows[1].tobytes() + bytes(8))
    sent[0] = 16
    path = tmp_path / "x.dbn"
    path.write_bytes(dbn_metadata("mbo") + rows[0].tobytes() + status * 3 + bytes(sent))
    messages, feed = read(path)
    assert [("ADD", 1, 100, 5), ("ADD", 2, 101, 6)] == said(messages)
    assert {"record type 18": 3} == feed.summary.unusable
    blocks = list(feed.blocks())
    assert [1, 5] == np.concatenate([block.positions for block in blocks]).tolist()


def test_cut_at_every_byte(tmp_path: Path) -> None:
    """Whole records are read; then one line says where the file is cut."""
    rows = mbo(("A", "A", 100, 5, 1, LAST), ("A", "A", 101, 6, 2, LAST))
    whole = dbn_metadata("mbo") + rows.tobytes()
    path = tmp_path / "x.dbn"
    begin = len(whole) - 2 * 56
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size in (begin, begin + 56):
            assert (size - begin) // 56 == sum(
                len(block.messages) for block in DatabentoFeed(path, FUTURE).blocks()
            )
            continue
        with pytest.raises(InvalidInput, match=r"x\.dbn"):
            read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((3, b"\x09"), "byte 3: DBN version 9; allowed: 1..3"),
        ((4, b"\xff\xff\xff\xff"), "byte 4: metadata of 4294967295 bytes"),
        ((24, b"\x01\x00"), "schema mbp-1; allowed: mbo"),
        ((112, b"\xff\xff\xff\xff"), "byte 8: metadata: "),
        ((-56, b"\x00"), "a record of 0 bytes; allowed: 16 or more"),
        ((-56, b"\x05"), "a record of 20 bytes; allowed: 56 of its type"),
        ((-56 + 38, b"Z"), r"x\.dbn:2: action: 'Z'; allowed: A, C, F, M, N, R, T"),
        ((-56 + 39, b"Z"), r"x\.dbn:2: side: 'Z'; allowed: A, B, N"),
    ],
)
def test_what_cannot_be_is_named_with_its_place(
    tmp_path: Path, change: tuple[int, bytes], message: str
) -> None:
    """Each broken byte gives one line with file and place."""
    rows = mbo(("A", "A", 100, 5, 1, LAST), ("A", "A", 101, 6, 2, LAST))
    raw = bytearray(dbn_metadata("mbo") + rows.tobytes())
    at, new = change
    at %= len(raw)
    raw[at : at + len(new)] = new
    path = tmp_path / "x.dbn"
    path.write_bytes(bytes(raw))
    with pytest.raises(InvalidInput, match=message):
        read(path)


HEADER = "ts_event,action,side,price,size,order_id,flags"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, "1,A,B,100250000000,1,1,128", "1,A,B"], r"x\.csv:3: Expected 7 columns, got 3"),
        ([HEADER, "1,A,B,x,1,1,128"], r"x\.csv:2: price: CSV conversion error to int64"),
        ([HEADER, "1,A,B,1.0000000001,1,1,128"], r"x\.csv:2: price: "),
        ([HEADER, "1,A,B,99999999999999999999.5,1,1,128"], r"x\.csv:2: price: 9+\.5.*; allowed"),
        ([HEADER, "1,A,B,250000000,-1,1,128"], r"x\.csv:2: size: "),
        ([HEADER, "1,A,B,250000000,,1,128"], r"x\.csv:2: size: ''; allowed: a value"),
        ([HEADER, "1,AB,B,250000000,1,1,128"], r"x\.csv:2: action: 'AB'; allowed: one letter"),
        ([HEADER, "1,A,B,250000000,1,18446744073709551616,0"], r"x\.csv:2: order_id: "),
        ([HEADER, "1,A,B,250000000,1,1,256"], r"x\.csv:2: flags: "),
        ([HEADER, "noon,A,B,250000000,1,1,128"], r"x\.csv:2: ts_event: "),
        ([HEADER.replace("side,", "")], r"x\.csv:1: header without side"),
        ([HEADER + ",side"], r"x\.csv:1: header names 'side' twice"),
        ([HEADER, "1" * 70_000], r"x\.csv:2: "),
    ],
)
def test_a_line_that_cannot_be_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    """Each broken line of text gives one line with file, line and column."""
    path = tmp_path / "x.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InvalidInput, match=message):
        read(path)


def test_text_without_flags_ends_an_event_a_line(tmp_path: Path) -> None:
    """Decimal prices, a time zone and missing columns are well."""
    path = tmp_path / "x.csv"
    path.write_text(
        "side,action,order_id,size,price,ts_event\r\n"
        "N,R,0,0,,2024-05-08 00:00:00+00:00\r\n"
        "B,A,7,3,100.25,2024-05-08 00:00:00.000000001+00:00\r\n"
    )
    messages, _ = read(path)
    assert [("CLEAR", 0, 0, 0), ("ADD", 7, 401, 3)] == said(messages)
    assert [Flag.LAST, Flag.LAST] == messages["flags"].tolist()
    assert [1_715_126_400_000_000_000, 1_715_126_400_000_000_001] == messages[
        "ts_event_ns"
    ].tolist()


def test_compressed_files_may_have_several_frames_and_be_cut(tmp_path: Path) -> None:
    """Zstandard frames and gzip members follow one another; a cut one is said."""
    rows = run("cme", 3, 100).mbo_rows()
    raw = dbn_metadata("mbo") + rows.tobytes()
    plain, _ = read(file_of(tmp_path, rows))
    half = len(raw) // 2
    path = tmp_path / "y.dbn.zst"
    frames = b"".join(
        pa.compress(part, codec="zstd", asbytes=True) for part in (raw[:half], raw[half:])
    )
    path.write_bytes(frames)
    assert plain.tolist() == read(path)[0].tolist()
    path.write_bytes(frames[:-9])
    with pytest.raises(InvalidInput, match=r"y\.dbn\.zst: after byte \d+"):
        read(path)
    path.write_bytes(gzip.compress(raw[:half]) + gzip.compress(raw[half:]))
    assert plain.tolist() == read(path)[0].tolist()
    path.write_bytes(gzip.compress(raw)[:-9])
    with pytest.raises(InvalidInput, match=r"y\.dbn\.zst: after byte \d+"):
        read(path)


@pytest.mark.parametrize("name", ["x.dbn.zst", "x.csv"])
def test_without_pyarrow_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What needs a package that is not there names it."""
    source = DatabentoFeed(file_of(tmp_path, mbo(("A", "A", 100, 5, 1, LAST)), "in.dbn"), FUTURE)
    write(tmp_path / name, source)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pyarrow: not installed; needed to read"):
        list(DatabentoFeed(tmp_path / name, FUTURE).blocks())
    assert isinstance(next(source.blocks()), FeedBlock)


def test_metadata_says_which_symbol_is_which_number(tmp_path: Path) -> None:
    """What their encoder writes, ours reads: version, schema and mapping."""
    path = tmp_path / "x.dbn"
    path.write_bytes(dbn_metadata("mbo", "ESM4", 5602))
    with open_stream(path) as stream:
        metadata = read_metadata(stream)
    assert (2, "mbo", "ESM4", 5602) == (
        metadata.version,
        metadata.schema,
        metadata.mappings[0].symbol,
        metadata.mappings[0].instrument_id,
    )
    theirs = official.Metadata.decode(path.read_bytes())
    assert theirs.symbols == ["ESM4"]


def test_a_lot_of_ten_counts_tens(tmp_path: Path) -> None:
    """Sizes are in lots of the instrument; what is no whole number of them is counted."""
    tens = Instrument(
        symbol="X", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.25"), lot_size=Decimal(10)
    )
    rows = mbo(("A", "A", 100, 30, 1, LAST), ("A", "A", 100, 35, 2, LAST))
    feed = DatabentoFeed(file_of(tmp_path, rows), tens)
    (block,) = feed.blocks()
    assert [("ADD", 1, 100, 3)] == said(block.messages)
    assert {"size off the lot": 1} == feed.summary.unusable
    fine = Instrument(
        symbol="X",
        asset_class=AssetClass.EQUITY,
        tick_size=Decimal("0.0000000001"),
        lot_size=Decimal(1),
    )
    with pytest.raises(InvalidInput, match="tick_size"):
        list(DatabentoFeed(feed.path, fine).blocks())


def test_the_venue_of_these_tests_trades() -> None:
    """The truth that these tests hold the reader against has trades, icebergs and replaces."""
    venue = run("cme", 0, 300)
    assert isinstance(venue, Venue)
    assert venue.traded > 100
    assert len(venue.mbo_rows().tobytes()) == 56 * len(venue.mbo)


def test_a_symbol_may_have_another_number_each_day(tmp_path: Path) -> None:
    """Days of one symbol are read through; a number that is another's on that day is left out."""
    day_ns = 86_400 * 1_000_000_000
    days = [date(2024, 5, 8), date(2024, 5, 9), date(2024, 5, 10)]
    begin_ns = 1_715_126_400_000_000_000

    def days_of(first: str, second: str) -> list[Any]:
        return [
            SimpleNamespace(start_date=days[at], end_date=days[at + 1], symbol=number)
            for at, number in enumerate((first, second))
        ]

    both = [SimpleNamespace(raw_symbol="X", intervals=days_of("1", "2"))]
    metadata = {
        "dataset": "XNAS.ITCH",
        "start": begin_ns,
        "stype_in": official.SType.RAW_SYMBOL,
        "stype_out": official.SType.INSTRUMENT_ID,
        "schema": official.Schema.MBO,
        "partial": [],
        "not_found": [],
    }
    rows = mbo(*[("A", "A", 100 + at, 5, 1 + at, LAST) for at in range(4)])
    rows["instrument_id"] = [1, 2, 2, 1]
    rows["ts_recv"] += begin_ns
    rows["ts_recv"][2:] += day_ns
    path = tmp_path / "days.dbn"
    one_symbol = official.Metadata(symbols=["X"], mappings=both, **metadata)
    path.write_bytes(one_symbol.encode() + rows[[0, 2]].tobytes())
    assert [1, 3] == read(path)[0]["order_id"].tolist()
    both.append(SimpleNamespace(raw_symbol="Y", intervals=days_of("2", "1")))
    two_symbols = official.Metadata(symbols=["X", "Y"], mappings=both, **metadata)
    path.write_bytes(two_symbols.encode() + rows.tobytes())
    assert [1, 3] == read(path, symbol="X")[0]["order_id"].tolist()
    assert [2, 4] == read(path, symbol="Y")[0]["order_id"].tolist()


@pytest.mark.parametrize("seed", range(60))
def test_any_records_leave_what_their_plainest_reading_leaves(tmp_path: Path, seed: int) -> None:
    """Fills, trades and cuts anywhere change queues and trades only: sizes are those of A C M R."""
    draw = random.Random(seed)
    live: dict[int, tuple[int, int]] = {}
    records: list[tuple[Any, ...]] = []
    for _ in range(60):
        action = draw.choice("AAACCMMFFTRN" if seed % 3 == 0 else "AACCMMFFT")
        side, order_id = "A", draw.randint(1, 4)
        ticks, size, flags = draw.randint(100, 102), draw.randint(1, 6), draw.choice((0, LAST))
        if action == "R":
            live.clear()
            records.append(("R", "N", None, 0, 0, flags))
            continue
        if action == "T":
            side = draw.choice("ABN")
        elif action == "A" and order_id in live:
            continue
        elif action in "AM":
            live[order_id] = (ticks, size)
        elif action == "C" and order_id in live:
            price, left = live.pop(order_id)
            if left > size:
                live[order_id] = (price, left - size)
        records.append((action, side, ticks, size, order_id, flags))
    path = file_of(tmp_path, mbo(*records))
    for block_rows in (1, 3, 100):
        book = OrderBook()
        for block in DatabentoFeed(path, FUTURE, block_rows=block_rows).blocks():
            book.apply(block.messages, strict=False)
        assert live == {order[2]: (order[1], order[3]) for order in queue(book)}
