"""What can be asked of a book: nothing here changes it."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from lob.errors import InvalidInput, InvariantViolation
from lob.faults import is_int64, is_participant, require_int64, require_whole, require_word
from lob.invariants import check_book
from lob.ladder import LiveOrder, Shelf, SpecialOrder, live_order
from lob.resting import RestingBook, overflows
from lob.state_hash import state_hash
from lob.stops import Stop
from lob.tracking import walked_position
from lob.types import (
    INT64_MAX,
    BookSnapshot,
    Level,
    OrderType,
    QueuePosition,
    RestingOrder,
    Side,
    Submit,
)

if TYPE_CHECKING:
    from lob.messages import Applied

MAX_TRADE_SEQUENCE: Final = 1 << 62
"""What a snapshot may say of trades so far, so that the count has room to go on."""


class AskedBook(RestingBook):
    """Answer for what rests: depth and touch show displayed lots only, orders show everything."""

    def __len__(self) -> int:
        """Return the number of resting orders."""
        return len(self._orders)

    def __contains__(self, order_id: object) -> bool:
        """Say whether an order rests in the book; a stop that waits does not."""
        return type(order_id) is int and order_id in self._orders

    @property
    def trade_count(self) -> int:
        """Return how many trades the book has seen: the `sequence` of the last one."""
        return self._trade_sequence

    @property
    def last_trade_ticks(self) -> int | None:
        """Return the price of the last trade, None before the first."""
        return self._last_trade_ticks

    @property
    def now_ns(self) -> int:
        """Return the book's time in nanoseconds, as it was last told."""
        return self._now_ns

    @property
    def last_apply(self) -> "Applied":
        """Return what the last `apply` of messages came to; empty arrays before the first."""
        if self._last_apply is None:
            from lob.bulk import nothing_applied  # noqa: PLC0415 - bulk is built on this module

            self._last_apply = nothing_applied()
        return self._last_apply

    @property
    def crossed(self) -> bool:
        """Say whether a bid is at or above an ask, hidden ones too; only a feed can make it so."""
        bid, ask = self._bids.best, self._asks.best
        return bid is not None and ask is not None and bid.price_ticks >= ask.price_ticks

    def best_bid(self) -> Level | None:
        """Return the highest bid level that shows something. O(1)."""
        touch = self._bids.touch()
        return None if touch is None else _level(touch)

    def best_ask(self) -> Level | None:
        """Return the lowest ask level that shows something. O(1)."""
        touch = self._asks.touch()
        return None if touch is None else _level(touch)

    def spread_ticks(self) -> int | None:
        """Return best ask minus best bid in ticks; None unless both sides are there."""
        bid, ask = self._bids.touch(), self._asks.touch()
        return None if bid is None or ask is None else ask.price_ticks - bid.price_ticks

    def mid_ticks(self) -> float | None:
        """Return the mean of best bid and ask in ticks; None unless both sides are there."""
        bid, ask = self._bids.touch(), self._asks.touch()
        return None if bid is None or ask is None else (bid.price_ticks + ask.price_ticks) / 2

    def depth(self, levels: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return up to `levels` bid levels and ask levels, best first."""
        if not isinstance(levels, int) or levels < 0:
            raise InvalidInput(f"levels: {levels!r}; allowed: a whole number, 0 or more")
        most = min(levels, INT64_MAX)
        bids = tuple(_level(level) for level in islice(self._bids.displayed(), most))
        asks = tuple(_level(level) for level in islice(self._asks.displayed(), most))
        return bids, asks

    def level(self, side: Side, price_ticks: int) -> Level | None:
        """Return the level at a price, or None where nobody shows anything. O(1)."""
        require_whole("price_ticks", price_ticks)
        shelf = self._ladders(side)[0].shelf(price_ticks)
        return None if shelf is None or not shelf.orders else _level(shelf)

    def orders(self, side: Side | None = None) -> Iterator[RestingOrder]:
        """Yield resting orders by priority: bids, then asks, or one side only.

        At one price the displayed orders come before the hidden ones, each class by time.
        """
        ladders = (self._bids, self._asks) if side is None else self._ladders(side)[:1]
        return (order.view() for ladder in ladders for level in ladder for order in level)

    def order(self, order_id: int) -> RestingOrder | None:
        """Return a resting order, or None. O(1)."""
        order = self._find(order_id)
        return None if order is None else order.view()

    def first_order(self, side: Side, price_ticks: int) -> RestingOrder | None:
        """Return the order that trades first at a price, or None where nobody rests. O(1)."""
        require_whole("price_ticks", price_ticks)
        shelf = self._ladders(side)[0].shelf(price_ticks)
        return None if shelf is None else shelf.first().view()

    def stops(self, side: Side | None = None) -> Iterator[Submit]:
        """Yield the stops that wait: BUY lowest stop price first, SELL highest first, then time."""
        wanted = None if side is None else self._ladders(side)[0].side
        return (stop.view() for stop in self._stops if wanted in (None, stop.side))

    def levels_before(self, order_id: int) -> int:
        """Return how many displayed levels are better than an order's own; `NotFound`.

        O(log levels); where orders are hidden, O(levels before).
        """
        level = self._require(order_id).level
        ladder = level.ladder
        if not ladder.hidden_count:
            return int(ladder.levels.bisect_left(level.key))
        before = ladder.levels.irange(maximum=level.key, inclusive=(True, False))
        return sum(bool(ladder.levels[key].orders) for key in before)

    def queue_position(self, order_id: int) -> QueuePosition:
        """Return what stands before an order at its price (rule 41); `NotFound`.

        O(1) for a tracked order, O(orders ahead) for another.
        """
        order = self._require(order_id)
        return self._tracker.position(order_id) or walked_position(order)

    def track(self, order_id: int) -> QueuePosition:
        """Follow an order's place from now on, until it ends; return where it stands.

        Beyond `max_tracked_orders` the one tracked longest ago is dropped. `NotFound` for an order
        that does not rest.
        """
        return self._tracker.follow(self._require(order_id))

    def untrack(self, order_id: int) -> None:
        """Follow an order's place no longer; an order that is not tracked is no fault. O(1)."""
        if self._find(order_id) is not None:
            self._tracker.drop(order_id)

    @property
    def tracked_count(self) -> int:
        """Return how many orders are tracked."""
        return len(self._tracker)

    # ---------------------------------------------------------------- whole-book state

    def snapshot(self) -> BookSnapshot:
        """Return everything that decides what the book does next. O(orders)."""
        return BookSnapshot(
            self.instrument,
            tuple(self.orders()),
            tuple(self.stops()),
            self._trade_sequence,
            self._last_trade_ticks,
            self._now_ns,
        )

    @classmethod
    def restore(cls, snapshot: BookSnapshot) -> Self:
        """Return a book that behaves as the one the snapshot was taken of; nothing is tracked.

        Raises `InvalidInput` or `Conflict` where no book can be in that state, or where orders or
        stops do not come by priority.
        """
        if not isinstance(snapshot, BookSnapshot):
            raise InvalidInput(f"snapshot: {snapshot!r}; allowed: a BookSnapshot")
        book = cls(snapshot.instrument)
        book._set_counts(snapshot)
        for view in snapshot.orders:
            book._restore_order(view)
        for waiting in snapshot.stops:
            book._restore_stop(waiting)
        if book.snapshot() != snapshot:
            raise InvalidInput("snapshot: its orders or stops are not in order of priority")
        try:
            book.check(crossed_allowed=True)
        except InvariantViolation as error:
            raise InvalidInput(f"snapshot: {error}") from error
        return book

    def state_hash(self) -> str:
        """Return a hash that two books share exactly when they will behave the same (rule 43).

        The format is in `lob.state_hash`. O(orders).
        """
        return state_hash(self.snapshot())

    def check(self, *, crossed_allowed: bool = False) -> None:
        """Raise `InvariantViolation` unless every index agrees with every other. O(orders)."""
        check_book(self, crossed_allowed=crossed_allowed)

    # ---------------------------------------------------------------- inside

    def _set_counts(self, snapshot: BookSnapshot) -> None:
        for name, value, highest in (
            ("trade_sequence", snapshot.trade_sequence, MAX_TRADE_SEQUENCE),
            ("now_ns", snapshot.now_ns, INT64_MAX),
        ):
            if not is_participant(value) or value > highest:
                raise InvalidInput(f"snapshot: {name}: {value!r}; allowed: 0..{highest}")
        if snapshot.last_trade_ticks is not None:
            require_int64("snapshot: last_trade_ticks", snapshot.last_trade_ticks)
        self._trade_sequence = snapshot.trade_sequence
        self._last_trade_ticks = snapshot.last_trade_ticks
        self._now_ns = snapshot.now_ns

    def _restore_order(self, view: RestingOrder) -> None:
        if not isinstance(view, RestingOrder):
            raise InvalidInput(f"snapshot: {view!r}; allowed: a RestingOrder")
        own, _ = self._ladders(view.side)
        self._require_fields(view, view.leaves)
        require_int64("snapshot: price_ticks", view.price_ticks)
        if overflows(own, view.price_ticks, view.leaves):
            raise InvalidInput(f"snapshot: level {view.price_ticks}: more than {INT64_MAX} lots")
        order = _live_order(view, view.leaves)
        if not view.hidden and view.display_lots and isinstance(order, SpecialOrder):
            shown = view.displayed_lots
            if not is_int64(shown) or shown > min(view.display_lots, view.leaves):
                raise InvalidInput(f"snapshot: order {view.order_id} shows {shown!r} lots")
            order.queued, order.reserve = shown, view.leaves - shown
        self._rest(order, own, view.price_ticks)

    def _restore_stop(self, waiting: Submit) -> None:
        if not isinstance(waiting, Submit):
            raise InvalidInput(f"snapshot: {waiting!r}; allowed: a Submit")
        own, _ = self._ladders(waiting.side)
        self._require_fields(waiting, waiting.quantity_lots)
        if waiting.stop_ticks is None or not is_int64(waiting.stop_ticks):
            raise InvalidInput(f"snapshot: stop {waiting.order_id} has no stop price")
        order_type = require_word("order_type", waiting.order_type)
        priced = order_type == OrderType.STOP_LIMIT
        if order_type not in (OrderType.STOP, OrderType.STOP_LIMIT) or not (
            is_int64(waiting.price_ticks) if priced else waiting.price_ticks is None
        ):
            raise InvalidInput(f"snapshot: stop {waiting.order_id} has not a stop's type and price")
        asked = waiting._replace(
            order_type=order_type,
            time_in_force=require_word("time_in_force", waiting.time_in_force),
        )
        stop = Stop(_live_order(waiting, waiting.quantity_lots), own.side, asked)
        self._stops.add(stop)
        if stop.order.expire_ns:
            self._expiries.add(stop.order.expire_ns, stop.order.order_id)

    def _require_fields(self, order: RestingOrder | Submit, lots: int) -> None:
        """Raise unless what resting and waiting orders have in common can be."""
        order_id = order.order_id
        require_int64("snapshot: order_id", order_id)
        require_int64("snapshot: leaves", lots)
        if not is_participant(order.participant_id):
            raise InvalidInput(f"snapshot: order {order_id}: participant {order.participant_id!r}")
        if not is_participant(order.display_lots) or (order.hidden and order.display_lots):
            raise InvalidInput(f"snapshot: order {order_id}: display {order.display_lots!r}")
        expire_ns = order.expire_ns
        if expire_ns is not None and (
            not is_int64(expire_ns) or (expire_ns <= self._now_ns and expire_ns != INT64_MAX)
        ):
            raise InvalidInput(f"snapshot: order {order_id} expired at {expire_ns!r} already")
        if self._is_live(order_id):
            raise InvalidInput(f"snapshot: order {order_id} is there twice")


def _live_order(view: RestingOrder | Submit, lots: int) -> LiveOrder:
    return live_order(
        view.order_id,
        lots,
        view.participant_id,
        stp=require_word("stp", view.stp),
        post_only=view.post_only,
        display_lots=view.display_lots,
        hidden=view.hidden,
        expire_ns=view.expire_ns or 0,
    )


def _level(shelf: Shelf) -> Level:
    return Level(shelf.price_ticks, shelf.displayed_lots, len(shelf.orders))
