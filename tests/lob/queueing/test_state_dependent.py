"""Fills before the opposite queue is depleted: horizons, general rates, one tick deeper."""

import doctest
import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.fill_probability import hypoexponential_fill_probability
from lob.queueing import (
    SKY_PERFECT,
    BirthDeath,
    fill_before_depletion,
    linear_death,
    state_dependent_fill_probability,
    state_dependent_mid_up_probability,
)

BIRTH, DEATH = (1.5, 1.2, 0.8, 0.5), (0.0, 0.6, 1.1, 1.4, 1.6)


@pytest.mark.parametrize("spread", [1, 2, 3])
def test_without_a_horizon_the_cdf_is_proposition_four(spread: int) -> None:
    """A bid's fill by t before the mid moves comes to Cont, Stoikov and Talreja's probability."""
    whole = float(SKY_PERFECT.bid_fill_probability(b=3, a=4, spread=spread))
    by = SKY_PERFECT.bid_fill_cdf([0.0, 0.5, 200.0, math.inf], b=3, a=4, spread=spread)
    assert by[0] == 0
    assert 0 < by[1] < whole
    assert [whole, whole] == pytest.approx(by[2:].tolist(), abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(
    ahead=st.integers(0, 4), opposite=st.integers(1, 5), t=st.floats(0.05, 8.0),
    quantity=st.integers(1, 3),
)  # fmt: skip
def test_a_fill_is_likelier_later_nearer_and_against_a_longer_queue(
    ahead: int, opposite: int, t: float, quantity: int
) -> None:
    """Monotone in time, place, quantity and the opposite queue; below the fill without it."""

    def said(n_ahead: int, n_opposite: int, when: float, lots: int) -> float:
        found = state_dependent_fill_probability(
            when,
            n_ahead=n_ahead,
            opposite=n_opposite,
            quantity=lots,
            passing=linear_death(0.9, 0.4),
            birth=BIRTH,
            death=DEATH,
        )
        return float(found)

    here = said(ahead, opposite, t, quantity)
    assert said(ahead, opposite, 1.5 * t, quantity) >= here - 1e-9
    assert said(ahead + 1, opposite, t, quantity) <= here + 1e-9
    assert said(ahead, opposite, t, quantity + 1) <= here + 1e-9
    assert said(ahead, opposite + 1, t, quantity) >= here - 1e-9
    alone = hypoexponential_fill_probability(t, mu=0.9, theta=0.4, n_ahead=ahead, quantity=quantity)
    assert here <= float(alone) + 1e-9


def test_an_opposite_queue_that_stays_leaves_the_stages_alone() -> None:
    """With an opposite queue that nothing takes from, the fill is hypoexponential."""
    times = np.array([0.3, 2.0, 7.0])
    found = state_dependent_fill_probability(
        times, n_ahead=3, opposite=1, passing=linear_death(0.94, 0.71), birth=0.0, death=0.0
    )
    exact = hypoexponential_fill_probability(times, mu=0.94, theta=0.71, n_ahead=3)
    assert np.allclose(exact, found, atol=1e-10)


def test_one_stage_against_one_queue_is_an_integral() -> None:
    """An exponential fill against a depletion time: the integral of the density x survival."""
    times = np.linspace(0, 4, 4_001)
    queue = BirthDeath(BIRTH, DEATH)
    alive = 1 - queue.first_passage_cdf(times, start=2)
    integrand = 0.7 * np.exp(-(0.7 + 0.2) * times) * alive
    area = float(np.sum((integrand[1:] + integrand[:-1]) / 2) * (times[1] - times[0]))
    found = fill_before_depletion(
        4.0, stages=[0.7], opposite=2, birth=BIRTH, death=DEATH, killing=0.2
    )
    assert area == pytest.approx(float(found), abs=1e-6)


def test_state_dependent_fills_are_what_queues_do() -> None:
    """Played out at random with rates by queue, orders fill as often as said; so the mid moves."""
    rng, paths, horizon = np.random.default_rng(6), 20_000, 3.0
    passing = np.array([0.8, 1.3, 1.7])
    filled = first_bid = 0
    for _ in range(paths):
        ahead, ask, clock = 2, 3, 0.0
        while ask and ahead >= 0:
            rates = (passing[ahead], BIRTH[min(ask, 3)], DEATH[min(ask, 4)])
            clock += rng.exponential(1 / sum(rates))
            pick = rng.random() * sum(rates)
            if pick < rates[0]:
                ahead -= 1
            else:
                ask += 1 if pick < rates[0] + rates[1] else -1
        filled += ahead < 0 and clock <= horizon
        first_bid += ahead < 0
    for share, t in ((filled / paths, horizon), (first_bid / paths, math.inf)):
        said = float(
            state_dependent_fill_probability(
                t, n_ahead=2, opposite=3, passing=passing, birth=BIRTH, death=DEATH
            )
        )
        assert abs(share - said) < 4 * math.sqrt(said * (1 - said) / paths)


def test_the_mid_goes_up_as_in_the_constant_model() -> None:
    """With the model's own rates at a spread of three, inside orders too: Proposition 3."""
    queue = SKY_PERFECT.best_queue(3)
    found = state_dependent_mid_up_probability(
        b=2, a=4, birth=(queue.birth, queue.birth), death=(queue.death, queue.death),
        inside=SKY_PERFECT.inside_rate(3),
    )  # fmt: skip
    assert float(SKY_PERFECT.mid_up_probability(b=2, a=4, spread=3)) == pytest.approx(found)


@pytest.mark.parametrize(
    ("b", "a", "n_ahead", "spread"), [(1, 5, 0, 1), (2, 3, 2, 1), (1, 3, 1, 2)]
)
def test_deeper_bids_fill_as_played_out(b: int, a: int, n_ahead: int, spread: int) -> None:
    """A bid one tick deeper: the model's events drawn one by one give the probability."""
    model, rng, paths = SKY_PERFECT, np.random.default_rng(12), 8_000
    theta_deep, filled = model.theta[spread], 0
    for _ in range(paths):
        bids, asks, ahead, at = b, a, n_ahead, spread
        while True:
            best = bids > 0
            rates = np.array([
                model.lambda_[at - 1] if best else 0.0,
                model.mu + bids * model.theta[at - 1] if best else 0.0,
                model.lambda_[at - 1],
                model.mu + asks * model.theta[at - 1],
                ahead * theta_deep + (0.0 if best else model.mu),
                2 * model.inside_rate(at),
            ])  # fmt: skip
            event = int(np.searchsorted(np.cumsum(rates), rng.random() * rates.sum()))
            bids += (event == 0) - (event == 1)
            asks += (event == 2) - (event == 3)
            ahead -= event == 4
            if event == 1 and not bids:
                at += 1
            if event == 5 or not asks or ahead < 0:
                filled += ahead < 0
                break
    said = model.deeper_bid_fill_probability(b=b, a=a, n_ahead=n_ahead, spread=spread)
    assert abs(filled / paths - said) < 4 * math.sqrt(said * (1 - said) / paths)


def test_deeper_is_less_likely_than_at_the_best() -> None:
    """One tick deeper and alone is worse than last at the best, and a place further back worse."""
    best = float(SKY_PERFECT.bid_fill_probability(b=2, a=3))
    deeper = [SKY_PERFECT.deeper_bid_fill_probability(b=1, a=3, n_ahead=n) for n in range(3)]
    assert best > deeper[0] > deeper[1] > deeper[2] > 0


def test_what_cannot_be_is_refused() -> None:
    """Queues of none, rates below 0, a spread beyond the model's distances, too long a time."""
    with pytest.raises(InvalidInput, match="opposite"):
        fill_before_depletion(1.0, stages=[1.0], opposite=0, birth=1.0, death=1.0)
    with pytest.raises(InvalidInput, match="stages"):
        fill_before_depletion(1.0, stages=[-1.0], opposite=1, birth=1.0, death=1.0)
    with pytest.raises(InvalidInput, match="t: "):
        fill_before_depletion(1e9, stages=[1.0], opposite=1, birth=1.0, death=1.0)
    with pytest.raises(InvalidInput, match="spread"):
        SKY_PERFECT.deeper_bid_fill_probability(b=1, a=1, spread=5)


def test_examples_hold() -> None:
    """Every example in the docstrings gives what it shows."""
    module = importlib.import_module("lob.queueing.state_dependent")
    assert doctest.testmod(module).failed == 0
