"""Funding: what longs pay shorts each hour, in proportion to the mark's premium over the index.

Coinbase Derivatives' formula (help centre): the premium of an hour is the mean of samples of
(mark - index) / index / 24 taken every three minutes; F = 0.75 x premium + 0.25 x F of the hour
before; a holder at the end of the hour pays position x mark x F. Rates are fractions an hour.
"""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from lob.errors import ConfigError, InvariantViolation
from touchstone.exchange.fees import HOUR_NS
from touchstone.exchange.money import ZERO, rounded
from touchstone.exchange.products import Product

SAMPLES: Final = 20
"""How many samples of the premium an interval has: one every three minutes of an hour."""

RATE_STEP: Final = Decimal("0.0000000001")
"""Funding rates are rounded, half to even, to ten places."""

_SECOND_NS: Final = 1_000_000_000
_SAMPLE_STEP: Final = Decimal("0.000000000000000001")
_HISTORY_HOURS: Final = 24 * 30


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRule:
    """How the rate comes about. `cap` bounds it on both sides; `fixed_rate` replaces it.

    Raises:
        ConfigError: intervals that are not positive or do not divide, weights out of 0..1.
    """

    interval_ns: int = HOUR_NS
    sample_ns: int = HOUR_NS // SAMPLES
    divisor: Decimal = Decimal(24)
    premium_weight: Decimal = Decimal("0.75")
    previous_weight: Decimal = Decimal("0.25")
    cap: Decimal | None = None
    fixed_rate: Decimal | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.sample_ns <= self.interval_ns or self.interval_ns % self.sample_ns:
            raise ConfigError("funding: sample_ns has to divide interval_ns")
        if self.sample_ns % _SECOND_NS:
            raise ConfigError("funding: sample_ns has to be whole seconds")
        if self.divisor <= 0 or (self.cap is not None and self.cap < 0):
            raise ConfigError("funding: divisor has to be above 0 and cap 0 or more")
        if not (0 <= self.premium_weight <= 1 and 0 <= self.previous_weight <= 1):
            raise ConfigError("funding: weights have to be in 0..1")

    def rate(self, premium: Decimal, previous: Decimal) -> Decimal:
        """Return the rate of an interval from its premium and the rate before it."""
        if self.fixed_rate is not None:
            return self.fixed_rate
        rate = self.premium_weight * premium + self.previous_weight * previous
        if self.cap is not None:
            rate = min(max(rate, -self.cap), self.cap)
        return rate.quantize(RATE_STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRate:
    """The rate that was settled at `time_ns`, and what it came from."""

    time_ns: int
    rate: Decimal
    premium: Decimal
    mark: Decimal
    index: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPayment:
    """One account's funding of one product at one time; `amount` above 0 was paid by it."""

    product_id: str
    time_ns: int
    lots: int
    mark: Decimal
    rate: Decimal
    amount: Decimal


@dataclass(slots=True)
class Funding:
    """One product's funding: samples of the interval that runs, and the rates that were settled.

    What is published is the rate settled last, so it lags the running interval by one.
    """

    rule: FundingRule
    rate: Decimal = ZERO
    time_ns: int | None = None
    _sum: Decimal = ZERO
    _count: int = 0
    settled: deque[FundingRate] = field(default_factory=lambda: deque(maxlen=_HISTORY_HOURS))

    def sample(self, mark: Decimal, index: Decimal) -> None:
        """Take one sample of the premium."""
        self._sum += ((mark - index) / index / self.rule.divisor).quantize(_SAMPLE_STEP)
        self._count += 1

    def premium(self) -> Decimal:
        """Return the mean of the samples so far; 0 without one."""
        return self._sum / self._count if self._count else ZERO

    def predicted(self) -> Decimal:
        """Return what the rate would be if the interval ended now."""
        return self.rule.rate(self.premium(), self.rate)

    def next_time_ns(self, now_ns: int) -> int:
        """Return the first end of an interval after `now_ns`."""
        return (now_ns // self.rule.interval_ns + 1) * self.rule.interval_ns

    def settle(self, time_ns: int, mark: Decimal, index: Decimal) -> FundingRate:
        """End the interval at `time_ns` and return its rate.

        Raises:
            InvariantViolation: this time, or a later one, has been settled before.
        """
        if self.time_ns is not None and time_ns <= self.time_ns:
            raise InvariantViolation(f"funding at {time_ns}: {self.time_ns} is already settled")
        premium = self.premium()
        self.rate = self.rule.rate(premium, self.rate)
        self.time_ns = time_ns
        self._sum, self._count = ZERO, 0
        settled = FundingRate(
            time_ns=time_ns, rate=self.rate, premium=premium, mark=mark, index=index
        )
        self.settled.append(settled)
        return settled


def payment(product: Product, lots: int, settled: FundingRate) -> Decimal:
    """Return what the holder of `lots` pays (below 0: receives), rounded to an atom."""
    return rounded(product.value(settled.mark, lots) * settled.rate)
