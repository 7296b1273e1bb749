"""The order book: price-time priority, read as a rulebook.

This is the reference. A command changes the book and returns the events that say how; a refused
command changes nothing and returns one `Rejected`. What rests, and what a feed reports, is in
`lob.resting`.
"""

from typing import Final

from lob.errors import InvalidInput
from lob.ladder import Ladder, LiveOrder
from lob.resting import RestingBook, is_int64, overflows, require_int64
from lob.types import (
    INT64_MAX,
    Accepted,
    Cancel,
    Cancelled,
    CancelReason,
    Command,
    Event,
    Level,
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
    Walk,
)

_WORDS: Final = {
    "order_type": frozenset(OrderType),
    "time_in_force": frozenset(TimeInForce),
    "stp": frozenset(SelfTradePrevention),
}

_ANY_PRICE: Final = INT64_MAX + 1
"""The limit key of an order without a limit: no level lies beyond it."""


class OrderBook(RestingBook):
    """Hold one instrument's resting orders and match new ones against them.

    An order id is unique among live orders. Levels are found in O(1) and made or dropped in
    O(log levels); within a level everything but `queue_position` is O(1).

    >>> book = OrderBook()
    >>> _ = book.submit(1, Side.SELL, 5, 101)
    >>> for event in book.submit(2, Side.BUY, 8, 101): print(type(event).__name__)
    Accepted
    Traded
    >>> book.best_bid()
    Level(price_ticks=101, quantity_lots=3, order_count=1)
    """

    # ---------------------------------------------------------------- commands

    def apply(self, command: Command) -> tuple[Event, ...]:
        """Carry out one command and return its events, in the order they happened."""
        match command:
            case Submit():
                return self.submit(
                    command.order_id,
                    command.side,
                    command.quantity_lots,
                    command.price_ticks,
                    order_type=command.order_type,
                    time_in_force=command.time_in_force,
                    post_only=command.post_only,
                    participant_id=command.participant_id,
                    stp=command.stp,
                )
            case Cancel():
                return self.cancel(command.order_id)
            case Reduce():
                return self.reduce(command.order_id, command.quantity_lots)
            case Replace():
                return self.replace(command.order_id, command.price_ticks, command.quantity_lots)

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
    ) -> tuple[Event, ...]:
        """Take a new order: trade what crosses, then rest or cancel the remainder.

        It is refused whole where a field is out of range, a post-only order would trade or could
        not rest, or a FOK order could not trade in full. A word that is no order type, time in
        force or self-trade mode is `InvalidInput`: it must not be taken for another one.
        """
        _require_word("order_type", order_type)
        _require_word("time_in_force", time_in_force)
        _require_word("stp", stp)
        own, opposite = self._ladders(side)
        is_limit = order_type == OrderType.LIMIT
        rests = is_limit and time_in_force == TimeInForce.GTC
        taker = LiveOrder(order_id, quantity_lots, participant_id, stp, post_only)
        reason = self._field_refusal(taker, price_ticks, is_limit)
        if reason is not None:
            return (Rejected(order_id, reason),)
        limit_key = _ANY_PRICE if price_ticks is None else opposite.sign * price_ticks
        crosses = opposite.best is not None and opposite.best.key <= limit_key
        if post_only and (crosses or not rests):
            return (Rejected(order_id, _post_only_refusal(rests)),)
        if time_in_force == TimeInForce.FOK:
            fillable = _walk(opposite, quantity_lots, limit_key, participant_id, stp)
            if fillable.quantity_lots < quantity_lots:
                return (Rejected(order_id, RejectReason.FOK_NOT_FILLABLE),)
        rest_ticks = price_ticks or 0  # a market order has no price, and never rests
        if rests and overflows(own, rest_ticks, quantity_lots):
            return (Rejected(order_id, RejectReason.LEVEL_FULL),)

        events: list[Event] = [Accepted(order_id, side, price_ticks, quantity_lots)]
        if crosses:
            self._match(taker, opposite, limit_key, events)
        if taker.leaves and rests:
            self._rest(taker, own, rest_ticks)
        elif taker.leaves:
            why = CancelReason.IOC_REMAINDER if is_limit else CancelReason.MARKET_REMAINDER
            events.append(Cancelled(order_id, taker.leaves, why))
        return tuple(events)

    def cancel(self, order_id: int) -> tuple[Event, ...]:
        """Take a resting order out of the book. O(1)."""
        order = self._find(order_id)
        if order is None:
            return (self._unknown(order_id),)
        self._remove(order)
        return (Cancelled(order_id, order.leaves, CancelReason.REQUESTED),)

    def reduce(self, order_id: int, quantity_lots: int) -> tuple[Event, ...]:
        """Take lots off a resting order, which keeps its place; all of them cancels it. O(1)."""
        order = self._find(order_id)
        if order is None:
            return (self._unknown(order_id),)
        if not is_int64(quantity_lots):
            return (Rejected(order_id, RejectReason.INVALID_QUANTITY),)
        if quantity_lots >= order.leaves:
            return self.cancel(order_id)
        self._take(order, quantity_lots)
        return (Reduced(order_id, quantity_lots, order.leaves),)

    def replace(self, order_id: int, price_ticks: int, quantity_lots: int) -> tuple[Event, ...]:
        """Give a resting order a new price and new leaves.

        Same price and no more lots: it keeps its place. Anything else: it leaves the book and
        comes back as a new arrival with its own id, participant, post-only flag and self-trade
        mode. A refused replace leaves the order as it was.
        """
        order = self._find(order_id)
        if order is None:
            return (self._unknown(order_id),)
        level = order.level
        own, opposite = self._ladders(level.ladder.side)
        if not is_int64(quantity_lots):
            return (Rejected(order_id, RejectReason.INVALID_QUANTITY),)
        if not is_int64(price_ticks):
            return (Rejected(order_id, RejectReason.INVALID_PRICE),)
        if price_ticks == level.price_ticks and quantity_lots <= order.leaves:
            self._take(order, order.leaves - quantity_lots)
            return (Replaced(order_id, price_ticks, quantity_lots, kept_priority=True),)
        limit_key = opposite.sign * price_ticks
        crosses = opposite.best is not None and opposite.best.key <= limit_key
        reason = self._move_refusal(order, price_ticks, quantity_lots, crosses)
        if reason is not None:
            return (Rejected(order_id, reason),)
        self._remove(order)
        order.leaves = quantity_lots
        events: list[Event] = [Replaced(order_id, price_ticks, quantity_lots, kept_priority=False)]
        if crosses:
            self._match(order, opposite, limit_key, events)
        if order.leaves:
            self._rest(order, own, price_ticks)
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

        It is what an IOC order of the same quantity, limit, participant and mode trades. Raises
        `InvalidInput` for a bad quantity, limit or mode. O(levels reached + orders at the last).
        """
        require_int64("quantity_lots", quantity_lots)
        _require_word("stp", stp)
        _, opposite = self._ladders(side)
        limit_key = _ANY_PRICE
        if limit_ticks is not None:
            require_int64("limit_ticks", limit_ticks)
            limit_key = opposite.sign * limit_ticks
        return _walk(opposite, quantity_lots, limit_key, participant_id, stp)

    # ---------------------------------------------------------------- inside

    def _field_refusal(
        self, taker: LiveOrder, price_ticks: int | None, is_limit: bool
    ) -> RejectReason | None:
        """Return what is wrong with a new order whatever rests against it."""
        if not is_int64(taker.order_id):
            return RejectReason.INVALID_ORDER_ID
        if not is_int64(taker.leaves):
            return RejectReason.INVALID_QUANTITY
        if not (is_int64(price_ticks) if is_limit else price_ticks is None):
            return RejectReason.INVALID_PRICE
        participant_id = taker.participant_id
        if not is_int64(participant_id) and (type(participant_id) is not int or participant_id):
            return RejectReason.INVALID_PARTICIPANT_ID
        if taker.order_id in self._orders:
            return RejectReason.DUPLICATE_ORDER_ID
        return None

    def _move_refusal(
        self, order: LiveOrder, price_ticks: int, quantity_lots: int, crosses: bool
    ) -> RejectReason | None:
        """Return what forbids an order to leave its place for another."""
        if crosses and order.post_only:
            return RejectReason.POST_ONLY_WOULD_CROSS
        level = order.level
        already_there = order.leaves if price_ticks == level.price_ticks else 0
        if overflows(level.ladder, price_ticks, quantity_lots - already_there):
            return RejectReason.LEVEL_FULL
        return None

    def _unknown(self, order_id: int) -> Rejected:
        known = is_int64(order_id)
        reason = RejectReason.UNKNOWN_ORDER if known else RejectReason.INVALID_ORDER_ID
        return Rejected(order_id, reason)

    def _match(
        self, taker: LiveOrder, opposite: Ladder, limit_key: int, events: list[Event]
    ) -> None:
        """Trade `taker` against the touch until it is spent, stopped, or no price is left."""
        guards = taker.stp != SelfTradePrevention.NONE and taker.participant_id != 0
        aggressor_side = opposite.side.opposite
        while taker.leaves:
            level = opposite.best
            if level is None or level.key > limit_key:
                return
            maker = next(iter(level.orders.values()))
            if guards and maker.participant_id == taker.participant_id:
                self._prevent_self_trade(taker, maker, events)
                continue
            lots = min(taker.leaves, maker.leaves)
            taker.leaves -= lots
            self._trade_sequence += 1
            events.append(
                Traded(
                    self._trade_sequence,
                    maker.order_id,
                    taker.order_id,
                    level.price_ticks,
                    lots,
                    aggressor_side,
                    maker.leaves - lots,
                    taker.leaves,
                )
            )
            if lots == maker.leaves:
                self._remove(maker)
            else:
                self._take(maker, lots)

    def _prevent_self_trade(self, taker: LiveOrder, maker: LiveOrder, events: list[Event]) -> None:
        """Apply the aggressor's mode to two orders of one participant."""
        why = CancelReason.SELF_TRADE
        mode = taker.stp
        if mode == SelfTradePrevention.DECREMENT_AND_CANCEL:
            lots = min(taker.leaves, maker.leaves)
            if lots < maker.leaves:
                self._take(maker, lots)
                events.append(Reduced(maker.order_id, lots, maker.leaves))
            else:
                self._remove(maker)
                events.append(Cancelled(maker.order_id, lots, why))
            taker.leaves -= lots
            if taker.leaves:
                events.append(Reduced(taker.order_id, lots, taker.leaves))
            else:
                events.append(Cancelled(taker.order_id, lots, why))
            return
        if mode != SelfTradePrevention.CANCEL_NEWEST:
            self._remove(maker)
            events.append(Cancelled(maker.order_id, maker.leaves, why))
        if mode != SelfTradePrevention.CANCEL_OLDEST:
            events.append(Cancelled(taker.order_id, taker.leaves, why))
            taker.leaves = 0  # stopped for good: neither this level nor any other, and no rest


def _require_word(name: str, word: str) -> None:
    allowed = _WORDS[name]
    if word not in allowed:
        raise InvalidInput(f"{name}: {word!r}; allowed: {', '.join(sorted(allowed))}")


def _post_only_refusal(rests: bool) -> RejectReason:
    return RejectReason.POST_ONLY_WOULD_CROSS if rests else RejectReason.POST_ONLY_NEEDS_RESTING


def _walk(
    opposite: Ladder,
    quantity_lots: int,
    limit_key: int,
    participant_id: int,
    stp: SelfTradePrevention,
) -> Walk:
    """Add up what `_match` would trade, changing nothing."""
    guards = stp != SelfTradePrevention.NONE and participant_id != 0
    wanted, cost, worst = quantity_lots, 0, None
    levels: list[Level] = []
    for level in opposite:
        if not wanted or level.key > limit_key:
            break
        taken = count = 0
        if not guards and level.total_lots <= wanted:
            taken, count = level.total_lots, len(level.orders)
            wanted -= taken
        else:
            for maker in level.orders.values():
                if not wanted:
                    break
                if guards and maker.participant_id == participant_id:
                    if stp == SelfTradePrevention.CANCEL_OLDEST:
                        continue
                    if stp == SelfTradePrevention.DECREMENT_AND_CANCEL:
                        wanted -= min(wanted, maker.leaves)
                        continue
                    wanted = 0  # the aggressor is cancelled here, for good
                    break
                lots = min(wanted, maker.leaves)
                taken, count, wanted = taken + lots, count + 1, wanted - lots
        if taken:
            worst = level.price_ticks
            cost += taken * worst
            levels.append(Level(worst, taken, count))
    return Walk(sum(level.quantity_lots for level in levels), cost, worst, tuple(levels))
