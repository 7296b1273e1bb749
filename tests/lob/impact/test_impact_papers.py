"""The impact functions give what their papers' own equations give, solved here by other means."""

import math
from itertools import pairwise

import numpy as np
import pytest

from lob.bounds import Floats
from lob.errors import InvalidInput
from lob.impact import (
    ExponentialKernel,
    PowerImpact,
    ShiftedPowerLawKernel,
    almgren2005_cost,
    almgren_chriss_cost,
    almgren_chriss_kappa,
    almgren_chriss_trajectory,
    fit_price_impact,
    gatheral_no_arbitrage,
    gatheral_two_rate_cost,
    kyle_continuous,
    kyle_sequential,
    kyle_single,
    obizhaeva_wang_continuous,
    obizhaeva_wang_cost,
    obizhaeva_wang_discrete,
    ofi_contributions,
    ofi_impact_coefficient,
    order_flow_imbalance,
    propagator_cost,
    propagator_prices,
    stylized_price_change,
    walk_book,
)


def _kyle_by_cubic(sigma_n: float, sigma_u2: float, steps: int) -> list[tuple[float, ...]]:
    """Go back from a guess of Sigma_N by the paper's cubic in lambda_n: (Kyle 1985, Theorem 2)."""
    dt = 1 / steps
    alpha = delta = 0.0
    after, rows = sigma_n, []
    for _ in range(steps):
        noise = sigma_u2 * dt
        # (1 - lam^2 noise / Sigma_n) (1 - alpha lam) = 1/2, with alpha of what comes after.
        cubic = [alpha * noise / after, -noise / after, -alpha, 0.5]
        roots = np.roots(np.trim_zeros(cubic, "f"))
        real = roots[abs(roots.imag) < 1e-7].real
        (lam,) = [r for r in real if r > 0 and r * (1 - alpha * r) > 0 and alpha * r < 0.5]
        beta = (1 - 2 * alpha * lam) / (2 * lam * (1 - alpha * lam)) / dt
        before = after / (1 - beta * lam * dt)
        rows.append((lam, beta, alpha, delta, after))
        alpha, delta, after = (
            1 / (4 * lam * (1 - alpha * lam)),
            delta + alpha * lam**2 * noise,
            before,
        )
    return [*rows[::-1], (after, alpha, delta)]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 40])
@pytest.mark.parametrize(("sigma0", "sigma_u2"), [(1.0, 1.0), (4.0, 9.0), (0.02, 1e6)])
def test_kyle_sequential_solves_the_papers_cubic(
    steps: int, sigma0: float, sigma_u2: float
) -> None:
    """A search for Sigma_N, each auction by the roots of the cubic, finds the same equilibrium."""
    low, high = 0.0, sigma0
    for _ in range(200):
        guess = (low + high) / 2
        if _kyle_by_cubic(guess, sigma_u2, steps)[-1][0] > sigma0:
            high = guess
        else:
            low = guess
    *rows, (_, alpha0, delta0) = _kyle_by_cubic(guess, sigma_u2, steps)
    lam, beta, alpha, delta, sigma = (np.array(column) for column in zip(*rows, strict=True))

    ours = kyle_sequential(Sigma0=sigma0, sigma_u2=sigma_u2, N=steps)

    assert lam == pytest.approx(ours.lam, rel=1e-8)
    assert beta == pytest.approx(ours.beta, rel=1e-8)
    assert [alpha0, *alpha] == pytest.approx(ours.alpha, rel=1e-8)
    assert [delta0, *delta] == pytest.approx(ours.delta, rel=1e-7, abs=1e-12)
    assert [sigma0, *sigma] == pytest.approx(ours.Sigma, rel=1e-8)
    assert alpha0 * sigma0 + delta0 == pytest.approx(ours.profit, rel=1e-8)


def test_kyle_profit_and_information_by_trading_it_out() -> None:
    """Many informed traders trade four auctions: mean profit and what of v is left unknown."""
    rng = np.random.default_rng(5)
    plan = kyle_sequential(Sigma0=4.0, sigma_u2=9.0, N=4)
    value = rng.normal(0, 2, 200_000)
    price, profit = np.zeros_like(value), np.zeros_like(value)
    for n in range(4):
        order = plan.beta[n] * (value - price) * plan.dt[n]
        price = price + plan.lam[n] * (order + rng.normal(0, 3 * math.sqrt(plan.dt[n]), value.size))
        profit += (value - price) * order
        assert plan.Sigma[n + 1] == pytest.approx((value - price).var(), rel=0.02)

    assert plan.profit == pytest.approx(profit.mean(), abs=4 * profit.std() / math.sqrt(value.size))


def test_kyle_one_auction_is_between_none_and_the_continuous() -> None:
    """One auction earns half of what continuous trading does, at half the depth's inverse."""
    one, all_day = kyle_single(4.0, 9.0), kyle_continuous(4.0, 9.0, t=[0, 0.5])

    assert 2 * one.lam == pytest.approx(all_day.lam)
    assert 2 * one.profit == pytest.approx(all_day.profit)
    assert [4.0, 2.0] == all_day.Sigma.tolist()
    assert one.beta * 2 * one.lam == pytest.approx(1.0)


def _book_cost(
    trades: Floats, tau: float, rho: float, q: float, lambda_perm: float, start: float
) -> float:
    """Buy out of a block-shaped book that refills: the integral under its ask, less X0 x start."""
    fundamental, pressure, paid = start, 0.0, 0.0
    for shares in trades:
        low = fundamental + pressure
        paid += shares * (low + low + shares / q) / 2
        # lambda of the trade stays in the book's rest; the remainder of 1/q decays.
        fundamental += lambda_perm * shares
        pressure = (pressure + (1 / q - lambda_perm) * shares) * math.exp(-rho * tau)
    return paid - float(np.sum(trades)) * start


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 25])
@pytest.mark.parametrize("rho", [1e-6, 0.5, 2.231, 20.0, 1000.0])
@pytest.mark.parametrize("lambda_perm", [0.0, 1e-4, 1.9e-4])
def test_obizhaeva_wang_discrete_is_the_least_of_a_book_played_out(
    steps: int, rho: float, lambda_perm: float
) -> None:
    """The cost played out in a book is quadratic: its minimum by its own second differences."""
    q, total, tau = 5000.0, 1000.0, 1 / steps
    plan = obizhaeva_wang_discrete(total, 1.0, rho, q, lambda_perm, N=steps)

    def cost(free: Floats) -> float:
        trades = np.append(free, total - free.sum())
        return _book_cost(trades, tau, rho, q, lambda_perm, start=50.0)

    unit = np.eye(steps) * total
    at_zero, each = cost(np.zeros(steps)), np.array([cost(u) for u in unit])
    hessian = np.array(
        [[cost(u + v) - cu - cv + at_zero for v, cv in zip(unit, each, strict=True)]
         for u, cu in zip(unit, each, strict=True)]
    )  # fmt: skip
    gradient = each - at_zero - np.diag(hessian) / 2
    best = np.linalg.lstsq(hessian, -gradient, rcond=None)[0] * total

    assert plan.expected_cost == pytest.approx(cost(plan.trades[:-1]), rel=1e-9)
    assert plan.expected_cost == pytest.approx(cost(best), rel=1e-9)
    assert plan.expected_cost == pytest.approx(
        obizhaeva_wang_cost(plan.trades, plan.times, rho, q, lambda_perm).expected_cost, rel=1e-12
    )
    if rho > 1e-3:
        assert best == pytest.approx(plan.trades[:-1], rel=1e-5)


@pytest.mark.parametrize("a", [0.0, 1e-6, 1e-4, 1e-2])
def test_obizhaeva_wang_discrete_tends_to_the_continuous(a: float) -> None:
    """With 4,000 trades blocks, cost and variance are nearly those of the continuous problem."""
    terms = {"X0": 1e5, "T": 1.0, "rho": 2.231, "q": 5000.0, "lambda_perm": 1e-4}
    many = obizhaeva_wang_discrete(**terms, N=4_000, a=a, sigma=0.5)
    flow = obizhaeva_wang_continuous(**terms, a=a, sigma=0.5)

    assert flow.x0 == pytest.approx(many.trades[0], rel=2e-3)
    assert flow.xT == pytest.approx(many.trades[-1], rel=2e-3, abs=1)
    assert flow.expected_cost == pytest.approx(many.expected_cost, rel=1e-3)
    assert flow.variance == pytest.approx(many.variance, rel=2e-3)


def test_almgren_chriss_moments_by_playing_the_price_out() -> None:
    """E is the shortfall of a price without noise; V by how much each interval's noise counts."""
    terms = {"sigma": 0.95, "eta": 2.5e-6, "gamma": 2.5e-7, "epsilon": 0.0625}
    plan = almgren_chriss_trajectory(X=1e6, T=5, N=5, lambda_u=1e-6, **terms)
    tau = 1.0

    def shortfall(noise: Floats) -> float:
        price, got = 50.0, 0.0
        for sold, shock in zip(plan.trades, noise, strict=True):
            paid = price - 0.0625 - 2.5e-6 * sold / tau
            got += sold * paid
            price += 0.95 * math.sqrt(tau) * shock - tau * 2.5e-7 * sold / tau
        return 1e6 * 50 - got

    quiet = shortfall(np.zeros(5))
    counts = [shortfall(np.eye(5)[k]) - quiet for k in range(5)]

    assert plan.expected_cost == pytest.approx(quiet, rel=1e-12)
    assert plan.variance == pytest.approx(math.fsum(c * c for c in counts), rel=1e-6)
    again = almgren_chriss_cost(plan.holdings, 5, **terms)
    assert plan.expected_cost == pytest.approx(again.expected_cost, rel=1e-14)


@pytest.mark.parametrize("lambda_u", [0.0, 1e-12, 1e-7, 1e-6, 1e-4])
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_almgren_chriss_holdings_solve_the_difference_equation(lambda_u: float, steps: int) -> None:
    """(x_(j-1) - 2 x_j + x_(j+1)) / tau^2 = kappa~^2 x_j, and kappa is its discrete root."""
    sigma, eta, gamma, span = 0.95, 2.5e-6, 2.5e-7, 5.0
    tau = span / steps
    plan = almgren_chriss_trajectory(1e6, span, steps, sigma, eta, gamma, 0.0, lambda_u)
    tilde2 = lambda_u * sigma**2 / (eta - gamma * tau / 2)
    x = plan.holdings

    assert (x[:-2] + x[2:]) == pytest.approx((2 + tilde2 * tau**2) * x[1:-1], rel=1e-9, abs=1e-6)
    assert [1e6, 0.0] == pytest.approx([x[0], x[-1]])
    assert 1e6 == pytest.approx(plan.trades.sum())
    root = math.acosh(1 + tilde2 * tau**2 / 2) / tau
    assert root == pytest.approx(almgren_chriss_kappa(lambda_u, sigma, eta, gamma, tau), abs=1e-7)


def test_almgren_2005_published_table() -> None:
    """Table 3 as printed, in whole basis points: IBM and DRI, a tenth of a day's volume."""
    printed = {
        (0.0157, 263.0): (20, [(22, 32), (15, 25), (8, 18)]),
        (0.0226, 87.0): (22, [(32, 43), (21, 32), (12, 23)]),
    }
    for (sigma, turnover), (permanent, rows) in printed.items():
        cost = almgren2005_cost(X=0.1, V=1.0, Theta=turnover, sigma=sigma, T=[0.1, 0.2, 0.5])
        assert permanent == round(10_000 * float(cost.I))
        for place, (temporary, realised) in enumerate(rows):
            assert temporary == round(10_000 * cost.K[place])
            assert abs(realised - 10_000 * cost.J[place]) < 0.6
        sold = almgren2005_cost(X=-0.1, V=1.0, Theta=turnover, sigma=sigma, T=0.5)
        assert float(-cost.J[-1]) == pytest.approx(float(sold.J))


def _by_midpoints(rates: list[float], kernel: object, f: PowerImpact, cells: int) -> float:
    """Sum v(t) f(v(s)) G(t - s) over a fine grid of s < t, the diagonal by its own average."""
    speed = np.repeat(rates, cells)
    h = 1 / cells
    ages = (np.arange(1, speed.size)) * h
    g = kernel.value(ages)  # type: ignore[attr-defined]
    pressed = f(speed)
    total = float(np.sum(speed * pressed)) * float(kernel.second(h))  # type: ignore[attr-defined]
    for lag in range(1, speed.size):
        total += h * h * float(speed[lag:] @ pressed[:-lag]) * float(g[lag - 1])
    return total


@pytest.mark.parametrize("kernel", [ExponentialKernel(0.7), ShiftedPowerLawKernel(0.5, 1.5)])
def test_the_propagators_cost_is_its_double_integral(kernel: object) -> None:
    """Gatheral (2010), the cost functional summed over 1,200 cells."""
    rates, f = [3.0, -1.0, 2.0], PowerImpact(0.6, 0.1)

    found = propagator_cost([0, 1, 2, 3], rates, kernel, f)  # type: ignore[arg-type]

    assert _by_midpoints(rates, kernel, f, 400) == pytest.approx(found, rel=1e-4)


def test_where_gatherals_conditions_fail_a_round_trip_pays() -> None:
    """Below gamma + delta = 1 the two-rate round trip's cost goes below 0; on the line it stays."""
    theta = np.linspace(0.01, 0.999, 400)
    for gamma, delta in [(0.3, 0.5), (0.45, 0.5), (0.42, 0.55)]:
        assert not gatheral_no_arbitrage(gamma, delta).holds
        assert gatheral_two_rate_cost(gamma, delta, 1 - np.logspace(-15, -2, 200)).min() < 0
    for gamma, delta in [(0.5, 0.5), (0.5, 0.7), (0.6, 0.4), (0.8, 0.9)]:
        assert gatheral_no_arbitrage(gamma, delta).holds
        assert gatheral_two_rate_cost(gamma, delta, theta).min() >= 0


def test_prices_of_the_propagator_are_the_double_sum() -> None:
    """p_n = sum over n' < n of G(n - n') s_n' (Bouchaud and others 2004), term by term."""
    rng = np.random.default_rng(1)
    signs, kernel = rng.choice([-1.0, 1.0], 50), (20 / (20 + np.arange(1, 51))) ** 0.3
    by_hand = [sum(kernel[n - m - 1] * signs[m] for m in range(n)) for n in range(signs.size + 1)]

    assert by_hand == pytest.approx(propagator_prices(signs, kernel), abs=1e-12)


def _played_touch(rng: np.random.Generator, depth: int, events: int) -> Floats:
    """Add to and take from the touch of a book of `depth` shares a level, a tick apart."""
    bid, size, rows = 100, {"bid": depth, "ask": depth}, [(100, depth, 101, depth)]
    for _ in range(events):
        side, sign = ("bid", "ask")[int(rng.integers(2))], int(rng.choice([-1, 1]))
        size[side] += sign * int(rng.integers(1, depth // 4))
        if size[side] <= 0:
            bid += 1 if side == "ask" else -1
            size = {"bid": depth, "ask": depth, side: size[side] + depth}
        rows.append((bid, size["bid"], bid + 1, size["ask"]))
    return np.array(rows, dtype=np.float64)


def test_order_flow_imbalance_case_by_case() -> None:
    """e_n by the paper's cases: a better, the same or a worse price, on either side."""
    quotes = _played_touch(np.random.default_rng(3), 40, 400)
    expected = []
    for (bid, bids, ask, asks), (bid_1, bids_1, ask_1, asks_1) in pairwise(quotes.tolist()):
        demand = bids_1 if bid_1 > bid else bids_1 - bids if bid_1 == bid else -bids
        supply = asks_1 if ask_1 < ask else asks_1 - asks if ask_1 == ask else -asks
        expected.append(demand - supply)
    pb, qb, pa, qa = quotes.T
    times = np.arange(len(quotes), dtype=np.float64)

    assert expected == ofi_contributions(pb, qb, pa, qa).tolist()
    bins = order_flow_imbalance(times, pb, qb, pa, qa, [0, 100, 400])
    assert [sum(expected[:100]), sum(expected[100:])] == bins.tolist()


def test_order_flow_moves_the_stylised_mid_by_half_a_depth_each_tick() -> None:
    """Taking the ask away by D, again and again, moves the mid a tick for each 2 D of OFI."""
    depth, moves = 100.0, 5
    # Every buyer takes a level whole, and the bid follows with a full level.
    quotes = np.array([[100 + k, depth, 101 + k, depth] for k in range(moves + 1)])
    ofi = float(ofi_contributions(*quotes.T).sum())

    assert 2 * depth * moves == ofi
    assert moves == float(stylized_price_change(ofi, D=depth))
    assert moves == ofi * float(ofi_impact_coefficient(depth))
    rng = np.random.default_rng(2)
    flow = rng.normal(0, 500, 400)
    noisy = stylized_price_change(flow, D=depth) + rng.normal(0, 0.3, 400)
    slope, intercept = np.polyfit(flow, noisy, 1)
    found = fit_price_impact(noisy, flow)
    assert (slope, intercept) == pytest.approx((found.beta, found.alpha))
    assert 1 / (2 * depth) == pytest.approx(found.beta, rel=0.05)


def test_an_order_walks_the_ladder_share_by_share() -> None:
    """Shares bought, or sold, one at a time: the mean price, the last, and the cost against mid."""
    asks = [(100.01, 200), (100.02, 300), (100.05, 500)]
    bids = [(99.98, 120), (99.9, 1000)]
    for levels, side, wanted in ((asks, 1, 800), (bids, -1, 130), (asks, 1, 5_000)):
        paid = [price for price, size in levels for _ in range(size)][:wanted]
        mean = math.fsum(paid) / len(paid)

        walk = walk_book(levels, q=wanted, mid=100.0)

        assert (len(paid), paid[-1]) == (walk.filled, walk.last_price)
        assert mean == pytest.approx(walk.vwap, rel=1e-12)
        assert side * (mean - 100.0) * 100 == pytest.approx(walk.cost_bps, rel=1e-9)
    for wrong in ([], [(1.0, 2.0, 3.0)], [(100.02, 1), (100.01, 1)]):
        with pytest.raises(InvalidInput, match=r"^levels: "):
            walk_book(wrong, q=1, mid=100.0)  # type: ignore[arg-type]
