"""The same figure by two ways that have nothing in common but the model.

Sums against closed forms, linear algebra against recursions, simulation against moments: what a
paper prints in one example is tried here at other places too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lob.bounds import Floats
from lob.dark import brute_force_allocation, greedy_allocation
from lob.fill_probability import (
    compound_poisson_fill_probability,
    erlang_fill_probability,
    first_passage_fill_probability,
    hypoexponential_fill_probability,
)
from lob.hawkes import HawkesProcess, simulate
from lob.impact import (
    ExponentialKernel,
    almgren_chriss_half_life,
    almgren_chriss_kappa,
    almgren_chriss_trajectory,
    kyle_continuous,
    kyle_sequential,
    kyle_single,
    obizhaeva_wang_continuous,
    obizhaeva_wang_discrete,
    propagator_cost,
)
from lob.market_making import avellaneda_stoikov_quotes, simulate_quoting
from lob.queueing import (
    SKY_PERFECT,
    cont_de_larrard_up_probability,
    matrix_exponential,
    mm1_first_passage_cdf,
)


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """A figure, what it was held against, and how far apart the two are (0 or more)."""

    name: str
    against: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Return whether they are no further apart than the tolerance."""
        return self.difference <= self.tolerance


def cross_checks(seed: int = 0) -> tuple[CrossCheck, ...]:
    """Return all of them; `seed` is that of the simulated ones."""
    return (*_queues(), *_fills(seed), *_schedules(), *_informed(), *_others(seed), *_quoting(seed))


def _queues() -> Iterator[CrossCheck]:
    lam, delta = 12.0, 13.0
    times = np.array([0.1, 0.5, 1.0])
    levels = 120
    chain = _absorbing(levels, lam, delta)
    walked = [float(matrix_exponential(chain * t)[5, 0]) for t in times]
    found = mm1_first_passage_cdf(times, x=5, lam=lam, delta=delta)
    yield _apart("M/M/1: time to depletion", "matrix exponential of the chain", found, walked, 1e-9)

    sizes = np.arange(1, 9)
    closed = cont_de_larrard_up_probability(sizes[:, None], sizes[None, :])
    integral = [[_integral(int(n), int(p)) for p in sizes] for n in sizes]
    name = "Cont and de Larrard 2013: P(up), queues 1 to 8"
    yield _apart(name, "the paper's integral, by its midpoint sum", closed, integral, 1e-6)

    for spread in (1, 2, 3):
        chances = SKY_PERFECT.mid_up_probability(
            b=sizes[:5, None], a=sizes[None, :5], spread=spread
        )
        solved = _race(spread)
        name = f"Cont, Stoikov and Talreja 2010: P(up), spread {spread}"
        yield _apart(name, "value iteration on the chain", chances, solved[1:6, 1:6], 1e-6)


def _race(spread: int) -> Floats:
    """Return P(the ask goes, or a bid comes inside, first): row, bids; column, asks."""
    lam, theta = SKY_PERFECT.lambda_[spread - 1], SKY_PERFECT.theta[spread - 1]
    inside = SKY_PERFECT.inside_rate(spread)
    size = 26
    down = SKY_PERFECT.mu + theta * np.arange(size + 1)
    up = np.where(np.arange(size + 1) < size, lam, 0.0)
    value = np.zeros((size + 1, size + 1))
    value[1:, 0] = 1.0
    total = 2 * inside + (down + up)[1:, None] + (down + up)[None, 1:]
    for _ in range(4_000):
        more_bids = np.vstack([value[2:, 1:], value[-1:, 1:]])
        more_asks = np.hstack([value[1:, 2:], value[1:, -1:]])
        new = (
            inside
            + up[1:, None] * more_bids
            + down[1:, None] * value[:-1, 1:]
            + up[None, 1:] * more_asks
            + down[None, 1:] * value[1:, :-1]
        ) / total
        moved = float(np.abs(new - value[1:, 1:]).max())
        value[1:, 1:] = new
        if moved < 1e-12:  # noqa: PLR2004 - far below the tolerance
            break
    return value


def _integral(n: int, p: int) -> float:
    count = 20_000
    t = (np.arange(count) + 0.5) * math.pi / count
    root = (2 - np.cos(t)) - np.sqrt((2 - np.cos(t)) ** 2 - 1)
    return float((root**p * np.sin(n * t) * np.cos(t / 2) / np.sin(t / 2)).sum() / count)


def _absorbing(levels: int, lam: float, delta: float) -> Floats:
    """Return the generator of a queue on 0..levels that ends at 0."""
    chain = np.zeros((levels + 1, levels + 1))
    for n in range(1, levels + 1):
        up = lam if n < levels else 0.0
        chain[n, n - 1], chain[n, n] = delta, -(delta + up)
        if n < levels:
            chain[n, n + 1] = up
    return chain


def _fills(seed: int) -> Iterator[CrossCheck]:
    cases = [(0, 1.0), (3, 1.0), (9, 5.0), (19, 10.0), (40, 12.0)]
    found = [float(erlang_fill_probability(t, mu=2.0, n_ahead=n)) for n, t in cases]
    summed = [
        1 - math.fsum(math.exp(-2 * t) * (2 * t) ** k / math.factorial(k) for k in range(n + 1))
        for n, t in cases
    ]
    yield _apart("Erlang fills", "the Poisson sum", found, summed, 1e-10)

    mu, theta = 0.94, 0.71
    walked = [_pure_death(n, t, mu, theta) for n, t in cases]
    held = [
        float(hypoexponential_fill_probability(t, mu=mu, theta=theta, n_ahead=n)) for n, t in cases
    ]
    yield _apart("hypoexponential fills", "matrix exponential of the chain", held, walked, 1e-9)

    rng = np.random.default_rng(seed + 1)
    paths, sizes = 200_000, (0.5, 0.3, 0.2)
    counts = rng.poisson(3.0, paths)
    totals = np.zeros(paths)
    for place in range(int(counts.max())):
        totals += (counts > place) * rng.choice([1, 2, 3], paths, p=sizes)
    exact = compound_poisson_fill_probability(1.5, rate=2.0, sizes=sizes, n_ahead=4, quantity=2)
    yield _z("compound Poisson fills", float((totals >= 6).mean()), exact, paths)  # noqa: PLR2004

    steps, paths = 400, 20_000
    moves = rng.standard_normal((paths, steps)) / math.sqrt(steps)
    path = moves.cumsum(axis=1)
    # Between the steps a bridge crosses the limit with a known chance: no bias of the grid is left.
    before = np.hstack([np.zeros((paths, 1)), path[:, :-1]])
    room = np.maximum(1 + before, 0) * np.maximum(1 + path, 0)
    missed = np.prod(1 - np.exp(-2 * room * steps), axis=1)
    filled = float((1 - missed).mean())
    error = float((1 - missed).std()) / math.sqrt(paths)
    exact = float(first_passage_fill_probability(1.0, distance=1.0, sigma=1.0))
    against = f"simulation of {paths:,} paths, in standard errors"
    yield CrossCheck("first-passage fills", against, abs(filled - exact) / error, 4.0)


def _pure_death(ahead: int, t: float, mu: float, theta: float) -> float:
    stages = ahead + 1
    chain = np.zeros((stages + 1, stages + 1))
    for left in range(1, stages + 1):
        rate = mu + theta * (left - 1)
        chain[left, left - 1], chain[left, left] = rate, -rate
    return float(matrix_exponential(chain * t)[stages, 0])


def _schedules() -> Iterator[CrossCheck]:
    terms = {"X": 1e6, "T": 5.0, "N": 5, "sigma": 0.95, "eta": 2.5e-6, "gamma": 2.5e-7}
    for risk in (1e-7, 1e-6, 1e-5):
        plan = almgren_chriss_trajectory(**terms, epsilon=0.0625, lambda_u=risk)  # type: ignore[arg-type]
        name = f"Almgren and Chriss 2000: trades at lambda {risk:g}, share of X"
        solved = _least_cost(risk)
        yield _apart(name, "a quadratic program", plan.trades / 1e6, solved / 1e6, 1e-9)
    kappa = almgren_chriss_kappa(1e-6, 0.95, 2.5e-6, 2.5e-7, tau=1)
    printed = "what section 3.4 prints"
    yield _apart("Almgren and Chriss 2000: kappa a day", printed, kappa, 0.61, 0.005)
    days = almgren_chriss_half_life(kappa)
    yield _apart("Almgren and Chriss 2000: half-life in days", printed, days, 1.6, 0.05)

    book = {"q": 5_000.0, "lambda_perm": 1e-4}
    for rho, n in ((2.231, 10), (0.5, 4), (20.0, 25)):
        found = obizhaeva_wang_discrete(1e5, 1.0, rho, **book, N=n)
        grid = np.arange(n + 1) / n
        kernel = np.exp(-rho * np.abs(grid[:, None] - grid[None, :]))
        weights = np.linalg.solve(kernel, np.ones(n + 1))
        name = f"Obizhaeva and Wang 2013: {n + 1} trades at rho {rho:g}, share of X0"
        solved = weights / weights.sum()
        yield _apart(name, "a linear system of its kernel", found.trades / 1e5, solved, 1e-9)
    fine = obizhaeva_wang_discrete(1e5, 1.0, 2.231, **book, N=20_000)
    limit = obizhaeva_wang_continuous(1e5, 1.0, 2.231, **book)
    name = "Obizhaeva and Wang 2013: transient cost, relative"
    apart = abs(fine.transient_cost / limit.transient_cost - 1)
    yield CrossCheck(name, "the continuous limit of 20,001 trades", apart, 1e-4)

    kernel_of = ExponentialKernel(2.231)
    rates = np.full(50, 2.0)
    found_cost = propagator_cost(np.linspace(0, 1, 51), rates, kernel_of)
    exact = 4 / 2.231 * (1 - (1 - math.exp(-2.231)) / 2.231)
    apart = abs(found_cost / exact - 1)
    yield CrossCheck("Gatheral 2010: cost of an even rate, relative", "its integral", apart, 1e-10)


def _least_cost(risk: float) -> Floats:
    """Return the trades of least E + lambda V by the conditions of the quadratic program."""
    steps, sigma, eta = 5, 0.95, 2.5e-6 - 2.5e-7 / 2
    held = np.tril(np.ones((steps, steps)))
    # What is left after trade k is X less the first k trades: as a matrix, of what comes later.
    later = np.triu(np.ones((steps, steps)), 1)
    matrix = 2 * eta * np.eye(steps) + 2 * risk * sigma**2 * later.T @ later
    system = np.zeros((steps + 1, steps + 1))
    system[:steps, :steps] = matrix
    system[:steps, steps] = system[steps, :steps] = held[-1]
    right = np.zeros(steps + 1)
    right[steps] = 1e6
    return np.asarray(np.linalg.solve(system, right)[:steps])


def _informed() -> Iterator[CrossCheck]:
    one, many = kyle_single(4.0, 9.0), kyle_sequential(4.0, 9.0, N=1)
    pairs = [(one.lam, many.lam[0]), (one.beta, many.beta[0]), (one.Sigma1, many.Sigma[1])]
    apart = max(abs(a - float(b)) for a, b in pairs)
    yield CrossCheck("Kyle 1985: one auction", "the sequence of one", apart, 1e-12)

    found = kyle_sequential(4.0, 9.0, N=8)
    residual = 0.0
    for n in range(8):
        lam, beta, dt = found.lam[n], found.beta[n], found.dt[n]
        sigma, alpha = found.Sigma[n + 1], found.alpha[n + 1]
        residual = max(
            residual,
            abs(lam - beta * sigma / 9.0),
            abs(beta * dt - (1 - 2 * alpha * lam) / (2 * lam * (1 - alpha * lam))),
            abs(sigma - (1 - beta * dt * lam) * found.Sigma[n]),
            abs(found.alpha[n] - 1 / (4 * lam * (1 - alpha * lam))),
            abs(found.delta[n] - found.delta[n + 1] - alpha * lam**2 * 9.0 * dt),
        )
    yield CrossCheck("Kyle 1985: eight auctions", "Theorem 2's equations", residual, 1e-12)

    fine, limit = kyle_sequential(4.0, 9.0, N=20_000), kyle_continuous(4.0, 9.0)
    apart = max(abs(float(fine.lam[10_000]) / limit.lam - 1), abs(fine.profit / limit.profit - 1))
    yield CrossCheck("Kyle 1985: lambda and profit, relative", "20,000 auctions", apart, 1e-3)


def _others(seed: int) -> Iterator[CrossCheck]:
    rng = np.random.default_rng(seed + 2)
    apart = 0.0
    for _ in range(60):
        tails = [np.sort(rng.random(6))[::-1] for _ in range(int(rng.integers(2, 5)))]
        volume = int(rng.integers(1, 9))
        best = brute_force_allocation(tails, volume).expected_fill
        apart = max(apart, abs(best - greedy_allocation(tails, volume).expected_fill))
    yield CrossCheck("Ganchev and others 2010: greedy split", "all splits", apart, 1e-12)

    process = HawkesProcess.univariate(mu=1.0, alpha=1.2, beta=2.0)
    horizon = 20_000.0
    (times,) = simulate(process, horizon, seed + 3)
    rate = process.stationary_rates()[0]
    error = math.sqrt(process.count_variance_ratio() * rate / horizon)
    apart = abs(len(times) / horizon - rate) / error
    against = f"{len(times):,} simulated events, in standard errors"
    yield CrossCheck("Hawkes 1971: stationary rate", against, apart, 4.0)

    # Section 3.2: indifference price and spread, written out for one state.
    quotes = avellaneda_stoikov_quotes(100.0, 3, gamma=0.1, sigma=2.0, time_left=0.5, k=1.5)
    middle = 100.0 - 3 * 0.1 * 4 * 0.5
    half = (0.1 * 4 * 0.5 + 2 / 0.1 * math.log(1 + 0.1 / 1.5)) / 2
    apart = max(abs(quotes.bid - middle + half), abs(quotes.ask - middle - half))
    yield CrossCheck("Avellaneda and Stoikov 2008: quotes", "equations 29 and 30", apart, 1e-12)


def _quoting(seed: int) -> Iterator[CrossCheck]:
    """Yield the columns of Avellaneda and Stoikov's Table 1, which are of 1,000 paths each."""
    printed = {"inventory": (65.0, 6.6, 2.9), "symmetric": (68.4, 12.7, 8.4)}
    for name, (profit, deviation, held) in printed.items():
        found = simulate_quoting(
            gamma=0.1, seed=seed + 4, symmetric=name == "symmetric", paths=10_000
        )
        paths = math.sqrt(1_000 * found.paths / (1_000 + found.paths))
        columns = (
            ("profit", profit, found.profit, found.profit_sd / paths),
            ("std(profit)", deviation, found.profit_sd, found.profit_sd / paths / math.sqrt(2)),
            ("std(final q)", held, found.final_q_sd, found.final_q_sd / paths / math.sqrt(2)),
        )
        for column, theirs, ours, error in columns:
            # What is printed is rounded to a tenth.
            apart = max(0.0, abs(ours - theirs) - 0.05) / error
            title = f"Avellaneda and Stoikov 2008, Table 1, {name}: {column}"
            yield CrossCheck(title, "what it prints, in standard errors of both", apart, 4.0)


def _apart(name: str, against: str, ours: object, theirs: object, tolerance: float) -> CrossCheck:
    gap = np.abs(np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64))
    return CrossCheck(name, against, float(gap.max()), tolerance)


def _z(name: str, share: float, exact: float, paths: int) -> CrossCheck:
    error = math.sqrt(exact * (1 - exact) / paths)
    against = f"simulation of {paths:,}, in standard errors"
    return CrossCheck(name, against, abs(share - exact) / error, 4.0)
