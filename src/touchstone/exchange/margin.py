"""Initial margin: what the worst case of positions and open orders needs, against equity.

The worst case of a product is that every open order on the worse side fills. Fees at the taker rate
and the loss of trading away from the mark are counted with it. There is no maintenance margin and
no liquidation in this version.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from lob.types import Side
from touchstone.exchange.money import ZERO
from touchstone.exchange.products import Product


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """What margin needs to know of an order that may still trade; the price is its worst one."""

    side: Side
    price: Decimal
    lots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One product of one account: the signed position, the mark, the leverage, what may trade."""

    product: Product
    position_lots: int
    mark: Decimal
    leverage: Decimal
    working: tuple[WorkingOrder, ...]

    def worst_notional(self) -> Decimal:
        """Return the largest notional, long or short, that the open orders can lead to."""
        held = self.product.value(self.mark, self.position_lots)
        buys = sum((self._notional(order, Side.BUY) for order in self.working), ZERO)
        sells = sum((self._notional(order, Side.SELL) for order in self.working), ZERO)
        return max(held + buys, sells - held)

    def requirement(self, taker_fee_rate: Decimal) -> Decimal:
        """Return the equity this needs: initial margin, fees and loss against the mark."""
        costs = sum((self._costs(order, taker_fee_rate) for order in self.working), ZERO)
        return self.worst_notional() / self.leverage + costs

    def _notional(self, order: WorkingOrder, side: Side) -> Decimal:
        if order.side is not side:
            return ZERO
        # A sell fills at its limit or higher, a buy at its limit or lower.
        price = order.price if side is Side.BUY else max(order.price, self.mark)
        return self.product.value(price, order.lots)

    def _costs(self, order: WorkingOrder, taker_fee_rate: Decimal) -> Decimal:
        adverse = max(ZERO, order.side.sign * (order.price - self.mark))
        fee = self._notional(order, order.side) * taker_fee_rate
        return self.product.value(adverse, order.lots) + fee


def total_requirement(exposures: Iterable[Exposure], taker_fee_rate: Decimal) -> Decimal:
    """Return the equity that all products of an account need together (cross margin)."""
    return sum((exposure.requirement(taker_fee_rate) for exposure in exposures), ZERO)
