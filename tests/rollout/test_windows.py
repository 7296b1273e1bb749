"""Windows of counts: exact at every edge, bounded, the same however split and merged."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from touchstone.rollout.windows import (
    Window,
    WindowSpec,
    merge,
    over,
    quantile_edge,
    totals_of,
)

SPEC = WindowSpec((1.0, 5.0, 10.0), 2.0, 5)
observations = st.lists(
    st.tuples(st.floats(-20, 20, allow_nan=False), st.floats(0, 30, allow_nan=False)), max_size=60
)


def filled(values: list[tuple[float, float]]) -> Window:
    """Return a window that has seen these (value, at)."""
    window = Window(SPEC)
    for value, at in values:
        window.observe(value, at)
    return window


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(-1e9, 0), (1.0, 0), (1.0000001, 1), (5.0, 1), (10.0, 2), (10.1, 3), (math.inf, 3)],
)
def test_an_edge_belongs_to_the_bucket_below(value: float, bucket: int) -> None:
    """A value on the limit is not above it."""
    assert SPEC.bucket(value) == bucket


def test_what_is_no_number_is_over_every_limit() -> None:
    """A defect never counts as good."""
    assert SPEC.bucket(math.nan) == 3


def test_the_window_slides_by_slots() -> None:
    """What was seen in slot 0 counts until slot 4 and no longer."""
    window = filled([(7.0, 0.0), (7.0, 1.9), (20.0, 9.9)])
    assert window.totals(9.99) == (0, 0, 2, 1)
    assert window.totals(10.0) == (0, 0, 0, 1)
    assert window.totals(19.9) == (0, 0, 0, 0)
    assert window.totals(-1.0) == (0, 0, 0, 0)
    assert SPEC.window_seconds == 10.0


def test_a_clock_that_is_set_back_does_not_blind_the_window() -> None:
    """An hour back: what was counted is gone, what comes is counted; a second back: nothing is."""
    window = filled([(7.0, 3_600.0)] * 3 + [(7.0, 0.0)])
    assert window.totals(0.0) == (0, 0, 1, 0)
    window = filled([(7.0, 100.0), (7.0, 99.0)])
    assert window.totals(101.0) == (0, 0, 2, 0)


@given(observations, st.integers(0, 5), st.floats(0, 30))
def test_splitting_and_merging_changes_nothing(
    values: list[tuple[float, float]], parts: int, now: float
) -> None:
    """Several processes' counts added give what one process that saw all would have."""
    values = sorted(values, key=lambda pair: pair[1])
    now = max([now, *(at for _, at in values)])
    split = [filled(values[i :: parts + 1]) for i in range(parts + 1)]
    merged = merge(window.to_counts() for window in split)
    assert totals_of(SPEC, merged, now) == filled(values).totals(now)


@given(observations)
def test_memory_is_bounded(values: list[tuple[float, float]]) -> None:
    """However the times jump, no more slots are held than the window has."""
    window = filled(values)
    assert len({name.split(":")[0] for name in window.to_counts()}) <= SPEC.slots


@given(observations)
def test_the_count_above_a_limit_is_exact(values: list[tuple[float, float]]) -> None:
    """No interpolation: the values themselves would give the same."""
    totals = filled([(value, 1.0) for value, _ in values]).totals(1.0)
    for limit in SPEC.edges:
        assert over(SPEC, totals, limit) == sum(value > limit for value, _ in values)


def test_a_limit_that_is_no_edge_is_refused() -> None:
    """Nobody could know how many were above it."""
    with pytest.raises(InvalidInput, match="limit: 7"):
        over(SPEC, (0, 0, 0, 0), 7.0)


def test_a_quantile_is_the_edge_that_holds_it() -> None:
    """95 of 100 at most 5: the 95th percentile is at most 5; one more above, at most 10."""
    assert quantile_edge(SPEC, (50, 45, 5, 0), 0.95) == 5.0
    assert quantile_edge(SPEC, (50, 44, 6, 0), 0.95) == 10.0
    assert quantile_edge(SPEC, (50, 40, 4, 6), 0.95) == math.inf
    assert quantile_edge(SPEC, (0, 0, 0, 0), 0.95) is None


@pytest.mark.parametrize("counts", [{"1:4": 1}, {"1:-1": 1}, {"x:1": 1}, {"1": 1}, {"1:1": -1}])
def test_foreign_counts_are_refused(counts: dict[str, int]) -> None:
    """What another process wrote is checked before it is believed."""
    with pytest.raises(InvalidInput, match="counts"):
        totals_of(SPEC, counts, 2.0)


@pytest.mark.parametrize(
    ("edges", "seconds", "slots"),
    [
        ((), 1.0, 1),
        ((2.0, 1.0), 1.0, 1),
        ((1.0,), 0.0, 1),
        ((1.0,), math.inf, 1),
        ((1.0,), 1.0, 0),
        ((1.0,), 1.0, 10_001),
    ],
)
def test_a_wrong_window_is_refused(edges: tuple[float, ...], seconds: float, slots: int) -> None:
    """Edges rise, slots have a length and a bound."""
    with pytest.raises(InvalidInput, match="allowed"):
        WindowSpec(edges, seconds, slots)
