"""Where a queue of the queue-reactive model settles.

Huang, Lehalle and Rosenbaum, "Simulating and Analyzing Order Book Data: The Queue-Reactive Model"
(Journal of the American Statistical Association 110, 2015), Model I: the queue at one price takes
limit orders at lambda_L(n), cancels at lambda_C(n) and market orders at lambda_M(n), n its size in
average orders. Rates are a second.
"""

import numpy as np

from lob.bounds import Floats
from lob.errors import InvalidInput
from lob.queueing.birth_death import BirthDeath, Rate, rate_row


def queue_reactive_stationary_law(
    lambda_L: Rate,  # noqa: N803 - the paper's names
    lambda_C: Rate,  # noqa: N803
    lambda_M: Rate,  # noqa: N803
    *,
    levels: int | None = None,
) -> Floats:
    """Return the invariant probabilities pi(0), pi(1), ... of the queue's size.

    pi(n) = pi(0) times the product of the arrival to departure ratios rho(j - 1) =
    lambda_L(j - 1) / (lambda_C(j) + lambda_M(j)). Without `levels`, all but 1e-14 of it;
    `InvalidInput` where arrivals keep up with departures and there is no such law.

    >>> law = queue_reactive_stationary_law(1.0, lambda n: 0.5 * n, 0.0)
    >>> [round(float(x), 6) for x in law[:3]]
    [0.135335, 0.270671, 0.270671]
    """

    def death(n: int) -> float:
        return float(rate_row("lambda_C", lambda_C, n)[n] + rate_row("lambda_M", lambda_M, n)[n])

    # Rows are read once; only functions are asked level by level.
    if callable(lambda_C) or callable(lambda_M):
        return BirthDeath(lambda_L, death).stationary_law(levels)
    cancels, markets = (np.atleast_1d(np.asarray(x, dtype=float)) for x in (lambda_C, lambda_M))
    if not cancels.size or not markets.size:
        raise InvalidInput("lambda_C: no rate; allowed: one or more")
    last = max(len(cancels), len(markets)) - 1
    total = rate_row("lambda_C", lambda_C, last) + rate_row("lambda_M", lambda_M, last)
    return BirthDeath(lambda_L, total).stationary_law(levels)


def queue_reactive_ratio(
    lambda_L: Rate,  # noqa: N803 - the paper's names
    lambda_C: Rate,  # noqa: N803
    lambda_M: Rate,  # noqa: N803
    *,
    levels: int,
) -> Floats:
    """Return the arrival to departure ratios rho(n), n = 0..levels - 1 (infinite over a 0)."""
    births = rate_row("lambda_L", lambda_L, levels)[:-1]
    deaths = rate_row("lambda_C", lambda_C, levels)[1:] + rate_row("lambda_M", lambda_M, levels)[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.where(deaths > 0, births / deaths, np.inf)
    return ratio
