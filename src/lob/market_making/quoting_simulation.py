"""The simulation of Avellaneda and Stoikov's section 3.3: quoting by inventory, or not.

The mid takes binomial steps of sigma sqrt(dt); within each, a quote at distance delta from the mid
is hit with probability A exp(-k delta) dt. All paths go side by side: O(paths x T / dt).
"""

import math
from dataclasses import dataclass

import numpy as np

from lob.bounds import not_negative, number, positive, whole
from lob.errors import InvalidInput
from lob.market_making.avellaneda_stoikov import FillIntensity, optimal_spread, reservation_price

_STEPS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class QuotingOutcome:
    """The columns of the paper's Tables 1 to 3: means and standard deviations over the paths.

    `spread` is the average one, profits are of the final wealth with inventory at the mid.
    """

    spread: float
    profit: float
    profit_sd: float
    final_q: float
    final_q_sd: float
    paths: int


def simulate_quoting(
    *,
    gamma: float,
    seed: int,
    symmetric: bool = False,
    s: float = 100.0,
    sigma: float = 2.0,
    T: float = 1.0,  # noqa: N803 - the paper's name
    dt: float = 0.005,
    k: float = 1.5,
    A: float = 140.0,  # noqa: N803
    paths: int = 1_000,
) -> QuotingOutcome:
    """Return what a maker earns who quotes about the reservation price, or about the mid.

    The defaults are the paper's. The inventory strategy takes the optimal spread of each moment;
    the `symmetric` one the same average spread all along, about the mid. The last print of
    Table 1 is 65.0 and 6.6 (inventory) and 68.4 and 12.7 (symmetric), of 1,000 paths:

    >>> table1 = simulate_quoting(gamma=0.1, seed=1)
    >>> abs(table1.profit - 65.0) < 1, abs(table1.profit_sd - 6.6) < 0.6
    (True, True)

    Raises:
        InvalidInput: a number out of its range, or a `dt` so long that hits are not rare.
    """
    horizon, step, sigma = positive("T", T), positive("dt", dt), not_negative("sigma", sigma)
    intensity = FillIntensity(A, k)
    steps = whole("T / dt", round(horizon / step), 1, _STEPS_MAX)
    if intensity.a * step > 1:
        raise InvalidInput(f"dt: {dt}; allowed: at most 1 / A ({1 / intensity.a:.6g})")
    count = whole("paths", paths, 1, 10_000_000)
    rng = np.random.default_rng(whole("seed", seed, 0))
    mid = np.full(count, number("s", s))
    held, cash = np.zeros(count), np.zeros(count)
    # The average over the steps, at t = 0, dt, ..: what the symmetric maker quotes throughout.
    average = float(np.mean(optimal_spread(gamma, sigma, horizon - step * np.arange(steps), k)))
    for place in range(steps):
        left = horizon - place * step
        spread = average if symmetric else float(optimal_spread(gamma, sigma, left, k))
        middle = mid if symmetric else np.asarray(reservation_price(mid, held, gamma, sigma, left))
        bid, ask = middle - spread / 2, middle + spread / 2
        bought, sold = (
            rng.random(count) < np.asarray(intensity.rate(distance)) * step
            for distance in (mid - bid, ask - mid)
        )
        cash += sold * ask - bought * bid
        held += bought.astype(float) - sold
        mid = mid + sigma * math.sqrt(step) * np.where(rng.random(count) < 0.5, 1.0, -1.0)  # noqa: PLR2004
    wealth = cash + held * mid
    return QuotingOutcome(
        average,
        float(wealth.mean()),
        float(wealth.std()),
        float(held.mean()),
        float(held.std()),
        count,
    )
