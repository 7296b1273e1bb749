"""A profile carried over to other ticks, lots and paces keeps its laws, a deeper one its front."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from lob.clustered_flow import ClusteredFlow, load_profile
from lob.clustered_profile import Law
from lob.clustered_scale import deepened, scaled
from lob.errors import InvalidInput
from lob.types import AssetClass, Instrument

SHARE = Instrument(
    symbol="MADE", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
SHIPPED = load_profile()
QUICK = replace(SHIPPED, warm_up_seconds=20.0)


def mean(law: Law) -> float:
    """Return the mean of a law."""
    return sum(value * share for value, share in law)


@pytest.mark.parametrize("factor", [0.5, 4.0, 7.3])
def test_distances_scale_on_average(factor: float) -> None:
    """And the share of orders that join the best queue does not grow where ticks get finer."""
    found = scaled(SHIPPED, ticks=factor)
    assert mean(SHIPPED.behind_ticks) * factor == pytest.approx(mean(found.behind_ticks), rel=0.02)
    assert SHIPPED.anchor_trade_ticks * factor == found.anchor_trade_ticks
    joins = dict(found.behind_ticks)[0]
    if factor > 1:
        assert dict(SHIPPED.behind_ticks)[0] == pytest.approx(joins)
    for law in (*found.inside_ticks, found.behind_ticks):
        assert 1 == pytest.approx(sum(share for _, share in law))
    assert all(value >= 1 for law in found.inside_ticks for value, _ in law)


def test_finer_ticks_are_all_used() -> None:
    """What was one tick behind is spread over those that it has become."""
    found = dict(scaled(SHIPPED, ticks=4.0).behind_ticks)
    assert {2, 3, 4, 5} <= set(found)
    assert found[2] == pytest.approx(found[5])


def test_sizes_scale_and_are_one_lot_at_least() -> None:
    """The round size stays the most common one."""
    found = scaled(SHIPPED, lots=0.1)
    assert 1 == min(value for value, _ in found.limit_lots)
    assert 10 == max(found.limit_lots, key=lambda pair: pair[1])[0]
    larger = scaled(SHIPPED, lots=10.0)
    assert mean(SHIPPED.limit_lots) * 10 == pytest.approx(mean(larger.limit_lots))


def test_a_pace_changes_all_times() -> None:
    """Ten times as fast needs about a tenth of the time for as many commands."""
    seconds = []
    for rate in (1.0, 10.0):
        flow = ClusteredFlow(SHARE, 3, 10_000, profile=scaled(QUICK, rate=rate))
        book = flow.seeded_book()
        for _ in range(4_000):
            now_ns, command = flow.step(book)
            book.apply(command)
        seconds.append(now_ns / 1e9)
    assert 5 < seconds[0] / seconds[1] < 20


def test_no_change_is_the_same_profile() -> None:
    """But for the rounding of shares."""
    found = scaled(SHIPPED)
    assert SHIPPED.lives == found.lives
    for (value, share), (again, others) in zip(
        SHIPPED.behind_ticks, found.behind_ticks, strict=True
    ):
        assert value == again
        assert share == pytest.approx(others)


def test_a_deeper_book_keeps_its_front() -> None:
    """A share of orders stands beyond all others, ever fewer, and stays."""
    found = deepened(SHIPPED, share=0.2, furthest_ticks=2_000, life_seconds=90)
    edge = max(value for value, _ in SHIPPED.behind_ticks)
    beyond = [(value, share) for value, share in found.behind_ticks if value > edge]
    assert 0.2 == pytest.approx(sum(share for _, share in beyond))
    near = sum(share for value, share in beyond if value < 2 * edge)
    assert near > 0.05
    assert 2_000 == max(value for value, _ in found.behind_ticks)
    assert dict(SHIPPED.behind_ticks)[0] * 0.8 == pytest.approx(dict(found.behind_ticks)[0])
    middle = found.life_levels.index(0.5)
    assert 90 == pytest.approx(found.lives[-1][middle])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share": 1.2, "furthest_ticks": 2_000, "life_seconds": 9}, "share: 1.2"),
        ({"share": 0.1, "furthest_ticks": 20, "life_seconds": 9}, "furthest_ticks: 20"),
        ({"share": 0.1, "furthest_ticks": 2_000, "life_seconds": 0}, "life_seconds: 0"),
    ],
)
def test_what_deepens_nothing_is_refused(changes: dict[str, float], said: str) -> None:
    """By name."""
    with pytest.raises(InvalidInput, match=said):
        deepened(SHIPPED, **changes)


@pytest.mark.parametrize("name", ["ticks", "lots", "rate"])
def test_factors_are_above_0(name: str) -> None:
    """By name."""
    with pytest.raises(InvalidInput, match=f"{name}: 0; allowed: a finite number above 0"):
        scaled(SHIPPED, **{name: 0})


def pickled(flow: ClusteredFlow) -> ClusteredFlow:
    """Return a flow that went through bytes."""
    again: ClusteredFlow = pickle.loads(pickle.dumps(flow))  # noqa: S301 - our own bytes
    return again


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copied_flow_goes_on_alike(copied: Callable[[ClusteredFlow], ClusteredFlow]) -> None:
    """Its random numbers, what is yet to come, and what it follows are kept."""
    flow = ClusteredFlow(SHARE, 5, 10_000, profile=QUICK)
    book = flow.seeded_book()
    for _ in range(300):
        book.apply(flow.step(book)[1])
    flow.follow(3.0, 10_010.0, 0.1)
    again = copied(flow)
    other = type(book).restore(book.snapshot())
    for _ in range(500):
        timed = flow.step(book)
        assert timed == again.step(other)
        book.apply(timed[1])
        other.apply(timed[1])


@pytest.mark.parametrize("away", [-60, 60])
def test_a_flow_follows_a_price_that_it_hears(away: int) -> None:
    """Within a minute most of the way."""
    flow = ClusteredFlow(SHARE, 8, 10_000, profile=QUICK)
    book = flow.seeded_book()
    flow.follow(away, 10_000 + away, 0.0)
    heard, now_ns = 0, 0
    while heard < 60:
        now_ns, command = flow.step(book)
        book.apply(command)
        while heard < now_ns // 10**9:
            heard += 1
            flow.follow(0.0, 10_000 + away, 0.2)
    mid = book.mid_ticks()
    assert mid is not None
    assert abs(mid - 10_000 - away) < 30
