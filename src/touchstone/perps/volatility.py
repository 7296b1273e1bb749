"""The volatility breaker: how far a price has ranged within its latest minutes."""

from collections import deque
from decimal import Decimal
from typing import Final

from lob.errors import InvalidInput

WINDOW_NS: Final = 300_000_000_000
"""Five minutes, over which exchanges' own price bands are taken (e.g. US limit up-limit down)."""


class PriceRange:
    """The highest and the lowest price of a window of time, in amortised constant time.

    Two queues of candidates: what an equal or more extreme later price has overtaken can never be
    the extreme of a window again. Prices have to be added in order of time; reading leaves out what
    is too old by the time that the reader names.

    >>> prices = PriceRange(window_ns=10)
    >>> for at, price in ((0, 100), (5, 104), (9, 102)): prices.add(at, Decimal(price))
    >>> prices.ratio(9), prices.ratio(10), prices.ratio(30)
    (Decimal('0.04'), Decimal('0.0196'), None)

    Raises:
        InvalidInput: the window is not above 0.
    """

    def __init__(self, window_ns: int = WINDOW_NS) -> None:
        if window_ns <= 0:
            raise InvalidInput(f"window_ns: {window_ns}; allowed: above 0")
        self._window_ns = window_ns
        self._highs: deque[tuple[int, Decimal]] = deque()
        self._lows: deque[tuple[int, Decimal]] = deque()

    def add(self, time_ns: int, price: Decimal) -> None:
        """Take one price; one from before the newest, or not above 0, is ignored."""
        if price <= 0 or (self._highs and time_ns < self._highs[-1][0]):
            return
        while self._highs and self._highs[-1][1] <= price:
            self._highs.pop()
        while self._lows and self._lows[-1][1] >= price:
            self._lows.pop()
        self._highs.append((time_ns, price))
        self._lows.append((time_ns, price))
        self._expire(time_ns)

    def ratio(self, now_ns: int) -> Decimal | None:
        """Return (highest - lowest) / lowest within `(now - window, now]`; None without a price.

        Rounded to four places (a basis point), as it is a limit's measure and no money.
        """
        self._expire(now_ns)
        if not self._highs:
            return None
        high, low = self._highs[0][1], self._lows[0][1]
        return ((high - low) / low).quantize(Decimal("0.0001")).normalize()

    def _expire(self, now_ns: int) -> None:
        since = now_ns - self._window_ns
        for candidates in (self._highs, self._lows):
            while candidates and candidates[0][0] <= since:
                candidates.popleft()
