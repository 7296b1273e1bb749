"""Score iceberg detection: on a synthetic venue whose icebergs are known, and on real feeds.

The synthetic venue is a real book with limit orders, cancels, market orders and icebergs, half of
all sizes round. What it publishes is what a venue of anonymous orders does: a refill is a new order
with an id of its own. A real feed says which orders were icebergs only where a refill keeps its id
(CME); otherwise what can be said is how often a level that refilled did so again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Final

import numpy as np

from lob import OrderBook
from lob.bounds import whole
from lob.hidden import DetectionRules, Iceberg, detect_in_feed
from lob.messages import MESSAGE_DTYPE, Action, Array
from lob.types import OrderType, Refilled, Side, Traded
from touchstone.fidelity.evidence import Check, Evidence, Table
from touchstone.fidelity.market import Market

PRECISION_BAR: Final = 0.8
RECALL_BAR: Final = 0.8
"""What confirmed detections must reach on the synthetic venue."""

_MID: Final = 10_000
_STEP_NS: Final = 20_000_000
_REACH: Final = 8
_LIMITS, _CANCELS, _ICEBERGS = 0.52, 0.28, 0.01
"""Shares of what happens on the synthetic venue; market orders are the rest."""
_ROUND_LOTS: Final = 100
_MEAN_LOTS: Final = 120
_SIDES: Final = {1: Side.BUY, -1: Side.SELL}
_WORDS: Final = {1: "suspected", 2: "confirmed", 3: "high confidence"}
_RULES: Final = (10_000_000, 1_000_000_000)
"""How soon a refill comes: at once, as a venue's own do, or as the detector's default has it."""
_NS_PER_MS: Final = 1_000_000


@dataclass(slots=True)
class TrueIceberg:
    """An iceberg of the synthetic venue, and when it refilled."""

    side: Side
    price_ticks: int
    refills_ns: list[int] = field(default_factory=list)

    def refills(self, within_ns: int) -> int:
        """Return the most refills of which each came within a time of the one before."""
        longest = run = min(1, len(self.refills_ns))
        for before, after in pairwise(self.refills_ns):
            run = run + 1 if after - before <= within_ns else 1
            longest = max(longest, run)
        return longest


class _Venue:
    """A book with icebergs, the messages it publishes, and the truth."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)  # noqa: S311 - a simulation
        self.book = OrderBook()
        self.rows: list[tuple[int, ...]] = []
        self.icebergs: dict[int, TrueIceberg] = {}
        self.public: dict[int, int] = {}
        self.resting: list[int] = []
        self.next_id = 1
        self.now_ns = 0

    def step(self) -> None:
        """Let one thing happen: a limit order, a cancel, an iceberg or a market order."""
        self.now_ns += 1 + int(self.rng.expovariate(1 / _STEP_NS))
        kind = self.rng.random()
        side = _SIDES[self.rng.choice((1, -1))]
        if kind < _LIMITS:
            self._rest(side, self._size(), 0)
        elif kind < _LIMITS + _CANCELS:
            self._cancel()
        elif kind < _LIMITS + _CANCELS + _ICEBERGS:
            peak = self.rng.choice((_ROUND_LOTS, 2 * _ROUND_LOTS, self._size()))
            self._rest(side, peak * self.rng.randint(2, 12), peak)
        else:
            self._take(side)

    def _size(self) -> int:
        rng = self.rng
        return _ROUND_LOTS if rng.getrandbits(1) else 1 + int(rng.expovariate(1 / _MEAN_LOTS))

    def _rest(self, side: Side, lots: int, peak: int) -> None:
        price = _MID - side.sign * (1 + min(int(self.rng.expovariate(0.5)), _REACH))
        order_id = self._id()
        self.book.submit(order_id, side, lots, price, display_lots=peak)
        shown = peak or lots
        self._publish(Action.FEED_ADD, order_id, shown, price, side.sign)
        self.public[order_id] = order_id
        self.resting.append(order_id)
        if peak:
            self.icebergs[order_id] = TrueIceberg(side, price)

    def _cancel(self) -> None:
        if not self.resting:
            return
        place = self.rng.randrange(len(self.resting))
        self.resting[place], self.resting[-1] = self.resting[-1], self.resting[place]
        order_id = self.resting.pop()
        if order_id in self.book:
            self.book.cancel(order_id)
            self._publish(Action.FEED_DELETE, self.public[order_id], 0)

    def _take(self, side: Side) -> None:
        lots, price, sign = self._size(), 0, 0
        market = OrderType.MARKET
        for event in self.book.submit(self._id(), side, lots, order_type=market):
            if isinstance(event, Traded):
                maker, price, sign = event.maker_order_id, event.price_ticks, -side.sign
                self._publish(Action.FEED_EXECUTE, self.public[maker], event.quantity_lots, price)
            elif isinstance(event, Refilled):
                public = self.public[event.order_id] = self._id()
                self.icebergs[event.order_id].refills_ns.append(self.now_ns)
                self._publish(Action.FEED_ADD, public, event.displayed_lots, price, sign)

    def _id(self) -> int:
        self.next_id += 1
        return self.next_id

    def _publish(
        self, action: Action, order_id: int, lots: int, price: int = 0, sign: int = 0
    ) -> None:
        self.rows.append((self.now_ns, order_id, price, lots, 0, action.value, sign, 0, 0))


def synthetic_icebergs(steps: int, seed: int) -> tuple[Array, list[TrueIceberg]]:
    """Return the feed of a synthetic venue and the icebergs that rested in it.

    Refills carry new ids, so that nothing but time, price and size tells them from other orders.
    """
    venue = _Venue(whole("seed", seed, 0))
    for _ in range(whole("steps", steps, 1)):
        venue.step()
    return np.array(venue.rows, MESSAGE_DTYPE), list(venue.icebergs.values())


@dataclass(frozen=True, slots=True)
class Detected:
    """How detections of one confidence and above compare with the truth."""

    found: int
    right: int
    there: int
    caught: int

    @property
    def precision(self) -> float:
        """Return the share of detections that were icebergs; 1 of none."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Return the share of icebergs that were detected; 1 of none."""
        return self.caught / self.there if self.there else 1.0


def score_icebergs(
    found: Sequence[Iceberg],
    truth: Sequence[TrueIceberg],
    least_refills: int,
    within_ns: int = 60_000_000_000,
) -> Detected:
    """Compare detections of so many refills with icebergs that refilled as often.

    They belong together where side and price agree and the iceberg refilled so often, and half as
    often as the detection says, between the detection's first and last time. Those that refilled
    too slowly to be told (`within_ns`) are not looked for. O(found x truth).
    """
    found = [one for one in found if one.refills >= least_refills]
    there = [one for one in truth if one.refills(within_ns) >= least_refills]
    right = sum(any(_meets(one, true, least_refills) for true in there) for one in found)
    caught = sum(any(_meets(one, true, least_refills) for one in found) for true in there)
    return Detected(len(found), right, len(there), caught)


def same_id_refills(messages: Array) -> int:
    """Return how often an order that was wholly executed came again with its own id at once."""
    used: dict[int, int] = {}
    leaves: dict[int, int] = {}
    count = 0
    rows = messages[["ts_event_ns", "order_id", "quantity_lots", "action"]].tolist()
    for now_ns, order_id, lots, action in rows:
        if action == Action.FEED_ADD:
            count += used.pop(order_id, -1) == now_ns
            leaves[order_id] = lots
        elif action == Action.FEED_EXECUTE and order_id in leaves:
            leaves[order_id] -= lots
            if leaves[order_id] <= 0:
                del leaves[order_id]
                used[order_id] = now_ns
    return count


def measure(
    markets: Sequence[Market],
    *,
    progress: Callable[[str], None],
    seed: int = 0,
    steps: int = 60_000,
) -> Evidence:
    """Return the evidence of iceberg detection: the synthetic venue, then each real feed.

    The checks are those of the synthetic venue, where the truth is known.
    """
    progress("icebergs of a synthetic venue")
    messages, truth = synthetic_icebergs(steps, seed)
    rows, checks = [], []
    for within_ns in _RULES:
        rules = DetectionRules(refill_within_ns=within_ns)
        found = detect_in_feed(messages, rules)
        for least, word in _WORDS.items():
            score = score_icebergs(found, truth, least)
            wait_ms = within_ns / _NS_PER_MS
            rows.append((wait_ms, word, score.found, score.there, score.precision, score.recall))
            if word == "confirmed" and within_ns == _RULES[0]:
                checks += _checks(score)
    real = []
    for market in markets:
        progress(f"{market.name}: icebergs")
        real.append(_of_market(market))
    return Evidence(
        "icebergs",
        "Icebergs given away by their refills",
        "Synthetic: a real book of lob with plain orders, cancels, market orders and icebergs, "
        f"{steps} steps, seed {seed}; refills carry new ids, half of all orders are of 100 lots. "
        "Real feeds do not say which orders were icebergs, but where a refill keeps its id; what "
        "they do say is how often a level that refilled once or twice did so again, beside how "
        "often a used-up order is followed by its like at all.",
        tuple(checks),
        (
            Table(
                "Detections on the synthetic venue",
                ("refill within ms", "level", "detected", "there", "precision", "recall"),
                tuple(rows),
            ),
            Table(
                "Refills on real feeds (refill within 10 ms)",
                (
                    "market",
                    "orders used up",
                    "followed by their like",
                    "again after 1",
                    "again after 2",
                    "confirmed",
                    "refills of one id",
                ),
                tuple(real),
            ),
        ),
    )


def _checks(score: Detected) -> list[Check]:
    return [
        Check(
            f"{name} of confirmed icebergs, synthetic, refills within 10 ms",
            value,
            f">= {bar:.2f}",
            value >= bar,
        )
        for name, value, bar in (
            ("precision", score.precision, PRECISION_BAR),
            ("recall", score.recall, RECALL_BAR),
        )
    ]


def _of_market(market: Market) -> tuple[str | int | float, ...]:
    found = detect_in_feed(market.messages, DetectionRules(refill_within_ns=_RULES[0]))
    used = _used_up(market.messages)
    least = [sum(one.refills >= count for one in found) for count in (1, 2, 3)]
    return (
        market.name,
        used,
        least[0] / used if used else 0.0,
        least[1] / least[0] if least[0] else 0.0,
        least[2] / least[1] if least[1] else 0.0,
        least[1],
        same_id_refills(market.messages),
    )


def _used_up(messages: Array) -> int:
    """Return how many displayed orders traded to their end."""
    leaves: dict[int, int] = {}
    count = 0
    for order_id, lots, action in messages[["order_id", "quantity_lots", "action"]].tolist():
        if action in {Action.FEED_ADD, Action.FEED_MODIFY}:
            leaves[order_id] = lots
        elif action == Action.FEED_DELETE:
            leaves.pop(order_id, None)
        elif action in {Action.FEED_EXECUTE, Action.FEED_REDUCE} and order_id in leaves:
            leaves[order_id] -= lots
            if leaves[order_id] <= 0:
                del leaves[order_id]
                count += action == Action.FEED_EXECUTE
    return count


def _meets(found: Iceberg, true: TrueIceberg, least_refills: int) -> bool:
    if found.side is not true.side or found.price_ticks != true.price_ticks:
        return False
    inside = sum(found.first_ns <= at <= found.last_ns for at in true.refills_ns)
    return inside >= max(least_refills, found.refills / 2)
