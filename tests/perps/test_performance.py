"""Daily figures by hand: round trips, returns, drawdown, Sharpe."""

from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lob.types import Side
from touchstone.perps.performance import DAY_NS, DayBook, RoundTrips, sharpe, venue_day
from touchstone.perps.pnl import Pnl

D = Decimal
BUY, SELL = Side.BUY, Side.SELL


def trips(*fills: tuple[Side, str, str, str]) -> list[Decimal | None]:
    """Return what each fill's trip earned, None for those that ended none."""
    book = RoundTrips("BTC")
    return [book.fill(side, D(size), D(price), D(fee)) for side, size, price, fee in fills]


def test_a_trip_goes_from_flat_to_flat() -> None:
    """In at 100 and 110, out at 120 in two parts: 20 + 10 less 4 of fees, when the last is out."""
    assert [None, None, None, D(26)] == trips(
        (BUY, "1", "100", "1"),
        (BUY, "1", "110", "1"),
        (SELL, "1", "120", "1"),
        (SELL, "1", "120", "1"),
    )


def test_a_turn_ends_one_trip_and_begins_the_next() -> None:
    """Short 2 at 100, then 3 bought at 90 for 3: 20 - 1 - 2; the last lot's fee is the next's."""
    assert [None, D(17), D(-7)] == trips(
        (SELL, "2", "100", "1"), (BUY, "3", "90", "3"), (SELL, "1", "85", "1")
    )


def test_funding_belongs_to_its_trip() -> None:
    """A trip that earned 5 and paid 6 of funding has lost; the next one starts from nothing."""
    book = RoundTrips("BTC")
    book.fill(BUY, D(1), D(100), D(0))
    book.fund(D(6))
    assert D(-1) == book.fill(SELL, D(1), D(105), D(0))
    book.fill(BUY, D(1), D(100), D(0))
    assert D(5) == book.fill(SELL, D(1), D(105), D(0))


def test_a_day_by_hand() -> None:
    """From 10,000 over 10,200 and 9,996 to 10,100: 1 % earned, 2 % drawn down, half of it won."""
    start = Pnl(realized=D(50), unrealized=D(0), funding_paid=D(1), fees=D(2))
    book = DayBook(day=date(2026, 11, 21), equity_open=D(10_000), opened_with=start, peak=D(9_000))
    end = Pnl(realized=D(170), unrealized=D(5), funding_paid=D(4), fees=D(9))
    for equity in (10_200, 9_996, 10_100):
        book.observe(D(equity), end)
    for earned in (None, D(10), None, D(-3)):
        book.count_fill(earned)
    day = book.closed([D("0.03")])
    assert (D("0.01"), D("0.02"), 4, 2, 1, D("0.5")) == (
        day.daily_return,
        day.drawdown,
        day.trades,
        day.closed_trades,
        day.wins,
        day.win_rate,
    )
    assert (D(120), D(5), D(7), D(3)) == (
        day.realized_pnl,
        day.unrealized_pnl,
        day.fees,
        day.funding_paid,
    )
    # Returns of 3 % and 1 %: mean 2 %, deviation 1.4142 %, times the root of 365.
    assert D("27.01851217") == day.sharpe
    following = book.next(date(2026, 11, 22))
    assert (D(10_100), end, D(10_200), 0) == (
        following.equity_open,
        following.opened_with,
        following.peak,
        following.trades,
    )


def test_a_day_without_anything_is_a_day() -> None:
    """No trades, no win rate; a return of nothing, and no Sharpe ratio from one day."""
    day = DayBook(day=date(2026, 1, 1), equity_open=D(100), opened_with=Pnl(), peak=D(100)).closed(
        []
    )
    assert (0, None, D(0), None, D(0)) == (
        day.trades,
        day.win_rate,
        day.daily_return,
        day.sharpe,
        day.drawdown,
    )


def test_no_return_on_no_equity() -> None:
    """An account that began the day with nothing has no return, and the day adds none."""
    day = DayBook(day=date(2026, 1, 1), equity_open=D(0), opened_with=Pnl(), peak=D(0)).closed(
        [D(1)]
    )
    assert (None, None) == (day.daily_return, day.sharpe)


def test_sharpe_by_hand() -> None:
    """1, 2 and 3 percent: mean 2 %, sample deviation 1 %, so twice the root of 365."""
    returns = [D("0.01"), D("0.02"), D("0.03")]
    assert (2 * D(365).sqrt()).quantize(D("0.00000001")) == sharpe(returns)
    assert sharpe(returns[:1]) is None
    assert sharpe([D("0.01")] * 5) is None


def test_the_venues_day_is_utc() -> None:
    """A day ends at midnight UTC of the venue's clock, to the nanosecond."""
    start = 20_000 * DAY_NS
    assert date(2024, 10, 4) == venue_day(start)
    assert date(2024, 10, 3) == venue_day(start - 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Side),
            st.integers(1, 20).map(D),
            st.integers(90, 110).map(D),
            st.integers(0, 3).map(D),
        ),
        max_size=30,
    )
)
def test_trips_add_up(fills: list[tuple[Side, Decimal, Decimal, Decimal]]) -> None:
    """Closing what is left, all trips together have earned exactly the cash that flowed."""
    book, cash, held, earned = RoundTrips("BTC"), D(0), D(0), D(0)
    for side, quantity, price, fee in fills:
        cash -= side.sign * quantity * price + fee
        held += side.sign * quantity
        earned += book.fill(side, quantity, price, fee) or 0
    if held:
        last = SELL if held > 0 else BUY
        cash -= last.sign * abs(held) * 100
        earned += book.fill(last, abs(held), D(100), D(0)) or 0
    assert abs(earned - cash) < D("1E-9")
