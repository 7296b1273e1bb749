"""Rebuild a book from any feed, block by block, and say what did not fit and where."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lob import OrderBook
from lob.feeds.base import Feed, FeedBlock, Gap, Progress
from lob.messages import Action, Applied, Array, Flag
from lob.types import RejectReason

MAX_REPORTED: Final = 20
_REASONS: Final = tuple(RejectReason)
_ACTIONS: Final = tuple(Action)


@dataclass(slots=True)
class FeedReplaySummary:
    """What a replay saw, could not use, and where.

    `unusable` counts by reason what the reader left out; `refused` what the book refused, by its
    `RejectReason`; `first_unusable` and `first_refused` hold the first positions of each.
    `crossed_count` counts the moments after which the book was crossed, and `crossings` holds the
    first positions of the first stretches of them (`crossing_count` counts all). Orders of a
    snapshot are no such moments; where the feed marks the ends of the venue's events, only those
    are.
    """

    records: int = 0
    messages: int = 0
    by_type: dict[str, int] = field(default_factory=dict)
    by_action: Counter[str] = field(default_factory=Counter)
    snapshot_orders: int = 0
    trades: int = 0
    unusable: dict[str, int] = field(default_factory=dict)
    first_unusable: dict[str, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    first_refused: dict[str, list[int]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    gap_count: int = 0
    crossed_count: int = 0
    crossing_count: int = 0
    crossings: list[int] = field(default_factory=list)


class Comparison(Protocol):
    """What applies blocks and looks at the book in between; `lob.feeds.depth` has one."""

    def apply(self, book: Any, block: FeedBlock) -> Applied:
        """Apply a block, with `strict=False`, and return all that `apply` said of it."""
        ...

    def finish(self, book: Any) -> None:
        """Look at the book after the last block."""
        ...


class FeedReplay:
    """Apply a feed to `book` (a new one of its instrument where there is none).

    `progress(done, total)` is told after each block, in bytes of the file; `on_block(block, book)`
    sees each block once it has been applied; `comparison` applies them itself, and holds the book
    against the venue's own depth as it goes. Feed messages that cannot be true are counted, and
    change nothing; what no reader may give (no such action) raises.
    """

    def __init__(
        self,
        feed: Feed,
        book: OrderBook | None = None,
        *,
        comparison: Comparison | None = None,
        progress: Progress | None = None,
        on_block: Callable[[FeedBlock, OrderBook], None] | None = None,
    ) -> None:
        self.feed = feed
        self.book = OrderBook(feed.instrument) if book is None else book
        self.summary = FeedReplaySummary()
        self.progress = progress
        self._on_block = on_block
        self._comparison = comparison
        self._marks_ends = False
        self._crossed_before = False

    def run(self) -> FeedReplaySummary:
        """Replay everything and return the summary. The book is left as it ends."""
        for _ in self.steps():
            pass
        return self.summary

    def steps(self) -> Iterator[FeedBlock]:
        """Apply block after block, yielding each when it has been; the summary ends with them."""
        feed, summary = self.feed, self.summary
        for block in feed.blocks():
            self._apply(block)
            if self._on_block is not None:
                self._on_block(block, self.book)
            if self.progress is not None:
                self.progress(feed.bytes_done, feed.bytes_total)
            yield block
        if self._comparison is not None:
            self._comparison.finish(self.book)
        told = feed.summary
        summary.records = told.records
        summary.by_type = dict(told.by_type)
        summary.unusable = dict(told.unusable)
        summary.first_unusable = dict(told.first_unusable)
        summary.gaps, summary.gap_count = list(told.gaps), told.gap_count
        if self.progress is not None:
            self.progress(feed.bytes_total, feed.bytes_total)

    def _apply(self, block: FeedBlock) -> None:
        messages, summary = block.messages, self.summary
        applied = self._applied(block)
        summary.messages += len(messages)
        summary.trades += len(applied.trades)
        counts = np.bincount(messages["action"], minlength=len(_ACTIONS))
        for action in _ACTIONS:
            if counts[action]:
                summary.by_action[action.name] += int(counts[action])
        flags = messages["flags"]
        adds = messages["action"] == Action.FEED_ADD
        summary.snapshot_orders += int((adds & ((flags & Flag.SNAPSHOT) != 0)).sum())
        self._refusals(applied.refusals, block.positions)
        self._crossings(applied.crossings, messages, block.positions)

    def _applied(self, block: FeedBlock) -> Applied:
        if self._comparison is not None:
            return self._comparison.apply(self.book, block)
        self.book.apply(block.messages, strict=False)
        return self.book.last_apply

    def _refusals(self, refusals: Array, positions: NDArray[np.int64]) -> None:
        for code in np.unique(refusals["reason"]).tolist():
            rows = refusals["index"][refusals["reason"] == code]
            reason = _REASONS[code].value
            self.summary.refused[reason] += len(rows)
            first = self.summary.first_refused.setdefault(reason, [])
            first += positions[rows[: MAX_REPORTED - len(first)]].tolist()

    def _crossings(self, stretches: Array, messages: Array, positions: NDArray[np.int64]) -> None:
        """Count the moments at which the book was crossed, and the stretches they make."""
        summary, flags = self.summary, messages["flags"]
        is_feed = messages["action"] >= Action.FEED_ADD
        if not self._marks_ends and ((flags & Flag.LAST != 0) & is_feed).any():
            self._marks_ends = True
        looked_at = (flags & Flag.SNAPSHOT) == 0
        if self._marks_ends:
            looked_at &= (flags & Flag.LAST) != 0
        crossed = np.zeros(len(messages), bool)
        for first, end in zip(stretches["first"].tolist(), stretches["end"].tolist(), strict=True):
            crossed[first:end] = True
        moments = crossed[looked_at]
        if not len(moments):
            return
        begins = moments & ~np.append(self._crossed_before, moments[:-1])
        summary.crossed_count += int(moments.sum())
        summary.crossing_count += int(begins.sum())
        room = MAX_REPORTED - len(summary.crossings)
        summary.crossings += positions[looked_at][begins][:room].tolist()
        self._crossed_before = bool(moments[-1])
