"""Quotes and queue values from the models' own definitions: indifference, dynamic programming."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from lob.bounds import Floats
from lob.market_making import (
    GueantLehalleTapia,
    MoallemiYuan,
    asymptotic_quotes,
    asymptotic_spread,
    avellaneda_stoikov_quotes,
    infinite_horizon_reservation_prices,
    optimal_spread,
    reservation_bid_ask,
    reservation_price,
)


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (f(middle) > 0) == (f(low) > 0) else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize("q", [-4, 0, 1, 7])
@pytest.mark.parametrize("gamma", [0.01, 0.1, 0.5])
def test_reservation_prices_leave_utility_as_it_was(q: int, gamma: float) -> None:
    """v(x - r_b, q + 1) = v(x, q) = v(x + r_a, q - 1), v of who only waits (section 2.2)."""
    s, sigma, left = 100.0, 2.0, 0.7

    def certain(cash: float, held: float) -> float:
        """Return ln(-v) / -gamma: x + q s - gamma q^2 sigma^2 (T - t) / 2."""
        return cash + held * s - gamma * held**2 * sigma**2 * left / 2

    bid = _root(lambda r: certain(-r, q + 1) - certain(0, q), 0.0, 200.0)
    ask = _root(lambda r: certain(r, q - 1) - certain(0, q), 0.0, 200.0)

    assert (bid, ask) == pytest.approx(reservation_bid_ask(s, q, gamma, sigma, left), abs=1e-9)
    middle = reservation_price(s, q, gamma, sigma, left)
    assert (bid + ask) / 2 == pytest.approx(float(middle), abs=1e-9)


@pytest.mark.parametrize("gamma", [1e-6, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("k", [0.3, 1.5, 20.0])
def test_each_quote_is_the_best_answer_to_its_reservation_price(gamma: float, k: float) -> None:
    """The distance that makes e^(-k d) (1 - e^(-gamma (d - wait))) largest, by looking at many."""
    s, sigma, left = 100.0, 2.0, 0.5
    for q in (-3, 0, 2):
        bid, ask = reservation_bid_ask(s, q, gamma, sigma, left)
        quotes = avellaneda_stoikov_quotes(s, q, gamma, sigma, left, k)
        for least, found in ((s - bid, s - quotes.bid), (ask - s, quotes.ask - s)):
            tried = np.linspace(found - 0.3 / k, found + 0.3 / k, 60_001)
            gain = np.exp(-k * (tried - found)) * -np.expm1(-gamma * (tried - least))
            assert tried[int(np.argmax(gain))] == pytest.approx(found, abs=3e-4 / k)
    spread = gamma * sigma**2 * left + 2 / gamma * math.log(1 + gamma / k)
    assert spread == pytest.approx(float(optimal_spread(gamma, sigma, left, k)), rel=1e-6)


def test_spreads_of_the_papers_tables() -> None:
    """Tables 1 and 2 (sigma 2, T 1, k 1.5): average spreads 1.49 and 1.35, as ours at T / 2."""
    spreads = [float(optimal_spread(gamma, 2.0, 0.5, 1.5)) for gamma in (0.1, 0.01)]

    assert [1.49, 1.35] == [round(spread, 2) for spread in spreads]


def test_without_risk_aversion_quotes_are_about_the_mid() -> None:
    """At gamma 0 the limits: no shift by inventory, and a spread of 2 / k."""
    quotes = avellaneda_stoikov_quotes(100.0, 5, gamma=0.0, sigma=2.0, time_left=1.0, k=1.5)
    near = avellaneda_stoikov_quotes(100.0, 5, gamma=1e-9, sigma=2.0, time_left=1.0, k=1.5)

    assert (100 - 1 / 1.5, 100 + 1 / 1.5) == pytest.approx((quotes.bid, quotes.ask))
    assert quotes.bid == pytest.approx(near.bid, abs=1e-6)


def test_prices_without_an_end_by_the_discounted_utility() -> None:
    """Section 2.3 from int e^(-omega t) E exp(-gamma q S_t) dt: the bid exactly, the ask nearly.

    The ask is as the paper prints it, ln(1 + x) where its own definition gives -ln(1 - x).
    """
    gamma, sigma, q_max, s = 0.1, 2.0, 4, 100.0
    omega = gamma**2 * sigma**2 * (q_max + 1) ** 2 / 2
    for q in (-2, 0, 2):
        integrals = [
            # The discount, less the growth of E exp(-gamma q S_t).
            1 / (omega - (gamma * held * sigma) ** 2 / 2)
            for held in (q, q + 1, q - 1)
        ]
        bid, ask = infinite_horizon_reservation_prices(s, q, gamma, sigma, q_max)
        exact_ask = s + math.log(integrals[2] / integrals[0]) / gamma
        assert s - math.log(integrals[1] / integrals[0]) / gamma == pytest.approx(bid)
        x = math.expm1(gamma * (ask - s))
        assert s - math.log1p(-x) / gamma == pytest.approx(exact_ask)


def _theta_by_steps(model: GueantLehalleTapia, span: float, steps: int) -> Floats:
    """Step the maker's value back in time, each quote found by Newton's rule on its own gain."""
    q = np.arange(-model.q_max, model.q_max + 1, dtype=np.float64)
    theta, dt = np.zeros(q.size), span / steps

    def slope(value: Floats) -> Floats:
        total = -0.5 * model.gamma * model.sigma**2 * q**2
        for to in (1, -1):
            inside = np.arange(q.size)[:-1] if to == 1 else np.arange(q.size)[1:]
            loss = value[inside] - value[inside + to]
            # Of A e^(-k d) (1 - e^(-gamma (d - loss))) / gamma over a fan of distances.
            tried = loss[:, None] + np.linspace(0.0, 12.0 / model.k, 4_001)
            gain = model.a * np.exp(-model.k * tried)
            gain *= -np.expm1(-model.gamma * (tried - loss[:, None])) / model.gamma
            total[inside] += gain.max(axis=1)
        return np.asarray(total)

    for _ in range(steps):
        half = theta + dt / 2 * slope(theta)
        theta = theta + dt * slope(half)
    return theta


def test_gueant_lehalle_tapia_by_dynamic_programming() -> None:
    """The quotes of Theorem 2 are those of the value stepped back with the best quotes tried."""
    model = GueantLehalleTapia(sigma=0.5, a=1.2, k=1.4, gamma=0.3, q_max=3)
    theta = _theta_by_steps(model, 2.0, 300)
    least = math.log1p(model.gamma / model.k) / model.gamma
    for q in (-3, -1, 0, 2):
        bid, ask = model.distances(q, 2.0)
        place = q + model.q_max
        assert bid == pytest.approx(float(theta[place] - theta[place + 1]) + least, abs=2e-4)
        if ask is not None:
            assert ask == pytest.approx(float(theta[place] - theta[place - 1]) + least, abs=2e-4)


def test_asymptotic_quotes_as_printed() -> None:
    """Section 4's closed forms, written out, and their sum."""
    sigma, a, k, gamma = 0.3, 0.9, 0.3, 0.01
    slope = math.sqrt(sigma**2 * gamma / (2 * k * a) * (1 + gamma / k) ** (1 + k / gamma))
    base = math.log(1 + gamma / k) / gamma
    for q in (-2, 0, 5):
        bid, ask = asymptotic_quotes(q, sigma, a, k, gamma)
        assert base + (2 * q + 1) / 2 * slope == pytest.approx(bid)
        assert base - (2 * q - 1) / 2 * slope == pytest.approx(ask)
        assert bid + ask == pytest.approx(asymptotic_spread(sigma, a, k, gamma))


def test_moallemi_and_yuans_value_drawn_trade_by_trade() -> None:
    """An order behind 3 units of others: trades of random size, impact, and quotes that leave."""
    model = MoallemiYuan(
        trade_rate=1.5, mean_trade_size=2.0, impact=0.05, opposite_trade_rate=0.7, away_rate=0.6
    )
    rng, paths, gains = np.random.default_rng(12), 40_000, []
    total = 1.5 + 0.7 + 0.6
    for _ in range(paths):
        ahead, moved = 3.0, 0.0
        while True:
            pick = rng.random() * total
            if pick < 1.5:
                size = rng.exponential(2.0)
                moved -= 0.05 * size
                ahead -= size
                if ahead < 0:
                    gains.append(0.4 + moved)
                    break
            elif pick < 2.2:
                moved += 0.05 * rng.exponential(2.0)
            else:
                gains.append(0.0)
                break
    error = float(np.std(gains)) / math.sqrt(paths)

    assert abs(float(model.value(3.0, delta=0.4)) - float(np.mean(gains))) < 4 * error
