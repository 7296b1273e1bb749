"""A small matching venue of its own that publishes as Databento has CME's and Nasdaq's feeds.

It shares no code with `lob`: what it publishes as orders (mbo) and as depth (mbp) is two views of
one truth, and its queues say who stands where.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lob.feeds.dbn import MBO_DTYPE, UNDEF_PRICE, mbp_dtype
from lob.messages import Array

TICK = 250_000_000
START_NS = 1_715_126_400_000_000_000
LAST, SNAPSHOT, BAD_TS = 128, 32, 8

Levels = list[tuple[int, int, int]]


@dataclass
class Order:
    """One resting order; `reserve` lots do not show, `display` of them do after a refill."""

    order_id: int
    side: str
    price: int
    shown: int
    reserve: int = 0
    display: int = 0


@dataclass
class Venue:
    """Match random flow by price and time, and publish it."""

    style: str
    seed: int
    depth_levels: int = 10
    instrument_id: int = 5602
    mbo: list[tuple[int, ...]] = field(default_factory=list)
    mbp: list[tuple[tuple[int, ...], Levels, Levels]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.orders: dict[int, Order] = {}
        self.queues: dict[str, dict[int, list[int]]] = {"B": {}, "A": {}}
        self.now = START_NS
        self.sequence = 100
        self.next_id = 1
        self.traded = 0
        self.refreshes = 0

    # ------------------------------------------------------------ publishing

    def _mbo(
        self, action: str, side: str, price: int, size: int, order_id: int, flags: int
    ) -> None:
        self.mbo.append(
            (self.now + 90_000, self.event, ord(action), ord(side), price, size, order_id, flags,
             self.sequence)
        )  # fmt: skip

    def _mbp(self, action: str, flags: int) -> None:
        bids, asks = self.depth(self.depth_levels)
        key = (self.now + 90_000, self.event, self.sequence, ord(action), flags)
        self.mbp.append((key, bids, asks))

    def depth(self, levels: int) -> tuple[Levels, Levels]:
        """Return the levels that show, best first, in ticks."""
        sides = []
        for side, sign in (("B", -1), ("A", 1)):
            prices = sorted(self.queues[side], key=lambda price: sign * price)[:levels]
            sides.append(
                [
                    (price, sum(self.orders[i].shown for i in ids), len(ids))
                    for price in prices
                    if (ids := self.queues[side][price])
                ]
            )
        return sides[0], sides[1]

    def _begin(self) -> None:
        self.now += self.random.randint(1_000, 2_000_000)
        self.event = self.now
        self.sequence += 1

    def _end(self, before: tuple[Levels, Levels]) -> None:
        *record, flags, sequence = self.mbo[-1]
        if flags & LAST:
            return
        self.mbo[-1] = (*record, flags | LAST, sequence)
        if self.depth(self.depth_levels) != before:
            self._mbp("M", LAST)

    # ------------------------------------------------------------ the book

    def _rest(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.queues[order.side].setdefault(order.price, []).append(order.order_id)

    def _remove(self, order: Order) -> None:
        queue = self.queues[order.side][order.price]
        queue.remove(order.order_id)
        if not queue:
            del self.queues[order.side][order.price]
        del self.orders[order.order_id]

    def _match(self, side: str, limit: int, lots: int, aggressor: int) -> int:
        """Trade, publishing as CME does: all trades first, then what became of the orders."""
        other = "A" if side == "B" else "B"
        sign = 1 if side == "B" else -1
        touched: dict[int, list[int]] = {}
        own = 0
        while lots and self.queues[other]:
            price = (min if side == "B" else max)(self.queues[other])
            if sign * price > sign * limit:
                break
            fills: dict[int, int] = {}
            while lots and self.queues[other].get(price):
                maker = self.orders[self.queues[other][price][0]]
                done = min(lots, maker.shown)
                lots -= done
                self.traded += done
                fills[maker.order_id] = fills.get(maker.order_id, 0) + done
                state = touched.setdefault(maker.order_id, [maker.shown, price, 1])
                maker.shown -= done
                if maker.shown == 0:
                    state[2] = self._refill(maker)
            own += sum(fills.values())
            self._mbo("T", side, price * TICK, sum(fills.values()), aggressor, 0)
            for order_id, done in fills.items():
                self._mbo("F", other, price * TICK, done, order_id, 0)
            if aggressor in self.orders and self.random.random() < 0.5:
                self._mbo("F", side, price * TICK, sum(fills.values()), aggressor, 0)
        self.sequence += 1
        self.now += 7_000
        for order_id, (shown, price, lives) in touched.items():
            if lives:
                self._mbo("M", other, price * TICK, self.orders[order_id].shown, order_id, 0)
            else:
                self._mbo("C", other, price * TICK, shown, order_id, 0)
                del self.orders[order_id]
        return lots

    def _refill(self, maker: Order) -> int:
        """Show an iceberg's next lots at the tail, or take an order that is filled out."""
        queue = self.queues[maker.side][maker.price]
        queue.remove(maker.order_id)
        if maker.reserve:
            maker.shown = min(maker.display, maker.reserve)
            maker.reserve -= maker.shown
            queue.append(maker.order_id)
            self.refreshes += 1
            return 1
        if not queue:
            del self.queues[maker.side][maker.price]
        return 0

    # ------------------------------------------------------------ what happens

    def step(self) -> None:
        """Let one thing happen at random and publish it."""
        before = self.depth(self.depth_levels)
        self._begin()
        live = list(self.orders)
        draw = self.random.random()
        if draw < 0.45 or len(live) < 30:
            self._new(crossing=self.random.random() < 0.25 and len(live) > 20)
        elif draw < 0.7:
            self._cancel(self.orders[self.random.choice(live)])
        elif draw < 0.97:
            self._change(self.orders[self.random.choice(live)])
        else:
            self._hidden_trade()
        self._end(before)

    def _new(self, *, crossing: bool) -> None:
        side = self.random.choice("AB")
        sign = 1 if side == "B" else -1
        away = -self.random.randint(0, 3) if crossing else self.random.randint(1, 14)
        price, lots = 20_000 - sign * away, self.random.randint(1, 40 if crossing else 12)
        order_id, self.next_id = self.next_id, self.next_id + 1
        left = self._trade_nasdaq(side, price, lots) if self.style == "xnas" else (
            self._match(side, price, lots, order_id)
        )  # fmt: skip
        if not left:
            return
        order = Order(order_id, side, price, left)
        if self.style == "cme" and left > 3 and self.random.random() < 0.4:
            order.display = self.random.randint(1, left - 1)
            order.shown, order.reserve = order.display, left - order.display
        self._rest(order)
        self._mbo("A", side, price * TICK, order.shown, order_id, 0)

    def _trade_nasdaq(self, side: str, limit: int, lots: int) -> int:
        """Trade order by order: T, F and C of each execution are an event of their own."""
        other = "A" if side == "B" else "B"
        sign = 1 if side == "B" else -1
        while lots and self.queues[other]:
            price = (min if side == "B" else max)(self.queues[other])
            if sign * price > sign * limit:
                break
            maker = self.orders[self.queues[other][price][0]]
            done = min(lots, maker.shown)
            if self.random.random() < 0.9:  # one that is not printed has no T
                self._mbo("T", side, price * TICK, done, 0, 0)
                self._mbp("T", 0)
            self._mbo("F", other, price * TICK, done, maker.order_id, 0)
            self._mbo("C", other, price * TICK, done, maker.order_id, LAST)
            lots -= done
            self.traded += done
            maker.shown -= done
            if not maker.shown:
                self._remove(maker)
            self._mbp("C", LAST)
            self._begin()
        return lots

    def _cancel(self, order: Order) -> None:
        lots = order.shown
        if self.style == "xnas" and lots > 1 and self.random.random() < 0.3:
            lots = self.random.randint(1, lots - 1)
        self._mbo("C", order.side, order.price * TICK, lots, order.order_id, 0)
        if lots == order.shown:
            self._remove(order)
        else:
            order.shown -= lots

    def _change(self, order: Order) -> None:
        sign = 1 if order.side == "B" else -1
        crossing = self.random.random() < 0.1
        price = self.random.choice((order.price, 20_000 - sign * self.random.randint(1, 14)))
        lots = max(1, order.shown + self.random.randint(-4, 4))
        if self.style == "xnas":
            self._mbo("C", order.side, order.price * TICK, order.shown, order.order_id, 0)
            self._remove(order)
            order.order_id, self.next_id = self.next_id, self.next_id + 1
            order.price, order.shown = price, lots
            self._rest(order)
            self._mbo("A", order.side, price * TICK, lots, order.order_id, 0)
            return
        if crossing:
            price = 20_000 + sign * 2
        keeps = price == order.price and lots <= order.shown
        if keeps:
            order.shown = lots
            self._mbo("M", order.side, price * TICK, lots, order.order_id, 0)
            return
        resting, old, reserve = order.shown, order.price, order.reserve
        queue = self.queues[order.side][old]
        queue.remove(order.order_id)
        if not queue:
            del self.queues[order.side][old]
        left = self._match(order.side, price, lots, order.order_id)
        if left:
            order.price, order.shown, order.reserve = price, left, reserve
            self._rest(order)
            self._mbo("M", order.side, price * TICK, left, order.order_id, 0)
        else:
            del self.orders[order.order_id]
            self._mbo("C", order.side, old * TICK, resting, order.order_id, 0)

    def _hidden_trade(self) -> None:
        if self.style == "cme":
            self._mbo("N", "N", UNDEF_PRICE, 0, 0, 0)
            return
        self._mbo("T", "N", 20_000 * TICK, 7, 0, LAST)
        self._mbp("T", LAST)

    def snapshot(self) -> None:
        """Publish all that rests, as at the start of a file."""
        self._begin()
        flags = SNAPSHOT | BAD_TS
        self._mbo("R", "N", UNDEF_PRICE, 0, 0, flags)
        for side in "BA":
            for price in sorted(self.queues[side], reverse=side == "B"):
                for order_id in self.queues[side][price]:
                    self._mbo("A", side, price * TICK, self.orders[order_id].shown, order_id, flags)
        *record, last, sequence = self.mbo[-1]
        self.mbo[-1] = (*record, last | LAST, sequence)

    # ------------------------------------------------------------ as files have it

    def mbo_rows(self) -> Array:
        """Return what was published as records of the mbo schema."""
        rows = np.zeros(len(self.mbo), MBO_DTYPE)
        rows["length"], rows["rtype"], rows["publisher_id"] = 14, 160, 1
        rows["instrument_id"] = self.instrument_id
        names = ("ts_recv", "ts_event", "action", "side", "price", "size", "order_id", "flags",
                 "sequence")  # fmt: skip
        for name, values in zip(names, zip(*self.mbo, strict=True), strict=True):
            rows[name] = values
        return rows

    def mbp_rows(self) -> Array:
        """Return what was published as records of mbp-1 or mbp-10."""
        dtype = mbp_dtype(self.depth_levels)
        rows = np.zeros(len(self.mbp), dtype)
        rows["length"], rows["rtype"] = dtype.itemsize // 4, self.depth_levels
        rows["publisher_id"], rows["instrument_id"], rows["side"] = 1, self.instrument_id, ord("N")
        rows["levels"]["bid_px"] = rows["levels"]["ask_px"] = UNDEF_PRICE
        for row, (key, bids, asks) in zip(rows, self.mbp, strict=True):
            row["ts_recv"], row["ts_event"], row["sequence"], row["action"], row["flags"] = key
            for side, levels in (("bid", bids), ("ask", asks)):
                for at, (price, size, count) in enumerate(levels):
                    row["levels"][f"{side}_px"][at] = price * TICK
                    row["levels"][f"{side}_sz"][at] = size
                    row["levels"][f"{side}_ct"][at] = count
        return rows

    def queue(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield every resting order in the order of its queue: side, price, id, lots that show."""
        for side in "BA":
            for price in sorted(self.queues[side], reverse=side == "B"):
                for order_id in self.queues[side][price]:
                    yield side, price, order_id, self.orders[order_id].shown


def run(style: str, seed: int, steps: int, *, depth_levels: int = 10, warm: int = 60) -> Venue:
    """Return a venue that has published a snapshot and then `steps` random happenings."""
    venue = Venue(style, seed, depth_levels)
    for _ in range(warm):
        venue.step()
    venue.mbo.clear()
    venue.mbp.clear()
    venue.traded = venue.refreshes = 0
    venue.snapshot()
    for _ in range(steps):
        venue.step()
    return venue
