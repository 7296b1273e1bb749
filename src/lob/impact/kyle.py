"""What an informed trader's orders do to the price: single, sequential and continuous auctions.

Kyle, "Continuous Auctions and Insider Trading" (Econometrica 53, 1985). Sigma0 is the variance of
the value before trading, in price^2; sigma_u2 the variance of the noise traders' quantity by unit
of time, in shares^2; lambda the price's rise by share, beta the insider's quantity by unit of price
(and, where trading goes on, of time). Float64, exact to about 1e-12 of itself.
"""
# ruff: noqa: N803 - the names are the paper's

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, numbers, positive, row, whole
from lob.errors import InvalidInput
from lob.in_floats import in_floats

_AUCTIONS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class KyleSingle:
    """One auction's equilibrium: x = beta (v - p0), p = p0 + lam (x + u).

    `profit` is what the insider expects before seeing v (all of them together where there are
    several), `Sigma1` the variance of v after the auction.
    """

    lam: float
    beta: float
    profit: float
    Sigma1: float


@dataclass(frozen=True, slots=True, eq=False)
class KyleSequential:
    """The equilibrium of N auctions, in order: entry n - 1 is of auction n, where not said else.

    x_n = beta_n (v - p_{n-1}) dt_n and p_n = p_{n-1} + lam_n (x_n + u_n). `alpha` and `delta` have
    N + 1 entries, 0..N: before auction n + 1 the insider expects alpha_n (v - p_n)^2 + delta_n.
    `Sigma` has N + 1 entries too: the variance of v after auction n, Sigma_0 first.
    """

    lam: Floats
    beta: Floats
    alpha: Floats
    delta: Floats
    Sigma: Floats
    dt: Floats

    @property
    def profit(self) -> float:
        """Return what the insider expects before the first auction and before seeing v."""
        return float(self.alpha[0] * self.Sigma[0] + self.delta[0])


@dataclass(frozen=True, slots=True, eq=False)
class KyleContinuous:
    """The continuous auction's equilibrium at the times asked (Theorem 3).

    dx = beta(t) (v - p) dt and dp = lam (dx + du). lam is the same at all times, Sigma falls to 0
    in a straight line, beta grows without bound towards the end; `alpha` and `delta` are of the
    insider's expected profit alpha (v - p)^2 + delta.
    """

    t: Floats
    lam: float
    beta: Floats
    Sigma: Floats
    alpha: float
    delta: Floats
    profit: float


@in_floats
def kyle_single(Sigma0: float, sigma_u2: float, M: int = 1) -> KyleSingle:
    """Return the equilibrium of one auction (Theorem 1), with M insiders who know the same.

    lam = sqrt(Sigma0 / sigma_u2) / 2 and beta = 1 / (2 lam) for the paper's one; with M (Holden and
    Subrahmanyam, Journal of Finance 47, 1992, N = 1) lam = sqrt(M Sigma0 / sigma_u2) / (M + 1),
    each one's beta = sqrt(sigma_u2 / (M Sigma0)) and Sigma1 = Sigma0 / (M + 1).

    >>> kyle_single(Sigma0=4.0, sigma_u2=9.0)
    KyleSingle(lam=0.3333333333333333, beta=1.5, profit=3.0, Sigma1=2.0)
    """
    variance, noise = positive("Sigma0", Sigma0), positive("sigma_u2", sigma_u2)
    insiders = whole("M", M, 1, COUNT_MAX)
    deviation, orders = math.sqrt(variance), math.sqrt(noise)
    root = math.sqrt(insiders)
    lam = root * deviation / orders / (insiders + 1)
    beta = orders / (root * deviation)
    return KyleSingle(
        lam, beta, root * deviation * orders / (insiders + 1), variance / (insiders + 1)
    )


@in_floats
def kyle_sequential(
    Sigma0: float,
    sigma_u2: float,
    N: int,
    T: float = 1.0,
    *,
    dt: ArrayLike | None = None,
) -> KyleSequential:
    """Return the unique linear equilibrium of N auctions (Theorem 2), evenly spaced over T.

    `dt` gives N gaps of other lengths instead. Solved backwards from alpha_N = delta_N = 0: with
    Sigma_n and alpha_n known, h = alpha_n lam_n is the one root in 0..1/2 of
    h^2 (1 - h) = k (1 - 2 h), k = Sigma_n alpha_n^2 / (2 sigma_u2 dt_n), which is the paper's cubic
    with its second-order condition. The equations scale with Sigma_N, so that one pass from
    Sigma_N = 1, scaled to Sigma_0, is exact. O(N).

    >>> four = kyle_sequential(Sigma0=1.0, sigma_u2=1.0, N=4)
    >>> [round(lam, 4) for lam in four.lam.tolist()], round(four.profit, 4)
    ([0.7648, 0.7568, 0.7372, 0.6642], 0.7307)
    """
    variance, noise = positive("Sigma0", Sigma0), positive("sigma_u2", sigma_u2)
    steps = whole("N", N, 1, _AUCTIONS_MAX)
    if dt is None:
        gaps = np.full(steps, positive("T", T) / steps)
    else:
        gaps = row("dt", dt, above=0)
        if gaps.size != steps:
            raise InvalidInput(f"dt: {gaps.size} gaps; allowed: as many as N ({steps})")
    # The noise of each auction in units of the average one keeps all figures near 1.
    unit = float(gaps.mean()) * noise
    scaled = _backwards((gaps * noise / unit).tolist())
    price, quantity = math.sqrt(variance / scaled[4][0]), math.sqrt(unit)
    lam, beta_dt, alpha, delta, sigma = (np.array(column) for column in scaled)
    return KyleSequential(
        lam=lam * (price / quantity),
        beta=beta_dt * (quantity / price) / gaps,
        alpha=alpha * (quantity / price),
        delta=delta * (price * quantity),
        Sigma=sigma * price**2,
        dt=gaps,
    )


@in_floats
def kyle_continuous(
    Sigma0: float, sigma_u2: float, t: ArrayLike = 0.0, T: float = 1.0
) -> KyleContinuous:
    """Return the continuous equilibrium at the times t, 0..T (Theorem 3; the paper's T is 1).

    lam = sqrt(Sigma0 / (sigma_u2 T)), twice the single auction's; Sigma(t) = Sigma0 (1 - t / T);
    beta(t) = lam sigma_u2 / Sigma(t), infinite at T; the insider's profit is sqrt(Sigma0 sigma_u2
    T), twice the single auction's.
    """
    variance, noise = positive("Sigma0", Sigma0), positive("sigma_u2", sigma_u2)
    horizon = positive("T", T)
    times = numbers("t", t, low=0)
    if (times > horizon).any():
        raise InvalidInput(f"t: {times.max()}; allowed: 0..{horizon}")
    left = (horizon - times) / horizon
    lam = math.sqrt(variance / noise / horizon)
    sigma = variance * left
    with np.errstate(divide="ignore"):
        beta = np.asarray(lam * noise / sigma)
    return KyleContinuous(
        t=times,
        lam=lam,
        beta=beta,
        Sigma=np.asarray(sigma),
        alpha=1 / (2 * lam),
        delta=np.asarray(lam * noise * (horizon - times) / 2),
        profit=math.sqrt(variance * noise * horizon),
    )


def _backwards(noise: list[float]) -> tuple[list[float], ...]:
    """Return lam, beta dt, alpha, delta and Sigma of Theorem 2 with Sigma_N = 1."""
    steps = len(noise)
    lam, beta_dt = [0.0] * steps, [0.0] * steps
    alpha, delta, sigma = [0.0] * (steps + 1), [0.0] * (steps + 1), [1.0] * (steps + 1)
    for n in range(steps - 1, -1, -1):
        after, ahead = sigma[n + 1], alpha[n + 1]
        h = _root(after * ahead * ahead / (2 * noise[n]))
        # lam^2 (1 - h) = Sigma (1 - 2 h) / (2 noise): true at h = 0 too, where alpha is 0.
        lam[n] = math.sqrt(after * (1 - 2 * h) / (2 * noise[n] * (1 - h)))
        beta_dt[n] = (1 - 2 * h) / (2 * lam[n] * (1 - h))
        # 1 - beta lam dt = 1 / (2 (1 - h)).
        sigma[n] = after * 2 * (1 - h)
        alpha[n] = 1 / (4 * lam[n] * (1 - h))
        delta[n] = delta[n + 1] + ahead * lam[n] ** 2 * noise[n]
    return lam, beta_dt, alpha, delta, sigma


def _root(k: float) -> float:
    """Return the h in 0..1/2 of h^2 (1 - h) = k (1 - 2 h): the left side less the right grows."""
    if k == 0:
        return 0.0
    low, high = 0.0, 0.5
    h = 0.25
    for _ in range(200):
        value = h * h * (1 - h) - k * (1 - 2 * h)
        if value > 0:
            high = h
        else:
            low = h
        step = h - value / (2 * h - 3 * h * h + 2 * k)
        new = step if low < step < high else (low + high) / 2
        if new in (h, low, high) and abs(new - h) < 1e-16:  # noqa: PLR2004 - the last bit
            break
        h = new
    return h
