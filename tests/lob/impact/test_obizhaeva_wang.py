"""The resilient book's schedules are optimal, discrete and continuous, with and without risk."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.impact import (
    obizhaeva_wang_ask,
    obizhaeva_wang_coefficients,
    obizhaeva_wang_continuous,
    obizhaeva_wang_cost,
    obizhaeva_wang_discrete,
)

# The paper's base case: X0 = 100,000, q = 5,000, T = 1 day, lambda = 1 / (2 q), rho = 2.231.
BASE = {"X0": 1e5, "T": 1.0, "q": 5_000.0, "lambda_perm": 1e-4}


def quadratic_program(
    shares: float, rho: float, q: float, permanent: float, steps: int, risk: float
) -> NDArray[np.float64]:
    """Return the trades that make the cost and the risk least, by one linear system."""
    times = np.linspace(0, 1, steps + 1)
    decay = (1 / q - permanent) * np.exp(-rho * np.abs(times[:, None] - times))
    bought = np.tril(np.ones((steps + 1, steps + 1)))[:-1]
    hessian = decay + risk / steps * bought.T @ bought
    gradient = -risk / steps * shares * bought.sum(0)
    ones = np.ones((steps + 1, 1))
    matrix = np.block([[hessian, ones], [ones.T, np.zeros((1, 1))]])
    solved = np.linalg.solve(matrix, np.concatenate([-gradient, [shares]]))
    return np.asarray(solved[:-1], dtype=np.float64)


@pytest.mark.parametrize("risk", [0.0, 1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("permanent", [0.0, 5e-5, 1e-4])
def test_discrete_schedule_solves_the_quadratic_program(risk: float, permanent: float) -> None:
    """The recursion of Proposition 1, with risk aversion too, against a linear solve."""
    plan = obizhaeva_wang_discrete(1e5, 1.0, 2.231, 5e3, permanent, N=12, a=risk, sigma=1.0)
    best = quadratic_program(1e5, 2.231, 5e3, permanent, 12, risk)

    np.testing.assert_allclose(plan.trades, best, rtol=1e-9, atol=1e-7)
    cost = obizhaeva_wang_cost(plan.trades, plan.times, 2.231, 5e3, permanent)
    assert math.isclose(cost.transient_cost, plan.transient_cost)
    assert math.isclose(cost.expected_cost, plan.expected_cost)


@pytest.mark.parametrize("risk", [0.0, 1e-5, 1e-3])
def test_value_function_is_the_schedules_cost(risk: float) -> None:
    """alpha_0 X0^2 is the least of E + a / 2 Var beyond (F + s / 2 + lambda X0) X0."""
    plan = obizhaeva_wang_discrete(**BASE, rho=2.231, N=9, a=risk, sigma=1.0)
    least = plan.expected_cost + risk / 2 * plan.variance

    assert math.isclose(least, plan.coefficients.alpha[0] * 1e10 + 1e-4 * 1e10)
    rule = obizhaeva_wang_coefficients(1.0, 2.231, 5e3, 1e-4, N=9, a=risk, sigma=1.0)
    np.testing.assert_array_equal(rule.alpha, plan.coefficients.alpha)
    assert (0.0, 1.0, 0.0) == (rule.alpha[-1], rule.beta[-1], rule.gamma[-1])


def test_discrete_closed_form() -> None:
    """Without risk the first and last trades are equal and the others 1 - e^(-rho tau) of them."""
    plan = obizhaeva_wang_discrete(**BASE, rho=2.231, N=100)
    fade = math.exp(-2.231 / 100)
    first = 1e5 / (2 + 99 * (1 - fade))

    np.testing.assert_allclose(plan.trades[[0, -1]], first)
    np.testing.assert_allclose(plan.trades[1:-1], first * (1 - fade))
    assert math.isclose(1e5, plan.trades.sum())
    # The trades keep the ask where the first put it: D e^(rho tau) + kappa x is the same each time.
    np.testing.assert_allclose(plan.D[1:], first * 1e-4 * fade)


def test_a_rare_trader_splits_into_equal_trades() -> None:
    """The paper: with a fast book or few trades all N + 1 are the same; with a slow one, two."""
    fast = obizhaeva_wang_discrete(**BASE, rho=1e4, N=4)
    slow = obizhaeva_wang_discrete(**BASE, rho=1e-9, N=4)

    np.testing.assert_allclose(fast.trades, 2e4)
    np.testing.assert_allclose(slow.trades, [5e4, 0, 0, 0, 5e4], atol=1e-3)


@pytest.mark.parametrize("rho", [0.001, 0.5, 2.231, 20.0, 1000.0])
def test_continuous_schedule(rho: float) -> None:
    """Proposition 3: X0 / (rho T + 2) at both ends and rho of that in between."""
    plan = obizhaeva_wang_continuous(**BASE, rho=rho)

    assert math.isclose(1e5 / (rho + 2), plan.x0)
    assert math.isclose(plan.x0, plan.xT)
    assert math.isclose(rho * plan.x0, plan.rate)
    np.testing.assert_allclose(plan.rate_at([0, 0.3, 1]), plan.rate)
    np.testing.assert_allclose(plan.holdings_at([0, 1]), [1e5 - plan.x0, plan.xT])
    assert math.isclose(1e-4 * 1e10 / (rho + 2), plan.transient_cost)
    assert math.isclose(500_000, plan.permanent_cost)


@pytest.mark.parametrize("risk", [0.0, 1e-6, 1e-4, 1e-2, 1e3])
def test_fine_trading_is_the_continuous_limit(risk: float) -> None:
    """Blocks, cost and variance of many trades tend to those of the closed form."""
    terms = {"X0": 1e5, "T": 1.0, "rho": 2.231, "q": 5e3, "lambda_perm": 5e-5}
    limit = obizhaeva_wang_continuous(**terms, a=risk, sigma=1.0)
    fine = obizhaeva_wang_discrete(**terms, N=4_000, a=risk, sigma=1.0)

    assert math.isclose(limit.x0, fine.trades[0], rel_tol=2e-3)
    assert math.isclose(limit.xT, fine.trades[-1], rel_tol=2e-3, abs_tol=1e-3)
    assert math.isclose(
        limit.transient_cost + risk / 2 * limit.variance,
        fine.transient_cost + risk / 2 * fine.variance,
        rel_tol=1e-3,
    )
    inner = float(np.trapezoid(limit.rate_at(fine.times), fine.times))
    assert math.isclose(1e5, limit.x0 + inner + limit.xT, rel_tol=1e-6)
    assert math.isclose((1e5 - limit.x0 - limit.xT), limit.rate, rel_tol=1e-9)


def test_series_and_closed_integrals_meet() -> None:
    """Cost and variance are smooth across the place where the series takes over."""
    costs = [
        obizhaeva_wang_continuous(**BASE, rho=1.0, a=risk, sigma=1.0)
        for risk in (1.99e-8, 2.0e-8, 2.0004e-8, 2.01e-8)
    ]
    variances = [plan.variance for plan in costs]

    assert variances == sorted(variances, reverse=True)
    assert math.isclose(variances[0], variances[-1], rel_tol=1e-5)


@given(
    rho=st.floats(0.01, 100),
    risk=st.floats(0, 10),
    moves=st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6),
)
def test_no_other_schedule_is_better(rho: float, risk: float, moves: list[float]) -> None:
    """Trades moved about within the horizon never make E + a / 2 Var less."""
    plan = obizhaeva_wang_discrete(1e4, 1.0, rho, 5e3, N=5, a=risk, sigma=1.0)
    other = plan.trades + np.array(moves) - np.mean(moves)
    left = 1e4 - np.cumsum(other)[:-1]
    cost = obizhaeva_wang_cost(other, plan.times, rho, 5e3).expected_cost
    best = plan.expected_cost + risk / 2 * plan.variance

    assert cost + risk / 2 * float((left**2).sum()) / 5 >= best * (1 - 1e-9)


@given(risk=st.floats(1e-6, 1e3))
def test_risk_aversion_trades_earlier(risk: float) -> None:
    """The more risk matters, the larger the first block and the smaller the variance."""
    calm = obizhaeva_wang_continuous(**BASE, rho=2.0, a=risk, sigma=1.0)
    keen = obizhaeva_wang_continuous(**BASE, rho=2.0, a=risk * 2, sigma=1.0)

    assert calm.x0 < keen.x0 <= 1e5
    assert keen.variance < calm.variance
    assert calm.transient_cost < keen.transient_cost


def test_the_ask_rises_and_recovers() -> None:
    """A trade of x lifts the ask by x / q; lambda x stays, the rest halves in log 2 / rho."""
    half = math.log(2) / 2.231
    moved = obizhaeva_wang_ask([0, half, 1e3], [1e4], [0.0], 2.231, 5e3, 1e-4)

    np.testing.assert_allclose(moved, [2.0, 1.5, 1.0])


def test_refusals_name_the_argument() -> None:
    """Permanent impact cannot be all of it; schedules must go together."""
    with pytest.raises(InvalidInput, match=r"^lambda_perm: 0\.001; allowed: .* below 1 / q$"):
        obizhaeva_wang_continuous(1e5, 1.0, 2.0, 5e3, 1e-3)
    with pytest.raises(InvalidInput, match=r"^rho: 0\.0; allowed: a finite number above 0$"):
        obizhaeva_wang_discrete(1e5, 1.0, 0.0, 5e3, N=3)
    with pytest.raises(InvalidInput, match=r"^times: 1 numbers; allowed: as many as trades \(2\)$"):
        obizhaeva_wang_cost([1, 2], [0], 1.0, 5e3)
    with pytest.raises(InvalidInput, match=r"^times: 0\.0 at 1; allowed: above the one before"):
        obizhaeva_wang_cost([1, 2], [0, 0], 1.0, 5e3)
