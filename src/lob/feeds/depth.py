"""Hold a book rebuilt from a venue's orders against the depth that the venue publishes itself.

Databento's mbp-1 and mbp-10 schemas have a record for each change within so many levels, and for
each trade. A record belongs to the event that has its receive time, event time and sequence; the
last record of an event is held against the book after the event's last message, for in between the
venue's book is changing as well. A record of no event (a trade that left the book as it was) is
held against the book as it stands then. What the depth file says of times before the first message
or after the last is counted, and not compared.

Where the book's levels change and the venue has no record, that is counted too. To see it, the book
is looked at after every event that can have reached its levels by the prices it names, and after
every one that may have moved an order from elsewhere.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.feeds.base import MAX_REPORTED, Feed, FeedBlock
from lob.feeds.depth_records import DepthBlock, DepthFile, DepthRecord, Key
from lob.feeds.depth_view import DepthBook, DepthView, Ints
from lob.messages import (
    CROSSING_DTYPE,
    REFUSAL_DTYPE,
    TRADE_DTYPE,
    Action,
    Applied,
    Array,
    Flag,
)
from lob.types import INT64_MAX

__all__ = [
    "DepthAgreement",
    "DepthBook",
    "DepthComparison",
    "DepthFile",
    "DepthRecord",
    "Difference",
    "compare_depth",
]

_KEY: Final = ("ts_recv", "sequence", "ts_event")
"""What tells an event, in the order in which events are told apart."""

_NO_EVENT: Final = -2
_BEFORE: Final = -1
_WITH_THE_NEXT: Final = -1
"""The highest bid of an event that cannot be told from the one after: both are that one's."""

_NAMES_ITS_PRICE: Final = tuple(
    int(action)
    for action in (Action.FEED_ADD, Action.FEED_DELETE, Action.FEED_REDUCE, Action.FEED_EXECUTE)
)
"""What happens to an order at the price that the message names."""

Bools = NDArray[np.bool_]
Place = tuple[int, int, int]


class Difference(NamedTuple):
    """One disagreement: where in both files, on which side and level, and what either has."""

    position: int
    depth_position: int
    side: str
    level: int
    ours: Place | None
    theirs: Place | None


@dataclass(slots=True)
class DepthAgreement:
    """What a comparison found.

    `compared` records were held against the book and `agreeing` of them were equal in every level,
    size and order count; `agreeing_to[n]` of them in the first n + 1 levels of both sides.
    `within_events` were passed over: the venue's book was changing. `before_feed` and `after_feed`
    are of times of which the feed says nothing. Together they are all `records`. `without_event`
    changed the venue's levels at no event of ours (if an event ends there, they are compared all
    the same), `unannounced` counts events of ours that changed the levels without a record of the
    venue. `aligned_by` names what told the events, which is what both files have.
    """

    levels: int
    records: int = 0
    compared: int = 0
    agreeing: int = 0
    within_events: int = 0
    before_feed: int = 0
    after_feed: int = 0
    without_event: int = 0
    unannounced: int = 0
    aligned_by: tuple[str, ...] = _KEY
    agreeing_to: list[int] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    first_without_event: list[int] = field(default_factory=list)
    first_unannounced: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Count from nothing at each level."""
        self.agreeing_to = self.agreeing_to or [0] * self.levels

    def hold(self, ours: Ints, theirs: Ints, positions: Ints, depth_positions: Ints) -> None:
        """Compare levels as `DepthBlock` has them, row by row, and note the first differences."""
        if not len(ours):
            return
        same = (ours == theirs).all(axis=(1, 3))
        to_level = np.logical_and.accumulate(same, axis=1).sum(axis=0)
        self.agreeing_to = [
            before + now for before, now in zip(self.agreeing_to, to_level.tolist(), strict=True)
        ]
        self.compared += len(ours)
        self.agreeing += int(to_level[-1])
        room = MAX_REPORTED - len(self.differences)
        for row in np.flatnonzero(~same.all(axis=1))[:room].tolist():
            side, level = np.argwhere((ours[row] != theirs[row]).any(axis=2))[0].tolist()
            places = (_place(levels[row, side, level]) for levels in (ours, theirs))
            where = (int(positions[row]), int(depth_positions[row]))
            self.differences.append(Difference(*where, ("bid", "ask")[side], level + 1, *places))


class _Due(NamedTuple):
    """What is to be held against the book: by event (-1: before the first), in their order."""

    events: Ints
    levels: Ints
    positions: Ints


class _Taken(NamedTuple):
    """Records and the events they go with; `own` says that they have their event's very key."""

    events: Ints
    own: Bools
    is_last: Bools
    moves: Bools
    levels: Ints
    positions: Ints


class DepthComparison:
    """Apply a feed's blocks to a book, and hold it against depth records along the way."""

    def __init__(self, depth: DepthFile) -> None:
        self.agreement = DepthAgreement(depth.levels)
        self._blocks = depth.blocks()
        self._block: DepthBlock | None = next(self._blocks, None)
        self._at = 0
        self._position = 0
        self._any_message = False

    def apply(self, book: DepthBook, block: FeedBlock) -> Applied:
        """Apply a block event by event, comparing after each, and return all that `apply` said.

        Feed messages that cannot be true are listed among the refusals.
        """
        messages = block.messages
        if not len(messages):
            book.apply(messages, strict=False)
            return _merged([(0, book.last_apply)])
        ends = np.flatnonzero(messages["flags"] & Flag.LAST) + 1
        if not len(ends) or ends[-1] != len(messages):
            ends = np.append(ends, len(messages))  # an event that goes on in the next block
        if not self._any_message:
            self._find_alignment(block)
        due = self._take_due(block, ends)
        if hasattr(book, "apply_and_look"):
            seen = self._look_at_all(book, block, ends, due)
            applied: Applied = book.last_apply
        else:
            view = DepthView(book, self.agreement.levels)
            applied = _merged(self._walk(book, block, ends, due, view))
            seen = view.seen(due.events)
        positions = np.append(self._position, block.positions[ends - 1])[due.events + 1]
        self.agreement.hold(seen, due.levels, positions, due.positions)
        self._position = int(block.positions[-1])
        return applied

    def _look_at_all(self, book: Any, block: FeedBlock, ends: Ints, due: _Due) -> Ints:
        """Apply the events by a book that looks at itself after each; return what was due."""
        agreement = self.agreement
        before = DepthView(book, agreement.levels)
        before.keep(_BEFORE)
        after = book.apply_and_look(block.messages, ends, agreement.levels)
        seen = np.concatenate([before.seen(np.array([_BEFORE])), after])
        if self._block is not None and (agreement.compared or len(due.events)):
            highest, _, quiet = _reach(block, ends, agreement.aligned_by)
            at_end = due.events[due.events != _BEFORE]
            whole = np.array(highest) != _WITH_THE_NEXT
            whole[at_end] = True
            events = np.flatnonzero(whole)
            looks = seen[np.append(0, events + 1)]
            news = np.zeros(len(ends), bool)
            news[events] = (looks[1:] != looks[:-1]).any(axis=(1, 2, 3))
            news &= ~np.array(quiet)
            news[at_end] = False
            if not agreement.compared:
                news[: max(due.events[0], 0)] = False
            self._note_unannounced(block.positions[ends[np.flatnonzero(news)] - 1])
        found: Ints = seen[due.events + 1]
        return found

    def _note_unannounced(self, positions: Ints) -> None:
        agreement = self.agreement
        agreement.unannounced += len(positions)
        room = MAX_REPORTED - len(agreement.first_unannounced)
        agreement.first_unannounced += positions[:room].tolist()

    def _walk(
        self, book: DepthBook, block: FeedBlock, ends: Ints, due: _Due, view: DepthView
    ) -> list[tuple[int, Any]]:
        """Apply the events, looking at the book where something is due or may have changed.

        Returns what `apply` said of each stretch of which there was anything to say, and where the
        stretch begins.
        """
        messages, agreement = block.messages, self.agreement
        highest, lowest, quiet = _reach(block, ends, agreement.aligned_by)
        waiting = chain(np.unique(due.events).tolist(), [len(ends)])
        next_due = next(waiting)
        started = agreement.compared > 0
        if next_due == _BEFORE:
            view.keep(_BEFORE)
            next_due, started = next(waiting), True
        parts: list[tuple[int, Any]] = []
        begin = 0
        for event, end in enumerate(ends.tolist()):
            is_due = event == next_due
            if not is_due and highest[event] < view.low and lowest[event] > view.high:
                continue
            book.apply(messages[begin:end], strict=False)
            applied = book.last_apply
            if len(applied.trades) or len(applied.refusals) or len(applied.crossings):
                parts.append((begin, applied))
            begin = end
            changed = view.look()
            if is_due:
                view.keep(event)
                next_due, started = next(waiting), True
            elif changed and started and not quiet[event] and self._block is not None:
                self._note_unannounced(block.positions[end - 1 : end])
        if begin < len(messages):
            book.apply(messages[begin:], strict=False)
            parts.append((begin, book.last_apply))
        return parts

    def finish(self, book: DepthBook) -> None:
        """Hold the book after the last block against the records that are left.

        Only trades that leave it as it is are compared: from the first change of the venue's book
        on, the depth file is of times after the feed's last message.
        """
        agreement, ended = self.agreement, False
        last: list[tuple[Ints, int]] = []
        while (block := self._block) is not None:
            for row in range(self._at, len(block.keys)):
                agreement.records += 1
                ended = ended or block.moves[row] or not self._any_message
                if ended:
                    agreement.after_feed += 1
                elif block.is_last[row]:
                    last.append((block.levels[row], int(block.positions[row])))
                else:
                    agreement.within_events += 1
            self._next_block()
        if last:
            view = DepthView(book, agreement.levels)
            view.keep(0)
            theirs = np.stack([levels for levels, _ in last])
            ours = view.seen(np.zeros(len(last), np.int64))
            positions = np.full(len(last), self._position)
            agreement.hold(ours, theirs, positions, np.array([at for _, at in last]))

    def _take_due(self, block: FeedBlock, ends: Ints) -> _Due:
        """Take the records up to the block's last event: the last of each event, and of none."""
        agreement, levels = self.agreement, self.agreement.levels
        columns = _key_columns(block, agreement.aligned_by)
        keys: list[Key] = list(zip(*(column.tolist() for column in columns), strict=True))
        events = np.searchsorted(ends, np.arange(len(keys)), side="right").tolist()
        event_of = dict(zip(keys, events, strict=True))
        order = list(accumulate((keys[end - 1] for end in ends.tolist()), max))
        begins = keys[0] if not self._any_message else None
        self._any_message = True
        taken: list[_Taken] = []
        while (depth := self._block) is not None:
            keys = depth.keys[self._at :]
            event = np.array([event_of.get(key, _NO_EVENT) for key in keys], np.int64)
            own, count = event != _NO_EVENT, len(keys)
            for row in np.flatnonzero(~own).tolist():
                if keys[row] > order[-1]:
                    count = row
                    break
                event[row] = self._without_event(depth, self._at + row, begins, order)
            agreement.records += count
            at = np.flatnonzero(event[:count] != _NO_EVENT)
            rows = self._at + at
            flags = (np.array(depth.is_last)[rows], np.array(depth.moves)[rows])
            taken.append(
                _Taken(event[at], own[at], *flags, depth.levels[rows], depth.positions[rows])
            )
            self._at += count
            if count < len(keys):
                break
            self._next_block()
        if not taken:
            return _Due(np.zeros(0, np.int64), np.zeros((0, 2, levels, 3), np.int64), ends[:0])
        found = _Taken(*map(np.concatenate, zip(*taken, strict=True)))
        keep = _to_compare(found)
        agreement.within_events += int(np.count_nonzero(~keep))
        chosen = np.flatnonzero(keep)
        chosen = chosen[np.argsort(found.events[chosen], kind="stable")]
        return _Due(found.events[chosen], found.levels[chosen], found.positions[chosen])

    def _without_event(
        self, depth: DepthBlock, row: int, begins: Key | None, order: list[Key]
    ) -> int:
        """Count a record of no event of ours, and return after which it is to be compared."""
        agreement, key = self.agreement, depth.keys[row]
        if begins is not None and key < begins:
            agreement.before_feed += 1
            return _NO_EVENT
        if depth.moves[row]:
            agreement.without_event += 1
            if len(agreement.first_without_event) < MAX_REPORTED:
                agreement.first_without_event.append(int(depth.positions[row]))
        if not depth.is_last[row]:
            agreement.within_events += 1
            return _NO_EVENT
        return bisect_right(order, key) - 1

    def _find_alignment(self, block: FeedBlock) -> None:
        """Find by what both files tell events: a column that one lacks is 0 throughout."""
        depth = self._block
        if depth is None:
            return
        ours = (block.ts_recv_ns.any(), block.sequences.any(), True)
        theirs = [any(column) for column in zip(*depth.keys, strict=True)]
        self.agreement.aligned_by = tuple(
            name for name, here, there in zip(_KEY, ours, theirs, strict=True) if here and there
        )
        self._block = self._aligned(depth)

    def _aligned(self, depth: DepthBlock) -> DepthBlock:
        if self.agreement.aligned_by == _KEY:
            return depth
        recv, sequence, _ = (name in self.agreement.aligned_by for name in _KEY)
        keys = [(key[0] * recv, key[1] * sequence, key[2]) for key in depth.keys]
        return depth._replace(keys=keys)

    def _next_block(self) -> None:
        block = next(self._blocks, None)
        self._block = None if block is None else self._aligned(block)
        self._at = 0


def compare_depth(feed: Feed, depth: DepthFile, book: DepthBook) -> DepthAgreement:
    """Replay a feed into an empty book and hold it against the venue's depth at every event.

    Raises `InvalidInput` as the readers do.
    """
    comparison = DepthComparison(depth)
    for block in feed.blocks():
        comparison.apply(book, block)
    comparison.finish(book)
    return comparison.agreement


def _key_columns(block: FeedBlock, aligned_by: tuple[str, ...]) -> list[Ints]:
    """Return receive times, sequences and event times, zeros for those that are not to be used."""
    columns = (block.ts_recv_ns, block.sequences, block.messages["ts_event_ns"])
    return [
        column if name in aligned_by else np.zeros_like(column)
        for name, column in zip(_KEY, columns, strict=True)
    ]


def _to_compare(found: _Taken) -> Bools:
    """Say which records show the book at an event's end: the others of an event are within it."""
    rows = np.arange(len(found.events))

    def last_row(which: Bools) -> Ints:
        """Return for each record the last of these records that is of its event, -1 if none."""
        latest = np.full(int(found.events.max(initial=_BEFORE)) + 2, -1)
        np.maximum.at(latest, found.events[which] + 1, rows[which])
        last: Ints = latest[found.events + 1]
        return last

    # A trade is published before it takes effect. And the event may end with a record that has a
    # later key: depth has that one's.
    shows_it = found.own & (found.moves | found.is_last)
    goes_on = ~found.is_last & (last_row(found.moves) > rows)
    keep: Bools = ~found.own | (shows_it & (last_row(shows_it) == rows) & ~goes_on)
    return keep


def _reach(
    block: FeedBlock, ends: Ints, aligned_by: tuple[str, ...]
) -> tuple[list[int], list[int], list[bool]]:
    """Say of each event how good a bid and an ask it can have changed, and whether it is no news.

    An event that may reach any level reaches the best of both sides. A snapshot is no news, and an
    event that goes on, or cannot be told from the one after, is none yet.
    """
    messages = block.messages
    price, side = messages["price_ticks"], messages["side"]
    anywhere = ~np.isin(messages["action"], _NAMES_ITS_PRICE) | (side == 0) | (price < 1)
    highest = np.where(side > 0, price, 0)
    highest[anywhere] = INT64_MAX
    lowest = np.where(side < 0, price, INT64_MAX)
    lowest[anywhere] = 0
    begins = np.append(0, ends[:-1])
    highest = np.maximum.reduceat(highest, begins)
    lowest = np.minimum.reduceat(lowest, begins)

    flags, last = messages["flags"][ends - 1], ends - 1
    quiet = ((flags & Flag.SNAPSHOT) != 0) | ((flags & Flag.LAST) == 0)
    quiet |= messages["action"][last] == Action.FEED_CLEAR
    same = np.ones(max(len(ends) - 1, 0), bool)
    for column in _key_columns(block, aligned_by):
        same &= column[last[:-1]] == column[last[1:]]
    for event in np.flatnonzero(same).tolist():
        # A record of both is the later's, and so is what changed.
        highest[event + 1] = max(highest[event], highest[event + 1])
        lowest[event + 1] = min(lowest[event], lowest[event + 1])
        highest[event], lowest[event] = _WITH_THE_NEXT, INT64_MAX
    return highest.tolist(), lowest.tolist(), quiet.tolist()


def _place(level: Ints) -> Place | None:
    price, lots, count = level.tolist()
    return (price, lots, count) if price else None


def _merged(parts: list[tuple[int, Any]]) -> Applied:
    """Put what `apply` said of stretches together as if it had been one."""
    trades = [part.trades for _, part in parts]
    columns: dict[str, list[Array]] = {"refusals": [], "crossings": []}
    for name, fields in (("refusals", ("index",)), ("crossings", ("first", "end"))):
        for begin, part in parts:
            rows = getattr(part, name)
            if len(rows):
                shifted = rows.copy()
                for each in fields:
                    shifted[each] += begin
                columns[name].append(shifted)
    return Applied(
        _joined(trades, TRADE_DTYPE),
        _joined(columns["refusals"], REFUSAL_DTYPE),
        _joined(columns["crossings"], CROSSING_DTYPE),
    )


def _joined(parts: list[Array], dtype: np.dtype[Any]) -> Array:
    # As plain bytes: numpy would compare the fields of each with those of the one before.
    return np.frombuffer(bytearray().join(part.tobytes() for part in parts), dtype)
