"""Markets are found, read, repaired where the file shows what is wrong, and walked once."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action, Flag, OrderBook
from lob.errors import InvalidInput
from lob.flow import ZeroIntelligence
from lob.messages import Array
from lob.recording import record
from lob.types import AssetClass, Instrument
from touchstone.fidelity.market import (
    EndReason,
    find_markets,
    load_market,
    make_market,
    survey_markets,
)
from touchstone.fidelity.order_lives import find_stale, order_lives

SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
ADD, DELETE, REDUCE, MODIFY, EXECUTE, CLEAR = tuple(Action)[4:]


def feed(*rows: tuple[int, int, int, int, int]) -> Array:
    """Return messages of (action, order id, side, price, lots), one a nanosecond from 1."""
    messages = np.zeros(len(rows), MESSAGE_DTYPE)
    for index, (action, order_id, side, price, lots) in enumerate(rows):
        messages[index] = (index + 1, order_id, price, lots, 0, action, side, 0, 0)
    return messages


def quiet(_: str) -> None:
    """Take progress without a word."""


def test_a_life_says_what_stood_before_it_and_how_it_ended() -> None:
    """Arrival, touch, queue, first fill, last fill, end."""
    messages = feed(
        (ADD, 1, 1, 100, 5),
        (ADD, 2, 1, 100, 3),
        (ADD, 3, -1, 102, 4),
        (EXECUTE, 1, 0, 0, 5),
        (EXECUTE, 2, 0, 0, 1),
        (DELETE, 2, 0, 0, 0),
        (MODIFY, 3, 0, 103, 4),
        (REDUCE, 3, 0, 0, 4),
        (ADD, 4, -1, 103, 1),
        (CLEAR, 0, 0, 0, 0),
        (ADD, 5, 1, 99, 1),
    )
    lives = order_lives(messages)
    assert lives["order_id"].tolist() == [1, 2, 3, 3, 4, 5]
    assert [EndReason(reason).name for reason in lives["end_reason"].tolist()] == [
        "FILLED",
        "CANCELLED",
        "MOVED",
        "CANCELLED",
        "CLEARED",
        "OPEN",
    ]
    names = ("orders_ahead", "lots_ahead", "bid_ticks", "bid_lots", "ask_ticks", "ask_lots")
    assert lives[1][list(names)].tolist() == (1, 5, 100, 5, 0, 0)
    assert lives[3][list(names)].tolist() == (0, 0, 0, 0, 0, 0)
    assert lives["first_fill_index"].tolist() == [3, 4, -1, -1, -1, -1]
    assert lives["filled_ns"].tolist() == [4, -1, -1, -1, -1, -1]
    assert lives["filled_lots"].tolist() == [5, 1, 0, 0, 0, 0]
    assert lives["end_ns"].tolist() == [4, 6, 7, 8, 10, -1]


def test_lives_agree_with_the_book_over_a_random_flow() -> None:
    """What stood before each order, and what is left in the end, are the book's."""
    messages = record(ZeroIntelligence(SHARE, seed=2, mid_ticks=10_000), 2_000).feed
    lives = order_lives(messages)
    book = OrderBook(SHARE)
    arrivals = dict(zip(lives["arrival_index"].tolist(), lives, strict=True))
    for index in range(len(messages)):
        bid, ask = book.best_bid(), book.best_ask()
        book.apply(messages[index : index + 1])
        if index in arrivals:
            life = arrivals[index]
            ahead = book.queue_position(int(life["order_id"]))
            assert (ahead.orders_ahead, ahead.lots_ahead) == (
                life["orders_ahead"],
                life["lots_ahead"],
            )
            assert life["bid_ticks"] == (bid.price_ticks if bid else 0)
            assert life["ask_lots"] == (ask.quantity_lots if ask else 0)
    still = lives[lives["end_reason"] == EndReason.OPEN]
    assert set(still["order_id"].tolist()) == {order.order_id for order in book.orders()}
    executed = messages[messages["action"] == EXECUTE]
    assert lives["filled_lots"].sum() == executed["quantity_lots"].sum()


def test_an_order_that_should_have_traded_first_is_stale() -> None:
    """Behind it, at a worse price, and across the spread: each shows that it is gone."""
    behind = feed((ADD, 1, 1, 100, 5), (ADD, 2, 1, 100, 3), (EXECUTE, 2, 0, 0, 1))
    worse = feed((ADD, 1, 1, 100, 5), (ADD, 2, 1, 99, 3), (EXECUTE, 2, 0, 0, 1))
    across = feed((ADD, 1, 1, 100, 5), (ADD, 2, -1, 100, 3))
    for messages in (behind, worse, across):
        assert find_stale(messages) == [(len(messages) - 1, 1)]
    named_again = feed((ADD, 1, 1, 100, 5), (ADD, 2, -1, 100, 3), (DELETE, 1, 0, 0, 0))
    assert find_stale(named_again) == []


def test_stale_orders_are_deleted_and_refused_messages_left_out() -> None:
    """Hidden executions keep their places between the messages that are left."""
    messages = feed(
        (DELETE, 9, 0, 0, 0), (ADD, 1, 1, 100, 5), (ADD, 2, -1, 100, 3), (ADD, 3, 1, 98, 1)
    )
    hidden = np.zeros(2, [("ts_event_ns", "<i8"), ("before_index", "<i8")])
    hidden["before_index"] = (2, 3)
    market = make_market("a", SHARE, messages, hidden, find_gone=True)
    assert market.messages["action"].tolist() == [ADD, DELETE, ADD, ADD]
    assert market.messages["order_id"].tolist() == [1, 1, 2, 3]
    assert market.hidden["before_index"].tolist() == [1, 3]
    assert market.stale_orders == (1,)
    assert len(market.notes) == 2
    assert market.orders["end_reason"].tolist() == [EndReason.STALE, 0, 0]
    assert (market.start_ns, market.end_ns) == (2, 4)
    book = OrderBook(SHARE)
    book.apply(market.messages)
    assert not book.crossed


def test_a_market_has_feed_messages() -> None:
    """Commands, or nothing, cannot be measured."""
    for messages in (np.zeros(0, MESSAGE_DTYPE), np.zeros(1, MESSAGE_DTYPE)):
        with pytest.raises(InvalidInput, match="allowed: 1 or more, of a feed"):
            make_market("a", SHARE, messages)


def test_orders_of_a_snapshot_were_there_before() -> None:
    """The session starts with the first message that is none of it."""
    messages = feed((ADD, 1, 1, 100, 5), (ADD, 2, 1, 100, 5))
    messages["flags"][0] = Flag.SNAPSHOT
    market = make_market("a", SHARE, messages)
    assert market.orders["at_start"].tolist() == [True, False]
    assert (market.start_ns, market.seconds) == (2, 0.0)


def test_a_folder_is_surveyed_with_reasons(tmp_path: Path) -> None:
    """A file that can be measured is found; the others are named, and why."""
    lines = []
    for turn in range(20):
        order_id, seconds = turn + 1, 34_200 + turn
        lines += [
            f"{seconds}.000000001,1,{order_id},10,1000000,1",
            f"{seconds}.000000002,4,{order_id},4,1000000,1",
            f"{seconds}.000000003,5,0,2,1000050,1",
        ]
    (tmp_path / "XYZ_2020-01-02_message_1.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "notes.txt").write_text("no market\n")
    with pytest.raises(InvalidInput, match="a folder of market data"):
        find_markets(tmp_path / "none")
    found = survey_markets(tmp_path, min_executions=20, min_seconds=19)
    assert [path.name for path in found.found] == ["XYZ_2020-01-02_message_1.csv"]
    assert [path.name for path, _ in found.passed_over] == ["notes.txt"]
    for executions, seconds, why in ((21, 1, "20 executions"), (1, 99, "19 s; needed")):
        rows = survey_markets(tmp_path, min_executions=executions, min_seconds=seconds).passed_over
        assert why in rows[-1][1] or why in rows[0][1]
    market = load_market(found.found[0], progress=quiet)
    assert market.instrument.symbol == "XYZ"
    assert len(market.hidden) == 20
    assert market.hidden[0].tolist() == (34_200_000_000_003, 10_000.5, 2, 1, 2)
    assert len(market.orders) == 20


def test_the_real_hour_is_read_whole(market_data: Path) -> None:
    """Its one stale order is shown by the orderbook file beside it, and the book never crosses."""
    (path,) = [path for path in find_markets(market_data / "lobster") if "37800000" in path.name]
    market = load_market(path, progress=quiet)
    assert (len(market.hidden), len(market.orders)) == (2_201, 44_292)
    assert market.stale_orders == (45_367_855,)
    assert int((market.orders["first_fill_index"] >= 0).sum()) == 3_099
    book = OrderBook(market.instrument)
    book.apply(market.messages)
    assert not len(book.last_apply.crossings)
