"""Two independent queues: which is depleted first, and when?

The chain of both queues is solved level by level (block elimination), on as many levels as the
answer needs: twice as many change it by less than 1e-10.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from lob.bounds import Floats
from lob.errors import InvalidInput
from lob.queueing.birth_death import Rate, rate_row

ACCURACY: Final = 1e-10
_LEVELS_FIRST: Final = 24
_LEVELS_MAX: Final = 400


def settle(solve: Callable[[int], Floats], rows: int, columns: int) -> Floats:
    """Return `solve(levels)[:rows, :columns]` for enough levels; `InvalidInput` if never enough.

    >>> settle(lambda levels: np.eye(levels), 1, 1).tolist()
    [[1.0]]
    """
    levels = max(_LEVELS_FIRST, rows + 8, columns + 8)
    before = solve(levels)[:rows, :columns]
    while levels < max(_LEVELS_MAX, rows + 64, columns + 64):
        levels = levels * 3 // 2
        found = solve(levels)[:rows, :columns]
        if float(np.abs(found - before).max()) <= ACCURACY * max(1.0, float(np.abs(found).max())):
            return found
        before = found
    raise InvalidInput(
        f"queues: no answer within {levels} orders; allowed: rates at which queues run dry"
    )


def tridiagonal(births: Floats, deaths: Floats, killing: float) -> Floats:
    """Return `killing - Q` of one queue on 1..n, absorbed at 0, that refuses an order beyond n."""
    n = len(births)
    matrix = np.diag(births + deaths + killing)
    matrix[-1, -1] -= births[-1]
    matrix[np.arange(n - 1), np.arange(1, n)] = -births[:-1]
    matrix[np.arange(1, n), np.arange(n - 1)] = -deaths[1:]
    return matrix


def solve_both(
    births: tuple[Floats, Floats],
    deaths: tuple[Floats, Floats],
    killing: float,
    source: Floats,
) -> Floats:
    """Return H with (killing - Q1 - Q2) H = source, H[i, j] at queues of i + 1 and j + 1.

    Block tridiagonal elimination over the first queue: O(levels^4).
    """
    n, m = source.shape
    one_births = births[0].copy()
    one_births[-1] = 0.0
    second = tridiagonal(births[1], deaths[1], killing)
    factors = np.empty((n, m, m))
    partial = np.empty((n, m))
    identity = np.eye(m)
    for i in range(n):
        block = second + (one_births[i] + deaths[0][i]) * identity
        right = source[i]
        if i:
            block = block - deaths[0][i] * factors[i - 1]
            right = right + deaths[0][i] * partial[i - 1]
        solved = np.linalg.solve(block, np.column_stack([one_births[i] * identity, right]))
        factors[i], partial[i] = solved[:, :m], solved[:, m]
    found = np.empty((n, m))
    found[-1] = partial[-1]
    for i in range(n - 2, -1, -1):
        found[i] = partial[i] + factors[i] @ found[i + 1]
    return found


def first_depleted(
    birth: tuple[Rate, Rate],
    death: tuple[Rate, Rate],
    *,
    sizes: tuple[int, int],
    wins: float = 0.0,
    losses: float = 0.0,
) -> Floats:
    """Return P(queue 1 is depleted, or its clock rings, before queue 2's), up to `sizes`.

    Entry [i, j] is of queues of i + 1 and j + 1 orders; `wins` and `losses` are the rates of the
    two exponential clocks.
    """

    def solve(levels: int) -> Floats:
        b1, b2 = (rate_row("birth", rate, levels)[1:] for rate in birth)
        d1, d2 = (rate_row("death", rate, levels)[1:] for rate in death)
        source = np.full((levels, levels), wins)
        source[0] += d1[0]
        return solve_both((b1, b2), (d1, d2), wins + losses, source)

    return settle(solve, *sizes)


def mean_first_depletion(
    birth: tuple[Rate, Rate],
    death: tuple[Rate, Rate],
    *,
    sizes: tuple[int, int],
    killing: float = 0,
) -> Floats:
    """Return the mean time in seconds to the first depletion, or ring of a clock at `killing`.

    Entry [i, j] is of queues of i + 1 and j + 1 orders.
    """

    def solve(levels: int) -> Floats:
        b1, b2 = (rate_row("birth", rate, levels)[1:] for rate in birth)
        d1, d2 = (rate_row("death", rate, levels)[1:] for rate in death)
        return solve_both((b1, b2), (d1, d2), killing, np.ones((levels, levels)))

    return settle(solve, *sizes)
