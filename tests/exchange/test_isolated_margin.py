"""Isolated positions: where their money comes from, where it goes, and the most they can lose."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from touchstone.exchange import PRODUCTS
from touchstone.exchange.accounts import Account, Position
from touchstone.exchange.requests import MarginType

BTC = PRODUCTS[0]
COIN = 10_000
NO_FEE = Decimal(0)


def isolated(balance: str = "100000", leverage: str = "10") -> Account:
    """Return an account whose BTC position is isolated."""
    account = Account("a", 1, Decimal(balance), Decimal(balance))
    account.positions[BTC.product_id] = Position(margin_type=MarginType.ISOLATED)
    account.leverage[BTC.product_id] = Decimal(leverage)
    return account


def test_opening_takes_the_initial_margin() -> None:
    """One coin at 100,000 with ten times: 10,000 move from the balance; the fee is cash, too."""
    account = isolated()
    assert Decimal(0) == account.settle(BTC, COIN, 1_000_000, Decimal(30))
    assert Decimal(89_970) == account.balance
    assert Decimal(10_000) == account.position(BTC.product_id).collateral


def test_closing_in_part_returns_its_share_with_the_profit() -> None:
    """Half closed 1,000 higher: 5,000 of collateral, 500 of profit, less the fee of closing."""
    account = isolated()
    account.settle(BTC, COIN, 1_000_000, NO_FEE)
    account.settle(BTC, -COIN // 2, 1_010_000, Decimal(15))
    assert Decimal(95485) == account.balance
    assert Decimal(5_000) == account.position(BTC.product_id).collateral


def test_a_loss_beyond_its_share_comes_from_what_is_left() -> None:
    """Half closed 14,000 lower loses 7,000: 5,000 were its own, 2,000 are the other half's."""
    account = isolated()
    account.settle(BTC, COIN, 1_000_000, NO_FEE)
    assert Decimal(0) == account.settle(BTC, -COIN // 2, 860_000, NO_FEE)
    assert (Decimal(90_000), Decimal(3_000)) == (
        account.balance,
        account.position(BTC.product_id).collateral,
    )


def test_it_loses_at_most_its_allocation() -> None:
    """Closed 14,000 lower, 10,000 are gone and 4,000 are somebody else's to pay."""
    account = isolated()
    account.settle(BTC, COIN, 1_000_000, NO_FEE)
    assert Decimal(4_000) == account.settle(BTC, -COIN, 860_000, NO_FEE)
    assert (Decimal(90_000), Decimal(0)) == (
        account.balance,
        account.position(BTC.product_id).collateral,
    )


def test_a_trade_through_zero_closes_and_allocates_anew() -> None:
    """The close returns all of it, the rest of the trade is allocated at its own price."""
    account = isolated()
    account.settle(BTC, COIN, 1_000_000, NO_FEE)
    account.settle(BTC, -3 * COIN, 1_010_000, Decimal(90))
    assert Decimal(20_200) == account.position(BTC.product_id).collateral
    assert Decimal(100_000 + 1_000 - 90 - 20_200) == account.balance


def test_the_allocation_is_bounded_by_what_is_there() -> None:
    """With 4,000 to spare, only 4,000 stand behind the position."""
    account = isolated()
    account.settle(BTC, COIN, 1_000_000, NO_FEE, allocation_max=Decimal(4_000))
    assert Decimal(4_000) == account.position(BTC.product_id).collateral


def test_what_a_turn_closes_stands_behind_what_it_opens() -> None:
    """170 are free, the long's 10,000 come free: all but the fee may go behind the short."""
    account = isolated("10170")
    account.settle(BTC, COIN, 1_000_000, NO_FEE)
    account.settle(BTC, -2 * COIN, 1_000_000, Decimal(60), allocation_max=Decimal(170))
    assert (Decimal(110), Decimal(10_000)) == (
        account.balance,
        account.position(BTC.product_id).collateral,
    )


def test_the_fee_is_not_allocated() -> None:
    """Of 4,000 that are free 30 pay the fee, so the balance does not end below zero."""
    account = isolated("4000")
    account.settle(BTC, COIN, 1_000_000, Decimal(30), allocation_max=Decimal(4_000))
    assert (Decimal(0), Decimal(3_970)) == (
        account.balance,
        account.position(BTC.product_id).collateral,
    )


def test_a_settlement_moves_the_vwap_and_not_the_entry() -> None:
    """Equity, entry price and the aggregated profit stay; the profit becomes cash."""
    position = Position()
    position.trade(COIN, Decimal("10.0"))
    assert Decimal(500) == position.settle(BTC, Decimal(100_500))
    assert Decimal(100_500) == position.entry_price(BTC)
    assert Decimal(100_000) == position.original_entry_price(BTC)
    assert Decimal(0) == position.unrealised(BTC, Decimal(100_500))
    assert Decimal(700) == position.aggregated(BTC, Decimal(100_700))
    position.trade(COIN, Decimal("10.25"))
    assert Decimal(101_250) == position.original_entry_price(BTC)
    assert Decimal(101_500) == position.entry_price(BTC)
    position.trade(-COIN, Decimal("10.25"))
    position.trade(-COIN, Decimal("10.07"))
    position.trade(COIN, Decimal("10.0"))
    assert (Decimal(0), Decimal(700)) == (
        position.aggregated(BTC, Decimal(100_000)),
        position.realised,
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.integers(-30_000, 30_000).filter(bool),
            st.integers(500_000, 1_500_000),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_no_money_comes_or_goes(trades: list[tuple[int, int, bool]]) -> None:
    """Book value is what the cash flows come to with the shortfalls, settled to marks or not."""
    account, cash = isolated(), Decimal(100_000)
    for lots, price_ticks, settle in trades:
        cash -= Decimal("0.07") + BTC.notional(price_ticks, lots)
        cash += account.settle(BTC, lots, price_ticks, Decimal("0.07"))
        held = account.position(BTC.product_id)
        if settle:
            mark = Decimal(price_ticks + 7) / 10
            held.collateral += held.settle(BTC, mark)
        assert cash == account.balance + held.collateral - held.cost
