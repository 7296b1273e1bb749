"""Quotes of a maker with an inventory limit, solved exactly.

O. Gueant, C.-A. Lehalle and J. Fernandez-Tapia, "Dealing with the inventory risk: a solution to the
market making problem" (Mathematics and Financial Economics 7(4), 2013). The model is that of
Avellaneda and Stoikov with |q| <= Q; a change of variables makes it linear: v' = M v with a
tridiagonal matrix M.
"""

import math
from dataclasses import dataclass

import numpy as np

from lob.bounds import Floats, not_negative, number, positive, whole
from lob.errors import InvalidInput
from lob.in_floats import in_floats

MAX_INVENTORY = 1_000
_POWER_MAX = 600  # exp of it is within the floats, with room for what multiplies it


@dataclass(frozen=True, slots=True)
class GueantLehalleTapia:
    """The model: volatility `sigma`, intensity `a` exp(-`k` delta), risk aversion `gamma`.

    `q_max` is the inventory limit Q in units; `mu` the drift of the mid in price per unit of time
    (section 5 of the paper). At the limit the quote that would go beyond it is None.

    >>> model = GueantLehalleTapia(sigma=0.3, a=0.9, k=0.3, gamma=0.01, q_max=30)
    >>> bid, ask = model.asymptotic_distances(0)
    >>> abs(bid - ask) < 1e-9
    True
    """

    sigma: float
    a: float
    k: float
    gamma: float
    q_max: int
    mu: float = 0.0

    def __post_init__(self) -> None:
        not_negative("sigma", self.sigma)
        for name in ("a", "k", "gamma"):
            positive(name, getattr(self, name))
        whole("q_max", self.q_max, 1, MAX_INVENTORY)
        number("mu", self.mu)

    def matrix(self) -> Floats:
        """Return M of Theorem 1: alpha q^2 - beta q on the diagonal, -eta beside it.

        alpha = k gamma sigma^2 / 2, beta = k mu, eta = A (1 + gamma/k)^-(1 + k/gamma); rows run
        from inventory -Q to Q.
        """
        q = np.arange(-self.q_max, self.q_max + 1, dtype=np.float64)
        alpha = self.k * self.gamma * self.sigma**2 / 2
        eta = self.a * math.exp(-(1 + self.k / self.gamma) * math.log1p(self.gamma / self.k))
        beside = np.full(len(q) - 1, -eta)
        on_diagonal = alpha * q**2 - self.k * self.mu * q
        return np.diag(on_diagonal) + np.diag(beside, 1) + np.diag(beside, -1)

    def value(self, time_left: float) -> Floats:
        """Return v(t) = exp(-M (T - t)) 1 over inventories -Q..Q, up to a common factor.

        M is symmetric, so its eigenvectors give the exponential; the factor keeps it in range.
        """
        left = not_negative("time_left", time_left)
        values, vectors = np.linalg.eigh(self.matrix())
        weights = np.exp(-(values - values[0]) * left) * vectors.sum(axis=0)
        return np.asarray(vectors @ weights)

    def distances(self, q: int, time_left: float) -> tuple[float | None, float | None]:
        """Return the optimal distances of bid and ask from the mid (Theorem 2).

        delta_b = (1/k) ln(v_q / v_{q+1}) + (1/gamma) ln(1 + gamma/k), delta_a with v_{q-1}.
        """
        return self._distances(q, self.value(time_left))

    def asymptotic_distances(self, q: int) -> tuple[float | None, float | None]:
        """Return the distances far from the end (Theorem 3), by M's lowest eigenvector."""
        _, vectors = np.linalg.eigh(self.matrix())
        return self._distances(q, np.abs(vectors[:, 0]))

    def _distances(self, q: int, value: Floats) -> tuple[float | None, float | None]:
        limit = self.q_max
        place = whole("q", q, -limit, limit) + limit
        least = math.log1p(self.gamma / self.k) / self.gamma
        if value.min() <= 0:
            raise InvalidInput(
                f"q_max: {limit}; allowed: less, as the value at the limit is below float precision"
            )
        logs = np.log(value)
        bid = None if q == limit else float(logs[place] - logs[place + 1]) / self.k + least
        ask = None if q == -limit else float(logs[place] - logs[place - 1]) / self.k + least
        return bid, ask


@in_floats
def asymptotic_quotes(
    q: float, sigma: float, a: float, k: float, gamma: float, mu: float = 0.0
) -> tuple[float, float]:
    """Return the closed-form approximations of the bid's and ask's distances (section 4).

    delta_b = (1/gamma) ln(1 + gamma/k) + (-mu/(gamma sigma^2) + (2q + 1)/2) c and delta_a with
    + mu and -(2q - 1)/2, where c = sqrt(sigma^2 gamma / (2 k A) (1 + gamma/k)^(1 + k/gamma)).

    >>> bid, ask = asymptotic_quotes(0, sigma=0.3, a=0.9, k=0.3, gamma=0.01)
    >>> round(bid, 4), round(ask, 4)
    (3.3129, 3.3129)
    """
    q, mu = number("q", q), number("mu", mu)
    slope = _slope(sigma, a, k, gamma)
    least = math.log1p(gamma / k) / gamma
    if mu and not sigma:
        raise InvalidInput("sigma: 0.0; allowed: above 0 where mu is not 0")
    tilt = mu / (gamma * sigma**2) if mu else 0.0
    return least + (q + 0.5 - tilt) * slope, least + (0.5 - q + tilt) * slope


@in_floats
def asymptotic_spread(sigma: float, a: float, k: float, gamma: float) -> float:
    """Return the approximate spread, which does not depend on inventory (section 4).

    (2/gamma) ln(1 + gamma/k) + sqrt(sigma^2 gamma / (2 k A) (1 + gamma/k)^(1 + k/gamma)).
    """
    return _slope(sigma, a, k, gamma) + 2 * math.log1p(gamma / k) / gamma


def _slope(sigma: float, a: float, k: float, gamma: float) -> float:
    """Return by how much a quote moves for each unit of inventory."""
    sigma, a = not_negative("sigma", sigma), positive("a", a)
    k, gamma = positive("k", k), positive("gamma", gamma)
    power = (1 + k / gamma) * math.log1p(gamma / k)
    if not 0 < power < _POWER_MAX:
        allowed = "such that (1 + gamma/k)^(1 + k/gamma) is finite"
        raise InvalidInput(f"gamma: {gamma}; allowed: {allowed}")
    return math.sqrt(sigma**2 * gamma / (2 * k * a) * math.exp(power))
