"""What decides how a venue behaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from lob.errors import ConfigError
from touchstone.exchange.background import FlowKind
from touchstone.exchange.fees import INTX_PROMOTION, PAPER_TIERS, FeeSchedule, flat_schedule
from touchstone.exchange.funding import FundingRule
from touchstone.exchange.index import USUAL_VOLATILITY
from touchstone.exchange.liquidation import MarginRule
from touchstone.exchange.products import PRODUCTS, Family, Product


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeConfig:
    """Everything that decides how a venue behaves.

    `run` makes ids unique over restarts. Fees follow each family's schedule, or two flat rates
    where they are set (fractions of the notional); the background flow pays none. INTX-shaped
    positions are settled each `settlement_ns` (0: never); a mark is within `mark_band` (a fraction)
    of its index; `insurance_fund` is what that fund starts with.

    `flow` says who fills the books, `flow_rate` how fast and `flow_size` by how large orders beside
    what is usual; with none they start empty and stay to the customers. `flow_files` are files of
    orders to replay instead, by product. `index_volatility` is the deviation of a year's log return
    of each coin's index, 0 for a coin that it does not name; an arbitrageur takes what a book
    offers beyond `arbitrage_band` from it.

    Prices of orders lie from the mark divided by `price_collar` to the mark times it.
    """

    seed: int = 1
    run: str = "run"
    start_ns: int = 0
    starting_balance: Decimal = Decimal(100_000)
    maker_fee_rate: Decimal | None = None
    taker_fee_rate: Decimal | None = None
    fee_schedules: Mapping[Family, FeeSchedule] = field(default_factory=dict)
    margin: MarginRule = field(default_factory=MarginRule)
    funding: FundingRule = field(default_factory=FundingRule)
    mark_band: Decimal = Decimal("0.05")
    settlement_ns: int = 300_000_000_000
    insurance_fund: Decimal = Decimal(1_000_000)
    products: Sequence[Product] = PRODUCTS
    max_open_orders: int = 500
    history_limit: int = 10_000
    flow: FlowKind = FlowKind.CLUSTERED
    flow_rate: float = 1.0
    flow_size: float = 1.0
    flow_files: Mapping[str, Path] = field(default_factory=dict)
    index_volatility: Mapping[str, float] = field(default_factory=lambda: dict(USUAL_VOLATILITY))
    arbitrage_band: Decimal = Decimal("0.001")
    price_collar: Decimal = Decimal(10)

    def schedules(self) -> dict[Family, FeeSchedule]:
        """Return each family's fee schedule.

        Raises:
            ConfigError: only one of the two flat rates is set.
        """
        if (self.maker_fee_rate is None) != (self.taker_fee_rate is None):
            raise ConfigError("maker_fee_rate and taker_fee_rate: set both or neither")
        if self.maker_fee_rate is not None and self.taker_fee_rate is not None:
            return dict.fromkeys(Family, flat_schedule(self.maker_fee_rate, self.taker_fee_rate))
        return {Family.INTX: INTX_PROMOTION, Family.CDE: PAPER_TIERS, **self.fee_schedules}
