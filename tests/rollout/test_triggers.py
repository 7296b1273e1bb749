"""The hard triggers: each at its limit, each with its minimum, each once."""

import random
from collections.abc import Callable

import pytest

from touchstone.rollout.triggers import (
    TRIGGERS,
    Measure,
    Trigger,
    TriggerBoard,
    Trip,
    read,
    reading_to_json,
)

START = 1_800_000_000.0
Feed = Callable[[TriggerBoard, float, bool], Trip | None]


def named(name: str) -> Trigger:
    """Return the trigger of this name."""
    return next(trigger for trigger in TRIGGERS if trigger.name == name)


def totals(trigger: Trigger, samples: int, above: int) -> tuple[int, ...]:
    """Return counts with this many values at the limit and above it."""
    counts = [0] * trigger.window.buckets
    place = trigger.window.edges.index(trigger.limit)
    counts[place], counts[place + 1] = samples - above, above
    return tuple(counts)


@pytest.mark.parametrize(
    ("name", "samples", "most"),
    [
        ("error_rate", 1_000, 10),
        ("slippage_p95", 1_000, 50),
        ("latency_p95", 1_000, 50),
        ("error_storm", 20, 10),
        ("critical_exception", 1, 0),
    ],
)
def test_a_trigger_trips_above_its_share_and_not_at_it(name: str, samples: int, most: int) -> None:
    """Exactly the tolerated share is tolerated; one more is not."""
    trigger = named(name)
    assert not read(trigger, totals(trigger, samples, most)).tripped
    assert read(trigger, totals(trigger, samples, most + 1)).tripped


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.name)
def test_a_trigger_wants_its_minimum(trigger: Trigger) -> None:
    """One observation fewer trips nothing, however bad; no observation at all neither."""
    fewer = trigger.minimum - 1
    assert not read(trigger, totals(trigger, fewer, fewer)).tripped
    assert read(trigger, totals(trigger, trigger.minimum, trigger.minimum)).tripped


def test_the_triggers_are_the_guides() -> None:
    """1 % over 5 minutes, p95 of 10 bps over 10, p95 of 10 ms over 5, any critical exception."""
    found = {t.name: (t.measure, t.window.window_seconds, t.limit, t.share_max) for t in TRIGGERS}
    assert found["error_rate"] == (Measure.ERROR, 300.0, 0.5, 0.01)
    assert found["slippage_p95"] == (Measure.SLIPPAGE_BPS, 600.0, 10.0, 0.05)
    assert found["latency_p95"] == (Measure.LATENCY_SECONDS, 300.0, 0.01, 0.05)
    assert found["critical_exception"][3] == 0.0
    assert found["error_storm"][1] == 1.0
    assert all(trigger.limit in trigger.window.edges for trigger in TRIGGERS)


def feed_errors(board: TriggerBoard, at: float, bad: bool) -> Trip | None:
    """Count an execution that failed, or not."""
    return board.observe(at, seconds=0.001, error=bad)


def feed_slow(board: TriggerBoard, at: float, bad: bool) -> Trip | None:
    """Count an execution that was slow, or not."""
    return board.observe(at, seconds=0.02 if bad else 0.01)


def feed_costly(board: TriggerBoard, at: float, bad: bool) -> Trip | None:
    """Count an execution that was dear, or not."""
    return board.observe(at, seconds=0.001, slippage_bps=10.5 if bad else 10.0)


@pytest.mark.parametrize(
    ("feed", "share", "expected"),
    [
        (feed_errors, 0.03, "error_rate"),
        (feed_slow, 0.08, "latency_p95"),
        (feed_costly, 0.08, "slippage_p95"),
    ],
)
def test_bad_traffic_trips_within_its_window_and_once(
    feed: Feed, share: float, expected: str
) -> None:
    """Ten a second with too many bad ones trip their trigger within the window, one time."""
    rng = random.Random(5)
    board, trips = TriggerBoard(), []
    for i in range(3_000):
        at = START + i / 10
        trips += [t for t in (feed(board, at, rng.random() < share), board.evaluate(at)) if t]
    assert [trip.reading.trigger.name for trip in trips] == [expected]
    assert trips[0].at - START <= named(expected).window.window_seconds
    assert board.trip is trips[0]
    assert expected in trips[0].reason


def test_an_error_storm_trips_within_a_second() -> None:
    """At 100 a second, all failing, the twentieth error is the last one let through."""
    board = TriggerBoard()
    trip = None
    for i in range(100):
        trip = board.observe(START + i / 100, seconds=0.001, error=True)
        if trip:
            break
    assert trip is not None
    assert trip.reading.trigger.name == "error_storm"
    assert trip.at - START < 0.25


def test_a_critical_exception_trips_at_once() -> None:
    """The first one, whatever went well before."""
    board = TriggerBoard()
    for i in range(50):
        assert board.observe(START + i, seconds=0.001) is None
    trip = board.observe(START + 50, seconds=0.001, critical=True)
    assert trip is not None
    assert trip.reading.trigger.name == "critical_exception"


def test_healthy_traffic_never_trips() -> None:
    """Twenty minutes at 50 a second with 0.1 % errors, 2 % slow and 2 % dear."""
    rng = random.Random(11)
    board = TriggerBoard()
    for i in range(60_000):
        at = START + i / 50
        board.observe(
            at,
            seconds=0.02 if rng.random() < 0.02 else 0.001,
            slippage_bps=15.0 if rng.random() < 0.02 else rng.gauss(1.0, 3.0),
            error=rng.random() < 0.001,
        )
        if i % 50 == 0:
            board.evaluate(at)
    assert board.trip is None


def test_replicas_trip_together_where_none_would_alone() -> None:
    """Three routers with 50 executions each have no minimum alone, and 150 together."""
    boards = [TriggerBoard() for _ in range(3)]
    for i in range(150):
        boards[i % 3].observe(START + i / 50, seconds=0.02)
    now = START + 3.0
    assert [boards[i].evaluate(now) for i in range(2)] == [None, None]
    trip = boards[2].evaluate(now, [board.to_counts() for board in boards[:2]])
    assert trip is not None
    assert trip.reading.samples == 150


def test_a_latch_opens_by_a_rearm_only_and_forgets() -> None:
    """After it, what led to the trip does not trip again; something new does."""
    board = TriggerBoard()
    assert board.observe(START, seconds=0.001, critical=True)
    assert board.observe(START, seconds=0.001, critical=True) is None
    assert board.evaluate(START + 10_000) is None
    assert board.trip is not None
    board.rearm()
    assert board.evaluate(START) is None
    assert board.readings(START)[0].samples == 0
    assert board.observe(START + 1, seconds=0.001, critical=True)


def test_readings_are_json_with_value_and_limit() -> None:
    """What the API shows: how many, how many too many, and the quantile as an edge."""
    board = TriggerBoard()
    for i in range(10):
        board.observe(START, seconds=5.0 if i else 0.001, slippage_bps=1.0)
    rows = {row["trigger"]: row for row in map(reading_to_json, board.readings(START))}
    assert rows["latency_p95"]["quantile_at_most"] == "inf"
    assert rows["slippage_p95"]["quantile_at_most"] == 1.0
    assert (rows["latency_p95"]["samples"], rows["latency_p95"]["over"]) == (10, 9)
    assert rows["error_rate"]["quantile_at_most"] is None
    assert rows["critical_exception"]["share"] == 0.0


def test_answers_counted_together_are_counted_as_one_by_one() -> None:
    """A batch's windows are those that its orders would have left, without a trip."""
    together, apart = TriggerBoard(), TriggerBoard()
    slippages = (-60.0, 0.0, 3.5, 10.0, 10.1, 400.0)
    for at in (1_000.0, 1_000.2, 1_007.0):
        together.observe_answers(at, seconds=0.02, slippages_bps=slippages, count=8)
        for slippage in (*slippages, None, None):
            assert apart.observe(at, seconds=0.02, slippage_bps=slippage) is None
    assert apart.to_counts() == together.to_counts()
    assert apart.readings(1_008.0) == together.readings(1_008.0)
