"""Execution requests for a demonstration: decisions taken along a replayed order flow.

Each request is what a trader would send at one moment of the flow: the first ten levels as they
stood, the bar that had just ended, and an order whose side, size and type are drawn from a seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from lob import OrderBook
from lob.errors import InvalidInput
from lob.feeds.lobster import LobsterMessage, MessageType, count_lines
from lob.flow import FlowProfile, ZeroIntelligence
from lob.replay import LobsterReplay
from lob.types import AssetClass, Instrument, Level, Side, Traded

DEPTH_LEVELS = 10
BAR_NS = 1_000_000_000
EVENTS_BETWEEN_REQUESTS = 5
LIMIT_SHARE = 0.3
# 2026-01-05, a trading day, and its open at 14:30 UTC: fixed, so that requests are identical.
SESSION_DAY_NS = 1_767_571_200 * 1_000_000_000
START_NS = SESSION_DAY_NS + 52_200 * 1_000_000_000

# A busy, thin book: forty times the message rates of an ordinary hour of AAPL (see FlowProfile),
# spread over sixty ticks. This is where what happens while an order travels matters.
BUSY = FlowProfile(
    limits_per_second=40 * FlowProfile().limits_per_second,
    cancels_per_second=40 * FlowProfile().cancels_per_second,
    markets_per_second=40 * FlowProfile().markets_per_second,
    distance_ticks=60.0,
    resting_orders=100,
)

Json = dict[str, Any]


@dataclass(slots=True)
class Bar:
    """Trades of the second that runs, and the last second that is complete."""

    start_ns: int
    prices: list[int] = field(default_factory=list)
    lots: int = 0
    last_price: int | None = None

    def trade(self, price_ticks: int, lots: int) -> None:
        """Add one trade."""
        self.prices.append(price_ticks)
        self.lots += lots
        self.last_price = price_ticks

    def roll(self, now_ns: int) -> None:
        """Begin a new bar where the running one is over."""
        if now_ns - self.start_ns >= BAR_NS:
            self.start_ns = now_ns
            self.prices.clear()
            self.lots = 0


@dataclass(frozen=True, slots=True)
class DemoSymbol:
    """A symbol of the synthetic flow and where its price starts."""

    name: str
    mid_ticks: int


SYNTHETIC_SYMBOLS = (
    DemoSymbol("AAPL", 22_750),
    DemoSymbol("MSFT", 41_530),
    DemoSymbol("NVDA", 17_410),
)


def synthetic_requests(count: int, seed: int) -> Iterator[Json]:
    """Yield `count` execution requests along seeded zero-intelligence flow of three symbols.

    The same seed gives the same requests, byte for byte.
    """
    streams = [
        _SyntheticStream(symbol, seed * len(SYNTHETIC_SYMBOLS) + index)
        for index, symbol in enumerate(SYNTHETIC_SYMBOLS)
    ]
    draws = np.random.default_rng(seed)
    for number in range(count):
        stream = streams[number % len(streams)]
        stream.advance(EVENTS_BETWEEN_REQUESTS)
        yield stream.decisions.request(stream.book, number, draws)


def recorded_requests(file: Path, count: int, seed: int) -> Iterator[Json]:
    """Yield `count` execution requests at even distances along a recorded LOBSTER session.

    The symbol is the first word of the file's name, as LOBSTER names its files.

    Raises:
        InvalidInput: the file cannot be read, or has fewer usable moments than `count`.
    """
    decisions = _Decisions(share(file.name.split("_")[0]))
    draws = np.random.default_rng(seed)
    every = max(1, count_lines(file) // count)
    requests: list[Json] = []

    def on_message(message: LobsterMessage, book: OrderBook) -> None:
        decisions.roll(SESSION_DAY_NS + message.time_ns)
        if message.kind is MessageType.EXECUTE:
            decisions.trade(message.price_ticks, message.quantity_lots)
        two_sided = book.spread_ticks() is not None and not book.crossed
        if two_sided and message.line % every == 0 and len(requests) < count:
            requests.append(decisions.request(book, len(requests), draws))

    LobsterReplay(file, on_message=on_message).run()
    if len(requests) < count:
        raise InvalidInput(f"--requests: {count}; {file} has {len(requests)} moments to decide at")
    return iter(requests)


class _SyntheticStream:
    """One symbol's book under synthetic flow."""

    def __init__(self, symbol: DemoSymbol, seed: int) -> None:
        instrument = share(symbol.name)
        self.flow = ZeroIntelligence(
            instrument, seed, symbol.mid_ticks, profile=BUSY, start_ns=START_NS
        )
        self.book: OrderBook = self.flow.seeded_book()
        self.decisions = _Decisions(instrument)
        self.events = 0

    def advance(self, events: int) -> None:
        """Match so many flow events."""
        for _ in range(events):
            now_ns, command = self.flow.step(self.book)
            self.decisions.roll(now_ns)
            for event in self.book.apply(command):
                if isinstance(event, Traded):
                    self.decisions.trade(event.price_ticks, event.quantity_lots)
            self.events += 1


def share(symbol: str) -> Instrument:
    """Return a US share: ticks of a cent, lots of one."""
    return Instrument(
        symbol=symbol,
        asset_class=AssetClass.EQUITY,
        tick_size=Decimal("0.01"),
        lot_size=Decimal(1),
    )


class _Decisions:
    """Turn moments of one symbol's book into execution requests."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._bar = Bar(0)
        self._now_ns = 0

    def roll(self, now_ns: int) -> None:
        """Move the clock on."""
        self._now_ns = now_ns
        self._bar.roll(now_ns)

    def trade(self, price_ticks: int, lots: int) -> None:
        """Note a trade of the market."""
        self._bar.trade(price_ticks, lots)

    def request(self, book: OrderBook, number: int, draws: np.random.Generator) -> Json:
        """Return the request of one decision on the book as it stands; both sides must be there."""
        bids, asks = book.depth(DEPTH_LEVELS)
        side = Side.BUY if draws.random() < 0.5 else Side.SELL  # noqa: PLR2004 - a fair coin
        touch = (asks if side is Side.BUY else bids)[0]
        lots = max(1, int(touch.quantity_lots * draws.uniform(0.2, 3.0)))
        order: Json = {
            "symbol": self.instrument.symbol,
            "side": side.value,
            "quantity": str(lots),
            "type": "MARKET",
            "client_order_id": f"demo-{number:06d}",
        }
        if draws.random() < LIMIT_SHARE:
            order |= {
                "type": "LIMIT",
                "limit_price": str(self.instrument.price(touch.price_ticks)),
                "time_in_force": "GTC",
            }
        return {
            "order": order,
            "market": self._market(bids, asks),
            "bar": self._bar_json(bids[0]),
            "asset_class": "EQUITY",
        }

    def _market(self, bids: tuple[Level, ...], asks: tuple[Level, ...]) -> Json:
        return {
            "timestamp_ms": self._now_ns // 1_000_000,
            "bids": [self._level(level) for level in bids],
            "asks": [self._level(level) for level in asks],
            "last_price": str(self.instrument.price(self._bar.last_price or bids[0].price_ticks)),
            "adv_notional": "5000000000",
            "volatility": "0.02",
        }

    def _bar_json(self, best_bid: Level) -> Json:
        prices = self._bar.prices or [self._bar.last_price or best_bid.price_ticks]
        ends = (prices[0], max(prices), min(prices), prices[-1])
        names = ("open", "high", "low", "close")
        bar: Json = {
            name: str(self.instrument.price(ticks)) for name, ticks in zip(names, ends, strict=True)
        }
        return bar | {"volume": str(self._bar.lots), "duration_ms": BAR_NS // 1_000_000}

    def _level(self, level: Level) -> list[str]:
        price = self.instrument.price(level.price_ticks)
        return [str(price), str(self.instrument.quantity(level.quantity_lots))]
