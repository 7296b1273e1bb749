"""When orders expire: by time, then by id (rules 36 and 37)."""

from typing import Any

from sortedcontainers import SortedDict

from lob.types import DAY_NS, INT64_MAX


def next_day_close(now_ns: int, day_close_ns: int) -> int:
    """Return the first daily close strictly after a time, 2^63-1 at most.

    >>> next_day_close(0, 0) == DAY_NS, next_day_close(5, 7), next_day_close(7, 7) == DAY_NS + 7
    (True, 7, True)
    """
    days = (now_ns - day_close_ns) // DAY_NS + 1
    return min(days * DAY_NS + day_close_ns, INT64_MAX)


class Expiries:
    """The ids of live orders that expire, by their time. Orders of one day share an entry."""

    __slots__ = ("by_time",)

    def __init__(self) -> None:
        self.by_time: Any = SortedDict()  # expire_ns -> set of ids; the package has no type hints

    def __bool__(self) -> bool:
        """Say whether anything expires at all."""
        return bool(self.by_time)

    def add(self, expire_ns: int, order_id: int) -> None:
        """Note that an order expires. O(log times)."""
        self.by_time.setdefault(expire_ns, set()).add(order_id)

    def remove(self, expire_ns: int, order_id: int) -> None:
        """Forget an order. O(log times)."""
        ids = self.by_time[expire_ns]
        ids.remove(order_id)
        if not ids:
            del self.by_time[expire_ns]

    def due(self, now_ns: int) -> list[int]:
        """Return the ids whose time is now or earlier: by time, then by id."""
        found: list[int] = []
        for expire_ns, ids in self.by_time.items():
            if expire_ns > now_ns:
                break
            found += sorted(ids)
        return found

    def pairs(self) -> set[tuple[int, int]]:
        """Return every (time, id)."""
        return {(time_ns, order_id) for time_ns, ids in self.by_time.items() for order_id in ids}
