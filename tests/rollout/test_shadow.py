"""The paired comparison: its figures, what it does without data, and the bounds of its store."""

import math
from decimal import Decimal

import pytest

from execution_providers import Fill, FillStatus
from touchstone.rollout.shadow import WORST_PAIRS, ShadowPair, ShadowStore, compare, summarise


def fill(slippage: float | None, filled: int = 10) -> Fill:
    """Return a fill with this slippage, or one of nothing."""
    return Fill(
        status=FillStatus.UNFILLED if slippage is None else FillStatus.FILLED,
        filled_quantity=Decimal(0) if slippage is None else Decimal(filled),
        average_price=None if slippage is None else Decimal(100),
        fees=Decimal(0),
        slippage_bps=None if slippage is None else Decimal(str(slippage)),
    )


def pair(
    control: float | None,
    candidate: float | None,
    *,
    failed: bool = False,
    symbol: str = "AAPL",
    side: str = "BUY",
    at: float = 0.0,
) -> ShadowPair:
    """Return a pair with these slippages."""
    return ShadowPair(
        decision_id=f"{control}-{candidate}",
        generation=1,
        at=at,
        symbol=symbol,
        side=side,
        quantity=Decimal(10),
        inputs_digest="0",
        seed=0,
        control=fill(control),
        candidate=None if failed else fill(candidate),
        error="UNAVAILABLE" if failed else None,
        control_seconds=0.001,
        candidate_seconds=0.003,
    )


def test_the_figures_are_those_of_the_definition() -> None:
    """Differences 1, 2 and 3: bias 2, limits 2 -+ 1.96, RMSE the root of 14/3."""
    found = compare([pair(1, 2), pair(1, 3), pair(1, 4)])
    assert (found.pairs, found.n, found.mean_difference_bps) == (3, 3, 2.0)
    assert found.limits_of_agreement_bps == pytest.approx((0.04, 3.96))
    assert found.rmse_bps == pytest.approx(math.sqrt(14 / 3))
    assert found.latency_overhead_seconds == pytest.approx(0.002)


def test_bias_is_seen_where_correlation_would_be_perfect() -> None:
    """A candidate that always costs 5 bps more agrees in no pair."""
    found = compare([pair(x, x + 5) for x in range(10)])
    assert found.mean_difference_bps == 5.0
    assert found.limits_of_agreement_bps == (5.0, 5.0)


def test_errors_and_unfilled_orders_count_where_they_belong() -> None:
    """An error counts in the error rate only, an unfilled order in the fill rates only."""
    found = compare([pair(1, 2), pair(1, None), pair(1, None, failed=True), pair(None, None)])
    assert (found.pairs, found.n) == (4, 1)
    assert found.candidate_error_rate == 0.25
    assert found.control_fill_rate == pytest.approx(2 / 3)
    assert found.candidate_fill_rate == pytest.approx(1 / 3)
    assert found.fill_rate_difference == pytest.approx(-1 / 3)


def test_no_pairs_give_no_figures() -> None:
    """Nothing is zero for want of data."""
    found = compare([])
    assert found.pairs == 0
    assert found.mean_difference_bps is found.rmse_bps is found.candidate_error_rate is None
    assert compare([pair(1, 2)]).limits_of_agreement_bps is None


def test_the_summary_breaks_down_and_names_the_worst() -> None:
    """By symbol, by side, and at most twenty pairs by the size of their difference."""
    pairs = [
        pair(0, (-1) ** i * i, symbol=f"S{i % 3}", side=("BUY", "SELL")[i % 2]) for i in range(30)
    ]
    found = summarise(pairs)
    assert {name: group.pairs for name, group in found.by_symbol.items()} == dict.fromkeys(
        ("S0", "S1", "S2"), 10
    )
    assert [group.pairs for group in found.by_side.values()] == [15, 15]
    assert len(found.worst) == WORST_PAIRS
    assert [abs(p.difference_bps or 0) for p in found.worst] == list(range(29, 9, -1))


def test_the_store_is_bounded_by_count_and_by_age() -> None:
    """The oldest go first, by number and by time."""
    store = ShadowStore(pairs_max=3, age_seconds_max=10.0)
    for at in (0.0, 1.0, 2.0, 3.0):
        store.append(pair(1, 2, at=at))
    assert [p.at for p in store.pairs(3.0)] == [1.0, 2.0, 3.0]
    assert [p.at for p in store.pairs(12.5)] == [3.0]
    assert len(store) == 1
