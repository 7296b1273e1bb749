"""Quotes of a maker with exponential utility who dislikes inventory.

M. Avellaneda and S. Stoikov, "High-frequency trading in a limit order book" (Quantitative Finance
8(3), 2008). The mid is a Brownian motion of volatility `sigma` (price per square root of time); a
quote at distance delta from it is hit at the rate A exp(-k delta).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import (
    Floats,
    not_negative,
    number,
    numbers,
    positive,
    row,
    same_length,
    scalar_or_array,
    whole,
)
from lob.errors import InvalidInput
from lob.in_floats import in_floats

MIN_POINTS = 2


@dataclass(frozen=True, slots=True)
class Quotes:
    """A bid and an ask about a reservation price, in units of price."""

    reservation_price: float
    bid: float
    ask: float

    @property
    def spread(self) -> float:
        """Return ask minus bid."""
        return self.ask - self.bid


@dataclass(frozen=True, slots=True)
class FillIntensity:
    """The rate A exp(-k delta) at which a quote at distance delta from the mid is hit.

    `a` is in fills per unit of time, `k` per unit of price (section 2.5 of the paper).

    >>> FillIntensity(a=140.0, k=1.5).rate(0.0)
    140.0
    """

    a: float
    k: float

    def __post_init__(self) -> None:
        positive("a", self.a)
        positive("k", self.k)

    def rate(self, delta: ArrayLike) -> float | Floats:
        """Return the fills per unit of time at each distance."""
        return scalar_or_array(self.a * np.exp(-self.k * numbers("delta", delta)))

    def fill_probability(self, delta: ArrayLike, time: float) -> float | Floats:
        """Return P(hit within `time`) = 1 - exp(-rate time) at each distance."""
        time = not_negative("time", time)
        return scalar_or_array(-np.expm1(-np.asarray(self.rate(delta)) * time))

    def distance(self, rate: float) -> float:
        """Return the distance at which a quote is hit at this rate: ln(A / rate) / k."""
        return math.log(self.a / positive("rate", rate)) / self.k


@in_floats
def intensity_from_order_flow(
    market_order_rate: float, alpha: float, k_impact: float
) -> FillIntensity:
    """Return the intensity that power-law sizes and logarithmic impact bring about (section 2.5).

    Market orders come at `market_order_rate` (Lambda) with sizes of density x^(-1-alpha), and move
    the price by ln(size) / K: A = Lambda / alpha and k = alpha K.

    >>> intensity_from_order_flow(280.0, 2.0, 0.75)
    FillIntensity(a=140.0, k=1.5)
    """
    rate = positive("market_order_rate", market_order_rate)
    alpha = positive("alpha", alpha)
    return FillIntensity(rate / alpha, alpha * positive("k_impact", k_impact))


@in_floats
def fit_fill_intensity(
    delta: ArrayLike, rate: ArrayLike, weights: ArrayLike | None = None
) -> FillIntensity:
    """Return A and k from rates seen at distances: least squares of ln(rate) on distance.

    `weights` are best the counts of fills, since ln(rate) has variance 1/count. `InvalidInput`
    below two distances, or where the rates do not fall with distance.
    """
    deltas = row("delta", delta, at_least=MIN_POINTS)
    rates = row("rate", rate, low=0, at_least=MIN_POINTS)
    given = np.ones(len(deltas)) if weights is None else row("weights", weights, low=0)
    same_length(delta=deltas, rate=rates, weights=given)
    for value in rates:
        positive("rate", float(value))
    total = positive("weights", float(given.sum()))
    logs = np.log(rates)
    centre, level = float(given @ deltas) / total, float(given @ logs) / total
    spread = float(given @ (deltas - centre) ** 2)
    if spread <= 0:
        raise InvalidInput(f"delta: {deltas[0]!r} only; allowed: two or more distances")
    slope = float(given @ ((deltas - centre) * (logs - level))) / spread
    if slope >= 0:
        raise InvalidInput(f"rate: ln(rate) rises by {slope:.6g} per unit; allowed: falling rates")
    return FillIntensity(math.exp(level - slope * centre), -slope)


@in_floats
def reservation_price(
    s: ArrayLike, q: ArrayLike, gamma: float, sigma: float, time_left: ArrayLike
) -> float | Floats:
    """Return r = s - q gamma sigma^2 (T - t) (sections 2.2, 3.2), at which holding q is worth it.

    `s` is the mid, `q` the inventory in units traded, `gamma` the risk aversion (1/money), `sigma`
    the volatility of the price per square root of time, `time_left` T - t.

    >>> reservation_price(100.0, 5, gamma=0.1, sigma=2.0, time_left=1.0)
    98.0
    """
    mids, held = numbers("s", s), numbers("q", q)
    left = numbers("time_left", time_left, low=0)
    variance = not_negative("gamma", gamma) * not_negative("sigma", sigma) ** 2
    return scalar_or_array(np.asarray(mids - held * variance * left))


@in_floats
def reservation_bid_ask(
    s: float, q: float, gamma: float, sigma: float, time_left: float
) -> tuple[float, float]:
    """Return the prices at which one unit more, or one fewer, leaves a frozen maker as well off.

    r_b = s + (-1 - 2q) gamma sigma^2 (T - t) / 2 and r_a = s + (1 - 2q) ... (section 2.2).
    """
    middle = reservation_price(s, q, gamma, sigma, time_left)
    half = gamma * sigma**2 * time_left / 2
    return float(middle) - half, float(middle) + half


@in_floats
def infinite_horizon_reservation_prices(
    s: float, q: float, gamma: float, sigma: float, q_max: int
) -> tuple[float, float]:
    """Return the reservation bid and ask without a final time (section 2.3).

    s + (1/gamma) ln(1 + (-+1 - 2q) gamma^2 sigma^2 / (2 omega - gamma^2 q^2 sigma^2)) with the
    discount omega = gamma^2 sigma^2 (q_max + 1)^2 / 2 that the paper proposes, for |q| up to q_max.
    At q_max the bid is minus infinity: no price makes one unit more worth it. The ask is as
    printed; the paper's definition gives -ln(1 - x) for its ln(1 + x), the same to first order.

    >>> bid, ask = infinite_horizon_reservation_prices(100.0, 0, 0.1, 2.0, q_max=4)
    >>> round(bid, 4), round(ask, 4)
    (99.5918, 100.3922)
    """
    s, gamma = number("s", s), positive("gamma", gamma)
    positive("sigma", sigma)
    whole("q_max", q_max, 0)
    if abs(number("q", q)) > q_max:
        raise InvalidInput(f"q: {q}; allowed: -{q_max}..{q_max} (q_max)")
    # gamma^2 sigma^2 is in numerator and denominator alike
    room = (q_max + 1) ** 2 - q**2
    least = (-1 - 2 * q) / room
    bid = s + math.log1p(least) / gamma if least > -1 else -math.inf
    ask = s + math.log1p((1 - 2 * q) / room) / gamma
    return bid, ask


@in_floats
def optimal_spread(gamma: float, sigma: float, time_left: ArrayLike, k: float) -> float | Floats:
    """Return ask minus bid: gamma sigma^2 (T - t) + (2/gamma) ln(1 + gamma/k) (section 3.2).

    Without risk aversion it is 2 / k, its limit. Half-way through the paper's Table 1 (sigma 2,
    T 1, k 1.5) it is the average printed there, 1.49 for gamma = 0.1:

    >>> round(optimal_spread(0.1, 2.0, 0.5, 1.5), 2)
    1.49
    """
    left = numbers("time_left", time_left, low=0)
    gamma, sigma, k = not_negative("gamma", gamma), not_negative("sigma", sigma), positive("k", k)
    margin = 2 * math.log1p(gamma / k) / gamma if gamma else 2 / k
    return scalar_or_array(np.asarray(gamma * sigma**2 * left + margin))


@in_floats
def avellaneda_stoikov_quotes(
    s: float, q: float, gamma: float, sigma: float, time_left: float, k: float
) -> Quotes:
    """Return the maker's bid and ask: the optimal spread about the reservation price (section 3.2).

    >>> quotes = avellaneda_stoikov_quotes(100.0, 3, gamma=0.1, sigma=2.0, time_left=0.5, k=1.5)
    >>> round(quotes.bid, 4), round(quotes.ask, 4)
    (98.6546, 100.1454)
    """
    left = number("time_left", time_left)
    middle = float(reservation_price(number("s", s), number("q", q), gamma, sigma, left))
    half = float(optimal_spread(gamma, sigma, left, k)) / 2
    return Quotes(middle, middle - half, middle + half)
