"""Fills at a best quote before the opposite one is depleted, with rates that depend on the queues.

F. Lokin and F. Yu, "Fill Probabilities in a Limit Order Book with State-Dependent Stochastic Order
Flows" (2024) put the model of Cont, Stoikov and Talreja (2010) in general rates: a best queue is a
birth-death process, an order at it waits for a pure death process of those ahead. They invert
Laplace transforms; here the chain of (to go, opposite queue) is solved itself. Rates are given as
in `BirthDeath`: a number, a row by the size of the queue, or a function of it.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, as_given, not_negative, numbers, row, whole
from lob.errors import InvalidInput
from lob.queueing.birth_death import Rate, rate_row
from lob.queueing.race import first_depleted, settle, tridiagonal
from lob.queueing.special import poisson_window

_OPPOSITE_MAX: Final = 200
_AHEAD_MAX: Final = 2_000
_EVENTS_MAX: Final = 200_000
_SMALL: Final = 1e-11


def state_dependent_mid_up_probability(
    *, b: int, a: int, birth: tuple[Rate, Rate], death: tuple[Rate, Rate], inside: float = 0.0
) -> float:
    """Return P(the mid's next move is up): the ask queue is depleted before the bid's.

    `birth` and `death` are (bid, ask); `inside` is the rate at which orders of each side come
    inside the spread, which moves the mid towards the other side.

    >>> rates = ((1.85, 1.85), (lambda n: 0.94 + 0.71 * n, lambda n: 0.94 + 0.71 * n))
    >>> round(state_dependent_mid_up_probability(b=2, a=1, birth=rates[0], death=rates[1]), 4)
    0.6648
    """
    bids, asks = whole("b", b, 1, _OPPOSITE_MAX), whole("a", a, 1, _OPPOSITE_MAX)
    clock = not_negative("inside", inside)
    table = first_depleted(birth[::-1], death[::-1], sizes=(asks, bids), wins=clock, losses=clock)
    return float(table[asks - 1, bids - 1])


def state_dependent_fill_probability(
    t: ArrayLike = np.inf,
    *,
    n_ahead: int,
    opposite: int,
    passing: Rate,
    birth: Rate,
    death: Rate,
    quantity: int = 1,
    killing: float = 0.0,
) -> Floats:
    """Return P(our order fills by t and before the opposite queue is depleted); the shape of t.

    `passing(n)` is the rate at which the place improves with n units before it (trades, and
    cancels of those ahead), for n = 0 the rate of trades, which fill our `quantity` units one by
    one. The opposite queue of `opposite` units has the rates `birth` and `death` of its size;
    `killing` is the rate of anything else that ends the wait. Absolute accuracy about 1e-9.

    >>> rates = {"passing": lambda n: 0.94 + 0.71 * n, "birth": 1.85,
    ...          "death": lambda n: 0.94 + 0.71 * n}
    >>> round(float(state_dependent_fill_probability(n_ahead=0, opposite=5, **rates)), 3)
    0.882
    """
    ahead = whole("n_ahead", n_ahead, 0, _AHEAD_MAX)
    own = whole("quantity", quantity, 1, _AHEAD_MAX)
    rates = rate_row("passing", passing, ahead)
    # The stage reached last is our own last unit: the front of the list is the end.
    stages = as_given(np.concatenate([np.full(own - 1, rates[0]), rates]))
    return fill_before_depletion(
        t, stages=stages[::-1], opposite=opposite, birth=birth, death=death, killing=killing
    )


def fill_before_depletion(
    t: ArrayLike = np.inf,
    *,
    stages: ArrayLike,
    opposite: int,
    birth: Rate,
    death: Rate,
    killing: float = 0.0,
) -> Floats:
    """Return P(all stages pass, one after another, by t and before a queue is depleted).

    `stages` are rates in the order in which they pass; the rest as above. The shape of `t`.
    """
    passing = row("stages", stages, low=0)
    size, clock = whole("opposite", opposite, 1, _OPPOSITE_MAX), not_negative("killing", killing)
    times = numbers("t", t, low=0, infinite=True)

    def one(when: float) -> float:
        def solve(levels: int) -> Floats:
            births = rate_row("birth", birth, levels)[1:]
            deaths = rate_row("death", death, levels)[1:]
            if np.isinf(when):
                return _ever(passing, births, deaths, clock)[:, None]
            return _within(when, passing, births, deaths, clock)[:, None]

        return float(settle(solve, size, 1)[size - 1, 0])

    found = [one(when) for when in times.ravel().tolist()]
    return as_given(np.clip(np.array(found).reshape(times.shape), 0.0, 1.0))


def _ever(passing: Floats, births: Floats, deaths: Floats, killing: float) -> Floats:
    """Return the probability without a horizon, by the size of the opposite queue."""
    value = np.ones(len(births))
    for rate in passing[::-1]:
        matrix = tridiagonal(births, deaths, killing + float(rate))
        value = np.linalg.solve(matrix, rate * value)
    return as_given(value)


def _within(t: float, passing: Floats, births: Floats, deaths: Floats, killing: float) -> Floats:
    """Return the probability by t, by uniformisation on (stages to go, opposite queue)."""
    grow = births.copy()
    grow[-1] = 0.0
    rate = float(passing.max() + (grow + deaths).max() + killing)
    if rate * t > _EVENTS_MAX:
        raise InvalidInput(f"t: {rate * t:.3g} events by then; allowed: at most {_EVENTS_MAX}")
    first, weights = poisson_window(rate * t)
    go, up, down = passing[::-1, None] / rate, grow / rate, deaths / rate
    # Row k: k stages to go; those who passed all keep 1 whatever the queue does then.
    at = np.zeros((len(passing) + 1, len(births)))
    at[0] = 1.0
    total = np.zeros(len(births))
    for step in range(first + len(weights)):
        if step >= first:
            total += weights[step - first] * at[-1]
        moved = at[1:] * (1 - go - up - down - killing / rate) + go * at[:-1]
        moved[:, :-1] += up[:-1] * at[1:, 1:]
        moved[:, 1:] += down[1:] * at[1:, :-1]
        at[1:] = moved
    return as_given(total / weights.sum())
