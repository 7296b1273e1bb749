"""Bitstamp's order events: what is left of each order, and the trades that two of them make."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob import OrderBook
from lob.errors import InvalidInput
from lob.feeds import open_feed
from lob.feeds.base import Feed
from lob.feeds.bitstamp import HEADER, BitstampFeed
from lob.feeds.bitstamp_trades import HEADER as TRADES_HEADER
from lob.feeds.bitstamp_trades import TradeCheck, check_trades, read_trades
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag
from lob.types import AssetClass, Instrument, RejectReason

BTC_USD = Instrument(
    symbol="BTC/USD",
    asset_class=AssetClass.CRYPTO,
    tick_size=Decimal(1),
    lot_size=Decimal("0.00000001"),
)
FIELDS = ["action", "order_id", "price_ticks", "quantity_lots"]
REASONS = tuple(RejectReason)


def written(path: Path, *lines: str) -> Path:
    """A file of events: its header and these lines."""
    path.write_text("\n".join((HEADER, *lines)) + "\n", encoding="utf-8")
    return path


def event(
    order_id: int, action: str, volume: str, *, price: str = "100.0", side: str = "bid", ms: int = 1
) -> str:
    """A line of the recorder."""
    return f"{order_id},{ms + 5},{ms},{price},{volume},{action},{side}"


def rows_of(feed: Feed) -> Array:
    """All messages of a feed."""
    blocks = [block.messages for block in feed.blocks()]
    return np.concatenate([np.zeros(0, MESSAGE_DTYPE), *blocks])


def test_each_event_becomes_what_it_says(tmp_path: Path) -> None:
    """Created adds, changed modifies or reduces, deleted deletes; both times are there."""
    path = written(
        tmp_path / "e.csv",
        event(1, "created", "1.5"),
        event(1, "changed", "2.0", ms=2),
        event(1, "changed", "7.18e-06", ms=3),
        event(1, "changed", "7.18e-06", price="101.0", ms=4),
        event(1, "deleted", "7.18e-06", price="101.0", ms=5),
        event(9, "deleted", "1", ms=6),
        event(8, "changed", "1", ms=7),
    )
    feed = BitstampFeed(path, BTC_USD)

    (block,) = feed.blocks()

    expected = [
        (Action.FEED_ADD, 1, 100, 150_000_000),
        (Action.FEED_MODIFY, 1, 100, 200_000_000),
        (Action.FEED_REDUCE, 1, 0, 199_999_282),
        (Action.FEED_MODIFY, 1, 101, 718),
        (Action.FEED_DELETE, 1, 0, 0),
        (Action.FEED_DELETE, 9, 0, 0),
        (Action.FEED_MODIFY, 8, 100, 100_000_000),
    ]
    assert expected == block.messages[FIELDS].tolist()
    assert [n * 1_000_000 for n in range(1, 8)] == block.messages["ts_event_ns"].tolist()
    assert [(n + 5) * 1_000_000 for n in range(1, 8)] == block.ts_recv_ns.tolist()
    assert [2, 3, 4, 5, 6, 7, 8] == block.positions.tolist()
    assert {} == dict(feed.summary.unusable)


def test_two_events_of_one_trade_execute_the_order_that_was_first(tmp_path: Path) -> None:
    """The maker is executed, the taker's lots go without a second trade, in the file's order."""
    path = written(
        tmp_path / "e.csv",
        event(7, "created", "0.5", side="ask"),
        event(3, "created", "0.3", side="ask"),
        event(5, "created", "0.9", price="105.0", ms=2),
        event(5, "changed", "0.4", ms=2),
        event(7, "deleted", "0.0", side="ask", ms=2),
        event(5, "changed", "0.15", ms=2),
        event(3, "changed", "0.05", side="ask", ms=2),
        event(5, "deleted", "0.15", price="105.0", ms=3),
    )

    rows = rows_of(BitstampFeed(path, BTC_USD))

    expected = [
        (Action.FEED_ADD, 7, 100, 50_000_000),
        (Action.FEED_ADD, 3, 100, 30_000_000),
        (Action.FEED_ADD, 5, 105, 90_000_000),
        (Action.FEED_REDUCE, 5, 0, 50_000_000),
        (Action.FEED_EXECUTE, 7, 0, 50_000_000),
        (Action.FEED_REDUCE, 5, 0, 25_000_000),
        (Action.FEED_EXECUTE, 3, 0, 25_000_000),
        (Action.FEED_DELETE, 5, 0, 0),
    ]
    assert expected == rows[FIELDS].tolist()
    last = np.flatnonzero(rows["flags"] & Flag.LAST)
    assert [1, 6, 7] == last.tolist()


def test_a_market_order_trades_without_ever_resting(tmp_path: Path) -> None:
    """Prices 0 and 999999999 are none; the resting side of the trade is executed all the same."""
    path = written(
        tmp_path / "e.csv",
        event(7, "created", "0.5", side="ask"),
        event(5, "created", "0.0", price="999999999.0", ms=2),
        event(5, "changed", "0.0", ms=2),
        event(7, "changed", "0.3", side="ask", ms=2),
        event(5, "deleted", "0.0", ms=2),
        event(6, "created", "0.1", price="0.0", ms=3),
        event(6, "deleted", "0.1", price="0.0", ms=3),
        event(4, "created", "0", ms=4),
    )
    feed = BitstampFeed(path, BTC_USD)

    assert [
        (Action.FEED_ADD, 7, 100, 50_000_000),
        (Action.FEED_EXECUTE, 7, 0, 20_000_000),
    ] == rows_of(feed)[FIELDS].tolist()
    assert {"no_price": 5, "no_amount": 1} == dict(feed.summary.unusable)


def test_what_falls_alone_is_no_trade(tmp_path: Path) -> None:
    """Other amounts, other moments, and the same side are reductions, each by itself."""
    path = written(
        tmp_path / "e.csv",
        event(1, "created", "1"),
        event(2, "created", "1", side="ask"),
        event(1, "changed", "0.9", ms=2),
        event(2, "changed", "0.8", side="ask", ms=2),
        event(1, "changed", "0.8", ms=3),
        event(2, "changed", "0.7", side="ask", ms=4),
        event(2, "changed", "0", side="ask", ms=5),
        event(2, "deleted", "0", side="ask", ms=6),
    )
    feed = BitstampFeed(path, BTC_USD)

    assert 4 == np.count_nonzero(rows_of(feed)["action"] == Action.FEED_REDUCE)
    assert Action.FEED_EXECUTE not in rows_of(feed)["action"]
    assert {"already_ended": 1} == dict(feed.summary.unusable)


def test_an_order_goes_whatever_the_price_says(tmp_path: Path) -> None:
    """Off the tick or the lot, a created or changed order is counted; a deleted one still goes."""
    path = written(
        tmp_path / "e.csv",
        event(1, "created", "1"),
        event(2, "created", "1", price="100.5"),
        event(3, "created", "0.000000001"),
        event(1, "changed", "2", price="100.5", ms=2),
        event(1, "changed", "0.5", price="100.5", ms=3),
        event(1, "changed", "0.25", price="99.0", ms=4),
        event(1, "deleted", "0.000000001", price="100.5", ms=5),
    )
    feed = BitstampFeed(path, BTC_USD)

    assert [
        (Action.FEED_ADD, 1, 100, 100_000_000),
        (Action.FEED_REDUCE, 1, 0, 50_000_000),
        (Action.FEED_MODIFY, 1, 99, 25_000_000),
        (Action.FEED_DELETE, 1, 0, 0),
    ] == rows_of(feed)[FIELDS].tolist()
    assert {"price_off_tick": 2, "volume_off_lot": 1} == dict(feed.summary.unusable)


def live(name: str, **fields: Any) -> str:
    """A message of the websocket."""
    order = {
        "id": 1,
        "id_str": "1",
        "order_type": 0,
        "microtimestamp": "1777689383201000",
        "amount": 0.5,
        "amount_str": "0.50000000",
        "price": 78318,
        "price_str": "78318",
    }
    return json.dumps({"event": name, "channel": "live_orders_btcusd", "data": order | fields})


def test_messages_of_the_websocket_are_read_too(tmp_path: Path) -> None:
    """Events come by name, sides by order type, times in microseconds; the rest is counted."""
    path = tmp_path / "live.jsonl.gz"
    lines = [
        '{"event": "bts:subscription_succeeded", "channel": "live_orders_btcusd", "data": {}}',
        live("order_created"),
        live("order_created", id_str="2", order_type=1, price_str="78320", amount_str="0.1"),
        live("order_changed", amount_str="0.25"),
        live("order_deleted", id_str="2", order_type=1),
        live("order_created").replace("btcusd", "etheur"),
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    feed = open_feed(path)
    assert isinstance(feed, BitstampFeed)

    rows = rows_of(feed)

    assert "BTCUSD" == feed.instrument.symbol
    assert [
        (Action.FEED_ADD, 1, 7_831_800, 50_000_000),
        (Action.FEED_ADD, 2, 7_832_000, 10_000_000),
        (Action.FEED_REDUCE, 1, 0, 25_000_000),
        (Action.FEED_MODIFY, 2, 7_831_800, 50_000_000),
    ][:3] == rows[FIELDS].tolist()[:3]
    assert [Action.FEED_DELETE] == rows["action"].tolist()[3:]
    assert {1_777_689_383_201_000_000} == set(rows["ts_event_ns"].tolist())
    assert {"no_order_event": 1, "other_channel": 1} == dict(feed.summary.unusable)


def test_a_pair_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    """A file of other channels alone is not taken for an empty one; `symbol` chooses among them."""
    path = tmp_path / "live.jsonl"
    other = live("order_created").replace("btcusd", "etheur")
    path.write_text(f"{live('order_created')}\n{other}\n", encoding="utf-8")

    feed = open_feed(path, symbol="ETH/EUR")
    assert [2] == [position for block in feed.blocks() for position in block.positions]
    assert "ETH/EUR" == feed.instrument.symbol
    with pytest.raises(InvalidInput, match=r"no order event of 'xrpusd'; allowed: btcusd, etheur"):
        rows_of(open_feed(path, symbol="XRP-USD"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", "3 fields"),
        (event(0, "created", "1"), "id: '0'"),
        (event(2, "made", "1"), "action: 'made'"),
        (event(2, "created", "1", side="buy"), "direction: 'buy'"),
        (event(2, "created", "-1"), "volume: -1"),
        (event(2, "created", "1", price="x"), "price: 'x'"),
        (event(2, "created", "1", ms=2**62), "exchange_timestamp: "),
        (event(2, "created", "1", price="\xe9"), "not ASCII"),
        (event(2, "created", "1e300"), "volume: 1e300 is more than"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    """File, line and field are in the fault."""
    path = written(tmp_path / "e.csv", event(1, "created", "1"), line)

    with pytest.raises(InvalidInput) as caught:
        rows_of(BitstampFeed(path, BTC_USD))

    assert str(caught.value).startswith(f"{path}:3: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "not a message"),
        ('{"event": "order_created", "channel": "live_orders_btcusd"}', "data: missing"),
        (live("order_created", order_type=2), "order_type: '2'"),
        (live("order_created", microtimestamp="x"), "microtimestamp: 'x'"),
    ],
)
def test_a_bad_message_is_named(tmp_path: Path, line: str, message: str) -> None:
    """File, line and field are in the fault, for JSON too."""
    path = tmp_path / "live.jsonl"
    path.write_text(f"{live('order_created')}\n{line}\n", encoding="utf-8")

    with pytest.raises(InvalidInput) as caught:
        rows_of(BitstampFeed(path, BTC_USD))

    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


def test_a_bad_trade_is_named(tmp_path: Path) -> None:
    """Header, number of fields, side and amount are looked at."""
    path = tmp_path / "t.csv"
    for text, message in (
        ("x\n", ":1: header"),
        (f"{TRADES_HEADER}\n1,2\n", ":2: 2 fields"),
        (f"{TRADES_HEADER}\n1,2,3,4,0.5,6,7,up\n", ":2: side: 'up'"),
        (f"{TRADES_HEADER}\n1,2,3,4,0,6,7,buy\n", ":2: amount: '0'"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InvalidInput) as caught:
            read_trades(path, BTC_USD)
        assert f"{path}{message}" in str(caught.value)


def test_real_events_hold_every_real_trade(market_data: Path) -> None:
    """314,057 events: 284 of 284 trades know both orders, and are found as executions, exactly."""
    folder = market_data / "bitstamp"
    feed = open_feed(folder / "btcusd-l3-events-2026-05-02.csv.gz")
    assert isinstance(feed, BitstampFeed)

    found = check_trades(feed, folder / "btcusd-trades-2026-05-02.csv")

    assert TradeCheck(trades=284, both_orders=284, executed=284, executions=284) == found
    assert 314_057 == feed.summary.records
    assert {"created": 156_889, "changed": 266, "deleted": 156_902} == dict(feed.summary.by_type)
    assert {"no_price": 67} == dict(feed.summary.unusable)


def test_real_events_cross_and_contradict_in_the_open(market_data: Path) -> None:
    """Thirteen orders are deleted that nobody created, and the book is crossed most of the time."""
    feed = open_feed(market_data / "bitstamp" / "btcusd-l3-events-2026-05-02.csv.gz")
    book = OrderBook(feed.instrument)
    unknown = crossed = total = 0

    for block in feed.blocks():
        book.apply(block.messages, strict=False)
        refused = book.last_apply.refusals
        assert {REASONS.index(RejectReason.UNKNOWN_ORDER)} >= set(refused["reason"].tolist())
        unknown += len(refused)
        crossings = book.last_apply.crossings
        crossed += int((crossings["end"] - crossings["first"]).sum())
        total += len(block.messages)

    book.check(crossed_allowed=True)
    assert (13, 0) == (unknown, len(book))
    assert crossed > total / 2
