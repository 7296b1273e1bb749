"""Least expected cost of buying within T periods.

Bertsimas and Lo, "Optimal Control of Execution Costs" (Journal of Financial Markets 1, 1998). S_bar
shares are bought in trades S_1..S_T. P0 is the price before the first, theta the price's rise by
share bought; X is a public signal, X_t = rho X_{t-1} + eta_t, known before the trade at t, which
moves the price by gamma X_t. Float64, exact to about 1e-13 of itself.
"""
# ruff: noqa: N803 - the names are the paper's

from dataclasses import dataclass
from typing import Final

import numpy as np

from lob.bounds import Floats, not_negative, number, positive, whole
from lob.errors import InvalidInput
from lob.in_floats import in_floats

_PERIODS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class LinearPriceRule:
    """The optimal rule under linear impact with information; entry k: k periods left after it.

    S = delta_w[k] W + delta_x[k] X with W the shares left and X the signal now; the least expected
    cost from here is W (P + a[k] W + b[k] X) + c[k] X^2 + d[k], P the price before.
    """

    delta_w: Floats
    delta_x: Floats
    a: Floats
    b: Floats
    c: Floats
    d: Floats

    def trade(self, k: int, W: float, X: float) -> float:
        """Return what to buy now, with k periods after this one."""
        place = self._place(k)
        return float(self.delta_w[place] * number("W", W) + self.delta_x[place] * number("X", X))

    def expected_cost(self, k: int, P: float, W: float, X: float) -> float:
        """Return the least expected cost of W shares from here on."""
        place, left, signal = self._place(k), number("W", W), number("X", X)
        each = number("P", P) + self.a[place] * left + self.b[place] * signal
        return float(left * each + self.c[place] * signal**2 + self.d[place])

    def _place(self, k: int) -> int:
        return whole("k", k, 0, self.a.size - 1)


@dataclass(frozen=True, slots=True, eq=False)
class PercentageImpactRule:
    """The optimal rule under linear-percentage temporary impact; entry k: k periods are left after.

    S = delta_w[k] W + delta_x[k] X + delta_1[k]; the least expected cost is P times the quadratic
    ww W^2 + wx W X + xx X^2 + w W + x X + one, P the price without impact, now.
    """

    delta_w: Floats
    delta_x: Floats
    delta_1: Floats
    value: Floats

    def trade(self, k: int, W: float, X: float) -> float:
        """Return what to buy now, with k periods after this one."""
        place = whole("k", k, 0, self.delta_w.size - 1)
        return float(
            self.delta_w[place] * number("W", W)
            + self.delta_x[place] * number("X", X)
            + self.delta_1[place]
        )

    def expected_cost(self, k: int, P: float, W: float, X: float) -> float:
        """Return the least expected cost of W shares from here on."""
        place = whole("k", k, 0, self.delta_w.size - 1)
        left, signal = number("W", W), number("X", X)
        terms = np.array([left**2, left * signal, signal**2, left, signal, 1.0])
        return positive("P", P) * float(self.value[place] @ terms)


@in_floats
def bertsimas_lo_schedule(S_bar: float, T: int) -> Floats:
    """Return the best trades where impact is linear and permanent: S_bar / T each (section 2).

    >>> bertsimas_lo_schedule(S_bar=100.0, T=4).tolist()
    [25.0, 25.0, 25.0, 25.0]
    """
    periods = whole("T", T, 1, _PERIODS_MAX)
    return np.full(periods, number("S_bar", S_bar) / periods)


@in_floats
def bertsimas_lo_cost(S_bar: float, T: int, theta: float, P0: float) -> float:
    """Return its expected cost, S_bar P0 + theta S_bar^2 / 2 (1 + 1 / T) (section 2).

    >>> bertsimas_lo_cost(S_bar=100.0, T=4, theta=0.01, P0=50.0)
    5062.5
    """
    shares, periods = number("S_bar", S_bar), whole("T", T, 1, _PERIODS_MAX)
    each = positive("theta", theta) / 2 * (1 + 1 / periods)
    return shares * number("P0", P0) + each * shares**2


@in_floats
def bertsimas_lo_information(
    T: int, theta: float, gamma: float, rho: float, sigma_eta: float = 0.0
) -> LinearPriceRule:
    """Return the rule for P_t = P_{t-1} + theta S_t + gamma X_t + noise (section 2).

    delta_w = 1 / (k + 1), delta_x = rho b / (2 a) of k - 1; a_k = theta / 2 (1 + 1 / (k + 1)),
    b_k = gamma + theta rho b / (2 a), c_k = rho^2 (c - b^2 / (4 a)), d_k = d + c sigma_eta^2, all
    of k - 1, from theta, gamma, 0, 0. `rho` is from -1 to 1. O(T).
    """
    periods = whole("T", T, 1, _PERIODS_MAX)
    slope, pull = positive("theta", theta), number("gamma", gamma)
    memory, noise = number("rho", rho, low=-1, high=1), not_negative("sigma_eta", sigma_eta)
    k = np.arange(periods)
    a = slope / 2 * (1 + 1 / (k + 1))
    b, c, d, delta_x = np.zeros((4, periods))
    b[0] = pull
    for n in range(1, periods):
        lean = memory * b[n - 1] / (2 * a[n - 1])
        delta_x[n] = lean
        b[n] = pull + slope * lean
        c[n] = memory**2 * c[n - 1] - lean**2 * a[n - 1]
        d[n] = d[n - 1] + c[n - 1] * noise**2
    return LinearPriceRule(1 / (k + 1), delta_x, a, b, c, d)


@in_floats
def bertsimas_lo_percentage(
    T: int,
    theta: float,
    gamma: float = 0.0,
    rho: float = 0.0,
    sigma_eta: float = 0.0,
    *,
    q: float = 1.0,
) -> PercentageImpactRule:
    """Return the rule for the paid price P (1 + theta S + gamma X), P geometric (section 3).

    `q` = E[P_{t+1} / P_t] (1: no drift). Impact is temporary: it is a share of the price without
    impact and leaves nothing behind. O(T).

    Raises:
        InvalidInput: a number is out of range, or q so that the cost has no least.
    """
    periods = whole("T", T, 1, _PERIODS_MAX)
    slope, pull, growth = positive("theta", theta), number("gamma", gamma), positive("q", q)
    memory, noise = number("rho", rho, low=-1, high=1), not_negative("sigma_eta", sigma_eta)
    rule, value = np.zeros((3, periods)), np.zeros((periods, 6))
    rule[0, 0] = 1.0
    value[0] = (slope, pull, 0.0, 1.0, 0.0, 0.0)
    for k in range(1, periods):
        ww, wx, xx, w, x, one = (growth * float(part) for part in value[k - 1])
        # The next X is rho X + eta: its mean square adds sigma_eta^2 to the constant.
        wx, xx, x, one = wx * memory, xx * memory**2, x * memory, one + xx * noise**2
        curve = slope + ww
        if not curve > 0:
            raise InvalidInput(f"q: {growth}; allowed: one that leaves the cost a least")
        # Least over S of S + theta S^2 + gamma X S + value(W - S, X): S is linear in W, X and 1.
        by_w, by_x, by_1 = ww / curve, (wx - pull) / (2 * curve), (w - 1) / (2 * curve)
        rule[:, k] = by_w, by_x, by_1
        value[k] = (
            ww - curve * by_w**2,
            wx - 2 * curve * by_w * by_x,
            xx - curve * by_x**2,
            w - 2 * curve * by_w * by_1,
            x - 2 * curve * by_x * by_1,
            one - curve * by_1**2,
        )
    return PercentageImpactRule(rule[0], rule[1], rule[2], value)
