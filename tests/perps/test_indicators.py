"""Indicators against figures worked out by hand and a published example."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from touchstone.perps.indicators import Bar, BarBuilder, rsi, sma

# The 14-day RSI example of StockCharts' ChartSchool (closes of QQQQ, four decimals).
CLOSES = [
    *("44.3389", "44.0902", "44.1497", "43.6124", "44.3278", "44.8264", "45.0955", "45.4245"),
    *("45.8433", "46.0826", "45.8931", "46.0328", "45.6140", "46.2820", "46.2820", "46.0028"),
    *("46.0328", "46.4116", "46.2222", "45.6439", "46.2122", "46.2521", "45.7137", "46.4515"),
    *("45.7835", "45.3548", "44.0288", "44.1783", "44.2181", "44.5672", "43.4205", "42.6628"),
    "43.1314",
]
PUBLISHED = [
    *("70.53", "66.32", "66.55", "69.41", "66.36", "57.97", "62.93", "63.26", "56.06", "62.38"),
    *("54.71", "50.42", "39.99", "41.46", "41.87", "45.46", "37.30", "33.08", "37.77"),
]

prices = st.lists(st.integers(1, 10_000).map(Decimal), min_size=16, max_size=80)


def test_rsi_is_the_published_example() -> None:
    """All nineteen values of the textbook table come out, to its two decimals."""
    closes = [Decimal(text) for text in CLOSES]
    found = [rsi(closes[:count]) for count in range(15, len(closes) + 1)]
    assert [Decimal(text) for text in PUBLISHED] == [
        value.quantize(Decimal("0.01")) for value in found if value is not None
    ]


def test_rsi_by_hand() -> None:
    """Two periods by hand: gains 2 and 0, losses 0 and 1, then a gain of 3."""
    closes = [Decimal(n) for n in (10, 12, 11)]
    # Averages: gain 1, loss 0.5 -> 100 * 1 / 1.5.
    assert Decimal(200) / Decimal(3) == rsi(closes, 2)
    # Then gain (1 * 1 + 3) / 2 = 2 and loss 0.5 / 2 = 0.25 -> 100 * 2 / 2.25.
    assert Decimal(800) / Decimal(9) == rsi([*closes, Decimal(14)], 2)


def test_rsi_at_its_ends() -> None:
    """Only gains are 100, only losses 0, no movement at all 50, too few closes nothing."""
    rising = [Decimal(n) for n in range(1, 20)]
    assert Decimal(100) == rsi(rising)
    assert Decimal(0) == rsi(rising[::-1])
    assert Decimal(50) == rsi([Decimal(7)] * 19)
    assert rsi(rising[:14]) is None
    assert rsi(rising[:15]) is not None


def test_sma_by_hand() -> None:
    """The mean of the last five of six closes; nothing while there are four."""
    closes = [Decimal(n) for n in (1, 10, 20, 30, 40, 51)]
    assert Decimal("30.2") == sma(closes, 5)
    assert sma(closes[:4], 5) is None
    assert Decimal(51) == sma(closes, 1)


@pytest.mark.parametrize("indicator", [sma, rsi])
def test_a_length_below_one_is_refused(indicator: object) -> None:
    """There is no average over no bars."""
    assert callable(indicator)
    with pytest.raises(InvalidInput, match="length: 0; allowed: 1 or more"):
        indicator([Decimal(1)], 0)


@given(prices)
def test_rsi_stays_in_range_and_mirrors(closes: list[Decimal]) -> None:
    """It is within 0..100, and prices turned upside down have what is left to 100."""
    value, mirrored = rsi(closes), rsi([-close for close in closes])
    assert value is not None
    assert mirrored is not None
    assert 0 <= value <= 100
    assert abs(value + mirrored - 100) < Decimal("1E-20")


@given(prices, st.integers(1, 16))
def test_sma_lies_between_the_closes(closes: list[Decimal], length: int) -> None:
    """A mean is never outside what it is the mean of, and only the last closes matter."""
    value = sma(closes, length)
    assert value is not None
    assert min(closes[-length:]) - Decimal("1E-20") <= value <= max(closes[-length:])
    assert value == sma([Decimal(1), *closes], length)


def test_bars_skip_what_nobody_saw() -> None:
    """A bar ends with the first price after it; empty intervals and old prices make none."""
    bars = BarBuilder(10)
    assert bars.add(3, Decimal(1)) is None
    assert bars.add(9, Decimal(2)) is None
    assert Bar(10, Decimal(2)) == bars.add(10, Decimal(3))
    assert bars.add(5, Decimal(99)) is None
    assert Bar(20, Decimal(3)) == bars.add(57, Decimal(4))
    assert Bar(60, Decimal(4)) == bars.add(60, Decimal(5))
