"""Decimals become whole ticks and lots alike, however it is done, and none is lost."""

from decimal import Decimal
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_providers.l3_scene import (
    Ladders,
    instrument_for,
    instrument_of,
    plain_counts,
    units_of,
)
from lob.types import INT64_MAX
from tests.execution_providers.drawn import requests

PRICES = st.decimals("0.00000001", "1e20", allow_nan=False, allow_infinity=False)


@pytest.fixture
def core() -> ModuleType:
    """Return the native extension; without it there is nothing to compare."""
    found = pytest.importorskip("lob._core")
    assert isinstance(found, ModuleType)
    return found


@given(numbers=st.lists(PRICES, min_size=1, max_size=5).map(tuple), exponent=st.integers(-12, 2))
def test_native_counts_are_the_plain_ones(numbers: tuple[Decimal, ...], exponent: int) -> None:
    """What native code counts, plain Python counts; what it leaves may still be whole."""
    core = pytest.importorskip("lob._core")
    counted = core.counts_of(numbers, exponent)
    expected = plain_counts(numbers, exponent)
    if counted is not None:
        assert expected == counted
    elif expected is not None:  # text with an exponent, or a unit above one
        assert exponent > 0 or any("E" in str(number) for number in numbers)


@pytest.mark.parametrize(
    ("number", "exponent", "count"),
    [
        ("99.99", -2, 9_999),
        ("99.9900", -2, 9_999),
        ("99.995", -2, None),
        ("7", -2, 700),
        ("7", 0, 7),
        ("7.0", 0, 7),
        ("92233720368547758.07", -2, INT64_MAX),
        ("92233720368547758.08", -2, None),
        ("100000000000000000000", 0, None),
        ("1E+2", 0, None),
        ("-1", 0, None),
        ("0", 0, None),
        ("NaN", 0, None),
    ],
)
def test_counts_at_the_edges(
    core: ModuleType, number: str, exponent: int, count: int | None
) -> None:
    """The last digit, the largest number, and what is left to a closer look."""
    expected = None if count is None else [count]
    assert expected == core.counts_of((Decimal(number),), exponent)


def test_levels_known_by_their_units_are_those_found_anew() -> None:
    """For drawn markets, coarse and fine, both ways give the same ticks and lots."""
    known = 0
    for request, _ in requests(seed=31, count=200):
        order, market, kind = request.order, request.market, request.asset_class
        units = units_of(kind, market)
        instrument = instrument_of(kind, order, units)
        assert instrument_for(kind, order, market) == instrument
        anew, found = Ladders(instrument, market), Ladders(instrument, market, units)
        assert (anew.bids, anew.asks) == (found.bids, found.asks)
        known += found.bids is units.bids
        for levels, seen in ((anew.bids, market.bids), (anew.asks, market.asks)):
            prices = [(instrument.price(at), instrument.quantity(lots)) for at, lots in levels]
            assert list(seen) == prices
    assert 50 < known < 200
