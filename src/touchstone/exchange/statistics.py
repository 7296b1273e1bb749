"""What a ticker shows: the last day in one-minute bars, and the extremes since the start."""

from collections import deque
from dataclasses import dataclass
from typing import Final

_MINUTE_NS: Final = 60 * 1_000_000_000
_MINUTES_A_DAY: Final = 1_440


@dataclass(slots=True)
class MinuteBar:
    """One minute of trades: prices in ticks, volume in lots, `minute` counted from the epoch."""

    minute: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int


@dataclass(frozen=True, slots=True)
class DayStatistics:
    """The last 24 hours (or less, since the start), in ticks and lots."""

    open_ticks: int
    high_ticks: int
    low_ticks: int
    volume_lots: int


class TradeStatistics:
    """Add up trades in at most a day of one-minute bars."""

    def __init__(self) -> None:
        self._bars: deque[MinuteBar] = deque(maxlen=_MINUTES_A_DAY)

    def add(self, price_ticks: int, lots: int, time_ns: int) -> None:
        """Count one trade."""
        minute = time_ns // _MINUTE_NS
        if not self._bars or self._bars[-1].minute != minute:
            self._bars.append(
                MinuteBar(minute, price_ticks, price_ticks, price_ticks, price_ticks, lots)
            )
            return
        bar = self._bars[-1]
        bar.high_ticks = max(bar.high_ticks, price_ticks)
        bar.low_ticks = min(bar.low_ticks, price_ticks)
        bar.close_ticks = price_ticks
        bar.volume_lots += lots

    def day(self, now_ns: int) -> DayStatistics | None:
        """Return the last 24 hours' figures; None without a trade in them. O(bars)."""
        since = now_ns // _MINUTE_NS - _MINUTES_A_DAY
        bars = [bar for bar in self._bars if bar.minute > since]
        if not bars:
            return None
        return DayStatistics(
            open_ticks=bars[0].open_ticks,
            high_ticks=max(bar.high_ticks for bar in bars),
            low_ticks=min(bar.low_ticks for bar in bars),
            volume_lots=sum(bar.volume_lots for bar in bars),
        )
