"""How far orders can move a position in the worst case: what may be sent, what has to go.

Only the confirmed position counts. Orders whose outcome is unknown, and ends that nobody has
confirmed, count as if every part of them could still fill; orders that could open the position
further count as if they never did.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from lob.types import Side
from touchstone.perps.orders import Intent, Order

ZERO: Final = Decimal(0)


def pending(side: Side, orders: Iterable[Order], *, but: str = "") -> Decimal:
    """Return how much of `side` the venue may still fill, the order of client id `but` left out."""
    return sum(
        (
            order.exposed
            for order in orders
            if order.intent.side is side and order.intent.client_order_id != but
        ),
        start=ZERO,
    )


def room(side: Side, position: Decimal, orders: Iterable[Order], *, but: str = "") -> Decimal:
    """Return how much more on `side` can only reduce the position, whatever fills; at least 0.

    >>> room(Side.SELL, Decimal(3), [])
    Decimal('3')
    """
    if position * side.sign >= 0:
        return ZERO
    return max(ZERO, abs(position) - pending(side, orders, but=but))


def reduces(intent: Intent, position: Decimal, orders: Sequence[Order]) -> bool:
    """Return whether no fill of `intent` can increase or flip the position, in the worst case.

    A reduce-only stop that waits here takes no room: it is fitted to what there is when it leaves.
    """
    if intent.held_here and intent.reduce_only:
        return position * intent.side.sign < 0 and intent.quantity <= abs(position)
    return 0 < intent.quantity <= room(intent.side, position, orders, but=intent.client_order_id)


def endangers_reduce_only(intent: Intent, position: Decimal, orders: Sequence[Order]) -> bool:
    """Return whether filling `intent` first could let a working reduce-only order flip it."""
    if position * intent.side.sign >= 0:
        return False
    return any(
        order.intent.reduce_only and order.exposed > 0
        for order in orders
        if order.intent.side is intent.side
        and order.intent.client_order_id != intent.client_order_id
    )


def risk_increasing(orders: Sequence[Order], position: Decimal) -> list[Order]:
    """Return the working orders of one symbol that must go when only reducing is allowed.

    Reducing orders stay while they fit into the position together: those flagged reduce-only
    first, then the oldest. A reduce-only stop that waits here always stays: it cannot do harm. So
    does the exit that the venue made for an entry: it is never larger there than what that filled,
    and ends with an entry that did not fill.
    """
    left = abs(position)
    entries = []
    for order in sorted(orders, key=lambda o: (not o.intent.reduce_only, o.created_ns)):
        if order.intent.held_here and order.intent.reduce_only and not order.exposed:
            continue
        opposes = position * order.intent.side.sign < 0
        if order.intent.is_exit and not position * order.intent.side.sign > 0:
            left -= min(left, order.leaves)
        elif opposes and order.leaves <= left:
            left -= order.leaves
        else:
            entries.append(order)
    return entries


def worst_position(
    side: Side, quantity: Decimal, position: Decimal, orders: Sequence[Order]
) -> Decimal:
    """Return how large, unsigned, the position may become by `side` when `quantity` more is sent.

    Stops that wait here count, too. Reduce-only orders of the side may fill first or not at all.
    """
    same = [order for order in orders if order.intent.side is side]
    opening = sum((o.leaves for o in same if not o.intent.reduce_only), start=quantity)
    closing = sum((o.leaves for o in same if o.intent.reduce_only), start=ZERO)
    opposed = ZERO if position * side.sign >= 0 else min(closing, abs(position))
    return max(abs(position + side.sign * (opening + taken)) for taken in (ZERO, opposed))
