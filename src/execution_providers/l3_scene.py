"""The book an L3 execution takes place in: built from the given depth, in whole ticks and lots.

A level's size is the sum of its orders, which depth does not tell apart. It is split at random,
from the execution's own seed, into at most `MAX_ORDERS_PER_LEVEL` orders.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from random import Random
from typing import Final

from execution_providers.rules import Working
from execution_providers.types import MarketState, Order
from lob import OrderBook
from lob.errors import InvalidInput
from lob.types import AssetClass, Instrument, Side

OWN_ORDER_ID: Final = 1
FIRST_OTHER_ID: Final = 2
MAX_ORDERS_PER_LEVEL: Final = 4

_USUAL_SIZES: Final[Mapping[AssetClass, tuple[int, int]]] = {
    AssetClass.EQUITY: (-2, 0),
    AssetClass.CRYPTO: (-2, -8),
    AssetClass.FUTURES: (-2, -8),
}
"""Powers of ten of tick and lot where nothing finer is asked for."""


def usual_tick(asset_class: AssetClass) -> Decimal:
    """Return the price step that background quotes move by."""
    return Decimal(1).scaleb(_USUAL_SIZES[asset_class][0])


def instrument_for(asset_class: AssetClass, order: Order, market: MarketState) -> Instrument:
    """Return an instrument in which every price and size of the request is a whole number.

    Tick and lot are the asset class's usual ones, or the next finer powers of ten that the request
    needs.
    """
    tick, lot = _USUAL_SIZES[asset_class]
    if order.limit_price is not None:
        tick = min(tick, _exponent(order.limit_price, tick))
    lot = min(lot, _exponent(order.quantity, lot))
    for price, size in chain(market.bids, market.asks):
        tick = min(tick, _exponent(price, tick))
        lot = min(lot, _exponent(size, lot))
    return Instrument(
        symbol=order.symbol,
        asset_class=asset_class,
        tick_size=Decimal((0, (1,), tick)),
        lot_size=Decimal((0, (1,), lot)),
    )


def within_reach(order: Working, market: MarketState) -> MarketState:
    """Return the part of the market that the order can meet when nobody else acts.

    That is the opposite touch and what lies behind it up to the order's quantity, and the order's
    own price level. The outcome is the same as in the whole market.
    """
    buys = order.side is Side.BUY
    own, opposite = (market.bids, market.asks) if buys else (market.asks, market.bids)
    wanted, reached = order.quantity, 0
    for price, size in opposite:
        if wanted <= 0 or (reached and not order.accepts(price)):
            break
        wanted -= size
        reached += 1
    met = opposite[:reached]
    joined = tuple(level for level in own if level[0] == order.limit)
    bids, asks = (joined, met) if buys else (met, joined)
    return replace(market, bids=bids, asks=asks)


def build_book(instrument: Instrument, market: MarketState, rng: Random) -> OrderBook:
    """Return a book with the market's depth; other people's order ids start at FIRST_OTHER_ID.

    Raises:
        InvalidInput: a price or size that is no whole number of the instrument's ticks or lots.
    """
    book = OrderBook(instrument)
    order_id = FIRST_OTHER_ID
    sides = ((Side.BUY, "bids", market.bids), (Side.SELL, "asks", market.asks))
    for side, name, levels in sides:
        for index, (price, size) in enumerate(levels):
            try:
                ticks, lots = instrument.to_ticks(price), instrument.to_lots(size)
            except InvalidInput as error:
                raise InvalidInput(f"market.{name}[{index}].{error}") from None
            for part in split_lots(lots, rng):
                book.feed_add(order_id, side, ticks, part)
                order_id += 1
    return book


def split_lots(lots: int, rng: Random) -> list[int]:
    """Return 1 to `MAX_ORDERS_PER_LEVEL` positive whole numbers that add up to `lots`."""
    count = min(lots, 1 + int(rng.random() * MAX_ORDERS_PER_LEVEL))
    parts: list[int] = []
    for others in range(count - 1, 0, -1):
        # Leave at least one lot for each of those that follow.
        part = 1 + int(rng.random() * min(lots - others, 2 * lots // (others + 1)))
        part = min(part, lots - others)
        parts.append(part)
        lots -= part
    parts.append(lots)
    return parts


def _exponent(number: Decimal, enough: int) -> int:
    """Return the power of ten of the last digit that matters, or anything from `enough` up."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise InvalidInput(f"{number}: not finite; allowed: a finite number")
    if exponent >= enough:
        return exponent
    trimmed = number.normalize().as_tuple().exponent
    return trimmed if isinstance(trimmed, int) else exponent
