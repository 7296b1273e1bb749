"""Look for icebergs in feed messages, as every reader of `lob.feeds` gives them."""

from typing import Any

import numpy as np

from lob.errors import InvalidInput
from lob.hidden.detection import DetectionRules, Iceberg, IcebergDetector, IcebergState
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.types import Side

_SIDES = {1: Side.BUY, -1: Side.SELL}


def detect_in_feed(
    messages: "np.ndarray[Any, Any]", rules: DetectionRules | None = None
) -> list[Iceberg]:
    """Return every iceberg a feed gave away: those that ended, then those that live.

    `messages` is an array of `MESSAGE_DTYPE` with feed actions, times not going back. Orders of an
    opening snapshot count as displayed, not as refills; executions of unknown ids (hidden orders)
    are passed over. O(messages); memory of the orders that live.
    """
    if getattr(messages, "dtype", None) != MESSAGE_DTYPE:
        raise InvalidInput("messages: not of MESSAGE_DTYPE; allowed: an array of feed messages")
    watch = _FeedWatch(IcebergDetector(rules))
    ended: list[Iceberg] = []
    due_ns = 0
    for row in messages.tolist():
        now_ns, order_id, price_ticks, lots, _, action, sign, _, flags = row
        if now_ns >= due_ns:
            ended += watch.detector.expire(now_ns)
            due_ns = now_ns + watch.detector.rules.refill_within_ns
        if action == Action.FEED_ADD:
            watch.add(now_ns, order_id, _Shown(_SIDES[sign], price_ticks, lots), flags)
        elif action == Action.FEED_CLEAR:
            watch.orders.clear()
        else:
            found = watch.change(now_ns, order_id, price_ticks, lots, action)
            if found is not None and found.state is IcebergState.CANCELLED:
                ended.append(found)
    return ended + watch.detector.icebergs()


class _Shown:
    """One displayed order: where, how much it showed when it came, and what is left."""

    __slots__ = ("leaves", "lots", "price_ticks", "side")

    def __init__(self, side: Side, price_ticks: int, lots: int) -> None:
        self.side, self.price_ticks, self.lots, self.leaves = side, price_ticks, lots, lots


class _FeedWatch:
    """Follow displayed orders by id, and tell the detector what came of them."""

    def __init__(self, detector: IcebergDetector) -> None:
        self.detector = detector
        self.orders: dict[int, _Shown] = {}

    def add(self, now_ns: int, order_id: int, order: _Shown, flags: int) -> None:
        """Note a new displayed order."""
        self.orders[order_id] = order
        if not flags & Flag.SNAPSHOT:
            self.detector.shown(now_ns, order.side, order.price_ticks, order.lots, order_id)

    def change(
        self, now_ns: int, order_id: int, price_ticks: int, lots: int, action: int
    ) -> Iceberg | None:
        """Note that an order traded, shrank, moved or left; one that is not known is none."""
        order = self.orders.get(order_id)
        if order is None:
            return None
        if action == Action.FEED_MODIFY:
            return self._modify(now_ns, order_id, order, price_ticks, lots)
        order.leaves -= order.leaves if action == Action.FEED_DELETE else min(lots, order.leaves)
        if order.leaves:
            return None
        del self.orders[order_id]
        traded = action == Action.FEED_EXECUTE
        tell = self.detector.used_up if traded else self.detector.withdrawn
        return tell(now_ns, order.side, order.price_ticks, order.lots, order_id)

    def _modify(
        self, now_ns: int, order_id: int, order: _Shown, price_ticks: int, lots: int
    ) -> Iceberg | None:
        """Note a new price or size: at another price, the order has left where it was."""
        found = None
        if price_ticks != order.price_ticks:
            was = order.side, order.price_ticks, order.lots
            found = self.detector.withdrawn(now_ns, *was, order_id)
            order.lots = lots
        order.price_ticks, order.leaves = price_ticks, lots
        order.lots = max(order.lots, lots)
        return found
