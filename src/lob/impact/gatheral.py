"""Impact that fades and the round trips that must not pay: Gatheral's no-dynamic-arbitrage.

Gatheral, "No-Dynamic-Arbitrage and Market Impact" (Quantitative Finance 10, 2010): the price is
S_t = S_0 + integral over s < t of f(v_s) G(t - s) ds + noise, v the rate of trading (above 0:
buying). A schedule here is a list of times t_0 < .. < t_m and the rates v_1..v_m held between them.
Costs are exact for such schedules: G is integrated in closed form. No schedule that ends where it
began may have a cost below 0.
"""
# ruff: noqa: N803 - the names are the paper's

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, increasing, not_negative, number, numbers, positive, row
from lob.errors import InvalidInput
from lob.impact.kernels import Kernel, PowerLawKernel
from lob.in_floats import in_floats

GAMMA_STAR: Final = 2 - math.log(3) / math.log(2)
"""The least decay exponent of a power law, 2 - log 3 / log 2 = 0.415: see
`gatheral_gamma_star`."""

_SEGMENTS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class PowerImpact:
    """f(v) = coefficient sign(v) |v|^delta, the instantaneous impact of trading at rate v."""

    delta: float
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        positive("delta", self.delta)
        not_negative("coefficient", self.coefficient)

    def __call__(self, v: ArrayLike) -> Floats:
        """Return f(v) for rates of any shape."""
        rates = np.asarray(v, dtype=np.float64)
        return np.asarray(self.coefficient * np.sign(rates) * np.abs(rates) ** self.delta)


ImpactFunction = PowerImpact | Callable[[Floats], Floats]


class NoArbitrage(NamedTuple):
    """Whether a power-law f and a power-law G can stand together, and why not.

    `sum_holds` says gamma + delta >= 1, `star_holds` gamma >= gamma*, `round_trip` is the least
    cost of a round trip of two even rates in the units of `gatheral_two_rate_cost` (below 0: a
    price manipulation), at the share `theta` of the time spent buying.
    """

    gamma: float
    delta: float
    sum_holds: bool
    star_holds: bool
    round_trip: float
    theta: float

    @property
    def holds(self) -> bool:
        """Return whether both of the paper's conditions hold and no such round trip pays."""
        return self.sum_holds and self.star_holds and self.round_trip >= 0


def gatheral_gamma_star() -> float:
    """Return gamma* = 2 - log 3 / log 2, the bound that holds however convex f is.

    Two even rates with the buying a little the slower cost, for delta to infinity,
    theta^(1 - gamma) + (1 - theta)^(2 - gamma) - 1 with theta just below 1/2: 0 at gamma*.

    >>> round(gatheral_gamma_star(), 6)
    0.415037
    """
    return GAMMA_STAR


@in_floats
def gatheral_no_arbitrage(gamma: float, delta: float) -> NoArbitrage:
    """Check f(v) ~ v^delta with G(t) ~ t^(-gamma) against the paper's conditions.

    Where gamma + delta < 1 a round trip of two even rates pays; where gamma < gamma* one does for
    an f that is convex enough. That round trip is tried with this delta besides, at 2,000 shares of
    the time. `gamma` is above 0 and below 1, `delta` above 0.

    >>> gatheral_no_arbitrage(gamma=0.5, delta=0.5).holds
    True
    >>> gatheral_no_arbitrage(gamma=0.4, delta=0.5).sum_holds
    False
    """
    decay, power = number("gamma", gamma, above=0, below=1), positive("delta", delta)
    theta = np.concatenate([np.arange(1, 2000) / 2000, 1 - np.logspace(-12, -4, 60)])
    cost = gatheral_two_rate_cost(decay, power, theta)
    least = int(np.argmin(cost))
    # Rounding alone must not fail the edge, gamma + delta = 1, where the cost is 0 at the end.
    worst = float(cost[least]) if cost[least] < -1e-14 else max(0.0, float(cost[least]))  # noqa: PLR2004 - as said
    return NoArbitrage(
        gamma=decay,
        delta=power,
        sum_holds=decay + power >= 1 - 1e-15,
        star_holds=decay >= GAMMA_STAR,
        round_trip=worst,
        theta=float(theta[least]),
    )


@in_floats
def gatheral_two_rate_cost(gamma: float, delta: float, theta: ArrayLike) -> Floats:
    """Return the cost of buying evenly over theta T, then selling it over the rest.

    In units of v2 f(v1) T^(2 - gamma) / ((1 - gamma) (2 - gamma)), v1 and v2 the rates:
    theta^(1 - gamma) + (1 - theta)^(2 - gamma) (1 + (theta / (1 - theta))^delta) - 1.
    """
    decay, power = number("gamma", gamma, above=0, below=1), positive("delta", delta)
    share = numbers("theta", theta, above=0)
    if (share >= 1).any():
        raise InvalidInput(f"theta: {share.max()}; allowed: above 0 and below 1")
    rest = 1 - share
    # (rest)^(2 - gamma) (share / rest)^delta: one power, so that a large delta does not overflow.
    with np.errstate(over="ignore"):
        sold = np.exp((2 - decay - power) * np.log(rest) + power * np.log(share))
    # theta^(1 - gamma) - 1 by expm1: it and the rest nearly cancel at theta near 1.
    bought = np.expm1((1 - decay) * np.log1p(-rest))
    return np.asarray(bought + rest ** (2 - decay) + sold)


@in_floats
def propagator_cost(
    times: ArrayLike, rates: ArrayLike, kernel: Kernel, f: ImpactFunction | None = None
) -> float:
    """Return the expected cost of a schedule beyond S_0 times its shares.

    C = integral of v_t times the integral over s < t of f(v_s) G(t - s) ds; `f` is linear if not
    given. Times in G's unit, rates in shares by it. O(m^2), at most 5,000 rates.

    >>> from lob.impact.kernels import PermanentKernel
    >>> propagator_cost([0, 1, 3], [2, -1], PermanentKernel())
    0.0
    """
    at, speed = _schedule(times, rates)
    pressed = _impact(f, speed)
    begins, ends = at[:-1], at[1:]
    own = speed * pressed * kernel.second(ends - begins)
    total = math.fsum(own.tolist())
    for j in range(1, speed.size):
        if speed[j] == 0:
            continue
        b, e = begins[:j], ends[:j]
        double = (
            kernel.second(ends[j] - b)
            - kernel.second(ends[j] - e)
            - kernel.second(begins[j] - b)
            + kernel.second(begins[j] - e)
        )
        total += float(speed[j] * (pressed[:j] @ double))
    return total


@in_floats
def propagator_price_path(
    t: ArrayLike,
    times: ArrayLike,
    rates: ArrayLike,
    kernel: Kernel,
    f: ImpactFunction | None = None,
) -> Floats:
    """Return E[S_t] - S_0 at the times t, during the schedule and after it.

    O(len(t) x len(rates)).
    """
    at, speed = _schedule(times, rates)
    asked = row("t", np.atleast_1d(numbers("t", t)))
    pressed, moved = _impact(f, speed), np.zeros(asked.shape)
    for begin, end, force in zip(at[:-1], at[1:], pressed.tolist(), strict=True):
        since = kernel.first(np.maximum(asked - begin, 0))
        moved += force * (since - kernel.first(np.maximum(asked - end, 0)))
    return moved


@in_floats
def round_trip_cost(
    v1: float, v2: float, theta: float, T: float, kernel: Kernel, f: ImpactFunction | None = None
) -> float:
    """Return the cost of trading at v1 over theta T and at -v2 over the rest.

    A round trip where v1 theta = v2 (1 - theta), which is asked for (to 1e-9): a cost below 0 is an
    arbitrage.
    """
    share, horizon = number("theta", theta, above=0, below=1), positive("T", T)
    first, second = number("v1", v1), number("v2", v2)
    if not math.isclose(first * share, second * (1 - share), rel_tol=1e-9):
        raise InvalidInput(
            f"v2: {second}; allowed: v1 theta / (1 - theta) ({first * share / (1 - share)})"
        )
    return propagator_cost([0.0, share * horizon, horizon], [first, -second], kernel, f)


@in_floats
def power_law_vwap_cost(
    X: float, T: float, gamma: float, delta: float, coefficient: float = 1.0
) -> float:
    """Return what X shares cost at an even rate over T, with f ~ v^delta, G = t^(-gamma).

    coefficient X |X/T|^delta T^(1 - gamma) / ((1 - gamma) (2 - gamma)): with gamma = delta = 1/2
    the square-root law, whatever T is.
    """
    shares, horizon = number("X", X), positive("T", T)
    impact = PowerImpact(delta, coefficient)
    kernel = PowerLawKernel(gamma)
    rate = shares / horizon
    return rate * float(impact(rate)) * float(kernel.second(horizon))


@in_floats
def power_law_optimal_rate(t: ArrayLike, X: float, T: float, gamma: float) -> Floats:
    """Return the optimal rate at times inside 0..T for f linear, G = t^(-gamma).

    v(t) = X [t (T - t)]^(-(1 - gamma) / 2) / (T^gamma B((1 + gamma) / 2, (1 + gamma) / 2)):
    Gatheral, Schied and Slynko, "Transient Linear Price Impact and Fredholm Integral Equations"
    (Mathematical Finance 22, 2012). Infinite at both ends.
    """
    horizon, decay = positive("T", T), number("gamma", gamma, above=0, below=1)
    times = numbers("t", t, low=0)
    if (times > horizon).any():
        raise InvalidInput(f"t: {times.max()}; allowed: 0..{horizon}")
    scale = number("X", X) / (horizon**decay * _beta((1 + decay) / 2))
    with np.errstate(divide="ignore"):
        return np.asarray(scale * (times * (horizon - times)) ** (-(1 - decay) / 2))


@in_floats
def power_law_optimal_cost(X: float, T: float, gamma: float) -> float:
    """Return what `power_law_optimal_rate` costs: the least of all schedules of X over T.

    X^2 pi / (2 T^gamma cos(pi gamma / 2) B((1 + gamma) / 2, (1 + gamma) / 2)).
    """
    horizon, decay = positive("T", T), number("gamma", gamma, above=0, below=1)
    norm = float(horizon**decay) * _beta((1 + decay) / 2)
    return number("X", X) ** 2 * math.pi / (2 * math.cos(math.pi * decay / 2) * norm)


def _beta(a: float) -> float:
    """Return the beta function B(a, a)."""
    return math.exp(2 * math.lgamma(a) - math.lgamma(2 * a))


def _schedule(times: ArrayLike, rates: ArrayLike) -> tuple[Floats, Floats]:
    at, speed = increasing("times", times, at_least=2), row("rates", rates)
    if speed.size != at.size - 1:
        raise InvalidInput(f"rates: {speed.size}; allowed: one fewer than times ({at.size - 1})")
    if speed.size > _SEGMENTS_MAX:
        raise InvalidInput(f"rates: {speed.size}; allowed: {_SEGMENTS_MAX} or fewer")
    return at, speed


def _impact(f: ImpactFunction | None, speed: Floats) -> Floats:
    return speed if f is None else np.asarray(f(speed), dtype=np.float64)
