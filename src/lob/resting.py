"""What rests in the book, told by a feed or by the matching rules of `lob.book`.

The `feed_` methods record what a venue says has happened (rule 38): they match nothing, trigger
nothing, and raise where the report cannot be true.
"""

from typing import TYPE_CHECKING, Final

from lob.entry import shows_too_little
from lob.errors import InvalidInput, NotFound
from lob.expiry import Expiries
from lob.faults import feed_fault, is_int64, is_participant, require_int64
from lob.ladder import Ladder, LiveOrder, Shelf, SpecialOrder
from lob.stops import StopIndex
from lob.tracking import Tracker, took, took_reserve
from lob.types import INT64_MAX, Allocation, RejectReason, Side

if TYPE_CHECKING:
    from lob.messages import Applied
    from lob.types import Instrument

DEFAULT_MAX_TRACKED_ORDERS: Final = 10_000


class RestingBook:
    """Hold one instrument's resting orders; an order id is unique among live orders.

    Levels are found in O(1) and made or dropped in O(log levels); within a level everything but
    an untracked `queue_position` is O(1).
    """

    def __init__(
        self,
        instrument: "Instrument | None" = None,
        *,
        max_tracked_orders: int = DEFAULT_MAX_TRACKED_ORDERS,
    ) -> None:
        if type(max_tracked_orders) is not int or max_tracked_orders < 0:
            raise InvalidInput(f"max_tracked_orders: {max_tracked_orders!r}; allowed: 0 or more")
        self.instrument = instrument
        self._orders: dict[int, LiveOrder | Shelf] = {}  # of a bare order, its level
        self._bids = Ladder(Side.BUY, self._orders)
        self._asks = Ladder(Side.SELL, self._orders)
        self._stops = StopIndex()
        self._expiries = Expiries()
        self._tracker = Tracker(max_tracked_orders)
        self._trade_sequence = 0
        self._last_trade_ticks: int | None = None
        self._now_ns = 0
        self._last_apply: Applied | None = None
        self._pro_rata, self._minimum_lots = False, 1
        if instrument is not None:
            try:
                self._pro_rata = instrument.allocation == Allocation.PRO_RATA
                self._minimum_lots = instrument.minimum_allocation_lots
            except AttributeError:
                raise InvalidInput(f"instrument: {instrument!r}; allowed: an Instrument") from None

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

        Raises `InvalidInput` for a bad id, quantity, price or participant, `Conflict` for an id
        already live and for a full level.
        """
        own, _ = self._ladders(side)
        reason = self._add_refusal(order_id, own, price_ticks, quantity_lots, participant_id)
        if reason is not None:
            raise feed_fault(
                reason,
                order_id,
                price_ticks=price_ticks,
                quantity_lots=quantity_lots,
                participant_id=participant_id,
            )
        self._rest(LiveOrder(order_id, quantity_lots, participant_id), own, price_ticks)

    def feed_reduce(self, order_id: int, quantity_lots: int) -> None:
        """Record a partial cancel; the order keeps its place, and goes when nothing is left.

        Raises `NotFound` for an unknown order, `Conflict` when it has fewer lots.
        """
        reason = self._take_refusal(order_id, quantity_lots)
        if reason is not None:
            raise feed_fault(reason, order_id, quantity_lots=quantity_lots)
        order = self._require(order_id)
        if quantity_lots == order.leaves:
            self._remove(order)
        else:
            self._take_off(order, quantity_lots)

    def feed_execute(self, order_id: int, quantity_lots: int) -> None:
        """Record an execution of a resting order; counts as a trade. Raises as `feed_reduce`."""
        order = self._find(order_id)
        self.feed_reduce(order_id, quantity_lots)
        if order is not None:  # it was there, or `feed_reduce` has raised
            self._trade_sequence += 1
            self._last_trade_ticks = order.level.price_ticks

    def feed_delete(self, order_id: int) -> None:
        """Record that an order is gone; `NotFound` when it was not there."""
        order = self._find(order_id)
        if order is None:
            raise feed_fault(_unknown_reason(order_id), order_id)
        self._remove(order)

    def feed_modify(self, order_id: int, price_ticks: int, quantity_lots: int) -> None:
        """Record a new price and new leaves; the order keeps its place as in `replace`."""
        reason = self._modify_refusal(order_id, price_ticks, quantity_lots)
        if reason is not None:
            raise feed_fault(reason, order_id, price_ticks=price_ticks, quantity_lots=quantity_lots)
        self._modify(self._require(order_id), price_ticks, quantity_lots)

    def _modify(self, order: LiveOrder, price_ticks: int, quantity_lots: int) -> None:
        """Give an order the price and leaves that a feed says it has, which it may have."""
        if price_ticks == order.level.price_ticks and quantity_lots <= order.leaves:
            self._take_off(order, order.leaves - quantity_lots)
        else:
            own = order.level.ladder
            self._lift(order)
            order.show(quantity_lots)
            self._rest(order, own, price_ticks)

    def feed_clear(self) -> None:
        """Record that the venue's book is empty: every resting order goes.

        Waiting stops, the time and the count of trades stay.
        """
        for order_id in list(self._orders):
            self._remove(self._require(order_id))

    # ---------------------------------------------------------------- what cannot be true

    def _add_refusal(
        self,
        order_id: int,
        own: Ladder,
        price_ticks: int,
        quantity_lots: int,
        participant_id: int,
    ) -> RejectReason | None:
        for holds, reason in (
            (is_int64(order_id), RejectReason.INVALID_ORDER_ID),
            (is_int64(quantity_lots), RejectReason.INVALID_QUANTITY),
            (is_int64(price_ticks), RejectReason.INVALID_PRICE),
            (is_participant(participant_id), RejectReason.INVALID_PARTICIPANT_ID),
        ):
            if not holds:
                return reason
        if self._is_live(order_id):
            return RejectReason.DUPLICATE_ORDER_ID
        full = overflows(own, price_ticks, quantity_lots)
        return RejectReason.LEVEL_FULL if full else None

    def _take_refusal(self, order_id: int, quantity_lots: int) -> RejectReason | None:
        order = self._find(order_id)
        if order is None:
            return _unknown_reason(order_id)
        if not is_int64(quantity_lots):
            return RejectReason.INVALID_QUANTITY
        return RejectReason.MORE_THAN_LEAVES if quantity_lots > order.leaves else None

    def _modify_refusal(
        self, order_id: int, price_ticks: int, quantity_lots: int
    ) -> RejectReason | None:
        order = self._find(order_id)
        if order is None:
            return _unknown_reason(order_id)
        if not is_int64(quantity_lots):
            return RejectReason.INVALID_QUANTITY
        if not is_int64(price_ticks):
            return RejectReason.INVALID_PRICE
        return self._move_refusal(order, price_ticks, quantity_lots, crosses=False)

    def _move_refusal(
        self, order: LiveOrder, price_ticks: int, quantity_lots: int, *, crosses: bool
    ) -> RejectReason | None:
        """Return what forbids an order to go on with other leaves, or at another price."""
        level = order.level
        at_its_price = price_ticks == level.price_ticks
        if at_its_price and quantity_lots <= order.leaves:
            return None
        if shows_too_little(order.display_lots, quantity_lots):
            return RejectReason.INVALID_DISPLAY
        if crosses and order.post_only:
            return RejectReason.POST_ONLY_WOULD_CROSS
        already_there = order.leaves if at_its_price else 0
        full = overflows(level.ladder, price_ticks, quantity_lots - already_there)
        return RejectReason.LEVEL_FULL if full else None

    # ---------------------------------------------------------------- the moves everything is of

    def _rest(self, order: LiveOrder, own: Ladder, price_ticks: int) -> None:
        """Put an order at the tail of its price, where nobody may change it any more."""
        own.append(order, price_ticks)
        order_id = order.order_id
        if self._tracker.by_id:
            self._tracker.arrived(order)
        elif type(order) is LiveOrder and not order.participant_id:
            order.level.orders[order_id] = order.queued
            self._orders[order_id] = order.level
            return
        self._orders[order_id] = order
        if order.expire_ns:
            self._expiries.add(order.expire_ns, order_id)

    def _lift(self, order: LiveOrder) -> None:
        """Take an order off its level, to rest elsewhere or to end."""
        order.level.ladder.remove(order)
        del self._orders[order.order_id]
        if order.expire_ns:
            self._expiries.remove(order.expire_ns, order.order_id)
        if order.level.tracked:
            self._tracker.left(order)

    def _remove(self, order: LiveOrder) -> None:
        """Take an order that has ended out of the book."""
        self._lift(order)
        if self._tracker.by_id:
            self._tracker.drop(order.order_id)

    def _take(self, order: LiveOrder, lots: int) -> None:
        """Take some of the lots in the queue off an order that keeps its place."""
        level = order.level
        order.queued -= lots
        if order.hidden:
            level.concealed_lots -= lots
        else:
            level.displayed_lots -= lots
        if level.tracked:
            took(level, order, lots)

    def _take_off(self, order: LiveOrder, lots: int) -> None:
        """Take fewer lots than its leaves off an order: its reserve gives first (rule 27)."""
        from_reserve = min(lots, order.reserve)
        if from_reserve and isinstance(order, SpecialOrder):
            order.reserve -= from_reserve
            order.level.concealed_lots -= from_reserve
            if order.level.tracked:
                took_reserve(order.level, from_reserve)
        if lots > from_reserve:
            self._take(order, lots - from_reserve)

    def _ladders(self, side: Side) -> tuple[Ladder, Ladder]:
        """Return the ladder an order of `side` rests on, and the one it trades with."""
        if side == Side.BUY:
            return self._bids, self._asks
        if side == Side.SELL:
            return self._asks, self._bids
        raise InvalidInput(f"side: {side!r}; allowed: BUY, SELL")

    def _find(self, order_id: int) -> LiveOrder | None:
        # True == 1 and 1.0 == 1, so a dict alone would find order 1 under either.
        found = self._orders.get(order_id) if type(order_id) is int else None
        return found.order(order_id) if isinstance(found, Shelf) else found

    def _is_live(self, order_id: int) -> bool:
        """Say whether an id is taken, by a resting order or by a stop that waits."""
        return order_id in self._orders or order_id in self._stops.by_id

    def _require(self, order_id: int) -> LiveOrder:
        order = self._find(order_id)
        if order is None:
            require_int64("order_id", order_id)
            raise NotFound(f"order_id: {order_id} does not rest in the book")
        return order


def overflows(ladder: Ladder, price_ticks: int, more_lots: int) -> bool:
    """Say whether a level would hold more lots than a 64-bit total can (rule 23)."""
    shelf: Shelf | None = ladder.shelf(price_ticks)
    return shelf is not None and shelf.total_lots + more_lots > INT64_MAX


def _unknown_reason(order_id: int) -> RejectReason:
    """Return why nothing rests under an id."""
    known = is_int64(order_id)
    return RejectReason.UNKNOWN_ORDER if known else RejectReason.INVALID_ORDER_ID
