"""Depth as most callers write it: checked whole, its touch read, its other levels left as text.

Plain is JSON without blanks, numbers as text within the bounds of a request. What is not plain is
not wrong by that: it needs a closer look.
"""

import re
from collections.abc import Callable
from operator import gt, lt
from typing import TYPE_CHECKING, Final

import msgspec

_PLAIN: Final[Callable[[bytes], re.Match[bytes] | None]] = re.compile(
    rb'\[(?:\["([0-9]{1,21}(?:\.[0-9]{1,20})?)","([0-9]{1,21}(?:\.[0-9]{1,20})?)"\]'
    rb'(?:,\["[0-9]{1,21}(?:\.[0-9]{1,20})?","[0-9]{1,21}(?:\.[0-9]{1,20})?"\])*)?\]'
).fullmatch
_FLOATS: Final = msgspec.json.Decoder(list[tuple[float, float]], strict=False)

Touches = tuple[str | None, str | None, str | None, str | None]
"""Price and size of the best bid, then of the best ask; None and None for an empty side."""


def plain_touches(bids: bytes, asks: bytes, levels_max: int) -> Touches | None:
    """Return the touch of plain sides that are right by the rules of `MarketState`; else None.

    None is also for prices that only decimals tell apart and for zeros in front, which the native
    function takes.
    """
    try:
        bid, ask = _touch(bids, gt, levels_max), _touch(asks, lt, levels_max)
    except msgspec.ValidationError:
        return None
    if bid is None or ask is None or (bid[0] and ask[0] and not float(bid[0]) < float(ask[0])):
        return None
    return *bid, *ask


def _touch(
    side: bytes, beyond: Callable[[float, float], bool], levels_max: int
) -> tuple[str | None, str | None] | None:
    """Return price and size of a side's best level; None for what needs a closer look.

    `beyond` says of two prices whether the first is nearer to the touch than the second. Floats are
    in the order of the decimals they stand for, or equal, and 0 only where that is 0, or nearly.
    """
    found = _PLAIN(side)
    if found is None:
        return None
    price, size = found.groups()
    if price is None:
        return None, None
    levels = _FLOATS.decode(side)
    prices, sizes = zip(*levels)  # noqa: B905 - pairs, and twice as fast
    if (
        len(levels) > levels_max
        or not min(sizes)
        or not all(map(beyond, prices, prices[1:]))
        or not (prices[0] and prices[-1])
    ):
        return None
    return str(price, "ascii"), str(size, "ascii")


if TYPE_CHECKING:
    touches = plain_touches
else:
    try:
        # The same answers, twenty times as fast.
        from lob._core import touches
    except ImportError:
        touches = plain_touches
