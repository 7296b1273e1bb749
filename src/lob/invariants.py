"""What is true of a book at all times, whatever it was told."""

from typing import TYPE_CHECKING

from lob.errors import InvariantViolation
from lob.ladder import LiveOrder, Shelf
from lob.types import INT64_MAX

if TYPE_CHECKING:
    from lob.questions import AskedBook


def check_book(book: "AskedBook", *, crossed_allowed: bool) -> None:
    """Raise `InvariantViolation` unless a book's indexes agree with each other. O(orders)."""
    found = 0
    expiring: set[tuple[int, int]] = set()
    for ladder in (book._bids, book._asks):  # noqa: SLF001 - the book's own check, kept apart
        _ensure(list(ladder.levels) == sorted(ladder.levels), "levels are out of order")
        best = next(iter(ladder), None)
        _ensure(ladder.best is best, f"{ladder.side} touch is not the best level")
        hidden = 0
        for level in ladder:
            found += len(level.orders) + len(level.hidden)
            hidden += len(level.hidden)
            _check_level(level, book._orders)  # noqa: SLF001
            expiring |= {(o.expire_ns, o.order_id) for o in level if o.expire_ns}
        _ensure(hidden == ladder.hidden_count, f"{ladder.side} hidden orders are miscounted")
    _ensure(found == len(book._orders), "the id index and the levels differ in their orders")  # noqa: SLF001
    _ensure(crossed_allowed or not book.crossed, "the book is crossed")
    for stop in book._stops:  # noqa: SLF001
        order = stop.order
        _ensure(order.order_id not in book._orders, f"order {order.order_id} waits and rests")  # noqa: SLF001
        _ensure(order.queued > 0, f"stop {order.order_id} has {order.queued} lots")
        if order.expire_ns:
            expiring.add((order.expire_ns, order.order_id))
    _ensure(expiring == book._expiries.pairs(), "the expiries and the live orders differ")  # noqa: SLF001
    late = [i for ns, i in expiring if ns <= book.now_ns and ns != INT64_MAX]
    _ensure(not late, f"orders {late} should have expired")


def _check_level(level: Shelf, orders: dict[int, LiveOrder | Shelf]) -> None:
    at = f"{level.ladder.side} level {level.price_ticks}"
    _ensure(bool(level.orders or level.hidden), f"{at} is empty")
    _ensure(level.key == level.ladder.sign * level.price_ticks, f"{at} is misfiled")
    _ensure(level.ladder.levels[level.key] is level, f"{at} is not on its ladder")
    shown = sum(order.queued for order in level.displayed())
    _ensure(shown == level.displayed_lots, f"{at} says {level.displayed_lots} lots, has {shown}")
    total = sum(order.leaves for order in level)
    concealed = total - shown
    _ensure(concealed == level.concealed_lots, f"{at} conceals {concealed} lots, says other")
    _ensure(total <= INT64_MAX, f"{at} has more than {INT64_MAX} lots")
    for queue, hidden in ((level.orders, False), (level.hidden, True)):
        for (order_id, kept), order in zip(
            queue.items(), level.hidden.values() if hidden else level.displayed(), strict=True
        ):
            indexed = level if type(kept) is int else kept
            _ensure(orders.get(order_id) is indexed, f"order {order_id} is not in the index")
            _ensure(order.order_id == order_id, f"order {order.order_id} is filed as {order_id}")
            _ensure(order.level is level, f"order {order_id} is at two levels")
            _ensure(order.queued > 0, f"order {order_id} has {order.queued} leaves")
            _ensure(order.hidden == hidden, f"order {order_id} is in the wrong queue")
            iceberg = order.display_lots > 0
            _ensure(order.reserve >= 0, f"order {order_id} has a reserve below nothing")
            _ensure(iceberg or not order.reserve, f"order {order_id} has a reserve, shows all")
            most = order.display_lots if iceberg else order.queued
            _ensure(order.queued <= most, f"order {order_id} shows more than it should")


def _ensure(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvariantViolation(otherwise)
