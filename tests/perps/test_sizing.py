"""Impact sizing: the check value, the inverse, the three modes."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from touchstone.perps.sizing import SizingMode, impact_bps, largest_notional, size

L1, L10, CAP = Decimal(50_000), Decimal(200_000), Decimal(10)
FITS = Decimal(59_375)


def test_the_check_value() -> None:
    """L1 50k, L10 200k, cap 10 bps allow 59,375."""
    assert largest_notional(CAP, L1, L10) == FITS
    assert impact_bps(FITS, L1, L10) == CAP


@given(st.integers(1, 25).map(Decimal))
def test_the_largest_notional_costs_the_cap(cap: Decimal) -> None:
    """The two formulas are inverse up to ten levels."""
    found = impact_bps(largest_notional(cap, L1, L10), L1, L10)
    assert found is not None
    assert abs(found - cap) < Decimal("1E-20")


@pytest.mark.parametrize(
    ("notional", "mode", "adjusted"),
    [
        (50_000, SizingMode.CONSERVATIVE, 50_000),
        (100_000, SizingMode.CONSERVATIVE, 59_375),
        (59_375, SizingMode.STRICT, 59_375),
        (59_376, SizingMode.STRICT, 0),
        (100_000, SizingMode.AGGRESSIVE, 100_000),
        (500_000, SizingMode.AGGRESSIVE, 118_750),
    ],
)
def test_the_modes(notional: int, mode: SizingMode, adjusted: int) -> None:
    """Conservative shrinks, strict refuses, aggressive allows up to twice the limit."""
    assert size(Decimal(notional), CAP, L1, L10, mode).adjusted == adjusted


def test_beyond_ten_levels_there_is_no_figure() -> None:
    """An impact that the formula does not cover is None, and missing depth is refused."""
    assert impact_bps(L10 + 1, L1, L10) is None
    with pytest.raises(InvalidInput, match="depth_l1: 0"):
        impact_bps(Decimal(1), Decimal(0), L10)
