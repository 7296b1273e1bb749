"""The prices of one side at which something waits, to be found best first."""

import heapq
from collections.abc import Iterator

__all__ = ["WaitingPrices"]

_SLACK = 64
"""So many prices that nobody waits at any more are let be."""


class WaitingPrices:
    """A set of prices that finds the best: the highest of a side of sign +1, the lowest of -1.

    Adding and taking out cost O(log prices), spread over the calls; memory is O(prices).

    >>> bids = WaitingPrices(+1)
    >>> bids.add(100); bids.add(102); bids.discard(102); bids.add(101)
    >>> list(bids.better_than(100))
    [101]
    """

    __slots__ = ("_heap", "_prices", "_sign")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._prices: set[int] = set()
        self._heap: list[int] = []

    def __len__(self) -> int:
        """Return how many prices there are."""
        return len(self._prices)

    def add(self, price: int) -> None:
        """Put a price in; one that is there stays."""
        if price not in self._prices:
            self._prices.add(price)
            heapq.heappush(self._heap, -self._sign * price)

    def discard(self, price: int) -> None:
        """Take a price out; one that is not there is no fault."""
        self._prices.discard(price)
        if len(self._heap) > 2 * len(self._prices) + _SLACK:
            self._heap = [-self._sign * there for there in self._prices]
            heapq.heapify(self._heap)

    def clear(self) -> None:
        """Take all out."""
        self._prices.clear()
        self._heap.clear()

    def better_than(self, price: float) -> Iterator[int]:
        """Yield the prices better than this one, best first, taking each out."""
        while self._heap and -self._heap[0] > self._sign * price:
            best = -self._sign * heapq.heappop(self._heap)
            if best in self._prices:
                self._prices.discard(best)
                yield best
