"""Optimal liquidation with linear impact and a risk-averse trader.

Almgren and Chriss, "Optimal Execution of Portfolio Transactions" (Journal of Risk 3, 2000).
Arguments are the paper's: X shares to sell (below 0: to buy) within T, in N intervals of
tau = T / N; sigma is the volatility of the price in currency per square root of time, eta the
temporary impact in (currency/share)/(share/time), gamma the permanent impact in
currency/share^2, epsilon the fixed cost in currency/share (half the spread, and fees), lambda_u the
risk aversion in 1/currency.
Times are in any one unit (the paper: days). Figures are float64, right to about 1e-13.
"""
# ruff: noqa: N803 - the names are the paper's

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, not_negative, number, numbers, positive, row, whole
from lob.errors import InvalidInput
from lob.in_floats import in_floats

# Below this kappa T the trajectory is a straight line to the last bit.
_STRAIGHT: Final = 1e-100


class CostMoments(NamedTuple):
    """The mean of a schedule's cost in currency, and its variance in currency^2."""

    expected_cost: float
    variance: float


class Frontier(NamedTuple):
    """The efficient frontier: one entry for each risk aversion asked."""

    lambda_u: Floats
    expected_cost: Floats
    variance: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """An optimal schedule: holdings x_0..x_N at `times` t_0..t_N, trades n_1..n_N, and its cost."""

    times: Floats
    holdings: Floats
    trades: Floats
    kappa: float
    half_life: float
    expected_cost: float
    variance: float
    lambda_u: float

    @property
    def standard_deviation(self) -> float:
        """Return the square root of the variance, in currency."""
        return math.sqrt(self.variance)

    @property
    def utility(self) -> float:
        """Return U = E + lambda_u V (section 3.1), which the trajectory makes least."""
        return self.expected_cost + self.lambda_u * self.variance


@in_floats
def almgren_chriss_kappa(
    lambda_u: float, sigma: float, eta: float, gamma: float = 0.0, tau: float = 0.0
) -> float:
    """Return kappa, in 1/time: how fast the optimal trajectory leaves its start (section 2.2).

    2 (cosh(kappa tau) - 1) / tau^2 = lambda_u sigma^2 / (eta - gamma tau / 2); with `tau` 0 its
    limit sqrt(lambda_u sigma^2 / eta). The paper's example of section 3.4:

    >>> round(almgren_chriss_kappa(1e-6, 0.95, 2.5e-6, 2.5e-7, tau=1), 2)
    0.61
    """
    risk = not_negative("lambda_u", lambda_u)
    tau = not_negative("tau", tau)
    temporary = _eta_tilde(eta, gamma, tau)
    tilde = math.sqrt(risk) * not_negative("sigma", sigma) / math.sqrt(temporary)
    # arcosh(1 + y^2 / 2) = 2 arsinh(y / 2), which loses nothing where y is small.
    return tilde if tau == 0 else 2 / tau * math.asinh(tilde * tau / 2)


@in_floats
def almgren_chriss_half_life(kappa: float) -> float:
    """Return theta = 1 / kappa, in time: when holdings fell by e where T is long (section 2.3).

    Infinite where kappa is 0: without risk aversion the trader is in no hurry.
    """
    rate = not_negative("kappa", kappa)
    return math.inf if rate == 0 else 1 / rate


@in_floats
def almgren_chriss_trajectory(
    X: float,
    T: float,
    N: int,
    sigma: float,
    eta: float,
    gamma: float = 0.0,
    epsilon: float = 0.0,
    lambda_u: float = 0.0,
    *,
    alpha: float = 0.0,
) -> Trajectory:
    """Return the schedule of least E + lambda_u V (section 2.2, and 4.1 with a drift).

    `alpha` is the price's expected drift in currency/share/time, for who holds it (section 4.1):
    then the trader tends to x_bar = alpha / (2 lambda_u sigma^2). O(N).

    >>> plan = almgren_chriss_trajectory(
    ...     X=1e6, T=5, N=5, sigma=0.95, eta=2.5e-6, gamma=2.5e-7, epsilon=0.0625, lambda_u=2e-6)
    >>> [round(held, 1) for held in plan.holdings.tolist()]
    [1000000.0, 428598.8, 182932.8, 76295.7, 27643.4, 0.0]

    Raises:
        InvalidInput: a number is not finite or out of its range, or eta <= gamma tau / 2.
    """
    shares, horizon, steps = number("X", X), positive("T", T), whole("N", N, 1, COUNT_MAX)
    tau, drift = horizon / steps, number("alpha", alpha)
    kappa = almgren_chriss_kappa(lambda_u, sigma, eta, gamma, tau)
    times = horizon * (np.arange(steps + 1) / steps)
    left = horizon * (np.arange(steps, -1, -1) / steps)
    holdings = shares * _sinh_ratio(kappa, left, horizon)
    trades = shares * _trade_shares(kappa, steps, tau, horizon)
    if drift:
        extra = _drift_holdings(drift, times, kappa, horizon, _eta_tilde(eta, gamma, tau), tau)
        holdings = holdings + extra
        trades = trades - np.diff(extra)
    cost = _moments(holdings, trades, tau, sigma, eta, gamma, epsilon, drift)
    return Trajectory(
        times, holdings, trades, kappa, almgren_chriss_half_life(kappa), *cost, float(lambda_u)
    )


@in_floats
def almgren_chriss_cost(
    holdings: ArrayLike,
    T: float,
    sigma: float,
    eta: float,
    gamma: float = 0.0,
    epsilon: float = 0.0,
    *,
    alpha: float = 0.0,
) -> CostMoments:
    """Return the mean and the variance of any schedule's cost (section 1.4).

    `holdings` are x_0..x_N at even times from 0 to T; x_N may be other than 0, the rest then being
    unsold. E = gamma X^2 / 2 + epsilon sum |n| + (eta - gamma tau / 2) sum n^2 / tau and
    V = sigma^2 tau sum x_k^2 over k = 1..N; `alpha` takes alpha tau sum x_k off E.

    >>> almgren_chriss_cost([1e6, 8e5, 6e5, 4e5, 2e5, 0], T=5, sigma=0.95, eta=2.5e-6,
    ...     gamma=2.5e-7, epsilon=0.0625).expected_cost
    662500.0
    """
    held = row("holdings", holdings, at_least=2)
    tau = positive("T", T) / (held.size - 1)
    return _moments(held, -np.diff(held), tau, sigma, eta, gamma, epsilon, number("alpha", alpha))


@in_floats
def almgren_chriss_frontier(
    X: float,
    T: float,
    N: int,
    sigma: float,
    eta: float,
    gamma: float = 0.0,
    epsilon: float = 0.0,
    *,
    lambda_u: ArrayLike,
) -> Frontier:
    """Return the efficient frontier E(V) at the risk aversions given (sections 2.1 and 2.4)."""
    risks = numbers("lambda_u", lambda_u, low=0).ravel()
    plans = [
        almgren_chriss_trajectory(X, T, N, sigma, eta, gamma, epsilon, float(risk))
        for risk in risks
    ]
    return Frontier(
        risks,
        np.array([plan.expected_cost for plan in plans]),
        np.array([plan.variance for plan in plans]),
    )


@in_floats
def almgren_chriss_continuous(
    X: float,
    T: float,
    sigma: float,
    eta: float,
    gamma: float = 0.0,
    epsilon: float = 0.0,
    lambda_u: float = 0.0,
) -> CostMoments:
    """Return E and V of trading without pauses: the limit of N to infinity (section 2.2).

    x(t) = X sinh(kappa (T - t)) / sinh(kappa T) with kappa^2 = lambda_u sigma^2 / eta, so that
    E = gamma X^2 / 2 + epsilon |X| + eta int v^2 and V = sigma^2 int x^2.
    """
    shares, horizon = number("X", X), positive("T", T)
    kappa = almgren_chriss_kappa(lambda_u, sigma, eta, gamma)
    y = kappa * horizon
    if y < 1e-3:  # noqa: PLR2004 - the series' next terms are below the last bit
        speed = (1 + y**4 / 45) / horizon
        area = horizon * (1 / 3 - 2 * y**2 / 45 + y**4 / 315)
    else:
        coth = 1 / math.tanh(y)
        gap = y / math.sinh(y) ** 2 if y < 350 else 0.0  # noqa: PLR2004 - sinh's float ends there
        speed = kappa * (coth + gap) / 2
        area = (coth - gap) / (2 * kappa)
    fixed = number("gamma", gamma) * shares**2 / 2 + not_negative("epsilon", epsilon) * abs(shares)
    return CostMoments(fixed + eta * shares**2 * speed, sigma**2 * shares**2 * area)


@in_floats
def almgren_chriss_holdings(
    t: ArrayLike, X: float, T: float, sigma: float, eta: float, lambda_u: float
) -> Floats:
    """Return x(t) of the continuous optimal trajectory, for times 0..T of any shape."""
    times = numbers("t", t, low=0)
    horizon = positive("T", T)
    if (times > horizon).any():
        raise InvalidInput(f"t: {times.max()}; allowed: 0..{horizon}")
    kappa = almgren_chriss_kappa(lambda_u, sigma, eta)
    return number("X", X) * _sinh_ratio(kappa, horizon - times, horizon)


@in_floats
def liquidity_adjusted_var(expected_cost: float, variance: float, p: float) -> float:
    """Return L-VaR: the cost that a schedule stays under with probability p (section 3.2).

    E + z sqrt(V), with z the normal quantile of p; below E where p is below a half.

    >>> round(liquidity_adjusted_var(100.0, 25.0, 0.95), 4)
    108.2243
    """
    mean = number("expected_cost", expected_cost)
    return mean + normal_quantile(p) * math.sqrt(not_negative("variance", variance))


@in_floats
def almgren_chriss_minimum_var(
    X: float,
    T: float,
    N: int,
    sigma: float,
    eta: float,
    gamma: float = 0.0,
    epsilon: float = 0.0,
    *,
    p: float = 0.95,
) -> Trajectory:
    """Return the trajectory of least L-VaR at confidence p, 0.5 or more (section 3.2).

    It is the one whose lambda_u is z / (2 sqrt(V)): the frontier is convex in (sqrt(V), E) too.
    Where z is so large that everything should go in the first interval, lambda_u ends at e^70 of
    its natural unit, which does that.
    """
    z = normal_quantile(number("p", p, above=0, below=1))
    if z < 0:
        raise InvalidInput(f"p: {p}; allowed: 0.5 or more, else risk would be sought")

    def plan(risk: float) -> Trajectory:
        return almgren_chriss_trajectory(X, T, N, sigma, eta, gamma, epsilon, risk)

    # This also looks at the arguments, before they are used.
    calm = plan(0.0)
    if z == 0 or calm.variance == 0:
        return calm
    tau = T / N
    unit = _eta_tilde(eta, gamma, tau) / (sigma * tau) ** 2
    low, high = math.log(unit) - 70, math.log(unit) + 70
    for _ in range(120):
        middle = (low + high) / 2
        found = plan(math.exp(middle))
        if 2 * found.lambda_u * found.standard_deviation < z:
            low = middle
        else:
            high = middle
    return plan(math.exp(low))


@in_floats
def normal_quantile(p: float) -> float:
    """Return z with P(standard normal <= z) = p, to 1e-12; p above 0 and below 1.

    >>> round(normal_quantile(0.975), 6)
    1.959964
    """
    wanted = number("p", p, above=0, below=1)
    if wanted == 0.5:  # noqa: PLR2004 - the middle
        return 0.0
    tail = min(wanted, 1 - wanted)
    low, high = -40.0, 0.0
    while high - low > 1e-14:  # noqa: PLR2004 - near the last bit of a quantile
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if math.erfc(-middle / math.sqrt(2)) / 2 < tail:
            low = middle
        else:
            high = middle
    z = (low + high) / 2
    return z if wanted < 0.5 else -z  # noqa: PLR2004 - the middle


def _eta_tilde(eta: float, gamma: float, tau: float) -> float:
    temporary, permanent = positive("eta", eta), not_negative("gamma", gamma)
    tilde = temporary - permanent * tau / 2
    if tilde <= 0:
        raise InvalidInput(
            f"eta: {temporary}; allowed: above gamma tau / 2 ({permanent * tau / 2}), else trading "
            "faster would be cheaper"
        )
    return tilde


def _sinh_ratio(kappa: float, left: Floats, horizon: float) -> Floats:
    """Return sinh(kappa left) / sinh(kappa T), which does not overflow."""
    if kappa * horizon < _STRAIGHT:
        return left / horizon
    # The first place is left == T: a ratio of 1, exactly.
    return np.asarray(
        np.exp(-kappa * (horizon - left))
        * (np.expm1(-2 * kappa * left) / math.expm1(-2 * kappa * horizon))
    )


def _trade_shares(kappa: float, steps: int, tau: float, horizon: float) -> Floats:
    """Return n_j / X (section 2.2), each by itself: differences would lose late trades."""
    if kappa * horizon < _STRAIGHT:
        return np.full(steps, 1 / steps)
    j = np.arange(steps)
    late = 1 + np.exp(-2 * kappa * tau * (steps - j - 0.5))
    first = math.expm1(-kappa * tau) / math.expm1(-2 * kappa * horizon)
    return np.asarray(np.exp(-kappa * tau * j) * late * first)


def _drift_holdings(
    drift: float, times: Floats, kappa: float, horizon: float, eta_tilde: float, tau: float
) -> Floats:
    """Return x_bar [1 - (sinh(kappa (T - t)) + sinh(kappa t)) / sinh(kappa T)] (section 4.1).

    Its bracket is 2 sinh(kappa t / 2) sinh(kappa (T - t) / 2) / cosh(kappa T / 2), and x_bar is
    alpha / (2 eta_tilde kappa_tilde^2): together they have a limit, alpha t (T - t) / (4 eta).
    """
    left = horizon - times
    if kappa * horizon < _STRAIGHT:
        return np.asarray(drift * times * left / (4 * eta_tilde))
    tilde = 2 * math.sinh(kappa * tau / 2) / tau
    bracket = np.expm1(-kappa * times) * np.expm1(-kappa * left) / (1 + math.exp(-kappa * horizon))
    return np.asarray(drift / (2 * eta_tilde) * (bracket / tilde / tilde))


def _moments(
    held: Floats,
    trades: Floats,
    tau: float,
    sigma: float,
    eta: float,
    gamma: float,
    epsilon: float,
    drift: float,
) -> CostMoments:
    temporary = _eta_tilde(eta, gamma, tau)
    fixed, volatility = not_negative("epsilon", epsilon), not_negative("sigma", sigma)
    # sum of gamma tau x_k v_k over k: with x_N = 0 it is the paper's gamma X^2 / 2 less a part of
    # eta's, and it holds for an unfinished schedule too.
    permanent = gamma * (held[0] ** 2 - held[-1] ** 2) / 2
    expected = (
        permanent
        + fixed * np.abs(trades).sum()
        + temporary / tau * (trades**2).sum()
        - drift * tau * held[1:].sum()
    )
    return CostMoments(float(expected), float(volatility**2 * tau * (held[1:] ** 2).sum()))
