"""Each rule for a cancel gives what its formula says, and none leaves the queue."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.queue_estimators import (
    DEFAULT,
    FAMILIES,
    InferredQueue,
    LogQueue,
    LogQueue2,
    OptimisticQueue,
    PowerQueue,
    PowerQueue2,
    PowerQueue3,
    QueueEstimator,
    RiskAverseQueue,
)

FRONT, BACK, GONE = 30.0, 10.0, 4.0


def after_cancel(queue: QueueEstimator) -> float:
    """Return what is ahead of 30 lots, with 10 behind, once 4 have gone."""
    queue.on_depth(FRONT, FRONT + BACK)
    queue.on_depth(FRONT + BACK, FRONT + BACK - GONE)
    return queue.ahead


@pytest.mark.parametrize(
    ("queue", "behind"),
    [
        (RiskAverseQueue(FRONT), 1.0),
        (OptimisticQueue(FRONT), 0.0),
        (PowerQueue(FRONT), BACK / (FRONT + BACK)),
        (PowerQueue(FRONT, power=2), BACK**2 / (FRONT**2 + BACK**2)),
        (PowerQueue2(FRONT, power=2), BACK**2 / (FRONT + BACK) ** 2),
        (PowerQueue3(FRONT, power=2), 1 - (FRONT / (FRONT + BACK)) ** 2),
        (LogQueue(FRONT), math.log(11) / (math.log(31) + math.log(11))),
        (LogQueue2(FRONT), math.log(11) / math.log(41)),
    ],
)
def test_a_cancel_is_shared_out_by_the_formula(queue: QueueEstimator, behind: float) -> None:
    """Of 4 lots that go, the share `behind` does not move the order."""
    assert after_cancel(queue) == pytest.approx(FRONT - GONE * (1 - behind), abs=1e-12)


def test_the_three_variants_are_one_to_the_first_power() -> None:
    """In proportion to the lots, however it is written."""
    found = {after_cancel(kind(FRONT)) for kind in (PowerQueue, PowerQueue2, PowerQueue3)}
    assert max(found) - min(found) < 1e-12


@pytest.mark.parametrize("name", FAMILIES)
def test_what_the_back_does_not_have_comes_from_the_front(name: str) -> None:
    """With nobody behind, every cancel was ahead."""
    queue = FAMILIES[name].make(10.0, ())
    queue.on_depth(10, 4)
    assert queue.ahead == 4


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trade_takes_from_the_front_and_is_not_taken_off_twice(name: str) -> None:
    """The depth that follows a trade says nothing new."""
    queue = FAMILIES[name].make(10.0, ())
    queue.on_depth(10, 15)
    queue.on_trade(4)
    assert queue.ahead == 6
    queue.on_depth(15, 11)
    assert (queue.ahead, queue.filled) == (6, False)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trade_beyond_the_front_fills(name: str) -> None:
    """Not the last lot before the order, but the next one."""
    exact, beyond = FAMILIES[name].make(10.0, ()), FAMILIES[name].make(10.0, ())
    exact.on_trade(10)
    beyond.on_trade(11)
    assert (exact.filled, beyond.filled) == (False, True)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_market_that_went_through_the_price_fills(name: str) -> None:
    """Whatever stood before the order."""
    queue = FAMILIES[name].make(10.0, ())
    queue.on_through()
    assert (queue.filled, queue.ahead) == (True, 0)


@pytest.mark.parametrize("name", FAMILIES)
@given(
    ahead=st.integers(0, 1_000),
    steps=st.lists(st.tuples(st.sampled_from("acdt"), st.integers(1, 500)), max_size=30),
)
def test_the_estimate_is_within_what_is_displayed(
    name: str, ahead: int, steps: list[tuple[str, int]]
) -> None:
    """Between nothing and the level, and between the two extremes, whatever happens."""
    ours, worst = FAMILIES[name].make(float(ahead), ()), RiskAverseQueue(ahead)
    best = OptimisticQueue(ahead)
    lots, before = ahead, float(ahead)
    for what, size in steps:
        taken = min(size, lots)
        new = lots + size if what == "a" else lots - taken
        for queue in (ours, worst, best):
            if what == "t":
                queue.on_trade(taken)
            queue.on_depth(lots, new)
        lots = new
        assert 0 <= ours.ahead <= lots + 1e-9
        assert ours.ahead <= before + 1e-9
        assert best.ahead - 1e-6 <= ours.ahead <= worst.ahead + 1e-6
        before = ours.ahead


def test_arguments_out_of_range_are_refused() -> None:
    """A power of 0 is no rule, and a queue is no less than empty."""
    with pytest.raises(InvalidInput, match="power"):
        PowerQueue(1.0, power=0)
    with pytest.raises(InvalidInput, match="ahead"):
        LogQueue(-1.0)


def test_our_estimator_is_the_default() -> None:
    """And the only one that makes use of sizes."""
    assert isinstance(FAMILIES[DEFAULT].make(1.0, ()), InferredQueue)
    assert [name for name, family in FAMILIES.items() if family.sizes] == [DEFAULT]
