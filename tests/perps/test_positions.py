"""Positions: exact to the last digit whatever the fills."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.types import Side
from touchstone.perps.positions import Position, apply_fill, combine, difference

FILLS = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, 10_000).map(lambda n: Decimal(n) / 10_000),
        st.integers(1, 10**9).map(lambda n: Decimal(n) / 100),
        st.integers(-100, 10**4).map(lambda n: Decimal(n) / 1_000),
    ),
    max_size=40,
)


@given(FILLS, st.integers(1, 10**9).map(lambda n: Decimal(n) / 100))
def test_realised_and_unrealised_equal_the_cash_account(
    fills: list[tuple[Side, Decimal, Decimal, Decimal]], mark: Decimal
) -> None:
    """Realised + unrealised - fees is what the cash account and the coins at mark are worth."""
    position, cash = Position(symbol="BTC-PERP"), Decimal(0)
    for side, quantity, price, fee in fills:
        position = apply_fill(position, side, quantity, price, fee)
        cash -= side.sign * quantity * price + fee
    worth = cash + position.quantity * mark
    assert position.net_pnl(mark) == worth


@given(FILLS)
def test_deltas_add_up_to_the_position(
    fills: list[tuple[Side, Decimal, Decimal, Decimal]],
) -> None:
    """The deltas that the store keeps sum to the position exactly."""
    position = total = Position(symbol="BTC-PERP")
    for side, quantity, price, fee in fills:
        after = apply_fill(position, side, quantity, price, fee)
        total = combine(total, difference(after, position))
        position = after
    assert total == position


@given(FILLS)
def test_flat_has_no_cost_and_the_average_lies_between_the_prices(
    fills: list[tuple[Side, Decimal, Decimal, Decimal]],
) -> None:
    """A flat position has neither cost nor entry; an open one an entry among its fills' prices."""
    position = Position(symbol="BTC-PERP")
    for side, quantity, price, fee in fills:
        position = apply_fill(position, side, quantity, price, fee)
    entry = position.average_entry_price
    if position.quantity == 0:
        assert (position.cost, entry) == (Decimal(0), None)
        return
    prices = [price for _, _, price, _ in fills]
    slack = Decimal("1E-6")
    assert entry is not None
    assert min(prices) - slack <= entry <= max(prices) + slack


def test_a_worked_example() -> None:
    """Buy 2 at 100, buy 1 at 130, sell 2 at 120, sell 2 at 100: long, reduced, flipped."""
    position = Position(symbol="BTC-PERP")
    for side, quantity, price in (
        (Side.BUY, 2, 100),
        (Side.BUY, 1, 130),
        (Side.SELL, 2, 120),
    ):
        position = apply_fill(position, side, Decimal(quantity), Decimal(price))
    assert position.average_entry_price == Decimal(110)
    assert position.realized_pnl == Decimal(20)
    position = apply_fill(position, Side.SELL, Decimal(2), Decimal(100))
    assert (position.quantity, position.average_entry_price) == (Decimal(-1), Decimal(100))
    assert position.realized_pnl == Decimal(10)


def test_a_fill_of_nothing_is_refused() -> None:
    """A quantity of 0 is no fill."""
    with pytest.raises(InvalidInput, match="quantity: 0"):
        apply_fill(Position(symbol="A"), Side.BUY, Decimal(0), Decimal(1))
