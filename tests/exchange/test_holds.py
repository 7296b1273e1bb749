"""The margin of open orders, added up as they come and go, is that of walking over all of them."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from lob.types import Side
from touchstone.exchange import PRODUCTS
from touchstone.exchange.holds import Working, WorkingOrders
from touchstone.exchange.money import rounded

BTC, BIP = PRODUCTS[0], PRODUCTS[2]
FEE = Decimal("0.0003")


def walked(orders: list[Working], lots: int, mark: Decimal, leverage: Decimal) -> Decimal:
    """Return the requirement in BTC-PERP-INTX, order by order."""
    buys = sells = adverse = Decimal(0)
    for order in orders:
        price = BTC.instrument.price(order.price_ticks)
        adverse += BTC.value(max(Decimal(0), order.side.sign * (price - mark)), order.lots)
        if order.side is Side.BUY:
            buys += BTC.value(price, order.lots)
        else:
            sells += BTC.value(max(price, mark), order.lots)
    held = BTC.value(mark, lots)
    worst = max(held + buys, sells - held)
    return rounded(worst / leverage) + rounded(adverse + (buys + sells) * FEE)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from(Side),
            st.integers(900_000, 1_100_000),
            st.integers(0, 5_000),
            st.integers(950_000_000, 1_050_000_000),
        ),
        max_size=25,
    ),
    lots=st.integers(-20_000, 20_000),
    leverage=st.integers(1, 10),
)
def test_sums_are_what_walking_gives(
    steps: list[tuple[int, Side, int, int, int]], lots: int, leverage: int
) -> None:
    """New orders, changed ones, ended ones, and a mark that moves between: the same requirement."""
    sums, orders = WorkingOrders(BTC), dict[int, Working]()
    for number, side, price_ticks, order_lots, mark_steps in steps:
        order = Working(side, price_ticks, order_lots)
        sums.put(number, order)
        orders.pop(number, None)
        if order_lots:
            orders[number] = order
        mark = Decimal(mark_steps) / 10_000
        got = sums.requirement(
            position_lots=lots, mark=mark, leverage=Decimal(leverage), fee_rate=FEE
        )
        assert walked(list(orders.values()), lots, mark, Decimal(leverage)) == got
        assert len(orders) == len(sums)


def test_requirements_by_hand() -> None:
    """Long one contract (0.01 BTC) at 100,000 with ten times, and orders about it.

    Held: 100. A buy of 2 at 99,995 adds 199.99 of margin and 0.59997 of fee; a sell of 2 would
    leave a short of one, which needs no more than the long with the buys.
    """
    orders = WorkingOrders(BIP)
    terms = {"position_lots": 1, "mark": Decimal(100_000), "leverage": Decimal(10), "fee_rate": FEE}
    assert Decimal(100) == orders.requirement(**terms)  # type: ignore[arg-type]
    orders.put(1, Working(Side.BUY, 19_999, 2))
    assert Decimal("300.58997") == orders.requirement(**terms)  # type: ignore[arg-type]
    sell = Working(Side.SELL, 20_000, 2)
    assert Decimal("301.18997") == orders.requirement(**terms, extra=sell)  # type: ignore[arg-type]
    isolated = orders.requirement(**terms, backing=Decimal(100))  # type: ignore[arg-type]
    assert Decimal("200.58997") == isolated
    # In place of order 1, a buy 5 above the mark: 200.01 of margin, 0.60003 of fee, 0.1 of loss.
    above = Working(Side.BUY, 20_001, 2)
    replaced = orders.requirement(**terms, extra=above, instead_of=1)  # type: ignore[arg-type]
    assert Decimal("300.71003") == replaced


def test_what_turns_an_isolated_position_needs_what_its_equity_does_not_cover() -> None:
    """Long one contract at 100,000, sells of three: a short of two needs 200, and 0.9 of fees.

    With 60 left of the long's 100, 140 have to come from the balance; with 300, nothing; with less
    than nothing left, all of it. A sell of one only closes, and a buy beside it adds 100.
    """
    terms = {"position_lots": 1, "mark": Decimal(100_000), "leverage": Decimal(10), "fee_rate": FEE}
    sell = Working(Side.SELL, 20_000, 3)
    for backing, needed in (("60", "140.9"), ("300", "0.9"), ("-5", "200.9")):
        got = WorkingOrders(BIP).requirement(**terms, backing=Decimal(backing), extra=sell)  # type: ignore[arg-type]
        assert Decimal(needed) == got
    orders = WorkingOrders(BIP)
    orders.put(1, Working(Side.SELL, 20_000, 1))
    assert Decimal("0.3") == orders.requirement(**terms, backing=Decimal(5))  # type: ignore[arg-type]
    orders.put(2, Working(Side.BUY, 20_000, 1))
    assert Decimal("100.6") == orders.requirement(**terms, backing=Decimal(5))  # type: ignore[arg-type]
