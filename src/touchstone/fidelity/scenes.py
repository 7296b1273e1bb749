"""Moments of a market at which orders can be tried: the depth that is seen, and the bar after it.

From a real market's messages, or from `lob.clustered_flow`; the same seed gives the same.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from execution_providers import BarData, MarketState
from lob import OrderBook
from lob.bounds import positive, whole
from lob.clustered_flow import ClusteredFlow
from lob.errors import InvalidInput
from lob.messages import Action
from lob.types import AssetClass, Instrument, Level, Traded
from touchstone.fidelity.market import Market

LEVELS: Final = 10
"""Levels of each side that a scene shows."""

BAR_SECONDS: Final = 10.0
"""How long an order lives: the length of a scene's bar."""

_SECOND_NS: Final = 1_000_000_000
_TRADING_SECONDS: Final = 23_400.0
_WARM_UP: Final = 0.05
_MID_TICKS: Final = 58_000
"""About where the share of the usual profile traded: its moves are in ticks."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment: what is seen at the decision, and what the market did while an order lives."""

    market: MarketState
    bar: BarData


class Scenes(NamedTuple):
    """Scenes of one instrument, in order of time, and what they come from."""

    source: str
    instrument: Instrument
    scenes: tuple[Scene, ...]


class _Look(NamedTuple):
    """What stood in the book at one time, and what had traded until then."""

    at_ns: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    traded_lots: int
    low_ticks: float
    high_ticks: float


def generated_scenes(count: int, seed: int = 0) -> Scenes:
    """Return `count` scenes of seeded clustered flow, of the usual profile: a liquid share's."""
    whole("count", count, 1, 100_000)
    instrument = Instrument(
        symbol="SYNTHETIC",
        asset_class=AssetClass.EQUITY,
        tick_size=Decimal("0.01"),
        lot_size=Decimal(1),
    )
    flow = ClusteredFlow(instrument, seed, _MID_TICKS)
    book = flow.seeded_book()
    looks: list[_Look] = []
    due = round(BAR_SECONDS * _SECOND_NS)
    span = _Span()
    while len(looks) <= count:
        now_ns, command = flow.step(book)
        while now_ns >= due and len(looks) <= count:
            looks.append(span.look(due, book))
            due += round(BAR_SECONDS * _SECOND_NS)
        events = book.apply(command)
        span.traded += sum(e.quantity_lots for e in events if isinstance(e, Traded))
        span.see(book)
    return Scenes("generated flow", instrument, _scenes(pairwise(looks), instrument))


def market_scenes(market: Market, count: int, progress: Callable[[str], None]) -> Scenes:
    """Return up to `count` scenes at even times of a market, without its first twentieth.

    Raises:
        InvalidInput: it is too short for one scene, or never has two sides.
    """
    whole("count", count, 1, 100_000)
    bar_ns = round(BAR_SECONDS * _SECOND_NS)
    first = market.start_ns + round((market.end_ns - market.start_ns) * _WARM_UP)
    room = (market.end_ns - first) // bar_ns
    if room < 1:
        raise InvalidInput(f"market: {market.seconds:.1f} s; allowed: above {BAR_SECONDS:g} s")
    every = max(1, room // count)
    times = market.messages["ts_event_ns"]
    book, pairs, place = OrderBook(market.instrument), [], 0
    for number in range(min(count, room // every)):
        due = first + number * every * bar_ns
        end = int(np.searchsorted(times, due, side="right"))
        book.apply(market.messages[place:end], strict=False)
        span = _Span()
        before = span.look(due, book)
        place = int(np.searchsorted(times, due + bar_ns, side="right"))
        _walk(book, market, end, place, span)
        pairs.append((before, span.look(due + bar_ns, book)))
    progress(f"{market.name}: {len(pairs)} moments")
    scenes = _scenes(pairs, market.instrument)
    if not scenes:
        raise InvalidInput(f"market: {market.name}; allowed: one with bids and asks")
    return Scenes(market.name, market.instrument, scenes)


class _Span:
    """What happened between two looks: lots traded, and how far the mid went."""

    def __init__(self, traded: int = 0) -> None:
        self.traded = traded
        self.low = math.inf
        self.high = -math.inf

    def see(self, book: OrderBook) -> None:
        """Take the mid as it stands now."""
        bid, ask = book.best_bid(), book.best_ask()
        if bid and ask:
            mid = (bid.price_ticks + ask.price_ticks) / 2
            self.low, self.high = min(self.low, mid), max(self.high, mid)

    def look(self, at_ns: int, book: OrderBook) -> _Look:
        """Return what has happened until now, and begin anew."""
        self.see(book)
        bids, asks = book.depth(LEVELS)
        found = _Look(at_ns, bids, asks, self.traded, self.low, self.high)
        self.low, self.high = math.inf, -math.inf
        self.see(book)
        return found


def _walk(book: OrderBook, market: Market, start: int, end: int, span: _Span) -> None:
    """Take the messages one by one, with the mid after each and what traded."""
    for place in range(start, end):
        row = market.messages[place : place + 1]
        book.apply(row, strict=False)
        if int(row["action"][0]) == Action.FEED_EXECUTE:
            span.traded += int(row["quantity_lots"][0])
        span.see(book)


def _scenes(found: Iterable[tuple[_Look, _Look]], instrument: Instrument) -> tuple[Scene, ...]:
    """Return a scene of each pair of looks, one bar apart, that both see two sides."""
    pairs = [
        (one, after)
        for one, after in found
        if all((one.bids, one.asks, after.bids, after.asks))
        and one.bids[0].price_ticks < one.asks[0].price_ticks
    ]
    if not pairs:
        return ()
    tick = instrument.tick_size
    traded = sum(after.traded_lots - one.traded_lots for one, after in pairs)
    seconds = len(pairs) * BAR_SECONDS
    moves = [math.log(_mid(after) / _mid(one)) for one, after in pairs]
    deviation = float(np.std(moves)) if len(moves) > 1 else 0.0
    daily = deviation * math.sqrt(_TRADING_SECONDS / BAR_SECONDS)
    # A market of a day is taken for as busy as the part that was seen.
    lots = max(1, round(traded / seconds * _TRADING_SECONDS))
    level = Decimal(repr(_mid(pairs[0][0]))) * tick
    notional = level * lots * instrument.lot_size * instrument.contract_size
    volatility = Decimal(f"{max(daily, 1e-6):.6g}")
    return tuple(
        Scene(
            MarketState(
                timestamp_ms=one.at_ns // 1_000_000,
                bids=_levels(one.bids, instrument),
                asks=_levels(one.asks, instrument),
                last_price=Decimal(repr(_mid(one))) * tick,
                adv_notional=notional,
                volatility=volatility,
            ),
            _bar(one, after, instrument),
        )
        for one, after in pairs
    )


def _bar(one: _Look, after: _Look, instrument: Instrument) -> BarData:
    first, last = _mid(one), _mid(after)
    low, high = min(first, last, after.low_ticks), max(first, last, after.high_ticks)
    first_price, top, bottom, close = (
        Decimal(repr(value)) * instrument.tick_size for value in (first, high, low, last)
    )
    volume = (after.traded_lots - one.traded_lots) * instrument.lot_size
    milliseconds = round(BAR_SECONDS * 1_000)
    return BarData(first_price, top, bottom, close, volume, milliseconds)


def _mid(look: _Look) -> float:
    return positive("mid", (look.bids[0].price_ticks + look.asks[0].price_ticks) / 2)


def _levels(
    levels: tuple[Level, ...], instrument: Instrument
) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple(
        (level.price_ticks * instrument.tick_size, level.quantity_lots * instrument.lot_size)
        for level in levels
    )
