"""Positions and profit by weighted-average entry, exact in Decimal.

A position keeps its *cost* (signed: what was paid for what is held), not its average price. The
part of the cost that a reduction takes out may have to be rounded, but what is taken out of one
figure goes into another, so realised + unrealised always equals the cash account to the last digit.
"""

from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Final

from lob.errors import InvalidInput
from lob.types import Side

ZERO: Final = Decimal(0)
COST_STEP: Final = Decimal("1E-12")
_CONTEXT: Final = Context(prec=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One symbol's position: `quantity` is signed, in coins; money is in quote currency.

    `cost` is signed like `quantity`. `realized_pnl` is before `fees` and `funding_paid`.
    """

    symbol: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    funding_paid: Decimal = ZERO

    @property
    def average_entry_price(self) -> Decimal | None:
        """Return the weighted-average entry price, None when flat."""
        return None if self.quantity == 0 else _CONTEXT.divide(self.cost, self.quantity)

    def unrealized_pnl(self, mark_price: Decimal) -> Decimal:
        """Return what closing the whole position at `mark_price` would realise."""
        return _CONTEXT.subtract(_CONTEXT.multiply(self.quantity, mark_price), self.cost)

    def net_pnl(self, mark_price: Decimal) -> Decimal:
        """Return realised + unrealised - funding paid - fees."""
        return self.realized_pnl + self.unrealized_pnl(mark_price) - self.funding_paid - self.fees


def apply_fill(
    position: Position,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    fee: Decimal = ZERO,
) -> Position:
    """Return the position after a fill; a fill larger than the position flips it.

    Raises:
        InvalidInput: quantity or price is not above 0.
    """
    for name, value in (("quantity", quantity), ("price", price)):
        if not value.is_finite() or value <= 0:
            raise InvalidInput(f"{name}: {value}; allowed: above 0")
    signed = quantity * side.sign
    closing = min(quantity, abs(position.quantity)) if position.quantity * signed < 0 else ZERO
    closed = position
    if closing:
        closed = _reduce(position, closing, price)
    opened = (quantity - closing) * side.sign
    return replace(
        closed,
        quantity=closed.quantity + opened,
        cost=_CONTEXT.add(closed.cost, _CONTEXT.multiply(opened, price)),
        fees=closed.fees + fee,
    )


def _reduce(position: Position, closing: Decimal, price: Decimal) -> Position:
    """Take `closing` (unsigned) out of the position at `price`."""
    whole = closing == abs(position.quantity)
    share = _CONTEXT.divide(_CONTEXT.multiply(position.cost, closing), abs(position.quantity))
    cost_out = position.cost if whole else share.quantize(COST_STEP, context=_CONTEXT)
    sign = 1 if position.quantity > 0 else -1
    proceeds = _CONTEXT.multiply(closing * sign, price)
    return replace(
        position,
        quantity=position.quantity - closing * sign,
        cost=_CONTEXT.subtract(position.cost, cost_out),
        realized_pnl=_CONTEXT.add(position.realized_pnl, _CONTEXT.subtract(proceeds, cost_out)),
    )


def difference(after: Position, before: Position) -> Position:
    """Return `after - before` field by field: the delta that the store keeps."""
    return Position(
        symbol=after.symbol,
        quantity=after.quantity - before.quantity,
        cost=_CONTEXT.subtract(after.cost, before.cost),
        realized_pnl=_CONTEXT.subtract(after.realized_pnl, before.realized_pnl),
        fees=after.fees - before.fees,
        funding_paid=after.funding_paid - before.funding_paid,
    )


def combine(position: Position, delta: Position) -> Position:
    """Return `position + delta` field by field; the inverse of `difference`."""
    return Position(
        symbol=position.symbol,
        quantity=position.quantity + delta.quantity,
        cost=_CONTEXT.add(position.cost, delta.cost),
        realized_pnl=_CONTEXT.add(position.realized_pnl, delta.realized_pnl),
        fees=position.fees + delta.fees,
        funding_paid=position.funding_paid + delta.funding_paid,
    )
