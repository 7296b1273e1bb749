"""Coinbase's feed and snapshot: the book they say, and an account of what says nothing of one."""

import gzip
import importlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob import OrderBook
from lob.cost import sweep_cost_bps
from lob.errors import InvalidInput
from lob.feeds import open_feed
from lob.feeds.base import Feed, Gap
from lob.feeds.coinbase import CoinbaseFeed, CoinbaseSnapshotFeed
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag
from lob.types import AssetClass, Instrument, Side
from tests.lob.feeds.coinbase_venue import PRODUCT, Venue

BTC_USD = Instrument(
    symbol=PRODUCT,
    asset_class=AssetClass.CRYPTO,
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00000001"),
)
TIME = "2014-11-07T08:19:27.028459Z"
TIME_NS = 1_415_348_367_028_459_000


def said(kind: str, sequence: int, /, **fields: Any) -> dict[str, Any]:
    """A message of the full channel."""
    return {
        "type": kind,
        "product_id": PRODUCT,
        "sequence": sequence,
        "time": TIME,
        "order_id": "a",
    } | fields


def opened(sequence: int, order_id: str = "a", /, **fields: Any) -> dict[str, Any]:
    """An open message of a buy order."""
    order = {"order_id": order_id, "side": "buy", "price": "200.2", "remaining_size": "1.00"}
    return said("open", sequence, **(order | fields))


def written(path: Path, *messages: Any) -> Path:
    """A file of these messages, one a line."""
    path.write_text("".join(json.dumps(message) + "\n" for message in messages), encoding="utf-8")
    return path


def rows_of(feed: Feed) -> Array:
    """All messages of a feed."""
    return np.concatenate(
        [np.zeros(0, MESSAGE_DTYPE), *(block.messages for block in feed.blocks())]
    )


def replayed(feed: Feed) -> OrderBook:
    """The book that a feed says, which refuses nothing."""
    book = OrderBook(feed.instrument)
    for block in feed.blocks():
        book.apply(block.messages)
    book.check()
    return book


def orders_of(book: Any, feed: Any) -> list[tuple[str, str, int, int]]:
    """A book's orders in their priority, by the venue's own ids."""
    names = feed.order_ids()
    return [
        (order.side, names[order.order_id], order.price_ticks, order.leaves)
        for order in book.orders()
    ]


def orders_at(venue: Venue) -> list[tuple[str, str, int, int]]:
    """The same of the venue itself."""
    return [
        (order.side, venue.uuid(order.order_id), order.price_ticks, order.leaves)
        for order in venue.book.orders()
    ]


def test_each_message_becomes_what_it_says(tmp_path: Path) -> None:
    """Open adds, match executes the maker, change modifies, done deletes what is left."""
    path = written(
        tmp_path / "full.jsonl",
        said("received", 10, order_type="limit", size="1.00", price="200.2", side="buy"),
        opened(11),
        said("match", 12, maker_order_id="a", taker_order_id="t", size="0.25", price="200.2"),
        said("change", 13, reason="STP", old_size="0.75", new_size="0.50000001", price="200.2"),
        said(
            "change",
            14,
            reason="modify_order",
            old_size="0.5",
            new_size="0.6",
            old_price="200.2",
            new_price="201",
        ),
        said("done", 15, reason="canceled", price="201", remaining_size="0.6"),
    )
    feed = CoinbaseFeed(path, BTC_USD)

    rows = rows_of(feed)

    expected = [
        (Action.FEED_ADD, 1, 20_020, 100_000_000),
        (Action.FEED_EXECUTE, 1, 20_020, 25_000_000),
        (Action.FEED_MODIFY, 1, 20_020, 50_000_001),
        (Action.FEED_MODIFY, 1, 20_100, 60_000_000),
        (Action.FEED_DELETE, 1, 0, 0),
    ]
    assert expected == rows[["action", "order_id", "price_ticks", "quantity_lots"]].tolist()
    assert {TIME_NS} == set(rows["ts_event_ns"].tolist())
    assert {int(Flag.LAST)} == set(rows["flags"].tolist())
    assert [1, 0, 0, 0, 0] == rows["side"].tolist()
    assert {"received": 1} == dict(feed.summary.unusable)
    assert (6, 5) == (feed.summary.records, feed.summary.messages)


def test_what_says_nothing_of_a_book_is_counted_by_reason(tmp_path: Path) -> None:
    """Takers, filled makers, stops, other channels and other products each have their reason."""
    match = {"maker_order_id": "a", "taker_order_id": "t", "size": "1", "price": "200.2"}
    path = written(
        tmp_path / "full.jsonl",
        {"type": "subscriptions", "channels": []},
        opened(1),
        said("received", 2, order_id="t", order_type="market", funds="500"),
        said("change", 3, order_id="t", old_funds="500", new_funds="400", side="buy"),
        said("match", 4, **match),
        said("done", 5, reason="filled", remaining_size="0"),
        said("done", 6, order_id="t", reason="filled"),
        said("activate", 7, order_id="s", stop_type="entry", stop_price="80"),
        {"type": "activate", "product_id": PRODUCT, "timestamp": "1483736448.299000"},
        {"type": "heartbeat", "sequence": 7, "product_id": PRODUCT, "last_trade_id": 1},
        {"type": "error", "message": "slow down"},
        {"type": "of-tomorrow", "product_id": PRODUCT},
        said("open", 900, product_id="ETH-USD"),
        opened(8, "b", price="200.205"),
        opened(9, "c", remaining_size="0.000000001"),
    )
    feed = CoinbaseFeed(path, BTC_USD)

    assert [Action.FEED_ADD, Action.FEED_EXECUTE] == rows_of(feed)["action"].tolist()
    assert {
        "subscriptions": 1,
        "received": 1,
        "change_of_order_not_open": 1,
        "done_after_fill": 1,
        "done_never_opened": 1,
        "activate": 2,
        "heartbeat": 1,
        "error": 1,
        "unknown_type": 1,
        "other_product": 1,
        "price_off_tick": 1,
        "size_off_lot": 1,
    } == dict(feed.summary.unusable)
    assert feed.summary.records == feed.summary.messages + feed.summary.unusable.total()
    assert feed.summary.records == feed.summary.by_type.total()
    assert 14 == feed.summary.first_unusable["price_off_tick"]
    assert 0 == feed.summary.gap_count
    assert {} == feed.order_ids()


def test_contradictions_are_left_to_the_book(tmp_path: Path) -> None:
    """An unknown maker, an id opened twice, and more than is left are refused there."""
    over = {"maker_order_id": "a", "taker_order_id": "t", "size": "1.5", "price": "200.2"}
    unknown = over | {"maker_order_id": "x"}
    path = written(
        tmp_path / "full.jsonl",
        opened(1),
        opened(2),
        said("match", 3, **over),
        said("match", 4, **unknown),
        said("done", 5, order_id="y", reason="canceled"),
        said("change", 6, order_id="z", new_size="1", price="5"),
        said("done", 7, reason="canceled"),
    )
    feed = CoinbaseFeed(path, BTC_USD)
    book = OrderBook(BTC_USD)

    (block,) = feed.blocks()
    book.apply(block.messages, strict=False)

    assert [1, 2, 3, 4, 5] == book.last_apply.refusals["index"].tolist()
    assert 0 == len(book)
    assert [1, 2, 3, 4, 5, 6, 7] == block.positions.tolist()


def test_gaps_repeats_and_late_messages_are_told(tmp_path: Path) -> None:
    """A missing sequence is a gap with its position; one seen before, or lower, is not used."""
    path = written(
        tmp_path / "full.jsonl",
        opened(10, "a"),
        opened(10, "a"),
        opened(11, "b"),
        opened(15, "c"),
        opened(12, "d"),
        opened(16, "e"),
    )
    feed = CoinbaseFeed(path, BTC_USD)

    (block,) = feed.blocks()

    assert [10, 11, 15, 16] == block.sequences.tolist()
    assert [1, 3, 4, 6] == block.positions.tolist()
    assert [Gap(position=4, expected=12, found=15)] == feed.summary.gaps
    assert {"sequence_repeated": 1, "sequence_out_of_order": 1} == dict(feed.summary.unusable)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_book_rebuilt_is_the_venues_own(tmp_path: Path, seed: int, compact: bool) -> None:
    """The full and the level3 channel both lead to the book that published them."""
    venue = Venue(BTC_USD, seed)
    venue.run(400)
    path = tmp_path / "feed.jsonl.gz"
    text = venue.compact_lines() if compact else venue.lines()
    path.write_bytes(gzip.compress(text.encode()))

    feed = open_feed(path, instrument=BTC_USD)
    assert isinstance(feed, CoinbaseFeed)
    feed.block_rows = 50
    book = replayed(feed)

    assert len(book)
    assert orders_at(venue) == orders_of(book, feed)
    assert venue.book.trade_count == book.trade_count
    assert 0 == feed.summary.gap_count
    assert feed.bytes_done == feed.bytes_total == path.stat().st_size
    assert set(feed.summary.unusable) <= {
        "received",
        "noop",
        "level3",
        "done_after_fill",
        "done_never_opened",
    }


@pytest.mark.parametrize("compact", [False, True])
def test_a_replay_starts_from_a_snapshot(tmp_path: Path, compact: bool) -> None:
    """What the snapshot holds already is left out, and the rest leads to the venue's book."""
    venue = Venue(BTC_USD, 7)
    venue.run(200)
    snapshot = tmp_path / "book.json"
    snapshot.write_text(venue.snapshot(), encoding="utf-8")
    held = len(venue.messages)
    orders = len(venue.book)
    venue.run(200)
    begin = held - 60
    path = tmp_path / "feed.jsonl"
    path.write_text(venue.compact_lines(begin) if compact else venue.lines(begin), encoding="utf-8")

    feed = CoinbaseFeed(path, BTC_USD, snapshot=snapshot)
    book = replayed(feed)

    assert orders_at(venue) == orders_of(book, feed)
    assert 60 == feed.summary.unusable["in_snapshot"]
    assert orders == feed.summary.by_type["snapshot_order"]
    assert 0 == feed.summary.gap_count


def test_a_zstandard_file_is_read_as_a_gzip_is(tmp_path: Path) -> None:
    """Captures come packed either way; a cut one is named with its place."""
    venue = Venue(BTC_USD, 9)
    venue.run(100)
    pa: Any = importlib.import_module("pyarrow")
    packed = pa.compress(venue.lines().encode(), codec="zstd", asbytes=True)
    path = tmp_path / "feed.jsonl.zst"
    path.write_bytes(packed)
    feed = open_feed(path, instrument=BTC_USD)

    assert orders_at(venue) == orders_of(replayed(feed), feed)
    path.write_bytes(packed[:-10])
    with pytest.raises(InvalidInput, match=r"feed\.jsonl\.zst: after byte \d+"):
        rows_of(CoinbaseFeed(path, BTC_USD))


def test_a_hole_after_the_snapshot_is_a_gap(tmp_path: Path) -> None:
    """The first message after the snapshot must be the next one."""
    snapshot = tmp_path / "book.json"
    snapshot.write_text('{"bids": [], "asks": [], "sequence": 5}', encoding="utf-8")
    path = written(tmp_path / "full.jsonl", opened(8))
    feed = CoinbaseFeed(path, BTC_USD, snapshot=snapshot)

    assert 1 == len(rows_of(feed))
    assert [Gap(1, 6, 8)] == feed.summary.gaps


def test_the_files_own_schema_names_the_fields(tmp_path: Path) -> None:
    """Level3 arrays are read by the schema message, whatever the order of its fields."""
    fields = ["type", "product_id", "sequence", "time", "size", "price", "side", "order_id"]
    path = written(
        tmp_path / "level3.jsonl",
        {"type": "level3", "schema": {"open": fields}},
        ["open", PRODUCT, "7", TIME, "1.5", "200.2", "sell", "a"],
    )

    rows = rows_of(CoinbaseFeed(path, BTC_USD))

    assert [(20_020, 150_000_000, -1)] == rows[["price_ticks", "quantity_lots", "side"]].tolist()


def test_one_product_of_several_is_chosen(tmp_path: Path) -> None:
    """By `symbol`, or the instrument's own; for one that is not there, those that are are named."""
    path = written(
        tmp_path / "full.jsonl", opened(1), opened(50, "b", product_id="ETH-USD", price="9")
    )

    assert [20_020] == rows_of(open_feed(path))["price_ticks"].tolist()
    feed = open_feed(path, symbol="ETH-USD")
    assert [900] == rows_of(feed)["price_ticks"].tolist()
    assert "ETH-USD" == feed.instrument.symbol
    with pytest.raises(InvalidInput, match=r"'XRP-USD' is in no record; allowed: BTC-USD, ETH-USD"):
        rows_of(open_feed(path, symbol="XRP-USD"))


def test_the_tick_is_as_fine_as_the_prices(tmp_path: Path) -> None:
    """Prices of four decimals make a tick of 0.0001; the lot is always 0.00000001."""
    path = written(tmp_path / "full.jsonl", opened(1, price="0.5123"), opened(2, "b", price="0.51"))
    feed = open_feed(path)

    assert Decimal("0.0001") == feed.instrument.tick_size
    assert Decimal("0.00000001") == feed.instrument.lot_size
    assert [5123, 5100] == rows_of(feed)["price_ticks"].tolist()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("17", "not a message"),
        ('["open", "BTC-USD", 2]', "3 values; allowed: 8"),
        ('{"type": 5}', "type: '5'"),
        (json.dumps(opened(2, "b", side="hold")), "side: 'hold'"),
        (json.dumps(opened(2, "b", price="-5")), "price: -5"),
        (json.dumps(opened(2, "b", price="5e12x")), "price: '5e12x'"),
        (json.dumps(opened(2, "b", price=None)), "price: missing"),
        (json.dumps(opened(2, "b", remaining_size="0")), "size: '0'"),
        (json.dumps(opened(2, "b", remaining_size="92233720368.54775808")), "more than"),
        (json.dumps(opened(2, "b", time="yesterday")), "time: 'yesterday'"),
        (json.dumps(opened(2, "b" * 65)), "order_id: "),
        (json.dumps(opened(-2, "b")), "sequence: -2"),
        (json.dumps(opened(2, "b", sequence=None)), "sequence: missing"),
        (json.dumps(opened(2, "b", product_id=["x"])), "product_id: "),
        ('{"type": "level3", "schema": {"open": 5}}', "schema: 'open'"),
        ("[" * 50_000, "nested too deep"),
        ('{"type": "open", "sequence": 1e999999999999999999999}', "not JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    """File, line and field are in the fault."""
    path = tmp_path / "full.jsonl"
    path.write_text(f"{json.dumps(opened(1))}\n{line}\n", encoding="utf-8")

    with pytest.raises(InvalidInput) as caught:
        rows_of(CoinbaseFeed(path, BTC_USD))

    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


def test_a_gzip_cut_short_is_named_with_its_place(tmp_path: Path) -> None:
    """What came before the cut is given; then the file and the place are named."""
    path = tmp_path / "full.jsonl.gz"
    lines = "".join(json.dumps(opened(number, f"o{number}")) + "\n" for number in range(1, 4000))
    path.write_bytes(gzip.compress(lines.encode())[:-2000])
    feed = CoinbaseFeed(path, BTC_USD, block_rows=100)
    blocks = feed.blocks()
    seen = len(next(blocks).messages)

    with pytest.raises(InvalidInput, match=r"full\.jsonl\.gz: after byte \d+ of") as caught:
        list(blocks)

    assert 100 == seen
    assert int(re.findall(r"after byte (\d+)", str(caught.value))[0]) > len(lines) / 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", ":1: not a JSON object"),
        ('{"bids": []}', ":1: asks: missing"),
        ('{"bids": [], "asks": []}', ":1: sequence: missing"),
        ('{"bids": [["5", "1"]], "asks": [], "sequence": 1}', ":1: bids[0]: not an order"),
        ('{"bids": [], "asks": [["0", "1", "a"]], "sequence": 1}', ":1: asks[0]: price: '0'"),
        ('{"bids": [["5", "1", 7]], "asks": [], "sequence": 1}', ":1: bids[0]: order_id: '7'"),
    ],
)
def test_a_bad_snapshot_is_named(tmp_path: Path, text: str, message: str) -> None:
    """File, order and field are in the fault."""
    path = tmp_path / "book.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidInput) as caught:
        rows_of(CoinbaseSnapshotFeed(path, BTC_USD))

    assert f"{path}{message}" in str(caught.value)


def test_a_snapshot_of_another_product_is_refused(tmp_path: Path) -> None:
    """A feed does not start from the book of something else."""
    snapshot = tmp_path / "book.json"
    snapshot.write_text(
        '{"product": "ETH-USD", "bids": [], "asks": [], "sequence": 5}', encoding="utf-8"
    )
    path = written(tmp_path / "full.jsonl", opened(8))

    with pytest.raises(InvalidInput, match=r"product: 'ETH-USD'; allowed: 'BTC-USD'"):
        rows_of(CoinbaseFeed(path, BTC_USD, snapshot=snapshot))


def test_the_real_snapshot_is_walked(market_data: Path) -> None:
    """110,606 real orders: $1m buys at 3.50 bps over the mid, and sells at 1.37 bps under it."""
    feed = open_feed(market_data / "coinbase" / "btc-usd-l3-snapshot-2026-08-07.json.gz")
    assert isinstance(feed, CoinbaseSnapshotFeed)

    book = replayed(feed)

    assert 110_606 == len(book) == feed.summary.records == feed.summary.messages
    assert 57_419 == sum(1 for _ in book.orders(Side.BUY))
    bid, ask = book.best_bid(), book.best_ask()
    assert bid is not None
    assert ask is not None
    assert (6_493_431, 6_493_538) == (bid.price_ticks, ask.price_ticks)
    assert 8_539_002 == ask.quantity_lots
    for side, expected in ((Side.BUY, "3.50"), (Side.SELL, "1.37")):
        cost = sweep_cost_bps(book, feed.instrument, side, Decimal(1_000_000))
        assert Decimal(expected) == cost.quantize(Decimal("0.01"))
    assert "60de12d8-f80b-4848-adbc-2b17375a9216" == feed.order_ids()[1]
