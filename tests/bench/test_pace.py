"""Turns begin where the machine is at its best pace, as far as patience goes."""

from collections.abc import Iterator

import pytest

from bench.pace import TURN_SECONDS_MAX, WINDOW, Pace, loop_seconds


def windows(*seconds: float) -> Iterator[float]:
    """Yield each loop's time a window long, the last one for ever."""
    for each in seconds:
        for _ in range(WINDOW):
            yield each
    while True:
        yield seconds[-1]


def test_a_turn_begins_when_the_pace_is_near_the_best() -> None:
    """The best is what was seen, not what a machine should have."""
    times = windows(0.002, 0.004, 0.004, 0.0021, 0.004)
    pace = Pace(60.0, times.__next__)
    pace.wait()
    assert 0.0 == pace.document()["waited_seconds"]
    pace.wait()
    assert pace.document() == {
        "patience_seconds": 60.0,
        "waited_seconds": pytest.approx(2 * WINDOW * 0.004, abs=0.05),
        "turns": 2,
        "slow_turns": 0,
    }


def test_a_turn_does_not_wait_for_ever() -> None:
    """It is told which turns began at a slower pace."""
    pace = Pace(60.0, windows(0.002, 0.004).__next__)
    pace.wait()
    pace.wait()
    found = pace.document()
    assert (2, 1) == (found["turns"], found["slow_turns"])
    assert found["waited_seconds"] == pytest.approx(TURN_SECONDS_MAX, abs=0.2)


def test_all_turns_share_one_patience() -> None:
    """When it is over, the others begin at once, and untimed."""
    asked = 0
    times = windows(0.002, 0.004)

    def loop() -> float:
        nonlocal asked
        asked += 1
        return next(times)

    pace = Pace(1.0, loop)
    for _ in range(3):
        pace.wait()
    before = asked
    pace.wait()
    assert before == asked
    assert (4, 3) == (pace.document()["turns"], pace.document()["slow_turns"])


def test_without_patience_nothing_is_timed() -> None:
    """A short test run has nothing to wait for."""
    pace = Pace(0.0, lambda: pytest.fail("timed"))
    pace.wait()
    assert 1 == pace.document()["slow_turns"]


def test_a_loop_takes_time() -> None:
    """The real one is timed by the machine's clock."""
    assert 0 < loop_seconds() < 10
