"""What a comparison with a venue's depth asks of a book, and what it saw of it."""

from array import array
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lob.types import INT64_MAX, Level

Ints = NDArray[np.int64]


class DepthBook(Protocol):
    """What a comparison asks of a book: `lob.OrderBook` has it."""

    @property
    def last_apply(self) -> Any:
        """Return what the last `apply` came to."""

    def apply(self, messages: Any, *, strict: bool) -> Any:
        """Carry messages out and return their trades."""

    def depth(self, levels: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return up to `levels` bid and ask levels, best first."""


class DepthView:
    """See a book's levels, and keep what they were at several moments.

    `low` and `high` say from which bid and to which ask a change would show. Each side is kept once
    while it stays as it is, and as numbers: levels would be work for the garbage collector.
    """

    def __init__(self, book: DepthBook, levels: int) -> None:
        self._book = book
        self._levels = levels
        self._sides: list[Any] = [(), ()]
        self._at = [0, 0]
        self._lengths = [0]
        self._numbers = array("q")
        self._moments: list[int] = []
        self._kept: list[int] = []
        self.low, self.high = 0, INT64_MAX - 1
        self.look()

    def look(self) -> bool:
        """Look at the book, and say whether what is seen has changed."""
        bids, asks = self._book.depth(self._levels)
        changed = False
        if bids != self._sides[0]:
            self._change(0, bids)
            self.low = bids[-1][0] if len(bids) == self._levels else 0
            changed = True
        if asks != self._sides[1]:
            self._change(1, asks)
            self.high = asks[-1][0] if len(asks) == self._levels else INT64_MAX - 1
            changed = True
        return changed

    def _change(self, side: int, levels: Any) -> None:
        self._sides[side] = levels
        self._at[side] = len(self._lengths)
        self._lengths.append(len(levels))
        self._numbers.extend(chain.from_iterable(levels))

    def keep(self, moment: int) -> None:
        """Keep what was seen last under a number, which must be above those before."""
        self._moments.append(moment)
        self._kept += self._at

    def seen(self, moments: Ints) -> Ints:
        """Return the levels that were kept under these numbers, as `DepthBlock` has them."""
        lengths = np.array(self._lengths, np.int64)
        found = np.zeros((len(lengths), self._levels, 3), np.int64)
        flat = np.frombuffer(self._numbers, np.int64).reshape(-1, 3)
        found[np.arange(self._levels) < lengths[:, None]] = flat
        at = np.searchsorted(self._moments, moments)
        return found[np.array(self._kept, np.int64).reshape(-1, 2)[at]]
