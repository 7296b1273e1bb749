"""Whatever customers and prices do: no money comes or goes, and nobody ends below zero.

Customers trade on cross and isolated margin with any leverage, the index jumps by up to a quarter,
time passes over settlements, funding and liquidations, with a fund and without one.
"""

import random
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from lob.types import Side, TimeInForce
from tests.exchange.perp_venue import BIP, BTC, SECOND_NS
from touchstone.exchange import Exchange, ExchangeConfig, OrderRequest
from touchstone.exchange.background import FlowKind
from touchstone.exchange.clearing import CROSS
from touchstone.exchange.funding import FundingRule
from touchstone.exchange.requests import MarginType

NAMES = ("alice", "bob", "carol", "dave")


class Economy:
    """Four customers, an index that jumps, and a clock, driven by one source of chance."""

    def __init__(self, seed: int, fund: str) -> None:
        """Open the venue with odd fees and high funding, so that everything needs rounding."""
        self.chance = random.Random(seed)
        self.exchange = Exchange(
            ExchangeConfig(
                flow=FlowKind.NONE,
                index_volatility={},
                maker_fee_rate=Decimal("-0.0000777"),
                taker_fee_rate=Decimal("0.0003333"),
                funding=FundingRule(
                    interval_ns=360 * SECOND_NS, sample_ns=60 * SECOND_NS, divisor=Decimal(2)
                ),
                mark_band=Decimal(1),
                arbitrage_band=Decimal(self.chance.choice(("0.01", "9"))),
                insurance_fund=Decimal(fund),
                max_open_orders=8,
            )
        )
        self.clearing = self.exchange.clearing
        self.count = 0
        for name in NAMES:
            self.exchange.open_account(name)

    def run(self, steps: int) -> None:
        """Do what chance says, and check everything after each step."""
        for _ in range(steps):
            self.chance.choice((self.quote, self.trade, self.trade, self.move, self.allocate))()
            self.exchange.check()
            assert self.exchange.conserved_total() == self.clearing.deposits()
            self.exchange.drain()

    def enter(self, name: str, product_id: str, side: Side, lots: int, price: Decimal) -> None:
        """Enter an order with any leverage and margin type; it may be refused."""
        self.count += 1
        product = self.exchange.products[product_id]
        request = OrderRequest(
            client_order_id=str(self.count),
            product_id=product_id,
            side=side,
            size=product.instrument.quantity(lots),
            limit_price=price,
            time_in_force=self.chance.choice((TimeInForce.GTC, TimeInForce.IOC)),
            leverage=Decimal(self.chance.choice((10, 10, 7, 2))),
            margin_type=self.chance.choice((None, *MarginType)),
        )
        self.exchange.create(name, request)

    def price(self, steps: int) -> Decimal:
        """Return a price some steps of 5 from the index."""
        index = self.clearing.index_of(self.exchange.products[BTC])
        return (index // 5 + steps) * 5

    def quote(self) -> None:
        """Let somebody rest an order, up to 1 % from the index."""
        name, product_id = self.chance.choice(NAMES), self.chance.choice((BTC, BIP))
        side, steps = self.chance.choice(tuple(Side)), self.chance.randint(-5, 200)
        lots = self.chance.randint(1, 300) * (1 if product_id == BIP else 97)
        self.enter(name, product_id, side, lots, self.price(-side.sign * steps))

    def trade(self) -> None:
        """Let one customer trade with another at the index."""
        pair, product_id = self.chance.sample(NAMES, 2), self.chance.choice((BTC, BIP))
        lots = self.chance.randint(1, 900) * (1 if product_id == BIP else 101)
        for name, side in zip(pair, Side, strict=True):
            self.enter(name, product_id, side, lots, self.price(0))

    def allocate(self) -> None:
        """Move an odd amount to or from an isolated position, where there is one."""
        amount = Decimal(self.chance.randint(-2_000_000, 2_000_000)) / 100
        self.clearing.allocate(self.chance.choice(NAMES), self.chance.choice((BTC, BIP)), amount)

    def move(self) -> None:
        """Let the index jump and time pass; nobody is then below zero or liquidated for nothing."""
        percent = self.chance.choice((-25, -12, -6, -2, 0, 2, 6, 12, 25))
        moved = self.price(0) * (100 + percent) / 100
        self.exchange.marketplace.move_index("BTC", min(max(moved, Decimal(9_000)), Decimal(10**6)))
        seconds = self.chance.choice((1, 1, 2, 61, 301))
        self.exchange.advance(self.exchange.now_ns + seconds * SECOND_NS)
        for name in NAMES:
            account = self.clearing.account(name)
            assert self.clearing.cross_equity(name) >= 0
            for key in (CROSS, *account.positions):
                scope = self.clearing.scope(name, key)
                if key == CROSS or account.position(key).isolated:
                    assert scope.equity >= 0
                    assert key in account.liquidating or not scope.is_short_of_maintenance


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1 << 32), fund=st.sampled_from(("0", "3000", "1000000")))
def test_any_run_conserves_money_and_leaves_nobody_below_zero(seed: int, fund: str) -> None:
    """Book values, fees and fund add up to the deposits after every step of any run."""
    Economy(seed, fund).run(60)


def test_such_runs_contain_every_step_of_liquidation() -> None:
    """Closing in the book, take-over by the fund, deleveraging, and the fund selling again."""
    economy = Economy(45, "3000")
    economy.run(250)
    liquidator = economy.exchange.liquidator
    fund_orders = economy.exchange.desk.histories["insurance-fund"].orders()
    counts = (liquidator.steps, liquidator.taken_over_lots, liquidator.deleveraged_lots)
    assert all(count > 5 for count in counts), counts
    assert len(fund_orders) > 5
    assert sum(len(account.payments) for account in economy.clearing.accounts.values()) > 5
