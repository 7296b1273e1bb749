"""Many messages at once: `OrderBook.apply` on arrays, for the plain Python book (rules 39 and 40).

Most messages concern bare orders (`lob.ladder`). Those are done here without an event or a fault
being made; all others are handed to the book's own methods. Both ways come to the same.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lob.errors import Conflict, InvalidInput
from lob.faults import feed_fault
from lob.ladder import LiveOrder, Shelf, moves_bare, takes_from_bare
from lob.messages import (
    CROSSING_DTYPE,
    REFUSAL_DTYPE,
    TRADE_DTYPE,
    Action,
    Applied,
    Array,
    Flag,
)
from lob.resting import overflows
from lob.rows import Row, Stretch, require_messages, stretches
from lob.types import (
    INT64_MAX,
    Event,
    OrderType,
    Rejected,
    RejectReason,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
    Traded,
)

if TYPE_CHECKING:
    from lob.book import OrderBook

_SUBMIT, _CANCEL, _REDUCE, _REPLACE = (int(action) for action in tuple(Action)[:4])
_ADD, _DELETE, _FEED_REDUCE, _MODIFY, _EXECUTE, _CLEAR = (int(a) for a in tuple(Action)[4:])

_TIME, _PRICE, _SIDE, _PARTICIPANT = 0, 2, 6, 9  # their places among the columns
_SIDES: Final = {side.sign: side for side in Side}
_TIMES_IN_FORCE: Final = (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY)
_STP_MODES: Final = tuple(SelfTradePrevention)
# Plain ints: the operators of an IntFlag cost more than the order that it is on.
_POST_ONLY, _HIDDEN, _MARKET = int(Flag.POST_ONLY), int(Flag.HIDDEN), int(Flag.MARKET)
_STP_MASK, _STP_SHIFT = int(Flag.STP_MASK), 3
_ORDER_FLAGS: Final = _POST_ONLY | _HIDDEN | _MARKET | _STP_MASK
_IOC: Final = _TIMES_IN_FORCE.index(TimeInForce.IOC)
_MAY_CROSS: Final = (_ADD, _MODIFY)
_TAKES: Final = (_EXECUTE, _FEED_REDUCE)
_NEEDS_ORDER: Final = (_DELETE, _FEED_REDUCE, _EXECUTE)
_REASON_CODES: Final = {reason: code for code, reason in enumerate(RejectReason)}


class CompiledTape:
    """Messages decoded once, for repeated replays into new books.

    Raises `InvalidInput` for an array of another dtype or shape. What the rows say is looked at
    when they are applied.
    """

    def __init__(
        self,
        messages: Array,
        *,
        participants: NDArray[np.int64] | None = None,
        strict: bool = True,
    ) -> None:
        require_messages(messages, participants)
        self.strict = strict
        self._rows = len(messages)
        self._stretches = list(stretches(messages, participants))

    def __len__(self) -> int:
        """Return the number of messages."""
        return self._rows

    def stretches(self) -> Iterator[Stretch]:
        """Yield the messages, decoded."""
        return iter(self._stretches)


def apply_messages(
    book: "OrderBook",
    messages: Array,
    participants: NDArray[np.int64] | None,
    *,
    strict: bool,
) -> Array:
    """Carry out an array of messages, row by row, and return its trades."""
    require_messages(messages, participants)
    return _BulkRun(book, strict=strict).carry_out(stretches(messages, participants))


def apply_tape(book: "OrderBook", tape: CompiledTape) -> Array:
    """Replay a tape into a book in which nothing has happened; `Conflict` for another."""
    if len(book) or any(True for _ in book.stops()) or book.trade_count or book.now_ns:
        raise Conflict("book: not a new one; allowed for a compiled tape: a new, empty book")
    return _BulkRun(book, strict=tape.strict).carry_out(tape.stretches())


def nothing_applied() -> Applied:
    """Return what no messages come to."""
    return _applied([], [], [])


class _BulkRun:
    """One pass over messages: the book, and what came of it so far."""

    __slots__ = (
        "_book",
        "_crossed_since",
        "_crossings",
        "_end",
        "_refusals",
        "_strict",
        "_trades",
    )

    def __init__(self, book: "OrderBook", *, strict: bool) -> None:
        self._book = book
        self._strict = strict
        self._trades: list[tuple[int, ...]] = []
        self._refusals: list[tuple[int, int, int]] = []
        self._crossings: list[tuple[int, int]] = []
        self._crossed_since = 0 if book.crossed else -1
        self._end = 0

    def carry_out(self, stretches: Iterator[Stretch]) -> Array:
        """Carry out the rows; `last_apply` says what they came to, also where one is a fault."""
        try:
            for stretch in stretches:
                self._end = stretch.start + len(stretch.columns[0])
                if stretch.is_feed:
                    self._feed_rows(stretch)
                else:
                    self._command_rows(stretch)
        finally:
            if self._crossed_since >= 0:
                self._cross(self._end)
            applied = _applied(self._trades, self._refusals, self._crossings)
            self._book._last_apply = applied  # noqa: SLF001 - the book's own bulk half
        return applied.trades

    # ---------------------------------------------------------------- what a feed says

    def _feed_rows(self, stretch: Stretch) -> None:
        """Carry out a stretch of feed messages."""
        executed: list[tuple[int, int, int, int]] = []
        try:
            self._carry_out_feed(stretch, executed)
        finally:
            if executed:
                self._keep_executions(stretch, executed)

    def _carry_out_feed(  # noqa: C901 - a call costs half a row
        self, stretch: Stretch, executed: list[tuple[int, int, int, int]]
    ) -> None:
        """Do what messages say; most concern bare orders at levels that stay."""
        book = self._book
        orders = book._orders  # noqa: SLF001
        find: Callable[[int], Any] = orders.get
        take: Callable[[int, None], Any] = orders.pop  # a Shelf, a LiveOrder, or None
        find_bids, find_asks = book._bids.levels.get, book._asks.levels.get  # noqa: SLF001
        may_be_a_stop = bool(book._stops)  # noqa: SLF001 - a feed starts none, and ends none
        for index, order_id, lots, action, key in stretch.feed_rows():
            reason: RejectReason | None = None
            if action == _ADD:
                level = find_bids(key) if key < 0 else find_asks(key)
                if level is not None and not (may_be_a_stop or level.tracked):
                    shown = level.displayed_lots + lots
                    if shown + level.concealed_lots <= INT64_MAX and order_id not in orders:
                        orders[order_id] = level
                        level.orders[order_id] = lots
                        level.displayed_lots = shown
                        continue
                reason = self._add(stretch, index, order_id, lots)
            elif action == _DELETE and (found := take(order_id, None)) is not None:
                if type(found) is Shelf and len(found.orders) > 1 and not found.tracked:
                    found.displayed_lots -= found.orders.pop(order_id)
                    continue
                orders[order_id] = found
                book._remove(book._require(order_id))  # noqa: SLF001
            elif action in _TAKES and (found := find(order_id)) is not None:
                level = found if type(found) is Shelf else found.level
                if not (level is found and takes_from_bare(level, order_id, lots)):
                    reason = self._take(book._require(order_id), lots)  # noqa: SLF001
                if action == _EXECUTE and reason is None:
                    executed.append((index, order_id, lots, level.key))
            else:
                reason = self._feed(stretch, index, order_id, lots, action)
            if reason is not None:
                self._refuse_feed(stretch, index, reason, order_id, lots)
            if self._crossed_since >= 0 or action in _MAY_CROSS:
                self._look_for_crossing(index)

    def _add(self, stretch: Stretch, index: int, order_id: int, lots: int) -> RejectReason | None:
        price, side = stretch.cell(_PRICE, index), stretch.cell(_SIDE, index)
        if side not in _SIDES:
            raise self._no_message(index, "side", side, "+1, -1")
        book, participant = self._book, stretch.cell(_PARTICIPANT, index)
        own, _ = book._ladders(_SIDES[side])  # noqa: SLF001
        reason = book._add_refusal(order_id, own, price, lots, participant)  # noqa: SLF001
        if reason is None:
            book._rest(LiveOrder(order_id, lots, participant), own, price)  # noqa: SLF001
        return reason

    def _feed(
        self, stretch: Stretch, index: int, order_id: int, lots: int, action: int
    ) -> RejectReason | None:
        """Do what a feed says in any of the rarer messages."""
        book, orders = self._book, self._book._orders  # noqa: SLF001
        if action in _NEEDS_ORDER and order_id not in orders:
            return _unknown(order_id)
        if action == _CLEAR:
            book.feed_clear()
            return None
        if action != _MODIFY:
            raise self._no_message(index, "action", action, f"{_SUBMIT}..{_CLEAR}")
        price = stretch.cell(_PRICE, index)
        found = orders.get(order_id)
        if isinstance(found, Shelf) and moves_bare(found, order_id, price, lots):
            return None
        reason = book._modify_refusal(order_id, price, lots)  # noqa: SLF001
        if reason is None:
            book._modify(book._require(order_id), price, lots)  # noqa: SLF001
        return reason

    def _keep_executions(self, stretch: Stretch, executed: Sequence[tuple[int, ...]]) -> None:
        """Count executions as trades, whose taker the feed does not name."""
        book = self._book
        times, first = stretch.columns[_TIME], stretch.start
        sequence = book._trade_sequence  # noqa: SLF001
        for index, order_id, lots, key in executed:
            sequence += 1
            at_ns, price, sign = times[index - first], abs(key), -1 if key < 0 else 1
            self._trades.append((at_ns, sequence, order_id, 0, price, lots, sign))
        book._trade_sequence, book._last_trade_ticks = sequence, abs(executed[-1][-1])  # noqa: SLF001

    def _take(self, order: LiveOrder, lots: int) -> RejectReason | None:
        """Take lots off an order, if it has as many."""
        book = self._book
        reason = book._take_refusal(order.order_id, lots)  # noqa: SLF001
        if reason is not None:
            return reason
        if lots == order.leaves:
            book._remove(order)  # noqa: SLF001
        else:
            book._take_off(order, lots)  # noqa: SLF001
        return None

    # ---------------------------------------------------------------- commands

    def _command_rows(self, stretch: Stretch) -> None:  # noqa: C901 - as above
        """Carry out a stretch of commands; most come to bare orders at levels that stay."""
        book = self._book
        orders, waiting = book._orders, book._stops.by_id  # noqa: SLF001
        find_bids, find_asks = book._bids.levels.get, book._asks.levels.get  # noqa: SLF001
        now_ns, expiring = book.now_ns, book._expiries.by_time  # noqa: SLF001
        for index, row in enumerate(stretch.command_rows(), stretch.start):
            at_ns, order_id, _, lots, _, action, _, _, _, _, key = row
            if action == _SUBMIT and not key:
                self._require_words(index, row)
            if at_ns > now_ns:
                now_ns = book._now_ns = at_ns  # noqa: SLF001
                if expiring:
                    book.advance(at_ns)
            if self._crossed_since >= 0:
                pass  # a plain order may trade, and a row's time may have ended what crossed
            elif action == _CANCEL:
                level = orders.get(order_id)
                if type(level) is Shelf and len(level.orders) > 1 and not level.tracked:
                    del orders[order_id]
                    level.displayed_lots -= level.orders.pop(order_id)
                    continue
            elif action == _SUBMIT and key:
                # Nothing can be traded at a price where others of its side rest.
                level = find_bids(key) if key < 0 else find_asks(key)
                if level is not None and not (waiting or level.tracked):
                    shown = level.displayed_lots + lots
                    if shown + level.concealed_lots <= INT64_MAX and order_id not in orders:
                        orders[order_id] = level
                        level.orders[order_id] = lots
                        level.displayed_lots = shown
                        continue
            reason = self._submit(row) if action == _SUBMIT else self._command(row)
            if reason is not None:
                self._refusals.append((index, order_id, _REASON_CODES[reason]))
            if self._crossed_since >= 0:
                self._look_for_crossing(index)

    def _command(self, row: Row) -> RejectReason | None:
        """Carry out a command other than a submit."""
        ts_event_ns, order_id, price, lots, _, action, *_ = row
        if action == _CANCEL:
            events = self._book.cancel(order_id)
        elif action == _REDUCE:
            events = self._book.reduce(order_id, lots)
        else:
            events = self._book.replace(order_id, price, lots)
        return self._collect(ts_event_ns, events)

    def _submit(self, row: Row) -> RejectReason | None:
        """Carry out a submit that may trade, or be refused, or is not plain."""
        ts_event_ns, order_id, price, lots, display, _, side, lasts, flags, participant, _ = row
        book = self._book
        if (
            lasts > _IOC
            or display
            or flags & _ORDER_FLAGS
            or order_id <= 0
            or lots <= 0
            or price <= 0
            or participant < 0
            or book._is_live(order_id)  # noqa: SLF001
            or book._stops  # noqa: SLF001
        ):
            return self._collect(ts_event_ns, book._submit(_submit_of(row)))  # noqa: SLF001
        own, opposite = book._ladders(_SIDES[side])  # noqa: SLF001
        if not lasts and overflows(own, price, lots):
            return RejectReason.LEVEL_FULL
        taker = LiveOrder(order_id, lots, participant)
        events: list[Event] = []
        book._match(taker, opposite, side * price, events)  # noqa: SLF001
        if taker.queued and not lasts:
            book._rest(taker, own, price)  # noqa: SLF001
        return self._collect(ts_event_ns, events)

    def _require_words(self, index: int, row: Row) -> None:
        """Raise unless the words of a submit that are numbers here stand for something."""
        _, _, _, _, _, _, side, lasts, flags, _, _ = row
        if side not in _SIDES:
            raise self._no_message(index, "side", side, "+1, -1")
        if lasts >= len(_TIMES_IN_FORCE):
            raise self._no_message(index, "time_in_force", lasts, f"0..{len(_TIMES_IN_FORCE) - 1}")
        mode = (flags & _STP_MASK) >> _STP_SHIFT
        if mode >= len(_STP_MODES):
            allowed = f"0..{len(_STP_MODES) - 1}"
            raise self._no_message(index, "self-trade mode of flags", mode, allowed)

    def _collect(self, ts_event_ns: int, events: Sequence[Event]) -> RejectReason | None:
        """Keep the trades of a command's events; return why it was refused, if it was."""
        for event in events:
            if type(event) is Traded:
                self._trades.append((ts_event_ns, *event[:5], event.aggressor_side.sign))
            elif type(event) is Rejected:
                return event.reason
        return None

    # ---------------------------------------------------------------- what came of it

    def _refuse_feed(
        self,
        stretch: Stretch,
        index: int,
        reason: RejectReason,
        order_id: int,
        lots: int,
    ) -> None:
        """Raise where a feed's message cannot be true, or list it where that is asked for."""
        if not self._strict:
            self._refusals.append((index, order_id, _REASON_CODES[reason]))
            return
        fault = feed_fault(
            reason,
            order_id,
            price_ticks=stretch.cell(_PRICE, index),
            quantity_lots=lots,
            participant_id=stretch.cell(_PARTICIPANT, index),
        )
        self._end = index
        raise type(fault)(f"messages[{index}]: {fault}")

    def _no_message(self, index: int, name: str, value: int, allowed: str) -> InvalidInput:
        """Return the fault of a row that is no message; it is the last that is looked at."""
        self._end = index
        return InvalidInput(f"messages[{index}]: {name}: {value}; allowed: {allowed}")

    def _look_for_crossing(self, index: int) -> None:
        if self._book.crossed != (self._crossed_since >= 0):
            self._cross(index)

    def _cross(self, index: int) -> None:
        """Note that the book has come to be crossed, or to be no longer, with a row."""
        if self._crossed_since < 0:
            self._crossed_since = index
            return
        if index > self._crossed_since:
            self._crossings.append((self._crossed_since, index))
        self._crossed_since = -1


def _submit_of(row: Row) -> Submit:
    """Return the command of a row whose words there are."""
    _, order_id, price, lots, display, _, side, lasts, flags, participant, _ = row
    market = bool(flags & _MARKET)
    return Submit(
        order_id,
        _SIDES[side],
        lots,
        None if market and price == 0 else price,
        OrderType.MARKET if market else OrderType.LIMIT,
        _TIMES_IN_FORCE[lasts],
        bool(flags & _POST_ONLY),
        participant,
        _STP_MODES[(flags & _STP_MASK) >> _STP_SHIFT],
        None,
        display,
        bool(flags & _HIDDEN),
    )


def _unknown(order_id: int) -> RejectReason:
    return RejectReason.UNKNOWN_ORDER if order_id > 0 else RejectReason.INVALID_ORDER_ID


def _trade_rows(trades: Sequence[tuple[int, ...]]) -> Array:
    """Return trades as rows; by columns, which is half the work of an array of tuples."""
    names = TRADE_DTYPE.names or ()
    table = np.fromiter(chain.from_iterable(trades), np.int64, len(trades) * len(names))
    found = np.zeros(len(trades), TRADE_DTYPE)
    for place, name in enumerate(names):
        found[name] = table[place :: len(names)]
    return found


def _applied(
    trades: Sequence[tuple[int, ...]],
    refusals: Sequence[tuple[int, int, int]],
    crossings: Sequence[tuple[int, int]],
) -> Applied:
    return Applied(
        _trade_rows(trades),
        np.array(refusals, dtype=REFUSAL_DTYPE),
        np.array(crossings, dtype=CROSSING_DTYPE),
    )
