"""The cost of a market order by its worth: exact, in whole lots, against the mid."""

from decimal import Decimal

import pytest

from lob import OrderBook
from lob.cost import sweep, sweep_cost_bps
from lob.errors import Conflict, InvalidInput
from lob.types import INT64_MAX, AssetClass, Instrument, Side

COIN = Instrument(
    symbol="X", asset_class=AssetClass.CRYPTO, tick_size=Decimal("0.5"), lot_size=Decimal("0.1")
)


def book_of(*orders: tuple[Side, int, int]) -> OrderBook:
    """A book of these orders: side, ticks, lots."""
    book = OrderBook(COIN)
    for number, (side, ticks, lots) in enumerate(orders, 1):
        book.feed_add(number, side, ticks, lots)
    return book


def test_the_average_is_weighted_by_volume_against_the_mid() -> None:
    """10 lots at 202 and 10 of 20 at 204 ticks average 203, 1.5 % over a mid of 200."""
    book = book_of(
        (Side.BUY, 198, 10), (Side.BUY, 190, 99), (Side.SELL, 202, 10), (Side.SELL, 204, 20)
    )

    bought = sweep(book, COIN, Side.BUY, Decimal("203.0"))

    assert (20, Decimal("203.00")) == (bought.quantity_lots, bought.notional)
    assert (Decimal("101.5"), Decimal(100)) == (bought.average_price, bought.mid_price)
    assert Decimal(150) == bought.cost_bps
    assert Decimal(100) == sweep_cost_bps(book, COIN, Side.SELL, Decimal(99))


def test_the_last_lot_is_whole_and_the_worth_not_passed() -> None:
    """What would buy part of a lot buys none of it."""
    book = book_of((Side.BUY, 198, 10), (Side.SELL, 202, 10))

    assert 2 == sweep(book, COIN, Side.BUY, Decimal("30.29")).quantity_lots
    assert 3 == sweep(book, COIN, Side.BUY, Decimal("30.30")).quantity_lots
    with pytest.raises(InvalidInput, match="the price of a lot"):
        sweep(book, COIN, Side.BUY, Decimal("10.09"))


def test_a_book_that_holds_less_is_a_conflict() -> None:
    """Nothing is made up where the book ends, or a side is empty; the book itself is unchanged."""
    book = book_of((Side.BUY, 198, 10), (Side.SELL, 202, 10))
    before = book.state_hash()

    with pytest.raises(Conflict, match="the asks hold 2020 in all"):
        sweep(book, COIN, Side.BUY, Decimal(102))
    with pytest.raises(Conflict, match="the bids hold 1980 in all"):
        sweep(book, COIN, Side.SELL, Decimal(INT64_MAX) * 100)
    with pytest.raises(Conflict, match="asks: empty"):
        sweep(book_of((Side.BUY, 198, 10)), COIN, Side.BUY, Decimal(10))
    assert before == book.state_hash()


@pytest.mark.parametrize("notional", [Decimal(0), Decimal(-5), Decimal("NaN"), 1000.0])
def test_a_worth_that_is_none_is_refused(notional: Decimal) -> None:
    """It must be a finite Decimal above 0."""
    with pytest.raises(InvalidInput, match="notional: "):
        sweep(book_of((Side.BUY, 1, 1), (Side.SELL, 2, 1)), COIN, Side.BUY, notional)
