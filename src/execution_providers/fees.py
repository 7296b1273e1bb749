"""What a venue and its regulators charge for a fill, in quote currency.

Default schedules; pass another `FeeSchedule` to the provider where they do not hold:

- crypto: 2 bps maker, 4 bps taker;
- futures: 2 bps maker, 5 bps taker (the entry tier of large USD-margined perpetual venues);
- equity: no commission; on sales only, the SEC's Section 31 fee of $27.80 per million dollars sold
  (in force from 22 May 2024 to 13 May 2025) and FINRA's Trading Activity Fee of $0.000166 per share
  sold, at most $8.30 per trade (in force from 1 January 2024 to 31 December 2025).

An execution counts as one trade for the cap. Nothing is rounded to cents.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from execution_providers.slippage import EXACT, Totals, totals_of
from execution_providers.types import PartialFill
from lob.types import AssetClass, Side

_ZERO: Final = Decimal(0)
_BPS: Final = Decimal("0.0001")
_add, _multiply = EXACT.add, EXACT.multiply


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSchedule:
    """Rates: bps of notional for either role, and what a sale pays on top."""

    maker_bps: Decimal = _ZERO
    taker_bps: Decimal = _ZERO
    sale_rate: Decimal = _ZERO
    sale_per_unit: Decimal = _ZERO
    sale_per_unit_cap: Decimal | None = None

    def of(self, side: Side, fills: Iterable[PartialFill]) -> Decimal:
        """Return the fees of one execution in quote currency, exactly; negative is a rebate."""
        return self.of_totals(side, totals_of(fills))

    def of_totals(self, side: Side, totals: Totals) -> Decimal:
        """Return the fees of fills that were added up."""
        fees = _ZERO
        if totals.taken and self.taker_bps:
            fees = _multiply(totals.taken_cost, _multiply(self.taker_bps, _BPS))
        if totals.given and self.maker_bps:
            fees = _add(fees, _multiply(totals.given_cost, _multiply(self.maker_bps, _BPS)))
        if side is Side.SELL and (self.sale_rate or self.sale_per_unit):
            activity = _multiply(totals.quantity, self.sale_per_unit)
            if self.sale_per_unit_cap is not None:
                activity = min(activity, self.sale_per_unit_cap)
            fees = _add(fees, _add(_multiply(totals.cost, self.sale_rate), activity))
        return fees


DEFAULT_FEES: Final[Mapping[AssetClass, FeeSchedule]] = {
    AssetClass.CRYPTO: FeeSchedule(maker_bps=Decimal(2), taker_bps=Decimal(4)),
    AssetClass.FUTURES: FeeSchedule(maker_bps=Decimal(2), taker_bps=Decimal(5)),
    AssetClass.EQUITY: FeeSchedule(
        sale_rate=Decimal("0.0000278"),
        sale_per_unit=Decimal("0.000166"),
        sale_per_unit_cap=Decimal("8.30"),
    ),
}
"""The schedule of each asset class; see the module's text for sources and dates."""
