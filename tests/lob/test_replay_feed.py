"""Any feed is rebuilt block by block, and what does not fit has its position."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action, Flag, OrderBook
from lob.errors import InvalidInput
from lob.feeds.arrays import TapeFeed
from lob.feeds.base import FeedBlock, Gap
from lob.messages import Applied, Array
from lob.replay import MAX_REPORTED, FeedReplay
from lob.types import Level
from tests.lob.feeds.tapes import SHARE

ADD, DELETE, EXECUTE = Action.FEED_ADD, Action.FEED_DELETE, Action.FEED_EXECUTE


def messages_of(*rows: tuple[Action, int, int, int, int], flags: int = 0) -> Array:
    """Return messages of (action, id, side, price, lots)."""
    tape = np.zeros(len(rows), MESSAGE_DTYPE)
    for index, (action, order_id, side, price, lots) in enumerate(rows):
        tape[index] = (index, order_id, price, lots, 0, action, side, 0, flags)
    return tape


def replay_of(messages: Array, block_rows: int = 2, **options: Any) -> FeedReplay:
    """Return a replay that has run."""
    replay = FeedReplay(TapeFeed(messages, SHARE, block_rows=block_rows), **options)
    replay.run()
    return replay


def test_a_book_is_rebuilt_and_counted() -> None:
    """Messages by action, trades, and the book as it ends."""
    replay = replay_of(
        messages_of(
            (ADD, 1, 1, 100, 5), (ADD, 2, -1, 102, 7), (EXECUTE, 2, 0, 0, 3), (DELETE, 1, 0, 0, 0)
        )
    )
    summary = replay.summary

    assert {"FEED_ADD": 2, "FEED_EXECUTE": 1, "FEED_DELETE": 1} == dict(summary.by_action)
    assert (4, 4, 1, 0) == (summary.records, summary.messages, summary.trades, len(summary.refused))
    assert replay.book.best_ask() == Level(102, 4, 1)
    assert replay.book.best_bid() is None


@pytest.mark.parametrize("block_rows", [1, 3, 100])
def test_what_the_book_refuses_is_counted_with_positions(block_rows: int) -> None:
    """Reasons, counts and first positions do not depend on how the feed is cut."""
    rows: list[tuple[Action, int, int, int, int]] = [(ADD, 1, 1, 100, 5)]
    rows += [(ADD, 1, 1, 100, 5), (DELETE, 9, 0, 0, 0), (EXECUTE, 1, 0, 0, 6)]
    rows += [(DELETE, 9, 0, 0, 0)] * (MAX_REPORTED + 5)

    summary = replay_of(messages_of(*rows), block_rows).summary

    assert {
        "DUPLICATE_ORDER_ID": 1,
        "UNKNOWN_ORDER": MAX_REPORTED + 6,
        "MORE_THAN_LEAVES": 1,
    } == dict(summary.refused)
    assert [2] == summary.first_refused["DUPLICATE_ORDER_ID"]
    assert [3, *range(5, MAX_REPORTED + 4)] == summary.first_refused["UNKNOWN_ORDER"]


CROSSING = (
    (ADD, 1, 1, 100, 5),
    (ADD, 2, -1, 99, 5),
    (ADD, 3, 1, 98, 5),
    (DELETE, 2, 0, 0, 0),
    (ADD, 4, -1, 100, 5),
    (DELETE, 4, 0, 0, 0),
)


@pytest.mark.parametrize("block_rows", [1, 2, 3, 100])
def test_crossed_books_have_positions(block_rows: int) -> None:
    """Moments and stretches are counted alike however the feed is cut."""
    summary = replay_of(messages_of(*CROSSING), block_rows).summary

    assert (3, 2, [2, 5]) == (summary.crossed_count, summary.crossing_count, summary.crossings)


@pytest.mark.parametrize("block_rows", [1, 2, 3, 100])
def test_only_ends_of_events_count_where_they_are_marked(block_rows: int) -> None:
    """A book between two states of one event is not crossed; nor is one within a snapshot."""
    messages = messages_of(*CROSSING)
    messages["flags"] = (Flag.LAST, 0, 0, Flag.LAST, Flag.LAST, Flag.LAST)
    marked = replay_of(messages, block_rows).summary
    snapshot = replay_of(messages_of(*CROSSING, flags=Flag.SNAPSHOT), block_rows).summary

    assert (1, 1, [5]) == (marked.crossed_count, marked.crossing_count, marked.crossings)
    assert (0, 0, 4) == (
        snapshot.crossed_count,
        snapshot.crossing_count,
        snapshot.snapshot_orders,
    )


def test_what_is_no_message_is_the_reader_s_fault() -> None:
    """Words that do not exist never reach the book."""
    messages = messages_of((ADD, 1, 1, 100, 5), (ADD, 2, 0, 100, 5))

    with pytest.raises(InvalidInput, match="messages:2: side: 0; allowed: 1, -1"):
        replay_of(messages)


def test_progress_and_blocks_are_told() -> None:
    """The caller sees each block with the book after it, and how far it is."""
    calls: list[tuple[int, int]] = []
    sizes: list[int] = []
    replay_of(
        messages_of(*CROSSING),
        progress=lambda *at: calls.append(at),
        on_block=lambda _, book: sizes.append(len(book)),
    )

    assert [(96, 288), (192, 288), (288, 288), (288, 288)] == calls
    assert [2, 2, 2] == sizes


def test_the_reader_s_own_counts_come_along() -> None:
    """Gaps and unusable records of the reader are in the summary."""
    feed = TapeFeed(messages_of(*CROSSING), SHARE)

    class Gappy(TapeFeed):
        """A feed that has lost something."""

        def blocks(self) -> Iterator[FeedBlock]:
            """Yield what is there."""
            yield from super().blocks()
            self.summary.note_gap(Gap(3, 7, 9))
            self.summary.note_unusable("odd", 4, 2)

    summary = FeedReplay(Gappy(messages_of(*CROSSING), SHARE)).run()

    assert ([Gap(3, 7, 9)], 1) == (summary.gaps, summary.gap_count)
    assert ({"odd": 2}, {"odd": 4}) == (summary.unusable, summary.first_unusable)
    assert FeedReplay(feed).run().messages == summary.messages


def test_a_comparison_applies_the_blocks_itself() -> None:
    """What compares sees every block, and then the end; the counts are of what it applied."""
    seen: list[int] = []

    class Watching:
        """Apply, and remember."""

        def apply(self, book: OrderBook, block: FeedBlock) -> Applied:
            """Apply a block."""
            book.apply(block.messages, strict=False)
            seen.append(len(block.messages))
            return book.last_apply

        def finish(self, book: OrderBook) -> None:
            """Remember the end."""
            seen.append(-len(book))

    replay = replay_of(messages_of(*CROSSING), comparison=Watching())

    assert [2, 2, 2, -2] == seen
    assert 3 == replay.summary.crossed_count


def test_a_day_of_databento_ends_with_two_sides(market_data: Path) -> None:
    """The CME sample: a snapshot, then trading that never crosses and fits every order."""
    from lob.feeds import open_feed  # noqa: PLC0415 - real data only

    replay = FeedReplay(open_feed(market_data / "databento" / "esm4-mbo-2024-05-08.dbn.zst"))
    summary = replay.run()

    assert (13_600, 0, {}) == (
        summary.snapshot_orders,
        summary.crossed_count,
        dict(summary.refused),
    )
    assert (20_856, 20_857) == (
        getattr(replay.book.best_bid(), "price_ticks", 0),
        getattr(replay.book.best_ask(), "price_ticks", 0),
    )
