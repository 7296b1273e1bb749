"""What writers must know of live orders to say in another format what a message says in ours.

A message names an order and what is taken off it; other formats want its side, its price, what is
left, or the whole of it. The ledger keeps that much of every live order, and no queue.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lob.messages import Action, Array
from lob.types import INT64_MAX

_COMMANDS: Final = frozenset({Action.SUBMIT, Action.CANCEL, Action.REDUCE, Action.REPLACE})
_COLUMNS: Final = (
    "ts_event_ns",
    "action",
    "order_id",
    "side",
    "price_ticks",
    "quantity_lots",
    "flags",
)


class Row(NamedTuple):
    """One message, in Python's own integers."""

    ts_event_ns: int
    action: int
    order_id: int
    side: int
    price_ticks: int
    quantity_lots: int
    flags: int


class Change(NamedTuple):
    """What a message does to one order: where it stands, what is taken off, what is left then.

    A FEED_MODIFY has the new price and leaves, and what they were before.
    """

    action: Action
    order_id: int
    side_sign: int
    price_ticks: int
    quantity_lots: int
    leaves: int
    price_ticks_before: int
    leaves_before: int

    @property
    def keeps_place(self) -> bool:
        """Say whether a modified order keeps its place (rule 13)."""
        return self.price_ticks == self.price_ticks_before and self.leaves <= self.leaves_before


def message_rows(messages: Array) -> Iterator[Row]:
    """Yield the rows of an array of `MESSAGE_DTYPE`."""
    columns: list[Any] = [messages[name].tolist() for name in _COLUMNS]
    return map(Row, *columns)


class Ledger:
    """Follow a feed's live orders; what cannot be true is counted in `left_out` and nothing else.

    Memory is bounded by the live orders.
    """

    def __init__(self, left_out: Counter[str]) -> None:
        self._left_out = left_out
        self._live: dict[int, tuple[int, int, int]] = {}

    def __len__(self) -> int:
        """Return how many orders are live."""
        return len(self._live)

    def change(self, row: Row) -> Change | None:
        """Return what a message does to its order, or None where it does nothing (counted why).

        A FEED_CLEAR is no change of one order: `clear` is for it.
        """
        action, order_id = row.action, row.order_id
        if action in _COMMANDS:
            return self._refuse("command")
        if action == Action.FEED_ADD:
            return self._added(row)
        order = self._live.get(order_id)
        if order is None:
            return self._refuse("unknown_order")
        side, price, leaves = order
        if action == Action.FEED_MODIFY:
            return self._modified(row, order)
        taken = leaves if action == Action.FEED_DELETE else row.quantity_lots
        if not 1 <= taken <= leaves:
            return self._refuse("invalid_quantity" if taken < 1 else "more_than_leaves")
        if taken == leaves:
            del self._live[order_id]
        else:
            self._live[order_id] = (side, price, leaves - taken)
        return Change(Action(action), order_id, side, price, taken, leaves - taken, price, leaves)

    def clear(self) -> list[Change]:
        """Forget every order, and return the deletes that say the same."""
        gone = [
            Change(Action.FEED_DELETE, order_id, side, price, leaves, 0, price, leaves)
            for order_id, (side, price, leaves) in self._live.items()
        ]
        self._live.clear()
        return gone

    def _added(self, row: Row) -> Change | None:
        if row.order_id in self._live:
            return self._refuse("duplicate_order_id")
        numbers = (row.order_id, row.price_ticks, row.quantity_lots)
        if not all(1 <= number <= INT64_MAX for number in numbers):
            return self._refuse("out_of_range")
        self._live[row.order_id] = (row.side, row.price_ticks, row.quantity_lots)
        lots = row.quantity_lots
        return Change(
            Action.FEED_ADD, row.order_id, row.side, row.price_ticks, lots, lots, row.price_ticks, 0
        )

    def _modified(self, row: Row, order: tuple[int, int, int]) -> Change | None:
        side, price, leaves = order
        if row.price_ticks < 1 or row.quantity_lots < 1:
            return self._refuse("out_of_range")
        if (price, leaves) == (row.price_ticks, row.quantity_lots):
            return self._refuse("no_change")
        self._live[row.order_id] = (side, row.price_ticks, row.quantity_lots)
        lots = row.quantity_lots
        return Change(
            Action.FEED_MODIFY, row.order_id, side, row.price_ticks, lots, lots, price, leaves
        )

    def _refuse(self, reason: str) -> Change | None:
        self._left_out[reason] += 1
        return None
