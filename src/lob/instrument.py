"""An instrument: the scale between a venue's decimals and the book's integers, and its rules."""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal, Inexact, InvalidOperation
from typing import Final

from lob.errors import InvalidInput
from lob.types import DAY_NS, INT64_MAX, Allocation, AssetClass, Side

# A quotient that 60 digits cannot hold exactly is not a whole number of ticks below 2^63.
_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation])
_FLOOR: Final = Context(prec=60, rounding=ROUND_FLOOR, traps=[InvalidOperation])


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """Convert between a venue's decimals and the book's integers, exactly, in one place.

    `tick_size` is in quote currency, `lot_size` in units (or contracts), `contract_size` in units
    per contract. Every conversion raises `InvalidInput` where it would not be exact, except the
    `round_` ones, which say which way they round.

    `allocation` shares out an aggressor's lots; under PRO_RATA a share of fewer than
    `minimum_allocation_lots` is none. `day_close_ns` is when DAY orders expire, in nanoseconds
    after midnight of the clock's own days (0: at midnight).
    """

    symbol: str
    asset_class: AssetClass
    tick_size: Decimal
    lot_size: Decimal
    contract_size: Decimal = Decimal(1)
    allocation: Allocation = Allocation.PRICE_TIME
    minimum_allocation_lots: int = 1
    day_close_ns: int = 0

    def __post_init__(self) -> None:
        if not self.symbol:
            raise InvalidInput("symbol: '' is empty; allowed: any other text")
        for name in ("tick_size", "lot_size", "contract_size"):
            value = getattr(self, name)
            if not isinstance(value, Decimal) or not value.is_finite() or value <= 0:
                raise InvalidInput(f"{name}: {value!r}; allowed: a finite Decimal above 0")
        if self.allocation not in frozenset(Allocation):
            allowed = ", ".join(Allocation)
            raise InvalidInput(f"allocation: {self.allocation!r}; allowed: {allowed}")
        for name, low, high in (
            ("minimum_allocation_lots", 1, INT64_MAX),
            ("day_close_ns", 0, DAY_NS - 1),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidInput(f"{name}: {value!r}; allowed: {low}..{high}")

    def to_ticks(self, price: Decimal) -> int:
        """Return `price` in ticks; `InvalidInput` unless it is 1..2^63-1 whole ticks.

        >>> share = Instrument(symbol="A", asset_class=AssetClass.EQUITY,
        ...                    tick_size=Decimal("0.01"), lot_size=Decimal(1))
        >>> share.to_ticks(Decimal("585.33"))
        58533
        """
        return _exact_units("price", price, "tick_size", self.tick_size)

    def round_ticks(self, price: Decimal, side: Side) -> int:
        """Return `price` in ticks, rounded to the passive side: BUY down, SELL up.

        `InvalidInput` where the result is not in 1..2^63-1.
        """
        ticks = side.sign * _floor_units("price", price, self.tick_size, side.sign)
        if not 1 <= ticks <= INT64_MAX:
            raise InvalidInput(f"price: {price} is {ticks} ticks; allowed: 1..{INT64_MAX}")
        return ticks

    def to_lots(self, quantity: Decimal) -> int:
        """Return `quantity` in lots; `InvalidInput` unless it is 1..2^63-1 whole lots."""
        return _exact_units("quantity", quantity, "lot_size", self.lot_size)

    def round_lots(self, quantity: Decimal) -> int:
        """Return `quantity` in lots, rounded down; 0 when it is less than one lot."""
        lots = _floor_units("quantity", quantity, self.lot_size, 1)
        if not 0 <= lots <= INT64_MAX:
            raise InvalidInput(f"quantity: {quantity} is {lots} lots; allowed: 0..{INT64_MAX}")
        return lots

    def price(self, ticks: int) -> Decimal:
        """Return the price of `ticks`, with the tick size's own number of decimals."""
        return _EXACT.multiply(self.tick_size, Decimal(ticks))

    def quantity(self, lots: int) -> Decimal:
        """Return the quantity of `lots`, with the lot size's own number of decimals."""
        return _EXACT.multiply(self.lot_size, Decimal(lots))


def _finite(name: str, value: Decimal) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise InvalidInput(f"{name}: {value!r}; allowed: a finite Decimal")
    return value


def _exact_units(name: str, value: Decimal, unit_name: str, unit: Decimal) -> int:
    value = _finite(name, value)
    cause = None
    try:
        units = _EXACT.divide(value, unit)
        # The range comes first: int(Decimal("1E+999999")) would take minutes.
        if 1 <= units <= INT64_MAX and units == units.to_integral_value():
            return int(units)
    except (Inexact, InvalidOperation) as error:
        cause = error
    raise InvalidInput(
        f"{name}: {value} is not 1..{INT64_MAX} whole multiples of {unit_name} {unit}"
    ) from cause


def _floor_units(name: str, value: Decimal, unit: Decimal, sign: int) -> int:
    """Return floor(sign * value / unit); rounding twice towards -inf equals rounding once."""
    units = _FLOOR.divide(_FLOOR.multiply(_finite(name, value), Decimal(sign)), unit)
    if abs(units) > INT64_MAX:
        raise InvalidInput(f"{name}: {value}; allowed: at most {INT64_MAX} multiples of {unit}")
    return int(units.to_integral_value(rounding=ROUND_FLOOR))
