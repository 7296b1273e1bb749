"""Hidden liquidity is learnt from sweeps alone: as much as there is, none where none is."""

import doctest
import importlib
import json
import math
from collections.abc import Callable
from random import Random

import pytest

from lob.book import OrderBook
from lob.errors import InvalidInput
from lob.hidden import (
    ArrivalCosts,
    Depth,
    Execution,
    FlowMemory,
    HiddenLiquidityModel,
    HiddenPrior,
    HiddenSizes,
    Sweep,
    walk_ticks,
)
from lob.types import Side

SECOND = 1_000_000_000
DEPTH = Depth(((95, 300), (90, 300)), ((105, 300), (110, 300)))


def sweeps(
    count: int, share: float, seed: int = 1, *, better: int = 4
) -> list[tuple[Sweep, Depth]]:
    """Return sweeps one a second, of which a share meets a hidden order `better` ticks inside."""
    rng = Random(seed)
    found = []
    for second in range(1, count + 1):
        side = rng.choice((Side.BUY, Side.SELL))
        touch = DEPTH.met_by(side)[0][0]
        hidden = rng.random() < share
        price = touch - side.sign * better if hidden else touch
        part = Execution(price, 100, hidden)
        found.append((Sweep(second * SECOND, side, (part,)), DEPTH))
    return found


@pytest.mark.parametrize("name", ["sizes", "liquidity"])
def test_examples(name: str) -> None:
    """The docstrings' examples hold."""
    tried = doctest.testmod(importlib.import_module(f"lob.hidden.{name}"))
    assert 0 == tried.failed
    assert tried.attempted > 0


@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_the_share_of_hidden_sweeps_is_learnt(share: float) -> None:
    """The mean chance comes to the share that there is, and the mean cost to what it was."""
    model, told = HiddenLiquidityModel(), sweeps(2_000, share)
    met = []
    for sweep, depth in told:
        forecast = model.forecast(depth, sweep.aggressor, 100, sweep.ts_event_ns)
        touch, sign = depth.met_by(sweep.aggressor)[0][0], sweep.aggressor.sign
        met.append((forecast.probability, sign * (touch - forecast.cost_ticks)))
        model.update(sweep, depth)
    chances, gains = zip(*met[1_000:], strict=True)
    there = sum(sweep.executions[0].hidden for sweep, _ in told[1_000:]) / 1_000
    assert math.isclose(there, sum(chances) / 1_000, abs_tol=0.05)
    assert math.isclose(4 * there, sum(gains) / 1_000, abs_tol=0.2)


def test_forecasts_beat_the_walk_where_much_is_hidden() -> None:
    """Made before each sweep, forecasts err less than the walk of what is displayed."""
    model, walk, l3 = HiddenLiquidityModel(), 0.0, 0.0
    for sweep, depth in sweeps(1_500, 0.5):
        met = model.forecast(depth, sweep.aggressor, 100, sweep.ts_event_ns)
        walk += (met.walk_ticks - sweep.vwap_ticks) ** 2
        l3 += (met.cost_ticks - sweep.vwap_ticks) ** 2
        model.update(sweep, depth)
    assert math.sqrt(l3 / walk) < 0.8


def test_a_market_without_hidden_orders_gets_the_walk() -> None:
    """Where nothing was ever hidden the forecast is the walk, to the last bit."""
    hidden, flow = HiddenLiquidityModel(), FlowMemory()
    costs = ArrivalCosts(hidden, flow)
    for sweep, depth in sweeps(400, 0.0):
        forecast = costs.forecast(depth, sweep.aggressor, 400, sweep.ts_event_ns)
        expected = walk_ticks(depth.met_by(sweep.aggressor), 400) / 400
        assert expected == forecast.hidden.cost_ticks
        assert forecast.costs[0] == forecast.cost_ticks
        hidden.update(sweep, depth)
        flow.note(sweep)
        costs.learn(forecast, forecast.costs[0])
    assert ("walk", False) == (costs.chosen, hidden.expects_any)
    assert () == hidden.expected_hidden_lots(DEPTH, Side.SELL)
    assert () == hidden.sample(DEPTH, Random(1))


def test_what_was_seen_at_a_price_raises_its_chance() -> None:
    """A hidden order stays where one was met: prices are remembered, and forgotten in time."""
    rng, model = Random(3), HiddenLiquidityModel()
    now, where = 0, 0
    for _ in range(1_500):
        # Every 30 s another price hides an order that never ends; sweeps come in threes.
        now += 30 * SECOND
        where = rng.randint(1, 9)
        for part in range(3):
            price = 105 - where
            sweep = Sweep(now + part * SECOND // 10, Side.BUY, (Execution(price, 10, True),))
            model.update(sweep, DEPTH)
    soon = model.expected_hidden_lots(DEPTH, Side.SELL, now + SECOND // 2)
    chances = {level.low_ticks: level.probability for level in soon}
    better = [chance for price, chance in chances.items() if price < 105 - where]
    assert chances[105 - where] > 0.8
    assert max(better, default=0.0) < 0.3


def test_a_mid_between_two_ticks_is_learnt() -> None:
    """With one tick between bid and ask, hidden orders at the mid make sweeps cheaper."""
    depth = Depth(((100, 50),), ((101, 50),))
    model = HiddenLiquidityModel()
    for second in range(1, 300):
        part = Execution(100.5, 10, hidden=True)
        model.update(Sweep(second * SECOND, Side.BUY, (part,)), depth)

    met = model.forecast(depth, Side.BUY, 10, 300 * SECOND)

    assert math.isclose(100.5, met.cost_ticks, abs_tol=0.1)
    assert all(
        level.low_ticks == level.high_ticks == 101
        for level in model.expected_hidden_lots(depth, Side.SELL)
    )


def test_hidden_orders_behind_the_touch_are_learnt() -> None:
    """What is hidden at the touch is met by orders larger than what is displayed there."""
    model = HiddenLiquidityModel()
    parts = (Execution(105, 300, hidden=False), Execution(105, 100, hidden=True))
    for second in range(1, 300):
        model.update(Sweep(second * SECOND, Side.BUY, parts), DEPTH)

    large = model.forecast(DEPTH, Side.BUY, 400, 300 * SECOND)
    small = model.forecast(DEPTH, Side.BUY, 200, 300 * SECOND)

    assert large.walk_ticks - large.cost_ticks > 0.8
    assert math.isclose(small.walk_ticks, small.cost_ticks, abs_tol=0.05)


def test_a_stated_prior_is_what_is_drawn() -> None:
    """Draws come as often as the levels say, are of the stated size, and the same of one seed."""
    model = HiddenLiquidityModel(HiddenPrior(probability=0.4, lots=50))
    expected = sum(
        level.probability for side in Side for level in model.expected_hidden_lots(DEPTH, side)
    )
    rng = Random(11)
    drawn = [model.sample(DEPTH, rng) for _ in range(4_000)]
    orders = [order for some in drawn for order in some]

    assert model.sample(DEPTH, Random(5)) == model.sample(DEPTH, Random(5))
    # Few are left out for crossing one another.
    assert math.isclose(expected, len(orders) / 4_000, rel_tol=0.1)
    assert math.isclose(50, sum(order.quantity_lots for order in orders) / len(orders), rel_tol=0.2)
    for some in drawn:
        bids = [order.price_ticks for order in some if order.side is Side.BUY]
        asks = [order.price_ticks for order in some if order.side is Side.SELL]
        assert all(95 <= price for price in bids)
        assert all(price <= 105 for price in asks)
        assert max(bids, default=0) < min(asks, default=1_000)


def test_drawn_orders_rest_in_a_book() -> None:
    """Drawn orders go into a book as hidden ones, and an order meets them before the touch."""
    model = HiddenLiquidityModel.fit(sweeps(1_000, 0.9))
    draws = (model.sample(DEPTH, Random(seed)) for seed in range(100))
    asks = ([order for order in drawn if order.side is Side.SELL] for drawn in draws)
    drawn = next(some for some in asks if any(order.price_ticks < 105 for order in some))
    book = OrderBook()
    book.feed_add(1, Side.SELL, 105, 300)
    for order_id, order in enumerate(drawn, 2):
        book.submit(order_id, order.side, order.quantity_lots, order.price_ticks, hidden=True)

    assert min(order.price_ticks for order in drawn) < 105
    assert 105 == getattr(book.best_ask(), "price_ticks", None)
    assert book.submit(99, Side.BUY, 1, 105)[1].price_ticks == min(  # type: ignore[union-attr]
        order.price_ticks for order in drawn
    )


def test_a_saved_model_goes_on_as_it_was() -> None:
    """A model that went through JSON forecasts and learns as the one that was saved."""
    told = sweeps(400, 0.5)
    model = HiddenLiquidityModel.fit(told[:300], HiddenPrior(lots=70))
    again = HiddenLiquidityModel.from_dict(json.loads(json.dumps(model.to_dict())))
    for sweep, depth in told[300:]:
        now = sweep.ts_event_ns
        first = model.forecast(depth, sweep.aggressor, 150, now)
        assert first == again.forecast(depth, sweep.aggressor, 150, now)
        model.update(sweep, depth)
        again.update(sweep, depth)
    assert model.to_dict() == again.to_dict()


def test_forecasts_leave_the_model_as_it_was() -> None:
    """Asking changes nothing: only `update` teaches."""
    model = HiddenLiquidityModel.fit(sweeps(200, 0.5))
    before = json.dumps(model.to_dict())
    model.forecast(DEPTH, Side.SELL, 10, 10_000 * SECOND)
    model.expected_hidden_lots(DEPTH, Side.BUY, 10_000 * SECOND)
    model.sample(DEPTH, Random(1))
    assert before == json.dumps(model.to_dict())


def test_what_becomes_of_the_price_is_learnt() -> None:
    """Where the touch moves away from every aggressor in flight, the last account says so."""
    hidden, flow = HiddenLiquidityModel(), FlowMemory()
    costs = ArrivalCosts(hidden, flow, latency_ns=SECOND // 100)
    for sweep, depth in sweeps(400, 0.0):
        now = sweep.ts_event_ns - SECOND // 100
        forecast = costs.forecast(depth, sweep.aggressor, 100, now)
        costs.learn(forecast, 8.0)
        hidden.update(sweep, depth)
        flow.note(sweep)
    forecast = costs.forecast(DEPTH, Side.BUY, 100, 401 * SECOND)
    assert "arrival" == forecast.chosen
    assert math.isclose(5.0, forecast.costs[0])
    assert math.isclose(8.0, forecast.cost_ticks, abs_tol=0.3)


@pytest.mark.parametrize("mean", [20, 300])
def test_sizes_of_hidden_orders_are_learnt(mean: int) -> None:
    """Of exponential sizes, half of them censored, the curve has the mean and the draws too."""
    rng, sizes = Random(mean), HiddenSizes()
    for _ in range(6_000):
        lots, wanted = 1 + int(rng.expovariate(1 / mean)), 1 + int(rng.expovariate(1 / mean))
        sizes.add(min(lots, wanted), ended=lots <= wanted)
    drawn = sum(sizes.draw(rng) for _ in range(20_000)) / 20_000
    assert math.isclose(mean, sizes.expected_taken(1e12), rel_tol=0.15)
    assert math.isclose(sizes.expected_taken(1e12), drawn, rel_tol=0.05)
    assert math.isclose(1.0, sizes.expected_taken(1.0))


def test_walks_by_hand() -> None:
    """A walk pays level by level, and what is beyond the depth at its last price."""
    levels = ((10, 5), (12, 5))
    assert [0.0, 30.0, 74.0, 170.0] == [walk_ticks(levels, lots) for lots in (0, 3, 7, 15)]


def model_at(second: int) -> HiddenLiquidityModel:
    """Return a model that has seen one sweep, at a second."""
    model = HiddenLiquidityModel()
    model.update(Sweep(second * SECOND, Side.BUY, (Execution(105, 1, hidden=True),)), DEPTH)
    return model


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Depth(((5, 1), (6, 1)), ()), "bids[1].price_ticks: 6 after 5"),
        (lambda: Depth((), ((5, 0),)), "asks[0].lots: 0"),
        (lambda: Depth(((5, 1),), ((5, 1),)), "bids[0].price_ticks: 5"),
        (lambda: Sweep(0, Side.BUY, ()), "executions: none"),
        (lambda: Sweep(0, Side.BUY, (Execution(0, 1, True),)), "executions[0].price_ticks: 0"),
        (lambda: Sweep(-1, Side.BUY, (Execution(1, 1, True),)), "ts_event_ns: -1"),
        (lambda: HiddenPrior(probability=1.0), "probability: 1.0"),
        (lambda: HiddenPrior(lots=0), "lots: 0"),
        (lambda: HiddenSizes().add(0, ended=True), "lots: 0"),
        (lambda: HiddenSizes().expected_taken(-1.0), "wanted: -1.0"),
        (lambda: HiddenSizes.from_dict({}), "sizes: without 'prior_lots'"),
        (lambda: HiddenLiquidityModel().forecast(DEPTH, Side.BUY, 0), "lots: 0"),
        (lambda: HiddenLiquidityModel().forecast(Depth((), ()), Side.BUY, 1), "depth: one side"),
        (lambda: HiddenLiquidityModel.from_dict({}), "document: KeyError('prior')"),
        (lambda: model_at(5).update(*sweeps(1, 1.0)[0]), "ts_event_ns: 1000000000"),
        (lambda: model_at(5).forecast(DEPTH, Side.BUY, 1, 4 * SECOND), "now_ns: 4000000000"),
        (lambda: walk_ticks((), 1), "levels: none"),
    ],
)
def test_wrong_arguments_are_refused(call: Callable[[], object], said: str) -> None:
    """Each refusal names the argument, its value, and what is allowed."""
    with pytest.raises(InvalidInput) as refused:
        call()
    assert said in str(refused.value)
    assert "; allowed: " in str(refused.value)
