"""The simulated maker of Avellaneda and Stoikov earns what their Table 1 prints."""

import math

import pytest

from lob.errors import InvalidInput
from lob.market_making import optimal_spread, simulate_quoting


@pytest.mark.parametrize(
    ("symmetric", "profit", "deviation", "held"), [(False, 65.0, 6.6, 2.9), (True, 68.4, 12.7, 8.4)]
)
def test_table_1(symmetric: bool, profit: float, deviation: float, held: float) -> None:
    """Each column within four standard errors of 1,000 paths, as many as the paper took."""
    found = simulate_quoting(gamma=0.1, seed=11, symmetric=symmetric, paths=4_000)
    assert 1.49 == round(found.spread, 2)
    assert abs(found.profit - profit) < 4 * deviation / math.sqrt(1_000) + 0.05
    assert abs(found.profit_sd - deviation) < 4 * deviation / math.sqrt(2_000) + 0.05
    assert abs(found.final_q_sd - held) < 4 * held / math.sqrt(2_000) + 0.05


def test_the_same_seed_gives_the_same() -> None:
    """Draws come from the seed alone."""
    first = simulate_quoting(gamma=0.1, seed=3, paths=50)
    assert first == simulate_quoting(gamma=0.1, seed=3, paths=50)
    assert first != simulate_quoting(gamma=0.1, seed=4, paths=50)


def test_a_still_mid_earns_the_half_spread_of_every_hit() -> None:
    """Without volatility both makers quote the same, and each hit earns half the spread."""
    terms = {"gamma": 0.1, "seed": 5, "sigma": 0.0, "paths": 2_000}
    one, other = (simulate_quoting(symmetric=flag, **terms) for flag in (False, True))  # type: ignore[arg-type]
    half = float(optimal_spread(0.1, 0.0, 1.0, 1.5)) / 2
    expected = 2 * 140.0 * math.exp(-1.5 * half) * half

    assert one.profit == pytest.approx(other.profit)
    assert expected == pytest.approx(one.profit, rel=0.02)


def test_without_risk_aversion_both_makers_are_the_same() -> None:
    """At gamma 0 the inventory moves no quote: the reservation price is the mid."""
    one, other = (simulate_quoting(gamma=0.0, seed=6, paths=50, symmetric=s) for s in (False, True))

    assert one == other


@pytest.mark.parametrize(
    ("name", "value"),
    [("gamma", -0.1), ("dt", 0.0), ("dt", 0.1), ("T", -1.0), ("paths", 0), ("sigma", -1.0)],
)
def test_what_is_out_of_range_is_refused(name: str, value: float) -> None:
    """Each argument out of its range is refused by its name."""
    with pytest.raises(InvalidInput, match=rf"^{name}: "):
        simulate_quoting(**{"gamma": 0.1, "seed": 1, name: value})  # type: ignore[arg-type]
