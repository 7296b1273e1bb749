"""Bars from prices, and indicators over their closes: simple moving average, Wilder's RSI."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from lob.errors import InvalidInput

RSI_LENGTH: Final = 14
RSI_FLAT: Final = Decimal(50)
"""The RSI of prices that have not moved at all: neither side has won anything."""

_HUNDRED: Final = Decimal(100)
_ZERO: Final = Decimal(0)


def sma(closes: Sequence[Decimal], length: int) -> Decimal | None:
    """Return the mean of the last `length` closes, None while there are fewer. O(length).

    >>> sma([Decimal(n) for n in (1, 2, 3, 4)], 3)
    Decimal('3')

    Raises:
        InvalidInput: `length` is below 1.
    """
    _check_length(length)
    if len(closes) < length:
        return None
    return sum(closes[-length:], _ZERO) / length


def rsi(closes: Sequence[Decimal], length: int = RSI_LENGTH) -> Decimal | None:
    """Return Wilder's relative strength index in 0..100, None with fewer than `length` changes.

    The first averages are plain means of `length` gains and losses, each later one takes in a
    `length`-th of the next change (J. Welles Wilder, New Concepts in Technical Trading Systems,
    1978). It therefore depends on all closes given: some hundred settle it. O(closes).

    Raises:
        InvalidInput: `length` is below 1.
    """
    _check_length(length)
    if len(closes) <= length:
        return None
    changes = [after - before for before, after in pairwise(closes)]
    gain = sum((max(change, _ZERO) for change in changes[:length]), _ZERO) / length
    loss = sum((max(-change, _ZERO) for change in changes[:length]), _ZERO) / length
    for change in changes[length:]:
        gain = (gain * (length - 1) + max(change, _ZERO)) / length
        loss = (loss * (length - 1) + max(-change, _ZERO)) / length
    if gain + loss == 0:
        return RSI_FLAT
    return _HUNDRED * gain / (gain + loss)


@dataclass(frozen=True, slots=True)
class Bar:
    """One interval's close; `end_ns` is the moment at which it ended."""

    end_ns: int
    close: Decimal


class BarBuilder:
    """Cut prices into bars of equal length, aligned to whole multiples of it since 1970.

    A bar ends when the first price after it arrives. Intervals without a price get none, so that
    an hour without data does not look like an hour of calm.

    >>> bars = BarBuilder(60)
    >>> [bars.add(at, Decimal(price)) for at, price in ((0, 5), (59, 6), (60, 7), (250, 8))]
    [None, None, Bar(end_ns=60, close=Decimal('6')), Bar(end_ns=120, close=Decimal('7'))]

    Raises:
        InvalidInput: the length is not above 0.
    """

    def __init__(self, length_ns: int) -> None:
        _check_length(length_ns)
        self._length_ns = length_ns
        self._number: int | None = None
        self._close = _ZERO

    def add(self, time_ns: int, price: Decimal) -> Bar | None:
        """Take one price; return the bar that it ended, if any. A price from the past is ignored.

        O(1).
        """
        number = time_ns // self._length_ns
        before, ended = self._number, None
        if before is not None and number < before:
            return None
        if before is not None and number > before:
            ended = Bar((before + 1) * self._length_ns, self._close)
        self._number, self._close = number, price
        return ended


def _check_length(length: int) -> None:
    if length < 1:
        raise InvalidInput(f"length: {length}; allowed: 1 or more")
