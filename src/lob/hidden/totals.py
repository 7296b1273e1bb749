"""How large icebergs are in all, learnt from those that ended and those that were cancelled.

D. Zotikov and A. Antonov, "CME iceberg order detection and prediction" (Quantitative Finance 21,
2021; arXiv 1909.09495): the total volume of an iceberg is estimated by Kaplan and Meier's curve,
an iceberg that was cancelled being censored at the volume it had traded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, flags, not_negative, numbers, row, same_length, scalar_or_array
from lob.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class TotalSizeCurve:
    """P(total > v): it falls at `sizes` to `survivals` and is 1 before the first of them.

    Sizes are lots, or multiples of the peak where curves of many peaks are to be one. Where the
    largest iceberg seen was cancelled the curve ends above 0: nothing is known beyond `last_size`.

    >>> curve = TotalSizeCurve.fit([1, 2, 2, 3, 3, 5, 6, 8], [1, 0, 1, 1, 0, 1, 0, 1])
    >>> [round(curve.survival(size), 4) for size in (0, 1, 2, 3, 5, 6, 8)]
    [1.0, 0.875, 0.75, 0.6, 0.4, 0.4, 0.0]
    """

    sizes: tuple[float, ...]
    survivals: tuple[float, ...]
    last_size: float

    @classmethod
    def fit(cls, totals: ArrayLike, completed: ArrayLike) -> "TotalSizeCurve":
        """Return Kaplan and Meier's curve of traded totals; `completed` 0 marks a cancelled one.

        At one size, completed icebergs count before cancelled ones.
        """
        values = row("totals", totals, low=0)
        whole = flags("completed", completed)
        same_length(totals=values, completed=whole)
        ends, counts = np.unique(values[whole == 1], return_counts=True)
        ordered = np.sort(values)
        at_risk = len(values) - np.searchsorted(ordered, ends, side="left")
        survivals = np.cumprod(1 - counts / at_risk)
        return cls(tuple(ends.tolist()), tuple(survivals.tolist()), float(ordered[-1]))

    def survival(self, size: ArrayLike) -> float | Floats:
        """Return P(total > size) at each size."""
        places = np.searchsorted(self.sizes, numbers("size", size, infinite=True), side="right")
        return scalar_or_array(np.concatenate(([1.0], self.survivals))[places])

    def probability_of_more(self, executed: float, more: float) -> float:
        """Return P(total > executed + more | total > executed).

        `InvalidInput` where no iceberg of the sample was larger than `executed`.
        """
        executed = not_negative("executed", executed)
        known = self._known(executed)
        return float(self.survival(executed + not_negative("more", more))) / known

    def expected_remaining(self, executed: float) -> float:
        """Return E[total - executed | total > executed], cut at `last_size` (restricted mean)."""
        executed = not_negative("executed", executed)
        known = self._known(executed)
        inside = [size for size in self.sizes if executed < size < self.last_size]
        edges = np.array([executed, *inside, max(executed, self.last_size)])
        heights = np.asarray(self.survival(edges[:-1]))
        return float((np.diff(edges) * heights).sum()) / known

    def _known(self, executed: float) -> float:
        known = float(self.survival(executed))
        if known <= 0:
            raise InvalidInput(
                f"executed: {executed}; allowed: below {self.last_size}, the largest total known"
            )
        return known
