"""Fill probabilities: one formula against another, edges, survival curves, and scores."""

import doctest
import importlib
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.fill_probability import (
    auc,
    block_bootstrap_interval,
    brier_score,
    brier_skill_score,
    compound_poisson_fill_probability,
    erlang_fill_probability,
    expected_calibration_error,
    expected_filled_quantity,
    expected_wait,
    filled_quantity_law,
    filling_stages,
    first_passage_density,
    first_passage_ever,
    first_passage_fill_probability,
    first_passage_mean,
    first_passage_quantile,
    geometric_fill_probability,
    hypoexponential_fill_probability,
    kaplan_meier,
    log_loss,
    lower_before_upper,
    nelson_aalen,
    partial_fill_probability,
    piecewise_hazard,
    queue_and_price_fill_probability,
    reliability_table,
    stages_cdf,
    wait_variance,
)
from lob.queueing.special import panels

RATES = st.floats(0.05, 10.0)
AHEAD = st.integers(0, 25)


@pytest.mark.parametrize("name", ["fills", "first_passage", "scores", "survival"])
def test_examples_in_the_docstrings_hold(name: str) -> None:
    """Every example of the package gives what it says."""
    tried = doctest.testmod(importlib.import_module(f"lob.fill_probability.{name}"))
    assert (0, True) == (tried.failed, tried.attempted > 0)


# ---------------------------------------------------------------- the queue ahead


@given(mu=RATES, theta=RATES, n=AHEAD, quantity=st.integers(1, 4), t=st.floats(0.0, 8.0))
@settings(max_examples=40, deadline=None)
def test_stages_closed_form_and_the_chain_agree(
    mu: float, theta: float, n: int, quantity: int, t: float
) -> None:
    """The Beta law, uniformised stages and the chain of units left give one probability."""
    found = float(hypoexponential_fill_probability(t, mu=mu, theta=theta, n_ahead=n))
    single = stages_cdf(t, filling_stages(mu=mu, theta=theta, n_ahead=n))
    assert found == pytest.approx(float(single), abs=1e-10)
    whole = float(
        hypoexponential_fill_probability(t, mu=mu, theta=theta, n_ahead=n, quantity=quantity)
    )
    law = filled_quantity_law(t, mu=mu, theta=theta, n_ahead=n, quantity=quantity)
    assert whole == pytest.approx(float(law[-1]), abs=1e-10)
    assert 1.0 == pytest.approx(float(law.sum()), abs=1e-12)
    assert whole <= found + 1e-12


@given(mu=RATES, n=AHEAD, t=st.floats(0.0, 20.0))
@settings(deadline=None)
def test_without_cancels_it_is_the_poisson_tail(mu: float, n: int, t: float) -> None:
    """Erlang's distribution is the tail summed term by term, and cancels only help."""
    mean = mu * t
    tail = 1 - math.fsum(
        math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) if mean else float(k == 0)
        for k in range(n + 1)
    )
    found = float(erlang_fill_probability(t, mu=mu, n_ahead=n))
    assert tail == pytest.approx(found, abs=1e-11)
    helped = float(hypoexponential_fill_probability(t, mu=mu, theta=0.3, n_ahead=n))
    assert found <= helped + 1e-12
    slow = float(hypoexponential_fill_probability(t, mu=mu, theta=1e-9, n_ahead=n))
    assert found == pytest.approx(slow, abs=1e-5)


def test_fills_at_the_edges() -> None:
    """At 0 nothing fills, for ever all that is traded at all, and nothing without trades."""
    edges = [0.0, math.inf]
    assert [0.0, 1.0] == list(erlang_fill_probability(edges, mu=1.0, n_ahead=3))
    assert [0.0, 0.0] == list(erlang_fill_probability(edges, mu=0.0))
    assert [0.0, 1.0] == list(hypoexponential_fill_probability(edges, mu=1, theta=2, n_ahead=3))
    assert [0.0, 0.0] == list(hypoexponential_fill_probability(edges, mu=0, theta=2, n_ahead=3))
    assert [0.0, 1.0] == list(filled_quantity_law(math.inf, mu=1.0, n_ahead=2, quantity=1))
    assert math.inf == expected_wait(mu=0.0, n_ahead=1)


def test_waits_are_the_moments_of_the_law() -> None:
    """Mean and variance are the areas under the survival of the filling time."""
    order = {"mu": 1.1, "theta": 0.4}
    t, weights = panels(0.0, 60.0, 60)
    left = 1 - hypoexponential_fill_probability(t, n_ahead=4, **order)  # type: ignore[arg-type]
    mean = float(np.sum(weights * left))
    square = float(np.sum(weights * 2 * t * left))
    assert mean == pytest.approx(expected_wait(n_ahead=4, **order), rel=1e-9)  # type: ignore[arg-type]
    assert square - mean**2 == pytest.approx(
        wait_variance(n_ahead=4, **order),  # type: ignore[arg-type]
        rel=1e-8,
    )


@given(n=st.integers(0, 8), quantity=st.integers(1, 6), t=st.floats(0.05, 6.0), seed=st.integers(0))
@settings(max_examples=30, deadline=None)
def test_sizes_by_recursion_and_by_the_chain(n: int, quantity: int, t: float, seed: int) -> None:
    """Panjer's recursion and the chain of units left agree for any law of sizes."""
    drawn = np.random.default_rng(seed).random(5)
    sizes = drawn / drawn.sum()
    at_least = partial_fill_probability(t, mu=1.3, n_ahead=n, quantity=quantity, sizes=sizes)
    for k in (1, quantity):
        panjer = compound_poisson_fill_probability(t, rate=1.3, sizes=sizes, n_ahead=n, quantity=k)
        assert panjer == pytest.approx(float(at_least[k - 1]), abs=1e-10)
    assert np.all(np.diff(at_least) <= 1e-12)
    mean = expected_filled_quantity(t, mu=1.3, n_ahead=n, quantity=quantity, sizes=sizes)
    law = filled_quantity_law(t, mu=1.3, n_ahead=n, quantity=quantity, sizes=sizes)
    assert mean == pytest.approx(float(law @ np.arange(quantity + 1)), abs=1e-10)


def test_many_arrivals_do_not_underflow() -> None:
    """Two thousand expected trades: recursion and Poisson tail still agree."""
    found = compound_poisson_fill_probability(2000.0, rate=1.0, sizes=[1.0], n_ahead=1999)
    assert found == pytest.approx(
        float(erlang_fill_probability(2000, mu=1, n_ahead=1999)), abs=1e-10
    )


# ---------------------------------------------------------------- a diffusing price


@given(distance=st.floats(0.05, 3), sigma=st.floats(0.3, 2), drift=st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_first_passage_is_the_integral_of_its_density(
    distance: float, sigma: float, drift: float
) -> None:
    """The distribution function is the area under the inverse Gaussian density."""
    u, weights = panels(-14.0, math.log(2.0), 60)
    t = np.exp(u)
    density = first_passage_density(t, distance=distance, sigma=sigma, drift=drift)
    found = first_passage_fill_probability(2.0, distance=distance, sigma=sigma, drift=drift)
    assert float(np.sum(weights * t * density)) == pytest.approx(float(found), abs=1e-9)


def test_first_passage_limits() -> None:
    """Reflection, the law for ever, the quantile's inverse, and no overflow far out."""
    half = first_passage_quantile(0.5, distance=2.0, sigma=0.7)
    assert 0.5 == pytest.approx(
        float(first_passage_fill_probability(half, distance=2.0, sigma=0.7)), rel=1e-12
    )
    late = first_passage_fill_probability(1e6, distance=1.0, sigma=1.0, drift=0.5)
    assert float(first_passage_ever(distance=1.0, sigma=1.0, drift=0.5)) == pytest.approx(
        float(late), rel=1e-9
    )
    far = first_passage_fill_probability(1.0, distance=[0.0, 1e3], sigma=1.0, drift=-1e3)
    assert 1.0 == far[0]
    assert 0.5 == pytest.approx(float(far[1]), abs=1e-3)
    assert 4.0 == first_passage_mean(distance=2.0, sigma=1.0, drift=-0.5)
    assert math.inf == first_passage_mean(distance=2.0, sigma=1.0)


def test_geometric_and_two_sided_passage() -> None:
    """Either side of the price, the barrier's sides add up, and drift tends to none."""
    fills = geometric_fill_probability(1.0, price=100, limit=[99.0, 100.0, 101.0], sigma=0.02)
    assert 1.0 == fills[1]
    small = first_passage_fill_probability(
        1.0, distance=math.log(100 / 99), sigma=0.02, drift=-0.0002
    )
    assert float(small) == pytest.approx(float(fills[0]), rel=1e-12)
    for drift in (-3.0, -1e-9, 0.0, 1e-9, 0.4, 50.0):
        down = float(lower_before_upper(below=1.0, above=3.0, sigma=1.0, drift=drift))
        up = float(lower_before_upper(below=3.0, above=1.0, sigma=1.0, drift=-drift))
        assert 1.0 == pytest.approx(down + up, abs=1e-9)


def test_touched_and_then_taken() -> None:
    """The convolution of the touch with an exponential wait, which tends to the touch alone."""
    t, weights = panels(0.0, 1.0, 400)
    density = first_passage_density(t, distance=0.5, sigma=1.0)
    direct = float(np.sum(weights * density * -np.expm1(-2 * (1 - t))))
    found = queue_and_price_fill_probability(1.0, distance=0.5, sigma=1.0, hit_rate=2.0)
    assert direct == pytest.approx(found, abs=1e-8)


# ---------------------------------------------------------------- survival


def test_kaplan_meier_with_its_variance_and_quantiles() -> None:
    """The 6-MP remission times of Freireich et al. (1963), the textbooks' example."""
    # Kalbfleisch and Prentice, table 1.1: weeks, + censored; S(10) = .753, sd .0963; median 23.
    seen = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    curve = kaplan_meier([*seen, *censored], [1] * len(seen) + [0] * len(censored))
    assert [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448] == [
        round(float(s), 3) for s in curve.survival_at([6, 7, 10, 13, 16, 22, 23])
    ]
    assert 0.0963 == pytest.approx(math.sqrt(float(curve.variance_at(10))), abs=5e-5)
    assert 23 == curve.median()
    low, high = curve.confidence_at(10.0)
    assert (0.503, 0.889) == (round(float(low), 3), round(float(high), 3))
    assert math.inf == curve.quantile(0.9)
    assert 1.0 == float(curve.tail_at_least(6.0))
    hazard = nelson_aalen([*seen, *censored], [1] * len(seen) + [0] * len(censored))
    assert 3 / 21 + 1 / 17 == pytest.approx(float(hazard.hazard_at(8)), rel=1e-12)
    assert float(curve.survival_at(23)) < float(hazard.survival_at(23))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_without_censoring_it_is_the_empirical_law(durations: list[int]) -> None:
    """The curve is the share that lasted longer, Greenwood's variance the binomial one."""
    curve = kaplan_meier(durations, [1] * len(durations))
    for t in range(10):
        share = sum(d > t for d in durations) / len(durations)
        assert share == pytest.approx(float(curve.survival_at(t)), abs=1e-12)
        binomial = share * (1 - share) / len(durations)
        assert binomial == pytest.approx(float(curve.variance_at(t)), abs=1e-12)
    assert sum(durations) / len(durations) == pytest.approx(curve.restricted_mean(9.0))


def test_a_constant_hazard_is_found_again() -> None:
    """Exponential durations censored at 2 give their rate back in each interval."""
    drawn = np.random.default_rng(4).exponential(1 / 1.5, 40_000)
    rates = piecewise_hazard(np.minimum(drawn, 2.0), drawn <= 2.0, edges=[0.0, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(rates, 1.5, rtol=0.04)


# ---------------------------------------------------------------- scores


def test_scores_have_their_meaning() -> None:
    """Perfect, constant and inverted forecasts score what the definitions say."""
    y = np.array([1, 0, 1, 1, 0, 0, 0, 1])
    assert (0.0, 1.0, 1.0) == (brier_score(y, y), brier_skill_score(y, y), auc(y, y))
    assert (0.5, 0.0) == (auc(np.full(8, 0.3), y), brier_skill_score(np.full(8, 0.5), y))
    assert 0.0 == auc(1 - y, y)
    assert -math.log(1e-15) == pytest.approx(log_loss([0.0], [1]), rel=1e-12)
    assert 0.0 == pytest.approx(log_loss([1.0], [1]), abs=1e-14)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60))
def test_tables_hold_every_forecast_and_auc_counts_pairs(pairs: list[tuple[float, bool]]) -> None:
    """Bins count all forecasts and stay within themselves; AUC is the share of ordered pairs."""
    p, y = np.array([x for x, _ in pairs]), np.array([float(z) for _, z in pairs])
    for equal in ("width", "count"):
        table = reliability_table(p, y, equal=equal)
        assert len(p) == sum(line.count for line in table)
        assert all(x.low - 1e-12 <= x.mean_forecast <= x.high + 1e-12 for x in table)
        assert 0 <= expected_calibration_error(p, y, equal=equal) <= 1
    if 0 < y.sum() < len(y):
        ones, zeros = p[y == 1][:, None], p[y == 0][None, :]
        share = float(np.mean((ones > zeros) + 0.5 * (ones == zeros)))
        assert share == pytest.approx(auc(p, y), abs=1e-12)


def test_an_edge_forecast_belongs_to_the_bin_above() -> None:
    """Bins are closed below; the last one is closed above too."""
    table = reliability_table([0.3, 0.299, 1.0], [1, 0, 1], bins=10)
    assert [(0.2, 1), (0.3, 1), (0.9, 1)] == [(line.low, line.count) for line in table]


def test_the_bootstrap_repeats_and_blocks_widen_it() -> None:
    """One seed gives one interval; runs of like outcomes make the honest interval wider."""
    rng = np.random.default_rng(2)
    y = np.repeat(rng.integers(0, 2, 40), 25).astype(float)
    p = np.full(len(y), 0.6)
    single = block_bootstrap_interval(brier_score, p, y, seed=1, resamples=300)
    blocks = block_bootstrap_interval(brier_score, p, y, seed=1, block=25, resamples=300)
    assert single == block_bootstrap_interval(brier_score, p, y, seed=1, resamples=300)
    assert single.low <= single.value <= single.high
    assert 2 * (single.high - single.low) < blocks.high - blocks.low


# ---------------------------------------------------------------- what is refused

REFUSED: dict[str, Callable[[], object]] = {
    "mu: nan": lambda: erlang_fill_probability(1.0, mu=math.nan),
    "n_ahead: -1": lambda: erlang_fill_probability(1.0, mu=1.0, n_ahead=-1),
    "n_ahead: 1.5": lambda: hypoexponential_fill_probability(1.0, mu=1, theta=1, n_ahead=1.5),  # type: ignore[arg-type]
    "quantity: 0": lambda: filled_quantity_law(1.0, mu=1.0, n_ahead=0, quantity=0),
    "sizes: sum 0.5": lambda: filled_quantity_law(1, mu=1, n_ahead=0, quantity=1, sizes=[0.5]),
    "t: nan": lambda: erlang_fill_probability(math.nan, mu=1.0),
    "sigma: 0": lambda: first_passage_fill_probability(1.0, distance=1.0, sigma=0),
    "distance: -1.0": lambda: first_passage_fill_probability(1.0, distance=-1.0, sigma=1),
    "drift: inf": lambda: first_passage_ever(distance=1.0, sigma=1, drift=math.inf),
    "limit: 0.0": lambda: geometric_fill_probability(1.0, price=1, limit=0, sigma=1),
    "events: 1; allowed: as many": lambda: kaplan_meier([1.0, 2.0], [1]),
    "events: 0.5; allowed: 0 or 1": lambda: kaplan_meier([1.0], [0.5]),
    "durations: 0 numbers; allowed: a list of 1": lambda: kaplan_meier([], []),
    "edges": lambda: piecewise_hazard([1.0], [1], edges=[1.0, 1.0]),
    "level: 1": lambda: kaplan_meier([1.0], [1]).confidence_at(1.0, level=1),
    "p: 1.5": lambda: brier_score([1.5], [1]),
    "y: 2 outcomes": lambda: brier_score([0.5], [1, 0]),
    "y: all outcomes alike": lambda: auc([0.5, 0.6], [1, 1]),
    "equal: 'size'": lambda: reliability_table([0.5], [1], equal="size"),
    "block: 3": lambda: block_bootstrap_interval(brier_score, [0.5], [1], seed=1, block=3),
}


@pytest.mark.parametrize("start", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(start: str) -> None:
    """The fault names the argument, its value and what is allowed."""
    with pytest.raises(InvalidInput) as raised:
        REFUSED[start]()
    assert str(raised.value).startswith(start)
    assert "; allowed: " in str(raised.value)
