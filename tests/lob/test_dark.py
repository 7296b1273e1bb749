"""Dark pools: splits are the best there are, tails are learnt, pools keep their limits."""

import doctest
import importlib
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.dark import (
    CensoredExploration,
    DarkPoolRouter,
    DarkVenue,
    Routing,
    VenueKind,
    brute_force_allocation,
    expected_fill,
    exploration_cutoff,
    greedy_allocation,
    kaplan_meier_tail,
    optimistic_kaplan_meier_tail,
    tail_from_probabilities,
)
from lob.errors import InvalidInput
from lob.types import Side

tails = st.lists(
    st.lists(st.floats(0, 1), max_size=5).map(lambda chances: sorted(chances, reverse=True)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", ["allocation", "tails", "exploration", "pools"])
def test_examples(name: str) -> None:
    """The docstrings' examples hold."""
    tried = doctest.testmod(importlib.import_module(f"lob.dark.{name}"))
    assert 0 == tried.failed
    assert tried.attempted > 0


def test_reference_allocation(market_data: Path) -> None:
    """The reference case of the paper's greedy split, by greed and by brute force."""
    cases = json.loads((market_data / "reference_cases.json").read_text())["cases"]
    case = next(case for case in cases if case["id"] == "dark_pool_greedy")
    tails, volume = case["inputs"]["T"], case["inputs"]["V"]
    found = greedy_allocation(tails, volume)

    assert case["expected"]["allocation"] == list(found.allocation)
    for fill in (found.expected_fill, brute_force_allocation(tails, volume).expected_fill):
        assert math.isclose(case["expected"]["expected_fill"], fill, abs_tol=case["tolerance"])


@given(tails=tails, volume=st.integers(0, 8))
def test_greed_is_optimal(tails: list[list[float]], volume: int) -> None:
    """Theorem 1: no split is better than the greedy one, which gives out every unit."""
    greedy = greedy_allocation(tails, volume)
    best = brute_force_allocation(tails, volume)

    assert volume == sum(greedy.allocation)
    assert math.isclose(best.expected_fill, greedy.expected_fill, rel_tol=1e-12)
    assert math.isclose(expected_fill(tails, greedy.allocation), greedy.expected_fill)


@given(tails=tails, volume=st.integers(0, 20))
def test_expected_fill_is_concave(tails: list[list[float]], volume: int) -> None:
    """Each unit more adds no more than the one before it."""
    fills = [greedy_allocation(tails, volume + more).expected_fill for more in range(3)]
    assert fills[2] - fills[1] <= fills[1] - fills[0] + 1e-12


def test_large_volumes_are_quick() -> None:
    """Units beyond every venue's end cost nothing to give out."""
    assert (10**15 - 1, 1) == greedy_allocation([[0.5], [0.7]], 10**15).allocation


@given(
    probabilities=st.lists(st.floats(0.01, 1), min_size=2, max_size=8),
    seed=st.integers(0, 1_000),
)
@settings(max_examples=20)
def test_kaplan_meier_of_uncensored_fills_is_the_empirical_tail(
    probabilities: list[float], seed: int
) -> None:
    """Where more is always sent than there is, the estimate is the share of fills of s or more."""
    chances = np.array(probabilities) / sum(probabilities)
    drawn = np.random.default_rng(seed).choice(len(chances), 200, p=chances)
    tail = kaplan_meier_tail([len(chances)] * 200, drawn, len(chances) - 1)

    expected = [float((drawn >= size).mean()) for size in range(1, len(chances))]
    assert np.allclose(expected, tail)


def test_kaplan_meier_sees_through_censoring() -> None:
    """Sent sizes that often fill whole do not bend the estimate: it tends to the true tail."""
    rng = np.random.default_rng(5)
    truth = np.array([0.3, 0.2, 0.2, 0.1, 0.2])
    there = rng.choice(5, 20_000, p=truth)
    sent = rng.integers(1, 6, 20_000)
    found = kaplan_meier_tail(sent, np.minimum(there, sent), 4)

    assert np.allclose(tail_from_probabilities(truth), found, atol=0.02)
    naive = [float((np.minimum(there, sent) >= size).mean()) for size in range(1, 5)]
    assert abs(naive[3] - 0.2) > 0.05


def test_kaplan_meier_by_hand() -> None:
    """Of 4 fills: z0 = 1/4 (one got 0 of 3); z1 = 1/3 (one got 1 of 2); nothing is known after."""
    found = kaplan_meier_tail([3, 3, 2, 5], [0, 3, 1, 5], 7)
    assert np.allclose([0.75, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], found)
    assert [1.0, 1.0] == kaplan_meier_tail([], [], 2).tolist()


def test_optimism_reaches_one_unit_beyond_what_is_trusted() -> None:
    """With nothing seen the first unit is sure; a trusted first unit lends its chance to the next.

    Two fills of 1 sent each: N_0 = 2, T(1) = 1/2; N_1 = 0, so c = 1 and T(2) = T(1).
    """
    assert 1.0 == optimistic_kaplan_meier_tail([], [], 3, 1)[0]
    found = optimistic_kaplan_meier_tail([1, 1], [0, 1], 2, 2)
    assert [0.5, 0.5] == found.tolist()
    distrusted = optimistic_kaplan_meier_tail([3, 3], [0, 1], 3, 3)
    assert 1.0 == distrusted[0]
    assert exploration_cutoff(2, 10, 0.5, 0.1) == pytest.approx(128 * 1600 * math.log(200))


def test_exploration_learns_a_good_split() -> None:
    """After 1,500 rounds the loop's split earns nearly what the best split of the truth does."""
    rng = np.random.default_rng(8)
    truth = [[0.5, 0.3, 0.2], [0.2, 0.2, 0.2, 0.2, 0.1, 0.1], [0.9, 0.02, 0.02, 0.06]]
    known = [tail_from_probabilities(chances) for chances in truth]
    loop = CensoredExploration(3, 6, observations=30, max_history_size=1_000)
    for _ in range(1_500):
        split = loop.allocate(6).allocation
        there = [int(rng.choice(len(chances), p=chances)) for chances in truth]
        loop.observe(split, [min(pair) for pair in zip(split, there, strict=True)])

    best = greedy_allocation(known, 6).expected_fill
    assert expected_fill(known, loop.allocate(6).allocation) > 0.97 * best


VENUES = (
    DarkVenue(name="A", base_fill_probability=0.6, max_lots=400, latency_us=100, leakage_bps=2.0),
    DarkVenue(name="B", base_fill_probability=0.3, size_penalty=0.2, max_lots=5_000),
    DarkVenue(
        name="C", kind=VenueKind.BLOCK_POOL, min_lots=500, max_lots=100_000, latency_us=2_000
    ),
)


@given(
    lots=st.integers(1, 20_000),
    side=st.sampled_from(Side),
    routing=st.sampled_from(Routing),
    share_pct=st.floats(0, 100),
    seed=st.integers(0, 100),
    bid=st.integers(1, 1_000),
    spread=st.integers(0, 10),
    offset=st.integers(-10, 10),
)
@settings(deadline=None)
def test_routing_keeps_every_limit(
    lots: int,
    side: Side,
    routing: Routing,
    share_pct: float,
    seed: int,
    bid: int,
    spread: int,
    offset: int,
) -> None:
    """Lots are conserved; prices keep the limit, sizes the venues' bounds, sums the dark share."""
    router = DarkPoolRouter(VENUES, seed, routing=routing, max_dark_fill_pct=share_pct)
    limit = max(1, bid + offset)
    result = router.route(side, lots, bid, bid + spread, limit)

    assert lots == result.filled_lots + result.left_lots
    assert result.filled_lots == sum(fill.filled_lots for fill in result.fills)
    assert result.filled_lots <= lots * (share_pct + 0.01) / 100
    if routing is not Routing.SEQUENTIAL:
        assert sum(fill.sent_lots for fill in result.fills) <= lots * (share_pct + 0.01) / 100
    by_name = {venue.name: venue for venue in VENUES}
    for fill in result.fills:
        venue = by_name[fill.venue]
        assert venue.min_lots <= fill.sent_lots <= venue.max_lots
        assert fill.filled_lots == 0 or venue.min_lots <= fill.filled_lots <= fill.sent_lots
        assert side.sign * (limit - fill.price_ticks) >= 0


@given(routing=st.sampled_from(Routing), seed=st.integers(0, 100))
def test_the_same_seed_routes_alike(routing: Routing, seed: int) -> None:
    """Two routers of one seed give the same results, order after order."""
    first, second = (DarkPoolRouter(VENUES, seed, routing=routing) for _ in range(2))
    for lots in (10, 2_000, 777):
        one, two = (router.route(Side.SELL, lots, 99, 101) for router in (first, second))
        assert one == two


def test_times_and_leaks_of_each_routing() -> None:
    """One after another adds latencies and moves the mid; at once takes the slowest."""
    never = [
        DarkVenue(
            name=name, base_fill_probability=0.0, max_lots=100, latency_us=us, leakage_bps=10.0
        )
        for name, us in (("A", 100.0), ("B", 300.0))
    ]
    route = {
        kind: DarkPoolRouter(never, 1, routing=kind).route(Side.BUY, 100, 9_999, 10_001)
        for kind in Routing
    }

    assert 400.0 == route[Routing.SEQUENTIAL].latency_us
    assert 300.0 == route[Routing.PARALLEL].latency_us
    assert (100, 100) == tuple(fill.sent_lots for fill in route[Routing.SEQUENTIAL].fills)
    assert (50, 50) == tuple(fill.sent_lots for fill in route[Routing.PARALLEL].fills)
    assert () == route[Routing.SMART].fills  # nothing can fill: nothing is told
    assert math.isclose(20.0, route[Routing.SEQUENTIAL].leakage_bps)
    assert math.isclose(10.0, route[Routing.PARALLEL].leakage_bps)
    prices = [fill.price_ticks for fill in route[Routing.SEQUENTIAL].fills]
    assert prices == pytest.approx([10_000.0, 10_010.0])


def test_leaks_do_not_carry_an_order_through_its_limit() -> None:
    """A sequential order stops where the leaked mid is beyond its limit."""
    never = [
        DarkVenue(name=name, base_fill_probability=0.0, max_lots=100, leakage_bps=10.0)
        for name in "AB"
    ]
    router = DarkPoolRouter(never, 1, routing=Routing.SEQUENTIAL)
    result = router.route(Side.BUY, 100, 9_999, 10_001, limit_ticks=10_005)
    assert ["A"] == [fill.venue for fill in result.fills]


def test_available_lots_have_the_venue_s_tail() -> None:
    """Drawn volumes reach s with the probability that the tail says, also below the minimum."""
    venue = DarkVenue(name="A", min_lots=5, max_lots=50, base_fill_probability=0.7, size_penalty=2)
    rng = np.random.default_rng(3)
    drawn = np.array([venue.draw_available(rng) for _ in range(20_000)])
    tail = venue.tail(60)

    for size in (1, 5, 20, 50):
        assert abs(float((drawn >= size).mean()) - tail[size - 1]) < 0.012
    assert 0.0 == tail[50]
    assert 50 == drawn.max()
    assert 0.0 == venue.fill_probability(4)
    assert venue.fill_probability(20) == pytest.approx(tail[19])
    assert all(one >= two for one, two in pairwise(tail))


def test_smart_routing_fills_most() -> None:
    """Over many orders the greedy split fills more than the even one."""
    filled = {
        kind: sum(
            DarkPoolRouter(VENUES[:2], seed, routing=kind)
            .route(Side.BUY, 1_000, 99, 101)
            .filled_lots
            for seed in range(400)
        )
        for kind in (Routing.SMART, Routing.PARALLEL)
    }
    assert filled[Routing.SMART] > filled[Routing.PARALLEL]


def test_history_is_bounded() -> None:
    """Only the last fills are kept, and the rates are of those."""
    router = DarkPoolRouter(VENUES, 1, max_history_size=3)
    for _ in range(10):
        router.route(Side.BUY, 100, 99, 101)
    assert 3 == len(router.history)
    assert all(0 <= rate <= 1 for rate in router.fill_rates().values())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: greedy_allocation([], 1), "tails: none"),
        (lambda: greedy_allocation([[0.5, 0.6]], 1), r"tails\[0\]\[1\]: 0.6; allowed: at most 0.5"),
        (lambda: greedy_allocation([[math.nan]], 1), "tails: nan"),
        (lambda: greedy_allocation([[0.5]], -1), "volume: -1"),
        (lambda: brute_force_allocation([[0.5]] * 9, 99), "volume: 99 in 9 venues"),
        (lambda: expected_fill([[0.5]], [1, 2]), "allocation: 2 venues; allowed: 1"),
        (lambda: kaplan_meier_tail([1], [2], 3), "filled: 2 at place 0; allowed: at most the 1"),
        (lambda: kaplan_meier_tail([1.5], [1], 3), "submitted: 1.5"),
        (lambda: tail_from_probabilities([0.5, 0.6]), "probabilities: sum 1.1"),
        (lambda: CensoredExploration(1, 5).observe([2], [3]), "filled: 3"),
        (lambda: DarkVenue(name=""), "name: ''"),
        (lambda: DarkVenue(name="A", min_lots=9, max_lots=8), "max_lots: 8"),
        (lambda: DarkVenue(name="A", base_fill_probability=1.1), "base_fill_probability: 1.1"),
        (lambda: DarkPoolRouter([], 1), "venues: 0"),
        (lambda: DarkPoolRouter([VENUES[0]] * 2, 1), "venues: 'A' twice"),
        (lambda: DarkPoolRouter(VENUES, 1, max_dark_fill_pct=101), "max_dark_fill_pct: 101"),
        (lambda: DarkPoolRouter(VENUES, 1).route(Side.BUY, 0, 9, 10), "quantity_lots: 0"),
        (lambda: DarkPoolRouter(VENUES, 1).route(Side.BUY, 5, 11, 10), "ask_ticks: 10"),
    ],
)
def test_wrong_arguments_are_named(call: object, said: str) -> None:
    """Each refusal is one line that names the argument and its value."""
    with pytest.raises(InvalidInput, match=said):
        call()  # type: ignore[operator]
