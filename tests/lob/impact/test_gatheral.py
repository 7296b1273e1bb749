"""Kernels integrate as they say, and round trips pay only where the paper says they do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.impact import (
    GAMMA_STAR,
    ExponentialKernel,
    Kernel,
    MixedKernel,
    PermanentKernel,
    PowerImpact,
    PowerLawKernel,
    ShiftedPowerLawKernel,
    gatheral_no_arbitrage,
    gatheral_two_rate_cost,
    obizhaeva_wang_continuous,
    power_law_optimal_cost,
    power_law_optimal_rate,
    power_law_vwap_cost,
    propagator_cost,
    propagator_price_path,
    round_trip_cost,
)

KERNELS: list[Kernel] = [
    PermanentKernel(),
    ExponentialKernel(0.0),
    ExponentialKernel(0.7),
    ExponentialKernel(40.0),
    PowerLawKernel(0.4),
    ShiftedPowerLawKernel(30.0, 1.5),
    ShiftedPowerLawKernel(0.5, 1.0),
    ShiftedPowerLawKernel(0.5, 2.0),
    MixedKernel((ExponentialKernel(1.0), PermanentKernel()), (0.25, 0.75)),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_kernels_integrate_themselves(kernel: Kernel) -> None:
    """`first` and `second` are the integrals of G, from 0, at small ages and large."""
    for far in (1e-3, 0.3, 3.0, 50.0):
        # Squares of a fine grid: the power law is infinite at 0, but not its integral.
        u = np.linspace(0, 1, 40_001)[1:]
        ages = far * u**4
        value, first = kernel.value(ages), kernel.first(ages)
        np.testing.assert_allclose(
            kernel.first(far),
            np.trapezoid(value * 4 * far * u**3, u) + kernel.first(ages[0]),
            rtol=1e-6,
        )
        np.testing.assert_allclose(
            kernel.second(far), np.trapezoid(first * 4 * far * u**3, u), rtol=1e-6
        )
    assert 0.0 == kernel.first(0.0) == kernel.second(0.0)


@given(rho=st.floats(1e-9, 1e3), t=st.floats(0, 1e3))
def test_exponential_cost_loses_no_digits(rho: float, t: float) -> None:
    """t^2 / 2 for a slow kernel, t / rho for a fast one, between the two always."""
    got = float(ExponentialKernel(rho).second(t))

    assert got <= t * t / 2 * (1 + 1e-12)
    assert got <= t / rho * (1 + 1e-12)
    assert got >= t * t / (2 + rho * t) * (1 - 1e-12)


def test_permanent_linear_impact_is_free_in_a_round_trip() -> None:
    """Only linear permanent impact leaves no round trip that pays (Huberman and Stanzl)."""
    times, rates = [0, 1, 3, 4], [5, -1, -3]
    permanent = PermanentKernel()

    assert abs(propagator_cost(times, rates, permanent)) < 1e-12
    # Concave: buying slowly and selling fast pays; convex: the other way round.
    assert round_trip_cost(1, 3, 0.75, 1, permanent, PowerImpact(0.5)) < 0
    assert round_trip_cost(3, 1, 0.25, 1, permanent, PowerImpact(2.0)) < 0


@pytest.mark.parametrize("rho", [0.5, 2.0, 20.0])
def test_exponential_decay_admits_linear_impact_only(rho: float) -> None:
    """Section on exponential decay: a nonlinear f has a round trip that pays, a linear one none."""
    shares = np.linspace(0.02, 0.98, 97)

    def least(delta: float) -> float:
        return min(
            round_trip_cost(
                1.0, theta / (1 - theta), theta, horizon, ExponentialKernel(rho), PowerImpact(delta)
            )
            for theta in shares.tolist()
            for horizon in (0.01, 0.1)
        )

    assert least(1.0) >= 0
    assert least(0.5) < 0
    assert least(1.8) < 0


@given(gamma=st.floats(0.05, 0.95), delta=st.floats(0.1, 3), theta=st.floats(0.05, 0.95))
def test_two_rate_cost_is_the_propagators(gamma: float, delta: float, theta: float) -> None:
    """The dimensionless round trip is the propagator's own cost, whatever T and the rates are."""
    v1, horizon = 3.0, 2.5
    v2 = v1 * theta / (1 - theta)
    cost = round_trip_cost(v1, v2, theta, horizon, PowerLawKernel(gamma), PowerImpact(delta))
    unit = v2 * v1**delta * horizon ** (2 - gamma) / ((1 - gamma) * (2 - gamma))

    got = float(gatheral_two_rate_cost(gamma, delta, theta))
    assert math.isclose(cost / unit, got, rel_tol=1e-9, abs_tol=1e-11)


@pytest.mark.parametrize(
    ("gamma", "delta", "total", "star", "pays"),
    [
        (0.5, 0.5, True, True, False),
        (0.42, 0.6, True, True, False),
        (0.45, 30.0, True, True, False),
        (0.3, 0.5, False, False, True),
        (0.6, 0.2, False, True, True),
        (0.3, 30.0, True, False, True),
        (0.41, 200.0, True, False, True),
        (0.3, 0.9, True, False, False),
    ],
)
def test_the_papers_conditions(
    gamma: float, delta: float, total: bool, star: bool, pays: bool
) -> None:
    """Round trips pay where gamma + delta < 1, and below gamma* for an f convex enough."""
    got = gatheral_no_arbitrage(gamma, delta)

    assert (total, star, pays) == (got.sum_holds, got.star_holds, got.round_trip < 0)
    assert (total and star and not pays) == got.holds
    assert math.isclose(2**GAMMA_STAR, 4 / 3)


def test_path_rises_while_trading_and_decays_after() -> None:
    """The price of a constant rate is f(v) times the kernel's integral, then its differences."""
    kernel = PowerLawKernel(0.4)
    moved = propagator_price_path([0, 0.5, 1, 3], [0, 1], [4], kernel, PowerImpact(0.5))

    np.testing.assert_allclose(
        moved, 2 / 0.6 * np.array([0, 0.5**0.6, 1, 3**0.6 - 2**0.6]), rtol=1e-12
    )


def test_an_even_schedule_has_the_closed_form() -> None:
    """VWAP cost: the square-root law for gamma = delta = 1/2, and any split gives the same."""
    whole = power_law_vwap_cost(1e4, 2.0, 0.5, 0.5, 0.1)
    split = propagator_cost([0, 0.3, 1.1, 2], [5e3] * 3, PowerLawKernel(0.5), PowerImpact(0.5, 0.1))

    assert math.isclose(whole, split, rel_tol=1e-12)
    assert math.isclose(whole, power_law_vwap_cost(1e4, 7.0, 0.5, 0.5, 0.1))
    assert math.isclose(whole, 0.1 * 1e4**1.5 / (0.5 * 1.5))


def test_optimal_rate_under_a_power_law() -> None:
    """Its cost is the closed form, below that of even trading, and its shape is the solution's."""
    angles = np.linspace(0, math.pi, 1_501)
    times = (1 - np.cos(angles)) * 1.5
    middle = (times[1:] + times[:-1]) / 2
    rates = power_law_optimal_rate(middle, 100.0, 3.0, 0.5)
    shares = float(rates @ np.diff(times))
    cost = propagator_cost(times, rates, PowerLawKernel(0.5)) / (shares / 100) ** 2
    best = power_law_optimal_cost(100.0, 3.0, 0.5)

    assert math.isclose(100, shares, rel_tol=1e-3)
    assert math.isclose(best, cost, rel_tol=1e-5)
    assert best < cost
    assert best < power_law_vwap_cost(100.0, 3.0, 0.5, 1.0)


def test_exponential_optimum_is_obizhaeva_and_wangs() -> None:
    """Short bursts in place of the blocks cost what the closed form of the resilient book says."""
    plan = obizhaeva_wang_continuous(1.0, 1.0, 2.0, 1.0)
    burst = 1e-5
    times = [0, burst, 1 - burst, 1]
    rates = [plan.x0 / burst, plan.rate / (1 - 2 * burst), plan.xT / burst]
    cost = propagator_cost(times, rates, ExponentialKernel(2.0))

    assert math.isclose(plan.transient_cost, cost, rel_tol=1e-4)


@given(
    rates=st.lists(st.floats(-10, 10), min_size=1, max_size=8),
    kernel=st.sampled_from(KERNELS),
)
def test_linear_impact_with_convex_decay_is_never_free(rates: list[float], kernel: Kernel) -> None:
    """Convex decreasing kernels are positive definite: no schedule has a cost below 0."""
    times = np.arange(len(rates) + 1) / 3

    assert propagator_cost(times, rates, kernel) >= -1e-9 * (1 + float(np.square(rates).sum()))


def test_refusals_name_the_argument() -> None:
    """Round trips must end where they began, exponents lie where integrals are finite."""
    kernel = PowerLawKernel(0.5)
    with pytest.raises(InvalidInput, match=r"^v2: 2\.0; allowed: v1 theta / \(1 - theta\)"):
        round_trip_cost(1.0, 2.0, 0.5, 1.0, kernel)
    with pytest.raises(InvalidInput, match=r"^gamma: 1\.0; allowed: above 0 and below 1$"):
        PowerLawKernel(1.0)
    with pytest.raises(InvalidInput, match=r"^rates: 3; allowed: one fewer than times \(2\)$"):
        propagator_cost([0, 1, 2], [1, 2, 3], kernel)
    with pytest.raises(InvalidInput, match=r"^t: -1\.0; allowed: finite numbers of 0 or more$"):
        kernel.value([-1.0])
    with pytest.raises(InvalidInput, match=r"^rates: nan; allowed: finite numbers$"):
        propagator_cost([0, 1], [math.nan], kernel)
