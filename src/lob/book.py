"""The order book, read as a rulebook: `docs/rulebook.md` numbers its rules.

This is the reference. A command changes the book and returns the events that say how; a refused
command changes nothing and returns one `Rejected`. How orders trade is in `lob.matching`, what a
feed reports in `lob.resting`, what can be asked in `lob.questions`, many messages at once in
`lob.bulk`.
"""

from collections import deque
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from lob.bulk import CompiledTape, apply_messages, apply_tape
from lob.entry import STOP_TYPES, field_refusal, rests_in_book
from lob.errors import InvalidInput
from lob.expiry import next_day_close
from lob.faults import is_int64, require_int64, require_word
from lob.ladder import Ladder, LiveOrder, live_order
from lob.matching import MatchingBook
from lob.messages import Array
from lob.resting import overflows
from lob.stops import Stop
from lob.types import (
    INT64_MAX,
    Accepted,
    Cancel,
    Cancelled,
    CancelReason,
    Command,
    Event,
    Expired,
    OrderType,
    Reduce,
    Reduced,
    Rejected,
    RejectReason,
    Replace,
    Replaced,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
    Traded,
    Triggered,
    Walk,
)
from lob.walking import walk_ladder

_ANY_PRICE: Final = INT64_MAX + 1
"""The limit key of an order without a limit: no level lies beyond it."""


class OrderBook(MatchingBook):
    """Hold one instrument's resting orders and match new ones against them.

    An order id is unique among live orders. Levels are found in O(1) and made or dropped in
    O(log levels); within a level everything but an untracked `queue_position` is O(1) (under
    pro-rata, an aggressor is O(orders at the level)).

    >>> book = OrderBook()
    >>> _ = book.submit(1, Side.SELL, 5, 101)
    >>> for event in book.submit(2, Side.BUY, 8, 101): print(type(event).__name__)
    Accepted
    Traded
    >>> book.best_bid()
    Level(price_ticks=101, quantity_lots=3, order_count=1)
    """

    # ---------------------------------------------------------------- commands

    @overload
    def apply(self, command: Command) -> tuple[Event, ...]: ...

    @overload
    def apply(
        self,
        command: Array,
        *,
        participants: NDArray[np.int64] | None = None,
        strict: bool = True,
    ) -> Array: ...

    @overload
    def apply(self, command: CompiledTape) -> Array: ...

    def apply(
        self,
        command: Command | Array | CompiledTape,
        *,
        participants: NDArray[np.int64] | None = None,
        strict: bool = True,
    ) -> tuple[Event, ...] | Array:
        """Carry out one command and return its events, in the order they happened.

        Or carry out an array of `MESSAGE_DTYPE`, or a tape compiled of one, and return its trades
        (rules 39 and 40); `last_apply` has its refusals. `participants` names the participant of
        each row. Raises as rule 39 says.
        """
        match command:
            case Submit():
                return self._submit(command)
            case Cancel():
                return self.cancel(command.order_id)
            case Reduce():
                return self.reduce(command.order_id, command.quantity_lots)
            case Replace():
                return self.replace(command.order_id, command.price_ticks, command.quantity_lots)
            case CompiledTape():
                return apply_tape(self, command)
            case _:
                return apply_messages(self, command, participants, strict=strict)

    def submit(
        self,
        order_id: int,
        side: Side,
        quantity_lots: int,
        price_ticks: int | None = None,
        *,
        order_type: OrderType = OrderType.LIMIT,
        time_in_force: TimeInForce = TimeInForce.GTC,
        post_only: bool = False,
        participant_id: int = 0,
        stp: SelfTradePrevention = SelfTradePrevention.NONE,
        stop_ticks: int | None = None,
        display_lots: int = 0,
        hidden: bool = False,
        expire_ns: int | None = None,
    ) -> tuple[Event, ...]:
        """Take a new order: trade what crosses, then rest or cancel the remainder; or let it wait.

        It is refused whole by rule 22. A word that is no order type, time in force or self-trade
        mode is `InvalidInput`: it must not be taken for another one.
        """
        return self._submit(
            Submit(
                order_id,
                side,
                quantity_lots,
                price_ticks,
                order_type,
                time_in_force,
                post_only,
                participant_id,
                stp,
                stop_ticks,
                display_lots,
                hidden,
                expire_ns,
            )
        )

    def cancel(self, order_id: int) -> tuple[Event, ...]:
        """Take a resting order, or a stop that waits, out of the book. O(1)."""
        order = self._find(order_id)
        if order is not None:
            self._remove(order)
            return (Cancelled(order_id, order.leaves, CancelReason.REQUESTED),)
        stop = self._find_stop(order_id)
        if stop is not None:
            self._unwait(stop)
            return (Cancelled(order_id, stop.order.queued, CancelReason.REQUESTED),)
        return (_unknown(order_id),)

    def reduce(self, order_id: int, quantity_lots: int) -> tuple[Event, ...]:
        """Take lots off an order, which keeps its place; all of them cancels it. O(1)."""
        order, stop = self._find(order_id), self._find_stop(order_id)
        if order is not None:
            leaves = order.leaves
        elif stop is not None:
            leaves = stop.order.queued
        else:
            return (_unknown(order_id),)
        if not is_int64(quantity_lots):
            return (Rejected(order_id, RejectReason.INVALID_QUANTITY),)
        if quantity_lots >= leaves:
            return self.cancel(order_id)
        if order is not None:
            self._take_off(order, quantity_lots)
        elif stop is not None:
            stop.order.queued -= quantity_lots
        return (Reduced(order_id, quantity_lots, leaves - quantity_lots),)

    def replace(self, order_id: int, price_ticks: int, quantity_lots: int) -> tuple[Event, ...]:
        """Give a resting order a new price and new leaves.

        Same price and no more lots: it keeps its place. Anything else: it leaves the book and
        comes back as a new arrival with its own id, participant, display, expiry, post-only flag
        and self-trade mode. A refused replace leaves the order as it was.
        """
        order = self._find(order_id)
        if order is None:
            waits = self._find_stop(order_id) is not None
            stop_refused = Rejected(order_id, RejectReason.STOP_NOT_TRIGGERED)
            return (stop_refused if waits else _unknown(order_id),)
        if not is_int64(quantity_lots):
            return (Rejected(order_id, RejectReason.INVALID_QUANTITY),)
        if not is_int64(price_ticks):
            return (Rejected(order_id, RejectReason.INVALID_PRICE),)
        leaves = order.leaves
        if price_ticks == order.level.price_ticks and quantity_lots <= leaves:
            self._take_off(order, leaves - quantity_lots)
            return (Replaced(order_id, price_ticks, quantity_lots, kept_priority=True),)
        return self._move(order, price_ticks, quantity_lots)

    def advance(self, now_ns: int) -> tuple[Event, ...]:
        """Move the book's time on; return an `Expired` for each order whose time is over.

        They come by `expire_ns`, then by id. `InvalidInput` for a time before the book's own.
        """
        if type(now_ns) is not int or not self._now_ns <= now_ns <= INT64_MAX:
            allowed = f"a whole number, {self._now_ns}..{INT64_MAX}"
            raise InvalidInput(f"now_ns: {now_ns!r}; allowed: {allowed}")
        self._now_ns = now_ns
        events: list[Event] = []
        for order_id in self._expiries.due(now_ns):
            order = self._find(order_id)
            stop = self._stops.get(order_id)
            if order is not None:
                self._remove(order)
                events.append(Expired(order_id, order.leaves))
            elif stop is not None:
                self._unwait(stop)
                events.append(Expired(order_id, stop.order.queued))
        return tuple(events)

    def walk(
        self,
        side: Side,
        quantity_lots: int,
        limit_ticks: int | None = None,
        *,
        participant_id: int = 0,
        stp: SelfTradePrevention = SelfTradePrevention.NONE,
    ) -> Walk:
        """Return what an aggressor of `side` would get now, without touching anything.

        It is what an IOC order of the same quantity, limit, participant and mode trades, hidden
        lots and reserves included. Raises `InvalidInput` for a bad quantity, limit or mode.
        O(levels reached); with a mode and a participant, O(orders reached).
        """
        require_int64("quantity_lots", quantity_lots)
        mode = require_word("stp", stp)
        _, opposite = self._ladders(side)
        if limit_ticks is not None:
            require_int64("limit_ticks", limit_ticks)
        limit_key = _limit_key(opposite, limit_ticks)
        return self._walk(opposite, quantity_lots, limit_key, mode, participant_id)

    # ---------------------------------------------------------------- an order arrives

    def _submit(self, asked: Submit) -> tuple[Event, ...]:
        order_id = asked.order_id
        require_word("order_type", asked.order_type)
        require_word("time_in_force", asked.time_in_force)
        require_word("stp", asked.stp)
        own, opposite = self._ladders(asked.side)
        reason = field_refusal(asked, self._now_ns)
        if reason is None and self._is_live(order_id):
            reason = RejectReason.DUPLICATE_ORDER_ID
        if reason is None and asked.post_only and not rests_in_book(asked):
            reason = RejectReason.POST_ONLY_NEEDS_RESTING
        if reason is not None:
            return (Rejected(order_id, reason),)
        taker = self._live(asked)
        accepted = Accepted(order_id, own.side, asked.price_ticks, asked.quantity_lots)
        events: list[Event] = [accepted]
        if asked.order_type in STOP_TYPES:
            self._wait(taker, own.side, asked, events)
        else:
            limit_key = _limit_key(opposite, asked.price_ticks)
            reason = self._arrival_refusal(taker, own, limit_key, asked)
            if reason is not None:
                return (Rejected(order_id, reason),)
            self._act(taker, own, limit_key, asked, events)
        return self._settled(events)

    def _live(self, asked: Submit) -> LiveOrder:
        """Return the order that a submit asks for, all its lots in `queued`."""
        expire_ns = asked.expire_ns or 0
        if asked.time_in_force == TimeInForce.DAY:
            close_ns = 0 if self.instrument is None else self.instrument.day_close_ns
            expire_ns = next_day_close(self._now_ns, close_ns)
        iceberg = 0 < asked.display_lots < asked.quantity_lots
        return live_order(
            asked.order_id,
            asked.quantity_lots,
            asked.participant_id,
            stp=require_word("stp", asked.stp),
            post_only=asked.post_only,
            display_lots=asked.display_lots if iceberg else 0,
            hidden=asked.hidden,
            expire_ns=expire_ns,
        )

    def _arrival_refusal(
        self, taker: LiveOrder, own: Ladder, limit_key: int, asked: Submit
    ) -> RejectReason | None:
        """Return what forbids an order to act, as the book stands."""
        opposite = self._asks if own is self._bids else self._bids
        if taker.post_only and opposite.best is not None and opposite.best.key <= limit_key:
            return RejectReason.POST_ONLY_WOULD_CROSS
        if asked.time_in_force == TimeInForce.FOK:
            walk = self._walk(opposite, taker.queued, limit_key, taker.stp, taker.participant_id)
            if walk.quantity_lots < taker.queued:
                return RejectReason.FOK_NOT_FILLABLE
        price_ticks = asked.price_ticks
        if price_ticks is not None and rests_in_book(asked):
            return RejectReason.LEVEL_FULL if overflows(own, price_ticks, taker.queued) else None
        return None

    def _act(
        self, taker: LiveOrder, own: Ladder, limit_key: int, asked: Submit, events: list[Event]
    ) -> None:
        """Trade what crosses; then rest or cancel the remainder (rules 3-5)."""
        opposite = self._asks if own is self._bids else self._bids
        self._match(taker, opposite, limit_key, events)
        if not taker.queued:
            return
        price_ticks = asked.price_ticks
        if price_ticks is not None and rests_in_book(asked):
            taker.show(taker.queued)
            self._rest(taker, own, price_ticks)
        else:
            market = price_ticks is None
            why = CancelReason.MARKET_REMAINDER if market else CancelReason.IOC_REMAINDER
            events.append(Cancelled(taker.order_id, taker.queued, why))

    def _move(self, order: LiveOrder, price_ticks: int, quantity_lots: int) -> tuple[Event, ...]:
        """Let a resting order arrive anew (rules 14 and 15)."""
        order_id = order.order_id
        own, opposite = self._ladders(order.level.ladder.side)
        limit_key = _limit_key(opposite, price_ticks)
        crosses = opposite.best is not None and opposite.best.key <= limit_key
        reason = self._move_refusal(order, price_ticks, quantity_lots, crosses=crosses)
        if reason is not None:
            return (Rejected(order_id, reason),)
        self._lift(order)
        order.arm(quantity_lots)
        events: list[Event] = [Replaced(order_id, price_ticks, quantity_lots, kept_priority=False)]
        self._match(order, opposite, limit_key, events)
        if order.queued:
            order.show(order.queued)
            self._rest(order, own, price_ticks)
        else:
            self._tracker.drop(order_id)
        return self._settled(events)

    def _walk(
        self,
        opposite: Ladder,
        lots: int,
        limit_key: int,
        stp: SelfTradePrevention,
        participant_id: int,
    ) -> Walk:
        return walk_ladder(
            opposite,
            lots,
            limit_key,
            participant_id=participant_id,
            stp=stp,
            pro_rata=self._pro_rata,
        )

    # ---------------------------------------------------------------- stops

    def _wait(self, order: LiveOrder, side: Side, asked: Submit, events: list[Event]) -> None:
        """Let a stop wait, or trigger it where the last trade is there already (rule 31)."""
        stop = Stop(order, side, asked)
        if stop.reached(self._last_trade_ticks):
            self._trigger(stop, events)
            return
        self._stops.add(stop)
        if order.expire_ns:
            self._expiries.add(order.expire_ns, order.order_id)

    def _unwait(self, stop: Stop) -> None:
        """Take a waiting stop out."""
        self._stops.remove(stop)
        order = stop.order
        if order.expire_ns:
            self._expiries.remove(order.expire_ns, order.order_id)

    def _trigger(self, stop: Stop, events: list[Event]) -> None:
        """Let a stop act as a new MARKET or LIMIT order does (rule 32)."""
        taker, asked = stop.order, stop.triggered()
        events.append(Triggered(taker.order_id, stop.stop_ticks))
        own, opposite = self._ladders(stop.side)
        limit_key = _limit_key(opposite, asked.price_ticks)
        reason = self._arrival_refusal(taker, own, limit_key, asked)
        if reason is not None:
            events.append(Cancelled(taker.order_id, taker.queued, CancelReason(reason.value)))
        else:
            self._act(taker, own, limit_key, asked, events)

    def _settled(self, events: list[Event]) -> tuple[Event, ...]:
        """Release the stops that a command's trades reached, and what those reach (rule 33)."""
        if self._stops.by_id:
            released: deque[Stop] = deque()
            seen = 0
            while True:
                fresh = [e.price_ticks for e in events[seen:] if isinstance(e, Traded)]
                seen = len(events)
                if fresh:
                    for stop in self._stops.reached(max(fresh), min(fresh)):
                        self._unwait(stop)
                        released.append(stop)
                if not released:
                    break
                self._trigger(released.popleft(), events)
        return tuple(events)

    def _find_stop(self, order_id: int) -> Stop | None:
        return self._stops.get(order_id) if type(order_id) is int else None


def _limit_key(opposite: Ladder, limit_ticks: int | None) -> int:
    """Return the last key of the other side that a limit reaches."""
    return _ANY_PRICE if limit_ticks is None else opposite.sign * limit_ticks


def _unknown(order_id: int) -> Rejected:
    known = is_int64(order_id)
    reason = RejectReason.UNKNOWN_ORDER if known else RejectReason.INVALID_ORDER_ID
    return Rejected(order_id, reason)
