"""Our estimator finds a cancel by its size."""

from lob.queue_estimators import InferredLevel, InferredQueue


def test_a_cancel_of_a_size_that_came_behind_was_behind() -> None:
    """The one order of 7 lots is the one that left."""
    queue = InferredQueue(100)
    queue.on_depth(100, 107)
    queue.on_depth(107, 112)
    queue.on_depth(112, 105)
    assert queue.ahead == 100


def test_a_cancel_of_a_size_that_only_stood_ahead_was_ahead() -> None:
    """The sizes ahead are known from before the order joined."""
    queue = InferredQueue(12, (5, 7))
    queue.on_depth(12, 15)
    queue.on_depth(15, 10)
    assert queue.ahead == 7


def test_a_cancel_of_no_known_size_was_of_unknown_orders() -> None:
    """All that came since has another size."""
    queue = InferredQueue(100)
    queue.on_depth(100, 107)
    queue.on_depth(107, 97)
    assert queue.ahead == 90


def test_of_several_of_a_size_the_last_was_cancelled() -> None:
    """Young orders are cancelled first."""
    queue = InferredQueue(10, (5, 5))
    queue.on_depth(10, 15)
    queue.on_depth(15, 10)
    assert queue.ahead == 10
    queue.on_depth(10, 5)
    assert queue.ahead == 5


def test_trades_take_orders_from_the_front_and_leave_a_rest() -> None:
    """What is left of a traded order has the size that is left."""
    queue = InferredQueue(12, (5, 7))
    queue.on_trade(8)
    queue.on_depth(12, 4)
    queue.on_depth(4, 8)
    assert queue.ahead == 4
    queue.on_depth(8, 4)  # two orders of 4 lots: the last goes
    assert queue.ahead == 4
    queue.on_depth(4, 0)
    assert queue.ahead == 0


def test_a_cancel_that_fits_nothing_is_shared_out() -> None:
    """In proportion to the lots of each: nothing is known of it."""
    queue = InferredQueue(12, (5, 7))
    queue.on_depth(12, 20)
    queue.on_depth(20, 10)
    assert queue.ahead == 6


def test_a_level_that_nobody_saw_begin_has_unknown_lots_in_front() -> None:
    """They trade first, and keep no size."""
    level = InferredLevel(unknown_lots=10)
    level.on_depth(10, 13)
    assert level.known_sizes() == [3]
    level.on_trade(10)
    level.on_depth(13, 3)
    assert (level.sizes, level.known) == ([3], [True])
