"""Split an order over dark pools by shares, from what each delivered before.

S. Laruelle, C.-A. Lehalle and G. Pages, "Optimal split of orders across liquidity pools: a
stochastic algorithm approach" (SIAM Journal on Financial Mathematics 2, 2011). Of an order of V
the share r_i goes to pool i, which delivers min(r_i V, D_i) at the discount theta_i of the price;
rho_i = 1 - theta_i is what a unit there is worth. Shares are 0 or more and sum to 1, and
Phi(r) = sum of rho_i E[min(r_i V, D_i)] is to be as large as can be. It is concave: at the optimum
the slopes rho_i E[V 1{r_i V < D_i}] of all pools used are alike.
"""
# ruff: noqa: N803 - the names are the paper's

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, numbers, positive, row
from lob.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class DarkSplit:
    """Shares r_i of the pools, and Phi(r): what they deliver on average, weighed by rho_i."""

    r: tuple[float, ...]
    Phi: float


def optimal_dark_split(V: ArrayLike, D: ArrayLike, rho: ArrayLike) -> DarkSplit:
    """Return the shares that would have been best for a sample of orders; all as likely.

    `V[n]` is the size of order n, `D[n][i]` what pool i would have delivered then, `rho[i]` what a
    unit of it is worth there. Exact: each pool's Phi is a concave line of straight parts, which are
    taken steepest first. What nobody would deliver goes to the first pool. O(n N log(n N)).

    >>> optimal_dark_split(V=[10, 10], D=[[4, 9], [6, 3]], rho=[1.0, 1.0])
    DarkSplit(r=(0.6, 0.4), Phi=8.5)
    """
    sizes, found, worth = _sample(V, D, rho)
    # A share of r more at pool i is worth rho_i V_n for each order n whose D_ni / V_n is beyond.
    parts: list[tuple[float, int, float]] = []
    for pool, ratio in enumerate((found / sizes[:, None]).T):
        order = np.argsort(ratio, kind="stable")
        ends = np.minimum(ratio[order], 1.0)
        left = np.cumsum(sizes[order][::-1])[::-1]
        lengths = np.diff(ends, prepend=0.0)
        slopes = worth[pool] * left / sizes.size
        parts += [(-float(s), pool, float(w)) for s, w in zip(slopes, lengths, strict=True) if w]
    shares, free = [0.0] * worth.size, 1.0
    for slope, pool, length in sorted(parts):
        taken = min(length, free)
        if not slope or not taken:
            break
        shares[pool] += taken
        free -= taken
    shares[0] += free
    return DarkSplit(tuple(shares), dark_split_value(shares, V, D, rho))


def dark_split_value(r: ArrayLike, V: ArrayLike, D: ArrayLike, rho: ArrayLike) -> float:
    """Return Phi(r), the mean of sum over i of rho_i min(r_i V, D_i); arguments as above."""
    sizes, found, worth = _sample(V, D, rho)
    shares = row("r", r, low=0)
    if shares.size != worth.size:
        raise InvalidInput(f"r: {shares.size} pools; allowed: as many as rho ({worth.size})")
    return float(np.mean(np.minimum(sizes[:, None] * shares, found) @ worth))


def project_to_simplex(r: ArrayLike) -> Floats:
    """Return the nearest shares of 0 or more that sum to 1 (Michelot 1986). O(N log N).

    >>> project_to_simplex([0.5, 1.0, -0.2]).tolist()
    [0.25, 0.75, 0.0]
    """
    given = row("r", r)
    falling = np.sort(given)[::-1]
    surplus = (np.cumsum(falling) - 1) / np.arange(1, given.size + 1)
    count = int(np.flatnonzero(falling > surplus)[-1])
    return np.asarray(np.maximum(given - surplus[count], 0.0))


class LagrangianSplit:
    """Learn the shares order by order, by the paper's stochastic Lagrangian algorithm.

    After order n each share moves by gain / n^power times rho_i V 1{all of r_i V was filled} less
    the pools' mean of that; then shares are brought back to 0 or more and a sum of 1. `gain` is in
    1/quantity: one over an order's size is a beginning; `power` is above 1/2, at most 1.

    >>> split = LagrangianSplit(rho=[1.0, 1.0], gain=0.01)
    >>> split.observe(V=100.0, filled=[50.0, 20.0])
    >>> [round(share, 3) for share in split.r]
    [1.0, 0.0]
    """

    def __init__(self, rho: ArrayLike, gain: float, power: float = 1.0) -> None:
        self._rho = row("rho", rho, low=0)
        self._gain = positive("gain", gain)
        self._power = positive("power", power)
        if not 0.5 < power <= 1:  # noqa: PLR2004 - where sum of steps diverges, of squares not
            raise InvalidInput(f"power: {power}; allowed: above 0.5, at most 1")
        self._shares = np.full(self._rho.size, 1 / self._rho.size)
        self._orders = 0

    @property
    def r(self) -> tuple[float, ...]:
        """Return the present share of each pool."""
        return tuple(self._shares.tolist())

    def observe(self, V: float, filled: Sequence[float]) -> None:
        """Learn from what each pool filled of its share of an order of V."""
        size, done = positive("V", V), row("filled", filled, low=0)
        if done.size != self._rho.size:
            raise InvalidInput(f"filled: {done.size} pools; allowed: {self._rho.size}")
        sent = self._shares * size
        # Rounding of r V must not make a whole fill a partial one.
        whole = done >= sent * (1 - 1e-12)
        slope = self._rho * size * whole
        self._orders += 1
        step = self._gain / self._orders**self._power
        self._shares = project_to_simplex(self._shares + step * (slope - slope.mean()))


def _sample(V: ArrayLike, D: ArrayLike, rho: ArrayLike) -> tuple[Floats, Floats, Floats]:
    sizes, worth = row("V", V, above=0), row("rho", rho, low=0)
    found = numbers("D", D, low=0)
    if found.shape != (sizes.size, worth.size):
        shape = "x".join(str(length) for length in found.shape)
        raise InvalidInput(f"D: {shape}; allowed: {sizes.size}x{worth.size} (orders by pools)")
    return sizes, found, worth
