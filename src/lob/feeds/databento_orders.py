"""Turn market-by-order records into messages: what each says of a resting order.

As Databento has it ("MBO" and "Order tracking" in its documentation), T and F leave the book as it
is: the C or M of the same event takes the lots off. But they tell why, and that decides about
priority. So the fills of an order wait for its next C or M in the same event:

- F, C: executed, and what the C takes off beyond that is cancelled.
- F, M: executed, then what the M says. Where the fills took all that was displayed, the M shows
  new lots of an iceberg: the order is at the tail from then on, whatever the sizes are. Fills of
  more than was displayed are executions of lots that showed in between.
- F on the side of the T before it is the aggressor's own; its M or C says nothing of a fill.
- M of an order that is not there adds it.
"""

from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds.base import FeedBlock, FeedSummary, Gap
from lob.feeds.dbn import (
    F_BAD_TS_RECV,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_MBP,
    F_SNAPSHOT,
    F_TOB,
    PRICE_UNITS,
    UNDEF_PRICE,
)
from lob.feeds.live_orders import Bools, Histories, Ints, LiveOrders
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag
from lob.types import INT64_MAX, Instrument

ADD, CANCEL, FILL, MODIFY, NONE, CLEAR, TRADE = (ord(letter) for letter in "ACFMNRT")
ACTION_NAMES: Final = {
    ADD: "add",
    CANCEL: "cancel",
    FILL: "fill",
    MODIFY: "modify",
    NONE: "none",
    CLEAR: "clear",
    TRADE: "trade",
}
BID, ASK, NO_SIDE = (ord(letter) for letter in "BAN")
_UNDEF_SIZE: Final = 2**32 - 1
_SLOTS: Final = 3
"""The most messages that one record becomes."""

_COUNTED_FLAGS: Final = {
    F_SNAPSHOT: "flag snapshot",
    F_BAD_TS_RECV: "flag bad_ts_recv",
    F_MAYBE_BAD_BOOK: "flag maybe_bad_book",
}
_KNOWN_ACTION: Final = np.isin(np.arange(256), list(ACTION_NAMES))
_KNOWN_SIDE: Final = np.isin(np.arange(256), (BID, ASK, NO_SIDE))


class _Work(NamedTuple):
    """The records of a block that concern orders, in columns, and what each order had before."""

    rows: Ints
    action: NDArray[np.uint8]
    price_ticks: Ints
    lots: Ints
    leaves: Ints
    filled: Ints


class Translator:
    """Turn blocks of records of one instrument into blocks of messages, in order.

    Every block but the last ends where an event does, as far as events fit. Counts what it meets in
    `summary`. Prices and sizes become ticks and lots of `instrument`.

    Raises:
        InvalidInput: the tick or lot size is none that units of 1e-9 and whole sizes can have.
    """

    def __init__(self, path: object, instrument: Instrument, summary: FeedSummary) -> None:
        self._path = path
        self._summary = summary
        self._live = LiveOrders()
        units = instrument.tick_size * PRICE_UNITS
        if units != int(units):
            raise InvalidInput(
                f"tick_size: {instrument.tick_size}; allowed: whole multiples of 0.000000001"
            )
        self._units = int(units)
        lot = Fraction(instrument.lot_size)
        if lot.numerator > INT64_MAX or lot.denominator > INT64_MAX // _UNDEF_SIZE:
            raise InvalidInput(f"lot_size: {lot}; allowed: what whole sizes can be counted in")
        self._lot = lot
        self._sequences: dict[int, int] = {}
        self._bad_book = False

    def block(self, rows: Array, positions: Ints) -> FeedBlock:
        """Return the messages of some records.

        Raises:
            InvalidInput: an action or side that does not exist; names file and position.
        """
        self._require_letters(rows, positions)
        self._count(rows, positions)
        self._note_gaps(rows, positions)
        events = np.zeros(len(rows), np.int64)
        lasts = (rows["flags"] & F_LAST) != 0
        np.cumsum(lasts[:-1], out=events[1:])
        work = self._work(rows, positions, events)
        action, price, lots, used = self._messages(rows, positions, work)
        return _feed_block(rows, positions, events, int(lasts.sum()), action, price, lots, used)

    # ---------------------------------------------------------------- looking

    def _require_letters(self, rows: Array, positions: Ints) -> None:
        for name, known, allowed in (
            ("action", _KNOWN_ACTION, "A, C, F, M, N, R, T"),
            ("side", _KNOWN_SIDE, "A, B, N"),
        ):
            wrong = ~known[rows[name]]
            if wrong.any():
                row = int(np.argmax(wrong))
                raise InvalidInput(
                    f"{self._path}:{positions[row]}: {name}: {chr(rows[name][row])!r}; "
                    f"allowed: {allowed}"
                )

    def _count(self, rows: Array, positions: Ints) -> None:
        summary = self._summary
        counts = np.bincount(rows["action"], minlength=256)
        for action, name in ACTION_NAMES.items():
            if counts[action]:
                summary.by_type[name] += int(counts[action])
        flags = rows["flags"]
        for bit, name in _COUNTED_FLAGS.items():
            count = int(np.count_nonzero(flags & bit))
            if count:
                summary.by_type[name] += count
        for action, reason in ((TRADE, "trade"), (NONE, "no action")):
            if counts[action]:
                self._unusable(reason, rows["action"] == action, positions)

    def _unusable(self, reason: str, which: Bools, positions: Ints) -> None:
        count = int(np.count_nonzero(which))
        if count:
            self._summary.note_unusable(reason, int(positions[np.argmax(which)]), count)

    def _note_gaps(self, rows: Array, positions: Ints) -> None:
        """Note where the publisher says that records were lost, and where a sequence runs back.

        Sequences count the packets or messages of a whole channel: a file of one instrument has
        holes where others were spoken of, so that a hole by itself is no gap.
        """
        bad = (rows["flags"] & F_MAYBE_BAD_BOOK) != 0
        if bad.any() or self._bad_book:
            before = np.concatenate(([self._bad_book], bad[:-1]))
            for row in np.flatnonzero(bad & ~before).tolist():
                found = int(rows["sequence"][row])
                expected = self._sequences.get(int(rows["channel_id"][row]), 0) + 1
                self._summary.note_gap(Gap(int(positions[row]), expected, found))
            self._bad_book = bool(bad[-1])
        channels = rows["channel_id"]
        clears = np.cumsum(rows["action"] == CLEAR)
        # A snapshot's records have the sequences that they had when they were new.
        plain = ((rows["flags"] & F_SNAPSHOT) == 0) & (rows["sequence"] != 0)
        known = self._sequences
        if clears[-1]:
            self._sequences = {}
        for channel in np.unique(channels[plain]).tolist():
            index = np.flatnonzero(plain & (channels == channel))
            sequences = rows["sequence"][index].astype(np.int64)
            before = np.concatenate(([known.get(channel, 0)], sequences[:-1]))
            # An emptied book starts anew, and its sequence may as well.
            emptied = np.diff(clears[index], prepend=0) > 0
            for row in np.flatnonzero((sequences < before) & ~emptied).tolist():
                position = int(positions[index[row]])
                self._summary.note_gap(Gap(position, int(before[row]), int(sequences[row])))
            ended = clears[-1] > clears[index[-1]]
            self._sequences[channel] = 0 if ended else int(sequences[-1])

    # ---------------------------------------------------------------- orders

    def _work(self, rows: Array, positions: Ints, events: Ints) -> _Work:
        action = rows["action"]
        changes = (action == ADD) | (action == CANCEL) | (action == MODIFY)
        fills = action == FILL
        if fills.any():
            own = fills & _on_the_aggressors_side(rows, events)
            self._unusable("aggressor's own fill", own, positions)
            fills &= ~own
        ticks, lots, usable = self._usable(rows, positions, changes | fills)
        index = np.flatnonzero(usable)
        kind = action[index]
        amounts = lots[index]
        clears = np.cumsum(action == CLEAR)
        ids = rows["order_id"][index].astype(np.int64)
        sets = (kind == ADD) | (kind == MODIFY)
        no_fill = kind != FILL
        histories = self._live.settle(ids, sets, np.where(no_fill, amounts, 0), clears[index])
        if clears[-1] > (clears[index[-1]] if len(index) else 0):
            self._live.clear()
        filled = np.zeros(len(index), np.int64)
        if not no_fill.all():
            same_event = (events[index], rows["ts_event"][index])
            lost = _pair_fills(histories, kind, amounts, same_event, filled)
            unknown = np.zeros(len(index), bool)
            unknown[lost] = True
            self._unusable("fill without a change", unknown, positions[index])
        return _Work(index, kind, ticks[index], amounts, histories.leaves_before, filled)

    def _usable(self, rows: Array, positions: Ints, asked: Bools) -> tuple[Ints, Ints, Bools]:
        """Return ticks, lots, and which of the rows asked about a book can hold; count the rest."""
        action, price, size = rows["action"], rows["price"], rows["size"].astype(np.int64)
        placed = asked & ((action == ADD) | (action == MODIFY))
        zero_is_well = action == MODIFY  # of an order to nothing: it goes
        ticks, off_tick = np.divmod(price, self._units)
        lots, off_lot = size, np.zeros(len(rows), np.int64)
        if self._lot != 1:
            lots, off_lot = np.divmod(size * self._lot.denominator, self._lot.numerator)
        usable = asked.copy()
        for reason, wrong in (
            ("no single order", (rows["flags"] & (F_TOB | F_MBP)) != 0),
            ("no order id", rows["order_id"] == 0),
            ("order id above 2^63-1", rows["order_id"] > INT64_MAX),
            ("no side", placed & (rows["side"] == NO_SIDE)),
            ("undefined price", placed & (price == UNDEF_PRICE)),
            ("price not above 0", placed & (price <= 0)),
            ("price off the tick", placed & (off_tick != 0)),
            ("no size", ((size == 0) & ~zero_is_well) | (size == _UNDEF_SIZE)),
            ("size off the lot", off_lot != 0),
        ):
            found = usable & wrong
            if found.any():
                self._unusable(reason, found, positions)
                usable &= ~found
        return ticks, lots, usable

    # ---------------------------------------------------------------- messages

    def _messages(
        self, rows: Array, positions: Ints, work: _Work
    ) -> tuple[NDArray[np.uint8], Ints, Ints, Bools]:
        """Return up to three messages a record: actions, prices, lots, and which are used."""
        count = len(rows)
        action = np.zeros((count, _SLOTS), np.uint8)
        lots = np.zeros((count, _SLOTS), np.int64)
        used = np.zeros((count, _SLOTS), bool)
        price = np.zeros(count, np.int64)
        # A cancel may name no price; its order has one.
        told = rows["price"][work.rows] != UNDEF_PRICE
        price[work.rows] = np.where(told, work.price_ticks, 0)

        def say(slot: int, which: Bools, what: Action, quantity: Ints) -> None:
            at = work.rows[which]
            action[at, slot] = what
            lots[at, slot] = quantity[which]
            used[at, slot] = True

        clears = rows["action"] == CLEAR
        action[clears, 0] = Action.FEED_CLEAR
        used[clears, 0] = True
        say(0, work.action == ADD, Action.FEED_ADD, work.lots)

        leaves, filled, size = work.leaves, work.filled, work.lots
        modify = work.action == MODIFY
        # A size of 0 takes all there is, as a cancel of it.
        cancel = (work.action == CANCEL) | (modify & (size == 0))
        modify &= size != 0
        size = np.where((work.action == MODIFY) & cancel, leaves, size)
        known, has_fills = leaves > 0, filled > 0
        gone = size >= leaves
        self._unusable("fill of an unknown order", has_fills & ~known, positions[work.rows])
        self._note("modify of an unknown order", modify & ~known)
        self._note("cancel of more than is left", cancel & known & (size > leaves))
        has_fills &= known

        say(0, modify & ~known, Action.FEED_ADD, size)
        say(0, modify & known & ~has_fills, Action.FEED_MODIFY, size)
        say(0, cancel & ~has_fills & gone, Action.FEED_DELETE, size)
        say(0, cancel & ~has_fills & ~gone, Action.FEED_REDUCE, size)
        if not has_fills.any():
            return action, price, lots, used

        refreshed = modify & has_fills & (filled >= leaves)
        beyond = np.maximum(filled - leaves, 0)
        executed = np.minimum(filled, leaves)
        executed = np.where(cancel & ~gone, np.minimum(executed, size), executed)
        say(0, has_fills & (modify | cancel), Action.FEED_EXECUTE, executed)
        say(1, modify & has_fills & ~refreshed, Action.FEED_MODIFY, size)
        say(1, refreshed, Action.FEED_ADD, size + beyond)
        say(2, refreshed & (beyond > 0), Action.FEED_EXECUTE, beyond)

        ended = cancel & has_fills
        say(1, ended & gone & (executed < leaves), Action.FEED_DELETE, leaves)
        say(1, ended & ~gone & (executed < size), Action.FEED_REDUCE, size - executed)
        say(1, ended & gone & (beyond > 0), Action.FEED_ADD, beyond)
        say(2, ended & gone & (beyond > 0), Action.FEED_EXECUTE, beyond)
        return action, price, lots, used

    def _note(self, what: str, which: Bools) -> None:
        count = int(np.count_nonzero(which))
        if count:
            self._summary.by_type[what] += count


def _on_the_aggressors_side(rows: Array, events: Ints) -> Bools:
    """Say of each row whether the last T before it in its event names the same side.

    Where that T names no order, the venue (Nasdaq, say) speaks of resting orders only: a fill that
    the very next record takes off its order, at its price, is no aggressor's whatever T's side is.
    """
    trades = np.where(rows["action"] == TRADE, np.arange(len(rows)), -1)
    last = np.maximum.accumulate(trades)
    side = rows["side"]
    same: Bools = (last >= 0) & (events[last] == events) & (side[last] == side) & (side != NO_SIDE)
    if same.any():
        taken_off = rows["order_id"][last[:-1]] == 0
        taken_off &= rows["action"][1:] == CANCEL
        for name in ("order_id", "price", "size"):
            taken_off &= rows[name][1:] == rows[name][:-1]
        same[:-1] &= ~taken_off
    return same


def _pair_fills(
    histories: Histories,
    action: NDArray[np.uint8],
    lots: Ints,
    same_event: tuple[Ints, NDArray[np.uint64]],
    filled: Ints,
) -> Ints:
    """Add each fill's lots to the C or M of its order that follows it; return those without one."""
    by_order, begins, _ = histories
    ordered = action[by_order]
    is_fill = ordered == FILL
    rows = np.arange(len(by_order))
    end = len(by_order)
    changes = np.where(is_fill, end, rows)
    following = np.minimum.accumulate(changes[::-1])[::-1]
    fills = np.flatnonzero(is_fill)
    target = following[fills]
    order_number = np.cumsum(begins)
    paired = target < end
    reachable = np.minimum(target, end - 1)
    paired &= order_number[reachable] == order_number[fills]
    paired &= (ordered[reachable] == CANCEL) | (ordered[reachable] == MODIFY)
    in_event = np.zeros(len(fills), bool)
    for event in same_event:
        in_event |= event[by_order[fills]] == event[by_order[reachable]]
    paired &= in_event
    np.add.at(filled, by_order[target[paired]], lots[by_order[fills[paired]]])
    return np.sort(by_order[fills[~paired]])


def _feed_block(
    rows: Array,
    positions: Ints,
    events: Ints,
    ended: int,
    action: NDArray[np.uint8],
    price: Ints,
    lots: Ints,
    used: Bools,
) -> FeedBlock:
    """Put the messages of each record one after another, and mark the last of each whole event."""
    record = np.repeat(np.arange(len(rows)), np.count_nonzero(used, axis=1))
    messages = np.zeros(len(record), MESSAGE_DTYPE)
    messages["ts_event_ns"] = _time_ns(rows["ts_event"])[record]
    messages["order_id"] = rows["order_id"].astype(np.int64)[record]
    messages["price_ticks"] = price[record]
    messages["quantity_lots"] = lots[used]
    messages["action"] = action[used]
    side = (rows["side"] == BID).astype(np.int8) - (rows["side"] == ASK)
    messages["side"] = side[record]
    snapshot = (rows["flags"] & F_SNAPSHOT) != 0
    flags = np.where(snapshot, np.uint8(Flag.SNAPSHOT), np.uint8(0))[record]
    event = events[record]
    if len(event):
        last = np.append(event[1:] != event[:-1], True)  # the last of all, too
        flags[last & (event < ended)] |= np.uint8(Flag.LAST)
    messages["flags"] = flags
    return FeedBlock(
        messages,
        positions[record],
        _time_ns(rows["ts_recv"])[record],
        rows["sequence"].astype(np.int64)[record],
    )


def _time_ns(stamps: NDArray[np.uint64]) -> Ints:
    """Return times as the book has them: 0 where there is none."""
    return np.where(stamps > INT64_MAX, 0, stamps).astype(np.int64)
