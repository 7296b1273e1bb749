"""How an order meets what it finds on arrival: a book, or depth that nobody else touches."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from execution_providers.l3_flow import OwnTrade
from execution_providers.l3_scene import OWN_ORDER_ID
from execution_providers.rules import Working, opposite_levels
from execution_providers.slippage import EXACT, NOTHING, Totals, totals_of
from execution_providers.types import Liquidity, MarketState, PartialFill, TimeInForce
from execution_providers.walk import fits_a_book, joined_size, meet
from lob import OrderBook
from lob.errors import InvalidInput
from lob.types import INT64_MAX, Event, Instrument, OrderType, Rejected, Side, Traded
from lob.types import TimeInForce as BookTimeInForce

_ZERO: Final = Decimal(0)
_BOOK_TIF: Final[Mapping[TimeInForce, BookTimeInForce]] = {
    TimeInForce.GTC: BookTimeInForce.GTC,
    TimeInForce.DAY: BookTimeInForce.GTC,
    TimeInForce.IOC: BookTimeInForce.IOC,
    TimeInForce.FOK: BookTimeInForce.FOK,
}


class Outcome(NamedTuple):
    """What became of the order; `totals` are what its fills add up to.

    Events are counted where others act in the book.
    """

    fills: tuple[PartialFill, ...]
    touch: Decimal | None
    totals: Totals
    refused: str | None = None
    queue_ahead: Decimal | None = None
    in_flight: dict[str, int] | None = None
    while_resting: dict[str, int] | None = None


def met_alone(order: Working, market: MarketState, offset_ns: int) -> Outcome | None:
    """Return what a book of the market would answer where nobody else acts, without making one.

    None leaves the answer to a book: it has the words for numbers that it does not take.
    """
    fills, leaves, touch, refused, totals = meet(order, market, offset_ns)
    # A refused order may have met any of them; one that nobody accepted met the touch.
    if refused or len(fills) > 1:
        levels = opposite_levels(order.side, market)
        reached = levels if refused else levels[: len(fills)]
    else:
        best = market.best(Side.SELL if order.side is Side.BUY else Side.BUY)
        reached = () if best is None else (best,)
    # Whoever trades on arrival has crossed the spread: nobody rests at its limit on its own side.
    joined = _ZERO if fills else joined_size(order, market)
    if not fits_a_book(order, reached, joined):
        return None
    waits = order.rests and leaves and refused is None
    return Outcome(fills, touch, totals, refused, joined if waits else None)


def in_units(instrument: Instrument, order: Working) -> tuple[int, int | None]:
    """Return the order's lots and its limit in ticks; `InvalidInput` names the order's field."""
    lots = _count(order.quantity, instrument.lot_size)
    ticks = None if order.limit is None else _count(order.limit, instrument.tick_size)
    if lots and (ticks or order.limit is None):
        return lots, ticks
    try:
        lots = instrument.to_lots(order.quantity)
        return lots, None if order.limit is None else instrument.to_ticks(order.limit)
    except InvalidInput as error:
        text = str(error)
        name = "limit_price" if text.startswith("price") else "quantity"
        raise InvalidInput(f"order.{name}: {text.partition(': ')[2]}") from None


def _count(number: Decimal, unit: Decimal) -> int | None:
    """Return a number in whole units; None where it needs a closer look, for the words alone."""
    units = EXACT.divide(number, unit)
    whole = int(units)
    return whole if whole == units and whole <= INT64_MAX else None


def submit(book: OrderBook, order: Working, lots: int, limit_ticks: int | None) -> Sequence[Event]:
    """Submit the order to the book as it stands, and return the events."""
    return book.submit(
        OWN_ORDER_ID,
        order.side,
        lots,
        limit_ticks,
        order_type=OrderType.MARKET if limit_ticks is None else OrderType.LIMIT,
        time_in_force=_BOOK_TIF[order.time_in_force],
        post_only=order.post_only,
    )


def arrive(book: OrderBook, instrument: Instrument, order: Working, offset_ns: int) -> Outcome:
    """Let the order meet the book as it stands."""
    best = book.best_ask() if order.side is Side.BUY else book.best_bid()
    events = submit(book, order, *in_units(instrument, order))
    touch = None if best is None else instrument.price(best.price_ticks)
    first = events[0]
    if isinstance(first, Rejected):
        return Outcome((), touch, NOTHING, first.reason.value)
    ahead: Decimal | None = None
    if OWN_ORDER_ID in book:
        ahead = instrument.quantity(book.queue_position(OWN_ORDER_ID).lots_ahead)
    fills = taken(events, instrument, offset_ns)
    return Outcome(fills, touch, totals_of(fills), None, ahead)


def taken(
    events: Sequence[Event], instrument: Instrument, offset_ns: int, moved_ticks: int = 0
) -> tuple[PartialFill, ...]:
    """Return what the order took on arrival, one fill a price, `moved_ticks` from the book's."""
    lots_at: dict[int, int] = {}
    for event in events:
        if isinstance(event, Traded):
            lots_at[event.price_ticks] = lots_at.get(event.price_ticks, 0) + event.quantity_lots
    return tuple(
        PartialFill(
            instrument.price(ticks + moved_ticks),
            instrument.quantity(lots),
            Liquidity.TAKER,
            offset_ns,
        )
        for ticks, lots in lots_at.items()
    )


def given(
    trades: list[OwnTrade], instrument: Instrument, moved_ticks: int = 0
) -> tuple[PartialFill, ...]:
    """Return what the resting order gave, trade by trade, `moved_ticks` from the book's prices."""
    return tuple(
        PartialFill(
            instrument.price(trade.price_ticks + moved_ticks),
            instrument.quantity(trade.quantity_lots),
            Liquidity.MAKER,
            trade.time_ns,
        )
        for trade in trades
    )
