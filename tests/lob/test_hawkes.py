"""Hawkes processes have their rates, likelihoods and residuals; fits find what was simulated."""

import doctest
import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.hawkes import (
    HawkesProcess,
    fit,
    fit_univariate,
    kolmogorov_smirnov_exponential,
    residual_test,
    residuals,
    simulate,
)
from lob.hawkes.estimation import _negative_log_likelihood
from lob.hawkes.goodness import kolmogorov_tail

PAIR = HawkesProcess((0.5, 0.3), ((0.4, 0.6), (0.3, 0.2)), ((2.0, 2.0), (1.5, 1.0)))
rates = st.floats(0.01, 5.0)


@pytest.mark.parametrize("name", ["process", "simulation", "goodness", "estimation"])
def test_examples(name: str) -> None:
    """The docstrings' examples hold."""
    tried = doctest.testmod(importlib.import_module(f"lob.hawkes.{name}"))
    assert 0 == tried.failed


@given(mu=rates, norm=st.floats(0.0, 0.95), beta=rates)
def test_univariate_rate_is_mu_over_one_minus_the_branching_ratio(
    mu: float, norm: float, beta: float
) -> None:
    """Hawkes 1971: Lambda = mu / (1 - alpha/beta), which E[lambda(t)] tends to from mu."""
    process = HawkesProcess.univariate(mu, norm * beta, beta)

    assert math.isclose(norm, process.branching_ratio, abs_tol=1e-12)
    assert math.isclose(mu / (1 - norm), process.stationary_rates()[0], rel_tol=1e-9)
    assert math.isclose(mu, float(process.expected_rate(0.0)))
    assert math.isclose(mu / (1 - norm), float(process.expected_rate(1e6)), rel_tol=1e-6)


def test_stationary_rates_of_a_pair() -> None:
    """(I - norms)^-1 mu by hand: norms ((0.2, 0.3), (0.2, 0.2)) have determinant 0.58."""
    assert (0.49 / 0.58, 0.34 / 0.58) == pytest.approx(PAIR.stationary_rates(), rel=1e-12)
    assert math.isclose(0.2 + math.sqrt(0.06), PAIR.branching_ratio)


def test_critical_processes_have_no_stationary_rate() -> None:
    """A branching ratio of 1 is refused, and E[lambda] then grows in a straight line."""
    critical = HawkesProcess.univariate(1.0, 2.0, 2.0)
    with pytest.raises(InvalidInput, match="branching ratio: 1; allowed: below 1"):
        critical.stationary_rates()
    assert not critical.is_stationary
    assert math.isclose(1 + 2 * 3.0, float(critical.expected_rate(3.0)))


def test_intensity_and_compensator_by_hand() -> None:
    """Events at 1 and 2: lambda(2) misses the event at 2 itself; Lambda(3) sums both decays."""
    process = HawkesProcess.univariate(0.5, 0.8, 1.6)
    events = [[1.0, 2.0]]

    at_two = process.intensity(2.0, events)
    assert math.isclose(0.5 + 0.8 * math.exp(-1.6), float(at_two[0]))
    grown = 0.5 * 3 + 0.5 * ((1 - math.exp(-3.2)) + (1 - math.exp(-1.6)))
    assert math.isclose(grown, float(process.compensator(3.0, events)[0]))
    expected = math.log(0.5) + math.log(0.5 + 0.8 * math.exp(-1.6)) - grown
    assert math.isclose(expected, process.log_likelihood(events, 3.0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_compensator_is_the_integral_of_the_intensity(seed: int) -> None:
    """A midpoint sum of the intensity over a fine grid gives the compensator."""
    events = simulate(PAIR, 8.0, seed)
    edges = np.linspace(0.0, 8.0, 16_001)
    middles = (edges[1:] + edges[:-1]) / 2
    summed = PAIR.intensity(middles, events).sum(axis=1) * (edges[1] - edges[0])

    assert np.allclose(PAIR.compensator(8.0, events), summed, rtol=2e-3, atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_likelihood_in_one_pass_is_that_of_the_definition(seed: int) -> None:
    """The recursion gives sum of log lambda(t_k) minus the compensators."""
    events = simulate(PAIR, 30.0, seed)
    direct = -float(PAIR.compensator(30.0, events).sum())
    for place, stream in enumerate(events):
        direct += float(np.log(PAIR.intensity(stream, events)[place]).sum())

    assert math.isclose(direct, PAIR.log_likelihood(events, 30.0), rel_tol=1e-9, abs_tol=1e-9)


def test_no_excitement_is_poisson() -> None:
    """With alpha 0 the likelihood is n ln(mu) - mu T, and gaps are exponential of rate mu."""
    process = HawkesProcess.univariate(2.0, 0.0, 1.0)
    events = simulate(process, 2_000.0, seed=4)

    expected = len(events[0]) * math.log(2.0) - 4_000.0
    assert math.isclose(expected, process.log_likelihood(events, 2_000.0))
    gaps = np.diff(events[0], prepend=0.0)
    assert kolmogorov_smirnov_exponential(gaps, rate=2.0).p_value > 0.01


def test_simulation_repeats_and_has_the_rates() -> None:
    """The same seed gives the same times, another does not; counts are near the mean rates."""
    first, again, other = (simulate(PAIR, 4_000.0, seed) for seed in (1, 1, 2))

    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert len(first[0]) != len(other[0])
    for stream, rate in zip(first, PAIR.stationary_rates(), strict=True):
        assert math.isclose(len(stream) / 4_000, rate, rel_tol=0.1)
        assert (np.diff(stream) > 0).all()


def test_counts_are_overdispersed_as_said() -> None:
    """Var N / E N over long windows is near 1 / (1 - ratio)^2 (here 4)."""
    process = HawkesProcess.univariate(1.0, 1.0, 2.0)
    times = simulate(process, 40_000.0, seed=6)[0]
    counts = np.bincount((times // 100).astype(int), minlength=400)

    assert math.isclose(4.0, process.count_variance_ratio())
    assert math.isclose(4.0, counts.var() / counts.mean(), rel_tol=0.25)


def test_residuals_of_the_truth_pass_and_of_poisson_fail() -> None:
    """Rescaled by its own compensator a simulation is Exp(1); by a constant rate it is not."""
    process = HawkesProcess.univariate(0.5, 0.8, 1.6)
    events = simulate(process, 2_000.0, seed=3)
    poisson = HawkesProcess.univariate(len(events[0]) / 2_000, 0.0, 1.0)

    assert residual_test(process, events, 2_000.0)[0].p_value > 0.05
    assert residual_test(poisson, events, 2_000.0)[0].p_value < 1e-6
    rescaled = np.cumsum(residuals(process, events, 2_000.0)[0])
    assert math.isclose(
        float(process.compensator(events[0][-1], events)[0]), float(rescaled[-1]), rel_tol=1e-9
    )


def test_kolmogorov_distribution() -> None:
    """Published quantiles: P(K > 1.3581) = 5 %, 1.6276 = 1 %; both series meet at 1."""
    assert math.isclose(0.05, kolmogorov_tail(1.3581), rel_tol=1e-3)
    assert math.isclose(0.01, kolmogorov_tail(1.6276), rel_tol=1e-3)
    assert math.isclose(kolmogorov_tail(1 - 1e-9), kolmogorov_tail(1.0), abs_tol=1e-8)
    assert 1.0 == kolmogorov_tail(0.0)


def test_gradient_is_that_of_the_likelihood() -> None:
    """Central differences of the likelihood give the gradient that the fit goes by."""
    streams = list(simulate(PAIR, 60.0, seed=9))
    values = np.array([0.5, 0.4, 0.6, 2.0, 2.5])
    _, gradient = _negative_log_likelihood(0, streams, 60.0, values)
    for place in range(len(values)):
        up, down = values.copy(), values.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        slope = (
            _negative_log_likelihood(0, streams, 60.0, up)[0]
            - _negative_log_likelihood(0, streams, 60.0, down)[0]
        ) / 2e-6
        assert math.isclose(slope, float(gradient[place]), rel_tol=1e-5, abs_tol=1e-5)


def test_fit_finds_the_parameters() -> None:
    """From some 5,000 events the estimates are within a few standard errors of the truth."""
    process = HawkesProcess.univariate(0.5, 0.8, 1.6)
    events = simulate(process, 5_000.0, seed=1)[0]
    found = fit_univariate(events, 5_000.0)

    assert found.converged
    assert (0.5,) == pytest.approx(found.process.mu, rel=0.1)
    assert 0.8 == pytest.approx(found.process.alpha[0][0], rel=0.15)
    assert 1.6 == pytest.approx(found.process.beta[0][0], rel=0.15)
    assert found.log_likelihood >= process.log_likelihood([events], 5_000.0)
    assert math.isclose(6 - 2 * found.log_likelihood, found.aic)


def test_fit_of_a_pair_with_one_decay() -> None:
    """With the decay given, norms of a mutually exciting pair come out near the truth."""
    process = HawkesProcess((0.4, 0.4), ((0.2, 0.8), (0.6, 0.2)), ((2.0, 2.0), (2.0, 2.0)))
    events = simulate(process, 3_000.0, seed=2)
    found = fit(events, 3_000.0, beta=2.0)

    assert found.converged
    assert np.allclose(found.process.kernel_norms(), process.kernel_norms(), atol=0.08)
    assert ((2.0, 2.0), (2.0, 2.0)) == found.process.beta


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: HawkesProcess.univariate(-1.0, 1.0, 2.0), "mu: -1.0"),
        (lambda: HawkesProcess.univariate(1.0, math.nan, 2.0), "alpha: nan"),
        (lambda: HawkesProcess.univariate(1.0, 1.0, 0.0), "beta: 0.0"),
        (lambda: HawkesProcess((1.0,), ((1.0, 2.0),), ((1.0,),)), "alpha: 1x2; allowed: 1x1"),
        (lambda: simulate(PAIR, math.inf, 1), "horizon: inf"),
        (lambda: simulate(PAIR, 1e6, 1, max_events=100), "max_events: more than 100"),
        (lambda: PAIR.log_likelihood([[1.0]], 5.0), "events: 1 lists; allowed: 2"),
        (lambda: PAIR.log_likelihood([[2.0, 1.0], []], 5.0), "events: 1.0 at place 1"),
        (lambda: PAIR.log_likelihood([[6.0], []], 5.0), "events: 6.0; allowed: at most 5.0"),
        (lambda: fit_univariate([1.0, 2.0], 5.0), "events: 2 numbers; allowed: a list of 3"),
        (lambda: PAIR.expected_rate(1.0), "components: 2"),
    ],
)
def test_wrong_arguments_are_named(call: object, said: str) -> None:
    """Each refusal is one line that names the argument and its value."""
    with pytest.raises(InvalidInput, match=said):
        call()  # type: ignore[operator]
