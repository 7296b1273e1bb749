"""Moments, tails and sums of latencies from their definitions: integrals, not the closed forms."""

import itertools
import math

import numpy as np
import pytest

from lob.latency import (
    Gamma,
    LogNormal,
    MM1ExchangeQueue,
    Pareto,
    Shape,
    erlang_c,
    matched,
    pollaczek_khinchine_wait_us,
)


@pytest.mark.parametrize("shape", [Shape.LOGNORMAL, Shape.GAMMA, Shape.PARETO, Shape.UNIFORM])
@pytest.mark.parametrize("cv", [0.1, 0.3, 0.5])
def test_the_first_two_moments_are_matched(shape: Shape, cv: float) -> None:
    """Mean and deviation as areas under the quantile function are those asked for."""
    law = matched(shape, mean_us=250.0, cv=cv)
    # Levels bunched at both ends, where a tail keeps much of its second moment.
    at, weights = np.polynomial.legendre.leggauss(12)
    mean = square = 0.0
    edges = [0.0, *(1e-6 * 10 ** np.arange(6)), 0.5, *(1 - 0.1 ** np.arange(1, 11)), 1.0]
    for low, high in itertools.pairwise(edges):
        half = (high - low) / 2
        times = np.array([law.quantile_us(float(low + half * (1 + x))) for x in at])
        mean += float(half * weights @ times)
        square += float(half * weights @ times**2)

    assert 250.0 == pytest.approx(mean, rel=1e-6)
    assert cv * 250.0 == pytest.approx(math.sqrt(square - mean**2), rel=2e-3)


def test_parameters_as_the_textbooks_have_them() -> None:
    """Lognormal: sigma^2 = ln(1 + cv^2); gamma: shape 1 / cv^2; Pareto: mean a m / (a - 1)."""
    mu, sigma = LogNormal(200.0, 100.0).parameters
    shape, scale = Gamma(200.0, 100.0).parameters
    pareto = Pareto(scale_us=100.0, shape=3.0)

    assert math.log(1.25) == pytest.approx(sigma**2)
    assert 200.0 == pytest.approx(math.exp(mu + sigma**2 / 2))
    assert (4.0, 50.0) == pytest.approx((shape, scale))
    assert 150.0 == pareto.mean_us
    assert 100.0 * math.sqrt(3) / 2 == pytest.approx(pareto.sd_us)
    assert 0.5**3 == pytest.approx(1 - float(pareto.cdf(np.array(200.0))))


def test_gamma_of_a_whole_shape_is_erlangs_sum() -> None:
    """Shape 4: one less e^-x (1 + x + x^2 / 2 + x^3 / 6)."""
    law = Gamma(mean_us=200.0, sd_us=100.0)
    for time in (10.0, 150.0, 900.0):
        x = time / 50.0
        few = math.exp(-x) * sum(x**k / math.factorial(k) for k in range(4))
        assert 1 - few == pytest.approx(float(law.cdf(np.array(time))), abs=1e-12)


def test_the_exchanges_queue_by_its_balance() -> None:
    """M/M/1: the stay is a geometric number of services; Khinchine's wait; Erlang's C as a sum."""
    queue = MM1ExchangeQueue(arrivals_per_second=8_000.0, services_per_second=10_000.0)
    rho = 0.8
    number = sum(n * (1 - rho) * rho**n for n in range(600))
    waits = pollaczek_khinchine_wait_us(8_000.0, matched(Shape.GAMMA, 100.0, 1.0))
    load, servers = 8.0, 10
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    others = sum(load**k / math.factorial(k) for k in range(servers))

    assert number == pytest.approx(queue.mean_messages, rel=1e-9)
    assert 100.0 * (number + 1) == pytest.approx(queue.mean_us)
    assert queue.mean_wait_us == pytest.approx(waits)
    assert last / (others + last) == pytest.approx(erlang_c(servers, load))
