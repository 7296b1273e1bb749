"""What may stand beside an order that leaves while only reducing is allowed."""

from decimal import Decimal

from lob.types import Side
from touchstone.perps.orders import Order


def may_fill(order: Order, entry: Order | None) -> Decimal:
    """Return how much of a working order may fill; `entry` is the one whose exit it is, if it is.

    The venue has an exit only for what its entry has filled, which the position has as well: what
    the entry fills next comes to both alike. Once the entry is over, the exit counts as it stands.
    """
    if entry is None or entry.state.is_terminal:
        return order.exposed
    return min(order.exposed, max(Decimal(0), entry.filled_quantity - order.filled_quantity))


def only_reduces(side: Side, quantity: Decimal, beside: Decimal, position: Decimal) -> bool:
    """Return whether `quantity` cannot increase or flip a position, even if all beside it fills."""
    return position * side.sign < 0 and quantity + beside <= abs(position)
