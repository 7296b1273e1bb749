"""Risk guards at their edges: the limit itself, a step beside it, and missing figures."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from touchstone.perps.kill import TradingState
from touchstone.perps.risk import (
    EVALUATORS,
    TRIPS_TO,
    Finding,
    Guard,
    Holding,
    Level,
    RiskFigures,
    RiskLimits,
    evaluate,
    first_trip,
    gross_exposure,
)
from touchstone.perps.volatility import PriceRange

D = Decimal
LIMITS = RiskLimits(
    max_symbol_notional=D(6_000), max_total_notional=D(8_000), max_daily_loss=D(100)
)
CALM = RiskFigures(
    equity=D(10_000),
    day_start_equity=D(10_000),
    peak_equity=D(10_000),
    holdings={"BTC": Holding(quantity=D("0.1"), mark=D(50_000), liquidation_price=D(30_000))},
    ranges={"BTC": D("0.01")},
    ages={"BTC": 1.0},
)


def finding(guard: Guard, **changes: object) -> Finding:
    """Return how a guard stands with figures changed."""
    figures = replace(CALM, **changes)  # type: ignore[arg-type]
    return EVALUATORS[guard](figures, LIMITS)


def held(quantity: str = "0.1", mark: str | None = "50000", price: str | None = "30000") -> object:
    """Return one BTC holding as the figures have it."""
    return {
        "BTC": Holding(
            quantity=D(quantity),
            mark=None if mark is None else D(mark),
            liquidation_price=None if price is None else D(price),
        )
    }


def test_calm_figures_trip_nothing() -> None:
    """Every guard is fine, in the order in which they are named."""
    found = evaluate(CALM, LIMITS)
    assert [Level.OK] * 7 == [one.level for one in found]
    assert list(EVALUATORS) == [one.guard for one in found]
    assert first_trip(found) is None


@pytest.mark.parametrize(
    ("guard", "changes", "level"),
    [
        (Guard.DAILY_LOSS, {"equity": D("9900.01")}, Level.OK),
        (Guard.DAILY_LOSS, {"equity": D(9_900)}, Level.TRIPPED),
        (Guard.DAILY_LOSS, {"day_start_equity": None}, Level.UNKNOWN),
        (Guard.DAILY_LOSS, {"equity": None}, Level.UNKNOWN),
        (Guard.DRAWDOWN, {"peak_equity": D("10204.08")}, Level.OK),
        (Guard.DRAWDOWN, {"equity": D(9_800)}, Level.TRIPPED),
        (Guard.DRAWDOWN, {"equity": D("9800.01")}, Level.OK),
        (Guard.DRAWDOWN, {"peak_equity": None}, Level.UNKNOWN),
        (Guard.EXPOSURE, {"holdings": held("0.12")}, Level.OK),
        (Guard.EXPOSURE, {"holdings": held("-0.1201")}, Level.WARN),
        (Guard.EXPOSURE, {"holdings": held("-0.132")}, Level.WARN),
        (Guard.EXPOSURE, {"holdings": held("-0.1321")}, Level.TRIPPED),
        (Guard.EXPOSURE, {"holdings": held(mark=None)}, Level.UNKNOWN),
        (Guard.EXPOSURE, {"holdings": held("0", mark=None)}, Level.OK),
        (Guard.LEVERAGE, {"equity": D(1_000)}, Level.OK),
        (Guard.LEVERAGE, {"equity": D("999.99")}, Level.WARN),
        (Guard.LEVERAGE, {"equity": D(909)}, Level.TRIPPED),
        (Guard.LEVERAGE, {"equity": D(-1)}, Level.TRIPPED),
        (Guard.LEVERAGE, {"equity": None}, Level.UNKNOWN),
        (Guard.LEVERAGE, {"equity": None, "holdings": {}}, Level.OK),
        (Guard.LIQUIDATION, {"holdings": held(price="39999")}, Level.OK),
        (Guard.LIQUIDATION, {"holdings": held(price="40000")}, Level.WARN),
        (Guard.LIQUIDATION, {"holdings": held(price="42499")}, Level.WARN),
        (Guard.LIQUIDATION, {"holdings": held(price="42500")}, Level.TRIPPED),
        (Guard.LIQUIDATION, {"holdings": held("-0.1", price="57500")}, Level.TRIPPED),
        (Guard.LIQUIDATION, {"holdings": held("-0.1", price="60001")}, Level.OK),
        (Guard.LIQUIDATION, {"holdings": held(price=None)}, Level.UNKNOWN),
        (Guard.LIQUIDATION, {"holdings": {}}, Level.OK),
        (Guard.STALENESS, {"ages": {"BTC": 179.9}}, Level.OK),
        (Guard.STALENESS, {"ages": {"BTC": 180.0}}, Level.WARN),
        (Guard.STALENESS, {"ages": {"BTC": 1.0, "ETH": 359.9}}, Level.WARN),
        (Guard.STALENESS, {"ages": {"BTC": 1.0, "ETH": 360.0}}, Level.TRIPPED),
        (Guard.STALENESS, {"ages": {"BTC": 1.0, "ETH": None}}, Level.WARN),
        (Guard.STALENESS, {"ages": {"BTC": None}}, Level.UNKNOWN),
        (Guard.VOLATILITY, {"ranges": {"BTC": D("0.05")}}, Level.OK),
        (Guard.VOLATILITY, {"ranges": {"BTC": D("0.0501")}}, Level.TRIPPED),
        (Guard.VOLATILITY, {"ranges": {"BTC": None}}, Level.UNKNOWN),
    ],
)
def test_each_guard_at_its_edge(guard: Guard, changes: dict[str, object], level: Level) -> None:
    """Warnings, trips and unknown figures are told apart; only a trip names a state."""
    found = finding(guard, **changes)
    assert (guard, level) == (found.guard, found.level)
    assert (TRIPS_TO[guard] if level is Level.TRIPPED else None) is found.state


def test_all_positions_together() -> None:
    """Two positions that are each allowed may be too much together."""
    both = {
        "BTC": Holding(quantity=D("0.1"), mark=D(50_000)),
        "ETH": Holding(quantity=D(-1), mark=D(3_801)),
    }
    found = finding(Guard.EXPOSURE, holdings=both)
    assert Level.TRIPPED is found.level
    assert "all positions: 8801.00; allowed: 8000" == found.message
    assert D(8_801) == gross_exposure(replace(CALM, holdings=both))


def test_limits_can_be_off() -> None:
    """A limit of None never trips, whatever the figures."""
    off = RiskLimits(max_leverage=None, max_drawdown=None, max_range=None)
    bad = replace(
        CALM, equity=D(1), peak_equity=D(10**6), ranges={"BTC": D(9)}, day_start_equity=D(10**6)
    )
    assert [Level.OK] * 7 == [one.level for one in evaluate(bad, off)]


def test_the_strictest_trip_leads() -> None:
    """Stale data halts, whatever else has tripped with it."""
    bad = replace(CALM, equity=D(9_000), ages={"BTC": 400.0})
    found = first_trip(evaluate(bad, LIMITS))
    assert found is not None
    assert (Guard.STALENESS, TradingState.HALTED) == (found.guard, found.state)


@given(
    st.fixed_dictionaries(
        {
            "equity": st.none() | st.integers(-10, 20_000).map(D),
            "day_start_equity": st.none() | st.integers(0, 20_000).map(D),
            "peak_equity": st.none() | st.integers(0, 20_000).map(D),
            "ages": st.dictionaries(st.sampled_from(["A", "B"]), st.none() | st.floats(0, 1_000)),
            "ranges": st.dictionaries(
                st.sampled_from(["A", "B"]), st.none() | st.integers(0, 2).map(D)
            ),
            "holdings": st.dictionaries(
                st.sampled_from(["A", "B"]),
                st.builds(
                    Holding,
                    quantity=st.integers(-3, 3).map(D),
                    mark=st.none() | st.integers(1, 5_000).map(D),
                    liquidation_price=st.none() | st.integers(0, 5_000).map(D),
                ),
            ),
        }
    )
)
def test_whatever_the_figures_every_guard_answers(changes: dict[str, object]) -> None:
    """No figures break an evaluator, and exactly the tripped name a state."""
    found = evaluate(replace(CALM, **changes), LIMITS)  # type: ignore[arg-type]
    assert list(EVALUATORS) == [one.guard for one in found]
    for one in found:
        assert (one.state is not None) == (one.level is Level.TRIPPED)
        assert one.message


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 1_000)), min_size=1, max_size=50),
    st.integers(0, 40),
)
def test_the_range_is_that_of_the_window(steps: list[tuple[int, int]], later: int) -> None:
    """It equals the highest and lowest of all prices in the window, looked at one by one."""
    prices, seen, now = PriceRange(window_ns=60), [], 0
    for wait, price in steps:
        now += wait
        prices.add(now, D(price))
        seen.append((now, price))
    now += later
    window = [price for at, price in seen if now - 60 < at]
    expected = D(max(window) - min(window)) / min(window) if window else None
    found = prices.ratio(now)
    if expected is None or found is None:
        assert expected is found
    else:
        assert abs(expected - found) <= D("0.00005")


def test_the_range_ignores_the_past_and_nonsense() -> None:
    """A price from before the newest and one of 0 change nothing; a window has to be one."""
    prices = PriceRange(window_ns=10)
    prices.add(5, D(100))
    prices.add(4, D(1))
    prices.add(6, D(0))
    assert D(0) == prices.ratio(6)
    with pytest.raises(InvalidInput, match="window_ns: 0"):
        PriceRange(0)
