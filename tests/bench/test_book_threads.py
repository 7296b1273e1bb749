"""Two threads over one, judged where the machine had two processors to give."""

import numpy as np
import pytest

from bench.book_cases import at_once, kinds
from bench.book_threads import Trial, sample_of, threaded
from bench.stream import Touch
from lob.messages import MESSAGE_DTYPE, Action, Array

TOUCH = Touch(99, 1, 101, 1)
SHARED = Trial(1.0, 1.8, 1.9, TOUCH)
"""The processors were one core's: neither two processes nor two threads came to twice as much."""
WHOLE = Trial(1.0, 1.0, 1.05, TOUCH)


def test_two_threads_are_held_against_two_processes() -> None:
    """A core that the machine has not got is no fault of theirs; what else they lose is."""
    figures = SHARED.figures()
    assert figures["two_threads_over_one"] == pytest.approx(2 / 1.9)
    assert figures["two_processes_over_one"] == pytest.approx(2 / 1.8)
    assert figures["two_threads_over_one_of_two"] == pytest.approx(2 * 1.8 / 1.9)
    assert WHOLE.figures()["two_threads_over_one_of_two"] == pytest.approx(2 / 1.05)
    assert {"two_threads_over_one"} == set(WHOLE._replace(two_processes=None).figures())


def test_figures_are_medians_of_trials() -> None:
    """One that somebody else disturbed is not in them."""
    disturbed = WHOLE._replace(two_threads=9.0)
    figures = sample_of([disturbed, WHOLE, WHOLE], 1_000).figures
    assert figures == {
        "messages_per_second": pytest.approx(2_000 / 1.05),
        "two_threads_over_one": pytest.approx(2 / 1.05),
        "two_processes_over_one": 2.0,
        "two_threads_over_one_of_two": pytest.approx(2 / 1.05),
    }


def test_a_round_replays_on_threads_and_in_processes() -> None:
    """The processes are real, and so is what the threads' books come to."""
    messages: Array = np.zeros(400, MESSAGE_DTYPE)
    messages["order_id"] = np.arange(1, 401)
    messages["side"] = np.where(np.arange(400) % 2, 1, -1)
    messages["price_ticks"] = np.where(messages["side"] > 0, 99, 101)
    messages["quantity_lots"] = 1
    messages["action"] = Action.FEED_ADD
    sample = threaded(kinds()[0], messages, 100, 300)(at_once)
    assert sample.touch == Touch(99, 200, 101, 200)
    assert all(figure > 0 for figure in sample.figures.values())
    assert sample.figures["two_threads_over_one_of_two"]
