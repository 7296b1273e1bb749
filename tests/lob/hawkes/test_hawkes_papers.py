"""Hawkes' rates, likelihoods and covariances by sums, families, and integral equations."""

import doctest
import math
from typing import Any

import numpy as np
import pytest

from lob.errors import InvalidInput
from lob.hawkes import (
    HawkesProcess,
    closed_forms,
    hawkes_branching_ratio,
    hawkes_count_covariance,
    hawkes_covariance_density,
    hawkes_intensity,
    hawkes_log_likelihood,
    hawkes_stationary_rates,
    simulate,
)

PAIR: dict[str, Any] = {
    "mu": [0.5, 0.3],
    "alpha": [[0.4, 0.6], [0.3, 0.2]],
    "beta": [[2.0, 2.5], [1.5, 1.0]],
}


def test_stationary_rates_are_the_families_sum() -> None:
    """Generation after generation: mu + G mu + G^2 mu + .., G the offspring of one event."""
    norms = np.array(PAIR["alpha"]) / np.array(PAIR["beta"])
    generation, total = np.array(PAIR["mu"]), np.zeros(2)
    for _ in range(400):
        total += generation
        generation = norms @ generation

    assert total == pytest.approx(hawkes_stationary_rates(**PAIR), rel=1e-12)
    trace, determinant = np.trace(norms), np.linalg.det(norms)
    radius = (trace + math.sqrt(trace**2 - 4 * determinant)) / 2
    assert radius == pytest.approx(hawkes_branching_ratio(PAIR["alpha"], PAIR["beta"]))
    assert 0.7 / (1 - 0.9 / 1.2) == pytest.approx(float(hawkes_stationary_rates(0.7, 0.9, 1.2)))


def test_the_likelihood_by_double_sums() -> None:
    """Two components: each intensity summed over all earlier events, compensators by hand."""
    events = [[0.3, 1.1, 1.9, 4.0], [0.2, 1.5, 3.3]]
    horizon, total = 5.0, 0.0
    for i in range(2):
        total -= PAIR["mu"][i] * horizon
        for j in range(2):
            a, b = PAIR["alpha"][i][j], PAIR["beta"][i][j]
            total -= sum(a / b * (1 - math.exp(-b * (horizon - s))) for s in events[j])
        for t in events[i]:
            rate = PAIR["mu"][i] + sum(
                PAIR["alpha"][i][j] * math.exp(-PAIR["beta"][i][j] * (t - s))
                for j in range(2)
                for s in events[j]
                if s < t
            )
            assert rate == pytest.approx(float(hawkes_intensity(t, events, **PAIR)[i]))
            total += math.log(rate)

    assert total == pytest.approx(hawkes_log_likelihood(events, horizon, **PAIR), rel=1e-12)


def test_covariances_solve_hawkes_integral_equation() -> None:
    """C(u) = phi(u) Lambda + int over all s of phi(u - s) C(s) ds, u above 0, C(-s) = C(s)'."""
    alpha, beta = np.array(PAIR["alpha"]), np.array(PAIR["beta"])
    rates = np.diag(hawkes_stationary_rates(**PAIR))
    at, weights = np.polynomial.legendre.leggauss(60)

    def phi(u: float) -> Any:
        return alpha * np.exp(-beta * u)

    def covariance(s: float) -> Any:
        found = hawkes_covariance_density(abs(s), **PAIR)
        return found if s > 0 else found.T

    for u in (0.05, 0.7, 2.0):
        total = phi(u) @ rates
        for low, high in ((u - 40, u - 8), (u - 8, min(0, u - 1)), (min(0, u - 1), 0), (0, u)):
            half = (high - low) / 2
            for node, weight in zip(low + half * (1 + at), half * weights, strict=True):
                total = total + weight * phi(u - node) @ covariance(node)
        assert total == pytest.approx(hawkes_covariance_density(u, **PAIR), rel=1e-6)


def test_counts_vary_as_a_simulation_of_them_does() -> None:
    """Counts in windows of four seconds: variances and covariance within a few per cent."""
    process = HawkesProcess(
        tuple(PAIR["mu"]), tuple(map(tuple, PAIR["alpha"])), tuple(map(tuple, PAIR["beta"]))
    )
    horizon, window = 40_000.0, 4.0
    streams = simulate(process, horizon, seed=4)
    counts = [np.histogram(s, np.arange(100.0, horizon, window))[0] for s in streams]
    exact = hawkes_count_covariance(window, **PAIR)

    assert np.cov(counts) == pytest.approx(exact, rel=0.08)
    means = [float(np.mean(c)) / window for c in counts]
    assert means == pytest.approx(hawkes_stationary_rates(**PAIR), rel=0.03)


def test_one_component_has_the_published_forms() -> None:
    """The covariance density and the variance of a count, written out for one exponential."""
    mu, alpha, beta = 0.5, 0.8, 1.6
    rate, gap, kappa = 1.0, 0.8, 1 / (1 - 0.5)
    for span in (1e-6, 0.1, 1.0, 30.0):
        # Da Fonseca and Zaatour (Journal of Futures Markets 34, 2014), proposition 2.
        spread = rate * (span * kappa**2 + (1 - kappa**2) * (1 - math.exp(-span * gap)) / gap)
        found = float(hawkes_count_covariance(span, mu=mu, alpha=alpha, beta=beta))
        assert spread == pytest.approx(found, rel=1e-8)
    lags = np.array([0.0, 0.5, 3.0])
    assert HawkesProcess.univariate(mu, alpha, beta).covariance_density(lags) == pytest.approx(
        hawkes_covariance_density(lags, mu=mu, alpha=alpha, beta=beta)
    )


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"mu": 1.0, "alpha": 2.0, "beta": 2.0}, "branching ratio: 1; allowed: below 1"),
        ({"mu": [1.0, 1.0], "alpha": [[0.1]], "beta": 1.0}, "alpha: 1x1; allowed: one number"),
        ({"mu": [[1.0]], "alpha": 0.1, "beta": 1.0}, "mu: 2 dimensions; allowed: one number"),
        ({"mu": -1.0, "alpha": 0.1, "beta": 1.0}, "mu: -1.0; allowed:"),
        ({"mu": 1.0, "alpha": 0.1, "beta": 0.0}, "beta: 0.0; allowed: a finite number above 0"),
    ],
)
def test_what_has_no_stationary_rate(terms: dict[str, Any], message: str) -> None:
    """Each refusal is one line that names the argument and its value."""
    with pytest.raises(InvalidInput) as refused:
        hawkes_stationary_rates(**terms)
    assert str(refused.value).startswith(message)


def test_examples() -> None:
    """The docstrings' examples hold."""
    assert 0 == doctest.testmod(closed_forms).failed
