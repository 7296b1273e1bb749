"""The confidence sequence: proof and bound agree, mirror each other, and never come too easily."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchstone.rollout.confidence import (
    LagSums,
    Sums,
    correlation,
    inflation,
    lower_bound,
    proven_above,
    proven_below,
    upper_bound,
)

ALPHA, MIXTURE = 0.05, 4.0
values = st.lists(
    st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3)), min_size=25, max_size=80
)


def sums_of(x: list[float], factor: float = 1.0) -> Sums:
    """Return the sums of these observations."""
    return Sums(len(x), math.fsum(x), math.fsum(v * v for v in x), factor)


@given(values, st.floats(1.0, 3.0), st.floats(-5, 5))
def test_a_proof_is_a_bound_beyond_the_threshold(
    x: list[float], factor: float, threshold: float
) -> None:
    """Whether the mean is proven to be above a value is whether the lower bound is above it."""
    sums = sums_of(x, factor)
    low = lower_bound(sums, alpha=ALPHA, mixture=MIXTURE)
    high = upper_bound(sums, alpha=ALPHA, mixture=MIXTURE)
    if abs(low - threshold) > 1e-6:
        proven = proven_above(sums, threshold, alpha=ALPHA, mixture=MIXTURE)
        assert bool(proven) == (low > threshold)
    if abs(high - threshold) > 1e-6:
        proven = proven_below(sums, threshold, alpha=ALPHA, mixture=MIXTURE)
        assert bool(proven) == (high < threshold)
    assert low <= math.fsum(x) / len(x) <= high


@given(values)
def test_bounds_mirror(x: list[float]) -> None:
    """Turning every sign turns the interval."""
    mirrored = sums_of([-v for v in x])
    low = lower_bound(sums_of(x), alpha=ALPHA, mixture=MIXTURE)
    assert low == -upper_bound(mirrored, alpha=ALPHA, mixture=MIXTURE)


@given(values, st.floats(1.0, 5.0))
def test_more_dependence_and_a_smaller_alpha_only_widen(x: list[float], factor: float) -> None:
    """Allowing for more never proves more."""
    plain = lower_bound(sums_of(x), alpha=ALPHA, mixture=MIXTURE)
    assert lower_bound(sums_of(x, factor), alpha=ALPHA, mixture=MIXTURE) <= plain + 1e-9
    assert lower_bound(sums_of(x), alpha=ALPHA / 10, mixture=MIXTURE) <= plain + 1e-9


def test_the_bound_solves_its_equation() -> None:
    """At the bound, deviation squared is 2 y log(1/2 + sqrt(y / mixture) / 2 alpha)."""
    x = [0.1, 0.9, -0.4, 1.2, 0.6] * 20
    n, total, squares, _ = sums_of(x)
    m = lower_bound(sums_of(x), alpha=ALPHA, mixture=MIXTURE)
    y = squares - 2 * m * total + n * m * m + MIXTURE
    penalty = math.log(0.5 + math.sqrt(float(y) / MIXTURE) / (2 * ALPHA))
    assert (total - n * m) ** 2 == pytest.approx(2 * y * penalty, rel=1e-9)


def test_little_data_bounds_nothing() -> None:
    """A handful of equal observations, however far out, proves nothing."""
    for x in ([], [40.0], [40.0] * 5):
        assert lower_bound(sums_of(x), alpha=ALPHA, mixture=MIXTURE) == -math.inf
        assert upper_bound(sums_of(x), alpha=ALPHA, mixture=MIXTURE) == math.inf
        assert not proven_above(sums_of(x), 0.0, alpha=ALPHA, mixture=MIXTURE)


def test_one_outlier_proves_nothing() -> None:
    """The variance grows with the sum: a single huge difference is not evidence of a mean."""
    assert not proven_above(sums_of([0.0] * 100 + [1e6]), 0.0, alpha=ALPHA, mixture=MIXTURE)


def test_a_constant_difference_is_found() -> None:
    """Ninety-nine equal differences of 1 bps prove a mean above 0.6 and below 1.4."""
    sums = sums_of([1.0] * 99)
    assert proven_above(sums, 0.6, alpha=ALPHA, mixture=MIXTURE)
    assert proven_below(sums, 1.4, alpha=ALPHA, mixture=MIXTURE)
    assert not proven_above(sums, 1.0, alpha=ALPHA, mixture=MIXTURE)


def test_arrays_give_what_numbers_give() -> None:
    """The study's arrays and the judge's numbers go through one formula."""
    rows = [[0.3 * i - 2.0 for i in range(30)], [1.0] * 30, [-1.0] * 30]
    sums = [sums_of(row) for row in rows]
    stacked = Sums(*(np.array(column, dtype=float) for column in zip(*sums, strict=True)))
    found = proven_above(stacked, 0.1, alpha=ALPHA, mixture=MIXTURE)
    expected = [bool(proven_above(one, 0.1, alpha=ALPHA, mixture=MIXTURE)) for one in sums]
    assert expected == np.asarray(found).tolist()
    assert expected == [True, True, False]


def test_correlation_of_neighbours() -> None:
    """Alternation is -1 and changes nothing; long runs approach 1 and widen; no spread is 0."""

    def of(x: list[float]) -> float:
        pairs = list(itertools.pairwise(x))
        lags = LagSums(len(pairs), sum(a * b for a, b in pairs), sum(a + b for a, b in pairs))
        n, total, squares, _ = sums_of(x)
        return float(correlation(n, total, squares, lags))

    assert of([1.0, -1.0] * 50) == pytest.approx(-1.0)
    assert of([1.0] * 50 + [-1.0] * 50) == pytest.approx(97 / 99)
    assert of([2.0] * 10) == 0.0
    assert of([2.0]) == 0.0
    assert [float(inflation(r)) for r in (-1.0, 0.0, 0.5, 1.0)] == pytest.approx([1, 1, 3, 39])
