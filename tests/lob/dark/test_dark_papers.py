"""Splits over dark pools against every other split, and what pools that are seen in part teach."""

# ruff: noqa: N806 - the names are the papers'

import doctest
import itertools

import numpy as np
import pytest

from lob.dark import (
    LagrangianSplit,
    continuous_split,
    dark_split_value,
    greedy_allocation,
    kaplan_meier_tail,
    optimal_dark_split,
    project_to_simplex,
    tail_from_probabilities,
)
from lob.errors import InvalidInput
from lob.fill_probability import kaplan_meier


def test_the_greedy_split_against_every_split_played_out() -> None:
    """Ganchev and others, Theorem 1: expected fills summed over all the pools' hidden volumes."""
    rng = np.random.default_rng(6)
    for _ in range(20):
        laws = [rng.dirichlet(np.ones(6)) for _ in range(3)]
        volume = int(rng.integers(1, 9))
        best = greedy_allocation([tail_from_probabilities(law) for law in laws], volume)

        def fills(split: tuple[int, ...], laws: list[np.ndarray] = laws) -> float:
            return sum(
                float(chance) * min(units, hidden)
                for units, law in zip(split, laws, strict=True)
                for hidden, chance in enumerate(law)
            )

        every = [
            split
            for split in itertools.product(range(volume + 1), repeat=3)
            if sum(split) == volume
        ]
        assert max(map(fills, every)) == pytest.approx(best.expected_fill)
        assert fills(best.allocation) == pytest.approx(best.expected_fill)


def test_tails_from_censored_fills_are_kaplan_and_meiers() -> None:
    """A whole fill of v is a censored volume of v: P(volume >= s) of the survival curve."""
    rng = np.random.default_rng(2)
    hidden, sent = rng.geometric(0.2, 300) - 1, rng.integers(1, 12, 300)
    filled = np.minimum(hidden, sent)
    # A whole fill of v says v or more, which is more than v - 1.
    curve = kaplan_meier(np.where(filled < sent, filled, sent - 1), filled < sent)

    tail = kaplan_meier_tail(sent, filled, 11)
    assert curve.tail_at_least(np.arange(1, 12)) == pytest.approx(tail)


def test_the_best_shares_against_a_grid_of_shares() -> None:
    """Laruelle, Lehalle and Pages: no split in steps of a fiftieth delivers more than ours."""
    rng = np.random.default_rng(9)
    V = rng.uniform(50, 150, 40)
    D = rng.exponential([30, 60, 20], (40, 3))
    rho = [0.9, 0.6, 1.0]
    best = optimal_dark_split(V, D, rho)
    steps = [
        (a / 50, b / 50, 1 - (a + b) / 50) for a in range(51) for b in range(51) if a + b <= 50
    ]
    every = max(dark_split_value(np.maximum(r, 0), V, D, rho) for r in steps)

    assert 1.0 == pytest.approx(sum(best.r))
    assert every <= best.Phi <= every * 1.01
    # At the optimum the slopes of all pools used are alike, up to the sample's own steps.
    slopes = [
        (
            dark_split_value(np.add(best.r, e), V, D, rho),
            dark_split_value(np.maximum(np.subtract(best.r, e), 0), V, D, rho),
        )
        for e in np.eye(3) * 1e-6
    ]
    up = max(after - best.Phi for after, _ in slopes)
    down = min(best.Phi - before for _, before in slopes)
    assert up <= down + 1e-9


def test_the_algorithm_learns_the_best_shares() -> None:
    """After 6,000 orders it delivers within two per cent of the split that knew."""
    rng = np.random.default_rng(3)
    rho = np.array([1.0, 0.8, 0.9])

    def hidden() -> np.ndarray:
        return np.asarray(rng.gamma(2.0, [15.0, 35.0, 10.0]))

    split = LagrangianSplit(rho, gain=0.02, power=0.75)
    for _ in range(6_000):
        sent = np.array(split.r) * 100.0
        split.observe(100.0, np.minimum(sent, hidden()).tolist())
    V, D = np.full(4_000, 100.0), np.array([hidden() for _ in range(4_000)])
    best = optimal_dark_split(V, D, rho)

    assert best.Phi * 0.98 < dark_split_value(split.r, V, D, rho) <= best.Phi
    assert dark_split_value([1 / 3] * 3, V, D, rho) < best.Phi * 0.98


def test_the_nearest_shares() -> None:
    """What is no split comes to the nearest one: tried against many others."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        given = rng.normal(0, 1, 4)
        near = project_to_simplex(given)
        others = rng.dirichlet(np.ones(4), 400)

        assert 1.0 == pytest.approx(near.sum())
        assert near.min() >= 0
        assert np.sum((near - given) ** 2) <= np.sum((others - given) ** 2, axis=1).min() + 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimal_dark_split([1.0], [[1.0]], [1.0, 1.0]), "D: 1x1; allowed: 1x2"),
        (
            lambda: optimal_dark_split([0.0], [[1.0]], [1.0]),
            "V: 0.0; allowed: finite numbers",
        ),
        (lambda: dark_split_value([1.0], [1.0], [[1.0, 2.0]], [1.0, 1.0]), "r: 1 pools; allowed"),
        (lambda: LagrangianSplit([1.0], gain=1.0, power=0.5), "power: 0.5; allowed: above 0.5"),
        (lambda: LagrangianSplit([1.0], gain=1.0).observe(1.0, [1, 2]), "filled: 2 pools; allowed"),
    ],
)
def test_mistakes_are_one_line(call: object, message: str) -> None:
    """Each refusal names the argument, its value and what is allowed."""
    assert callable(call)
    with pytest.raises(InvalidInput) as refused:
        call()
    assert str(refused.value).startswith(message)


def test_examples() -> None:
    """The docstrings' examples hold."""
    assert 0 == doctest.testmod(continuous_split).failed
