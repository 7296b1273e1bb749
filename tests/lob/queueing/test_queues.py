"""Queues in closed form: one formula against another, limits, symmetry, and the book itself."""

import doctest
import importlib
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.queueing import (
    SKY_PERFECT,
    BirthDeath,
    ContStoikovTalreja,
    cont_de_larrard_balanced_volatility,
    cont_de_larrard_duration_survival,
    cont_de_larrard_duration_tail,
    cont_de_larrard_mean_duration,
    cont_de_larrard_up_probability,
    cont_de_larrard_volatility,
    cst_bid_fill_probability,
    first_depleted,
    first_of_two,
    heavy_traffic_duration_survival,
    heavy_traffic_mean_duration,
    heavy_traffic_tail_index,
    heavy_traffic_up_probability,
    invert_laplace,
    linear_death,
    matrix_exponential,
    mean_first_depletion,
    mm1_first_passage_cdf,
    mm1_first_passage_laplace,
    mm1_first_passage_mean,
    mm1_first_passage_pdf,
    mm1_first_passage_variance,
    mm1_stationary_law,
    queue_reactive_stationary_law,
    simulate_bid_fill,
    simulate_making_the_spread,
    simulate_mid_up,
)
from lob.queueing.special import beta_p, gamma_p, log_bessel_i, normal_cdf, scaled_bessel_i

RATES = st.floats(0.1, 20.0)
QUEUES = st.integers(1, 8)
MODULES = (
    "birth_death",
    "cont_de_larrard",
    "cont_stoikov_talreja",
    "heavy_traffic",
    "laplace",
    "mm1",
    "race",
    "special",
    "stationary",
    "touch_simulation",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_the_docstrings_hold(name: str) -> None:
    """Every example of the package gives what it says."""
    tried = doctest.testmod(importlib.import_module(f"lob.queueing.{name}"))
    assert (0, True) == (tried.failed, tried.attempted > 0)


# ---------------------------------------------------------------- special functions


def test_special_functions_have_their_textbook_values() -> None:
    """Bessel, gamma, beta and normal functions are those of Abramowitz and Stegun."""
    # Tables 9.8 (e^-x I_0 and I_1 at 1), 9.11 (I_10 at 1), 26.5.2 and elementary cases.
    logs = log_bessel_i(10, 1.0)
    assert 0.4657596076 == pytest.approx(math.exp(logs[0]), abs=1e-10)
    assert 0.2079104154 == pytest.approx(math.exp(logs[1]), abs=1e-10)
    assert 2.752948040e-10 == pytest.approx(math.exp(logs[10] + 1), rel=1e-9)
    for z in (0.3, 5.0, 80.0):
        half = math.sqrt(2 / (math.pi * z)) * -math.expm1(-2 * z) / 2
        assert half == pytest.approx(scaled_bessel_i(0.5, z), rel=1e-11)
        assert math.exp(log_bessel_i(3, z)[3]) == pytest.approx(scaled_bessel_i(3, z), rel=1e-11)
    assert 1 - math.exp(-2) * 3 == pytest.approx(float(gamma_p(2.0, 2.0)), rel=1e-13)
    assert 0.5248 == pytest.approx(float(beta_p(2, 3, 0.4)), rel=1e-13)
    assert 0.841344746068543 == pytest.approx(float(normal_cdf(1.0)), rel=1e-13)


# ---------------------------------------------------------------- one queue


@given(x=QUEUES, lam=RATES, delta=RATES, t=st.floats(0.01, 5.0))
@settings(max_examples=25, deadline=None)
def test_first_passage_is_one_law_by_every_way(x: int, lam: float, delta: float, t: float) -> None:
    """Reflection, uniformisation and the inverted transforms agree on the M/M/1 queue."""
    closed = float(mm1_first_passage_cdf(t, x=x, lam=lam, delta=delta))
    queue = BirthDeath(lam, delta)
    assert closed == pytest.approx(float(queue.first_passage_cdf(t, start=x)), abs=1e-10)
    root = invert_laplace(lambda s: mm1_first_passage_laplace(s, x=x, lam=lam, delta=delta) / s, t)
    assert closed == pytest.approx(float(root), abs=1e-6)
    s = np.array([0.5 + 1j, 2.0 + 0j])
    np.testing.assert_allclose(
        queue.first_passage_laplace(s, start=x),
        mm1_first_passage_laplace(s, x=x, lam=lam, delta=delta),
        atol=1e-11,
    )
    density = mm1_first_passage_pdf(t, x=x, lam=lam, delta=delta)
    assert float(density) == pytest.approx(float(queue.first_passage_pdf(t, start=x)), abs=1e-9)


@pytest.mark.parametrize(("lam", "delta"), [(12.0, 13.0), (0.0, 2.0), (1.0, 5.0)])
def test_moments_are_those_of_the_law(lam: float, delta: float) -> None:
    """The closed mean and variance are the recursion's, and none is finite without drift."""
    queue = BirthDeath(lam, delta)
    assert mm1_first_passage_mean(x=4, lam=lam, delta=delta) == pytest.approx(
        queue.first_passage_mean(start=4), rel=1e-9
    )
    assert mm1_first_passage_variance(x=4, lam=lam, delta=delta) == pytest.approx(
        queue.first_passage_variance(start=4), rel=1e-9
    )
    assert math.inf == BirthDeath(1.0, 1.0).first_passage_mean(start=1)


def test_first_passage_at_the_edges() -> None:
    """At 0 nothing has happened, for ever all that can; a queue no one takes from never ends."""
    edges = [0.0, math.inf]
    assert [0.0, 1.0] == list(mm1_first_passage_cdf(edges, x=3, lam=1, delta=1))
    assert [0.0, 0.125] == list(mm1_first_passage_cdf(edges, x=3, lam=2, delta=1))
    assert [0.0, 0.0] == list(mm1_first_passage_cdf(edges, x=3, lam=2, delta=0))
    growing = mm1_first_passage_cdf(np.linspace(0, 20, 50), x=3, lam=2, delta=1)
    assert np.all(np.diff(growing) >= 0)


def test_uniformisation_is_the_matrix_exponential() -> None:
    """A queue with cancels that never grows beyond three is solved by exp(Q t) as well."""
    births = [1.5, 1.5, 1.5, 0.0]
    queue = BirthDeath(births, linear_death(0.9, 0.7))
    generator = np.zeros((4, 4))
    for n in range(1, 4):
        generator[n, n - 1] = 0.9 + 0.7 * n
        if n < 3:
            generator[n, n + 1] = births[n]
        generator[n, n] = -generator[n].sum()
    for t in (0.2, 1.0, 7.0):
        expected = float(matrix_exponential(generator * t)[2, 0])
        assert expected == pytest.approx(float(queue.first_passage_cdf(t, start=2)), abs=1e-11)


def test_stationary_laws_are_the_known_ones() -> None:
    """Cancels in proportion give Poisson's law, constant rates the geometric; balance holds."""
    law = queue_reactive_stationary_law(3.0, lambda n: 1.5 * n, 0.0)
    poisson = [math.exp(-2) * 2**n / math.factorial(n) for n in range(10)]
    np.testing.assert_allclose(law[:10], poisson, rtol=1e-12)
    geometric = BirthDeath(1.0, 2.0).stationary_law()
    np.testing.assert_allclose(
        geometric[:20], mm1_stationary_law(19, lam=1.0, delta=2.0), rtol=1e-12
    )
    limits, cancels, markets = [2.0, 1.0, 0.5], [0.0, 0.2, 0.6], [0.0, 0.5, 0.3]
    found = queue_reactive_stationary_law(limits, cancels, markets)
    flow = found[1] * (cancels[1] + markets[1])
    assert found[0] * limits[0] == pytest.approx(flow, rel=1e-12)
    with pytest.raises(InvalidInput, match="no stationary law"):
        queue_reactive_stationary_law(2.0, 1.0, 0.5)


# ---------------------------------------------------------------- two queues


@given(b=QUEUES, a=QUEUES, spread=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_mid_up_is_fair_and_the_papers_transform_agrees(b: int, a: int, spread: int) -> None:
    """Up one way is down the other; the inverted transform of Proposition 3 gives the same."""
    up = float(SKY_PERFECT.mid_up_probability(b=b, a=a, spread=spread))
    down = float(SKY_PERFECT.mid_up_probability(b=a, a=b, spread=spread))
    assert 1.0 == pytest.approx(up + down, abs=1e-9)
    laplace = SKY_PERFECT.mid_up_probability_laplace(b=b, a=a, spread=spread)
    assert up == pytest.approx(laplace, abs=1e-8)


def test_more_bids_lift_the_mid_and_delay_our_fill() -> None:
    """Probabilities rise with the right queue and fall with the other, at any spread."""
    sizes = np.arange(1, 9)
    grid = {"b": sizes[:, None], "a": sizes[None, :]}
    for spread in (1, 2, 3):
        up = SKY_PERFECT.mid_up_probability(**grid, spread=spread)
        fill = SKY_PERFECT.bid_fill_probability(**grid, spread=spread)
        both = SKY_PERFECT.making_the_spread_probability(**grid, spread=spread)
        assert np.all(np.diff(up, axis=0) > 0)
        assert np.all(np.diff(up, axis=1) < 0)
        assert np.all(np.diff(fill, axis=0) < 0)
        assert np.all(np.diff(fill, axis=1) > 0)
        assert np.all((both > 0) & (both < 1))
        np.testing.assert_allclose(both, both.T, rtol=1e-12)


def test_a_fill_before_the_mid_moves_by_hand() -> None:
    """With no arrivals, an order each: mu against mu + theta, and then there is no queue left."""
    alone = cst_bid_fill_probability(b=1, a=1, lambda_=0.0, theta=1.0, mu=2.0)
    assert 2 / 5 == pytest.approx(float(alone), rel=1e-12)
    model = ContStoikovTalreja(lambda_=(0.0,), theta=(1.0,), mu=2.0)
    assert 0.0 == pytest.approx(float(model.making_the_spread_probability(b=1, a=1)), abs=1e-15)
    assert 1 / 6 == pytest.approx(float(model.mid_move_mean(b=1, a=1)), rel=1e-9)


Simulate = Callable[..., object]


@pytest.mark.parametrize("spread", [1, 2])
def test_the_book_agrees_with_the_closed_forms(spread: int) -> None:
    """Paths through the real book come within four standard errors of each probability."""
    pairs = (
        (simulate_mid_up, SKY_PERFECT.mid_up_probability),
        (simulate_bid_fill, SKY_PERFECT.bid_fill_probability),
        (simulate_making_the_spread, SKY_PERFECT.making_the_spread_probability),
    )
    for simulate, closed in pairs:
        found = simulate(SKY_PERFECT, b=2, a=3, paths=4_000, seed=5, spread=spread)
        exact = float(closed(b=2, a=3, spread=spread))
        error = math.sqrt(exact * (1 - exact) / 4_000)
        assert exact == pytest.approx(found.probability, abs=4 * error)


def test_without_cancels_it_is_cont_and_de_larrards_table() -> None:
    """Constant, balanced rates have the closed form of 2013, and fills still settle."""
    model = ContStoikovTalreja(lambda_=(5.0,), theta=(0.0,), mu=5.0)
    expected = cont_de_larrard_up_probability(2, 3)
    assert float(expected) == pytest.approx(float(model.mid_up_probability(b=2, a=3)), abs=1e-12)
    # Our lone bid, hit at 5, against an ask queue that falls and grows at 5: 1 - (3 - sqrt 5) / 2.
    fill = float(model.bid_fill_probability(b=1, a=1))
    assert (math.sqrt(5) - 1) / 2 == pytest.approx(fill, rel=1e-9)


def test_the_mean_time_to_a_move_is_the_area_of_its_law() -> None:
    """Integrating the distribution of the mid's first move gives its mean."""
    t = np.linspace(0, 60, 6001)
    left = 1 - SKY_PERFECT.mid_move_cdf(t, b=2, a=3, spread=1)
    mean = float(SKY_PERFECT.mid_move_mean(b=2, a=3))
    assert mean == pytest.approx(float(np.sum((left[1:] + left[:-1]) / 2) * 0.01), rel=1e-4)


# ---------------------------------------------------------------- Cont and de Larrard


@pytest.mark.parametrize(
    ("lam", "delta"), [(12.0, 13.0), (1.0, 3.0), (3.0, 1.0), (1.0, 30.0), (0.0, 1.0)]
)
def test_up_probability_is_the_solved_chains(lam: float, delta: float) -> None:
    """The sine transform agrees with the linear equations, with drift of either sign."""
    sizes = np.arange(1, 6)
    found = cont_de_larrard_up_probability(
        sizes[:, None], sizes[None, :], lam=lam, mu=delta / 2, theta=delta / 2
    )
    chain = first_depleted((lam, lam), (delta, delta), sizes=(5, 5)).T
    np.testing.assert_allclose(found, chain, atol=1e-9)


def test_balance_is_a_limit_and_rates_alone_change_nothing() -> None:
    """Nearly balanced rates give nearly the balanced table; speed does not matter."""
    even = float(cont_de_larrard_up_probability(2, 3))
    assert even == pytest.approx(float(cont_de_larrard_up_probability(2, 3, mu=1 + 1e-7)), abs=1e-6)
    fast = cont_de_larrard_up_probability(2, 3, lam=50, mu=20, theta=30)
    assert even == pytest.approx(float(fast), abs=1e-12)
    assert even == pytest.approx(
        float(cont_de_larrard_up_probability(2, 3, lam=0.3, mu=0.1, theta=0.2)), abs=1e-12
    )


def test_long_queues_come_to_the_diffusion() -> None:
    """The discrete table tends to (2 / pi) arctan(n / p), the heavy-traffic form at rho = 0."""
    discrete = float(cont_de_larrard_up_probability(400, 300))
    assert 2 / math.pi * math.atan(4 / 3) == pytest.approx(
        float(heavy_traffic_up_probability(400, 300)), rel=1e-12
    )
    assert discrete == pytest.approx(float(heavy_traffic_up_probability(400, 300)), abs=1e-5)


def test_durations_volatility_and_their_limits() -> None:
    """Mean, tail and volatility of price moves agree with the chain and with each other."""
    rates = {"lam": 12.0, "mu": 10.0, "theta": 3.0}
    chain = mean_first_depletion((12.0, 12.0), (13.0, 13.0), sizes=(3, 4))[-1, -1]
    assert float(chain) == pytest.approx(cont_de_larrard_mean_duration(3, 4, **rates), rel=1e-9)
    late = cont_de_larrard_duration_survival(1e4, n=2, p=3, lam=1, mu=0.5, theta=0.5)
    tail = cont_de_larrard_duration_tail(1e4, n=2, p=3, lam=1)
    assert float(tail) == pytest.approx(float(late), rel=1e-3)
    assert 2.0 == pytest.approx(
        cont_de_larrard_volatility([[1.0]], tick=1.0, lam=0.0, mu=1.0, theta=1.0)
    )
    deep = cont_de_larrard_balanced_volatility([[0.0, 0.0], [0.0, 1.0]], tick=1.0, lam=1.0)
    thin = cont_de_larrard_balanced_volatility([[1.0]], tick=1.0, lam=1.0)
    assert thin / deep == pytest.approx(2.0)


@given(
    x=st.floats(0.1, 50), y=st.floats(0.1, 50), rho=st.floats(-1.0, 0.9), scale=st.floats(0.1, 9)
)
def test_heavy_traffic_is_fair_and_scale_free(x: float, y: float, rho: float, scale: float) -> None:
    """Exchanging the queues gives the complement; only the ratio of the queues matters."""
    up = float(heavy_traffic_up_probability(x, y, rho=rho))
    assert 1 - up == pytest.approx(float(heavy_traffic_up_probability(y, x, rho=rho)), abs=1e-12)
    scaled = heavy_traffic_up_probability(x * scale, y * scale, rho=rho)
    assert up == pytest.approx(float(scaled), abs=1e-10)


def test_heavy_traffic_durations() -> None:
    """Without correlation survival is a product; with it, its area and its tail are known."""
    for at in (0.05, 1.0, 30.0):
        sides = [2 * float(normal_cdf(z / math.sqrt(at))) - 1 for z in (1.0, 2.0)]
        found = heavy_traffic_duration_survival(at, x=1.0, y=2.0)
        assert sides[0] * sides[1] == pytest.approx(float(found), abs=1e-10)
    t = np.geomspace(1e-3, 300, 400)
    left = heavy_traffic_duration_survival(t, x=1.0, y=2.0, rho=-0.8)
    index = heavy_traffic_tail_index(-0.8)
    area = 1e-3 + float(np.sum((left[1:] + left[:-1]) / 2 * np.diff(t)))
    area += float(left[-1]) * 300 / (index - 1)
    assert heavy_traffic_mean_duration(1.0, 2.0, rho=-0.8) == pytest.approx(area, rel=1e-3)


# ---------------------------------------------------------------- what is refused

REFUSED: dict[str, Callable[[], object]] = {
    "x: 0": lambda: mm1_first_passage_cdf(1.0, x=0, lam=1, delta=1),
    "lam: nan": lambda: mm1_first_passage_cdf(1.0, x=1, lam=math.nan, delta=1),
    "t: -1.0": lambda: mm1_first_passage_cdf(-1.0, x=1, lam=1, delta=1),
    "start: 2": lambda: BirthDeath(1.0, 1.0).first_passage_cdf(1.0, start=2, target=2),
    "birth: -1.0": lambda: BirthDeath(-1.0, 1.0).first_passage_cdf(1.0, start=2),
    "spread: 6": lambda: SKY_PERFECT.mid_up_probability(b=1, a=1, spread=6),
    "a: 0.0": lambda: SKY_PERFECT.mid_up_probability(b=1, a=[1, 0]),
    "b: 1.5": lambda: SKY_PERFECT.mid_up_probability(b=1.5, a=1),
    "theta: 1 distances": lambda: ContStoikovTalreja(lambda_=(1, 2), theta=(1,), mu=1),
    "mu: inf": lambda: ContStoikovTalreja(lambda_=(1,), theta=(1,), mu=math.inf),
    "rho: 1": lambda: heavy_traffic_up_probability(1, 1, rho=1),
    "f: not symmetric": lambda: cont_de_larrard_balanced_volatility(
        [[0, 1], [0, 0]], tick=1, lam=1
    ),
    "mu: 0 with theta 0": lambda: cont_de_larrard_up_probability(1, 1, mu=0),
    "paths: 0": lambda: simulate_mid_up(SKY_PERFECT, b=1, a=1, paths=0, seed=1),
    "scale: 0.0": lambda: first_of_two(lambda s: s, lambda s: s, 0.0),
}


@pytest.mark.parametrize("start", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(start: str) -> None:
    """The fault names the argument, its value and what is allowed."""
    with pytest.raises(InvalidInput) as raised:
        REFUSED[start]()
    assert str(raised.value).startswith(start)
    assert "; allowed: " in str(raised.value)
