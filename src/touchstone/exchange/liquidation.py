"""How an account that has too little margin is wound down, as arithmetic without side effects.

Below maintenance margin, open orders go first; then positions are closed in the book, as much as
brings equity back to initial margin, never at a price that would take equity below zero. Below
close-out margin, what is left is handed over at the bankruptcy price: to the insurance fund as far
as it can carry it, then to the customers on the other side who profit most, by leverage
(auto-deleveraging), and last to the background flow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Final

from lob.errors import ConfigError
from lob.types import Side
from touchstone.exchange.money import ATOM, ZERO, rounded, share
from touchstone.exchange.products import Product

_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginRule:
    """Maintenance margin as a part of initial, close-out margin as a part of maintenance.

    Two thirds are Coinbase's; the half is ours. `fund_leverage_max` bounds how many times its own
    money the insurance fund may hold in positions.

    Raises:
        ConfigError: a part that is not in 0..1, or a leverage below 1.
    """

    maintenance: Fraction = Fraction(2, 3)
    close_out: Fraction = Fraction(1, 2)
    fund_leverage_max: Decimal = Decimal(10)

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.maintenance <= 1 or not 0 <= self.close_out <= 1:
            raise ConfigError("margin: maintenance has to be in (0, 1], close_out in 0..1")
        if self.fund_leverage_max < 1:
            raise ConfigError("margin: fund_leverage_max has to be 1 or more")

    def maintenance_of(self, initial: Decimal) -> Decimal:
        """Return the maintenance margin that belongs to an initial margin."""
        return share(initial, self.maintenance.numerator, self.maintenance.denominator)

    def close_out_of(self, maintenance: Decimal) -> Decimal:
        """Return the close-out margin that belongs to a maintenance margin."""
        return share(maintenance, self.close_out.numerator, self.close_out.denominator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One open position as margin sees it; `lots` is signed."""

    product: Product
    lots: int
    mark: Decimal
    leverage: Decimal

    @property
    def notional(self) -> Decimal:
        """Return what it is worth at the mark, without sign."""
        return self.product.value(self.mark, abs(self.lots))

    @property
    def initial(self) -> Decimal:
        """Return its initial margin."""
        return rounded(self.notional / self.leverage)

    @property
    def closing_side(self) -> Side:
        """Return the side of an order that closes it."""
        return Side.SELL if self.lots > 0 else Side.BUY


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is margined together: everything on cross margin, or one isolated position.

    `equity` is its money with unrealised profit.
    """

    held: tuple[Held, ...]
    equity: Decimal
    rule: MarginRule

    @property
    def initial(self) -> Decimal:
        """Return the initial margin of what is held."""
        return sum((held.initial for held in self.held), ZERO)

    @property
    def maintenance(self) -> Decimal:
        """Return the maintenance margin of what is held."""
        return sum((self.rule.maintenance_of(held.initial) for held in self.held), ZERO)

    @property
    def is_short_of_maintenance(self) -> bool:
        """Say whether liquidation has to begin."""
        return bool(self.held) and self.equity < self.maintenance

    @property
    def is_short_of_initial(self) -> bool:
        """Say whether a liquidation that has begun has to go on."""
        return bool(self.held) and self.equity < self.initial

    @property
    def is_short_of_close_out(self) -> bool:
        """Say whether what is held has to be handed over."""
        return bool(self.held) and self.equity < self.rule.close_out_of(self.maintenance)

    def by_risk(self) -> list[Held]:
        """Return what is held, largest maintenance margin first."""
        return sorted(self.held, key=lambda held: (-held.initial, held.product.product_id))

    def equity_share(self, held: Held) -> Decimal:
        """Return the part of the equity that stands behind a position: by maintenance margin."""
        total = self.maintenance
        if not total:
            return ZERO
        return rounded(self.equity * self.rule.maintenance_of(held.initial) / total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What an order would do: the margin it takes, equity less maintenance margin now and after.

    `liquidation_price` is that of the position it would leave, None where there is none.
    """

    margin: Decimal
    buffer: Decimal
    projected_buffer: Decimal
    liquidation_price: Decimal | None


def bankruptcy_ticks(held: Held, equity: Decimal, fee_rate: Decimal = ZERO) -> int:
    """Return the worst price in ticks at which closing all leaves `equity` at 0 or above.

    The fee of closing is counted in; the tick is rounded to the side that leaves something.
    """
    size = held.product.value(_ONE, abs(held.lots))
    tick = held.product.instrument.tick_size
    if held.lots > 0:
        price = (held.notional - equity) / size / (1 - fee_rate)
        return max(1, int((price / tick).to_integral_value(ROUND_CEILING)))
    price = (held.notional + equity) / size / (1 + fee_rate)
    return max(1, int((price / tick).to_integral_value(ROUND_FLOOR)))


def lots_to_close(held: Held, missing: Decimal, fee_rate: Decimal) -> int:
    """Return how many lots, closed at the mark, free `missing` of initial margin; at most all.

    Each lot frees its initial margin and costs its fee.
    """
    lot_value = held.product.value(held.mark, 1)
    relief = lot_value / held.leverage - lot_value * fee_rate
    if relief <= 0:
        return abs(held.lots)
    needed = (missing / relief).to_integral_value(ROUND_CEILING)
    return min(abs(held.lots), max(0, int(needed)))


def fund_lots(
    held: Held,
    price_ticks: int,
    fund_equity: Decimal,
    fund_notional: Decimal,
    rule: MarginRule,
    fund_held_lots: int = 0,
) -> int:
    """Return how many lots the insurance fund can take over at a price.

    Afterwards its positions may be worth at most `fund_leverage_max` times its equity, into which
    the profit or loss of the take-over at the mark is counted. What it holds of the product itself
    (`fund_held_lots`, signed) becomes less where it is on the other side. A fund without money
    takes none.
    """
    if fund_equity <= 0:
        return 0
    sign = 1 if held.lots > 0 else -1
    lot_value = held.product.value(held.mark, 1)
    gain = sign * (lot_value - held.product.notional(price_ticks, 1))
    room = rule.fund_leverage_max * fund_equity - fund_notional
    offset = min(abs(held.lots), max(0, -sign * fund_held_lots))
    relief = -lot_value - rule.fund_leverage_max * gain
    netted = _bearable(offset, room, relief)
    room -= netted * relief
    if netted < offset or room < 0:
        return netted
    return netted + _bearable(
        abs(held.lots) - netted, room, lot_value - rule.fund_leverage_max * gain
    )


def _bearable(lots: int, room: Decimal, burden: Decimal) -> int:
    """Return how many lots of a burden each there is room for."""
    if burden <= 0:
        return lots
    return min(lots, max(0, int((room / burden).to_integral_value(ROUND_FLOOR))))


def bearable_lots(
    product: Product, lots: int, mark: Decimal, price_ticks: int, equity: Decimal
) -> int:
    """Return how many of `lots` (signed) can be closed at a price before `equity` is used up."""
    sign = 1 if lots > 0 else -1
    loss = sign * (product.value(mark, 1) - product.notional(price_ticks, 1))
    if loss <= 0:
        return abs(lots)
    return min(abs(lots), max(0, int((equity / loss).to_integral_value(ROUND_FLOOR))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterparty:
    """A customer on the other side and what it can give up: `lots`, without sign.

    `profit` since entry at a `cost`, the `notional` of all it holds and the `equity` behind it.
    """

    name: str
    participant_id: int
    lots: int
    notional: Decimal
    profit: Decimal
    cost: Decimal
    equity: Decimal

    @property
    def score(self) -> Decimal:
        """Return profit as a part of the cost, times effective leverage (divided, of a loss)."""
        ratio = self.profit / max(ATOM, abs(self.cost))
        leverage = max(ATOM, self.notional / max(ATOM, self.equity))
        return ratio * leverage if ratio > 0 else ratio / leverage


def deleveraging(candidates: Iterable[Counterparty], lots: int) -> list[tuple[str, int]]:
    """Return who gives up how many lots, highest score first, earlier accounts first among equals.

    What is left over when all have given up everything is not in the result.
    """
    ranked: Sequence[Counterparty] = sorted(
        candidates, key=lambda one: (-one.score, one.participant_id)
    )
    plan = []
    for one in ranked:
        taken = min(one.lots, lots)
        if taken:
            plan.append((one.name, taken))
            lots -= taken
    return plan


def liquidation_price(held: Held, scope: Scope) -> Decimal | None:
    """Return the mark at which the scope is short of maintenance, other marks standing still.

    None where no price above zero does that.
    """
    size = held.product.value(_ONE, held.lots)
    rate = Decimal(scope.rule.maintenance.numerator) / (
        held.leverage * scope.rule.maintenance.denominator
    )
    others = scope.maintenance - scope.rule.maintenance_of(held.initial)
    numerator = others - scope.equity + size * held.mark
    denominator = size - abs(size) * rate
    if not denominator:
        return None
    price = numerator / denominator
    return price if price > 0 else None
