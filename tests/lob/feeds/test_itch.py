"""TotalView-ITCH 5.0: hand-made bytes of each message type, and round trips."""

import gzip
import random
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob.book import OrderBook
from lob.errors import InvalidInput
from lob.feeds import open_feed
from lob.feeds.databento import DatabentoFeed
from lob.feeds.databento_write import dbn_metadata
from lob.feeds.itch import ItchFeed, write
from lob.feeds.itch_format import LENGTHS, NAMES, ORDER_LAYOUTS
from lob.messages import Action, Array, Flag
from lob.types import AssetClass, Instrument
from tests.lob.feeds.databento_venue import run

SHARE = Instrument(
    symbol="ABC", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
QUARTER = Instrument(
    symbol="ABC", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.25"), lot_size=Decimal(1)
)
TEN_NS = 36_000_000_000_001
"""A nanosecond after ten."""


def head(kind: str, locate: int = 7, time_ns: int = TEN_NS) -> bytes:
    """Return what every message begins with."""
    return kind.encode() + struct.pack(">HH", locate, 3) + time_ns.to_bytes(6, "big")


def framed(*messages: bytes) -> bytes:
    """Return messages behind their lengths."""
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def stock(locate: int, name: str) -> bytes:
    """Return a stock directory message."""
    return (head("R", locate) + name.encode().ljust(8)).ljust(39, b" ")


def add(order: int, side: str, shares: int, price: int, locate: int = 7) -> bytes:
    """Return an add without attribution; the price in units of 0.0001."""
    body = struct.pack(">QcI8sI", order, side.encode(), shares, b"ABC     ", price)
    return head("A", locate) + body


def executed(order: int, shares: int) -> bytes:
    """Return an execution at the order's price."""
    return head("E") + struct.pack(">QIQ", order, shares, 99)


def filler(kind: str, locate: int = 7) -> bytes:
    """Return a message of a type whose fields say nothing of a book."""
    return head(kind, locate).ljust(LENGTHS[kind], b" ")


def read(folder: Path, raw: bytes, **options: Any) -> tuple[Array, ItchFeed]:
    """Return all messages of a file with these bytes, and the reader."""
    path = folder / "x.itch"
    path.write_bytes(raw)
    feed = ItchFeed(path, SHARE, **options)
    return np.concatenate([block.messages for block in feed.blocks()]), feed


def row(message: Any) -> tuple[Any, ...]:
    """Return what a message says, without its time."""
    return (
        Action(message["action"]).name.removeprefix("FEED_"),
        int(message["order_id"]),
        int(message["side"]),
        int(message["price_ticks"]),
        int(message["quantity_lots"]),
        Flag(int(message["flags"])),
    )


def test_each_order_message_by_its_bytes(tmp_path: Path) -> None:
    """A F E C X D U as the specification lays them out, field by field."""
    raw = framed(
        stock(7, "ABC"),
        add(1001, "B", 500, 1_002_300),
        head("F") + struct.pack(">QcI8sI4s", 1002, b"S", 300, b"ABC     ", 1_002_400, b"MPID"),
        executed(1001, 100),
        head("C") + struct.pack(">QIQcI", 1002, 50, 98, b"N", 1_002_350),
        head("X") + struct.pack(">QI", 1001, 25),
        head("U") + struct.pack(">QQII", 1002, 1003, 200, 1_002_500),
        head("D") + struct.pack(">Q", 1001),
    )
    messages, feed = read(tmp_path, raw)
    last = Flag.LAST
    assert [
        ("ADD", 1001, 1, 10_023, 500, last),
        ("ADD", 1002, -1, 10_024, 300, last),
        ("EXECUTE", 1001, 0, 0, 100, last),
        ("EXECUTE", 1002, 0, 0, 50, last),
        ("REDUCE", 1001, 0, 0, 25, last),
        ("DELETE", 1002, -1, 10_025, 200, Flag.NONE),
        ("ADD", 1003, -1, 10_025, 200, last),
        ("DELETE", 1001, 0, 0, 0, last),
    ] == [row(message) for message in messages]
    assert {TEN_NS} == set(messages["ts_event_ns"].tolist())
    (block,) = feed.blocks()
    assert [2, 3, 4, 5, 6, 7, 7, 8] == block.positions.tolist()
    assert feed.summary.by_type["execution that is not printed"] == 1
    book = OrderBook()
    assert 150 == int(book.apply(messages)["quantity_lots"].sum())
    assert [1003] == [order.order_id for order in book.orders()]


@pytest.mark.parametrize("kind", sorted(set(LENGTHS) - set(ORDER_LAYOUTS) - {"S"}))
def test_other_messages_are_counted_by_name(tmp_path: Path, kind: str) -> None:
    """What says nothing of the visible book is counted, with its first place."""
    raw = framed(stock(7, "ABC"), add(1, "B", 5, 1_000_000), filler(kind), filler(kind, 8))
    _, feed = read(tmp_path, raw)
    expected = {"stock directory": 1} | {"other instrument": 1}
    expected[NAMES[kind]] = expected.get(NAMES[kind], 0) + 1
    assert expected == feed.summary.unusable
    assert 2 + (kind == "R") == feed.summary.by_type[NAMES[kind]]
    assert (4, 1) == (feed.summary.records, feed.summary.messages)


def test_a_symbol_is_chosen_by_its_directory_entry(tmp_path: Path) -> None:
    """Orders of other stocks are left out; without a choice they are refused."""
    raw = framed(
        filler("S", 0),
        stock(7, "ABC"),
        stock(8, "ABCD"),
        add(1, "B", 5, 1_000_000),
        add(2, "S", 5, 1_000_000, locate=8),
    )
    assert [2] == read(tmp_path, raw, symbol="ABCD")[0]["order_id"].tolist()
    messages, feed = read(tmp_path, raw, symbol="ABC", block_rows=1)
    assert [1] == messages["order_id"].tolist()
    assert 2 == feed.summary.unusable["other instrument"]
    with pytest.raises(InvalidInput, match=r"byte \d+: several instruments.*: ABC, ABCD"):
        read(tmp_path, raw)
    with pytest.raises(InvalidInput, match=r"symbol: 'A' is not in .*; allowed: ABC, ABCD"):
        read(tmp_path, raw, symbol="A")
    feed = open_feed(tmp_path / "x.itch", symbol="ABC")  # type: ignore[assignment]
    assert ("ABC", Decimal("0.0001")) == (feed.instrument.symbol, feed.instrument.tick_size)


@pytest.mark.parametrize("block_rows", [1, 2, 65_536])
def test_sides_go_through_chains_of_replaces(tmp_path: Path, block_rows: int) -> None:
    """A replace says no side: it is that of the first order, however many blocks ago."""
    replaces = [
        head("U") + struct.pack(">QQII", at, at + 10, 5, 1_000_000) for at in range(1, 42, 10)
    ]
    raw = framed(add(1, "S", 5, 1_000_000), executed(1, 2), *replaces)
    messages, _ = read(tmp_path, raw, block_rows=block_rows)
    adds = messages[messages["action"] == Action.FEED_ADD]
    assert [-1] * 6 == adds["side"].tolist()
    book = OrderBook()
    book.apply(messages)
    assert [51] == [order.order_id for order in book.orders()]


def test_what_a_book_cannot_hold_is_counted_by_reason(tmp_path: Path) -> None:
    """Zeroes, numbers out of range, prices off the tick and unknown orders have their reasons."""
    raw = framed(
        add(1, "B", 5, 1_000_001),
        add(2, "B", 5, 0),
        add(3, "B", 0, 1_000_000),
        add(0, "B", 5, 1_000_000),
        add(2**63, "B", 5, 1_000_000),
        head("U") + struct.pack(">QQII", 77, 78, 5, 1_000_000),
        add(2**63 - 1, "B", 2**32 - 1, 2**32 - 96),
    )
    messages, feed = read(tmp_path, raw)
    assert {
        "price off the tick": 1,
        "no price": 1,
        "no shares": 1,
        "no order number": 1,
        "order number above 2^63-1": 1,
        "replace of an unknown order": 1,
    } == feed.summary.unusable
    assert ["DELETE", "ADD"] == [row(message)[0] for message in messages]
    assert [77, 2**63 - 1] == messages["order_id"].tolist()
    assert 42_949_672 == messages["price_ticks"][1]


@pytest.mark.parametrize("style", ["xnas", "cme"])
@pytest.mark.parametrize("name", ["y.itch", "y.itch.gz"])
def test_what_is_written_is_read_again(tmp_path: Path, style: str, name: str) -> None:
    """A written day leaves the same queues; where nothing is replaced, the very same book."""
    source_path = tmp_path / "x.dbn"
    source_path.write_bytes(dbn_metadata("mbo") + run(style, 3, 400).mbo_rows().tobytes())
    source = DatabentoFeed(source_path, QUARTER)
    path = tmp_path / name
    assert {} == write(path, source)
    feed = open_feed(path, instrument=QUARTER, block_rows=77)
    assert isinstance(feed, ItchFeed)
    books = []
    for each in (source, feed):
        book = OrderBook()
        for block in each.blocks():
            book.apply(block.messages)
        books.append(book)
    before, after = (
        [(order.side, order.price_ticks, order.leaves) for order in book.orders()] for book in books
    )
    assert before == after
    assert books[0].trade_count == books[1].trade_count > 20
    if style == "xnas":
        assert books[0].state_hash() == books[1].state_hash()


def test_cut_at_every_byte(tmp_path: Path) -> None:
    """Whole messages are read; then one line names the byte at which the file is cut."""
    messages = (stock(7, "ABC"), add(1, "B", 5, 1_000_000), executed(1, 2))
    raw = framed(*messages)
    ends = {0, *np.cumsum([len(message) + 2 for message in messages]).tolist()}
    path = tmp_path / "x.itch"
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        feed = ItchFeed(path, SHARE)
        if size in ends:
            list(feed.blocks())
            continue
        begin = max(end for end in ends if end < size)
        with pytest.raises(InvalidInput, match=f"byte {begin}: the last message is cut short"):
            list(feed.blocks())


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (framed(b"Z" * 12), "byte 2: message type: 'Z'; allowed: S R"),
        (framed(filler("S") + b"x"), "byte 2: length of a message S: 13; allowed: 12"),
        (b"\x01\x0c" + filler("S"), "byte 2: length of a message S: 268; allowed: 12"),
        (b"\x01\x00", "byte 2: "),
        (framed(filler("S")) + b"\x00\x00" + framed(filler("S")), "byte 16: a message after"),
        (framed(add(1, "X", 5, 1_000_000)), "byte 2: side: 'X'; allowed: B, S"),
        (
            framed(head("C") + struct.pack(">QIQcI", 1, 5, 9, b"?", 5)),
            r"byte 2: printable: '\?'; allowed: Y, N",
        ),
    ],
)
def test_what_cannot_be_is_named_with_its_byte(tmp_path: Path, raw: bytes, message: str) -> None:
    """Unknown types, wrong lengths and letters give one line with file and byte."""
    with pytest.raises(InvalidInput, match=message):
        read(tmp_path, raw)


def test_a_length_of_none_ends_the_session(tmp_path: Path) -> None:
    """NASDAQ's files may end so."""
    messages, _ = read(tmp_path, framed(add(1, "B", 5, 1_000_000)) + b"\x00\x00")
    assert [1] == messages["order_id"].tolist()


def test_any_byte_changed_gives_messages_or_one_line(tmp_path: Path) -> None:
    """Flipped bytes are read as something, counted, or refused: never anything else."""
    source_path = tmp_path / "x.dbn"
    source_path.write_bytes(dbn_metadata("mbo") + run("cme", 5, 60).mbo_rows().tobytes())
    path = tmp_path / "y.itch"
    write(path, DatabentoFeed(source_path, QUARTER))
    raw, draw = path.read_bytes(), random.Random(7)
    read_well, refusals = 0, []
    for _ in range(200):
        changed = bytearray(raw)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(raw))] = draw.randrange(256)
        path.write_bytes(bytes(changed))
        book = OrderBook()
        try:
            for block in ItchFeed(path, QUARTER, block_rows=50).blocks():
                book.apply(block.messages, strict=False)
            read_well += 1
        except InvalidInput as error:
            refusals.append(str(error))
        book.check(crossed_allowed=True)
    assert read_well > 40
    assert [] == [line for line in refusals if not line.startswith(f"{path}: byte ")]


def test_what_itch_cannot_say_is_counted(tmp_path: Path) -> None:
    """Prices beyond 32 bits are left out by their reason; the rest of their order too."""
    source_path = tmp_path / "x.dbn"
    rows = run("xnas", 1, 5, warm=0).mbo_rows()
    source_path.write_bytes(dbn_metadata("mbo") + rows.tobytes())
    dear = Instrument(
        symbol="TOOLONGNAME",
        asset_class=AssetClass.EQUITY,
        tick_size=Decimal("0.25"),
        lot_size=Decimal(1),
    )
    with pytest.raises(InvalidInput, match="symbol: 'TOOLONGNAME'; allowed: 8 ASCII letters"):
        write(tmp_path / "y.itch", DatabentoFeed(source_path, dear))
    rows["price"] *= 1_000
    source_path.write_bytes(dbn_metadata("mbo") + rows.tobytes())
    left_out = write(tmp_path / "y.itch", DatabentoFeed(source_path, QUARTER))
    assert left_out["price or size beyond the format"] > 0


def test_gzip_is_read_through(tmp_path: Path) -> None:
    """A compressed file gives the same messages, and how far it has been read."""
    raw = framed(stock(7, "ABC"), add(1, "B", 5, 1_000_000))
    messages, _ = read(tmp_path, raw)
    packed, feed = read(tmp_path, gzip.compress(raw))
    assert messages.tolist() == packed.tolist()
    assert feed.bytes_done == feed.bytes_total == len((tmp_path / "x.itch").read_bytes())
