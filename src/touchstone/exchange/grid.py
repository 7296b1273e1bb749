"""The one-second grid: marks, premium samples, settlements, funding, liquidation, in that order.

One timer does it all, so that at one moment nothing can come before what it depends on.
"""

from math import gcd
from typing import Final

from touchstone.exchange.clearing import Clearing
from touchstone.exchange.config import ExchangeConfig
from touchstone.exchange.funding import FundingPayment, payment
from touchstone.exchange.liquidator import Liquidator
from touchstone.exchange.money import ZERO
from touchstone.exchange.products import Family
from touchstone.exchange.schedule import Rank, Schedule

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
DAY_NS: Final = 86_400 * SECOND_NS
DAY_START_NS: Final = 22 * 3_600 * SECOND_NS
"""A trading day begins at 22:00 UTC, when that of Coinbase Derivatives does in winter."""

_TIMER: Final = "grid"


class Grid:
    """Do each second what the economics of perpetuals ask for."""

    def __init__(
        self,
        config: ExchangeConfig,
        clearing: Clearing,
        liquidator: Liquidator,
        schedule: Schedule,
    ) -> None:
        self._rule = config.funding
        self._settlement_ns = config.settlement_ns
        self._clearing = clearing
        self._liquidator = liquidator
        self._schedule = schedule
        self._stride_ns = 0
        schedule.register(_TIMER, Rank.MARK, self.run, SECOND_NS)
        schedule.at((config.start_ns // SECOND_NS + 1) * SECOND_NS, _TIMER)

    def stride(self, now_ns: int) -> None:
        """Go on in strides of at most a minute that miss nothing due: nobody trades meanwhile.

        So a week without the venue takes seconds to make up for, not minutes.
        """
        rule = self._rule
        self._stride_ns = gcd(
            MINUTE_NS, rule.sample_ns, rule.interval_ns, self._settlement_ns or MINUTE_NS
        )
        self._schedule.at((now_ns // self._stride_ns + 1) * self._stride_ns, _TIMER)

    def step(self, now_ns: int) -> None:
        """Go on second by second again."""
        self._stride_ns = 0
        self._schedule.at((now_ns // SECOND_NS + 1) * SECOND_NS, _TIMER)

    def run(self, due_ns: int, _key: int) -> None:
        """Carry out one second."""
        if self._stride_ns:
            self._schedule.at(due_ns + self._stride_ns, _TIMER)
        clearing = self._clearing
        clearing.now_ns = due_ns
        clearing.sample_marks()
        if due_ns % self._rule.sample_ns == 0:
            for name, funding in clearing.funding.items():
                price = clearing.marks[name]
                funding.sample(price.mark, price.index)
        if self._settlement_ns and due_ns % self._settlement_ns == 0:
            self._settle_to_marks(Family.INTX)
        if due_ns % self._rule.interval_ns == 0:
            for name in clearing.products:
                self._pay_funding(name, due_ns)
        if due_ns % DAY_NS == DAY_START_NS:
            for account in clearing.accounts.values():
                account.start_day()
        self._liquidator.check(due_ns)
        if due_ns % MINUTE_NS == 0:
            clearing.check()

    def _settle_to_marks(self, family: Family) -> None:
        """Turn unrealised profit into cash in every position of a family."""
        clearing = self._clearing
        for account in clearing.holders():
            for product_id, position in account.positions.items():
                product = clearing.products[product_id]
                if position.lots and product.family is family:
                    account.pay(product_id, position.settle(product, clearing.mark(product_id)))

    def _pay_funding(self, product_id: str, time_ns: int) -> None:
        """Settle the funding of one product at one time, once and for everybody.

        What is lost to rounding is the insurance fund's.
        """
        clearing = self._clearing
        price, product = clearing.marks[product_id], clearing.products[product_id]
        settled = clearing.funding[product_id].settle(time_ns, price.mark, price.index)
        remainder = ZERO
        for account in clearing.holders():
            position = account.positions.get(product_id)
            if position is None or not position.lots:
                continue
            amount = payment(product, position.lots, settled)
            remainder += amount
            position.funding -= amount
            account.pay(product_id, -amount)
            account.payments.append(
                FundingPayment(
                    product_id=product_id,
                    time_ns=time_ns,
                    lots=position.lots,
                    mark=settled.mark,
                    rate=settled.rate,
                    amount=amount,
                )
            )
        clearing.fund.balance += remainder
