"""Tallies against prometheus_client's own counters and histograms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from touchstone.kit.tallies import Counts, Distributions

EDGES = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.5)


def exposed(registry: CollectorRegistry) -> list[str]:
    """Return what is exported, without the times at which things were created."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


@pytest.mark.parametrize("edges", [EDGES, (0.001, 0.01, 0.1)])
@given(values=st.lists(st.floats(-3, 3), max_size=30))
def test_a_distribution_exports_what_a_histogram_does(
    edges: tuple[float, ...], values: list[float]
) -> None:
    """Buckets, count and, where no edge is negative, the sum; values on an edge included."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Distributions("took", "Text", ["mode"], ours, edges).labels("live")
    other = Histogram("took", "Text", ["mode"], registry=theirs, buckets=edges).labels("live")
    for value in (*values, *edges):
        mine.observe(value)
        other.observe(value)
    assert exposed(theirs) == exposed(ours)


def test_counts_export_what_counters_and_gauges_do() -> None:
    """With labels and without; a name may end in _total."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    for name in ("orders", "l3_orders_total"):
        mine = Counts(name, "Text", ["side"], ours)
        other = Counter(name, "Text", ["side"], registry=theirs)
        for side, times in (("BUY", 3), ("SELL", 1)):
            mine.labels(side).inc(times)
            other.labels(side).inc(times)
    assert exposed(theirs) == exposed(ours)
    assert 3 == ours.get_sample_value("orders_total", {"side": "BUY"})


def test_a_name_cannot_be_taken_twice() -> None:
    """A registry knows the names of tallies."""
    registry = CollectorRegistry()
    Counts("orders", "Text", [], registry)
    with pytest.raises(ValueError, match="orders"):
        Counter("orders", "Text", registry=registry)


def test_a_child_is_found_again() -> None:
    """The same labels are the same child."""
    family = Counts("orders", "Text", ["side"], CollectorRegistry())
    assert family.labels("BUY") is family.labels("BUY")
