"""What is known of a limit order and its market at the moment it comes to rest.

`ArrivalFeatures` follows a feed of orders and describes any order that arrives: where it stands
(against the touch, the spread and the volatility), what is queued before it, how the book leans,
and how fast trades, arrivals and cancels have come of late, each with exponential memories of
0.1 to 60 s (the intensities of an exponential Hawkes process, Hawkes 1971). Order-flow imbalance is
that of Cont, Kukanov and Stoikov (2014). Every feature is free of the instrument's scale: prices
are measured in ticks only beside spreads and standard deviations, sizes in typical orders. Large
values are compressed by asinh, so that no single order carries a fit.

Only what has been read counts: the features of an order are those of the messages before it.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lob.bounds import Floats
from lob.errors import InvalidInput
from lob.messages import Action, Array

MEMORIES_S: Final = (0.1, 1.0, 10.0, 60.0)
"""Time constants of the exponential memories, in seconds."""

_ADD, _DELETE, _REDUCE, _MODIFY, _EXECUTE, _CLEAR = (int(a) for a in tuple(Action)[4:])
_FLOWS: Final = ("trades", "traded_lots", "hidden", "adds", "cancels")
_TREND_S: Final = (0.1, 1.0, 5.0, 20.0, 60.0)
_NEAR_TICKS_OF_SPREAD: Final = 0.25
_LEVELS_WALKED: Final = 40
_FAR_S: Final = 300.0
_MIN_DEVIATION: Final = 0.05
_TYPICAL_ORDERS: Final = 1_000


def _names() -> tuple[str, ...]:
    place = (
        "spreads_to_opposite", "spreads_behind_touch", "ticks_to_opposite", "ticks_behind_touch",
        "spread_ticks", "spread_to_usual", "share_of_spread", "improves", "joins", "one_tick_off",
        "deviations_1s", "deviations_10s", "deviations_60s", "deviations_behind_10s",
        "deviation_now_to_usual", "deviation_ticks",
    )  # fmt: skip
    queue = (
        "orders_ahead_at_price", "lots_ahead_at_price", "orders_ahead", "lots_ahead",
        "nearness_by_orders", "nearness_by_lots",
        "lots_ahead_to_traded_60s",
        "gap_behind", "lots_behind", "touch_lots", "opposite_lots", "touch_imbalance",
        "imbalance_3", "imbalance_10", "depth_10", "own_gap", "opposite_gap", "own_lots",
    )  # fmt: skip
    flows = tuple(
        f"{whose}_{flow}_{memory:g}s"
        for memory in MEMORIES_S
        for flow in _FLOWS
        for whose in ("own", "opposite")
    )
    flow_imbalance = tuple(f"flow_imbalance_{memory:g}s" for memory in MEMORIES_S)
    trend = tuple(f"trend_{memory:g}s" for memory in _TREND_S)
    clocks = (
        "since_mid_moved", "since_trade", "last_trade_side", "since_touch_moved",
        "since_opposite_moved", "since_message", "since_same_price", "messages_1s",
        "messages_now_to_usual",
    )  # fmt: skip
    return place + queue + flows + flow_imbalance + trend + clocks


FEATURES: Final = _names()
"""The names of the features, in their order."""


class _Memory:
    """Exponentially forgotten sums of one flow, at every time constant."""

    __slots__ = ("at", "sums")

    def __init__(self) -> None:
        self.at = 0.0
        self.sums = [0.0] * len(MEMORIES_S)

    def add(self, amount: float, now: float) -> None:
        """Count what has come at `now`."""
        ago = self.at - now
        self.sums = [
            held * math.exp(ago / memory) + amount
            for held, memory in zip(self.sums, MEMORIES_S, strict=True)
        ]
        self.at = now

    def now(self, now: float) -> list[float]:
        """Return what is left of the sums."""
        ago = self.at - now
        return [
            held * math.exp(ago / memory)
            for held, memory in zip(self.sums, MEMORIES_S, strict=True)
        ]


class _Mean:
    """The exponentially forgotten mean of a value that holds until it is set anew."""

    __slots__ = ("_memory", "at", "held", "is_set", "mean", "weight")

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self.is_set = False
        self.at = self.held = self.mean = self.weight = 0.0

    def set(self, value: float, now: float) -> None:
        """Let the value hold from `now` on; there is no mean before the first."""
        if not self.is_set:
            self.is_set, self.at = True, now
        kept = math.exp((self.at - now) / self._memory)
        self.mean = self.mean * kept + (1 - kept) * self.held
        self.weight = self.weight * kept + 1 - kept
        self.held, self.at = value, now

    def now(self, now: float) -> float:
        """Return the mean over time so far; the value itself where there has been none."""
        kept = math.exp((self.at - now) / self._memory)
        weight = self.weight * kept + 1 - kept
        if weight < 1e-9:  # noqa: PLR2004 - no time to speak of
            return self.held
        return (self.mean * kept + (1 - kept) * self.held) / weight


class _Side:
    """One side's queues by key (sign x price: the greater the nearer the touch), and its flows."""

    __slots__ = ("best", "flows", "keys", "levels", "moved")

    def __init__(self) -> None:
        self.levels: dict[int, list[int]] = {}
        self.keys: list[int] = []
        self.best: int | None = None
        """The touch, or the last one there was."""
        self.moved = 0.0
        self.flows = {flow: _Memory() for flow in _FLOWS}

    def put(self, key: int, lots: int) -> None:
        """Add an order to the tail of its queue."""
        level = self.levels.get(key)
        if level is None:
            self.levels[key] = [lots, 1]
            insort(self.keys, key)
        else:
            level[0] += lots
            level[1] += 1

    def take(self, key: int, lots: int, orders: int) -> None:
        """Take lots, and orders that are gone, off a queue."""
        level = self.levels[key]
        level[0] -= lots
        level[1] -= orders
        if level[1] <= 0:
            del self.levels[key]
            del self.keys[bisect_left(self.keys, key)]

    def depth(self, levels: int) -> int:
        """Return the lots of the best levels."""
        return sum(self.levels[key][0] for key in self.keys[-levels:])

    def before(self, key: int) -> tuple[int, int]:
        """Return orders and lots at better prices, of at most the 40 best."""
        orders = lots = 0
        for better in reversed(self.keys[-_LEVELS_WALKED:]):
            if better <= key:
                break
            level = self.levels[better]
            lots += level[0]
            orders += level[1]
        return orders, lots


class ArrivalFeatures:
    """Follow a feed message by message, and describe orders as they arrive.

    Memory is that of the resting orders. `now_s` counts seconds from the first message.
    """

    def __init__(self) -> None:
        self._sides = {1: _Side(), -1: _Side()}
        self._live: dict[int, list[int]] = {}
        self._start_ns: int | None = None
        self._imbalance = _Memory()
        self._messages = _Memory()
        self._trend = [_Mean(memory) for memory in _TREND_S]
        self._spread = _Mean(60.0)
        self._moves = _Memory()
        self._far_moves = (0.0, 0.0)
        self._touch: tuple[int, int] | None = None
        self._mid = 0.0
        self._mid_moved = self._traded = self._read = 0.0
        self._taker = 0
        self._lots_seen = self._orders_seen = 0.0
        self._came: dict[tuple[int, int], float] = {}

    def describe(self, ts_ns: int, side: int, price_ticks: int, lots: int) -> list[float]:
        """Return the features (`FEATURES`) of an order that comes to rest now. O(levels walked).

        `side` is +1 for a BUY and -1 for a SELL. Call it before `read` is given the order itself.
        """
        now = self._seconds(ts_ns)
        key = side * price_ticks
        own, opposite = self._sides[side], self._sides[-side]
        touch = key if own.best is None else own.best
        other = touch + 1 if opposite.best is None else -opposite.best
        size = self._lots_seen / self._orders_seen if self._orders_seen else float(max(lots, 1))
        own_flows = {flow: memory.now(now) for flow, memory in own.flows.items()}
        found = self._place(now, key, touch, other)
        found += self._queue(own, opposite, key, size, lots, own_flows["traded_lots"][-1])
        for flow in _FLOWS:
            scale = size if flow == "traded_lots" else 1.0
            theirs = opposite.flows[flow].now(now)
            own_flows[flow] = [x / scale for x in own_flows[flow]] + [x / scale for x in theirs]
        count = len(MEMORIES_S)
        found += [
            math.asinh(own_flows[flow][at + start])
            for at in range(count)
            for flow in _FLOWS
            for start in (0, count)
        ]
        found += [math.asinh(side * x / size) for x in self._imbalance.now(now)]
        found += self._trends(now, side)
        return found + self._clocks(now, side, key)

    def read(
        self, ts_ns: int, order_id: int, price_ticks: int, lots: int, action: int, side: int
    ) -> None:
        """Take one feed message into account; orders that are not known are passed over."""
        now = self._seconds(ts_ns)
        if action == _ADD:
            self._add(now, order_id, side, side * price_ticks, lots)
        elif action == _CLEAR:
            self._live.clear()
            for one in self._sides.values():
                one.levels.clear()
                one.keys.clear()
        elif (order := self._live.get(order_id)) is not None:
            self._change(now, order_id, order, price_ticks, lots, action)
        self._messages.add(1.0, now)
        self._read = now
        self._see_touch(now)

    def read_hidden(self, ts_ns: int, side: int) -> None:
        """Take one execution of an order that was not displayed into account; `side` is its own."""
        now = self._seconds(ts_ns)
        self._sides[1 if side > 0 else -1].flows["hidden"].add(1.0, now)

    # ------------------------------------------------------------------ what happens

    def _seconds(self, ts_ns: int) -> float:
        if self._start_ns is None:
            self._start_ns = ts_ns
        return max((ts_ns - self._start_ns) / 1e9, self._read)

    def _add(self, now: float, order_id: int, side: int, key: int, lots: int) -> None:
        forget = 1 - 1 / _TYPICAL_ORDERS
        self._lots_seen = self._lots_seen * forget + lots
        self._orders_seen = self._orders_seen * forget + 1
        self._live[order_id] = [side, key, lots]
        own = self._sides[side]
        if self._is_near(own, key):
            own.flows["adds"].add(1.0, now)
            self._imbalance.add(side * lots, now)
        own.put(key, lots)
        self._came[side, key] = now
        if len(self._came) > 2 * (len(self._live) + _TYPICAL_ORDERS):
            self._came = {at: t for at, t in self._came.items() if now - t < _FAR_S}

    def _change(
        self, now: float, order_id: int, order: list[int], price_ticks: int, lots: int, action: int
    ) -> None:
        side, key, leaves = order
        own = self._sides[side]
        if action == _MODIFY:
            if side * price_ticks == key and lots <= leaves:
                action, lots = _REDUCE, leaves - lots
            else:
                del self._live[order_id]
                own.take(key, leaves, 1)
                self._add(now, order_id, side, side * price_ticks, lots)
                return
        gone = leaves if action == _DELETE else min(lots, leaves)
        is_near = self._is_near(own, key)
        order[2] -= gone
        if order[2] <= 0:
            del self._live[order_id]
        own.take(key, gone, int(order[2] <= 0))
        if action == _EXECUTE:
            own.flows["trades"].add(1.0, now)
            own.flows["traded_lots"].add(gone, now)
            self._traded, self._taker = now, -side
            self._imbalance.add(-side * gone, now)
        elif is_near:
            own.flows["cancels"].add(1.0, now)
            self._imbalance.add(-side * gone, now)

    def _is_near(self, own: _Side, key: int) -> bool:
        """Say whether a price is at the touch, or within a quarter of the usual spread of it."""
        if not own.keys:
            return True
        return own.keys[-1] - key <= max(1.0, _NEAR_TICKS_OF_SPREAD * self._spread.held)

    def _see_touch(self, now: float) -> None:
        bids, asks = self._sides[1], self._sides[-1]
        if not bids.keys or not asks.keys:
            return
        bid, ask = bids.keys[-1], -asks.keys[-1]
        if self._touch == (bid, ask):
            return
        mid = (bid + ask) / 2
        if self._touch is not None:
            if bid != self._touch[0]:
                bids.moved = now
            if ask != self._touch[1]:
                asks.moved = now
            move = mid - self._mid
            self._moves.add(move * move, now)
            squares, at = self._far_moves
            self._far_moves = (squares * math.exp((at - now) / _FAR_S) + move * move, now)
            self._mid_moved = now
        self._touch, self._mid = (bid, ask), mid
        bids.best, asks.best = bid, -ask
        self._spread.set(float(max(ask - bid, 1)), now)
        for mean in self._trend:
            mean.set(mid, now)

    # ------------------------------------------------------------------ what is seen

    def _deviation(self, now: float) -> tuple[float, float]:
        """Return the mid's standard deviation over a second, in ticks: of late, and as usual."""
        sums = self._moves.now(now)
        squares, at = self._far_moves
        # Memories count from the start: until they are full, by the time there has been.
        lately = sums[2] / (MEMORIES_S[2] * (1 - math.exp(-(now + 0.1) / MEMORIES_S[2])))
        minute = sums[3] / (MEMORIES_S[3] * (1 - math.exp(-(now + 0.1) / MEMORIES_S[3])))
        far = squares * math.exp((at - now) / _FAR_S)
        far /= _FAR_S * (1 - math.exp(-(now + 0.1) / _FAR_S))
        usual = math.sqrt((minute + far) / 2)
        return math.sqrt(lately) + _MIN_DEVIATION, usual + _MIN_DEVIATION

    def _place(self, now: float, key: int, touch: int, other: int) -> list[float]:
        spread = other - touch
        usual = max(self._spread.now(now), 1.0)
        lately, deviation = self._deviation(now)
        to_other, behind = other - key, touch - key
        return [
            math.asinh(to_other / usual),
            math.asinh(behind / usual),
            math.asinh(to_other),
            math.asinh(behind),
            math.asinh(spread),
            math.log(max(spread, 1) / usual),
            min(max(-behind / max(spread, 1), -1.0), 1.0),
            float(behind < 0),
            float(behind == 0),
            float(to_other <= 1),
            math.asinh(to_other / deviation),
            math.asinh(to_other / (deviation * math.sqrt(10))),
            math.asinh(to_other / (deviation * math.sqrt(60))),
            math.asinh(behind / (deviation * math.sqrt(10))),
            math.log(lately / deviation),
            math.log(deviation),
        ]

    @staticmethod
    def _queue(
        own: _Side, opposite: _Side, key: int, size: float, lots: int, traded: float
    ) -> list[float]:
        at_price, orders_at_price = own.levels.get(key, (0, 0))
        orders, better = own.before(key)
        below = bisect_left(own.keys, key) - 1
        behind = own.keys[below] if below >= 0 else None
        touch = own.levels[own.keys[-1]][0] if own.keys else 0
        other = opposite.levels[opposite.keys[-1]][0] if opposite.keys else 0
        own_3, other_3 = own.depth(3), opposite.depth(3)
        own_10, other_10 = own.depth(10), opposite.depth(10)
        ahead = at_price + better
        return [
            math.asinh(orders_at_price),
            math.asinh(at_price / size),
            math.asinh(orders + orders_at_price),
            math.asinh(ahead / size),
            1 / (1 + orders + orders_at_price),
            size / (size + ahead),
            math.log((ahead + size) / (traded + size)),
            0.0 if behind is None else math.asinh(key - behind),
            0.0 if behind is None else math.asinh(own.levels[behind][0] / size),
            math.asinh(touch / size),
            math.asinh(other / size),
            math.log((touch + size) / (other + size)),
            math.log((own_3 + size) / (other_3 + size)),
            math.log((own_10 + size) / (other_10 + size)),
            math.asinh((own_10 + other_10) / size),
            math.asinh(own.keys[-1] - own.keys[-2]) if len(own.keys) > 1 else 0.0,
            math.asinh(opposite.keys[-1] - opposite.keys[-2]) if len(opposite.keys) > 1 else 0.0,
            math.asinh(lots / size),
        ]

    def _trends(self, now: float, side: int) -> list[float]:
        _, deviation = self._deviation(now)
        return [
            math.asinh(side * (self._mid - mean.now(now)) / (deviation * math.sqrt(memory)))
            for mean, memory in zip(self._trend, _TREND_S, strict=True)
        ]

    def _clocks(self, now: float, side: int, key: int) -> list[float]:
        messages = self._messages.now(now)
        usual = messages[-1] / (MEMORIES_S[-1] * (1 - math.exp(-(now + 0.1) / MEMORIES_S[-1])))
        came = self._came.get((side, key))
        return [
            _since(now - self._mid_moved),
            _since(now - self._traded),
            float(self._taker * side),
            _since(now - self._sides[side].moved),
            _since(now - self._sides[-side].moved),
            _since(now - self._read),
            _since(_FAR_S if came is None else now - came),
            math.asinh(messages[1]),
            math.log((messages[1] + 1) / (usual + 1)),
        ]


def _since(seconds: float) -> float:
    """Return a wait on a logarithmic scale, from a tenth of a millisecond to five minutes."""
    return math.log10(min(max(seconds, 0.0), _FAR_S) + 1e-4)


def arrival_features(
    messages: Array, arrivals: NDArray[np.int64], *, hidden: Iterable[tuple[int, int, int]] = ()
) -> Floats:
    """Return the features of the orders whose messages stand at `arrivals`: a row each.

    `messages` is a feed (`MESSAGE_DTYPE`), `arrivals` growing places of messages that bring an
    order to rest: an add, or a modify that loses its place. `hidden` gives executions of orders
    that were not displayed: the place of the message each comes before, its time, its side (+1).
    O(messages).

    Raises:
        InvalidInput: `arrivals` does not grow, or is outside the messages.
    """
    places = np.asarray(arrivals, np.int64)
    if len(places) and (
        places[0] < 0 or places[-1] >= len(messages) or (np.diff(places) <= 0).any()
    ):
        raise InvalidInput(f"arrivals: allowed: growing places below {len(messages)}")
    state = ArrivalFeatures()
    found = np.zeros((len(places), len(FEATURES)))
    waiting = sorted(hidden, reverse=True)
    sides: dict[int, int] = {}
    at = 0
    names = ("ts_event_ns", "order_id", "price_ticks", "quantity_lots", "action", "side")
    rows = zip(*(messages[name].tolist() for name in names), strict=True)
    wanted = [*places.tolist(), -1]
    for index, (ts, order_id, price, lots, action, side) in enumerate(rows):
        while waiting and waiting[-1][0] <= index:
            _, hidden_ns, hidden_side = waiting.pop()
            state.read_hidden(hidden_ns, hidden_side)
        if action == _ADD:
            sides[order_id] = side
        if index == wanted[at]:
            found[at] = state.describe(ts, sides.get(order_id, side), price, lots)
            at += 1
        state.read(ts, order_id, price, lots, action, side)
    return found
