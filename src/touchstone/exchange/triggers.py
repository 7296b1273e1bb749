"""Which orders wait for the last trade of a product to reach a price."""

import heapq

from touchstone.exchange.requests import StopDirection


class TriggerBook:
    """Keep waiting orders by the price they wait for; nearest first, then oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[StopDirection, int]] = {}
        self._heaps: dict[StopDirection, list[tuple[int, int]]] = {
            direction: [] for direction in StopDirection
        }

    def __len__(self) -> int:
        """Return how many orders wait."""
        return len(self._waiting)

    def put(self, number: int, direction: StopDirection, price_ticks: int) -> None:
        """Let an order wait, or wait for another price. O(log n)."""
        self._waiting[number] = (direction, price_ticks)
        heap = self._heaps[direction]
        heapq.heappush(heap, (_nearness(direction, price_ticks), number))
        if len(heap) > 64 + 2 * len(self._waiting):
            heap[:] = [entry for entry in heap if self._is_live(direction, entry)]
            heapq.heapify(heap)

    def drop(self, number: int) -> None:
        """Let an order wait no longer. O(1)."""
        self._waiting.pop(number, None)

    def hit(self, last_ticks: int) -> list[int]:
        """Return the orders that a trade at this price reaches, and let them wait no longer."""
        reached: list[int] = []
        if not self._waiting:
            return reached
        for direction, heap in self._heaps.items():
            nearness = _nearness(direction, last_ticks)
            while heap and heap[0][0] <= nearness:
                entry = heapq.heappop(heap)
                if self._is_live(direction, entry):
                    del self._waiting[entry[1]]
                    reached.append(entry[1])
        return reached

    def _is_live(self, direction: StopDirection, entry: tuple[int, int]) -> bool:
        nearness, number = entry
        waiting = self._waiting.get(number)
        return waiting is not None and (waiting[0] is direction and _nearness(*waiting) == nearness)


def _nearness(direction: StopDirection, price_ticks: int) -> int:
    return price_ticks if direction is StopDirection.UP else -price_ticks
