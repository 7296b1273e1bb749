"""How an aggressor trades with what rests (rules 1-7, 16-20 and 24-30)."""

from lob.allocation import pro_rata_shares
from lob.ladder import Ladder, LiveOrder, Shelf
from lob.questions import AskedBook
from lob.types import (
    Cancelled,
    CancelReason,
    Event,
    Reduced,
    Refilled,
    SelfTradePrevention,
    Traded,
)


class MatchingBook(AskedBook):
    """Trade an aggressor against the other side: `queued` is what it still wants."""

    def _match(
        self, taker: LiveOrder, opposite: Ladder, limit_key: int, events: list[Event]
    ) -> None:
        """Trade `taker` against the touch until it is spent, stopped, or no price is left."""
        guarded = taker.stp != SelfTradePrevention.NONE and taker.participant_id != 0
        while taker.queued:
            level = opposite.best
            if level is None or level.key > limit_key:
                return
            if self._pro_rata and level.orders:
                self._trade_round(taker, level, guarded, events)
                continue
            maker = level.first()
            if guarded and maker.participant_id == taker.participant_id:
                self._prevent_self_trade(taker, maker, events)
            elif self._trade(taker, maker, min(taker.queued, maker.queued), events):
                self._refill(maker, events)

    def _trade_round(
        self, taker: LiveOrder, level: Shelf, guarded: bool, events: list[Event]
    ) -> None:
        """Trade once with each displayed order of a pro-rata level, then refill (rule 28)."""
        if guarded:
            self._settle_own(taker, level, events)
            if not taker.queued:
                return
        makers = level.displayed_orders()
        shares = pro_rata_shares(
            taker.queued, [maker.queued for maker in makers], self._minimum_lots
        )
        spent = [
            maker
            for maker, lots in zip(makers, shares, strict=True)
            if lots and self._trade(taker, maker, lots, events)
        ]
        for maker in spent:
            self._refill(maker, events)

    def _settle_own(self, taker: LiveOrder, level: Shelf, events: list[Event]) -> None:
        """Prevent the self-trades of a pro-rata level before its lots are shared (rule 30)."""
        for maker in level.displayed_orders():
            if maker.participant_id == taker.participant_id and taker.queued:
                self._prevent_self_trade(taker, maker, events)

    def _trade(self, taker: LiveOrder, maker: LiveOrder, lots: int, events: list[Event]) -> bool:
        """Trade some of what `maker` has in its queue; say whether it is to be refilled."""
        taker.queued -= lots
        self._trade_sequence += 1
        level = maker.level
        price_ticks = level.price_ticks
        self._last_trade_ticks = price_ticks
        events.append(
            Traded(
                self._trade_sequence,
                maker.order_id,
                taker.order_id,
                price_ticks,
                lots,
                level.ladder.aggressor_side,
                maker.queued + maker.reserve - lots,
                taker.queued,
            )
        )
        if lots < maker.queued or maker.reserve:
            self._take(maker, lots)
            return not maker.queued
        self._remove(maker)
        return False

    def _refill(self, maker: LiveOrder, events: list[Event]) -> None:
        """Show an iceberg's next lots, at the tail of its level (rule 26)."""
        level = maker.level
        del level.orders[maker.order_id]
        level.orders[maker.order_id] = maker
        maker.show(maker.reserve)
        level.displayed_lots += maker.queued
        level.concealed_lots -= maker.queued
        if level.tracked:
            self._tracker.refilled(maker)
        events.append(Refilled(maker.order_id, maker.queued, maker.leaves))

    def _prevent_self_trade(self, taker: LiveOrder, maker: LiveOrder, events: list[Event]) -> None:
        """Apply the aggressor's mode to two orders of one participant."""
        why = CancelReason.SELF_TRADE
        mode = taker.stp
        if mode == SelfTradePrevention.DECREMENT_AND_CANCEL:
            lots = min(taker.queued, maker.leaves)
            if lots < maker.leaves:
                self._take_off(maker, lots)
                events.append(Reduced(maker.order_id, lots, maker.leaves))
            else:
                self._remove(maker)
                events.append(Cancelled(maker.order_id, lots, why))
            taker.queued -= lots
            if taker.queued:
                events.append(Reduced(taker.order_id, lots, taker.queued))
            else:
                events.append(Cancelled(taker.order_id, lots, why))
            return
        if mode != SelfTradePrevention.CANCEL_NEWEST:
            self._remove(maker)
            events.append(Cancelled(maker.order_id, maker.leaves, why))
        if mode != SelfTradePrevention.CANCEL_OLDEST:
            events.append(Cancelled(taker.order_id, taker.queued, why))
            taker.queued = 0  # stopped for good: neither this level nor any other, and no rest
