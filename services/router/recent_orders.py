"""The live executions by L3 that a rollback affects: the newest ones, in memory."""

from collections import deque
from typing import Final

from touchstone.rollout.dossier import LiveOrder

ORDERS_MAX: Final = 5_000
AFFECTED_SECONDS: Final = 600.0
"""As long as the longest window of a trigger."""


class RecentOrders:
    """Keep the newest live executions by L3. `add` is O(1)."""

    def __init__(self, orders_max: int = ORDERS_MAX) -> None:
        self._orders: deque[LiveOrder] = deque(maxlen=orders_max)

    def add(self, order: LiveOrder) -> None:
        """Keep an execution; the oldest goes where there is no room."""
        self._orders.append(order)

    def affected(self, until: float) -> list[LiveOrder]:
        """Return the executions of the ten minutes before `until`, in seconds since 1970."""
        return [o for o in self._orders if until - AFFECTED_SECONDS <= o.at]

    def clear(self) -> None:
        """Forget everything: a rollback was left."""
        self._orders.clear()
