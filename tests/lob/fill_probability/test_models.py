"""The fill models: one interface, probabilities that behave, and the book itself as the judge."""

import doctest
import importlib
import itertools
import json
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob import OrderBook
from lob.errors import InvalidInput
from lob.fill_probability import (
    FILL_MODELS,
    STATE_FIELDS,
    CompositeFillModel,
    DistanceFillModel,
    FillModel,
    HazardFeature,
    HazardFillModel,
    HistoricalFillModel,
    IntensityFactor,
    PoissonFillModel,
    ProportionalHazard,
    QueueReactiveFillModel,
    QueueState,
    compound_poisson_fill_probability,
    erlang_fill_probability,
    expected_wait,
    fill_model_from_mapping,
    filled_quantity_law,
    filling_stages,
    first_passage_fill_probability,
    hypoexponential_fill_probability,
    queue_and_price_fill_probability,
    stages_cdf,
)
from lob.fill_probability.queue_chain import chain_curve
from lob.queue_reactive import QueueReactive, QueueReactiveProfile
from lob.types import AssetClass, Cancel, Instrument, OrderType, Side, Submit

POISSON = PoissonFillModel(trade_rate=0.94, cancel_rate=0.71, trade_sizes=(0.7, 0.2, 0.1))
UNIT_POISSON = PoissonFillModel(trade_rate=0.94, cancel_rate=0.71)
REACTIVE = QueueReactiveFillModel(
    limit_rates=(1.5, 1.2, 0.9, 0.6),
    cancel_rates=(0.0, 0.2, 0.5, 0.8),
    market_rates=(0.0, 0.9, 0.6, 0.5),
    behind_max=20,
)
DISTANCE = DistanceFillModel(queue=UNIT_POISSON)
HAZARD = HazardFillModel(
    edges_s=(0.0, 1.0, 10.0),
    features=(
        HazardFeature(field="lots_ahead", shape="log1p", centre=1.0, scale=0.5),
        HazardFeature(field="own_lots", shape="log1p"),
    ),
    full=ProportionalHazard(rates=(0.4, 0.1), coefficients=(-0.5, -0.2)),
    first=ProportionalHazard(rates=(0.5, 0.2), coefficients=(-0.5, -0.1)),
)
HISTORICAL = HistoricalFillModel(
    buckets={"lots_ahead": (1.0, 5.0), "spread_ticks": (2.0,)},
    edges_s=(0.0, 1.0, 10.0),
    full_fills=((9.0, 3.0), (4.0, 1.0), (2.0, 5.0), (1.0, 0.0), (4.0, 4.0), (0.0, 0.0)),
    at_risk_s=((10.0, 9.0), (9.0, 8.0), (9.0, 20.0), (5.0, 9.0), (50.0, 60.0), (0.0, 0.0)),
)
MODELS: tuple[FillModel, ...] = (
    POISSON,
    REACTIVE,
    DISTANCE,
    HAZARD,
    HISTORICAL,
    CompositeFillModel(components=(POISSON, HAZARD), weights=(0.3, 0.7), pool="linear"),
    CompositeFillModel(components=(POISSON, HISTORICAL), weights=(0.6, 0.4), pool="logit"),
)
SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)


def a_state(ahead: float = 3, own: float = 1, **others: float) -> QueueState:
    """Return a state in which everything is known."""
    fields: dict[str, float] = {
        "displayed_lots": ahead + 4,
        "opposite_lots": 6,
        "distance_ticks": 1,
        "opposite_distance_ticks": 2,
        "spread_ticks": 1,
        "imbalance": 0.1,
        "volatility_ticks": 0.8,
    }
    return QueueState(lots_ahead=ahead, own_lots=own, **(fields | others))


@pytest.mark.parametrize("model", MODELS, ids=lambda x: x.name)
@settings(max_examples=25, deadline=None)
@given(ahead=st.integers(0, 12), own=st.integers(1, 4), horizon=st.floats(0, 50))
def test_a_forecast_is_within_its_bounds(
    model: FillModel, ahead: int, own: int, horizon: float
) -> None:
    """0 <= full <= any <= 1, the mean quantity between them, waits within the horizon."""
    found = model.predict(a_state(ahead, own), horizon)
    assert 0 <= found.probability <= found.any_fill_probability + 1e-12
    assert found.any_fill_probability <= 1
    assert own * found.probability - 1e-9 <= found.expected_lots
    assert found.expected_lots <= own * found.any_fill_probability + 1e-9
    assert 0 <= found.confidence <= 1
    assert found.horizon_s == horizon
    assert set(found.inputs) <= set(STATE_FIELDS)
    if found.conditional_wait_s is not None:
        assert 0 <= found.conditional_wait_s <= horizon


@pytest.mark.parametrize("model", MODELS, ids=lambda x: x.name)
@settings(max_examples=25, deadline=None)
@given(
    ahead=st.integers(0, 12),
    own=st.integers(1, 4),
    horizon=st.floats(0.01, 40),
    longer=st.floats(1.0, 3.0),
)
def test_longer_is_likelier(
    model: FillModel, ahead: int, own: int, horizon: float, longer: float
) -> None:
    """P(fill within T) does not fall with T, nor does the mean quantity."""
    state = a_state(ahead, own)
    first, later = model.predict(state, horizon), model.predict(state, horizon * longer)
    assert later.probability >= first.probability - 2e-6
    assert later.any_fill_probability >= first.any_fill_probability - 2e-6
    assert later.expected_lots >= first.expected_lots - 1e-5


@pytest.mark.parametrize("model", [m for m in MODELS if m is not REACTIVE], ids=lambda x: x.name)
@settings(max_examples=25, deadline=None)
@given(ahead=st.integers(0, 12), own=st.integers(1, 4), horizon=st.floats(0.01, 40))
def test_further_back_or_more_is_less_likely(
    model: FillModel, ahead: int, own: int, horizon: float
) -> None:
    """P does not rise with the lots ahead, nor with our quantity."""
    here = model.predict(a_state(ahead, own), horizon).probability
    assert model.predict(a_state(ahead + 1, own), horizon).probability <= here + 1e-9
    assert model.predict(a_state(ahead, own + 1), horizon).probability <= here + 1e-9


@settings(max_examples=25, deadline=None)
@given(ahead=st.integers(0, 8), behind=st.integers(1, 8), horizon=st.floats(0.01, 30))
def test_a_better_place_in_the_same_queue_is_likelier(
    ahead: int, behind: int, horizon: float
) -> None:
    """The queue-reactive model: the same queue, one place further back, is less likely."""
    size = ahead + behind
    here = REACTIVE.predict(a_state(ahead, 1, displayed_lots=size), horizon).probability
    back = REACTIVE.predict(a_state(ahead + 1, 1, displayed_lots=size), horizon).probability
    assert back <= here + 1e-12


@pytest.mark.parametrize("model", MODELS, ids=lambda x: x.name)
def test_models_go_through_plain_values(model: FillModel) -> None:
    """A model read from its mapping, through JSON, says the same to the last bit."""
    mapping = json.loads(json.dumps(model.to_mapping()))
    again = fill_model_from_mapping(mapping)
    assert model.predict(a_state(2.5, 2), 3.0) == again.predict(a_state(2.5, 2), 3.0)
    assert mapping == again.to_mapping()
    assert isinstance(again, FillModel)
    assert FILL_MODELS[mapping["model"]] is type(model)
    with pytest.raises(InvalidInput, match="speed"):
        fill_model_from_mapping(mapping | {"speed": 1})


@pytest.mark.parametrize(
    ("model", "field"),
    [(REACTIVE, "displayed_lots"), (DISTANCE, "distance_ticks"), (DISTANCE, "volatility_ticks"),
     (HISTORICAL, "spread_ticks")],
)  # fmt: skip
def test_what_is_needed_and_unknown_is_refused_by_name(model: FillModel, field: str) -> None:
    """A field that a model cannot do without is named, with the model."""
    known = {name: getattr(a_state(), name) for name in STATE_FIELDS}
    state = QueueState(**(known | {field: None}))
    with pytest.raises(InvalidInput, match=f"^{field}: unknown; .* {model.name} model"):
        model.predict(state, 1.0)
    skipping = CompositeFillModel(
        components=(model, POISSON), weights=(0.5, 0.5), skip_refusals=True
    )
    only = skipping.predict(state, 1.0)
    assert only.probability == POISSON.predict(state, 1.0).probability
    with pytest.raises(InvalidInput, match=field):
        CompositeFillModel(components=(model, POISSON), weights=(0.5, 0.5)).predict(state, 1.0)


@pytest.mark.parametrize(
    ("given_", "name"),
    [({"lots_ahead": -1}, "lots_ahead"), ({"own_lots": 0}, "own_lots"),
     ({"imbalance": 1.5}, "imbalance"), ({"lots_ahead": math.nan}, "lots_ahead"),
     ({"age_s": None}, "age_s"), ({"volatility_ticks": "1"}, "volatility_ticks"),
     ({"own_lots": True}, "own_lots")],
)  # fmt: skip
def test_states_that_cannot_be_are_refused(given_: dict[str, float], name: str) -> None:
    """The refusal names the field."""
    with pytest.raises(InvalidInput, match=f"^{name}: "):
        QueueState(**({"lots_ahead": 1.0, "own_lots": 1.0} | given_))


@pytest.mark.parametrize("horizon", [-1.0, math.nan, "1", True])
def test_horizons_that_cannot_be_are_refused(horizon: float) -> None:
    """Below 0, no number, a text and a bool are no horizons."""
    with pytest.raises(InvalidInput, match="horizon_s"):
        POISSON.predict(a_state(), horizon)


@pytest.mark.parametrize(
    ("ahead", "own", "t"), list(itertools.product((0, 3, 20), (1, 3), (0.3, 8.0)))
)
def test_poisson_is_the_closed_forms(ahead: int, own: int, t: float) -> None:
    """Erlang without cancels, hypoexponential with, compound Poisson with sizes."""
    state = QueueState(lots_ahead=ahead, own_lots=own)
    found = PoissonFillModel(trade_rate=2.0).predict(state, t)
    erlang = float(erlang_fill_probability(t, mu=2.0, n_ahead=ahead, quantity=own))
    assert math.isclose(erlang, found.probability, abs_tol=1e-12)
    found = UNIT_POISSON.predict(state, t)
    exact = hypoexponential_fill_probability(t, mu=0.94, theta=0.71, n_ahead=ahead, quantity=own)
    assert math.isclose(float(exact), found.probability, abs_tol=1e-12)
    mean = expected_wait(mu=0.94, theta=0.71, n_ahead=ahead, quantity=own)
    assert found.mean_wait_s is not None
    assert math.isclose(mean, found.mean_wait_s, rel_tol=1e-10)
    sizes = (0.5, 0.2, 0.3)
    found = PoissonFillModel(trade_rate=1.3, trade_sizes=sizes).predict(state, t)
    compound = compound_poisson_fill_probability(
        t, rate=1.3, sizes=sizes, n_ahead=ahead, quantity=own
    )
    assert math.isclose(compound, found.probability, abs_tol=1e-12)
    law = filled_quantity_law(t, mu=1.3, n_ahead=ahead, quantity=own, sizes=sizes)
    assert math.isclose(1 - law[0], found.any_fill_probability, abs_tol=1e-12)
    assert math.isclose(law @ np.arange(own + 1), found.expected_lots, abs_tol=1e-10)


def test_one_lot_at_the_front_alone_is_one_minus_an_exponential() -> None:
    """1 - exp(-mu T) for one lot at the front, and nothing like it for two."""
    one = PoissonFillModel(trade_rate=0.5).predict(QueueState(lots_ahead=0, own_lots=1), 3.0)
    two = PoissonFillModel(trade_rate=0.5).predict(QueueState(lots_ahead=0, own_lots=2), 3.0)
    assert -math.expm1(-1.5) == pytest.approx(one.probability, abs=1e-13)
    assert 1 - 2.5 * math.exp(-1.5) == pytest.approx(two.probability, abs=1e-13)


def test_the_conditional_wait_is_the_mean_of_the_times_within_the_horizon() -> None:
    """Against the integral of the distribution function."""
    state, h = QueueState(lots_ahead=3, own_lots=2), 2.5
    times = np.linspace(0, h, 2_001)
    passed = stages_cdf(times, filling_stages(mu=0.94, theta=0.71, n_ahead=3, quantity=2))
    area = float(np.sum((passed[1:] + passed[:-1]) / 2) * (times[1] - times[0]))
    found = UNIT_POISSON.predict(state, h)
    assert found.conditional_wait_s is not None
    assert math.isclose(h - area / passed[-1], found.conditional_wait_s, rel_tol=1e-5)


def test_rates_that_are_known_take_the_place_of_the_models() -> None:
    """`trade_lots_per_s` is lots: divided by the mean trade; `cancel_rate` is a lot's own."""
    state = QueueState(lots_ahead=300, own_lots=100, trade_lots_per_s=200.0, cancel_rate=0.3)
    model = PoissonFillModel(trade_rate=9.0, unit_lots=100.0, trade_rate_error=0.5)
    found = model.predict(state, 2.0)
    exact = float(hypoexponential_fill_probability(2.0, mu=2.0, theta=0.3, n_ahead=3))
    assert math.isclose(exact, found.probability, abs_tol=1e-12)
    assert found.confidence == 1.0
    assert {"trade_lots_per_s", "cancel_rate"} <= set(found.inputs)


def test_confidence_is_one_less_twice_the_error() -> None:
    """The bound T dP/dT x the relative error holds the true change of P with the rate."""
    state, error = QueueState(lots_ahead=3, own_lots=1), 0.05
    model = PoissonFillModel(trade_rate=1.0, trade_rate_error=error)
    found = model.predict(state, 3.0)
    moved = [
        PoissonFillModel(trade_rate=1.0 + x).predict(state, 3.0).probability for x in (-1e-4, 1e-4)
    ]
    slope = (moved[1] - moved[0]) / 2e-4
    assert math.isclose(1 - 2 * error * slope, found.confidence, abs_tol=1e-6)


def test_long_queues_come_down_as_a_fluid() -> None:
    """Beyond the chain's units P goes on falling without a step, near to the exact law."""
    model = PoissonFillModel(trade_rate=10.0, cancel_rate=0.01)
    places = (120, 128, 129, 140, 200)
    said = [model.predict(QueueState(lots_ahead=n, own_lots=1), 14.0).probability for n in places]
    exact = [
        float(hypoexponential_fill_probability(14.0, mu=10.0, theta=0.01, n_ahead=n))
        for n in places
    ]
    assert np.all(np.diff(said) < 0)
    assert np.allclose(exact, said, atol=0.03)
    far = model.predict(QueueState(lots_ahead=1e6, own_lots=1e4), 60.0)
    assert far.probability == 0
    assert far.mean_wait_s is not None
    assert far.mean_wait_s > 500


def test_the_curve_is_the_chain_at_each_time() -> None:
    """One curve at many times equals a forecast at each."""
    times = np.array([0.0, 0.5, 2.0, 9.0])
    curve = chain_curve(0.94, 0.71, (0.7, 0.2, 0.1), ahead=4, own=2, times_s=times)
    state = QueueState(lots_ahead=4, own_lots=2)
    assert np.allclose([POISSON.predict(state, t).probability for t in times], curve, atol=1e-12)


def simulated_poisson_fills(ahead: int, own: int, horizon: float, paths: int) -> list[int]:
    """Return the lots of our order that a real book filled by the horizon, on each path."""
    rng = np.random.default_rng(5)
    filled = []
    for _ in range(paths):
        book = OrderBook(SHARE)
        queue = list(range(1, ahead + 1))
        for order_id in queue:
            book.apply(Submit(order_id, Side.BUY, 1, 100))
        mine, clock, next_id = 10_000, 0.0, 20_000
        book.apply(Submit(mine, Side.BUY, own, 100, participant_id=7))
        while mine in book:
            queue = [order_id for order_id in queue if order_id in book]
            total = 0.94 + 0.71 * len(queue)
            clock += rng.exponential(1 / total)
            if clock > horizon:
                break
            if rng.random() * total < 0.94:
                lots = int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
                next_id += 1
                book.apply(Submit(next_id, Side.SELL, lots, order_type=OrderType.MARKET))
            else:
                book.apply(Cancel(queue.pop(int(rng.integers(len(queue))))))
        resting = book.order(mine)
        filled.append(own if resting is None else own - resting.leaves)
    return filled


@pytest.mark.parametrize(("ahead", "own"), [(0, 2), (4, 1), (5, 3)])
def test_poisson_agrees_with_the_book(ahead: int, own: int) -> None:
    """Trades of random sizes and cancels ahead, played into a real book, fill as often as said."""
    horizon, paths = 3.0, 1_500
    filled = np.array(simulated_poisson_fills(ahead, own, horizon, paths))
    said = POISSON.predict(QueueState(lots_ahead=ahead, own_lots=own), horizon)
    for share, chance in (
        ((filled == own).mean(), said.probability),
        ((filled > 0).mean(), said.any_fill_probability),
    ):
        assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / paths)
    assert abs(filled.mean() - said.expected_lots) < 4 * filled.std() / math.sqrt(paths)


def test_queue_reactive_agrees_with_the_generator_on_the_book() -> None:
    """Our order in the book of the queue-reactive generator fills as often, and as soon, as said.

    One level, orders of one lot, and a reference price that stays: the model's own assumptions.
    """
    shapes = QueueReactiveProfile()
    profile = QueueReactiveProfile(
        limit_rates=shapes.limit_rates[:1], cancel_rates=shapes.cancel_rates[:1],
        theta=0.0, average_order_lots=1, speed=2.0,
    )  # fmt: skip
    model, horizon, paths = QueueReactiveFillModel.from_profile(profile), 4.0, 1_500
    waits = []
    for seed in range(paths):
        flow = QueueReactive(SHARE, seed=seed, mid_ticks=100, profile=profile)
        book, mine = flow.seeded_book(), 5_000_000_000
        book.apply(Submit(mine, Side.BUY, 1, 100, participant_id=2))
        while True:
            now_ns, command = flow.step(book)
            if now_ns > horizon * 1e9:
                break
            book.apply(command)
            if mine not in book:
                waits.append(now_ns / 1e9)
                break
    said = model.predict(QueueState(lots_ahead=3, own_lots=1, displayed_lots=3), horizon)
    error = math.sqrt(said.probability * (1 - said.probability) / paths)
    assert abs(len(waits) / paths - said.probability) < 4 * error
    assert said.conditional_wait_s is not None
    spread = np.std(waits) / math.sqrt(len(waits))
    assert abs(np.mean(waits) - said.conditional_wait_s) < 4 * spread


def test_queue_reactive_with_even_rates_is_poisson() -> None:
    """Rates that do not see the queue leave Erlang's law, whatever stands behind."""
    model = QueueReactiveFillModel(limit_rates=(1.0,), cancel_rates=(0.0,), market_rates=(2.0,))
    for ahead, own, displayed in ((0, 1, 0), (3, 2, 9), (7, 1, 7)):
        state = QueueState(lots_ahead=ahead, own_lots=own, displayed_lots=displayed)
        found = model.predict(state, 2.0)
        erlang = float(erlang_fill_probability(2.0, mu=2.0, n_ahead=ahead, quantity=own))
        assert math.isclose(erlang, found.probability, abs_tol=1e-10)
        assert found.mean_wait_s is not None
        assert math.isclose((ahead + own) / 2.0, found.mean_wait_s, rel_tol=1e-10)


def test_factors_multiply_the_rates_where_the_state_falls() -> None:
    """A factor of two on markets, above its edge, is twice the market rate."""
    factor = IntensityFactor(
        field="imbalance", edges=(0.0,), limit=(1.0, 1.0), cancel=(1.0, 1.0), market=(1.0, 2.0)
    )
    model = QueueReactiveFillModel(
        limit_rates=(1.0,), cancel_rates=(0.0,), market_rates=(2.0,), factors=(factor,)
    )
    states = [a_state(3, 1, imbalance=x) for x in (-0.5, 0.0)]
    said = [model.predict(state, 1.0).probability for state in states]
    exact = [float(erlang_fill_probability(1.0, mu=mu, n_ahead=3)) for mu in (2.0, 4.0)]
    assert np.allclose(exact, said, atol=1e-12)


@pytest.mark.parametrize(("d", "sigma", "t", "drift"), [
    (1, 1, 1, 0), (0.1, 1, 60, 0), (3, 0.2, 60, 0), (1, 1, 5, 0.5), (3, 0.5, 60, -0.5),
])  # fmt: skip
def test_distance_with_no_queue_is_the_first_passage(
    d: float, sigma: float, t: float, drift: float
) -> None:
    """A queue that fills at once leaves the inverse Gaussian law, with drift and without."""
    model = DistanceFillModel(queue=PoissonFillModel(trade_rate=1e7), through_ticks=None)
    state = QueueState(lots_ahead=0, own_lots=1, distance_ticks=d, volatility_ticks=sigma,
                       drift_ticks_per_s=drift)  # fmt: skip
    exact = float(first_passage_fill_probability(t, distance=d, sigma=sigma, drift=drift))
    assert math.isclose(exact, model.predict(state, t).probability, abs_tol=2e-6)


@pytest.mark.parametrize(("d", "sigma", "t"), [(1, 1, 1), (0.1, 1, 60), (3, 0.2, 60), (0, 1, 2)])
def test_distance_then_a_queue_of_one_is_the_known_integral(
    d: float, sigma: float, t: float
) -> None:
    """One lot at the front after the touch: `queue_and_price_fill_probability`."""
    model = DistanceFillModel(queue=PoissonFillModel(trade_rate=0.5), through_ticks=None)
    state = QueueState(lots_ahead=0, own_lots=1, distance_ticks=d, volatility_ticks=sigma)
    exact = queue_and_price_fill_probability(t, distance=d, sigma=sigma, hit_rate=0.5)
    assert math.isclose(exact, model.predict(state, t).probability, abs_tol=1e-6)


def test_distance_agrees_with_paths() -> None:
    """Touch, then a queue of three, or the price going a tick through: as simulated."""
    rng = np.random.default_rng(1)
    paths, t = 200_000, 10.0
    # first passages of Brownian motion are (d / Z)^2, and independent one after the other
    touch = (2.0 / np.abs(rng.standard_normal(paths))) ** 2
    through = (1.0 / np.abs(rng.standard_normal(paths))) ** 2
    queue = rng.gamma(3, 2.0, paths)
    fill = touch + np.minimum(queue, through)
    model = DistanceFillModel(queue=PoissonFillModel(trade_rate=0.5))
    state = QueueState(lots_ahead=2, own_lots=1, distance_ticks=2, volatility_ticks=1.0)
    said = model.predict(state, t)
    share = (fill <= t).mean()
    assert abs(share - said.probability) < 4 * math.sqrt(share * (1 - share) / paths)
    assert said.conditional_wait_s is not None
    assert math.isclose(fill[fill <= t].mean(), said.conditional_wait_s, rel_tol=0.01)


def test_pools_are_what_they_say() -> None:
    """Linear: the mean of probabilities; logit: of log odds; a disagreement costs confidence."""
    one, other = POISSON.predict(a_state(), 2.0), HAZARD.predict(a_state(), 2.0)
    parts, weights = (POISSON, HAZARD), (0.25, 0.75)
    linear = CompositeFillModel(components=parts, weights=weights, pool="linear")
    logit = CompositeFillModel(components=parts, weights=weights, pool="logit")
    p, q = one.probability, other.probability
    odds = 0.25 * math.log(p / (1 - p)) + 0.75 * math.log(q / (1 - q))
    assert 0.25 * p + 0.75 * q == pytest.approx(linear.predict(a_state(), 2.0).probability)
    assert 1 / (1 + math.exp(-odds)) == pytest.approx(logit.predict(a_state(), 2.0).probability)
    gap = 2 * abs(p - q) * math.sqrt(0.25 * 0.75)
    assert 1 - gap == pytest.approx(linear.predict(a_state(), 2.0).confidence)


def test_an_age_is_survived() -> None:
    """A hazard model's forecast at an age is that of the time left, given none so far."""
    young, old = a_state(1, 1), a_state(1, 1, age_s=2.0)
    first = HAZARD.predict(young, 2.0).probability
    both = HAZARD.predict(young, 5.0).probability
    assert (both - first) / (1 - first) == pytest.approx(HAZARD.predict(old, 3.0).probability)


@pytest.mark.parametrize("name", [
    "interface", "goodness", "models", "poisson_model", "queue_reactive_model", "distance_model",
    "hazard_model", "historical_model", "composite_model",
])  # fmt: skip
def test_examples_hold(name: str) -> None:
    """Every example in the docstrings gives what it shows."""
    module = importlib.import_module(f"lob.fill_probability.{name}")
    assert doctest.testmod(module).failed == 0
