"""An execution in a book that is there, driven by hand: what it asks for, and what it leaves."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from execution_providers.l3 import L3Provider
from execution_providers.l3_flow import COUNT_NAMES, OwnTrade
from execution_providers.types import BarData, Fill, MarketState, Order
from lob import OrderBook
from lob.config import create_l3_config
from lob.errors import Conflict, InvalidInput
from lob.instrument import Instrument
from lob.types import AssetClass, Event, Side, Submit, Traded

SHARE = Instrument(
    symbol="ABC", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
SURE = {"name": "A", "base_fill_probability": 1.0, "size_penalty": 0.0, "latency_us": 1_000}
MS = 1_000_000


class Book:
    """A session's book at 10 ms: 99.99:[100] 100.01:[100] 100.03:[100]."""

    session_id = "a session"
    name = "by hand"
    instrument = SHARE

    def __init__(self) -> None:
        self.book = OrderBook(SHARE)
        self.counts: Mapping[str, int] = dict.fromkeys(COUNT_NAMES, 0)
        self.given: list[OwnTrade] = []
        self.book.submit(1, Side.BUY, 100, 9_999)
        self.book.submit(2, Side.SELL, 100, 10_001)
        self.book.submit(3, Side.SELL, 100, 10_003)
        self.book.advance(10 * MS)

    def next_order_id(self) -> int:
        """Return the one id there is."""
        return 1_000

    def enter(self, command: Submit) -> Sequence[Event]:
        """Let our order enter."""
        return self.book.apply(command)

    def trades(self, order_id: int) -> list[OwnTrade]:
        """Return what our order gave."""
        assert order_id == self.next_order_id()
        return self.given

    def leave(self, order_id: int) -> None:
        """Take our order out."""
        self.book.cancel(order_id)

    def sell(self, lots: int) -> None:
        """Let somebody sell, as the session's source would."""
        for event in self.book.submit(50, Side.SELL, lots, 9_999):
            if isinstance(event, Traded) and event.maker_order_id == 1_000:
                trade = OwnTrade(self.book.now_ns, event.price_ticks, event.quantity_lots)
                self.given.append(trade)


def provider(**sections: Any) -> L3Provider:
    """Return a provider of equities with a latency of 5 ms and these sections."""
    latency = {"distribution": "constant", "order_us": 5_000, "exchange_us": 0}
    return L3Provider(AssetClass.EQUITY, create_l3_config(latency=latency, **sections))


def order(side: str, quantity: int, limit: str | None = None, **fields: Any) -> Order:
    """Return a market order, or a limit order where a limit is given."""
    kind = "MARKET" if limit is None else "LIMIT"
    return Order("ABC", side, quantity, kind, limit, **fields)  # type: ignore[arg-type]


def bar(milliseconds: int) -> BarData:
    """Return a bar of so long."""
    return BarData("1", "1", "1", "1", 1, milliseconds)  # type: ignore[arg-type]


def finish(steps: Any, book: Book) -> tuple[list[int], Fill]:
    """Move the book to each time that an execution asks for; return those times and the fill."""
    asked: list[int] = []
    while True:
        try:
            now_ns = next(steps)
        except StopIteration as ended:
            return asked, ended.value
        asked.append(now_ns)
        book.book.advance(now_ns)


def test_it_asks_for_its_latency_and_takes_what_is_there_then() -> None:
    """The touch of the arrival is another than that of the decision: that is latency drift."""
    book = Book()
    steps = provider().execute_live(order("BUY", 150), book)
    assert 15 * MS == next(steps)
    book.book.cancel(2)
    book.book.submit(4, Side.SELL, 100, 10_002)
    book.book.advance(15 * MS)
    _, fill = finish(steps, book)
    assert ("FILLED", Decimal("100.02333333333333333")) == (fill.status, fill.average_price)
    assert {"spread": "1", "depth": "0.333333333", "latency_drift": "1", "impact": "0"} == (
        fill.attribution["slippage"]
    )
    assert [5 * MS, 5 * MS] == [part.offset_ns for part in fill.fills]


def test_a_resting_order_waits_to_the_end_of_its_bar_and_is_taken_out() -> None:
    """Its time counts from the decision; what it gave meanwhile is its fill."""
    book = Book()
    steps = provider().execute_live(order("BUY", 80, "99.99"), book, bar=bar(1_000))
    assert 15 * MS == next(steps)
    book.book.advance(15 * MS)
    assert 1_010 * MS == next(steps)
    book.book.advance(500 * MS)
    book.sell(130)
    _, fill = finish(steps, book)
    assert ("PARTIALLY_FILLED", Decimal(30), "100") == (
        fill.status,
        fill.filled_quantity,
        fill.attribution["queue_ahead"],
    )
    assert [("MAKER", 490 * MS)] == [(part.liquidity, part.offset_ns) for part in fill.fills]
    assert 1_000 not in book.book


def test_closing_it_takes_the_order_out() -> None:
    """Whoever gives up waiting leaves nothing behind."""
    book = Book()
    steps = provider().execute_live(order("BUY", 80, "99.99"), book, bar=bar(1_000))
    next(steps)
    next(steps)
    assert 1_000 in book.book
    steps.close()
    assert 1_000 not in book.book


def test_dark_pools_come_first_and_take_their_time() -> None:
    """What they fill at the mid does not reach the book."""
    book = Book()
    dark = {"enabled": True, "max_dark_fill_pct": 40.0, "venues": [SURE]}
    asked, fill = finish(provider(dark_pools=dark).execute_live(order("BUY", 100), book), book)
    assert [16 * MS] == asked
    assert [("100.00", 40), ("100.01", 60)] == [
        (f"{part.price:.2f}", int(part.quantity)) for part in fill.fills
    ]
    assert "40" == fill.attribution["dark"]["filled"]
    assert "0.6" == fill.attribution["slippage"]["spread"]
    assert "SEQUENTIAL" == fill.attribution["models"]["dark_pools"]


def test_what_a_session_does_not_model_is_not_named() -> None:
    """Hidden liquidity, impact and queue value have no part in it."""
    on = {"enabled": True}
    made = provider(market_impact=on, hidden_liquidity=on, queue_value=on, fill_probability=on)
    book = Book()
    _, fill = finish(made.execute_live(order("BUY", 10), book), book)
    names = fill.attribution["models"]
    assert {"background_flow", "book", "config", "fill_probability", "latency"} <= set(names)
    assert not {"market_impact", "hidden_liquidity", "queue_value"} & set(names)
    assert "by hand" == names["background_flow"]


def test_an_order_that_ends_before_asks_for_nothing() -> None:
    """A stop that is not reached, and post-only where nothing rests, never enter."""
    book = Book()
    book.book.submit(9, Side.BUY, 1, 10_001)
    stop = Order("ABC", "BUY", 5, "STOP", None, "105")  # type: ignore[arg-type]
    asked, fill = finish(provider().execute_live(stop, book), book)
    assert ([], "UNFILLED", "STOP_NOT_TRIGGERED") == (
        asked,
        fill.status,
        fill.attribution["reason"],
    )


def test_what_cannot_be_executed_is_refused_before_anything_moves() -> None:
    """A switched-off configuration, a price between ticks, a crossed book, an empty one."""
    off = L3Provider(AssetClass.EQUITY, create_l3_config(enabled=False))
    with pytest.raises(Conflict, match="enabled: false"):
        next(off.execute_live(order("BUY", 1), Book()))
    with pytest.raises(InvalidInput, match=r"order\.limit_price"):
        next(provider().execute_live(order("BUY", 1, "100.005"), Book()))
    crossed = Book()
    crossed.book.feed_add(7, Side.BUY, 10_050, 1)
    with pytest.raises(Conflict, match="crossed"):
        next(provider().execute_live(order("BUY", 1), crossed))
    empty = Book()
    empty.book = OrderBook(SHARE)
    with pytest.raises(InvalidInput, match=r"market\.last_price"):
        next(provider().execute_live(order("BUY", 1), empty))


def test_of_the_requests_market_only_volume_and_volatility_are_looked_at() -> None:
    """Depth and time of the request change nothing, volatility may."""
    fills = []
    for about in (None, MarketState(7, (("5", 1),), (("6", 1),))):  # type: ignore[arg-type]
        book = Book()
        fills.append(finish(provider().execute_live(order("BUY", 10), book, about), book)[1])
    assert fills[0] == fills[1]
