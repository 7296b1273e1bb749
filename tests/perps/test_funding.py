"""Funding payments by hand, and the split of what the account proves, as properties."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from touchstone.perps.funding import (
    ATOM,
    HOUR_NS,
    Due,
    Source,
    funding_times,
    payment,
    positions_at,
    settle,
)

D = Decimal
RATE = D("0.0001")


def due(**changes: object) -> Due:
    """Return two coins long at 50,000 and a rate of a basis point: 10 dollars."""
    base = Due(symbol="BTC", time_ns=HOUR_NS, quantity=D(2), rate=RATE, marks=(D(50_000),))
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quantity", "mark", "rate", "paid"),
    [
        ("2", "50000", "0.0001", "10"),
        ("-2", "50000", "0.0001", "-10"),
        ("2", "50000", "-0.0001", "-10"),
        ("-0.01", "100000.1234", "0.0000123457", "-0.01234572"),
        ("0.0001", "100000", "0.00000005", "0.0000005"),
        # 1.5 atoms and 2.5 atoms: half to even, as the venue rounds.
        ("1", "1", "0.000000015", "0.00000002"),
        ("1", "1", "0.000000025", "0.00000002"),
    ],
)
def test_payments_by_hand(quantity: str, mark: str, rate: str, paid: str) -> None:
    """Size x mark x rate: longs pay when the rate is positive, shorts when it is negative."""
    assert D(paid) == payment(D(quantity), D(mark), D(rate))


def test_funding_times_are_the_venues() -> None:
    """All times after the last one booked and before the next one told; hourly and each 8 h."""
    at_nine = 9 * HOUR_NS
    assert [7 * HOUR_NS, 8 * HOUR_NS] == funding_times(6 * HOUR_NS, at_nine, HOUR_NS)
    assert [] == funding_times(8 * HOUR_NS, at_nine, HOUR_NS)
    assert [7 * HOUR_NS, 8 * HOUR_NS] == funding_times(6 * HOUR_NS + 1, at_nine, HOUR_NS)
    eight = 8 * HOUR_NS
    assert [eight, 2 * eight] == funding_times(1, 3 * eight, eight)
    with pytest.raises(InvalidInput, match="interval_ns: 0"):
        funding_times(0, 1, 0)


def test_the_position_is_that_of_the_moment() -> None:
    """What traded after the funding time does not count; what traded at it may, or not."""
    fills = [(100, D(1)), (200, D(2)), (201, D(-4)), (300, D(1))]
    assert (D(3), D(1)) == positions_at(200, D(0), fills)
    assert (D(1),) == positions_at(199, D(0), fills)
    assert (D(0), D(-1)) == positions_at(300, D(0), fills)
    assert (D(0), D(3), D(2)) == positions_at(5, D(0), [(5, D(1)), (5, D(-3)), (4, D(2))])
    assert (D(2), D(3)) == positions_at(5, D(2), [(5, D(1)), (5, D(-1))])


def test_the_account_says_what_was_held_at_the_very_moment() -> None:
    """Of two symbols with a trade at the funding time it charged one before and one after it."""
    both = [
        due(otherwise=(D(5), D(7))),
        due(symbol="ETH", quantity=D(-1), marks=(D(4_000),), otherwise=(D(30),)),
    ]
    settled = settle(both, D("35.1") - D("0.4"))
    assert settled.proven
    held = {one.symbol: (one.quantity, one.source) for one in settled.bookings}
    assert {"BTC": (D(7), Source.ACCOUNT), "ETH": (D(-1), Source.ACCOUNT)} == held
    assert settle(both, D(10) - D("0.4")).bookings[0].quantity == D(2)
    assert not settle([due(otherwise=(D(0),))], D(3)).proven
    [closed] = settle([due(quantity=D(0), otherwise=(D(2),))], D(10)).bookings
    assert (closed.quantity, closed.amount) == (D(2), D(10))
    assert settle([due(quantity=D(0), otherwise=(D(2),))], D(0)).bookings == ()
    flat = settle([due(otherwise=(D(0),))], D(0))
    assert (flat.proven, flat.bookings) == (True, ())
    unproven = settle(both, D(3_000))
    assert not unproven.proven
    assert [D(2), D(-1)] == [one.quantity for one in unproven.bookings]


def test_the_account_is_exact() -> None:
    """The mark moved by a tenth since; the account says what was paid, and that is booked."""
    moved = due(marks=(D(50_000), D(55_000)))
    settled = settle([moved], D("10.31"))
    assert () == settled.unknown
    (booking,) = settled.bookings
    assert (D("10.31"), Source.ACCOUNT, RATE) == (booking.amount, booking.source, booking.rate)


@pytest.mark.parametrize("paid", [None, D(1_000), D("-10"), D("8.9"), D("11.6")])
def test_an_account_that_says_something_else_leaves_the_formula(paid: Decimal | None) -> None:
    """A deposit, or a venue that pays out later, is no funding: size x mark x rate is booked."""
    (booking,) = settle([due(marks=(D(55_000), D(50_000)))], paid).bookings
    if paid is not None and D(10) <= paid <= D("11.5"):
        assert Source.ACCOUNT is booking.source
    else:
        assert (D(10), Source.FORMULA) == (booking.amount, booking.source)


def test_two_symbols_share_what_was_paid() -> None:
    """Half a dollar more than the formulas goes to both by worth, and all of it is booked."""
    eth = due(symbol="ETH", quantity=D(10), marks=(D(3_000), D(3_300)))
    settled = settle([due(marks=(D(50_000), D(52_000))), eth], D("13.8"))
    amounts = {one.symbol: one.amount for one in settled.bookings}
    assert D("13.8") == sum(amounts.values())
    # 104,000 : 33,000 of 13.8 - 10.4 - 3.3 = 0.1.
    assert D("10.47591241") == amounts["BTC"]


def test_missed_hours_come_from_the_account() -> None:
    """Two hours that nobody saw and one that was published: the account has the rest of the sum."""
    hours = [due(time_ns=n * HOUR_NS, rate=None) for n in (1, 2)]
    settled = settle([*hours, due(time_ns=3 * HOUR_NS)], D(26))
    assert () == settled.unknown
    assert [D(8), D(8), D(10)] == [one.amount for one in settled.bookings]
    assert [None, None, RATE] == [one.rate for one in settled.bookings]


@pytest.mark.parametrize("paid", [None, D(5_000)])
def test_missed_hours_that_nobody_can_know_are_told(paid: Decimal | None) -> None:
    """Without the account, or with one that cannot be right, the published hour alone is booked."""
    missed = due(rate=None)
    settled = settle([missed, due(time_ns=2 * HOUR_NS)], paid)
    assert (missed,) == settled.unknown
    assert [D(10)] == [one.amount for one in settled.bookings]


def test_no_mark_is_no_amount() -> None:
    """A position that was never valued cannot be booked by formula; it is told."""
    blind = due(marks=())
    assert (blind,) == settle([blind], D(10)).unknown
    assert () == settle([due(quantity=D(0))], D(0)).bookings


duties = st.lists(
    st.builds(
        Due,
        symbol=st.sampled_from(["BTC", "ETH"]),
        time_ns=st.integers(1, 5).map(lambda n: n * HOUR_NS),
        quantity=st.integers(-50, 50).map(lambda n: D(n) / 100),
        rate=st.none() | st.integers(-50, 50).map(lambda n: D(n) / 1_000_000),
        marks=st.lists(st.integers(1_000, 1_100).map(D), min_size=1, max_size=2).map(tuple),
    ),
    max_size=8,
    unique_by=lambda one: (one.symbol, one.time_ns),
)


@given(duties, st.none() | st.integers(-100_000, 100_000).map(lambda n: n * ATOM * 1_000))
def test_each_time_is_booked_once_or_told(dues: list[Due], paid: Decimal | None) -> None:
    """Every position that was held is booked exactly once or named as unknown; sums are exact."""
    settled = settle(dues, paid)
    held = sorted((one.symbol, one.time_ns) for one in dues if one.quantity)
    told = [(one.symbol, one.time_ns) for one in settled.bookings]
    told += [(one.symbol, one.time_ns) for one in settled.unknown]
    assert held == sorted(told)
    if settled.proven and held:
        assert paid == sum(one.amount for one in settled.bookings)
        assert () == settled.unknown
    if any(one.source is Source.ACCOUNT for one in settled.bookings):
        assert settled.proven
    for one in settled.bookings:
        if one.source is Source.FORMULA:
            assert one.rate is not None
            assert one.amount == payment(one.quantity, one.mark, one.rate)


@given(
    st.integers(-100, 100).map(lambda n: D(n) / 10),
    st.integers(1, 10**6).map(D),
    st.integers(-1_000, 1_000).map(lambda n: D(n) / 10**7),
)
def test_the_two_sides_of_a_payment_cancel(quantity: Decimal, mark: Decimal, rate: Decimal) -> None:
    """What the long pays the short receives, to the atom."""
    assert payment(quantity, mark, rate) == -payment(-quantity, mark, rate)
