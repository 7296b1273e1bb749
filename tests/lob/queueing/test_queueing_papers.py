"""Queues at the touch by other means: whole grids solved, walks iterated, and paths drawn."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from lob.bounds import Floats
from lob.queueing import (
    SKY_PERFECT,
    BirthDeath,
    cont_de_larrard_balanced_volatility,
    cont_de_larrard_duration_survival,
    cont_de_larrard_mean_duration,
    cont_de_larrard_up_probability,
    cst_bid_fill_probability,
    cst_making_the_spread_probability,
    cst_mid_move_cdf,
    cst_mid_move_mean,
    cst_mid_up_probability,
    linear_death,
    mm1_depletion_probability,
    mm1_first_passage_cdf,
    mm1_first_passage_mean,
    mm1_first_passage_pdf,
    mm1_stationary_law,
    queue_reactive_stationary_law,
)

RATES: dict[str, Any] = {
    "lambda_": SKY_PERFECT.lambda_,
    "theta": SKY_PERFECT.theta,
    "mu": SKY_PERFECT.mu,
}
PATHS = 40_000


def _on_a_grid(spread: int, levels: int) -> tuple[Floats, Floats]:
    """Solve the two queues' chain at once: P(up) and the mean time at every (b, a) of `levels`."""
    lam, theta = SKY_PERFECT.lambda_[spread - 1], SKY_PERFECT.theta[spread - 1]
    inside = sum(SKY_PERFECT.lambda_[: spread - 1])
    matrix, right = np.eye(levels**2), np.zeros((levels**2, 2))

    def place(b: int, a: int) -> int:
        return (min(b, levels) - 1) * levels + min(a, levels) - 1

    for b in range(1, levels + 1):
        for a in range(1, levels + 1):
            bid_out, ask_out = (SKY_PERFECT.mu + n * theta for n in (b, a))
            total, row = 2 * lam + bid_out + ask_out + 2 * inside, place(b, a)
            right[row] = [(inside + (ask_out if a == 1 else 0)) / total, 1 / total]
            for rate, to in ((lam, (b + 1, a)), (lam, (b, a + 1)),
                             (bid_out, (b - 1, a)), (ask_out, (b, a - 1))):  # fmt: skip
                if min(to) >= 1:
                    matrix[row, place(*to)] -= rate / total
    up, wait = np.linalg.solve(matrix, right).T
    return up.reshape(levels, levels), wait.reshape(levels, levels)


@pytest.mark.parametrize("spread", [1, 2, 3, 4, 5])
def test_the_mids_next_move_at_every_spread(spread: int) -> None:
    """Proposition 3's table, b and a of 1..5, and the time to the move, against a grid of 30x30."""
    sizes = np.arange(1, 6)
    pairs: dict[str, Any] = {"b": sizes[:, None], "a": sizes, "spread": spread}
    up, wait = _on_a_grid(spread, 30)

    assert up[:5, :5] == pytest.approx(cst_mid_up_probability(**pairs, **RATES), abs=1e-6)
    assert wait[:5, :5] == pytest.approx(cst_mid_move_mean(**pairs, **RATES), abs=1e-6)


@pytest.mark.parametrize("spread", [1, 3])
def test_when_the_mid_moves(spread: int) -> None:
    """The mean of the distribution of the time is the mean time."""
    t, weights = _nodes(0.0, 0.3, 2.0, 12.0, 60.0)
    moved = cst_mid_move_cdf(t, b=2, a=4, spread=spread, **RATES)
    mean = float(cst_mid_move_mean(b=2, a=4, spread=spread, **RATES))

    assert float(weights @ (1 - moved)) == pytest.approx(mean, rel=1e-7)


def _drawn(b: int, a: int, spread: int, ours: tuple[str, ...], seed: int) -> float:
    """Return the share of drawn paths on which all of ours, last in their queues, trade."""
    rng = np.random.default_rng(seed)
    lam, theta = SKY_PERFECT.lambda_[spread - 1], SKY_PERFECT.theta[spread - 1]
    inside, mu = 2 * sum(SKY_PERFECT.lambda_[: spread - 1]), SKY_PERFECT.mu
    # Of each side: those ahead of ours, ours (0 or 1), and those behind (all, where none is ours).
    state = np.zeros((2, 3, PATHS), dtype=np.int64)
    for side, (name, size) in enumerate((("bid", b), ("ask", a))):
        mine = name in ours
        state[side, 0], state[side, 1] = (size - 1, 1) if mine else (0, 0)
        state[side, 2] = 0 if mine else size
    alive, won = np.arange(PATHS), np.zeros(PATHS, dtype=bool)
    while alive.size:
        now = state[:, :, alive]
        queue = now.sum(axis=1)
        rates = np.vstack([
            np.full((2, alive.size), lam), np.full((2, alive.size), mu),
            theta * now[:, 0], theta * now[:, 2], np.full((1, alive.size), inside),
        ])  # fmt: skip
        picks = rng.random(alive.size) * rates.sum(axis=0)
        event = (picks >= np.cumsum(rates, axis=0)).sum(axis=0)
        for side in (0, 1):
            now[side, 2] += event == side
            hit = event == 2 + side
            first = np.where(now[side, 0] > 0, 0, np.where(now[side, 1] > 0, 1, 2))
            for part in range(3):
                now[side, part] -= hit & (first == part)
            now[side, 0] -= event == 4 + side
            now[side, 2] -= event == 6 + side
        state[:, :, alive] = now
        queue = now.sum(axis=1)
        done = now[:, 1].sum(axis=0) == 0
        moved = ((queue == 0).any(axis=0)) | (event == 8)
        won[alive[done]] = True
        alive = alive[~(done | moved)]
    return float(won.mean())


@pytest.mark.parametrize("spread", [1, 2, 3])
@pytest.mark.parametrize(("b", "a"), [(1, 1), (3, 2), (5, 5)])
def test_both_sides_fill_at_other_spreads(spread: int, b: int, a: int) -> None:
    """Making the spread (Proposition 5), drawn event by event: within four standard errors."""
    exact = float(cst_making_the_spread_probability(b=b, a=a, spread=spread, **RATES))
    error = math.sqrt(exact * (1 - exact) / PATHS)

    assert abs(exact - _drawn(b, a, spread, ("bid", "ask"), seed=spread)) < 4 * error


@pytest.mark.parametrize("spread", [1, 2, 3])
def test_a_bid_fills_at_other_spreads(spread: int) -> None:
    """A bid's fill before the mid moves (Proposition 4), drawn likewise."""
    exact = float(cst_bid_fill_probability(b=3, a=4, spread=spread, **RATES))
    error = math.sqrt(exact * (1 - exact) / PATHS)

    assert abs(exact - _drawn(3, 4, spread, ("bid",), seed=spread)) < 4 * error


def _walk(lam: float, delta: float, sizes: int) -> Floats:
    """Iterate the pair of queues on a grid, constant rates, until little moves: P(up)."""
    value = np.zeros((sizes + 2, sizes + 2))
    value[1:, 0] = 1.0  # the ask is used up first
    up, down = lam / (2 * (lam + delta)), delta / (2 * (lam + delta))
    for _ in range(6_000):
        value[-1, :], value[:, -1] = value[-2, :], value[:, -2]
        inner = up * (value[2:, 1:-1] + value[1:-1, 2:])
        value[1:-1, 1:-1] = inner + down * (value[:-2, 1:-1] + value[1:-1, :-2])
    return value[1:6, 1:6]


@pytest.mark.parametrize(("lam", "mu", "theta"), [(0.5, 0.6, 0.4), (12.0, 9.0, 8.0)])
def test_cont_de_larrard_off_balance(lam: float, mu: float, theta: float) -> None:
    """P(up) where queues shrink, by iterating the walk on 50 by 50."""
    sizes = np.arange(1, 6)
    ours = cont_de_larrard_up_probability(sizes[:, None], sizes, lam=lam, mu=mu, theta=theta)

    assert _walk(lam, mu + theta, 50) == pytest.approx(ours, abs=1e-5)


@pytest.mark.parametrize(("lam", "delta"), [(12.0, 13.0), (3.0, 3.0), (2.0, 1.0), (1.0, 2.0)])
def test_depletion_by_the_generators_spectrum(lam: float, delta: float) -> None:
    """The M/M/1 first passage by the eigenvectors of the symmetric form of 140 levels."""
    beside = np.full(139, math.sqrt(lam * delta))
    generator = np.diag(np.full(140, -(lam + delta))) + np.diag(beside, 1) + np.diag(beside, -1)
    values, vectors = np.linalg.eigh(generator)
    for t, x in itertools.product((0.1, 1.0, 3.0), (1, 5, 20)):
        # Departures from one order, whose chance is the symmetric one's times this.
        rate = delta * (delta / lam) ** ((x - 1) / 2)
        modes = rate * vectors[0] * vectors[x - 1]
        cdf = float(mm1_first_passage_cdf(t, x=x, lam=lam, delta=delta))
        pdf = float(mm1_first_passage_pdf(t, x=x, lam=lam, delta=delta))

        assert float(modes @ (np.expm1(values * t) / values)) == pytest.approx(cdf, abs=1e-9)
        assert float(modes @ np.exp(values * t)) == pytest.approx(pdf, abs=1e-9)


def _nodes(*edges: float) -> tuple[Floats, Floats]:
    """Return Gauss and Legendre's nodes and weights, 24 of them between each pair of edges."""
    at, weights = np.polynomial.legendre.leggauss(24)
    spans = [(low, (high - low) / 2) for low, high in itertools.pairwise(edges)]
    nodes = np.concatenate([low + half * (1 + at) for low, half in spans])
    return nodes, np.concatenate([half * weights for _, half in spans])


def test_depletion_for_ever_and_its_mean() -> None:
    """Gambler's ruin, and x / (delta - lam): by the tail's integral."""
    assert 0.5**3 == mm1_depletion_probability(x=3, lam=2.0, delta=1.0)
    t, weights = _nodes(0.0, 2.0, 8.0, 60.0)
    area = float(weights @ (1 - mm1_first_passage_cdf(t, x=4, lam=1.0, delta=3.0)))
    assert area == pytest.approx(mm1_first_passage_mean(x=4, lam=1.0, delta=3.0), rel=1e-6)
    assert [0.5, 0.25, 0.125] == pytest.approx(mm1_stationary_law(2, lam=1.0, delta=2.0))


def test_a_queue_with_cancels_by_its_own_generator() -> None:
    """Births 1.85, deaths .94 + .71 n: first passage by products of (1 + Q t / 2^k)."""
    levels, t = 60, 0.8
    generator = np.zeros((levels + 1, levels + 1))
    for n in range(1, levels + 1):
        up, down = (1.85 if n < levels else 0.0), 0.94 + 0.71 * n
        generator[n, n - 1] = down
        generator[n, n] = -up - down
        if n < levels:
            generator[n, n + 1] = up
    # Crank and Nicolson's step, squared twenty times over.
    half = generator * t / 2**21
    one = np.eye(levels + 1)
    step = np.linalg.solve(one - half, one + half)
    for _ in range(20):
        step = step @ step
    queue = BirthDeath(1.85, linear_death(0.94, 0.71))

    assert [step[n, 0] for n in (1, 3, 8)] == pytest.approx(
        [float(queue.first_passage_cdf(t, start=n)) for n in (1, 3, 8)], abs=1e-8
    )


@pytest.mark.parametrize(("n", "p"), [(1, 1), (2, 5)])
def test_durations_between_moves(n: int, p: int) -> None:
    """Cont and de Larrard: the mean is survival's area; balanced, the tail is n p / (pi lam t)."""
    rates = {"mu": 2.0, "theta": 1.0}
    t, weights = _nodes(0.0, 0.5, 4.0, 80.0)
    area = float(weights @ cont_de_larrard_duration_survival(t, n=n, p=p, lam=2.0, **rates))
    late = float(cont_de_larrard_duration_survival(4_000.0, n=n, p=p, lam=3.0, **rates))

    assert area == pytest.approx(cont_de_larrard_mean_duration(n, p, lam=2.0, **rates), rel=1e-6)
    assert n * p / (math.pi * 3.0 * 4_000) == pytest.approx(late, rel=2e-3)


def test_balanced_volatility_by_the_papers_formula() -> None:
    """The deviation is tick sqrt(pi lam / D(f)), D(f) the sum of n p f(n, p)."""
    law = np.array([[0.1, 0.2], [0.2, 0.5]])
    depth = 0.1 * 1 + 0.4 * 2 + 0.5 * 4

    assert 0.01 * math.sqrt(math.pi * 5 / depth) == pytest.approx(
        cont_de_larrard_balanced_volatility(law, tick=0.01, lam=5.0)
    )


def test_the_queue_reactive_law_balances_its_flows() -> None:
    """Huang, Lehalle and Rosenbaum: arrivals out of n are departures out of n + 1, for each n."""
    limits, departures = [2.0, 1.5, 1.2, 0.8], [0.0, 1.0, 1.5, 2.5]
    law = queue_reactive_stationary_law(limits, [0.0] * 4, departures)

    assert 1.0 == pytest.approx(float(np.sum(law)))
    for n in range(3):
        assert law[n] * limits[n] == pytest.approx(law[n + 1] * departures[n + 1])
