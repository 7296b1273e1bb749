"""What rests in the book, told by a feed or by the matching rules of `lob.book`.

The `feed_` methods record what a venue says has happened: they match nothing, and raise where the
report cannot be true. Everything else here asks, copies or checks.
"""

import struct
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from typing import Final, Self, TypeGuard

from lob.errors import Conflict, InvalidInput, InvariantViolation, NotFound
from lob.ladder import Ladder, LiveOrder, Shelf
from lob.types import (
    INT64_MAX,
    BookSnapshot,
    Instrument,
    Level,
    QueuePosition,
    RestingOrder,
    SelfTradePrevention,
    Side,
)

_STP_CODE: Final = {mode: code for code, mode in enumerate(SelfTradePrevention)}
_ORDER_BYTES: Final = struct.Struct("<qqqqBB")
_HEADER_BYTES: Final = struct.Struct("<16sqqq")


class RestingBook:
    """Hold one instrument's resting orders; an order id is unique among live orders.

    Levels are found in O(1) and made or dropped in O(log levels); within a level everything but
    `queue_position` is O(1).
    """

    def __init__(self, instrument: Instrument | None = None) -> None:
        self.instrument = instrument
        self._bids = Ladder(Side.BUY)
        self._asks = Ladder(Side.SELL)
        self._orders: dict[int, LiveOrder] = {}
        self._trade_sequence = 0
        self._rest_sequence = 0

    # ---------------------------------------------------------------- what a feed says happened

    def feed_add(
        self,
        order_id: int,
        side: Side,
        price_ticks: int,
        quantity_lots: int,
        participant_id: int = 0,
    ) -> None:
        """Record a new resting order; it may cross, as a venue's book may before its open.

        Raises `InvalidInput` for a bad id, price or quantity, `Conflict` for an id already live.
        """
        require_int64("order_id", order_id)
        require_int64("price_ticks", price_ticks)
        require_int64("quantity_lots", quantity_lots)
        if order_id in self._orders:
            raise Conflict(f"order_id: {order_id} is live already; allowed: an id that is not")
        own, _ = self._ladders(side)
        if overflows(own, price_ticks, quantity_lots):
            raise Conflict(f"quantity_lots: {quantity_lots} takes the level beyond {INT64_MAX}")
        order = LiveOrder(order_id, quantity_lots, participant_id, SelfTradePrevention.NONE, False)
        self._rest(order, own, price_ticks)

    def feed_reduce(self, order_id: int, quantity_lots: int) -> None:
        """Record a partial cancel; the order keeps its place, and goes when nothing is left.

        Raises `NotFound` for an unknown order, `Conflict` when it has fewer lots.
        """
        order = self._require(order_id)
        require_int64("quantity_lots", quantity_lots)
        if quantity_lots > order.leaves:
            raise Conflict(
                f"quantity_lots: {quantity_lots} off order {order_id}; allowed: 1..{order.leaves}"
            )
        if quantity_lots == order.leaves:
            self._remove(order)
        else:
            self._take(order, quantity_lots)

    def feed_execute(self, order_id: int, quantity_lots: int) -> None:
        """Record an execution of a resting order; counts as a trade. Raises as `feed_reduce`."""
        self.feed_reduce(order_id, quantity_lots)
        self._trade_sequence += 1

    def feed_delete(self, order_id: int) -> None:
        """Record that an order is gone; `NotFound` when it was not there."""
        self._remove(self._require(order_id))

    def feed_modify(self, order_id: int, price_ticks: int, quantity_lots: int) -> None:
        """Record a new price and new leaves; the order keeps its place as in `replace`."""
        order = self._require(order_id)
        require_int64("price_ticks", price_ticks)
        require_int64("quantity_lots", quantity_lots)
        level = order.level
        if price_ticks == level.price_ticks and quantity_lots <= order.leaves:
            self._take(order, order.leaves - quantity_lots)
            return
        own = level.ladder
        already_there = order.leaves if price_ticks == level.price_ticks else 0
        if overflows(own, price_ticks, quantity_lots - already_there):
            raise Conflict(f"quantity_lots: {quantity_lots} takes the level beyond {INT64_MAX}")
        self._remove(order)
        order.leaves = quantity_lots
        self._rest(order, own, price_ticks)

    # ---------------------------------------------------------------- questions

    def __len__(self) -> int:
        """Return the number of resting orders."""
        return len(self._orders)

    def __contains__(self, order_id: object) -> bool:
        """Say whether an order rests in the book."""
        return order_id in self._orders

    @property
    def trade_count(self) -> int:
        """Return how many trades the book has seen: the `sequence` of the last one."""
        return self._trade_sequence

    @property
    def crossed(self) -> bool:
        """Say whether the best bid is at or above the best ask; only a feed can make it so."""
        bid, ask = self._bids.best, self._asks.best
        return bid is not None and ask is not None and bid.price_ticks >= ask.price_ticks

    def best_bid(self) -> Level | None:
        """Return the highest bid level. O(1)."""
        return None if self._bids.best is None else _level(self._bids.best)

    def best_ask(self) -> Level | None:
        """Return the lowest ask level. O(1)."""
        return None if self._asks.best is None else _level(self._asks.best)

    def spread_ticks(self) -> int | None:
        """Return best ask minus best bid in ticks; None unless both sides are there."""
        bid, ask = self._bids.best, self._asks.best
        return None if bid is None or ask is None else ask.price_ticks - bid.price_ticks

    def mid_ticks(self) -> float | None:
        """Return the mean of best bid and ask in ticks; None unless both sides are there."""
        bid, ask = self._bids.best, self._asks.best
        return None if bid is None or ask is None else (bid.price_ticks + ask.price_ticks) / 2

    def depth(self, levels: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return up to `levels` bid levels and ask levels, best first."""
        if levels < 0:
            raise InvalidInput(f"levels: {levels}; allowed: 0 or more")
        bids = tuple(_level(level) for level in islice(self._bids, levels))
        asks = tuple(_level(level) for level in islice(self._asks, levels))
        return bids, asks

    def level(self, side: Side, price_ticks: int) -> Level | None:
        """Return the level at a price, or None where nobody rests. O(1)."""
        shelf = self._ladders(side)[0].shelf(price_ticks)
        return None if shelf is None else _level(shelf)

    def orders(self, side: Side | None = None) -> Iterator[RestingOrder]:
        """Yield resting orders in price-time order: bids, then asks, or one side only."""
        for ladder in (self._bids, self._asks):
            if side is None or side == ladder.side:
                for level in ladder:
                    for order in level.orders.values():
                        yield order.view()

    def order(self, order_id: int) -> RestingOrder | None:
        """Return a resting order, or None. O(1)."""
        order = self._find(order_id)
        return None if order is None else order.view()

    def first_order(self, side: Side, price_ticks: int) -> RestingOrder | None:
        """Return the order first in the queue at a price, or None where nobody rests. O(1)."""
        shelf = self._ladders(side)[0].shelf(price_ticks)
        return None if shelf is None else next(iter(shelf.orders.values())).view()

    def levels_before(self, order_id: int) -> int:
        """Return how many levels are better than an order's own. O(log levels); `NotFound`."""
        level = self._require(order_id).level
        return int(level.ladder.levels.bisect_left(level.key))

    def queue_position(self, order_id: int) -> QueuePosition:
        """Return what stands before an order at its price. O(orders ahead); `NotFound`."""
        order = self._require(order_id)
        orders_ahead = lots_ahead = 0
        for other in order.level.orders.values():
            if other is order:
                break
            orders_ahead += 1
            lots_ahead += other.leaves
        return QueuePosition(orders_ahead, lots_ahead)

    # ---------------------------------------------------------------- whole-book state

    def snapshot(self) -> BookSnapshot:
        """Return everything that decides what the book does next. O(orders)."""
        return BookSnapshot(
            instrument=self.instrument,
            orders=tuple(self.orders()),
            trade_sequence=self._trade_sequence,
            rest_sequence=self._rest_sequence,
        )

    @classmethod
    def restore(cls, snapshot: BookSnapshot) -> Self:
        """Return a book that behaves as the one the snapshot was taken of.

        Raises `InvalidInput` or `Conflict` where no book can be in that state.
        """
        book = cls(snapshot.instrument)
        for view in snapshot.orders:
            book.feed_add(
                view.order_id, view.side, view.price_ticks, view.leaves, view.participant_id
            )
            order = book._orders[view.order_id]
            order.stp, order.post_only, order.sequence = view.stp, view.post_only, view.sequence
        book._trade_sequence = snapshot.trade_sequence
        book._rest_sequence = snapshot.rest_sequence
        try:
            book.check(crossed_allowed=True)
        except InvariantViolation as error:
            raise InvalidInput(f"snapshot: {error}") from error
        return book

    def state_hash(self) -> str:
        """Return a hash that two books share exactly when they will behave the same.

        BLAKE2b-128 over little-endian bytes: "touchstone-book1", number of bids, number of asks,
        trades so far; then bids and asks in price-time order, each as id, price, leaves,
        participant (int64), self-trade mode and post-only flag (uint8). O(orders).
        """
        digest = blake2b(digest_size=16)
        counts = [sum(len(level.orders) for level in side) for side in (self._bids, self._asks)]
        digest.update(_HEADER_BYTES.pack(b"touchstone-book1", *counts, self._trade_sequence))
        for ladder in (self._bids, self._asks):
            for level in ladder:
                for order in level.orders.values():
                    packed = _ORDER_BYTES.pack(
                        order.order_id,
                        level.price_ticks,
                        order.leaves,
                        order.participant_id,
                        _STP_CODE[order.stp],
                        order.post_only,
                    )
                    digest.update(packed)
        return digest.hexdigest()

    def check(self, *, crossed_allowed: bool = False) -> None:
        """Raise `InvariantViolation` unless every index agrees with every other. O(orders)."""
        found = 0
        for ladder in (self._bids, self._asks):
            _ensure(list(ladder.levels) == sorted(ladder.levels), "levels are out of order")
            best = next(iter(ladder), None)
            _ensure(ladder.best is best, f"{ladder.side} touch is not the best level")
            for level in ladder:
                found += len(level.orders)
                self._check_level(level)
        _ensure(found == len(self._orders), "the id index and the levels differ in their orders")
        _ensure(crossed_allowed or not self.crossed, "the book is crossed")

    # ---------------------------------------------------------------- inside

    def _check_level(self, level: Shelf) -> None:
        at = f"{level.ladder.side} level {level.price_ticks}"
        _ensure(bool(level.orders), f"{at} is empty")
        _ensure(level.key == level.ladder.sign * level.price_ticks, f"{at} is misfiled")
        _ensure(level.ladder.levels[level.key] is level, f"{at} is not on its ladder")
        total = sum(order.leaves for order in level.orders.values())
        _ensure(total == level.total_lots, f"{at} says {level.total_lots} lots, has {total}")
        _ensure(total <= INT64_MAX, f"{at} has more than {INT64_MAX} lots")
        before = 0
        for order_id, order in level.orders.items():
            _ensure(self._orders.get(order_id) is order, f"order {order_id} is not in the index")
            _ensure(order.order_id == order_id, f"order {order.order_id} is filed as {order_id}")
            _ensure(order.level is level, f"order {order_id} is at two levels")
            _ensure(order.leaves > 0, f"order {order_id} has {order.leaves} leaves")
            _ensure(before < order.sequence, f"order {order_id} is before an earlier one")
            before = order.sequence
        _ensure(before <= self._rest_sequence, f"{at} has an order from the future")

    def _ladders(self, side: Side) -> tuple[Ladder, Ladder]:
        """Return the ladder an order of `side` rests on, and the one it trades with."""
        if side == Side.BUY:
            return self._bids, self._asks
        if side == Side.SELL:
            return self._asks, self._bids
        raise InvalidInput(f"side: {side!r}; allowed: BUY, SELL")

    def _rest(self, order: LiveOrder, own: Ladder, price_ticks: int) -> None:
        self._rest_sequence += 1
        order.sequence = self._rest_sequence
        own.append(order, price_ticks)
        self._orders[order.order_id] = order

    def _remove(self, order: LiveOrder) -> None:
        order.level.ladder.remove(order)
        del self._orders[order.order_id]

    def _take(self, order: LiveOrder, lots: int) -> None:
        """Take lots off an order that keeps its place."""
        order.leaves -= lots
        order.level.total_lots -= lots

    def _find(self, order_id: int) -> LiveOrder | None:
        # True == 1 and 1.0 == 1, so a dict alone would find order 1 under either.
        return self._orders.get(order_id) if type(order_id) is int else None

    def _require(self, order_id: int) -> LiveOrder:
        order = self._find(order_id)
        if order is None:
            require_int64("order_id", order_id)
            raise NotFound(f"order_id: {order_id} does not rest in the book")
        return order


def is_int64(value: object) -> TypeGuard[int]:
    """Say whether a value is a real int in 1..2^63-1 (a bool is not)."""
    return type(value) is int and 0 < value <= INT64_MAX


def require_int64(name: str, value: object) -> None:
    """Raise `InvalidInput` unless `is_int64`."""
    if not is_int64(value):
        raise InvalidInput(f"{name}: {value!r}; allowed: a whole number, 1..{INT64_MAX}")


def overflows(ladder: Ladder, price_ticks: int, more_lots: int) -> bool:
    """Say whether a level would hold more lots than a 64-bit total can."""
    shelf = ladder.shelf(price_ticks)
    return shelf is not None and shelf.total_lots + more_lots > INT64_MAX


def _level(shelf: Shelf) -> Level:
    return Level(shelf.price_ticks, shelf.total_lots, len(shelf.orders))


def _ensure(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvariantViolation(otherwise)
