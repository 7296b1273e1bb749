"""Mark price: the median of the index with the book's usual basis, the mid and the last trade.

Coinbase has not published its formula. The median of three is common among perpetual venues because
one odd print, or one odd quote, cannot move it; the band about the index bounds what both can do.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from touchstone.exchange.money import ZERO, rounded

MARK_STEP: Final = Decimal("0.0001")
"""Marks are whole multiples of this, so that every position's value is a whole number of atoms."""

_BASIS_SECONDS: Final = 60


@dataclass(slots=True)
class MarkPrice:
    """One product's mark, evaluated once a second.

    `basis` is an exponential average, over about a minute, of the mid less the index.
    """

    mark: Decimal
    index: Decimal
    band: Decimal
    basis: Decimal = ZERO

    def sample(self, index: Decimal, mid: Decimal | None, last: Decimal | None) -> Decimal:
        """Return the mark a second later, from the index, the mid and the last trade.

        What the book does not have (an empty side, no trade yet) counts as the first of the three.
        A mid beyond the band counts as the band's edge in the basis, so that one odd quote far off
        cannot be the mid and, by way of the average, two of the three at once.
        """
        reach = index * self.band
        if mid is not None:
            premium = min(max(mid - index, -reach), reach)
            self.basis = rounded(self.basis + (premium - self.basis) / _BASIS_SECONDS)
        fair = index + self.basis
        candidates = sorted((fair, fair if mid is None else mid, fair if last is None else last))
        bounded = min(max(candidates[1], index - reach), index + reach)
        self.index = index
        self.mark = max(MARK_STEP, on_mark_step(bounded))
        return self.mark


def on_mark_step(price: Decimal) -> Decimal:
    """Return a price on the grid of marks, rounded half to even.

    >>> on_mark_step(Decimal("100000.12345"))
    Decimal('100000.1234')
    """
    return price.quantize(MARK_STEP, rounding=ROUND_HALF_EVEN)
