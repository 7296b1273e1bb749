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

from execution_providers.types import Liquidity, PartialFill
from lob.types import AssetClass, Side

_ZERO: Final = Decimal(0)
_BPS: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSchedule:
    """Rates: bps of notional for either role, and what a sale pays on top."""

    maker_bps: Decimal = _ZERO
    taker_bps: Decimal = _ZERO
    sale_rate: Decimal = _ZERO
    sale_per_unit: Decimal = _ZERO
    sale_per_unit_cap: Decimal | None = None

    def of(self, side: Side, fills: Iterable[PartialFill]) -> Decimal:
        """Return the fees of one execution in quote currency; negative is a rebate."""
        fees = proceeds = units = _ZERO
        for fill in fills:
            notional = fill.price * fill.quantity
            maker = fill.liquidity is Liquidity.MAKER
            fees += notional * (self.maker_bps if maker else self.taker_bps) * _BPS
            proceeds += notional
            units += fill.quantity
        if side is Side.SELL:
            activity = units * self.sale_per_unit
            if self.sale_per_unit_cap is not None:
                activity = min(activity, self.sale_per_unit_cap)
            fees += proceeds * self.sale_rate + activity
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
