"""What the market is, kept from the venue's feed: the books, the last trades, and how old that is.

Prices and sums are in quote currency, quantities in coins. What is stale, crossed, or was never
told is None: a filter that misses its input refuses.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

from sortedcontainers import SortedDict

from lob.types import Side
from touchstone.perps.context import Depth, Quote

DEEP_LEVELS: Final = 10
VOLUME_WINDOW_NS: Final = 60_000_000_000
_ZERO: Final = Decimal(0)


class Traded(NamedTuple):
    """One public trade."""

    trade_id: str
    price: Decimal
    quantity: Decimal
    time_ns: int


@dataclass(slots=True)
class _Book:
    bids: SortedDict = field(default_factory=SortedDict)
    asks: SortedDict = field(default_factory=SortedDict)
    stamped_at: float | None = None
    crossed_since: float | None = None


@dataclass(slots=True)
class _Tape:
    """The trades of the last minute, oldest first, and what they sum to."""

    trades: deque[tuple[int, Decimal]] = field(default_factory=deque)
    notional: Decimal = _ZERO
    last: Traded | None = None
    ids: dict[str, None] = field(default_factory=dict)


IDS_MAX: Final = 2_000


class Quotes:
    """Books and trades by symbol; a symbol without a snapshot has no quote.

    A book that does not change is still current while the feed lives, so that `heartbeat` (any
    message of the connection) is what keeps quotes fresh, and `clear` what ends them.

    Args:
        monotonic: local seconds, for ages.
        venue_now_ns: the venue's time, for what is a minute of its; None while it is not known.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        venue_now_ns: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._monotonic = monotonic
        self._venue_now_ns = venue_now_ns
        self._books: dict[str, _Book] = {}
        self._tapes: dict[str, _Tape] = {}
        self.on_change: Callable[[str], None] | None = None
        """Called with the symbol after each change of a book or a tape."""

    def reset(self, symbol: str) -> None:
        """Forget a symbol's levels: a snapshot follows."""
        self._books[symbol] = _Book()

    def set_level(self, symbol: str, is_bid: bool, price: Decimal, quantity: Decimal) -> None:
        """Set the quantity at a price; 0 removes the level. O(log levels)."""
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = _Book()
        side = book.bids if is_bid else book.asks
        if quantity:
            side[price] = quantity
        else:
            side.pop(price, None)

    def stamp(self, symbol: str, at: float | None = None) -> None:
        """Note that the symbol's levels were current then (now): a whole message is in."""
        book = self._books.setdefault(symbol, _Book())
        book.stamped_at = self._monotonic() if at is None else at
        bids, asks = book.bids, book.asks
        if bids and asks and bids.keys()[-1] >= asks.keys()[0]:
            if book.crossed_since is None:
                book.crossed_since = book.stamped_at
        else:
            book.crossed_since = None
        if self.on_change is not None:
            self.on_change(symbol)

    def heartbeat(self, at: float | None = None) -> None:
        """Note that the feed was alive and complete then (now): stamped books are as good."""
        if at is None:
            at = self._monotonic()
        for book in self._books.values():
            if book.stamped_at is not None:
                book.stamped_at = at

    def clear(self) -> None:
        """Forget every book and last trade: the feed is lost. What a minute sums to is kept."""
        self._books.clear()
        for tape in self._tapes.values():
            tape.last = None

    def crossed(self, seconds: float) -> str | None:
        """Return a symbol whose book has been crossed for longer than that: it is wrong."""
        now = self._monotonic()
        for symbol, book in self._books.items():
            if book.crossed_since is not None and now - book.crossed_since > seconds:
                return symbol
        return None

    def quote(self, symbol: str) -> Quote | None:
        """Return the symbol's touch; None before the first snapshot and while it is crossed."""
        book = self._books.get(symbol)
        if book is None or book.stamped_at is None or book.crossed_since is not None:
            return None
        return Quote(
            bid=book.bids.keys()[-1] if book.bids else None,
            ask=book.asks.keys()[0] if book.asks else None,
            age_seconds=self._monotonic() - book.stamped_at,
        )

    def age_seconds(self, symbol: str) -> float | None:
        """Return how old the symbol's book is; None where there is none."""
        book = self._books.get(symbol)
        if book is None or book.stamped_at is None:
            return None
        return self._monotonic() - book.stamped_at

    def mark(self, symbol: str) -> Decimal | None:
        """Return the middle of the touch, None while a side is missing."""
        quote = self.quote(symbol)
        if quote is None or quote.bid is None or quote.ask is None:
            return None
        return (quote.bid + quote.ask) / 2

    def depth(self, symbol: str, consumed: Side) -> Depth | None:
        """Return what an order on side `consumed` would meet: a BUY the asks, a SELL the bids.

        None where there is no quote, or nothing on that side. O(levels that are looked at).
        """
        book = self._books.get(symbol)
        if book is None or book.stamped_at is None or book.crossed_since is not None:
            return None
        side = book.asks if consumed is Side.BUY else book.bids
        prices = islice(side if consumed is Side.BUY else reversed(side), DEEP_LEVELS)
        values = [price * side[price] for price in prices]
        return Depth(values[0], sum(values, _ZERO)) if values else None

    def trades(self, symbol: str, newest_first: Iterable[Traded]) -> None:
        """Take public trades; one that is known already counts once."""
        tape = self._tapes.setdefault(symbol, _Tape())
        for trade in reversed(list(newest_first)):
            if trade.trade_id in tape.ids:
                continue
            tape.ids[trade.trade_id] = None
            value = trade.price * trade.quantity
            tape.trades.append((trade.time_ns, value))
            tape.notional += value
            tape.last = trade
        while len(tape.ids) > IDS_MAX:
            del tape.ids[next(iter(tape.ids))]
        if tape.trades:
            _expire(tape, tape.trades[-1][0] - VOLUME_WINDOW_NS)
        if self.on_change is not None:
            self.on_change(symbol)

    def last_trade(self, symbol: str) -> Decimal | None:
        """Return the price of the last trade; None before the first one."""
        tape = self._tapes.get(symbol)
        return None if tape is None or tape.last is None else tape.last.price

    def volume_1m(self, symbol: str) -> Decimal | None:
        """Return what traded within the venue's last minute, in quote currency.

        None before the feed told of any trade, or the venue's time. It expires on reading, and is
        a lower bound within the first minute of a feed.
        """
        tape, now_ns = self._tapes.get(symbol), self._venue_now_ns()
        if tape is None or now_ns is None:
            return None
        _expire(tape, now_ns - VOLUME_WINDOW_NS)
        return tape.notional


def _expire(tape: _Tape, until_ns: int) -> None:
    while tape.trades and tape.trades[0][0] <= until_ns:
        tape.notional -= tape.trades.popleft()[1]
