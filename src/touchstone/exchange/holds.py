"""An account's open orders in one product, added up, so that margin does not walk over them.

Sums are integers (price steps x lots). They depend on the mark, which changes once a second: then
they are added up again when somebody asks, and until then each order costs O(1).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, NamedTuple

from lob.types import Side
from touchstone.exchange.mark import MARK_STEP
from touchstone.exchange.money import ZERO, rounded
from touchstone.exchange.products import Product


class Working(NamedTuple):
    """What margin needs to know of an order that may still trade; the price is its worst one."""

    side: Side
    price_ticks: int
    lots: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Open orders in price steps x lots: buys, sells, and the loss of trading off the mark.

    A buy fills at its limit or lower, a sell at its limit or higher, so a sell below the mark
    counts at the mark.
    """

    buys: int = 0
    sells: int = 0
    adverse: int = 0

    def plus(self, other: "Sums", sign: int = 1) -> "Sums":
        """Return the sums with others added, or taken off."""
        return Sums(
            self.buys + sign * other.buys,
            self.sells + sign * other.sells,
            self.adverse + sign * other.adverse,
        )


class WorkingOrders:
    """The open orders of one account and product, by order number."""

    TRANSIENT: ClassVar = frozenset({"_sums", "_mark_steps"})
    """Worked out from the rest when somebody asks, so questions must not count as changes."""

    def __init__(self, product: Product) -> None:
        tick = product.instrument.tick_size
        self._product = product
        step = min(MARK_STEP, tick.normalize())
        # The common grid of marks and ticks; both are whole multiples of it.
        self._step = Decimal(1).scaleb(min(int(step.as_tuple().exponent), -4))
        self._tick_steps = int(tick / self._step)
        self._orders: dict[int, Working] = {}
        self._sums = Sums()
        self._mark_steps = 0

    def __len__(self) -> int:
        """Return how many orders there are."""
        return len(self._orders)

    def put(self, number: int, order: Working) -> None:
        """Add an order, or give one a new price or size. O(1)."""
        self.drop(number)
        if order.lots:
            self._orders[number] = order
            self._sums = self._sums.plus(self._of(order))

    def drop(self, number: int) -> None:
        """Take an order out; one that is not in it is left out already. O(1)."""
        order = self._orders.pop(number, None)
        if order is not None:
            self._sums = self._sums.plus(self._of(order), -1)

    def requirement(
        self,
        *,
        position_lots: int,
        mark: Decimal,
        leverage: Decimal,
        fee_rate: Decimal,
        backing: Decimal | None = None,
        extra: Working | None = None,
        instead_of: int | None = None,
    ) -> Decimal:
        """Return the equity that position and orders need: margin, fees, loss against the mark.

        The worst case is that every order on the worse side fills. Of an isolated position only
        what orders can add counts: what is held stands on its own equity, `backing`, which comes
        free where orders turn the position (None: cross margin). `extra` is one more order, in
        place of the one with the number `instead_of`. O(1) until the mark changes, then O(n) once.
        """
        sums = self._at(mark)
        replaced = self._orders.get(instead_of) if instead_of is not None else None
        if replaced is not None:
            sums = sums.plus(self._of(replaced), -1)
        if extra is not None:
            sums = sums.plus(self._of(extra))
        held = self._mark_steps * position_lots
        unit = self._step * self._product.lot_value_per_price
        if backing is None:
            margin = rounded(max(held + sums.buys, sums.sells - held) * unit / leverage)
        else:
            growing, opposing = (sums.buys, sums.sells) if held >= 0 else (sums.sells, sums.buys)
            turned = rounded(max(0, opposing - abs(held)) * unit / leverage)
            margin = max(rounded(growing * unit / leverage), turned - max(ZERO, backing))
        costs = sums.adverse * unit + (sums.buys + sums.sells) * unit * fee_rate
        return margin + rounded(costs)

    def _at(self, mark: Decimal) -> Sums:
        steps = int(mark / self._step)
        if steps != self._mark_steps:
            self._mark_steps = steps
            sums = Sums()
            for order in self._orders.values():
                sums = sums.plus(self._of(order))
            self._sums = sums
        return self._sums

    def _of(self, order: Working) -> Sums:
        price, mark = order.price_ticks * self._tick_steps, self._mark_steps
        if order.side is Side.BUY:
            return Sums(price * order.lots, 0, max(0, price - mark) * order.lots)
        return Sums(0, max(price, mark) * order.lots, max(0, mark - price) * order.lots)
