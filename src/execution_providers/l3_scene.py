"""The book an L3 execution takes place in: built from the given depth, in whole ticks and lots.

A level's size is the sum of its orders, which depth does not tell apart. It is split at random,
from the execution's own seed, into at most `MAX_ORDERS_PER_LEVEL` orders.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from random import Random
from typing import Final, NamedTuple

from execution_providers.rules import Working
from execution_providers.slippage import EXACT
from execution_providers.types import MarketState, Order, PriceLevel
from lob import OrderBook
from lob.errors import InvalidInput
from lob.types import INT64_MAX, AssetClass, Instrument, Side

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
    levels = market.bids + market.asks
    prices, sizes = zip(*levels, strict=True) if levels else ((), ())
    if order.limit_price is not None:
        prices += (order.limit_price,)
    return _instrument(
        order.symbol,
        asset_class,
        _exponent_of_all(prices, tick),
        _exponent_of_all((*sizes, order.quantity), lot),
    )


class Reach(NamedTuple):
    """A part of a market, and the places that its first bid and its first ask have in the whole."""

    market: MarketState
    first_bid: int = 0
    first_ask: int = 0


def within_reach(order: Working, market: MarketState) -> Reach:
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
        wanted = EXACT.subtract(wanted, size)
        reached += 1
    met = opposite[:reached]
    at = next((index for index, level in enumerate(own) if level[0] == order.limit), 0)
    joined = tuple(level for level in own[at : at + 1] if level[0] == order.limit)
    # A market of this module's own: the one given may be of a kind that cannot be made in parts.
    rest = (market.last_price, market.adv_notional, market.volatility)
    if buys:
        return Reach(MarketState(market.timestamp_ms, joined, met, *rest), first_bid=at)
    return Reach(MarketState(market.timestamp_ms, met, joined, *rest), first_ask=at)


def build_book(
    instrument: Instrument,
    market: MarketState,
    rng: Random,
    first_bid: int = 0,
    first_ask: int = 0,
) -> OrderBook:
    """Return a book with the market's depth; other people's order ids start at FIRST_OTHER_ID.

    `first_bid` and `first_ask` are what a refusal calls the first levels, where the market is a
    part of another.

    Raises:
        InvalidInput: a price or size that is no whole number of the instrument's ticks or lots.
    """
    book = OrderBook(instrument)
    add, order_id = book.feed_add, FIRST_OTHER_ID
    sides = (
        (Side.BUY, "bids", market.bids, first_bid),
        (Side.SELL, "asks", market.asks, first_ask),
    )
    for side, name, levels, first in sides:
        for ticks, lots in _in_units(instrument, name, levels, first):
            for part in split_lots(lots, rng):
                add(order_id, side, ticks, part)
                order_id += 1
    return book


def split_lots(lots: int, rng: Random) -> list[int]:
    """Return 1 to `MAX_ORDERS_PER_LEVEL` positive whole numbers that add up to `lots`."""
    draw = rng.random
    count = min(lots, 1 + int(draw() * MAX_ORDERS_PER_LEVEL))
    parts: list[int] = []
    for others in range(count - 1, 0, -1):
        # Leave at least one lot for each of those that follow.
        spare, most = lots - others, 2 * lots // (others + 1)
        part = 1 + int(draw() * (min(spare, most)))
        part = min(part, spare)
        parts.append(part)
        lots -= part
    parts.append(lots)
    return parts


@lru_cache(maxsize=1024)
def _instrument(symbol: str, asset_class: AssetClass, tick: int, lot: int) -> Instrument:
    return Instrument(
        symbol=symbol,
        asset_class=asset_class,
        tick_size=Decimal((0, (1,), tick)),
        lot_size=Decimal((0, (1,), lot)),
    )


def _in_units(
    instrument: Instrument, name: str, levels: Sequence[PriceLevel], first: int
) -> Iterable[tuple[int, int]]:
    """Return levels in ticks and lots; `InvalidInput` naming the level that has none."""
    if not levels:
        return ()
    prices, sizes = zip(*levels, strict=True)
    ticks = _whole(prices, instrument.tick_size)
    lots = _whole(sizes, instrument.lot_size)
    if ticks is not None and lots is not None:
        return zip(ticks, lots, strict=True)
    return [
        _level_in_units(instrument, name, index, *level)
        for index, level in enumerate(levels, first)
    ]


def _level_in_units(
    instrument: Instrument, name: str, index: int, price: Decimal, size: Decimal
) -> tuple[int, int]:
    try:
        return instrument.to_ticks(price), instrument.to_lots(size)
    except InvalidInput as error:
        # An instrument speaks of a quantity; in a level it is the size.
        told = str(error).replace("quantity", "size", 1)
        raise InvalidInput(f"market.{name}[{index}].{told}") from None


def _whole(numbers: Sequence[Decimal], unit: Decimal) -> list[int] | None:
    """Return positive numbers in units, all at once; None where one is no whole one of 64 bits."""
    quotients = list(map(EXACT.divide, numbers, repeat(unit)))
    units = list(map(int, quotients))
    return units if units == quotients and max(units) <= INT64_MAX else None


def _exponent_of_all(numbers: Sequence[Decimal], enough: int) -> int:
    """Return the smallest power of ten of a last digit that matters, `enough` at most."""
    unit = Decimal((0, (1,), enough))
    if not any(map(EXACT.remainder, numbers, repeat(unit))):
        return enough
    return min(_exponent(number, enough) for number in numbers)


def _exponent(number: Decimal, enough: int) -> int:
    """Return the power of ten of the last digit that matters, or anything from `enough` up."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise InvalidInput(f"{number}: not finite; allowed: a finite number")
    if exponent >= enough:
        return exponent
    trimmed = number.normalize().as_tuple().exponent
    return trimmed if isinstance(trimmed, int) else exponent
