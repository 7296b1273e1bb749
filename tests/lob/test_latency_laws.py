"""Moments and quantiles of latencies, known in closed form, are those of the draws."""

import doctest
import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.latency import (
    PROFILES_US,
    Component,
    ConditionedLaw,
    Conditions,
    Constant,
    Empirical,
    Gamma,
    LatencyModel,
    Law,
    LogNormal,
    MM1ExchangeQueue,
    Pareto,
    Shape,
    SumOfLaws,
    Uniform,
    erlang_c,
    leg_law,
    matched,
    pollaczek_khinchine_wait_us,
    round_trip_law,
)
from lob.latency.gamma_law import gamma_quantile, regularised_gamma

LAWS: tuple[Law, ...] = (
    Constant(50.0),
    Uniform(10.0, 30.0),
    LogNormal(100.0, 30.0),
    Gamma(100.0, 30.0),
    Gamma(100.0, 200.0),
    Pareto(80.0, 3.5),
    Empirical((1.0, 2.0, 6.0, 6.0)),
    MM1ExchangeQueue(arrivals_per_second=8e4, services_per_second=1e5),
)
SMOOTH = tuple(law for law in LAWS if not isinstance(law, Constant | Empirical))
SPIKY = Conditions(spike_probability=0.1, spike_multiplier=8.0, min_us=60.0, max_us=900.0)


@pytest.mark.parametrize("name", ["distributions", "gamma_law", "conditioned", "exchange_queue"])
def test_examples(name: str) -> None:
    """The docstrings' examples hold."""
    tried = doctest.testmod(importlib.import_module(f"lob.latency.{name}"))
    assert 0 == tried.failed
    assert tried.attempted > 0


@given(law=st.sampled_from(SMOOTH), level=st.floats(0.0005, 0.9995))
def test_quantiles_invert_the_distribution(law: Law, level: float) -> None:
    """F(quantile(level)) is the level."""
    assert math.isclose(level, float(law.cdf(np.array(law.quantile_us(level)))), rel_tol=1e-9)


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("conditions", [Conditions(), SPIKY], ids=["free", "spiky"])
def test_laws_are_those_of_the_draws(law: Law, conditions: Conditions) -> None:
    """Mean, deviation and quantiles of 20,000 draws are near the closed forms."""
    conditioned = ConditionedLaw(law, conditions, factor=1.2)
    rng = np.random.default_rng(3)
    draws = np.array([conditioned.draw(rng) for _ in range(20_000)])

    assert math.isclose(conditioned.mean_us, draws.mean(), rel_tol=0.03)
    assert math.isclose(conditioned.sd_us, draws.std(), rel_tol=0.1, abs_tol=1e-9)
    for level in (0.05, 0.5, 0.89, 0.95, 0.99):
        quantile = conditioned.quantile_us(level)
        assert float((draws <= quantile * (1 + 1e-9)).mean()) >= level - 0.015
        assert float((draws < quantile * (1 - 1e-9)).mean()) <= level + 0.015


@given(
    mean=st.floats(1, 1_000), cv=st.floats(0.05, 0.5), shape=st.sampled_from(Shape),
    chance=st.floats(0, 1), multiplier=st.floats(1, 20), factor=st.floats(0.1, 5),
)  # fmt: skip
def test_spike_mixture_moments(
    mean: float, cv: float, shape: Shape, chance: float, multiplier: float, factor: float
) -> None:
    """Unclamped: f m (1 + p (k - 1)), and E[draw^2] = f^2 m^2 (1 + cv^2) (1 + p (k^2 - 1))."""
    law = matched(shape, mean, cv)
    spread = 0.0 if shape is Shape.CONSTANT else cv
    conditions = Conditions(spike_probability=chance, spike_multiplier=multiplier)
    found = ConditionedLaw(law, conditions, factor)

    expected = factor * mean * (1 + chance * (multiplier - 1))
    second = (factor * mean) ** 2 * (1 + spread**2) * (1 + chance * (multiplier**2 - 1))
    assert math.isclose(expected, found.mean_us, rel_tol=1e-9)
    assert math.isclose(second - expected**2, found.sd_us**2, rel_tol=1e-6, abs_tol=1e-6 * second)


def test_clamped_moments_by_hand() -> None:
    """Uniform 0..10 held within 2..6: mean 4.4 and second moment by integration."""
    found = ConditionedLaw(Uniform(0.0, 10.0), Conditions(min_us=2.0, max_us=6.0))
    second = 0.2 * 4 + (6**3 - 2**3) / 30 + 0.4 * 36
    assert math.isclose(0.2 * 2 + (36 - 4) / 20 + 0.4 * 6, found.mean_us, rel_tol=1e-9)
    assert math.isclose(math.sqrt(second - 4.4**2), found.sd_us, rel_tol=1e-9)


def test_clamped_exponential_by_hand() -> None:
    """An exponential of mean 100 capped at 150 has mean 100 (1 - e^-1.5); raised to 50, 110.65."""
    law = MM1ExchangeQueue(0.0, 10_000.0)
    capped = ConditionedLaw(law, Conditions(max_us=150.0))
    raised = ConditionedLaw(law, Conditions(min_us=50.0))
    assert math.isclose(100 * -math.expm1(-1.5), capped.mean_us, rel_tol=1e-9)
    assert math.isclose(50 + 100 * math.exp(-0.5), raised.mean_us, rel_tol=1e-9)


def test_regularised_gamma() -> None:
    """Abramowitz and Stegun: P(1, x) = 1 - e^-x; P(1/2, x) = erf(sqrt x); Erlang sums."""
    x = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 30.0, math.inf])
    assert np.allclose(-np.expm1(-x), regularised_gamma(1.0, x), rtol=1e-12, atol=1e-15)
    halves = [math.erf(math.sqrt(value)) for value in x]
    assert np.allclose(halves, regularised_gamma(0.5, x), rtol=1e-12, atol=1e-15)
    erlang = 1 - math.exp(-9) * math.fsum(9**k / math.factorial(k) for k in range(10))
    assert math.isclose(erlang, float(regularised_gamma(10.0, np.array(9.0))), rel_tol=1e-12)


@given(shape=st.floats(0.05, 5_000), level=st.floats(1e-6, 1 - 1e-6))
@settings(deadline=None)
def test_gamma_quantiles(shape: float, level: float) -> None:
    """P(shape, quantile) is the level, for small shapes and for large ones."""
    found = gamma_quantile(shape, level)
    assert math.isclose(level, float(regularised_gamma(shape, np.array(found))), rel_tol=1e-8)


@pytest.mark.parametrize("name", PROFILES_US)
@pytest.mark.parametrize("shape", [Shape.LOGNORMAL, Shape.GAMMA, Shape.PARETO, Shape.CONSTANT])
def test_round_trips_of_profiles(name: str, shape: Shape) -> None:
    """Order + exchange + fill: means add, variances add, percentiles are near those drawn."""
    model = LatencyModel.profile(name, seed=5, shape=shape)
    way = round_trip_law(model)
    means = [PROFILES_US[name][leg] for leg in Component if leg is not Component.FEED]
    spread = 0.0 if shape is Shape.CONSTANT else 0.3

    assert math.isclose(sum(means), way.mean_us)
    expected = spread * math.sqrt(sum(mean**2 for mean in means))
    assert math.isclose(expected, way.sd_us, rel_tol=1e-9, abs_tol=1e-9)
    drawn = model.percentiles(4_000)["round_trip"]
    for level in (50, 95, 99):
        assert math.isclose(way.quantile_us(level / 100), drawn[f"p{level}"], rel_tol=0.06)


def test_sum_of_two_exponentials_is_erlang() -> None:
    """The convolution on the grid against the closed form 1 - e^-x (1 + x), to its step."""
    law = MM1ExchangeQueue(0.0, 1e6)
    twice = SumOfLaws((law, law))
    for level in (0.01, 0.5, 0.99, 0.9999):
        assert math.isclose(gamma_quantile(2.0, level), twice.quantile_us(level), abs_tol=1.5e-3)
    assert math.isclose(1 - 3 * math.exp(-2), float(twice.cdf(np.array(2.0))), abs_tol=1e-3)


def test_hours_and_volatility_reach_the_law() -> None:
    """A leg's law is scaled by the hour and the volatility that its draws are scaled by."""
    hours = tuple(2.0 if hour == 9 else 1.0 for hour in range(24))
    conditions = Conditions(hour_multipliers=hours, volatility_sensitivity=0.5)
    model = LatencyModel.profile("retail", seed=1, conditions=conditions)
    nine = 9 * 3_600_000_000_000
    assert math.isclose(40_000.0, leg_law(model, Component.ORDER, nine, 3.0).mean_us)


@given(load=st.floats(0, 0.99), level=st.floats(0.01, 0.99))
def test_exchange_queue(load: float, level: float) -> None:
    """Little's law, the split of the stay, and quantiles that invert the distributions."""
    queue = MM1ExchangeQueue(load * 1e5, 1e5)
    assert math.isclose(queue.mean_wait_us + 10, queue.mean_us, rel_tol=1e-9)
    assert math.isclose(load * 0.1 * queue.mean_us, queue.mean_messages, rel_tol=1e-6, abs_tol=1e-9)
    wait = queue.wait_quantile_us(level)
    reached = float(queue.wait_cdf(np.array(wait)))
    assert math.isclose(max(level, 1 - queue.utilisation), reached, rel_tol=1e-9)
    assert math.isclose(load, erlang_c(1, load), abs_tol=1e-12)
    waits = pollaczek_khinchine_wait_us(load * 1e5, MM1ExchangeQueue(0.0, 1e5))
    assert math.isclose(queue.mean_wait_us, waits, rel_tol=1e-9, abs_tol=1e-12)


def test_exchange_queue_by_lindley() -> None:
    """Waits simulated one after another (Lindley's recursion) have the mean and the quantile."""
    rng = np.random.default_rng(4)
    gaps, services = rng.exponential(20.0, 100_000), rng.exponential(10.0, 100_000)
    waits, wait = [], 0.0
    for gap, service in zip(gaps.tolist(), services.tolist(), strict=True):
        waits.append(wait)
        wait = max(0.0, wait + service - gap)
    queue = MM1ExchangeQueue(5e4, 1e5)
    assert math.isclose(queue.mean_wait_us, float(np.mean(waits)), rel_tol=0.05)
    assert math.isclose(queue.wait_quantile_us(0.9), float(np.quantile(waits, 0.9)), rel_tol=0.05)


def test_exchange_queue_is_a_leg() -> None:
    """A queue can be the exchange's leg of a model, which then draws stays of its mean."""
    legs: dict[Component, Law] = dict.fromkeys(Component, Constant(1.0))
    legs[Component.EXCHANGE] = MM1ExchangeQueue(8e4, 1e5)
    model = LatencyModel(legs, seed=1)
    mean_ns = sum(model.draw_ns(Component.EXCHANGE) for _ in range(20_000)) / 20_000
    assert math.isclose(50_000, mean_ns, rel_tol=0.03)
    assert math.isclose(52.0, round_trip_law(model).mean_us)


def test_erlang_c_of_a_published_case() -> None:
    """Ten servers at a load of 8 Erlang: 40.9 per cent wait (the common call-centre table)."""
    assert 0.4092 == round(erlang_c(10, 8.0), 4)
    assert 0.0 == erlang_c(3, 0.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Uniform(1, 2).quantile_us(1.1), "level: 1.1; allowed: 0..1"),
        (lambda: Gamma(1, 2).quantile_us(math.nan), "level: nan"),
        (lambda: MM1ExchangeQueue(2.0, 2.0), "arrivals_per_second: 2.0; allowed: below 2.0"),
        (lambda: MM1ExchangeQueue(0.0, math.inf), "services_per_second: inf"),
        (lambda: pollaczek_khinchine_wait_us(1e6, Constant(1.0)), "arrivals_per_second: util"),
        (lambda: erlang_c(2, 2.0), "offered_load: 2.0; allowed: below 2"),
        (lambda: regularised_gamma(0.0, np.ones(1)), "shape: 0.0"),
        (lambda: regularised_gamma(1.0, -np.ones(1)), "x: -1.0"),
        (lambda: SumOfLaws(()), "laws: "),
        (lambda: SumOfLaws((Uniform(1, 2),)).quantile_us(1 - 1e-9), "level: 0.99"),
    ],
)
def test_wrong_arguments_are_named(call: object, said: str) -> None:
    """Each refusal is one line that names the argument and its value."""
    with pytest.raises(InvalidInput, match=said):
        call()  # type: ignore[operator]
