"""Which orders have to be looked up at the venue, and from when on."""

import asyncio
from collections.abc import Callable, Iterable, Iterator


def loop_seconds() -> float:
    """Return the running event loop's own time in seconds."""
    return asyncio.get_running_loop().time()


class Unsettled:
    """Client ids with the moment at which somebody should look; it behaves like a set."""

    def __init__(self, monotonic: Callable[[], float] = loop_seconds) -> None:
        self._monotonic = monotonic
        self._due: dict[str, float] = {}

    def __contains__(self, client_order_id: object) -> bool:
        return client_order_id in self._due

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._due))

    def __len__(self) -> int:
        return len(self._due)

    def add(self, client_order_id: str, after_seconds: float = 0.0) -> None:
        """Have an order looked up, in so many seconds; never later than was asked before."""
        due = self._monotonic() + after_seconds
        self._due[client_order_id] = min(due, self._due.get(client_order_id, due))

    def update(self, client_order_ids: Iterable[str]) -> None:
        """Have several orders looked up at once."""
        for client_order_id in client_order_ids:
            self.add(client_order_id)

    def postpone(self, client_order_id: str, seconds: float) -> None:
        """Look again in so many seconds: somebody just did."""
        if client_order_id in self._due:
            self._due[client_order_id] = self._monotonic() + seconds

    def discard(self, client_order_id: str) -> None:
        """Take an order off the list: all is known."""
        self._due.pop(client_order_id, None)

    def due(self) -> list[str]:
        """Return whose time has come, the longest waiting first."""
        now = self._monotonic()
        found = [(at, key) for key, at in self._due.items() if at <= now]
        return [key for _, key in sorted(found)]
