"""P(fill within T) of an order in a price-time queue, by stages that must pass.

An order with `n_ahead` units before it fills when that many units, and then its own, have gone:
market orders take the front at the rate `mu`, and each unit ahead (never ours) is cancelled at the
rate `theta`. This is the bid process of Cont, Stoikov and Talreja (Operations Research 58, 2010,
section 3.3): stages of rates mu + n theta, ..., mu + theta, then mu for each lot of ours.
Without cancels it is Erlang's distribution. Rates are a second, times seconds and may be 0 or
infinite; sizes are whole units.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, as_given, not_negative, numbers, pmf, row, whole
from lob.errors import InvalidInput
from lob.queueing.special import beta_p, poisson_tail, poisson_window

_STAGES_MAX: Final = 20_000
_EVENTS_MAX: Final = 5_000_000


def erlang_fill_probability(
    t: ArrayLike, *, mu: float, n_ahead: int = 0, quantity: int = 1
) -> Floats:
    """Return P(at least n_ahead + quantity unit market orders arrive within t); t's shape.

    The Poisson tail P(N(mu t) >= n_ahead + quantity); relative accuracy about 1e-12.

    >>> [round(float(erlang_fill_probability(t, mu=2, n_ahead=n)), 6) for n, t in [(3, 1), (9, 5)]]
    [0.142877, 0.54207]
    """
    stages = _whole_order(n_ahead, quantity)
    mu = not_negative("mu", mu)
    times = numbers("t", t, low=0, infinite=True)
    means = np.where(mu == 0, 0.0, mu * np.where(np.isinf(times) & (mu == 0), 0.0, times))
    finite = poisson_tail(stages, np.where(np.isinf(means), 0.0, means))
    return as_given(np.where(np.isinf(means), 1.0, finite))


def hypoexponential_fill_probability(
    t: ArrayLike, *, mu: float, theta: float, n_ahead: int, quantity: int = 1
) -> Floats:
    """Return P(the whole order has filled within t) with cancels ahead; the shape of `t`.

    For one lot, in closed form: exp(-theta T) of the filling time T is a Beta(mu / theta,
    n_ahead + 1) variable (its stages are the gaps of order statistics, Rényi 1953). For more, by
    uniformisation. Absolute accuracy about 1e-12.

    >>> cases = [(0, 1), (1, 1), (4, 1), (4, 10), (20, 10)]
    >>> [round(float(hypoexponential_fill_probability(t, mu=0.94, theta=0.71, n_ahead=n)), 6)
    ...  for n, t in cases]
    [0.609372, 0.346466, 0.05563, 0.999388, 0.996063]
    """
    _whole_order(n_ahead, quantity)
    mu, theta = not_negative("mu", mu), not_negative("theta", theta)
    if theta == 0:
        return erlang_fill_probability(t, mu=mu, n_ahead=n_ahead, quantity=quantity)
    times = numbers("t", t, low=0, infinite=True)
    if mu == 0:
        return as_given(np.zeros_like(times))
    # Tiny theta / mu makes the Beta parameters so large that stages are better.
    if quantity == 1 and mu / theta < 1e6:  # noqa: PLR2004 - as said
        filled = -np.expm1(-theta * times)
        return beta_p(n_ahead + 1.0, mu / theta, filled, rest=np.exp(-theta * times))
    return stages_cdf(times, filling_stages(mu=mu, theta=theta, n_ahead=n_ahead, quantity=quantity))


def filling_stages(*, mu: float, theta: float, n_ahead: int, quantity: int = 1) -> Floats:
    """Return the rates of the stages to a full fill: those ahead, last first, then our lots.

    >>> filling_stages(mu=1.0, theta=0.5, n_ahead=2).tolist()
    [2.0, 1.5, 1.0]
    """
    _whole_order(n_ahead, quantity)
    mu, theta = not_negative("mu", mu), not_negative("theta", theta)
    ahead = mu + theta * np.arange(n_ahead, 0, -1)
    return as_given(np.concatenate([ahead, np.full(quantity, mu)]))


def stages_cdf(t: ArrayLike, rates: ArrayLike) -> Floats:
    """Return P(all stages, exponential at these rates one after another, have passed by t).

    The hypoexponential distribution for any rates, equal ones too, by uniformisation: sums of
    positive terms, absolute accuracy about 1e-12. O(stages x largest rate x t). A stage of rate 0
    never passes.
    """
    stages = row("rates", rates, low=0)
    times = numbers("t", t, low=0, infinite=True)
    if np.any(stages == 0):
        return as_given(np.zeros_like(times))
    if len(stages) > _STAGES_MAX:
        raise InvalidInput(f"rates: {len(stages)} stages; allowed: at most {_STAGES_MAX}")
    jumps = np.zeros((len(stages), len(stages) + 1))
    at = np.arange(len(stages))
    jumps[at, at + 1] = stages
    passed = np.zeros(len(stages) + 1)
    passed[-1] = 1.0
    flat = [
        1.0 if math.isinf(when) else float(_chain(stages, when) @ passed) for when in times.ravel()
    ]
    return as_given(np.clip(np.array(flat).reshape(times.shape), 0.0, 1.0))


def _chain(stages: Floats, t: float) -> Floats:
    """Return the probabilities of having passed 0, 1, ... of the stages by t."""
    rate = float(stages.max())
    first, weights = _window(rate, t)
    move = stages / rate
    at = np.zeros(len(stages) + 1)
    at[0] = 1.0
    total = np.zeros_like(at)
    for step in range(first + len(weights)):
        if step >= first:
            total += weights[step - first] * at
        flow = at[:-1] * move
        at = at.copy()
        at[:-1] -= flow
        at[1:] += flow
    return as_given(total / total.sum())


def _window(rate: float, t: float) -> tuple[int, Floats]:
    if rate * t > _EVENTS_MAX:
        raise InvalidInput(f"t: {rate * t:.3g} events by then; allowed: at most {_EVENTS_MAX}")
    return poisson_window(rate * t)


def filled_quantity_law(
    t: float,
    *,
    mu: float,
    n_ahead: int,
    quantity: int,
    theta: float = 0.0,
    sizes: ArrayLike = (1.0,),
) -> Floats:
    """Return the probabilities that 0, 1, ..., quantity lots of the order have filled by t.

    `sizes[k - 1]` is the probability that a market order is of k lots (compound Poisson); it takes
    the units ahead first, then ours. Each unit ahead is cancelled at `theta`. By uniformisation on
    the units still to go; absolute accuracy about 1e-12. `t` may be infinite.

    >>> filled_quantity_law(1.0, mu=2.0, n_ahead=0, quantity=2).round(6).tolist()
    [0.135335, 0.270671, 0.593994]
    """
    units = _whole_order(n_ahead, quantity)
    mu, theta = not_negative("mu", mu), not_negative("theta", theta)
    size = pmf("sizes", sizes)
    when = float(numbers("t", t, low=0, infinite=True))
    if math.isinf(when):
        full = np.zeros(quantity + 1)
        full[-1 if mu else 0] = 1.0
        return full
    rate = mu + theta * n_ahead
    if rate * when == 0:
        return np.concatenate([[1.0], np.zeros(quantity)])
    first, weights = _window(rate, when)
    left = np.arange(units + 1)
    cancel = theta * np.maximum(left - quantity, 0) / rate
    at = np.zeros(units + 1)
    at[units] = 1.0
    total = np.zeros(units + 1)
    beyond = 1 - np.cumsum(size)
    for step in range(first + len(weights)):
        if step >= first:
            total += weights[step - first] * at
        cancelled = at * cancel
        moved = at * (1 - mu / rate) - cancelled
        moved[:-1] += cancelled[1:]
        at = moved + mu / rate * _taken(at, size, beyond)
    return _by_filled(total / total.sum(), quantity)


def _taken(at: Floats, size: Floats, beyond: Floats) -> Floats:
    """Return where a market order leaves the units to go; those it exceeds end at none."""
    found = np.zeros_like(at)
    for lots, chance in enumerate(size[: len(at)], 1):
        if chance:
            found[: len(at) - lots] += chance * at[lots:]
            found[0] += chance * at[1:lots].sum()
    found[0] += at[0]
    if len(size) > len(at):
        found[0] += beyond[len(at) - 1] * at[1:].sum()
    return found


def _by_filled(left: Floats, quantity: int) -> Floats:
    law = np.empty(quantity + 1)
    law[1:] = left[:quantity][::-1]
    law[0] = left[quantity:].sum()
    return law


def partial_fill_probability(
    t: float,
    *,
    mu: float,
    n_ahead: int,
    quantity: int,
    theta: float = 0.0,
    sizes: ArrayLike = (1.0,),
) -> Floats:
    """Return P(at least k lots have filled by t) for k = 1..quantity, as `filled_quantity_law`.

    >>> partial_fill_probability(1.0, mu=2.0, n_ahead=0, quantity=2).round(6).tolist()
    [0.864665, 0.593994]
    """
    law = filled_quantity_law(
        t, mu=mu, n_ahead=n_ahead, quantity=quantity, theta=theta, sizes=sizes
    )
    return as_given(np.cumsum(law[::-1])[::-1][1:])


def expected_filled_quantity(
    t: float,
    *,
    mu: float,
    n_ahead: int,
    quantity: int,
    theta: float = 0.0,
    sizes: ArrayLike = (1.0,),
) -> float:
    """Return the mean number of lots filled by t: the sum of P(at least k), as above."""
    return float(
        partial_fill_probability(
            t, mu=mu, n_ahead=n_ahead, quantity=quantity, theta=theta, sizes=sizes
        ).sum()
    )


def expected_wait(*, mu: float, n_ahead: int, theta: float = 0.0, quantity: int = 1) -> float:
    """Return the mean seconds to a full fill: the sum of 1 / rate over the stages; may be infinite.

    >>> expected_wait(mu=2.0, n_ahead=3)
    2.0
    """
    stages = filling_stages(mu=mu, theta=theta, n_ahead=n_ahead, quantity=quantity)
    return float(np.sum(1 / stages)) if np.all(stages > 0) else math.inf


def wait_variance(*, mu: float, n_ahead: int, theta: float = 0.0, quantity: int = 1) -> float:
    """Return the variance, in seconds squared, of the time to a full fill; may be infinite."""
    stages = filling_stages(mu=mu, theta=theta, n_ahead=n_ahead, quantity=quantity)
    return float(np.sum(1 / stages**2)) if np.all(stages > 0) else math.inf


def compound_poisson_law(t: float, *, rate: float, sizes: ArrayLike, most: int) -> Floats:
    """Return P(total size by t = 0, 1, ..., most) of Poisson arrivals of random whole sizes.

    Panjer's recursion p(k) = (m / k) sum of j f(j) p(k - j), m = rate t (Panjer, ASTIN Bulletin
    12, 1981), begun on m / 2^i, where exp(-m) does not underflow, and then convolved i times.

    >>> compound_poisson_law(1.0, rate=2.0, sizes=[1.0], most=2).round(6).tolist()
    [0.135335, 0.270671, 0.270671]
    """
    mean = not_negative("rate", rate) * not_negative("t", t)
    size, most = pmf("sizes", sizes), whole("most", most, 0, _STAGES_MAX)
    doublings = max(0, math.ceil(math.log2(mean / 500))) if mean > 500 else 0  # noqa: PLR2004
    mean /= 2.0**doublings
    law = np.zeros(most + 1)
    law[0] = math.exp(-mean)
    weighted = size * np.arange(1, len(size) + 1)
    for k in range(1, most + 1):
        reach = min(k, len(size))
        law[k] = mean / k * float(weighted[:reach] @ law[k - 1 :: -1][:reach])
    for _ in range(doublings):
        law = np.convolve(law, law)[: most + 1]
    return law


def compound_poisson_fill_probability(
    t: float, *, rate: float, sizes: ArrayLike, n_ahead: int, quantity: int = 1
) -> float:
    """Return P(the total traded by t is n_ahead + quantity or more), without cancels.

    `sizes[k - 1]` is the probability of a trade of k lots. Absolute accuracy about 1e-12.

    >>> round(compound_poisson_fill_probability(1.0, rate=2.0, sizes=[0.0, 1.0], n_ahead=1), 6)
    0.864665
    """
    units = _whole_order(n_ahead, quantity)
    return max(
        0.0, 1 - float(compound_poisson_law(t, rate=rate, sizes=sizes, most=units - 1).sum())
    )


def _whole_order(n_ahead: int, quantity: int) -> int:
    n_ahead = whole("n_ahead", n_ahead, 0, _STAGES_MAX)
    return n_ahead + whole("quantity", quantity, 1, _STAGES_MAX)
