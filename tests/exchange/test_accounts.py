"""Positions and cash: weighted-average entry, realised profit, nothing lost to rounding."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from touchstone.exchange import PRODUCTS
from touchstone.exchange.accounts import Account, Position

BTC = PRODUCTS[0]
ONE_COIN_LOTS = 10_000


def test_entry_is_the_weighted_average() -> None:
    """Two buys at different prices average by size."""
    position = Position()
    position.trade(ONE_COIN_LOTS, Decimal("10.0"))
    position.trade(3 * ONE_COIN_LOTS, Decimal("14.0"))
    assert Decimal(130_000) == position.entry_price(BTC)


def test_reducing_realises_against_the_average() -> None:
    """Selling part of a long realises the difference to the average and keeps the entry."""
    position = Position()
    position.trade(ONE_COIN_LOTS, Decimal("10.0"))
    realised = position.trade(-ONE_COIN_LOTS // 2, Decimal("11.0"))
    assert Decimal(5_000) == realised
    assert Decimal(100_000) == position.entry_price(BTC)


def test_a_trade_through_zero_closes_and_opens() -> None:
    """Selling more than is held realises the whole long and opens a short at the new price."""
    position = Position()
    position.trade(ONE_COIN_LOTS, Decimal("10.0"))
    realised = position.trade(-3 * ONE_COIN_LOTS, Decimal("12.0"))
    assert Decimal(20_000) == realised
    assert -2 * ONE_COIN_LOTS == position.lots
    assert Decimal(120_000) == position.entry_price(BTC)


def test_a_short_profits_from_a_fall() -> None:
    """Buying back lower than sold realises a profit, and unrealised shows it before."""
    position = Position()
    position.trade(-ONE_COIN_LOTS, Decimal("10.0"))
    assert Decimal(1_000) == position.unrealised(BTC, Decimal(99_000))
    assert Decimal(1_000) == position.trade(ONE_COIN_LOTS, Decimal("9.9"))
    assert position.entry_price(BTC) is None


@given(
    st.lists(
        st.tuples(
            st.integers(-10_000, 10_000).filter(bool),
            st.integers(1, 10**7),
        ),
        max_size=40,
    ),
    st.integers(1, 10**7),
)
def test_equity_equals_cash_accounting(trades: list[tuple[int, int]], mark_ticks: int) -> None:
    """Realised plus unrealised profit is exactly what the cash flows at the mark come to."""
    account = Account("a", 1, Decimal(0), Decimal(0))
    cash, lots = Decimal(0), 0
    for signed_lots, price_ticks in trades:
        account.settle(BTC, signed_lots, price_ticks, Decimal("0.01"))
        cash -= BTC.notional(price_ticks, signed_lots) + Decimal("0.01")
        lots += signed_lots
    mark = BTC.instrument.price(mark_ticks)
    marks = {BTC.product_id: mark}
    equity = account.equity({BTC.product_id: BTC}, marks)
    assert cash + BTC.value(mark, lots) == equity
    position = account.position(BTC.product_id)
    assert lots == position.lots
    assert (lots == 0) == (position.cost == 0)
