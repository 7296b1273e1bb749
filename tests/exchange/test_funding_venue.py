"""Funding in a running venue: amounts by hand, once for everybody, however time is cut."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvariantViolation
from tests.exchange.perp_venue import BIP, BTC, HOUR_NS, SECOND_NS, PerpVenue
from touchstone.exchange.commands import Resume, apply
from touchstone.exchange.funding import FundingRule
from touchstone.exchange.requests import MarginType
from touchstone.exchange.state import dump, load, state_hash

RICH = {"alice": "1000000", "bob": "1000000", "carol": "10000000", "dave": "1000000"}


def at_mark(venue: PerpVenue, price: int) -> None:
    """Quote around a price and trade at it, so that the mark is there from the next second on."""
    venue.quote("carol", str(price - 10), str(price + 10))
    venue.trade("dave", "alice", "0.001", str(price))
    venue.trade("alice", "dave", "0.001", str(price))


def test_three_hours_of_funding_by_hand() -> None:
    """The rates of `test_three_hours_by_hand`, paid by a long of one BTC and received by a short.

    The payment is position x mark x F: 100100 x 0.00003125, 99900 x -0.0000234375,
    100000 x -0.0000058594.
    """
    venue = PerpVenue(RICH)
    at_mark(venue, 100_100)
    venue.trade("alice", "bob", "1", "100100")
    venue.wait(3_600)
    at_mark(venue, 99_900)
    venue.wait(3_600)
    at_mark(venue, 100_100)
    venue.wait(1_800)
    at_mark(venue, 99_900)
    venue.wait(1_799)
    at_mark(venue, 100_000)
    venue.wait(1)
    paid = [payment.amount for payment in venue.clearing.account("alice").payments]
    # Of the third hour's samples, ten are at +100, nine at -100 and the last one at 0.
    rate = Decimal("0.75") * Decimal(100) / 100_000 / 24 / 20 - Decimal("0.0000058593750")
    assert [Decimal("3.128125"), Decimal("-2.34140625")] == paid[:2]
    assert Decimal(100_000) * rate.quantize(Decimal("1E-10")) == paid[2]
    received = [payment.amount for payment in venue.clearing.account("bob").payments]
    assert paid == [-amount for amount in received]
    assert -sum(paid) == venue.position("alice").funding
    hours = [payment.time_ns for payment in venue.clearing.account("alice").payments]
    assert [HOUR_NS, 2 * HOUR_NS, 3 * HOUR_NS] == hours


def test_only_who_holds_at_the_hour_pays() -> None:
    """A position closed a second before pays nothing, one opened a second before pays in full."""
    venue = PerpVenue(RICH, funding=FundingRule(fixed_rate=Decimal("0.0001")))
    venue.trade("alice", "bob", "1", "100000")
    venue.wait(3_599)
    venue.trade("dave", "alice", "1", "100000")
    venue.wait(1)
    assert not venue.clearing.account("alice").payments
    (paid,) = venue.clearing.account("dave").payments
    assert (Decimal(10), Decimal("0.0001")) == (paid.amount, paid.rate)


def test_funding_of_an_isolated_position_is_its_own_cost() -> None:
    """It comes out of the collateral; the balance stays as it was."""
    venue = PerpVenue(RICH, funding=FundingRule(fixed_rate=Decimal("0.0001")))
    venue.trade("alice", "bob", "100", "100000", BIP, margin_type=MarginType.ISOLATED)
    balance = venue.clearing.account("alice").balance
    venue.wait(3_600)
    assert balance == venue.clearing.account("alice").balance
    assert Decimal(9990) == venue.position("alice", BIP).collateral


def test_what_rounding_leaves_is_the_funds() -> None:
    """Three thirds of an odd payment do not add up to its whole: the fund has the difference."""
    rate = Decimal("0.0000000001")
    venue = PerpVenue(RICH, funding=FundingRule(fixed_rate=rate), settlement_ns=0)
    for name in ("alice", "bob", "dave"):
        venue.trade(name, "carol", "0.0007", "100000.0")
    before = venue.clearing.fund.balance
    venue.wait(3_600)
    # Each long owes 0.000000007 and pays 0.00000001; the short receives 0.00000002.
    assert Decimal("0.00000001") == venue.clearing.fund.balance - before


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 1_800_000), max_size=6))
def test_once_per_account_product_and_time_however_time_is_cut(cuts_ms: list[int]) -> None:
    """Three intervals at once, in slices, or cut on their ends: the same payments every time."""
    end_ns, interval_ns = 1_801 * SECOND_NS, 600 * SECOND_NS
    rule = FundingRule(
        interval_ns=interval_ns, sample_ns=60 * SECOND_NS, fixed_rate=Decimal("0.0001")
    )
    venue = PerpVenue(RICH, funding=rule)
    venue.trade("alice", "bob", "1", "100000")
    venue.trade("alice", "bob", "5", "100000", BIP)
    for until_ns in sorted({*(cut * 1_000_000 for cut in cuts_ms), end_ns}):
        while venue.exchange.now_ns < until_ns:
            venue.exchange.advance(until_ns, limit=997)
    expected = [(name, number * interval_ns) for number in (1, 2, 3) for name in (BTC, BIP)]
    for account in ("alice", "bob"):
        payments = venue.clearing.account(account).payments
        assert expected == [(one.product_id, one.time_ns) for one in payments]
    venue.exchange.check()


def test_hours_without_the_venue_are_booked_once_each() -> None:
    """Five hours asleep, from between two samples: each full hour is there once, and no other."""
    venue = PerpVenue(RICH, funding=FundingRule(fixed_rate=Decimal("0.0001")))
    venue.trade("alice", "bob", "1", "100000")
    venue.wait(1_000)
    apply(venue.exchange, Resume(until_ns=5 * HOUR_NS + 77 * SECOND_NS))
    venue.wait(3_600)
    payments = venue.clearing.account("alice").payments
    assert [hour * HOUR_NS for hour in range(1, 7)] == [one.time_ns for one in payments]
    assert [Decimal(10)] * 6 == [one.amount for one in payments]


def test_a_restart_between_and_at_the_hours_books_nothing_twice() -> None:
    """Kept and restored before, at and after full hours: each hour is there once."""
    venue = PerpVenue(RICH, funding=FundingRule(fixed_rate=Decimal("0.0001")))
    venue.trade("alice", "bob", "1", "100000")
    for seconds in (3_599, 3_600, 3_601, 7_200):
        venue.exchange.advance(seconds * SECOND_NS, limit=100_000)
        before = state_hash(venue.exchange)
        venue.exchange = load(dump(venue.exchange))
        assert before == state_hash(venue.exchange)
    payments = venue.exchange.clearing.account("bob").payments
    assert [HOUR_NS, 2 * HOUR_NS] == [one.time_ns for one in payments]
    venue.exchange.check()


def test_money_from_nowhere_stops_the_venue() -> None:
    """A cent too much in any account is found within a minute."""
    venue = PerpVenue(RICH)
    venue.clearing.account("alice").balance += Decimal("0.01")
    with pytest.raises(InvariantViolation, match="money: "):
        venue.exchange.advance(61 * SECOND_NS)
