"""Funding rates and payments, computed by hand."""

from decimal import Decimal

import pytest

from lob.errors import ConfigError, InvariantViolation
from touchstone.exchange import PRODUCTS
from touchstone.exchange.fees import HOUR_NS
from touchstone.exchange.funding import Funding, FundingRule, payment

BTC, BIP = PRODUCTS[0], PRODUCTS[2]
INDEX = Decimal(100_000)
ONE_COIN_LOTS = 10_000


def hour(funding: Funding, number: int, marks: list[int]) -> Decimal:
    """Take the samples of an hour, end it, and return what one BTC long pays."""
    for mark in marks:
        funding.sample(Decimal(mark), INDEX)
    settled = funding.settle(number * HOUR_NS, Decimal(marks[-1]), INDEX)
    return payment(BTC, ONE_COIN_LOTS, settled)


def test_three_hours_by_hand() -> None:
    """Weights, memory of the hour before, sign and rounding, to the last place.

    Hour 1: (100100-100000)/100000/24 x 0.75 = 0.00003125. Hour 2: -0.00003125 + 0.25 x 0.00003125.
    Hour 3: the premiums cancel, 0.25 x -0.0000234375 = -0.000005859375, rounded to ten places.
    """
    funding = Funding(FundingRule())
    assert Decimal("3.128125") == hour(funding, 1, [100_100] * 20)
    assert Decimal("0.00003125") == funding.rate
    assert Decimal("-2.34140625") == hour(funding, 2, [99_900] * 20)
    assert Decimal("-0.0000234375") == funding.rate
    assert Decimal("-0.58594") == hour(funding, 3, [100_100, 99_900] * 9 + [100_000] * 2)
    assert Decimal("-0.0000058594") == funding.rate


def test_the_published_rate_lags() -> None:
    """While an hour runs, the rate shown is that of the hour before; the prediction moves."""
    funding = Funding(FundingRule())
    hour(funding, 1, [100_100] * 20)
    funding.sample(Decimal(100_200), INDEX)
    assert Decimal("0.00003125") == funding.rate
    assert Decimal("0.0000703125") == funding.predicted()
    assert (HOUR_NS, 2 * HOUR_NS) == (funding.time_ns, funding.next_time_ns(HOUR_NS))


def test_a_time_is_settled_once() -> None:
    """Settling the same hour again, or an earlier one, stops the venue."""
    funding = Funding(FundingRule())
    funding.settle(2 * HOUR_NS, INDEX, INDEX)
    for number in (1, 2):
        with pytest.raises(InvariantViolation, match="already settled"):
            funding.settle(number * HOUR_NS, INDEX, INDEX)


def test_an_hour_without_samples_has_no_premium() -> None:
    """Only the memory of the hour before is left."""
    funding = Funding(FundingRule(), rate=Decimal("0.0004"))
    assert Decimal("0.0001") == funding.settle(HOUR_NS, INDEX, INDEX).rate


def test_caps_and_fixed_rates() -> None:
    """A cap bounds both sides; a fixed rate is what it is."""
    capped = FundingRule(cap=Decimal("0.00001"))
    assert Decimal("0.00001") == capped.rate(Decimal(1), Decimal(0))
    assert Decimal("-0.00001") == capped.rate(Decimal(-1), Decimal(0))
    assert Decimal("0.02") == FundingRule(fixed_rate=Decimal("0.02")).rate(Decimal(1), Decimal(1))


def test_shorts_receive_what_longs_pay() -> None:
    """The payment of a position is the opposite of that of its mirror image."""
    funding = Funding(FundingRule(fixed_rate=Decimal("0.0001")))
    settled = funding.settle(HOUR_NS, Decimal(100_000), INDEX)
    assert (Decimal("0.3"), Decimal("-0.3")) == (
        payment(BIP, 3, settled),
        payment(BIP, -3, settled),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"sample_ns": 0},
        {"sample_ns": 7, "interval_ns": 10},
        {"sample_ns": HOUR_NS // 5_000},
        {"divisor": Decimal(0)},
        {"cap": Decimal(-1)},
        {"premium_weight": Decimal(2)},
    ],
)
def test_rules_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    """Each value has its bounds."""
    with pytest.raises(ConfigError, match="funding"):
        FundingRule(**options)  # type: ignore[arg-type]
