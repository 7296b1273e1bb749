"""What is due when: one-off and periodic timers, in order of exchange time.

A timer is a plain value (a name and a key), so that it can be written down; who carries it out is
registered by name. Of what is due at one moment, the lower rank comes first.
"""

import heapq
from collections.abc import Callable
from enum import IntEnum
from typing import ClassVar

from lob.errors import InvalidInput

Handler = Callable[[int, int], None]
"""Called with the time a timer was due and its key; for periodic ones the key is 0."""


class Rank(IntEnum):
    """The order of what is due at one moment; the background flow comes after all of it."""

    EXPIRY = 0
    INDEX = 1
    MARK = 2
    SLICE = 3


class Schedule:
    """Keep timers; the engine pops them one at a time, between the flow's commands.

    >>> ran, schedule = [], Schedule()
    >>> schedule.register("grid", Rank.INDEX, lambda due_ns, key: ran.append(due_ns), period_ns=10)
    >>> schedule.at(10, "grid")
    >>> while (due_ns := schedule.next_ns()) is not None and due_ns <= 30: schedule.run_next()
    >>> ran
    [10, 20, 30]
    """

    TRANSIENT: ClassVar = frozenset({"_heap"})
    """The heap has timers that were dropped; `_live` says which are set."""

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[int, Handler, int]] = {}
        self._live: dict[tuple[str, int], int] = {}
        self._heap: list[tuple[int, int, str, int]] = []

    def register(self, name: str, rank: int, handler: Handler, period_ns: int = 0) -> None:
        """Say who carries out the timers of a name; with a period each sets the next."""
        if name in self._handlers:
            raise InvalidInput(f"timer: {name!r} is registered already")
        self._handlers[name] = (rank, handler, period_ns)

    def at(self, time_ns: int, name: str, key: int = 0) -> None:
        """Set a timer, instead of one of the same name and key. O(log n)."""
        self._live[name, key] = time_ns
        heapq.heappush(self._heap, (time_ns, self._handlers[name][0], name, key))

    def drop(self, name: str, key: int = 0) -> None:
        """Forget a timer, if there is one. O(1) amortised."""
        dropped = self._live.pop((name, key), None) is not None
        if dropped and len(self._heap) > 64 + 2 * len(self._live):
            self._heap = [entry for entry in self._heap if self._is_live(entry)]
            heapq.heapify(self._heap)

    def next_ns(self) -> int | None:
        """Return when the next timer is due; None without one."""
        heap = self._heap
        while heap and not self._is_live(heap[0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run_next(self) -> None:
        """Carry out the next timer. A periodic one is set anew first."""
        due_ns, _, name, key = heapq.heappop(self._heap)
        _, handler, period_ns = self._handlers[name]
        del self._live[name, key]
        if period_ns:
            self.at(due_ns + period_ns, name, key)
        handler(due_ns, key)

    def timers(self) -> tuple[tuple[int, str, int], ...]:
        """Return every timer that is set: time, name, key; earliest first."""
        return tuple(sorted((time_ns, *who) for who, time_ns in self._live.items()))

    def restore(self, timers: tuple[tuple[int, str, int], ...]) -> None:
        """Replace all timers by those that `timers` once returned."""
        self._live.clear()
        self._heap.clear()
        for time_ns, name, key in timers:
            self.at(time_ns, name, key)

    def _is_live(self, entry: tuple[int, int, str, int]) -> bool:
        return self._live.get((entry[2], entry[3])) == entry[0]
