"""The touch of each symbol, kept from the venue's level-2 feed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from sortedcontainers import SortedDict

from touchstone.perps.checks import Quote


@dataclass(slots=True)
class _Levels:
    bids: SortedDict = field(default_factory=SortedDict)
    asks: SortedDict = field(default_factory=SortedDict)
    stamped_at: float | None = None


class Quotes:
    """Price levels by symbol; a symbol without a snapshot has no quote.

    A book that does not change is still current while the feed lives, so that `heartbeat` (any
    message of the connection) is what keeps quotes fresh, and `clear` what ends them.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._levels: dict[str, _Levels] = {}

    def reset(self, symbol: str) -> None:
        """Forget a symbol's levels: a snapshot follows."""
        self._levels[symbol] = _Levels()

    def set_level(self, symbol: str, is_bid: bool, price: Decimal, quantity: Decimal) -> None:
        """Set the quantity at a price; 0 removes the level."""
        levels = self._levels.setdefault(symbol, _Levels())
        side = levels.bids if is_bid else levels.asks
        if quantity == 0:
            side.pop(price, None)
        else:
            side[price] = quantity

    def stamp(self, symbol: str) -> None:
        """Note that the symbol's levels are current now."""
        self._levels.setdefault(symbol, _Levels()).stamped_at = self._monotonic()

    def heartbeat(self) -> None:
        """Note that the feed is alive and complete: every stamped book is current now."""
        for levels in self._levels.values():
            if levels.stamped_at is not None:
                levels.stamped_at = self._monotonic()

    def clear(self) -> None:
        """Forget everything: the feed is lost."""
        self._levels.clear()

    def quote(self, symbol: str) -> Quote | None:
        """Return the symbol's touch, None before the first snapshot."""
        levels = self._levels.get(symbol)
        if levels is None or levels.stamped_at is None:
            return None
        return Quote(
            bid=levels.bids.peekitem(-1)[0] if levels.bids else None,
            ask=levels.asks.peekitem(0)[0] if levels.asks else None,
            age_seconds=self._monotonic() - levels.stamped_at,
        )

    def mark(self, symbol: str) -> Decimal | None:
        """Return the middle of the touch, None while a side is missing."""
        quote = self.quote(symbol)
        if quote is None or quote.bid is None or quote.ask is None:
            return None
        return (quote.bid + quote.ask) / 2
