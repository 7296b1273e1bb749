"""Candles of every granularity that Coinbase has, and the last day, from trades as they happen.

Memory is bounded: each granularity keeps its latest candles only. A time without a trade has no
candle.
"""

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple

CANDLES_KEPT: Final = 1_500
"""Of each granularity: more than four answers' worth (350), and more than a day's minutes."""

_SECOND_NS: Final = 1_000_000_000
_DAY_SECONDS: Final = 86_400
_YEAR_DAYS: Final = 52 * 7


class Granularity(StrEnum):
    """How long a candle is."""

    ONE_MINUTE = "ONE_MINUTE"
    FIVE_MINUTE = "FIVE_MINUTE"
    FIFTEEN_MINUTE = "FIFTEEN_MINUTE"
    THIRTY_MINUTE = "THIRTY_MINUTE"
    ONE_HOUR = "ONE_HOUR"
    TWO_HOUR = "TWO_HOUR"
    SIX_HOUR = "SIX_HOUR"
    ONE_DAY = "ONE_DAY"

    @property
    def seconds(self) -> int:
        """Return its length in seconds."""
        return _SECONDS[self]


_SECONDS: Final[dict[Granularity, int]] = {
    Granularity.ONE_MINUTE: 60,
    Granularity.FIVE_MINUTE: 300,
    Granularity.FIFTEEN_MINUTE: 900,
    Granularity.THIRTY_MINUTE: 1_800,
    Granularity.ONE_HOUR: 3_600,
    Granularity.TWO_HOUR: 7_200,
    Granularity.SIX_HOUR: 21_600,
    Granularity.ONE_DAY: _DAY_SECONDS,
}


class Candle(NamedTuple):
    """The trades of one interval: its start in seconds of the epoch, prices in ticks, lots.

    `turnover` is the sum of price in ticks times lots.
    """

    start_s: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    turnover: int

    def joined(self, later: "Candle") -> "Candle":
        """Return both as one candle, which starts where this one does."""
        return Candle(
            self.start_s,
            self.open_ticks,
            max(self.high_ticks, later.high_ticks),
            min(self.low_ticks, later.low_ticks),
            later.close_ticks,
            self.volume_lots + later.volume_lots,
            self.turnover + later.turnover,
        )


class Candles:
    """Add up trades, which come in order of time."""

    TRANSIENT: ClassVar = frozenset({"_closed_day"})

    def __init__(self, kept: int = CANDLES_KEPT) -> None:
        self._kept = {granularity: deque[Candle](maxlen=kept) for granularity in Granularity}
        self._open: Candle | None = None
        self._closed_day: tuple[int, Candle | None] | None = None

    def add(self, price_ticks: int, lots: int, time_ns: int) -> None:
        """Count one trade. O(1); once a minute O(granularities)."""
        start_s = time_ns // (60 * _SECOND_NS) * 60
        present = self._open
        turnover = price_ticks * lots
        if present is None or present.start_s != start_s:
            if present is not None:
                self._close(present)
            self._open = Candle(
                start_s, price_ticks, price_ticks, price_ticks, price_ticks, lots, turnover
            )
            return
        _, first, high, low, _, volume, total = present
        self._open = Candle(
            start_s,
            first,
            max(high, price_ticks),
            min(low, price_ticks),
            price_ticks,
            volume + lots,
            total + turnover,
        )

    def between(
        self, granularity: Granularity, start_s: int, end_s: int, limit: int
    ) -> tuple[Candle, ...]:
        """Return the candles that start within start_s..end_s, newest first, `limit` at most.

        The first is that of the present interval, where it has traded. O(candles kept).
        """
        found: list[Candle] = []
        for candle in self._newest_first(granularity):
            if candle.start_s < start_s or len(found) >= limit:
                break
            if candle.start_s <= end_s:
                found.append(candle)
        return tuple(found)

    def day(self, now_ns: int) -> Candle | None:
        """Return the last 24 hours, to the minute; None without a trade in them.

        O(1) within a minute, O(minutes) in each new one.
        """
        since_s = now_ns // (60 * _SECOND_NS) * 60 - _DAY_SECONDS
        closed = self._closed_day
        if closed is None or closed[0] != since_s:
            minutes = self._kept[Granularity.ONE_MINUTE]
            closed = (since_s, _joined(one for one in minutes if one.start_s > since_s))
            self._closed_day = closed
        present = self._open
        if present is None or present.start_s <= since_s:
            return closed[1]
        return present if closed[1] is None else closed[1].joined(present)

    def year(self, now_ns: int) -> Candle | None:
        """Return the last 52 weeks, to the day; None without a trade in them. O(days)."""
        since_s = now_ns // _SECOND_NS - _YEAR_DAYS * _DAY_SECONDS
        days = self.between(Granularity.ONE_DAY, since_s, now_ns // _SECOND_NS, _YEAR_DAYS)
        return _joined(reversed(days))

    def _close(self, minute: Candle) -> None:
        """Put a minute that is over into every granularity."""
        self._closed_day = None
        for granularity, kept in self._kept.items():
            start_s = minute.start_s // granularity.seconds * granularity.seconds
            if kept and kept[-1].start_s == start_s:
                kept[-1] = kept[-1].joined(minute)
            else:
                kept.append(minute._replace(start_s=start_s))

    def _newest_first(self, granularity: Granularity) -> Iterable[Candle]:
        kept, present = self._kept[granularity], self._open
        if present is None:
            return
        start_s = present.start_s // granularity.seconds * granularity.seconds
        older = reversed(kept)
        newest = present._replace(start_s=start_s)
        if kept and kept[-1].start_s == start_s:
            newest = next(older).joined(present)
        yield newest
        yield from older


def _joined(candles: Iterable[Candle]) -> Candle | None:
    found: Candle | None = None
    for candle in candles:
        found = candle if found is None else found.joined(candle)
    return found
