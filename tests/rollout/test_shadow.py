"""The paired comparison: its figures, what it does without data, and the bounds of its store."""

import math
from dataclasses import replace
from decimal import Decimal

import pytest

from execution_providers import Fill, FillStatus
from lob.errors import InvalidInput
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


def test_the_noise_floor_is_the_control_against_itself() -> None:
    """Repeats of 1 and 3 against 1 differ by 0 and 2; without repeats there is no floor."""
    repeated = [replace(pair(1, 5), control_repeat=fill(x)) for x in (1, 3)]
    floor = summarise([*repeated, pair(1, 9)]).noise_floor
    assert floor is not None
    assert (floor.n, floor.mean_difference_bps, floor.rmse_bps) == (2, 1.0, math.sqrt(2))
    assert floor.limits_of_agreement_bps == pytest.approx((1 - 1.96 * 2**0.5, 1 + 1.96 * 2**0.5))
    assert summarise([pair(1, 5)]).noise_floor is None


def test_the_rmse_is_against_the_named_reference() -> None:
    """Candidate 3 and 4: root of 12.5 against the mid, 1 against a control of 2 and 3."""
    pairs = [pair(2, 3), pair(3, 4), pair(1, None), pair(1, None, failed=True)]
    against_mid = compare(pairs, "mid")
    assert (against_mid.reference, against_mid.rmse_bps) == ("mid", math.sqrt(12.5))
    assert (compare(pairs).reference, compare(pairs).rmse_bps) == ("control", 1.0)
    with pytest.raises(InvalidInput, match="reference: 'guess'; allowed: control, mid"):
        summarise(pairs, "guess")


@pytest.mark.parametrize(
    ("multiple", "size"),
    [
        (0.5, "up to 1x touch"),
        (1.0, "up to 1x touch"),
        (1.1, "1 to 5x touch"),
        (5.1, "over 5x touch"),
        (None, "unknown"),
        (math.nan, "unknown"),
    ],
)
def test_sizes_have_buckets(multiple: float | None, size: str) -> None:
    """An edge belongs to the bucket below it."""
    assert replace(pair(1, 2), touch_multiple=multiple).size_bucket == size


def test_the_breakdown_covers_size_and_spread() -> None:
    """Each pair is in exactly one bucket of each, and keeps its own bias there."""
    pairs = [
        replace(pair(0, i), touch_multiple=m, spread_bps=s)
        for i, (m, s) in enumerate([(0.5, 0.5), (2.0, 3.0), (9.0, 30.0), (0.7, None)])
    ]
    found = summarise(pairs)
    assert {
        name: (group.pairs, group.mean_difference_bps) for name, group in found.by_size.items()
    } == {
        "up to 1x touch": (2, 1.5),
        "1 to 5x touch": (1, 1.0),
        "over 5x touch": (1, 2.0),
    }
    assert {name: group.pairs for name, group in found.by_spread.items()} == {
        "up to 1 bps": 1,
        "1 to 5 bps": 1,
        "over 20 bps": 1,
        "unknown": 1,
    }


def test_the_store_is_bounded_by_size_too() -> None:
    """The oldest go until what is left is small enough; sizes that nobody told count nothing."""
    store = ShadowStore(100, bytes_max=10)
    for n in range(5):
        store.append(pair(1.0, 1.0, at=float(n)), size_bytes=4)
    assert [3.0, 4.0] == [kept.at for kept in store.pairs(5.0)]
    store.append(pair(1.0, 1.0, at=6.0), size_bytes=11)
    assert 0 == len(store)
    for n in range(50):
        store.append(pair(1.0, 1.0, at=7.0 + n))
    assert 50 == len(store)
