"""Quotes, queue values, micro-prices and spreads are those of the papers."""

import doctest
import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.market_making import (
    FillIntensity,
    GueantLehalleTapia,
    MicroPrice,
    QueueAction,
    QueueValueModel,
    asymptotic_quotes,
    asymptotic_spread,
    avellaneda_stoikov_quotes,
    bulk_buy_volumes,
    fit_fill_intensity,
    fit_micro_price,
    glosten_milgrom,
    glosten_milgrom_posterior,
    imbalance,
    infinite_horizon_reservation_prices,
    intensity_from_order_flow,
    optimal_spread,
    pin,
    reservation_bid_ask,
    reservation_price,
    roll_spread,
    vpin,
    weighted_mid,
)
from lob.types import Side

MODULES = (
    "avellaneda_stoikov", "gueant_lehalle_tapia", "information", "micro_price", "queue_value",
    "quoting_simulation",
)  # fmt: skip
gammas = st.floats(0.01, 2.0)
sigmas = st.floats(0.01, 5.0)
ks = st.floats(0.1, 5.0)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    """The docstrings' examples hold."""
    tried = doctest.testmod(importlib.import_module(f"lob.market_making.{name}"))
    assert 0 == tried.failed
    assert tried.attempted > 0


@pytest.mark.parametrize(("gamma", "published"), [(0.1, 1.49), (0.01, 1.35)])
def test_average_spreads_of_avellaneda_and_stoikov(gamma: float, published: float) -> None:
    """The average spreads of the paper's tables (sigma 2, T 1, k 1.5)."""
    path = optimal_spread(gamma, 2.0, np.linspace(1, 0, 201), 1.5)
    assert published == round(float(np.mean(path)), 2)


@given(gamma=gammas, sigma=sigmas, k=ks, q=st.integers(-20, 20), left=st.floats(0, 10))
def test_quotes_stand_about_the_reservation_price(
    gamma: float, sigma: float, k: float, q: int, left: float
) -> None:
    """Bid and ask are half the spread away; inventory moves both, not what is between them."""
    quotes = avellaneda_stoikov_quotes(100.0, q, gamma, sigma, left, k)
    bid, ask = reservation_bid_ask(100.0, q, gamma, sigma, left)
    mirrored = avellaneda_stoikov_quotes(100.0, -q, gamma, sigma, left, k)

    assert math.isclose((bid + ask) / 2, quotes.reservation_price, rel_tol=1e-12)
    assert math.isclose((quotes.bid + quotes.ask) / 2, quotes.reservation_price, rel_tol=1e-9)
    assert math.isclose(mirrored.ask - 100, 100 - quotes.bid, rel_tol=1e-6, abs_tol=1e-6)
    least = 2 / gamma * math.log1p(gamma / k)
    assert quotes.spread >= least * (1 - 1e-9) - 1e-9
    assert math.isclose(reservation_price(100.0, q, gamma, sigma, 0.0), 100.0)


@given(k=ks)
def test_indifferent_makers_quote_two_over_k(k: float) -> None:
    """As risk aversion vanishes, the spread tends to that of a monopolist, 2 / k."""
    assert math.isclose(2 / k, optimal_spread(1e-9, 2.0, 1.0, k), rel_tol=1e-6)


@given(q_max=st.integers(0, 20), gamma=gammas)
def test_reservation_prices_without_an_end(q_max: int, gamma: float) -> None:
    """They fall with inventory; at the limit nothing more is bought, and all is sold."""
    asks = []
    for q in range(-q_max, q_max + 1):
        bid, ask = infinite_horizon_reservation_prices(0.0, q, gamma, 1.0, q_max)
        assert bid < ask
        assert math.isfinite(bid) == (q < q_max)
        assert math.isfinite(ask)
        asks.append(ask)
    assert asks == sorted(asks, reverse=True)
    flat = infinite_horizon_reservation_prices(0.0, 0, gamma, 1.0, q_max)
    room = (q_max + 1) ** 2
    assert math.isclose(math.log1p(1 / room) / gamma, flat[1], rel_tol=1e-9)


@given(a=st.floats(0.1, 500), k=ks)
def test_intensities_are_found_again(a: float, k: float) -> None:
    """Rates at distances give A and k back; the distance of a rate is its inverse."""
    model = FillIntensity(a, k)
    deltas = [0.1, 0.3, 0.5, 1.0]
    found = fit_fill_intensity(deltas, model.rate(deltas), weights=[5, 4, 3, 1])

    assert math.isclose(a, found.a, rel_tol=1e-6)
    assert math.isclose(k, found.k, rel_tol=1e-6)
    assert math.isclose(0.7, model.distance(float(model.rate(0.7))), rel_tol=1e-9)
    assert 0.0 == model.fill_probability(0.5, 0.0)


def test_intensity_of_power_law_orders() -> None:
    """Sizes x^(-1-alpha) and impact ln(x)/K: P(impact > delta) is exp(-alpha K delta)."""
    model = intensity_from_order_flow(90.0, 1.5, 2.0)
    assert (60.0, 3.0) == (model.a, model.k)


def test_inventory_strategy_has_less_risk_than_the_symmetric() -> None:
    """The paper's experiment (gamma 0.1): much the same profit at under half its deviation."""
    rng = np.random.default_rng(7)
    model, gamma, sigma, steps, paths = FillIntensity(140.0, 1.5), 0.1, 2.0, 200, 1_000
    step = 1 / steps
    outcomes = {}
    for skewed in (True, False):
        s, q, cash = np.full(paths, 100.0), np.zeros(paths), np.zeros(paths)
        for place in range(steps):
            left = 1 - place * step
            half = float(optimal_spread(gamma, sigma, left, 1.5)) / 2
            centre = np.asarray(reservation_price(s, q, gamma, sigma, left)) if skewed else s
            for side, quote in ((1, centre - half), (-1, centre + half)):
                chance = np.minimum(np.asarray(model.rate(side * (s - quote))) * step, 1.0)
                hit = rng.random(paths) < chance
                q += side * hit
                cash -= side * hit * quote
            s += sigma * math.sqrt(step) * rng.choice([-1.0, 1.0], paths)
        outcomes[skewed] = cash + q * s
    assert 58 < outcomes[True].mean() < 70
    assert outcomes[True].std() < 0.6 * outcomes[False].std()


GLT = GueantLehalleTapia(sigma=0.3, a=0.9, k=0.3, gamma=0.01, q_max=30)


@pytest.mark.parametrize("q", [-15, -3, 0, 4, 15])
def test_asymptotic_quotes_are_near_the_exact_ones(q: int) -> None:
    """The paper's base case: closed forms within 0.2 per cent of the eigenvector's quotes."""
    exact, approximate = GLT.asymptotic_distances(q), asymptotic_quotes(q, 0.3, 0.9, 0.3, 0.01)
    assert approximate == pytest.approx(exact, rel=2e-3)
    assert math.isclose(sum(approximate), asymptotic_spread(0.3, 0.9, 0.3, 0.01))


def test_drift_moves_both_quotes_up() -> None:
    """With a drift the closed forms still agree; buying is keener, selling less so."""
    rising = GueantLehalleTapia(sigma=0.3, a=0.9, k=0.3, gamma=0.01, q_max=30, mu=0.001)
    approximate = asymptotic_quotes(2, 0.3, 0.9, 0.3, 0.01, mu=0.001)
    assert approximate == pytest.approx(rising.asymptotic_distances(2), rel=2e-3)
    assert approximate[0] < asymptotic_quotes(2, 0.3, 0.9, 0.3, 0.01)[0]


def test_exact_quotes_from_the_end_to_far_from_it() -> None:
    """At the end only the monopolist's margin is left; far from it the asymptotic quotes."""
    least = math.log1p(0.01 / 0.3) / 0.01
    assert (least, least) == pytest.approx(GLT.distances(5, 0.0))
    assert GLT.asymptotic_distances(5) == pytest.approx(GLT.distances(5, 50_000.0), rel=1e-6)
    assert GLT.distances(30, 10.0)[0] is None
    assert GLT.distances(-30, 10.0)[1] is None
    bid, ask = GLT.distances(7, 600.0)
    assert (ask, bid) == pytest.approx(GLT.distances(-7, 600.0))


def test_exact_value_solves_its_equation() -> None:
    """By central differences v' = -M v in time left (the factor taken out is exp(lowest))."""
    lowest = float(np.linalg.eigvalsh(GLT.matrix())[0])

    def value(left: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.asarray(GLT.value(left) * math.exp(-lowest * left))

    slope = (value(2.001) - value(1.999)) / 0.002
    assert np.allclose(-GLT.matrix() @ value(2.0), slope, rtol=1e-5, atol=1e-8)
    assert np.allclose(1.0, value(0.0))


@given(p=st.floats(0, 1), mu=st.floats(0, 1), eta=st.floats(0.05, 0.95))
def test_glosten_milgrom_quotes_break_even(p: float, mu: float, eta: float) -> None:
    """Bid <= value <= ask, and what trades tell averages to what was known (a martingale)."""
    quotes = glosten_milgrom(p, 99.0, 101.0, mu, eta)
    buys = p * (mu + (1 - mu) * eta) + (1 - p) * (1 - mu) * eta

    assert quotes.bid - 1e-9 <= quotes.expected_value <= quotes.ask + 1e-9
    assert math.isclose(p, buys * quotes.p_after_buy + (1 - buys) * quotes.p_after_sell,
                        abs_tol=1e-9)  # fmt: skip


def test_glosten_milgrom_by_hand() -> None:
    """At p 1/2 the spread is mu times the gap; nobody informed, no spread; all, the whole gap."""
    assert math.isclose(0.3 * 10, glosten_milgrom(0.5, 90, 100, 0.3).spread)
    assert 0.0 == glosten_milgrom(0.7, 90, 100, 0.0).spread
    assert (90.0, 100.0) == (
        glosten_milgrom(0.7, 90, 100, 1.0).bid,
        glosten_milgrom(0.7, 90, 100, 1.0).ask,
    )
    ten_buys = glosten_milgrom_posterior(0.5, 0.2, [Side.BUY] * 10)
    assert math.isclose(1.5**10 / (1 + 1.5**10), ten_buys)


def test_roll_finds_the_spread_of_its_own_model() -> None:
    """Trades at mid +- half a spread of 0.1 about a random walk: the measure gives 0.1."""
    rng = np.random.default_rng(2)
    mids = 100 + np.cumsum(rng.normal(0, 0.01, 50_000))
    prices = mids + 0.05 * rng.choice([-1, 1], 50_000)
    assert math.isclose(0.1, roll_spread(prices), rel_tol=0.03)
    assert 0.0 == roll_spread([1.0, 2.0, 4.0, 8.0])


def test_pin_and_vpin() -> None:
    """Shares by hand: 0.3 x 40 of 12 + 30 + 18; imbalances 60 and 20 of 100 each."""
    assert math.isclose(0.2, pin(0.3, 40.0, 30.0, 18.0))
    assert [0.6, 0.2] == pytest.approx(vpin([80.0, 40.0], [20.0, 60.0], 1).tolist())
    assert [10.0, 5.0] == pytest.approx(bulk_buy_volumes([20, 10], [0, 0], 1.0) * [1, 1])
    assert math.isclose(84.1345, bulk_buy_volumes([100], [2.0], 2.0)[0], rel_tol=1e-6)


def test_micro_price_of_a_chain_by_hand() -> None:
    """Two imbalances, one spread: from the high one the mid goes up by 1/2 with probability p.

    Each step: stay, and toss the imbalance anew (chance 1/2), or move. After a move the imbalance
    is even odds, so that later moves average out and G* = G1. Solving G1 = r K + q G1 by hand:
    g_high = 0.5 x 0.5 (2p - 1) + 0.5 x (g_high + g_low)/2, and g_low = -g_high.
    """
    p = 0.8
    q = np.full((2, 2), 0.25)
    r = np.array([[p, 1 - p], [1 - p, p]]) / 2  # columns: down, up
    micro = MicroPrice(q, r, np.full((2, 2), 0.25), np.array([-0.5, 0.5]), buckets=2)

    g = 0.5 * 0.5 * (2 * p - 1)
    assert np.allclose([-g, g], micro.first_adjustment())
    assert np.allclose([[-g, g]], micro.adjustments())
    assert math.isclose(100.0 + 0.01 * g, micro.price(100.0, 0.9, 1, tick=0.01))


def test_micro_price_with_momentum() -> None:
    """A state that persists over a move adds up: G* = G1 / (1 - b), b the correlation of signs."""
    q, r = np.zeros((2, 2)), np.array([[0.8, 0.2], [0.2, 0.8]])
    t = np.array([[0.7, 0.3], [0.3, 0.7]])  # b = 0.4
    micro = MicroPrice(q, r, t, np.array([-1.0, 1.0]), buckets=2)
    assert np.allclose([[-1.0, 1.0]], micro.adjustments())  # 0.6 / (1 - 0.4)


def test_micro_price_of_simulated_quotes() -> None:
    """Fitted to quotes whose next move has odds I, it rises with I and is odd about 1/2."""
    rng = np.random.default_rng(1)
    size = rng.integers(1, 10, 60_000) - 0.5
    up = np.where(rng.random(60_000) < size / 9, 1, -1) * (rng.random(60_000) < 0.3)
    bid = 1_000 + np.concatenate(([0], np.cumsum(up)[:-1]))
    found = fit_micro_price(bid, bid + 1, size, 9 - size, buckets=9, max_spread_ticks=1)
    adjustments = found.adjustments()[0]

    assert np.allclose(adjustments, -adjustments[::-1], atol=1e-9)
    assert (np.diff(adjustments) > 0).all()
    expected = 0.3 * (2 * (np.arange(9) + 0.5) / 9 - 1)
    assert np.allclose(expected, adjustments, atol=0.03)


def test_imbalance_and_weighted_mid() -> None:
    """All bids: 1 and the ask; all asks: 0 and the bid."""
    assert (1.0, 0.0) == (imbalance(5, 0), imbalance(0, 5))
    assert (101.0, 100.0) == (weighted_mid(100, 101, 5, 0), weighted_mid(100, 101, 0, 5))


@given(
    lots=st.integers(0, 60),
    away=st.floats(0, 3),
    cancel=st.floats(0, 2),
    impact=st.floats(0, 0.1),
)
def test_queue_values_fall_with_the_place(
    lots: int, away: float, cancel: float, impact: float
) -> None:
    """A worse place fills less, with a probability, and without impact is worth less."""
    model = QueueValueModel(
        trade_rate=1.0, trade_sizes=(0.5, 0.3, 0.2), away_rate=away, cancel_rate=cancel,
        impact=impact,
    )  # fmt: skip
    alpha, beta = model.curves(lots + 1)

    assert (alpha >= 0).all()
    assert (alpha <= 1 + 1e-12).all()
    assert (np.diff(alpha) <= 1e-12).all()
    if impact == 0:
        assert model.value(lots, 1.0) >= model.value(lots + 1, 1.0) - 1e-12
    assert math.isclose(alpha[-1] - beta[-1], model.value(lots + 1, 1.0), abs_tol=1e-12)


def test_queue_value_of_unit_trades_is_geometric() -> None:
    """Unit trades, no cancels: alpha = (mu / (mu + g))^(q+1); with no way out, sure."""
    model = QueueValueModel(trade_rate=2.0, away_rate=3.0)
    assert np.allclose([0.4 ** (q + 1) for q in range(6)], model.curves(5)[0])
    assert 1.0 == pytest.approx(QueueValueModel(trade_rate=2.0).fill_probability(40))


def test_cancels_ahead_are_the_hypoexponential_product() -> None:
    """With cancels ahead: the product over k of (mu + k theta) / (mu + k theta + g)."""
    model = QueueValueModel(trade_rate=0.94, cancel_rate=0.71, away_rate=0.5)
    product = math.prod((0.94 + k * 0.71) / (0.94 + k * 0.71 + 0.5) for k in range(5))
    assert math.isclose(product, model.fill_probability(4))


def test_adverse_selection_grows_with_the_place() -> None:
    """Given a fill the cost is higher further back; at the front it is the trade's own impact."""
    model = QueueValueModel(trade_rate=1.0, trade_sizes=(0.5, 0.3, 0.2), impact=0.01, away_rate=1.0)
    alpha, beta = model.curves(20)
    assert math.isclose(0.01 * 1.7, beta[0] / alpha[0])
    assert (np.diff(beta / alpha) > -1e-12).all()
    kind = QueueValueModel(trade_rate=1.0, opposite_trade_rate=1.0, impact=0.01)
    assert 0.0 == pytest.approx(kind.adverse_selection(0))


@settings(max_examples=10, deadline=None)
@given(lots=st.integers(0, 6), seed=st.integers(0, 100))
def test_queue_values_are_what_orders_earn(lots: int, seed: int) -> None:
    """Played out at random, orders are filled, and lose, as often and as much as said."""
    model = QueueValueModel(
        trade_rate=1.0, trade_sizes=(0.6, 0.4), impact=0.1, opposite_trade_rate=0.5,
        cancel_rate=0.3, away_rate=0.4, sweep_rate=0.1, sweep_loss=1.0,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    earned, filled, runs = 0.0, 0, 3_000
    for _ in range(runs):
        q, delta = lots, 0.5
        while True:
            weights = np.array([1.0, 0.5, 0.3 * q, 0.4, 0.1])
            event = int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum()))
            size = 1 if rng.random() < 0.6 else 2
            if event == 0:
                delta -= 0.1 * size
                q -= size
                if q < 0:
                    earned, filled = earned + delta, filled + 1
                    break
            elif event == 1:
                delta += 0.1 * size
            elif event == 2:
                q -= 1
            else:
                if event == 4:
                    earned, filled = earned + delta - 1.0, filled + 1
                break
    assert abs(model.fill_probability(lots) - filled / runs) < 0.05
    assert abs(model.value(lots, 0.5) - earned / runs) < 0.05


def test_decisions() -> None:
    """Hold what is worth most, give up what loses, go where more is to be had."""
    model = QueueValueModel(trade_rate=1.0, away_rate=0.2, impact=0.1)
    assert QueueAction.HOLD is model.decide(0, 0.5).action
    assert QueueAction.CANCEL is model.decide(0, 0.05).action
    better = model.decide(5, 0.2, reprice_lots_ahead=0, reprice_delta=0.2)
    assert QueueAction.REPRICE is better.action
    costly = model.decide(5, 0.2, reprice_lots_ahead=0, reprice_delta=0.2, reprice_cost=9.0)
    assert QueueAction.REPRICE is not costly.action
    assert better.value == max(better.hold_value, better.reprice_value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: reservation_price(100, 0, -0.1, 1, 1), "gamma: -0.1"),
        (lambda: reservation_price(math.nan, 0, 0.1, 1, 1), "s: nan"),
        (lambda: optimal_spread(0.1, -1.0, 1, 1), "sigma: -1.0"),
        (lambda: optimal_spread(0.1, 1.0, -1, 1), "time_left: -1.0"),
        (lambda: infinite_horizon_reservation_prices(1, 5, 0.1, 1, 4), "q: 5; allowed: -4..4"),
        (lambda: FillIntensity(1.0, math.inf), "k: inf"),
        (lambda: fit_fill_intensity([1, 2], [1, 2]), r"rate: ln\(rate\) rises"),
        (lambda: fit_fill_intensity([1, 1], [2, 1]), "delta: "),
        (lambda: GLT.distances(31, 1.0), "q: 31; allowed: a whole number -30..30"),
        (lambda: asymptotic_quotes(0, 0.0, 1, 1, 1, mu=0.1), "sigma: 0.0"),
        (lambda: glosten_milgrom(1.5, 1, 2, 0.1), "p: 1.5"),
        (lambda: glosten_milgrom(0.5, 2, 1, 0.1), "v_high: 1.0"),
        (lambda: roll_spread([1.0, 2.0]), "prices: 2"),
        (lambda: pin(0.0, 1.0, 0.0), r"alpha mu \+ epsilon: 0.0"),
        (lambda: vpin([0.0], [0.0], 1), "buy_volumes: a window without volume"),
        (lambda: vpin([1.0], [0.0], 2), "window: 2"),
        (lambda: imbalance(0, 0), "bid_size: 0"),
        (lambda: imbalance(1, -1), "ask_size: -1.0"),
        (lambda: fit_micro_price([1, 1], [1, 2], [1, 1], [1, 1]), "ask_ticks: 1 at place 0"),
        (lambda: fit_micro_price([1, 1], [2, 2], [1, 1], [1, 1]), "bid_ticks: the mid never"),
        (lambda: QueueValueModel(trade_rate=1, trade_sizes=(0.5,)), "trade_sizes: sum 0.5"),
        (lambda: QueueValueModel(trade_rate=1).value(-1, 0), "lots_ahead: -1"),
    ],
)
def test_wrong_arguments_are_named(call: object, said: str) -> None:
    """Each refusal is one line that names the argument and its value."""
    with pytest.raises(InvalidInput, match=said):
        call()  # type: ignore[operator]
