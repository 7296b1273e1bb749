"""Fits of the fill models find what made the data, say how well, and how sure they are."""

import math

import numpy as np
import pytest

from lob.bounds import Floats
from lob.errors import InvalidInput
from lob.fill_probability import (
    CompositeFillModel,
    DistanceFillModel,
    FillHistory,
    HazardFillModel,
    HistoricalFillModel,
    PoissonFillModel,
    QueueReactiveFillModel,
    QueueState,
    score_fill_model,
)
from lob.fill_probability.goodness import (
    chi_squared_tail,
    kolmogorov_exponential,
    uniform_distance,
)
from lob.fill_probability.piecewise import capped_mean


def poisson_history(orders: int, seed: int) -> FillHistory:
    """Return orders of one or two lots that trades at 1 a second fill; a third is cancelled."""
    rng = np.random.default_rng(seed)
    ahead = rng.integers(0, 8, orders)
    own = rng.integers(1, 3, orders)
    first = rng.gamma(ahead + 1.0)
    full = first + np.where(own == 2, rng.exponential(1.0, orders), 0.0)
    watched = np.where(rng.random(orders) < 1 / 3, rng.exponential(4.0, orders), 60.0)
    states = [
        QueueState(lots_ahead=n, own_lots=q)
        for n, q in zip(ahead.tolist(), own.tolist(), strict=True)
    ]
    seen_first = np.where(first <= watched, first, np.inf)
    seen_full = np.where(full <= watched, full, np.inf)
    return FillHistory.of(states, seen_full, watched, seen_first)


def test_poisson_finds_its_rates() -> None:
    """Rates, sizes and errors are those of counts over exposures; the dispersion test agrees."""
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.exponential(0.5, 2_000))
    lots = rng.choice([100.0, 250.0], p=[0.8, 0.2], size=2_000)
    model = PoissonFillModel.fit(
        lots, float(times[-1]), cancelled_lots=300.0, resting_lot_seconds=1_000.0, cancels=9,
        trade_times_s=times,
    )  # fmt: skip
    assert 2_000 / times[-1] == pytest.approx(model.trade_rate)
    assert 100.0 == model.unit_lots
    assert (float((lots == 100).mean()), 0.0) == pytest.approx(model.trade_sizes[:2])
    assert 0.3 == pytest.approx(model.cancel_rate)
    assert (2_000**-0.5, 1 / 3) == pytest.approx((model.trade_rate_error, model.cancel_rate_error))
    assert model.goodness is not None
    assert model.goodness.p_value is not None
    assert model.goodness.p_value > 0.01
    bursts = np.sort(np.concatenate([times[:1000] / 50, times[1000:]]))
    burst = PoissonFillModel.fit(lots, float(times[-1]), trade_times_s=bursts)
    assert burst.goodness is not None
    assert burst.goodness.p_value is not None
    assert burst.goodness.p_value < 1e-6


def queue_events(seconds: float, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return sizes, waits, events and imbalances of a queue whose markets double with imbalance."""
    rng = np.random.default_rng(seed)
    size, clock, rows = 3, 0.0, []
    while clock < seconds:
        imbalance = float(rng.choice([-0.5, 0.5]))
        rates = np.array(
            [2.0, 0.4 * min(size, 4), (0.5 if size else 0.0) * (2.0 if imbalance > 0 else 1.0)]
        )
        wait = rng.exponential(1 / rates.sum())
        kind = int(np.searchsorted(np.cumsum(rates), rng.random() * rates.sum())) + 1
        rows.append((size, wait, kind, imbalance))
        size += 1 if kind == 1 else -1
        clock += wait
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def test_queue_reactive_finds_its_rates() -> None:
    """Rates by queue and the factor of imbalance come back; the rescaled waits are exponential."""
    sizes, waits, events, imbalance = queue_events(4_000.0, seed=3)
    model = QueueReactiveFillModel.fit(
        sizes, waits, events, unit_lots=1.0, units_max=12,
        covariates={"imbalance": imbalance}, edges={"imbalance": [0.0]},
    )  # fmt: skip
    factor = model.factors[0]
    limits = np.array(model.limit_rates[2:6]) * factor.limit[0]
    assert np.allclose([2.0] * 4, limits, rtol=0.1)
    cancels = np.array(model.cancel_rates[2:6]) * factor.cancel[0]
    assert np.allclose([0.8, 1.2, 1.6, 1.6], cancels, rtol=0.12)
    assert math.isclose(2.0, factor.market[1] / factor.market[0], rel_tol=0.12)
    markets = np.array(model.market_rates[2:6]) * factor.market[0]
    assert np.allclose([0.5] * 4, markets, rtol=0.2)
    assert model.goodness is not None
    assert model.goodness.p_value is not None
    assert model.goodness.p_value > 0.01
    assert 0 < model.rate_error < 0.1
    wrong = kolmogorov_exponential(waits, np.ones(len(waits)))
    assert wrong is not None
    assert wrong.p_value is not None
    assert wrong.p_value < 1e-6


def test_hazard_finds_a_proportional_hazard() -> None:
    """Rates of .5 and .1 before and after 1 s, over 1 + lots ahead, halved by a wide spread."""
    rng = np.random.default_rng(4)
    ahead = rng.integers(0, 4, 6_000)
    spread = rng.integers(1, 3, 6_000)
    hazard = rng.exponential(1.0, 6_000) * (1.0 + ahead) * np.where(spread == 1, 1.0, 2.0)
    fill = np.where(hazard < 0.5, hazard / 0.5, 1 + (hazard - 0.5) / 0.1)
    watched = rng.exponential(20.0, 6_000)
    states = [
        QueueState(lots_ahead=n, own_lots=1, spread_ticks=s)
        for n, s in zip(ahead.tolist(), spread.tolist(), strict=True)
    ]
    history = FillHistory.of(states, np.where(fill <= watched, fill, np.inf), watched)
    model = HazardFillModel.fit(
        history, features=("lots_ahead", "spread_ticks"), edges_s=(0, 1, 60), ridge=1e-9
    )
    for n, s, t in ((0, 1, 0.5), (0, 2, 3.0), (1, 1, 3.0)):
        state = QueueState(lots_ahead=n, own_lots=1, spread_ticks=s)
        found = model.predict(state, t)
        exact = -math.expm1(-(0.5 * min(t, 1) + 0.1 * max(0, t - 1)) / (1 + n) / s)
        assert math.isclose(exact, found.probability, abs_tol=0.03)
        assert 0.9 < found.confidence < 1
    assert model.goodness is not None
    assert model.goodness.p_value is not None


def test_hazard_does_not_rise_with_the_queue() -> None:
    """Data that say so are not followed: the coefficient of a falling field is held at 0."""
    states = [QueueState(lots_ahead=n, own_lots=1) for n in (0, 5) * 50]
    history = FillHistory.of(states, [5.0, 1.0] * 50, [60.0] * 100)
    held = HazardFillModel.fit(history, features=("lots_ahead",), edges_s=(0, 60))
    assert (0.0,) == held.full.coefficients
    free = HazardFillModel.fit(history, features=("lots_ahead",), edges_s=(0, 60), falling=())
    assert free.full.coefficients[0] > 0


def test_historical_is_the_rate_of_each_bucket_shrunk() -> None:
    """Forecasts lie near the truth where orders are many, near the overall rate where few are."""
    history = poisson_history(6_000, seed=6)
    model = HistoricalFillModel.fit(
        history, buckets={"own_lots": [2], "lots_ahead": [1, 2, 3, 4, 5, 6, 7]},
        edges_s=np.linspace(0, 12, 49), score_horizon_s=3.0,
    )  # fmt: skip
    for n, q in ((0, 1), (2, 1), (3, 2)):
        found = model.predict(QueueState(lots_ahead=n, own_lots=q), 3.0)
        exact = PoissonFillModel(trade_rate=1.0).predict(QueueState(lots_ahead=n, own_lots=q), 3.0)
        assert math.isclose(exact.probability, found.probability, abs_tol=0.06)
        assert math.isclose(exact.any_fill_probability, found.any_fill_probability, abs_tol=0.06)
        assert 0.8 < found.confidence < 1
    assert model.goodness is not None
    assert model.goodness.brier_skill is not None
    assert model.goodness.brier_skill > 0.2
    few = history.taken(slice(0, 40))
    leaning = HistoricalFillModel.fit(
        few, buckets={"lots_ahead": [1, 2, 3]}, edges_s=(0, 10), prior_fills=1e6
    )
    said = {
        leaning.predict(QueueState(lots_ahead=n, own_lots=1), 3.0).probability for n in range(4)
    }
    assert max(said) - min(said) < 1e-3


def test_historical_rates_do_not_rise_with_the_queue() -> None:
    """Neighbouring buckets that do are pooled, unless told not to."""
    history = FillHistory.of(
        [QueueState(lots_ahead=n, own_lots=1) for n in (0, 5) * 50], [5.0, 1.0] * 50, [60.0] * 100
    )
    places = [QueueState(lots_ahead=n, own_lots=1) for n in (0, 5)]
    pooled = HistoricalFillModel.fit(history, buckets={"lots_ahead": [1]}, edges_s=(0, 60))
    front, back = (pooled.predict(x, 2.0).probability for x in places)
    assert front == back
    free = HistoricalFillModel.fit(
        history, buckets={"lots_ahead": [1]}, edges_s=(0, 60), falling=False
    )
    front, back = (free.predict(x, 2.0).probability for x in places)
    assert front < back


def test_distance_finds_the_scale_of_volatility() -> None:
    """Orders filled by a mid of twice the stated volatility: a scale near 2, with an error."""
    rng = np.random.default_rng(8)
    away = rng.integers(1, 5, 800)
    fill = (away / (2.0 * np.abs(rng.standard_normal(800)))) ** 2
    states = [
        QueueState(lots_ahead=0, own_lots=1, distance_ticks=d, volatility_ticks=1.0)
        for d in away.tolist()
    ]
    history = FillHistory.of(states, np.where(fill <= 60, fill, np.inf), np.full(800, 60.0))
    model = DistanceFillModel.fit(
        history, 2.0, queue=PoissonFillModel(trade_rate=1e6), through_ticks=None, orders_max=100
    )
    assert model.volatility_scale * (1 - 4 * model.volatility_error) < 2
    assert model.volatility_scale * (1 + 4 * model.volatility_error) > 2
    assert 0 < model.volatility_error < 0.3
    assert model.predict(states[0], 2.0).confidence < 1
    assert model.goodness is not None
    assert model.goodness.observations == 800


@pytest.mark.parametrize("pool", ["linear", "logit"])
def test_composite_gives_its_weight_to_who_is_right(pool: str) -> None:
    """The component that made the data gets nearly all; the pool is no worse than the best."""
    held_out = poisson_history(1_500, seed=9)
    right, wrong = PoissonFillModel(trade_rate=1.0), PoissonFillModel(trade_rate=0.2)
    model = CompositeFillModel.fit((wrong, right), held_out, (1.0, 3.0, 10.0), pool=pool)
    assert model.weights[1] > 0.9
    for horizon in (1.0, 3.0):
        ours = score_fill_model(model, held_out, horizon).log_loss
        best = score_fill_model(right, held_out, horizon).log_loss
        assert ours is not None
        assert best is not None
        assert ours < best + 0.005


def test_histories_that_cannot_be_are_refused() -> None:
    """Lengths that differ, fills nobody watched, first fills after the full one."""
    one = [QueueState(lots_ahead=0, own_lots=1)]
    with pytest.raises(InvalidInput, match="states"):
        FillHistory.of([], [1.0], [2.0])
    with pytest.raises(InvalidInput, match="first_fill_s: after full"):
        FillHistory.of(one, [1.0], [2.0], [1.5])
    with pytest.raises(InvalidInput, match="first_fill_s: after observed"):
        FillHistory.of(one, [3.0], [2.0])


def test_tests_of_fit_have_their_textbook_values() -> None:
    """Chi-squared and the distance to the uniform law; no events, no test."""
    assert 0.05 == pytest.approx(chi_squared_tail(30.1435, 19), abs=1e-5)
    assert 0.25 == uniform_distance(np.array([0.25, 0.5, 0.75]))
    assert kolmogorov_exponential([1.0, 2.0], [0, 0]) is None


def test_the_capped_mean_is_the_integral_of_survival() -> None:
    """Two rates, from an age within the first: by hand; a last rate of 0 lasts for ever."""
    edges, rates = np.array([0.0, 1.0, 2.0]), np.array([0.5, 2.0])
    first = -math.expm1(-0.25) / 0.5
    rest = math.exp(-0.25) * -math.expm1(-2.0 * 1.5) / 2.0
    assert first + rest == pytest.approx(capped_mean(edges, rates, 0.5, 2.0))
    assert first + math.exp(-0.25) / 2 == pytest.approx(capped_mean(edges, rates, 0.5, math.inf))
    assert math.inf == capped_mean(edges, np.array([0.5, 0.0]), 0.0, math.inf)
