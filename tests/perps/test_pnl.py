"""Profit of the account and its distance from the venue's figures, by hand and as properties."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lob.types import Side
from touchstone.perps.pnl import (
    Pnl,
    StatedPosition,
    Statement,
    account_pnl,
    agrees,
    book_value,
    measure,
)
from touchstone.perps.positions import Position, apply_fill

D = Decimal
LONG = Position(
    symbol="BTC",
    quantity=D(2),
    cost=D(100_000),
    realized_pnl=D(500),
    fees=D(30),
    funding_paid=D(7),
)
SHORT = Position(symbol="ETH", quantity=D(-10), cost=D(-30_000), fees=D(9), funding_paid=D(-2))


def stated(equity: str, **marks: str) -> Statement:
    """Return the venue's statement of both positions at these marks."""
    held = {"BTC": D(2), "ETH": D(-10)}
    return Statement(
        equity=D(equity),
        positions={
            symbol: StatedPosition(quantity=held[symbol], mark=D(mark))
            for symbol, mark in marks.items()
        },
    )


def test_net_by_hand() -> None:
    """500 + (2,000 + 1,000) - (7 - 2) - 39 = 3,456."""
    pnl = account_pnl([LONG, SHORT], {"BTC": D(51_000), "ETH": D(2_900)})
    expected = Pnl(realized=D(500), unrealized=D(3_000), funding_paid=D(5), fees=D(39))
    assert expected == pnl
    assert D(3_456) == pnl.net
    assert D(3_544) == pnl.gross


def test_a_missing_mark_leaves_no_net() -> None:
    """What is held and has no mark is not valued at anything; what is flat needs none."""
    pnl = account_pnl([LONG, SHORT], {"BTC": D(51_000)})
    assert (None, None, None) == (pnl.unrealized, pnl.net, pnl.gross)
    assert D(0) == account_pnl([Position(symbol="BTC")], {}).net


def test_the_venues_figures_agree_at_any_marks() -> None:
    """Deposits of 10,000: equity and marks move together, the book value stands still."""
    ours = book_value([LONG, SHORT])
    assert D(500 - 100_000 + 30_000 - 7 + 2 - 39) == ours
    for btc, eth in (("51000", "2900"), ("40000.1234", "3500")):
        net = account_pnl([LONG, SHORT], {"BTC": D(btc), "ETH": D(eth)}).net
        statement = stated(str(D(10_000) + (net or 0)), BTC=btc, ETH=eth)
        assert D(10_000) == statement.book_value - ours
        drift = measure([LONG, SHORT], statement, deposits=D(10_000))
        assert (D(0), D(0), net) == (drift.difference, drift.share, drift.ours)


def test_drift_by_hand() -> None:
    """The venue has 3.544 less than we say: a tenth of a percent of all profit figures."""
    statement = stated(str(D(13_456) - D("3.544")), BTC="51000", ETH="2900")
    drift = measure([LONG, SHORT], statement, deposits=D(10_000))
    assert (D("3.544"), D("0.001")) == (drift.difference, drift.share)
    assert D("0.000263") == drift.share_of_equity.quantize(D("0.000001"))


def test_small_figures_are_measured_by_the_equity() -> None:
    """A cent beside no profit at all is a percent of the dollar that 10,000 count as."""
    drift = measure([], Statement(equity=D("10000.01")), deposits=D(10_000))
    assert D("-0.01") == drift.difference
    assert D("0.01") == drift.share.quantize(D("0.0001"))
    assert D(0) == measure([], Statement(equity=D(0)), deposits=D(0)).share


def test_positions_that_are_not_ours_do_not_count() -> None:
    """Their worth is taken out of the equity on both sides."""
    other = Statement(equity=D(10_700), other_value=D(700))
    assert D(10_000) == other.book_value
    assert D(0) == measure([], other, deposits=D(10_000)).difference


def test_agreement_is_of_quantities() -> None:
    """Flat symbols may be absent on either side; any other difference counts."""
    statement = stated("0", BTC="1", ETH="1")
    assert agrees([LONG, SHORT, Position(symbol="SOL")], statement)
    assert not agrees([LONG], statement)
    assert not agrees([LONG, SHORT], stated("0", BTC="1"))


fills = st.lists(
    st.tuples(
        st.sampled_from(Side),
        st.integers(1, 500).map(lambda n: D(n) / 100),
        st.integers(90_000, 110_000).map(lambda n: D(n) / 3),
        st.integers(-5, 50).map(lambda n: D(n) / 100),
        st.integers(-5, 5).map(lambda n: D(n) / 7),
    ),
    max_size=40,
)


@given(fills, st.integers(1, 10**6).map(lambda n: D(n) / 7))
def test_book_value_is_the_cash_that_flowed(
    trades: list[tuple[Side, Decimal, Decimal, Decimal, Decimal]], mark: Decimal
) -> None:
    """However a position was built, reduced and turned: the venue's cash and ours are the same."""
    position, cash = Position(symbol="BTC"), D(0)
    for side, quantity, price, fee, funding in trades:
        position = apply_fill(position, side, quantity, price, fee)
        position = replace(position, funding_paid=position.funding_paid + funding)
        cash -= side.sign * quantity * price + fee + funding
    assert abs(book_value([position]) - cash) < D("1E-15")
    held = {"BTC": StatedPosition(quantity=position.quantity, mark=mark)}
    equity = D(1_000) + cash + position.quantity * mark
    drift = measure([position], Statement(equity=equity, positions=held), deposits=D(1_000))
    assert abs(drift.difference) < D("1E-15")
