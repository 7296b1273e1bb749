"""Find icebergs by their refills: a displayed order trades away, and its like stands there again.

What is seen is displayed orders that come, trade away, or are taken out, at a price of one side.
A refill is an order that comes soon after one was used up and shows about as much. One refill makes
an iceberg suspected; two confirm it; three give high confidence.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from lob.bounds import number, whole
from lob.hidden.refills import RefillPosterior
from lob.types import Side

SECOND_NS: Final = 1_000_000_000


class IcebergState(StrEnum):
    """Where an iceberg is in its life; the last two end it."""

    SUSPECTED = "SUSPECTED"
    CONFIRMED = "CONFIRMED"
    EXHAUSTED = "EXHAUSTED"
    CANCELLED = "CANCELLED"


class Confidence(StrEnum):
    """How sure it is: by one refill, by two, by three or more."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRules:
    """What counts as a refill, and how many of them count as what.

    A refill comes within `refill_within_ns` of the part before it being used up, and within
    `window_ns` of the refill before it; it shows from `low_ratio` to `high_ratio` of what the
    iceberg shows, an exponential mean in which the newest part weighs `display_weight`. The
    Beta(`prior_a`, `prior_b`) prior is that of `RefillPosterior`. At most `max_candidates` are
    watched; the one quiet the longest is dropped.
    """

    window_ns: int = 60 * SECOND_NS
    refill_within_ns: int = SECOND_NS
    low_ratio: float = 0.8
    high_ratio: float = 1.2
    display_weight: float = 0.3
    confirm_refills: int = 2
    high_confidence_refills: int = 3
    prior_a: float = 1.0
    prior_b: float = 2.0
    max_candidates: int = 10_000

    def __post_init__(self) -> None:
        whole("window_ns", self.window_ns, 1)
        whole("refill_within_ns", self.refill_within_ns, 0, self.window_ns)
        number("low_ratio", self.low_ratio, low=1e-9, high=1)
        number("high_ratio", self.high_ratio, low=1)
        number("display_weight", self.display_weight, low=1e-9, high=1)
        whole("confirm_refills", self.confirm_refills, 1)
        whole("high_confidence_refills", self.high_confidence_refills, self.confirm_refills)
        RefillPosterior(0, self.prior_a, self.prior_b)
        whole("max_candidates", self.max_candidates, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Iceberg:
    """What is known of one iceberg; each observation makes a new value.

    `display_lots` is the exponential mean of what its parts showed; `traded_lots` what they traded
    as far as seen; `hidden_lots` the estimate of what it does not show yet (0 once it has ended).
    """

    side: Side
    price_ticks: int
    display_lots: float
    refills: int
    traded_lots: int
    first_ns: int
    last_ns: int
    state: IcebergState
    confidence: Confidence
    hidden_lots: float


_Level = tuple[Side, int]
_Key = tuple[Side, int, int]
"""Side, price, and the id of the first part: 0 where ids are not told, so one a level."""


@dataclass(slots=True)
class _Candidate:
    """What is watched: an order used up at a level, and what came after."""

    display_lots: float
    traded_lots: int
    first_ns: int
    last_ns: int
    refills: int = 0
    waiting: bool = True  # a part is used up, and no refill has come yet
    shown_lots: int = 0
    order_id: int = 0  # of the part that is displayed


class IcebergDetector:
    """Watch displayed orders come and go; each call returns the iceberg it made, changed or ended.

    Times are nanoseconds and never go back. Where a feed tells orders apart, `order_id` says which
    one it was: an iceberg then waits for a refill only once its own last part is used up, whatever
    trades before it, and a level may hold several. Without ids (0) a level holds one. O(1)
    amortised a call, and what waits at one level.

    >>> detector = IcebergDetector()
    >>> for second in range(3):
    ...     found = detector.used_up(second * 10**9, Side.SELL, 100, 10)
    ...     found = detector.shown(second * 10**9 + 1, Side.SELL, 100, 10)
    >>> found.state.value, found.confidence.value, found.refills, found.hidden_lots
    ('CONFIRMED', 'HIGH', 3, 40.0)
    """

    def __init__(self, rules: DetectionRules | None = None) -> None:
        self.rules = DetectionRules() if rules is None else rules
        self._candidates: OrderedDict[_Key, _Candidate] = OrderedDict()
        self._waiting: dict[_Level, list[_Key]] = {}
        self._of_order: dict[int, _Key] = {}
        self._ended: deque[Iceberg] = deque(maxlen=self.rules.max_candidates)
        self._now_ns = 0

    def __len__(self) -> int:
        """Return how many candidates are watched."""
        return len(self._candidates)

    def icebergs(self) -> list[Iceberg]:
        """Return the icebergs that live, the one quiet the longest first."""
        found = [self._view(key, candidate) for key, candidate in self._candidates.items()]
        return [iceberg for iceberg in found if iceberg is not None]

    def used_up(
        self, now_ns: int, side: Side, price_ticks: int, lots: int, order_id: int = 0
    ) -> Iceberg | None:
        """Note that a displayed order, which showed `lots` when it came, has traded away."""
        level = self._at(now_ns, side, price_ticks, lots)
        key = self._of_order.pop(order_id, None) if order_id else (*level, 0)
        candidate = None if key is None else self._candidates.get(key)
        if key is None or candidate is None or not candidate.refills:
            self._watch((*level, order_id), _Candidate(float(lots), lots, now_ns, now_ns))
            return None
        if candidate.waiting or not self._alike(candidate, lots):
            return None
        candidate.traded_lots += lots
        candidate.last_ns, candidate.waiting, candidate.order_id = now_ns, True, 0
        self._waiting.setdefault(level, []).append(key)
        self._touch(key)
        return self._view(key, candidate)

    def shown(
        self, now_ns: int, side: Side, price_ticks: int, lots: int, order_id: int = 0
    ) -> Iceberg | None:
        """Note that an order came to show `lots`: a refill, if it comes after its like.

        Of several that wait for one, the one that was used up last takes it.
        """
        level = self._at(now_ns, side, price_ticks, lots)
        for key in reversed(self._waiting.get(level, ())):
            candidate = self._candidates[key]
            if bool(key[2]) is bool(order_id) and self._alike(candidate, lots):
                break
        else:
            return None
        weight = self.rules.display_weight
        candidate.display_lots += weight * (lots - candidate.display_lots)
        candidate.refills += 1
        candidate.last_ns, candidate.waiting, candidate.shown_lots = now_ns, False, lots
        self._rests(key)
        if order_id:
            candidate.order_id = order_id
            self._of_order[order_id] = key
        self._touch(key)
        return self._view(key, candidate)

    def withdrawn(
        self, now_ns: int, side: Side, price_ticks: int, lots: int, order_id: int = 0
    ) -> Iceberg | None:
        """Note that an order that showed `lots` when it came was taken out, not traded away."""
        level = self._at(now_ns, side, price_ticks, lots)
        key = self._of_order.get(order_id) if order_id else (*level, 0)
        candidate = None if key is None else self._candidates.get(key)
        if key is None or candidate is None or candidate.waiting:
            return None
        if not order_id and candidate.shown_lots != lots:
            return None
        self._forget(key)
        return self._view(key, candidate, IcebergState.CANCELLED)

    def expire(self, now_ns: int) -> list[Iceberg]:
        """End what is over by now; return all that is EXHAUSTED since the last call.

        An iceberg is exhausted when no refill came in time after a part was used up, or when
        nothing was heard of it for the whole window. O(levels watched).
        """
        self._move_to(now_ns)
        for key in list(self._candidates):
            self._end_if_over(key)
        ended = list(self._ended)
        self._ended.clear()
        return ended

    def _end_if_over(self, key: _Key) -> None:
        candidate = self._candidates.get(key)
        if candidate is None:
            return
        rules = self.rules
        patience_ns = rules.refill_within_ns if candidate.waiting else rules.window_ns
        if self._now_ns - candidate.last_ns > patience_ns:
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        view = self._view(key, self._forget(key), IcebergState.EXHAUSTED)
        if view is not None:
            self._ended.append(view)

    def _watch(self, key: _Key, candidate: _Candidate) -> None:
        """Begin with a part that was used up, in place of what stood under its key."""
        # Of parts that never refilled, a level waits for the latest one's like only.
        unproven = [one for one in self._waiting.get(key[:2], ()) if not self._refills(one)]
        for old in unproven:
            self._forget(old)
        self._candidates[key] = candidate
        self._waiting.setdefault(key[:2], []).append(key)
        self._touch(key)

    def _refills(self, key: _Key) -> int:
        return self._candidates[key].refills

    def _forget(self, key: _Key) -> _Candidate:
        candidate = self._candidates.pop(key)
        if candidate.waiting:
            self._rests(key)
        self._of_order.pop(candidate.order_id, None)
        return candidate

    def _rests(self, key: _Key) -> None:
        """Wait no longer for a refill."""
        waiting = self._waiting[key[:2]]
        waiting.remove(key)
        if not waiting:
            del self._waiting[key[:2]]

    def _at(self, now_ns: int, side: Side, price_ticks: int, lots: int) -> _Level:
        whole("price_ticks", price_ticks, 1)
        whole("lots", lots, 1)
        self._move_to(now_ns)
        level = Side(side), price_ticks
        for key in (*self._waiting.get(level, ()), (*level, 0)):
            self._end_if_over(key)
        return level

    def _move_to(self, now_ns: int) -> None:
        self._now_ns = whole("now_ns", now_ns, self._now_ns)

    def _touch(self, key: _Key) -> None:
        self._candidates.move_to_end(key)
        if len(self._candidates) > self.rules.max_candidates:
            self._drop(next(iter(self._candidates)))

    def _alike(self, candidate: _Candidate, lots: int) -> bool:
        ratio = lots / candidate.display_lots
        # the bounds are decimals and the ratio is rounded: 12 of 10 is 1.2
        return self.rules.low_ratio - 1e-12 <= ratio <= self.rules.high_ratio + 1e-12

    def _view(
        self, key: _Key, candidate: _Candidate, ended: IcebergState | None = None
    ) -> Iceberg | None:
        rules, refills = self.rules, candidate.refills
        if not refills:
            return None
        confirmed = refills >= rules.confirm_refills
        confidence = Confidence.MEDIUM if confirmed else Confidence.LOW
        if refills >= rules.high_confidence_refills:
            confidence = Confidence.HIGH
        posterior = RefillPosterior(refills, rules.prior_a, rules.prior_b)
        living = Iceberg(
            side=key[0],
            price_ticks=key[1],
            display_lots=candidate.display_lots,
            refills=refills,
            traded_lots=candidate.traded_lots,
            first_ns=candidate.first_ns,
            last_ns=candidate.last_ns,
            state=IcebergState.CONFIRMED if confirmed else IcebergState.SUSPECTED,
            confidence=confidence,
            hidden_lots=posterior.expected_hidden_lots(candidate.display_lots),
        )
        return living if ended is None else replace(living, state=ended, hidden_lots=0.0)
