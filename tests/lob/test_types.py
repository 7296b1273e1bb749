"""Conversions between a venue's decimals and the book's integers are exact or refused."""

from decimal import Decimal

import pytest

from lob.clock import ManualClock
from lob.errors import Fault, InvalidInput, Overloaded
from lob.types import INT64_MAX, AssetClass, Instrument, Side

SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal("0.5")
)


def test_prices_and_quantities_go_there_and_back() -> None:
    """A multiple of the tick or lot converts exactly both ways."""
    assert SHARE.to_ticks(Decimal("585.33")) == 58533
    assert SHARE.price(58533) == Decimal("585.33")
    assert SHARE.to_lots(Decimal("1.50")) == 3
    assert SHARE.quantity(3) == Decimal("1.5")


@pytest.mark.parametrize(
    "price",
    [
        "0",
        "-1",
        "0.005",
        "NaN",
        "Infinity",
        "1E+999999",
        "1E-999999",
        "0.0100000000000000000000001",
    ],
)
def test_a_price_that_is_no_multiple_is_refused(price: str) -> None:
    """Zero, negative, odd, endless and enormous prices are InvalidInput that names the price."""
    with pytest.raises(InvalidInput, match="price"):
        SHARE.to_ticks(Decimal(price))


@pytest.mark.parametrize("value", [1.5, True, "1", None])
def test_only_decimals_convert(value: object) -> None:
    """Floats, bools and strings are refused rather than guessed at."""
    with pytest.raises(InvalidInput):
        SHARE.to_ticks(value)  # type: ignore[arg-type]


def test_the_largest_value_converts_and_the_next_does_not() -> None:
    """2^63-1 units are the limit."""
    assert SHARE.to_ticks(SHARE.price(INT64_MAX)) == INT64_MAX
    with pytest.raises(InvalidInput):
        SHARE.to_ticks(SHARE.price(INT64_MAX) + SHARE.tick_size)


def test_rounding_is_to_the_passive_side() -> None:
    """BUY prices round down, SELL prices up, quantities down, exact ones not at all."""
    assert SHARE.round_ticks(Decimal("1.019"), Side.BUY) == 101
    assert SHARE.round_ticks(Decimal("1.011"), Side.SELL) == 102
    assert SHARE.round_ticks(Decimal("1.01"), Side.SELL) == 101
    assert SHARE.round_lots(Decimal("1.99")) == 3
    assert SHARE.round_lots(Decimal("0.49")) == 0
    with pytest.raises(InvalidInput):
        SHARE.round_ticks(Decimal("0.001"), Side.BUY)
    with pytest.raises(InvalidInput):
        SHARE.round_lots(Decimal(-1))


@pytest.mark.parametrize("size", [Decimal(0), Decimal(-1), Decimal("NaN"), 0.01, 1])
def test_an_instrument_needs_positive_decimals(size: object) -> None:
    """A tick size that is no positive finite Decimal is refused by name."""
    with pytest.raises(InvalidInput, match="tick_size"):
        Instrument(
            symbol="A",
            asset_class=AssetClass.EQUITY,
            tick_size=size,  # type: ignore[arg-type]
            lot_size=Decimal(1),
        )


def test_sides_know_their_sign_and_opposite() -> None:
    """BUY is +1 and opposes SELL."""
    assert [side.sign for side in Side] == [1, -1]
    assert Side.BUY.opposite is Side.SELL
    assert Side.SELL.opposite is Side.BUY


def test_a_fault_is_one_line() -> None:
    """Line feeds in a message become spaces; codes and retryability belong to the class."""
    assert str(Fault("a\nb  c")) == "a b c"
    assert Overloaded.retryable
    assert not InvalidInput.retryable


def test_a_manual_clock_only_goes_forward() -> None:
    """Time moves when told, and never back."""
    clock = ManualClock(5)

    assert clock.advance(3) == 8
    assert clock.set(8) == clock.now_ns()
    with pytest.raises(InvalidInput):
        clock.set(7)
    with pytest.raises(InvalidInput):
        clock.advance(-1)
