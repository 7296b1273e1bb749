"""The book an L3 execution takes place in: built from the given depth, in whole ticks and lots.

A level's size is the sum of its orders, which depth does not tell apart. It is split at random,
from the execution's own seed, into at most `MAX_ORDERS_PER_LEVEL` orders.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from random import Random
from typing import Final, NamedTuple, Protocol

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
    return _unit(_USUAL_SIZES[asset_class][0])


def quote_step(instrument: Instrument) -> int:
    """Return the price step that quotes move by, in ticks of the instrument."""
    usual, tick = usual_tick(instrument.asset_class), instrument.tick_size
    return 1 if usual == tick else max(1, int(usual / tick))


def instrument_for(asset_class: AssetClass, order: Order, market: MarketState) -> Instrument:
    """Return an instrument in which every price and size of the request is a whole number.

    Tick and lot are the asset class's usual ones, or the next finer powers of ten that the request
    needs.
    """
    return instrument_of(asset_class, order, units_of(asset_class, market))


class Units(NamedTuple):
    """What units a market's levels need: powers of ten of the tick and of the lot.

    `bids` and `asks` are the levels in these units, where finding out has found them.
    """

    tick: int
    lot: int
    bids: list[tuple[int, int]] | None = None
    asks: list[tuple[int, int]] | None = None


def units_of(asset_class: AssetClass, market: MarketState) -> Units:
    """Return the units that a market's levels need."""
    tick, lot = _USUAL_SIZES[asset_class]
    levels = market.bids + market.asks
    if not levels:
        return Units(tick, lot, [], [])
    prices, sizes = zip(*levels, strict=True)
    ticks, lots = _counts(prices, tick), _counts(sizes, lot)
    if ticks is not None and lots is not None:
        found, first = list(zip(ticks, lots, strict=True)), len(market.bids)
        return Units(tick, lot, found[:first], found[first:])
    return Units(
        tick if ticks is not None else _exponent_of_all(prices, tick),
        lot if lots is not None else _exponent_of_all(sizes, lot),
    )


def instrument_of(asset_class: AssetClass, order: Order, units: Units) -> Instrument:
    """Return the instrument of an order in a market that needs these units."""
    tick, lot, limit = units.tick, units.lot, order.limit_price
    if limit is not None and EXACT.remainder(limit, _unit(tick)):
        tick = _exponent(limit, tick)
    if EXACT.remainder(order.quantity, _unit(lot)):
        lot = _exponent(order.quantity, lot)
    return _instrument(order.symbol, asset_class, tick, lot)


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
    return book_of(
        instrument,
        _in_units(instrument, "bids", market.bids, first_bid),
        _in_units(instrument, "asks", market.asks, first_ask),
        rng,
    )


class Splitting(Protocol):
    """What levels are split by: a seeded stream of numbers of 0 or more and below 1."""

    def random(self) -> float:
        """Return the next one."""
        ...


class Ladders:
    """A market's levels in ticks and lots, best first, in the units of one instrument.

    Raises `InvalidInput` for a price or size that is no whole number of them. `units` are the
    market's, where they are known.
    """

    __slots__ = ("asks", "bids", "instrument", "lot_size", "market", "step")

    def __init__(
        self, instrument: Instrument, market: MarketState, units: Units | None = None
    ) -> None:
        self.instrument, self.market = instrument, market
        self.step = quote_step(instrument)
        if (
            units is not None
            and units.bids is not None
            and units.asks is not None
            and instrument.tick_size == _unit(units.tick)
            and instrument.lot_size == _unit(units.lot)
        ):
            self.bids, self.asks = units.bids, units.asks
            self.lot_size = _unit_as_float(units.lot)
            return
        self.lot_size = float(instrument.lot_size)
        self.bids = list(_in_units(instrument, "bids", market.bids, 0))
        self.asks = list(_in_units(instrument, "asks", market.asks, 0))

    def of(self, side: Side) -> list[tuple[int, int]]:
        """Return one side's levels."""
        return self.bids if side is Side.BUY else self.asks

    def reached(
        self, side: Side, lots: int, limit_ticks: int | None
    ) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
        """Return what an order can meet when nobody else acts, as `within_reach` does.

        That is the place of its own level, that level where there is one, and the opposite levels.
        """
        own, opposite = (self.bids, self.asks) if side is Side.BUY else (self.asks, self.bids)
        met: list[tuple[int, int]] = []
        for level in opposite:
            beyond = limit_ticks is not None and (level[0] - limit_ticks) * side.sign > 0
            if lots <= 0 or (met and beyond):
                break
            lots -= level[1]
            met.append(level)
        for place, level in enumerate(own):
            if level[0] == limit_ticks:
                return place, [level], met
        return 0, [], met


def book_of(
    instrument: Instrument,
    bids: Iterable[tuple[int, int]],
    asks: Iterable[tuple[int, int]],
    rng: Splitting | None,
) -> OrderBook:
    """Return a book with these levels; other people's order ids start at FIRST_OTHER_ID.

    Levels are split into orders by `rng`; without one each is one order.
    """
    book = OrderBook(instrument)
    add, order_id = book.feed_add, FIRST_OTHER_ID
    for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
        for ticks, lots in levels:
            for part in (lots,) if rng is None else split_lots(lots, rng):
                add(order_id, side, ticks, part)
                order_id += 1
    return book


def split_lots(lots: int, rng: Splitting) -> list[int]:
    """Return 1 to `MAX_ORDERS_PER_LEVEL` positive whole numbers that add up to `lots`."""
    return _split(lots, rng.random, MAX_ORDERS_PER_LEVEL)


def plain_split(lots: int, draw: Callable[[], float], most: int) -> list[int]:
    """Return 1 to `most` positive whole numbers that add up to `lots`, drawn by `draw`."""
    count = min(lots, 1 + int(draw() * most))
    parts: list[int] = []
    for others in range(count - 1, 0, -1):
        # Leave at least one lot for each of those that follow.
        spare, even = lots - others, 2 * lots // (others + 1)
        part = 1 + int(draw() * (min(spare, even)))
        part = min(part, spare)
        parts.append(part)
        lots -= part
    parts.append(lots)
    return parts


_Split = Callable[[int, Callable[[], float], int], list[int]]
_Counts = Callable[[tuple[Decimal, ...], int], list[int] | None]
_split: _Split = plain_split
_native_counts: _Counts | None = None
try:
    # The same parts and counts, five times as fast.
    from lob._core import counts_of as _native_counts
    from lob._core import split_lots as _split
except ImportError:
    pass  # nothing was compiled


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
    factor = _reciprocal(unit)
    if factor is None:
        counts = list(map(EXACT.divide, numbers, repeat(unit)))
    else:  # twice as fast, and more so where there is nothing to do
        counts = list(numbers if factor == 1 else map(EXACT.multiply, numbers, repeat(factor)))
    units = list(map(int, counts))
    return units if units == counts and max(units) <= INT64_MAX else None


def plain_counts(numbers: tuple[Decimal, ...], exponent: int) -> list[int] | None:
    """Return positive numbers in units of a power of ten; None where one is no whole one."""
    return _whole(numbers, _unit(exponent))


def _counts(numbers: tuple[Decimal, ...], exponent: int) -> list[int] | None:
    """Return what `plain_counts` does."""
    found = None if _native_counts is None else _native_counts(numbers, exponent)
    return plain_counts(numbers, exponent) if found is None else found


@lru_cache(maxsize=64)
def _unit(exponent: int) -> Decimal:
    """Return a power of ten."""
    return Decimal((0, (1,), exponent))


@lru_cache(maxsize=64)
def _unit_as_float(exponent: int) -> float:
    return float(_unit(exponent))


@lru_cache(maxsize=256)
def _reciprocal(unit: Decimal) -> Decimal | None:
    """Return 1 / unit of a power of ten; None for another number."""
    sign, digits, exponent = unit.as_tuple()
    if sign or digits != (1,) or not isinstance(exponent, int):
        return None
    return Decimal((0, (1,), -exponent))


def _exponent_of_all(numbers: Sequence[Decimal], enough: int) -> int:
    """Return the smallest power of ten of a last digit that matters, `enough` at most."""
    if not any(map(EXACT.remainder, numbers, repeat(_unit(enough)))):
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
