"""The Almgren models give the published figures, and are optimal, symmetric and continuous."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.impact import (
    almgren2003_holdings,
    almgren2003_time,
    almgren2005_cost,
    almgren_chriss_continuous,
    almgren_chriss_cost,
    almgren_chriss_frontier,
    almgren_chriss_half_life,
    almgren_chriss_holdings,
    almgren_chriss_kappa,
    almgren_chriss_minimum_var,
    almgren_chriss_trajectory,
    liquidity_adjusted_var,
    normal_quantile,
)

# Table 1 of Almgren and Chriss (2000).
PAPER = {"X": 1e6, "T": 5.0, "sigma": 0.95, "eta": 2.5e-6, "gamma": 2.5e-7, "epsilon": 0.0625}
RISKS = st.one_of(st.just(0.0), st.floats(-14, 2).map(lambda power: 10.0**power))


def test_the_papers_example() -> None:
    """Section 3.4: kappa is about .61 a day and the trade's half-life 1.6 days at lambda 1e-6."""
    plan = almgren_chriss_trajectory(**PAPER, N=5, lambda_u=1e-6)

    assert 0.61 == round(plan.kappa, 2)
    assert 1.6 == round(plan.half_life, 1)
    # Evenly: gamma X^2 / 2 + epsilon X + eta~ X^2 / T, and sigma^2 X^2 T (1 - 1/N) (2 - 1/N) / 6.
    even = almgren_chriss_trajectory(**PAPER, N=5)
    assert math.isclose(662_500, even.expected_cost)
    assert math.isclose(0.95**2 * 1e12 * 5 / 6 * (1 - 1 / 5) * (2 - 1 / 5), even.variance)
    assert math.isinf(even.half_life)


@pytest.mark.parametrize("risk", [0.0, 1e-8, 1e-6, 1e-5, 1e-3])
def test_trajectory_solves_the_quadratic_program(risk: float) -> None:
    """Holdings are those of the linear system whose solution makes E + lambda V least."""
    steps, tau = 8, 5 / 8
    temporary = PAPER["eta"] - PAPER["gamma"] * tau / 2
    size = steps - 1
    inner = 2 * np.eye(size) - np.eye(size, k=1) - np.eye(size, k=-1)
    matrix = temporary / tau * inner + risk * 0.95**2 * tau * np.eye(size)
    wanted = np.zeros(size)
    wanted[0] = temporary / tau * 1e6

    plan = almgren_chriss_trajectory(**PAPER, N=steps, lambda_u=risk)

    np.testing.assert_allclose(plan.holdings[1:-1], np.linalg.solve(matrix, wanted), rtol=1e-10)
    np.testing.assert_allclose(-np.diff(plan.holdings), plan.trades, atol=1e-9)
    assert math.isclose(plan.utility, plan.expected_cost + risk * plan.variance)


@pytest.mark.parametrize("risk", [1e-7, 1e-6, 1e-5])
def test_closed_forms_of_cost_and_variance(risk: float) -> None:
    """E and V of the optimal trajectory are the paper's hyperbolic expressions (section 2.2)."""
    plan = almgren_chriss_trajectory(**PAPER, N=10, lambda_u=risk)
    k, tau, horizon, shares = plan.kappa, 0.5, 5.0, 1e6
    tilde = PAPER["eta"] - PAPER["gamma"] * tau / 2
    expected = (
        PAPER["gamma"] * shares**2 / 2
        + PAPER["epsilon"] * shares
        + tilde
        * shares**2
        * math.tanh(k * tau / 2)
        * (tau * math.sinh(2 * k * horizon) + 2 * horizon * math.sinh(k * tau))
        / (2 * tau**2 * math.sinh(k * horizon) ** 2)
    )
    variance = (
        0.95**2
        * shares**2
        / 2
        * (
            tau * math.sinh(k * horizon) * math.cosh(k * (horizon - tau))
            - horizon * math.sinh(k * tau)
        )
        / (math.sinh(k * horizon) ** 2 * math.sinh(k * tau))
    )

    assert math.isclose(expected, plan.expected_cost, rel_tol=1e-11)
    assert math.isclose(variance, plan.variance, rel_tol=1e-11)


def test_fine_trading_is_the_continuous_limit() -> None:
    """With many intervals cost, variance and holdings are those of trading without pauses."""
    fine = almgren_chriss_trajectory(**PAPER, N=100_000, lambda_u=1e-6)
    limit = almgren_chriss_continuous(**PAPER, lambda_u=1e-6)
    held = almgren_chriss_holdings([0, 2.5, 5], 1e6, 5.0, 0.95, 2.5e-6, 1e-6)

    assert math.isclose(limit.expected_cost, fine.expected_cost, rel_tol=1e-5)
    assert math.isclose(limit.variance, fine.variance, rel_tol=1e-4)
    np.testing.assert_allclose(fine.holdings[[0, 50_000, -1]], held, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("y", [0.9e-3, 1.1e-3, 5.0, 400.0])
def test_the_continuous_limits_branches_meet(y: float) -> None:
    """The series for small kappa T and the overflow guard agree with the sinh of their place."""
    risk = (y / 5) ** 2 * 2.5e-6 / 0.95**2
    got = almgren_chriss_continuous(1e6, 5.0, 0.95, 2.5e-6, lambda_u=risk)
    grid = np.linspace(0, 5, 200_001)
    held = almgren_chriss_holdings(grid, 1e6, 5.0, 0.95, 2.5e-6, risk)
    area = float(np.trapezoid(held**2, grid))

    assert math.isclose(0.95**2 * area, got.variance, rel_tol=1e-5)


def test_more_risk_aversion_costs_more_and_risks_less() -> None:
    """Along the frontier V falls and E grows, and the curve is convex (section 2.4)."""
    risks = np.logspace(-8, -4, 40)
    frontier = almgren_chriss_frontier(**PAPER, N=5, lambda_u=risks)
    slopes = np.diff(frontier.expected_cost) / np.diff(frontier.variance)

    assert (np.diff(frontier.variance) < 0).all()
    assert (np.diff(frontier.expected_cost) > 0).all()
    assert (slopes < 0).all()
    assert (np.diff(slopes) < 0).all()


@given(risk=RISKS, shares=st.floats(1, 1e9), steps=st.integers(1, 60))
def test_trades_add_up_and_buying_mirrors_selling(risk: float, shares: float, steps: int) -> None:
    """Trades are of one sign and sum to X; a purchase costs what the sale would."""
    sale = almgren_chriss_trajectory(shares, 5.0, steps, 0.95, 2.5e-6, 2.5e-8, 0.05, risk)
    bought = almgren_chriss_trajectory(-shares, 5.0, steps, 0.95, 2.5e-6, 2.5e-8, 0.05, risk)

    assert math.isclose(shares, sale.trades.sum(), rel_tol=1e-9)
    assert (sale.trades >= 0).all()
    assert (np.diff(sale.trades) <= 1e-9 * shares).all()
    np.testing.assert_array_equal(-sale.holdings, bought.holdings)
    assert sale.expected_cost == bought.expected_cost


@given(
    moves=st.lists(st.floats(-1e5, 1e5), min_size=4, max_size=4),
    alpha=st.sampled_from([0.0, 0.02, -0.3]),
    risk=st.sampled_from([0.0, 1e-7, 1e-6]),
)
def test_no_other_schedule_is_better(moves: list[float], alpha: float, risk: float) -> None:
    """Whatever is added to the optimal holdings inside, E + lambda V does not fall."""
    # Without a fixed cost, whose |n| would turn where the drift makes the trader buy.
    terms = {key: value for key, value in PAPER.items() if key not in ("X", "epsilon")}
    plan = almgren_chriss_trajectory(1e6, **terms, N=5, lambda_u=risk, alpha=alpha)
    other = plan.holdings + np.array([0.0, *moves, 0.0])
    cost = almgren_chriss_cost(other, **terms, alpha=alpha)

    assert cost.expected_cost + risk * cost.variance >= plan.utility - 1e-9 * abs(plan.utility)


def test_drift_tends_to_the_papers_x_bar() -> None:
    """With a long horizon holdings settle at alpha / (2 lambda sigma^2) (section 4.1)."""
    plan = almgren_chriss_trajectory(1e6, 50.0, 500, 0.95, 2.5e-6, 0, 0, 1e-6, alpha=0.02)

    assert math.isclose(0.02 / (2 * 1e-6 * 0.95**2), plan.holdings[250], rel_tol=1e-4)
    calm = almgren_chriss_trajectory(1e6, 50.0, 500, 0.95, 2.5e-6, 0, 0, 1e-30, alpha=0.02)
    flat = almgren_chriss_trajectory(1e6, 50.0, 500, 0.95, 2.5e-6, 0, 0, 0.0, alpha=0.02)
    np.testing.assert_allclose(flat.holdings, calm.holdings, rtol=1e-9, atol=1e-3)


def test_liquidity_adjusted_var() -> None:
    """The trajectory of least L-VaR beats its neighbours, and selling at once is its limit."""
    best = almgren_chriss_minimum_var(**PAPER, N=5, p=0.95)
    least = liquidity_adjusted_var(best.expected_cost, best.variance, 0.95)

    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2):
        plan = almgren_chriss_trajectory(**PAPER, N=5, lambda_u=best.lambda_u * factor)
        assert least <= liquidity_adjusted_var(plan.expected_cost, plan.variance, 0.95)
    assert 0.0 == almgren_chriss_minimum_var(**PAPER, N=5, p=0.5).lambda_u
    risky = {**PAPER, "sigma": 1e6}
    assert math.isclose(1e6, almgren_chriss_minimum_var(**risky, N=5).trades[0])


@given(p=st.floats(1e-300, 1, exclude_max=True))
def test_normal_quantile_inverts_the_distribution(p: float) -> None:
    """P(Z <= quantile(p)) is p again."""
    z = normal_quantile(p)

    assert math.isclose(p, math.erfc(-z / math.sqrt(2)) / 2, rel_tol=1e-10)


def test_normal_quantiles_of_tables() -> None:
    """The quantiles everybody knows."""
    assert [1.281552, 1.644854, 2.326348, 3.090232] == [
        round(normal_quantile(p), 6) for p in (0.9, 0.95, 0.99, 0.999)
    ]
    assert 0.0 == normal_quantile(0.5)


@given(risk=RISKS, tau=st.floats(1e-9, 1.0))
def test_kappa_solves_its_equation(risk: float, tau: float) -> None:
    """2 (cosh(kappa tau) - 1) / tau^2 is kappa~^2, and kappa ~ kappa~ for small tau."""
    kappa = almgren_chriss_kappa(risk, 0.95, 2.5e-6, 2.5e-7, tau)
    tilde2 = risk * 0.95**2 / (2.5e-6 - 2.5e-7 * tau / 2)

    assert math.isclose(tilde2, (2 * math.sinh(kappa * tau / 2) / tau) ** 2, rel_tol=1e-12)
    assert math.isclose(1, kappa * almgren_chriss_half_life(kappa)) or kappa == 0


# Table 3 of Almgren, Thum, Hauptmann and Li: a tenth of a day's volume, in basis points.
@pytest.mark.parametrize(
    ("volume", "outstanding", "sigma", "permanent", "temporary", "realised"),
    [
        (6.561e6, 1728e6, 0.0157, 20, (22, 15, 8), (32, 25, 18)),
        (1.929e6, 168e6, 0.0226, 22, (32, 21, 12), (43, 32, 23)),
    ],
    ids=["IBM", "DRI"],
)
def test_direct_estimation_table_3(
    volume: float,
    outstanding: float,
    sigma: float,
    permanent: int,
    temporary: tuple[int, ...],
    realised: tuple[int, ...],
) -> None:
    """Rounded basis points are the published ones, for a tenth, a fifth and half a day."""
    cost = almgren2005_cost(0.1 * volume, volume, outstanding, sigma, [0.1, 0.2, 0.5])

    assert permanent == round(float(cost.I) * 1e4)
    assert temporary == tuple(round(bps * 1e4) for bps in cost.K.tolist())
    assert realised == tuple(round(bps * 1e4) for bps in cost.J.tolist())


@given(shares=st.floats(-1e7, 1e7), scale=st.floats(0.1, 10))
def test_direct_estimation_scales(shares: float, scale: float) -> None:
    """Costs are odd in X, linear in sigma, and the same for the same X/V, Theta/V and T."""
    plain = almgren2005_cost(shares, 1e6, 2e8, 0.02, 0.3)
    mirrored = almgren2005_cost(-shares, 1e6, 2e8, 0.02, 0.3)
    rescaled = almgren2005_cost(shares * scale, 1e6 * scale, 2e8 * scale, 0.04, 0.3)

    assert plain.J == -mirrored.J
    assert math.isclose(2 * float(plain.J), float(rescaled.J), rel_tol=1e-9, abs_tol=1e-300)


def test_nonlinear_impact_without_a_deadline() -> None:
    """K eta v^(k+1) = lambda sigma^2 x^2 along x(t), an exponential at k = 1, ending for k > 1."""
    times = np.linspace(0, 3, 3001)
    for k in (0.6, 1.0, 1.4):
        held = almgren2003_holdings(times, 1e3, k, 0.05, 1e-4, 1.0)
        speed = -np.gradient(held, times)[1:-1]
        np.testing.assert_allclose(k * 0.05 * speed ** (k + 1), 1e-4 * held[1:-1] ** 2, rtol=2e-3)
    linear = almgren2003_holdings([0, 1, 2], 1e3, 1.0, 0.05, 1e-4, 1.0)
    np.testing.assert_allclose(linear, 1e3 * np.exp(-np.arange(3) * math.sqrt(1e-4 / 0.05)))
    end = 3 / 1 * almgren2003_time(1e3, 2.0, 0.05, 1e-4, 1.0)
    ends = almgren2003_holdings([end * 0.999, end * 1.0001], 1e3, 2.0, 0.05, 1e-4, 1.0)
    assert ends[0] > 0.0 == ends[1]


def test_refusals_name_the_argument() -> None:
    """A temporary impact below gamma tau / 2, no intervals, and a confidence below a half."""
    with pytest.raises(InvalidInput, match=r"^eta: 1e-09; allowed: above gamma tau / 2"):
        almgren_chriss_trajectory(1e6, 5.0, 5, 0.95, 1e-9, 2.5e-7)
    with pytest.raises(InvalidInput, match=r"^N: 0; allowed: a whole number 1\.\."):
        almgren_chriss_trajectory(1e6, 5.0, 0, 0.95, 1e-6)
    with pytest.raises(InvalidInput, match=r"^p: 0\.4; allowed: 0\.5 or more"):
        almgren_chriss_minimum_var(**PAPER, N=5, p=0.4)
    with pytest.raises(InvalidInput, match=r"^t: 6\.0; allowed: 0\.\.5\.0"):
        almgren_chriss_holdings([6.0], 1e6, 5.0, 0.95, 2.5e-6, 1e-6)
