"""Level-only data say what is displayed before and after, and nothing of the orders."""

from lob import Action
from lob.queue_estimators import LevelChange, LevelView
from lob.types import Side


def test_each_message_is_a_change_of_its_price() -> None:
    """Lots come, trade and go; only what trades is marked."""
    view = LevelView()
    told = [
        view.step(Action.FEED_ADD, 1, 1, 100, 5),
        view.step(Action.FEED_ADD, 2, 1, 100, 3),
        view.step(Action.FEED_EXECUTE, 1, 0, 0, 2),
        view.step(Action.FEED_REDUCE, 1, 0, 0, 1),
        view.step(Action.FEED_DELETE, 2, 0, 0, 0),
        view.step(Action.FEED_MODIFY, 1, 0, 100, 1),
    ]
    rows = [(0, 5, 0), (5, 8, 0), (8, 6, 2), (6, 5, 0), (5, 2, 0), (2, 1, 0)]
    assert told == [(LevelChange(Side.BUY, 100, *row),) for row in rows]


def test_a_moved_order_is_two_changes() -> None:
    """It leaves one price and comes to another; at the same price it goes to the tail."""
    view = LevelView()
    view.step(Action.FEED_ADD, 1, -1, 100, 5)
    assert view.step(Action.FEED_MODIFY, 1, 0, 101, 4) == (
        LevelChange(Side.SELL, 100, 5, 0, 0),
        LevelChange(Side.SELL, 101, 0, 4, 0),
    )
    assert [change[2:4] for change in view.step(Action.FEED_MODIFY, 1, 0, 101, 9)] == [
        (4, 0),
        (0, 9),
    ]


def test_a_cleared_book_displays_nothing() -> None:
    """Every price goes to 0, and unknown or repeated orders change nothing."""
    view = LevelView()
    view.step(Action.FEED_ADD, 1, 1, 100, 5)
    assert view.step(Action.FEED_ADD, 1, 1, 100, 5) == ()
    assert view.step(Action.FEED_DELETE, 9, 0, 0, 0) == ()
    assert view.step(Action.FEED_CLEAR, 0, 0, 0, 0) == (LevelChange(Side.BUY, 100, 5, 0, 0),)
    assert view.step(Action.FEED_DELETE, 1, 0, 0, 0) == ()
