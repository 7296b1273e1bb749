"""What is expected of a book by its depth alone is what the model expects without any memory."""

from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest

from execution_providers import MarketState, Order, create_execution_provider
from execution_providers.streams import HIDDEN_LIQUIDITY, Stream
from lob.config import HiddenLiquidityConfig, create_l3_config
from lob.errors import ConfigError, InvalidInput
from lob.hidden import (
    Depth,
    Execution,
    HiddenLiquidityModel,
    HiddenPrior,
    HiddenSizes,
    RefillPosterior,
    Sweep,
    UsualHidden,
)
from lob.types import AssetClass, Side

SECOND = 1_000_000_000


def fitted() -> HiddenLiquidityModel:
    """Return a model that has met hidden orders in two thirds of its sweeps, long ago."""
    rng = Random(3)
    model = HiddenLiquidityModel()
    for number in range(1, 400):
        spread = rng.randint(2, 30)
        depth = Depth(((1_000, rng.randint(1, 500)),), ((1_000 + spread, rng.randint(1, 500)),))
        away = rng.randint(0, spread - 1) if rng.random() < 0.66 else 0
        part = Execution(1_000 + spread - away, rng.randint(1, 90), hidden=away > 0)
        model.update(Sweep(number * SECOND, Side.BUY, (part,)), depth)
    return model


def forgotten(model: HiddenLiquidityModel) -> HiddenLiquidityModel:
    """Return the model as it is when all that it met was long ago."""
    document = model.to_dict()
    document["memories"] = {side.value: {"prices": [], "last": None} for side in Side}
    return HiddenLiquidityModel.from_dict(document)


@pytest.mark.parametrize("spread", [1, 2, 7, 16, 40, 3_000])
@pytest.mark.parametrize("lots", [(10, 30), (30, 10), (5, 5)])
def test_chances_are_those_of_the_model(spread: int, lots: tuple[int, int]) -> None:
    """Cell by cell, where the imbalance is a number of eighths, and its level is as learnt."""
    model = forgotten(fitted())
    model._at_rest = [1.0, 1.0]
    depth = Depth(((500, lots[0]),), ((500 + spread, lots[1]),))
    expected = model.expected_hidden_lots(depth, Side.SELL)
    usual = model.usual()
    assert usual is not None
    found = usual.chances(spread, (lots[0] - lots[1]) / sum(lots))
    touch = 500 + spread
    assert [(touch - far, touch - near) for near, far in found.cells] == [
        (level.low_ticks, level.high_ticks) for level in expected[:-1]
    ]
    chances = [level.probability for level in expected]
    assert np.allclose([*found.chances, found.touch], chances, rtol=1e-9)


def test_the_usual_chances_come_true_on_average() -> None:
    """Where sweeps follow one another at the same price, the weights alone say too little."""
    rng, depth = Random(2), Depth(((1_000, 90),), ((1_006, 90),))
    model, met = HiddenLiquidityModel(), 0
    for number in range(1, 3_000):
        # Now here, now nowhere: a hidden order is met again and again before it is gone.
        there = number // 20 % 3 == 0
        price = 1_003 if there and rng.random() < 0.9 else 1_006
        part = Execution(price, 10, hidden=price == 1_003)
        model.update(Sweep(number * SECOND // 100, Side.BUY, (part,)), depth)
        met += price == 1_003
    usual = model.usual()
    assert usual is not None
    nothing = np.prod([1 - chance for chance in usual.chances(6, 0.0).chances])
    assert abs((1 - nothing) - met / 3_000) < 0.06


def test_orders_are_drawn_as_often_as_expected() -> None:
    """Over many seeds each cell has its share, and the distances are inside the spread."""
    usual = HiddenLiquidityModel(HiddenPrior(probability=0.6)).usual()
    assert usual is not None
    seeds = 20_000
    counts = np.zeros(10)
    for seed in range(seeds):
        for distance, exponential in usual.inside(10, 0.0, Stream(seed, HIDDEN_LIQUIDITY)):
            counts[distance] += 1
            assert exponential >= 0
    found = usual.chances(10, 0.0)
    for (near, far), chance in zip(found.cells, found.chances, strict=True):
        share = counts[near : far + 1].sum() / seeds
        assert abs(share - chance) < 5 * np.sqrt(chance / seeds)
    assert 0 == counts[0]


def test_a_model_that_expects_nothing_is_none() -> None:
    """Neither stated nor seen."""
    assert HiddenLiquidityModel().usual() is None
    assert HiddenLiquidityConfig(probability=0.0).usual() is None


def test_a_fitted_model_goes_through_the_configuration() -> None:
    """What was fitted is what an execution's book is given, in the units it was fitted in."""
    model = fitted()
    section = HiddenLiquidityConfig(parameters=model.to_parameters(tick_size=0.01, lot_size=100.0))
    read, direct = section.usual(), model.usual()
    assert read is not None
    assert direct is not None
    assert (0.01, 100.0, True) == (read.tick_size, read.lot_size, read.told_sizes)
    assert direct.chances(9, 0.5) == read.chances(9, 0.5)
    assert direct.lots(0.7, 1.0) == read.lots(0.7, 1.0)
    with pytest.raises(InvalidInput, match=r"^hidden_sweeps: 0"):
        HiddenLiquidityModel().to_parameters(tick_size=1.0, lot_size=1.0)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"weight": []}, "parameters.weight: unknown"),
        ({"weights": [0.0]}, "parameters.'sizes': missing"),
        (
            {"weights": [0.0], "sizes": 3, "tick_size": 1, "lot_size": 1},
            "parameters.weights, sizes",
        ),
    ],
)
def test_parameters_that_are_none_are_refused(parameters: dict[str, object], told: str) -> None:
    """The refusal names the key."""
    with pytest.raises(ConfigError, match=told):
        HiddenLiquidityConfig(parameters=parameters)


def test_weights_of_another_number_are_refused() -> None:
    """As many as a cell has features."""
    with pytest.raises(InvalidInput, match=r"^weights: 2; allowed: "):
        UsualHidden([1.0, 2.0])


@pytest.mark.parametrize("lot_size", [1.0, 10.0])
def test_an_execution_meets_what_was_fitted(lot_size: float) -> None:
    """In its units: sizes are told in lots of the market that the model is of."""
    model = HiddenLiquidityModel()
    depth = Depth(((9_995, 100),), ((10_005, 100),))
    for number in range(1, 400):
        # All 20 lots of the hidden order, and then some that show.
        parts = Execution(10_000, 20, hidden=True), Execution(10_005, 5, hidden=False)
        model.update(Sweep(number * SECOND, Side.BUY, parts), depth)
    parameters = model.to_parameters(tick_size=0.01, lot_size=lot_size)
    hidden = {"enabled": True, "parameters": parameters, "iceberg_probability": 0.0}
    provider = create_execution_provider(
        AssetClass.EQUITY, "L3", config=create_l3_config("minimal", hidden_liquidity=hidden)
    )
    levels = ((Decimal("99.95"), Decimal(10_000)),), ((Decimal("100.05"), Decimal(10_000)),)
    market = MarketState(1, *levels)
    fills = [
        provider.execute(Order("A", Side.BUY, Decimal(5_000)), market, seed=seed)
        for seed in range(200)
    ]
    taken = [
        part for fill in fills if fill for part in fill.fills if part.price < Decimal("100.05")
    ]
    # The buyers' hidden orders are as likely, and the two do not stand through each other.
    assert len(taken) > 30
    mean = sum(float(part.quantity) for part in taken) / len(taken)
    assert abs(mean - 20 * lot_size) < 7 * lot_size
    for fill in fills:
        assert fill is not None
        told = Decimal(fill.attribution["hidden"]["filled"])
        assert told == sum(part.quantity for part in fill.fills if part.price < Decimal("100.05"))


def test_presets_state_what_is_usual() -> None:
    """Shares hide more than coins."""
    shares, coins = (create_l3_config(name).hidden_liquidity for name in ("equity", "crypto"))
    assert shares.probability > coins.probability > 0


def test_refills_are_drawn_as_the_posterior_has_them() -> None:
    """The shares of even steps of a uniform number are the probabilities."""
    posterior = RefillPosterior(refills_seen=1, a=2.0, b=3.0)
    steps = 20_000
    drawn = np.bincount([posterior.draw((step + 0.5) / steps) for step in range(steps)])
    assert np.allclose(
        drawn[:6] / steps, [posterior.probability(count) for count in range(6)], atol=1e-3
    )


def test_a_curve_is_whole_before_another_thread_sees_it() -> None:
    """Who draws while somebody else works the curve out gets the size that everybody gets."""
    calm, busy = HiddenSizes(prior_lots=100.0), HiddenSizes(prior_lots=100.0)
    expected = [calm.lots_of(draw) for draw in (0.1, 1.0, 3.0)]
    found: list[int] = []

    class Meanwhile(list[float]):
        """Numbers at the fourth of which another thread comes by, once."""

        def __getitem__(self, place: Any) -> Any:
            """Return the number, after somebody else has drawn."""
            if place == 3 and not found:
                found.append(0)
                found[:] = [busy.lots_of(draw) for draw in (0.1, 1.0, 3.0)]
            return super().__getitem__(place)

    busy._ended = Meanwhile(busy._ended)
    assert expected == [busy.lots_of(draw) for draw in (0.1, 1.0, 3.0)]
    assert expected == found
