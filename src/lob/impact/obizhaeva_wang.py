"""Optimal buying in a book of constant density that refills exponentially.

Obizhaeva and Wang, "Optimal Trading Strategy and Supply/Demand Dynamics" (Journal of Financial
Markets 16, 2013). X0 shares are bought within T. A trade of x moves the ask by x / q (q: the book's
density in shares by unit of price); lambda_perm x of that stays, and the rest, kappa x with
kappa = 1 / q - lambda_perm, decays as e^(-rho t). `a` is the risk aversion in 1/currency and sigma
the volatility of the fundamental price, by square root of time. A sale is the same with X0 below 0.

Costs are against the price at the start: lambda_perm X0^2 / 2 is paid whatever the schedule;
only the transient part kappa / 2 sum_ij x_i x_j e^(-rho |t_i - t_j|) depends on it.
"""
# ruff: noqa: N803, N806, N815 - the names are the paper's

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import (
    Floats,
    increasing,
    not_negative,
    number,
    numbers,
    positive,
    row,
    same_length,
    whole,
)
from lob.errors import InvalidInput
from lob.in_floats import in_floats

_GRID_MAX = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class ContinuousSchedule:
    """Buy x0 at once, `rate` a unit of time on average in between, and xT at the end.

    Without risk aversion the rate is the same all along (the paper's Proposition 3); with it,
    `rate_at` says what it is. Costs in currency, beside the price at the start.
    """

    X0: float
    T: float
    rho: float
    kappa: float
    x0: float
    xT: float
    rate: float
    transient_cost: float
    permanent_cost: float
    variance: float
    _risk: float

    @property
    def expected_cost(self) -> float:
        """Return the transient and the permanent cost together."""
        return self.transient_cost + self.permanent_cost

    def holdings_at(self, t: ArrayLike) -> Floats:
        """Return what is still to be bought at times 0..T, after the first block."""
        cosh, sinh, scale = self._waves(t)
        return np.asarray(self.X0 * scale * (cosh + self.rho * sinh))

    def rate_at(self, t: ArrayLike) -> Floats:
        """Return the rate of buying at times 0..T, between the blocks, in shares by time."""
        cosh, sinh, scale = self._waves(t)
        omega2 = _omega2(self.rho, self.kappa, self._risk)
        return np.asarray(self.X0 * scale * (omega2 * sinh + self.rho * cosh))

    def _waves(self, t: ArrayLike) -> tuple[Floats, Floats, float]:
        times = numbers("t", t, low=0)
        if (times > self.T).any():
            raise InvalidInput(f"t: {times.max()}; allowed: 0..{self.T}")
        omega = math.sqrt(_omega2(self.rho, self.kappa, self._risk))
        cosh, sinh = _scaled_waves(omega, self.T - times, self.T)
        end = _end(self.rho, self.kappa, self._risk, self.T)
        share = self.kappa * self.rho / (2 * self.kappa * self.rho + self._risk)
        return cosh, sinh, share / end


class Coefficients(NamedTuple):
    """The discrete problem's value function and its rule (Proposition 1), entries 0..N.

    Before the trade at t_n with X left and the ask D above its rest, what remains costs
    alpha_n X^2 + beta_n D X + gamma_n D^2 beyond (F + s / 2 + lambda_perm X0) X; delta_n is
    the paper's delta_{n+1} of the trade at t_n (the last is unused, 0).
    """

    alpha: Floats
    beta: Floats
    gamma: Floats
    delta: Floats


@dataclass(frozen=True, slots=True, eq=False)
class DiscreteSchedule:
    """Buy `trades` at `times`; `holdings` is what is left before each trade.

    `D` is how far the ask stands above its rest just before each trade, in price.
    """

    times: Floats
    trades: Floats
    holdings: Floats
    D: Floats
    transient_cost: float
    permanent_cost: float
    variance: float
    coefficients: Coefficients

    @property
    def expected_cost(self) -> float:
        """Return the transient and the permanent cost together."""
        return self.transient_cost + self.permanent_cost


class ScheduleCost(NamedTuple):
    """What a schedule costs in currency beyond X0 times the price at the start."""

    transient_cost: float
    permanent_cost: float

    @property
    def expected_cost(self) -> float:
        """Return both together."""
        return self.transient_cost + self.permanent_cost


@in_floats
def obizhaeva_wang_continuous(
    X0: float,
    T: float,
    rho: float,
    q: float,
    lambda_perm: float = 0.0,
    *,
    a: float = 0.0,
    sigma: float = 0.0,
) -> ContinuousSchedule:
    """Return the optimal schedule where one may trade at any time (Proposition 3).

    Without risk aversion x0 = xT = X0 / (rho T + 2) and rate = rho X0 / (rho T + 2). With it the
    least of E + a / 2 Var has X(t) proportional to cosh w (T - t) + rho sinh w (T - t) / w, where
    w^2 = a sigma^2 rho^2 / (2 kappa rho + a sigma^2).

    >>> plan = obizhaeva_wang_continuous(X0=1e5, T=1, rho=2.0, q=5000, lambda_perm=1e-4)
    >>> plan.x0, plan.rate, round(plan.transient_cost), round(plan.permanent_cost)
    (25000.0, 50000.0, 250000, 500000)
    """
    shares, horizon, speed = number("X0", X0), positive("T", T), positive("rho", rho)
    kappa = _kappa(q, lambda_perm)
    risk = not_negative("a", a) * not_negative("sigma", sigma) ** 2
    omega2 = _omega2(speed, kappa, risk)
    omega = math.sqrt(omega2)
    total = 2 * kappa * speed + risk
    share, end = kappa * speed / total, _end(speed, kappa, risk, horizon)
    cosh, sinh = (float(wave) for wave in _scaled_waves(omega, np.asarray(horizon), horizon))
    low = math.exp(-omega * horizon)
    # X(0+) and X(T-) by holdings_at; the first block is what is missing from X0, by its own form.
    m = speed * (risk + kappa * speed) / total
    x0 = shares * (omega2 * sinh + m * cosh) / (speed * end)
    xT = shares * share * low / end
    cc, cs, ss = _squares(omega, horizon)
    held = share**2 * (cc + 2 * speed * cs + speed**2 * ss) / end**2
    pressed = (omega2**2 * ss + 2 * omega2 * m * cs + m**2 * cc) / (speed * end) ** 2
    transient = kappa * shares**2 * ((low / end) ** 2 / 2 + speed * pressed)
    return ContinuousSchedule(
        X0=shares,
        T=horizon,
        rho=speed,
        kappa=kappa,
        x0=x0,
        xT=xT,
        rate=(shares - x0 - xT) / horizon if risk else speed * shares / (speed * horizon + 2),
        transient_cost=transient,
        permanent_cost=lambda_perm * shares**2 / 2,
        variance=sigma**2 * shares**2 * held,
        _risk=risk,
    )


@in_floats
def obizhaeva_wang_discrete(
    X0: float,
    T: float,
    rho: float,
    q: float,
    lambda_perm: float = 0.0,
    *,
    N: int,
    a: float = 0.0,
    sigma: float = 0.0,
) -> DiscreteSchedule:
    """Return the optimal N + 1 trades at t_n = n T / N, n = 0..N (Proposition 1).

    Without risk aversion, with e = e^(-rho T / N): the first and the last are
    X0 / (2 + (N - 1) (1 - e)), the others 1 - e of that. With it, Var is sigma^2 T / N times the
    sum of the squares of what is left after each trade but the last, and the trades are those of
    the recursion (its alpha_{n+1} then with a sigma^2 T / (2 N) more). O(N).

    >>> plan = obizhaeva_wang_discrete(X0=1e5, T=1, rho=2.231, q=5000, lambda_perm=1e-4, N=10)
    >>> [round(shares) for shares in plan.trades[:3].tolist()]
    [26318, 5263, 5263]
    """
    shares, horizon, speed = number("X0", X0), positive("T", T), positive("rho", rho)
    steps = whole("N", N, 1, _GRID_MAX)
    kappa, tau = _kappa(q, lambda_perm), horizon / steps
    risk = not_negative("a", a) * not_negative("sigma", sigma) ** 2
    rule = obizhaeva_wang_coefficients(T, rho, q, lambda_perm, N=N, a=a, sigma=sigma)
    left, pressure, fade = shares, 0.0, math.exp(-speed * tau)
    trades, holdings, pressures = np.empty((3, steps + 1))
    even = shares / (2 - (steps - 1) * math.expm1(-speed * tau))
    for n in range(steps + 1):
        if n == steps:
            trade = left
        elif risk:
            trade = _optimal_trade(rule, n, left, pressure, kappa, lambda_perm, fade, risk * tau)
        else:
            trade = even if n == 0 else even * -math.expm1(-speed * tau)
        trades[n], holdings[n], pressures[n] = trade, left, pressure
        left -= trade
        pressure = (pressure + kappa * trade) * fade
    return DiscreteSchedule(
        times=horizon * (np.arange(steps + 1) / steps),
        trades=trades,
        holdings=holdings,
        D=pressures,
        transient_cost=float(trades @ (pressures + kappa * trades / 2)),
        permanent_cost=lambda_perm * shares**2 / 2,
        variance=float(sigma**2 * tau * (holdings[1:] ** 2).sum()),
        coefficients=rule,
    )


@in_floats
def obizhaeva_wang_coefficients(
    T: float,
    rho: float,
    q: float,
    lambda_perm: float = 0.0,
    *,
    N: int,
    a: float = 0.0,
    sigma: float = 0.0,
) -> Coefficients:
    """Return alpha_n, beta_n, gamma_n and delta_{n+1} of the discrete problem (Proposition 1).

    From alpha_N = 1 / (2 q) - lambda_perm, beta_N = 1, gamma_N = 0 backwards. O(N).
    """
    horizon, speed = positive("T", T), positive("rho", rho)
    steps = whole("N", N, 1, _GRID_MAX)
    kappa, tau = _kappa(q, lambda_perm), horizon / steps
    held = not_negative("a", a) * not_negative("sigma", sigma) ** 2 * tau / 2
    fade = math.exp(-speed * tau)
    alpha, beta, gamma, delta = np.zeros((4, steps + 1))
    alpha[-1], beta[-1] = 1 / (2 * q) - lambda_perm, 1.0
    for n in range(steps - 1, -1, -1):
        after, cross, square = alpha[n + 1] + held, beta[n + 1] * fade, gamma[n + 1] * fade**2
        delta[n] = 1 / (1 / (2 * q) + after - cross * kappa + square * kappa**2)
        by_left = lambda_perm + 2 * after - cross * kappa
        by_pressure = 1 - cross + 2 * kappa * square
        alpha[n] = after - delta[n] * by_left**2 / 4
        beta[n] = cross + delta[n] * by_pressure * by_left / 2
        gamma[n] = square - delta[n] * by_pressure**2 / 4
    return Coefficients(alpha, beta, gamma, delta)


@in_floats
def obizhaeva_wang_cost(
    trades: ArrayLike, times: ArrayLike, rho: float, q: float, lambda_perm: float = 0.0
) -> ScheduleCost:
    """Return what any trades at increasing times cost. O(number of trades)."""
    shares, at = row("trades", trades), increasing("times", times, at_least=1)
    same_length(trades=shares, times=at)
    kappa, speed = _kappa(q, lambda_perm), not_negative("rho", rho)
    fades = np.exp(-speed * np.diff(at, prepend=at[0]))
    pressure = cost = 0.0
    for trade, fade in zip(shares.tolist(), fades.tolist(), strict=True):
        pressure *= fade
        cost += trade * (pressure + kappa * trade / 2)
        pressure += kappa * trade
    return ScheduleCost(cost, lambda_perm * float(shares.sum()) ** 2 / 2)


@in_floats
def obizhaeva_wang_ask(
    t: ArrayLike,
    trades: ArrayLike,
    times: ArrayLike,
    rho: float,
    q: float,
    lambda_perm: float = 0.0,
) -> Floats:
    """Return how far the trades hold the ask above where it began, at the times t.

    lambda_perm times what was bought by then, plus each trade's kappa x e^(-rho age); a trade at t
    itself is counted. O(len(t) x len(trades)).
    """
    asked, shares = np.atleast_1d(numbers("t", t, low=0)), row("trades", trades)
    at = increasing("times", times, at_least=1)
    same_length(trades=shares, times=at)
    kappa, speed = _kappa(q, lambda_perm), not_negative("rho", rho)
    moved = np.zeros(asked.shape)
    for trade, when in zip(shares.tolist(), at.tolist(), strict=True):
        past = asked >= when
        moved[past] += trade * (lambda_perm + kappa * np.exp(-speed * (asked[past] - when)))
    return moved


def _kappa(q: float, lambda_perm: float) -> float:
    density, permanent = positive("q", q), not_negative("lambda_perm", lambda_perm)
    kappa = 1 / density - permanent
    if kappa <= 0:
        raise InvalidInput(f"lambda_perm: {permanent}; allowed: 0 or more and below 1 / q")
    return kappa


def _optimal_trade(
    rule: Coefficients,
    n: int,
    left: float,
    pressure: float,
    kappa: float,
    permanent: float,
    fade: float,
    held: float,
) -> float:
    beta, gamma = rule.beta[n + 1] * fade, rule.gamma[n + 1] * fade**2
    after = rule.alpha[n + 1] + held / 2
    by_left = permanent + 2 * after - beta * kappa
    by_pressure = 1 - beta + 2 * kappa * gamma
    return float(-rule.delta[n] / 2 * (pressure * by_pressure - left * by_left))


def _omega2(rho: float, kappa: float, risk: float) -> float:
    return risk * rho**2 / (2 * kappa * rho + risk)


def _scaled_waves(omega: float, left: Floats, horizon: float) -> tuple[Floats, Floats]:
    """Return cosh(w left) and sinh(w left) / w, both times e^(-w T)."""
    scale = np.exp(-omega * (horizon - left))
    fall = -2 * omega * left
    # Both have e^(w left) taken out of them, so that nothing overflows.
    sinh = -np.expm1(fall) / (2 * omega) if omega * horizon > 1e-100 else left  # noqa: PLR2004
    return np.asarray(scale * (1 + np.exp(fall)) / 2), np.asarray(scale * sinh)


def _end(rho: float, kappa: float, risk: float, horizon: float) -> float:
    """Return cosh w T + m sinh w T / w, times e^(-w T): what X0 divides by."""
    omega = math.sqrt(_omega2(rho, kappa, risk))
    cosh, sinh = _scaled_waves(omega, np.asarray(horizon), horizon)
    return float(cosh + rho * (risk + kappa * rho) / (2 * kappa * rho + risk) * sinh)


def _squares(omega: float, horizon: float) -> tuple[float, float, float]:
    """Return the integrals of cosh^2, cosh sinh / w and (sinh / w)^2 over 0..T, by e^(-2 w T)."""
    y = omega * horizon
    if y < 1e-2:  # noqa: PLR2004 - the series' next terms are below the last bit
        scale = math.exp(-2 * y)
        sinh = horizon * (1 + y**2 / 6 + y**4 / 120)
        cosh2 = horizon * (1 + y**2 / 3 + y**4 / 15 + 2 * y**6 / 315)
        sinh2 = horizon**3 * (1 / 3 + y**2 / 15 + 2 * y**4 / 315 + y**6 / 2835)
        return scale * cosh2, scale * sinh**2 / 2, scale * sinh2
    low = math.exp(-2 * y)
    double = (1 - low**2) / (8 * omega)
    sinh = (1 - low) / (2 * omega)
    flat = low * horizon / 2
    return double + flat, sinh**2 / 2, (double - flat) / omega**2
