"""Two threads over one, judged where the machine had two processors to give."""

import numpy as np
import pytest

from bench.book_cases import kinds
from bench.book_threads import TRIALS, TRIALS_MAX, Trial, sample_of, threaded
from bench.stream import Touch
from lob.messages import MESSAGE_DTYPE, Action, Array

TOUCH = Touch(99, 1, 101, 1)
SHARED = Trial(1.0, 1.8, 1.0, 1.9, TOUCH)
"""The processors of this one were one core's: two processes came to 1.11."""
WHOLE = Trial(1.0, 1.0, 1.0, 1.05, TOUCH)


def test_trials_count_where_two_processes_had_two_processors() -> None:
    """The others are not in the figures, and how many there were is told."""
    other = WHOLE._replace(two_threads=1.1, one_before_threads=1.2)
    figures = sample_of([SHARED, WHOLE, SHARED, other, WHOLE], 1_000).figures
    assert figures == {
        "messages_per_second": pytest.approx(2_000 / 1.05),
        "two_threads_over_one": pytest.approx(2 / 1.05),
        "two_processes_over_one": 2.0,
        "trials": 5,
        "trials_counted": 3,
    }


def test_where_no_trial_counts_all_are_in_the_figures() -> None:
    """A machine with one core has a figure too: a bad one, beside that of two processes."""
    figures = sample_of([SHARED, SHARED], 1_000).figures
    assert figures["two_threads_over_one"] == pytest.approx(2 / 1.9)
    assert figures["two_processes_over_one"] == pytest.approx(2 / 1.8)
    assert (2, 0) == (figures["trials"], figures["trials_counted"])


def test_a_slow_single_one_before_the_processes_does_not_flatter_the_threads() -> None:
    """Each pair is over the single one before it."""
    slow = SHARED._replace(one_before_processes=1.8)
    assert slow.counts
    assert slow.threads_over_one == SHARED.threads_over_one


def test_a_round_ends_with_so_many_that_count_or_so_many_in_all() -> None:
    """The processes are real, and so is what the threads' books come to."""
    messages: Array = np.zeros(400, MESSAGE_DTYPE)
    messages["order_id"] = np.arange(1, 401)
    messages["side"] = np.where(np.arange(400) % 2, 1, -1)
    messages["price_ticks"] = np.where(messages["side"] > 0, 99, 101)
    messages["quantity_lots"] = 1
    messages["action"] = Action.FEED_ADD
    sample = threaded(kinds()[0], messages, 100, 300)()
    trials, counted = sample.figures["trials"], sample.figures["trials_counted"]
    assert counted == TRIALS or trials == TRIALS_MAX
    assert sample.touch == Touch(99, 200, 101, 200)
    assert sample.figures["two_threads_over_one"] > 0
