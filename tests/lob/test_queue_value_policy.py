"""Holding a place, giving it up or moving, and the closed form of what a place is worth."""

import doctest
import importlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.market_making import MoallemiYuan, QueueAction, QueueValueModel, QueueValuePolicy

MODEL = QueueValueModel(
    trade_rate=1.0, trade_sizes=(0.5, 0.3, 0.2), impact=0.05, opposite_trade_rate=0.8,
    cancel_rate=0.2, away_rate=0.3, sweep_rate=0.05, sweep_loss=1.0,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    lots=st.integers(0, 30),
    better=st.integers(0, 30),
    delta=st.floats(-1, 1),
    nearer=st.floats(0, 1),
    costs=st.tuples(*[st.floats(0, 0.2)] * 4),
)
def test_the_best_action_is_taken_within_its_thresholds(
    lots: int, better: int, delta: float, nearer: float, costs: tuple[float, ...]
) -> None:
    """No other action is worth more than the one taken by more than its threshold."""
    policy = QueueValuePolicy(
        model=MODEL, cancel_cost=costs[0], reprice_cost=costs[1], cancel_below=costs[2],
        reprice_gain_min=costs[3],
    )  # fmt: skip
    found = policy.decide(
        lots_ahead=lots, delta=delta, better_price_lots=better, better_price_delta=delta - nearer
    )
    hold, cancel, reprice = found.hold_value, found.cancel_value, found.reprice_value
    assert reprice is not None
    assert hold == pytest.approx(MODEL.value(lots, delta))
    assert reprice == pytest.approx(MODEL.value(better, delta - nearer) - costs[0] - costs[1])
    assert -costs[0] == cancel
    if found.action is QueueAction.HOLD:
        assert hold >= cancel - costs[2]
        assert reprice <= max(hold, cancel) + costs[3]
    elif found.action is QueueAction.CANCEL:
        assert hold < cancel - costs[2]
        assert reprice <= cancel + costs[3]
    else:
        assert reprice > costs[3] + (hold if hold >= cancel - costs[2] else cancel)
    assert found.explanation.startswith(found.action.value)
    assert found.value == {"HOLD": hold, "CANCEL": cancel, "REPRICE": reprice}[found.action.value]


def test_each_action_has_its_place() -> None:
    """Front of a good queue: hold; back of one with nothing beside: move; no edge: cancel."""
    policy = QueueValuePolicy(model=MODEL)
    front = policy.decide(lots_ahead=0, delta=0.5, better_price_lots=0, better_price_delta=0.0)
    assert front.action is QueueAction.HOLD
    back = policy.decide(lots_ahead=40, delta=0.5, better_price_lots=0, better_price_delta=0.45)
    assert back.action is QueueAction.REPRICE
    none = policy.decide(lots_ahead=5, delta=-0.5)
    assert none.action is QueueAction.CANCEL
    assert none.reprice_value is None


def test_thresholds_decide_where_values_are_near() -> None:
    """A small gain does not move the order where more is asked; a small loss is held."""
    eager = QueueValuePolicy(model=MODEL)
    given_ = {"lots_ahead": 10, "delta": 0.5, "better_price_lots": 0, "better_price_delta": 0.45}
    gain = eager.decide(**given_)  # type: ignore[arg-type]
    assert gain.action is QueueAction.REPRICE
    assert gain.reprice_value is not None
    patient = QueueValuePolicy(
        model=MODEL, reprice_gain_min=gain.reprice_value - gain.hold_value + 1e-9
    )
    assert patient.decide(**given_).action is QueueAction.HOLD  # type: ignore[arg-type]
    loss = eager.decide(lots_ahead=2, delta=0.0)
    assert loss.action is QueueAction.CANCEL
    holding = QueueValuePolicy(model=MODEL, cancel_below=-loss.hold_value + 1e-9)
    assert holding.decide(lots_ahead=2, delta=0.0).action is QueueAction.HOLD


def test_policies_go_through_plain_values() -> None:
    """A policy read from its mapping decides the same; unknown and missing keys are named."""
    policy = QueueValuePolicy(model=MODEL, cancel_cost=0.01, reprice_gain_min=0.02)
    mapping = json.loads(json.dumps(policy.to_mapping()))
    assert policy == QueueValuePolicy.from_mapping(mapping)
    with pytest.raises(InvalidInput, match="queue_value: 'speed'"):
        QueueValuePolicy.from_mapping(mapping | {"speed": 1})
    with pytest.raises(InvalidInput, match="model: 'trade_rate'"):
        QueueValuePolicy.from_mapping({"model": {}})
    with pytest.raises(InvalidInput, match="better_price_delta"):
        policy.decide(lots_ahead=1, delta=0.5, better_price_lots=3)
    with pytest.raises(InvalidInput, match="cancel_cost"):
        QueueValuePolicy(model=MODEL, cancel_cost=-1.0)


@pytest.mark.parametrize("q", [0.0, 1.5, 6.0])
def test_moallemi_yuan_is_what_orders_earn(q: float) -> None:
    """Exponential trades played out at random: filled, and moved against, as often as said."""
    model = MoallemiYuan(
        trade_rate=1.0, mean_trade_size=2.0, impact=0.05, opposite_trade_rate=0.7, away_rate=0.4
    )
    rng, paths = np.random.default_rng(3), 40_000
    left, moved = np.full(paths, q), np.zeros(paths)
    filled, live = np.zeros(paths, dtype=bool), np.ones(paths, dtype=bool)
    while live.any():
        event = rng.choice(3, p=np.array([1.0, 0.7, 0.4]) / 2.1, size=paths)
        size = rng.exponential(2.0, paths)
        moved += np.where(live, 0.05 * size * np.array([1.0, -1.0, 0.0])[event], 0.0)
        hit = live & (event == 0)
        filled |= hit & (size > left)
        left = np.where(hit, left - size, left)
        live &= ~filled & (event != 2)
    assert abs(filled.mean() - float(model.alpha(q))) < 4 * math.sqrt(0.25 / paths)
    lost = np.where(filled, moved, 0.0)
    assert abs(lost.mean() - float(model.beta(q))) < 4 * lost.std() / math.sqrt(paths)


def test_moallemi_yuan_is_the_limit_of_small_lots() -> None:
    """Geometric sizes in ever smaller lots come to the exponential's closed form."""
    exact = MoallemiYuan(
        trade_rate=1.0, mean_trade_size=2.0, impact=0.05, opposite_trade_rate=0.7, away_rate=0.4
    )
    lots = 20  # a unit of size
    p = 1 / (2.0 * lots)
    sizes = p * (1 - p) ** np.arange(1_200)
    model = QueueValueModel(
        trade_rate=1.0, trade_sizes=tuple((sizes / sizes.sum()).tolist()), impact=0.05 / lots,
        opposite_trade_rate=0.7, away_rate=0.4,
    )  # fmt: skip
    alpha, beta = model.curves(5 * lots)
    assert float(exact.alpha(5.0)) == pytest.approx(alpha[-1], rel=0.02)
    assert float(exact.beta(5.0)) == pytest.approx(beta[-1], rel=0.03)


@settings(max_examples=40, deadline=None)
@given(q=st.floats(0, 50), away=st.floats(0, 5), impact=st.floats(0, 1))
def test_the_front_is_worth_most(q: float, away: float, impact: float) -> None:
    """At the break-even distance a place is worth nothing; adverse selection grows with q."""
    model = MoallemiYuan(trade_rate=1.0, mean_trade_size=2.0, impact=impact, away_rate=away)
    even = float(model.break_even_delta(q))
    assert abs(float(model.value(q, even))) < 1e-9
    assert float(model.break_even_delta(q + 1)) >= even - 1e-12
    assert float(model.queue_value(q, max(even, 2 * impact))) >= -1e-12


@pytest.mark.parametrize("name", ["queue_policy", "moallemi_yuan"])
def test_examples_hold(name: str) -> None:
    """Every example in the docstrings gives what it shows."""
    assert doctest.testmod(importlib.import_module(f"lob.market_making.{name}")).failed == 0
