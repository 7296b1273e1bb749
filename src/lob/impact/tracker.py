"""What past trades' impact comes to now, as it fades between them."""

import math
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from lob.bounds import Floats, not_negative, numbers, whole
from lob.errors import InvalidInput
from lob.impact.kernels import Kernel
from lob.impact.models import BPS, Impact
from lob.types import Side

_NANOSECONDS: Final = 1_000_000_000
_TRADES_MAX: Final = 1_000_000


class Quotes(NamedTuple):
    """A best bid and ask, in ticks."""

    bid_ticks: int
    ask_ticks: int


class ImpactTracker:
    """Add up trades' impact as time passes: temporary parts by the kernel, permanent ones whole.

    Figures are signed: above 0 where the price is held up. At most `max_trades` temporary parts are
    kept; the oldest, which has faded most, is then dropped, and counted in `dropped`.

    >>> from lob.impact.kernels import ExponentialKernel
    >>> tracker = ImpactTracker(ExponentialKernel(rho=0.1))
    >>> tracker.record(0, Side.BUY, Impact(temporary_bps=4.0, permanent_bps=1.0))
    >>> round(tracker.shift_bps(10_000_000_000), 4)
    2.4715
    """

    def __init__(self, kernel: Kernel, max_trades: int = 1_000) -> None:
        self.kernel = kernel
        self.max_trades = whole("max_trades", max_trades, 1, _TRADES_MAX)
        self.dropped = 0
        self.permanent_bps = 0.0
        self._trades: deque[tuple[int, float]] = deque()
        if not math.isfinite(float(kernel.value(0.0))):
            raise InvalidInput("kernel: infinite at 0; allowed: one that is finite there")

    def __len__(self) -> int:
        return len(self._trades)

    def record(self, ts_ns: int, side: Side, impact: Impact) -> None:
        """Take a trade's impact in; times must not decrease. O(1)."""
        now = self._time(ts_ns)
        temporary = not_negative("temporary_bps", impact.temporary_bps)
        permanent = not_negative("permanent_bps", impact.permanent_bps)
        self.permanent_bps += side.sign * permanent
        if temporary > 0:
            if len(self._trades) == self.max_trades:
                self._trades.popleft()
                self.dropped += 1
            self._trades.append((now, side.sign * temporary))

    def temporary_bps(self, ts_ns: int) -> float:
        """Return what is left of the temporary parts at a time not before the last trade. O(n)."""
        now = self._time(ts_ns)
        if not self._trades:
            return 0.0
        fades = self._fades(now)
        return math.fsum(
            bps * fade for (_, bps), fade in zip(self._trades, fades.tolist(), strict=True)
        )

    def shift_bps(self, ts_ns: int) -> float:
        """Return how far the trades hold the price from where it was, in bps of it."""
        return self.permanent_bps + self.temporary_bps(ts_ns)

    def _fades(self, now: int) -> Floats:
        return self.kernel.value(numbers("ages", list(self._ages(now)), low=0))

    def _ages(self, now: int) -> Iterator[float]:
        return ((now - at) / _NANOSECONDS for at, _ in self._trades)

    def _time(self, ts_ns: int) -> int:
        now = whole("ts_ns", ts_ns, 0, 2**63 - 1)
        if self._trades and now < self._trades[-1][0]:
            raise InvalidInput(f"ts_ns: {now}; allowed: {self._trades[-1][0]} or later")
        return now


def shift_quotes(quotes: Quotes, shift_bps: float) -> Quotes:
    """Return the quotes moved by so many bps of their mid, rounded to whole ticks (half to even).

    Both move by as many ticks: they never cross. No quote goes below 1 tick.

    >>> shift_quotes(Quotes(bid_ticks=9_999, ask_ticks=10_001), 2.6)
    Quotes(bid_ticks=10002, ask_ticks=10004)
    """
    bid = whole("bid_ticks", quotes.bid_ticks, 1, 2**62)
    ask = whole("ask_ticks", quotes.ask_ticks, bid + 1, 2**62)
    if not math.isfinite(shift_bps) or abs(shift_bps) > BPS:
        raise InvalidInput(f"shift_bps: {shift_bps}; allowed: -10000..10000")
    ticks = max(round((bid + ask) * shift_bps / (2 * BPS)), 1 - bid)
    return Quotes(bid + ticks, ask + ticks)
