"""Latency draws have the moments they claim, bend as told, and repeat from their seed."""

import math

import numpy as np
import pytest

from lob.errors import InvalidInput
from lob.latency import (
    PROFILES_US,
    Component,
    Conditions,
    Constant,
    Distribution,
    Empirical,
    Gamma,
    LatencyModel,
    LogNormal,
    Pareto,
    Shape,
    Uniform,
    matched,
)

DRAWS = 40_000


@pytest.mark.parametrize(
    ("distribution", "mean", "sd"),
    [
        (Constant(7.0), 7.0, 0.0),
        (Uniform(10.0, 30.0), 20.0, 20 / math.sqrt(12)),
        (LogNormal(100.0, 30.0), 100.0, 30.0),
        (Gamma(100.0, 30.0), 100.0, 30.0),
        (Pareto(80.0, 5.0), 100.0, 100 / math.sqrt(15)),
        (Empirical((1.0, 2.0, 6.0)), 3.0, math.sqrt(14 / 3)),
        (matched(Shape.LOGNORMAL, 50.0, 0.4), 50.0, 20.0),
        (matched(Shape.GAMMA, 50.0, 0.4), 50.0, 20.0),
        (matched(Shape.UNIFORM, 50.0, 0.4), 50.0, 20.0),
        (matched(Shape.PARETO, 50.0, 0.2), 50.0, 10.0),
        (matched(Shape.CONSTANT, 50.0, 0.4), 50.0, 0.0),
    ],
)
def test_moments(distribution: Distribution, mean: float, sd: float) -> None:
    """Mean and standard deviation of many draws are those of the formula."""
    rng = np.random.default_rng(1)
    draws = np.array([distribution.draw(rng) for _ in range(DRAWS)])

    assert math.isclose(distribution.mean_us, mean)
    assert math.isclose(draws.mean(), mean, rel_tol=0.01)
    assert math.isclose(draws.std(), sd, rel_tol=0.08, abs_tol=1e-9)


@pytest.mark.parametrize("name", PROFILES_US)
def test_profiles_have_their_means(name: str) -> None:
    """Each leg of each profile draws around the profile's own mean."""
    model = LatencyModel.profile(name, seed=3)

    for leg, mean_us in PROFILES_US[name].items():
        mean_ns = sum(model.draw_ns(leg) for _ in range(4_000)) / 4_000
        assert math.isclose(mean_ns / 1_000, mean_us, rel_tol=0.03)


def test_the_same_seed_gives_the_same_draws_whatever_else_is_drawn() -> None:
    """Legs have streams of their own, and asking for percentiles disturbs none."""
    first = LatencyModel.profile("retail", seed=5)
    second = LatencyModel.profile("retail", seed=5)

    second.draw_ns(Component.FEED)
    second.percentiles(100)

    orders = [first.draw_ns(Component.ORDER) for _ in range(20)]
    assert orders == [second.draw_ns(Component.ORDER) for _ in range(20)]
    other = LatencyModel.profile("retail", seed=6)
    assert orders != [other.draw_ns(Component.ORDER) for _ in range(20)]


def test_another_seed_is_another_model_of_the_same_kind() -> None:
    """A reseeded model draws what a model made with that seed draws, from the first draw on."""
    first = LatencyModel.profile("retail", seed=1, cv=0.5)
    first.draw_ns(Component.ORDER)
    fresh, again = LatencyModel.profile("retail", seed=9, cv=0.5), first.reseeded(9)
    for leg in Component:
        assert [fresh.draw_ns(leg) for _ in range(5)] == [again.draw_ns(leg) for _ in range(5)]


def test_each_leg_has_its_own_child_of_the_seed() -> None:
    """The streams are those of numpy's spawned seed sequences, in the order of the legs."""
    model = LatencyModel(dict.fromkeys(Component, Uniform(0, 1_000)), seed=5)
    for leg, child in zip(Component, np.random.SeedSequence(5).spawn(4), strict=True):
        expected = round(np.random.default_rng(child).uniform(0, 1_000) * 1_000)
        assert expected == model.draw_ns(leg)


def test_spikes_then_clamp() -> None:
    """A certain spike multiplies, and the bound comes last."""
    legs = dict.fromkeys(Component, Constant(10.0))
    spiky = Conditions(spike_probability=1.0, spike_multiplier=8.0)
    bounded = Conditions(spike_probability=1.0, spike_multiplier=8.0, max_us=50.0)
    raised = Conditions(min_us=15.0)

    assert LatencyModel(legs, 1, spiky).draw_ns(Component.FILL) == 80_000
    assert LatencyModel(legs, 1, bounded).draw_ns(Component.FILL) == 50_000
    assert LatencyModel(legs, 1, raised).draw_ns(Component.FILL) == 15_000


def test_spikes_come_as_often_as_told() -> None:
    """A spike probability of a tenth spikes a tenth of the draws."""
    legs = dict.fromkeys(Component, Constant(1.0))
    model = LatencyModel(legs, 2, Conditions(spike_probability=0.1, spike_multiplier=5.0))

    spikes = sum(model.draw_ns(Component.ORDER) == 5_000 for _ in range(10_000))

    assert 900 < spikes < 1_100


def test_hour_and_volatility_are_applied() -> None:
    """The hour's factor and the volatility's both multiply."""
    hours = tuple(2.0 if hour == 9 else 1.0 for hour in range(24))
    conditions = Conditions(hour_multipliers=hours, volatility_sensitivity=0.5)
    model = LatencyModel(dict.fromkeys(Component, Constant(10.0)), 1, conditions)
    nine = 9 * 3_600_000_000_000

    assert model.draw_ns(Component.ORDER) == 10_000
    assert model.draw_ns(Component.ORDER, nine) == 20_000
    assert model.draw_ns(Component.ORDER, nine, volatility_ratio=3.0) == 40_000


def test_percentiles_and_round_trip() -> None:
    """Percentiles are in order, and the round trip is order + exchange + fill."""
    constant = LatencyModel.profile("colocated", seed=1, shape=Shape.CONSTANT)
    spread = LatencyModel.profile("colocated", seed=1).percentiles(2_000)

    assert constant.round_trip_ns() == 30_000
    assert constant.percentiles(10)["round_trip"] == {"p50": 30.0, "p95": 30.0, "p99": 30.0}
    assert all(leg["p50"] < leg["p95"] < leg["p99"] for leg in spread.values())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Constant(-1.0), "mean_us"),
        (lambda: Uniform(5.0, 4.0), "high_us"),
        (lambda: LogNormal(0.0, 1.0), "mean_us"),
        (lambda: Gamma(1.0, math.nan), "sd_us"),
        (lambda: Pareto(1.0, 1.0), "shape"),
        (lambda: Empirical(()), "samples_us"),
        (lambda: matched(Shape.UNIFORM, 10.0, 0.9), "cv"),
        (lambda: Conditions(spike_probability=1.1), "spike_probability"),
        (lambda: Conditions(spike_multiplier=0.5), "spike_multiplier"),
        (lambda: Conditions(min_us=5.0, max_us=4.0), "max_us"),
        (lambda: Conditions(hour_multipliers=(1.0,)), "hour_multipliers"),
        (lambda: LatencyModel.profile("moon", seed=1), "profile"),
        (lambda: LatencyModel({}, 1), "legs"),
        (lambda: LatencyModel.zero().percentiles(0), "draws"),
    ],
)
def test_bad_parameters_are_named(make: object, name: str) -> None:
    """A parameter out of range is InvalidInput that begins with its name."""
    with pytest.raises(InvalidInput, match=f"^{name}: "):
        make()  # type: ignore[operator]
