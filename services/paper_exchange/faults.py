"""Faults on demand: what to do wrong, to whom, how often. Deterministic by each fault's seed.

A fault has dice of its own, rolled once for every request or message that it could strike, in the
order in which they come. The first fault (by number) that strikes is the only one.
"""

import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter

from lob.errors import InvalidInput, NotFound
from services.paper_exchange.bodies import Body

FAULTS_MAX: Final = 100
DELAY_MS_MAX: Final = 600_000
COUNT_MAX: Final = 1_000_000_000
_STATUSES: Final = (429, 500, 599)
_CLOSE_CODES: Final = (1000, 4999)
_SHOWN_AS: Final = {"l2_data": "level2"}


class FaultKind(StrEnum):
    """What goes wrong."""

    DELAY = "delay"
    DROP = "drop"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    DISCONNECT = "disconnect"
    MAINTENANCE = "maintenance"
    ERROR = "error"
    TIME_OUT = "time_out"
    PARTIAL = "partial"
    SEQUENCE_GAP = "sequence_gap"


_BOTH: Final = frozenset(
    {
        FaultKind.DELAY,
        FaultKind.DROP,
        FaultKind.DUPLICATE,
        FaultKind.REORDER,
        FaultKind.DISCONNECT,
        FaultKind.MAINTENANCE,
    }
)
KINDS: Final = {
    "rest": _BOTH | {FaultKind.ERROR, FaultKind.TIME_OUT, FaultKind.PARTIAL},
    "feed": _BOTH | {FaultKind.SEQUENCE_GAP},
}
"""Which kinds there are where."""


class FaultRule(Body, kw_only=True):
    """The body of `POST /admin/faults`; what is not given matches everything.

    `on` is `rest` or `feed`. `path` ends in `*` to match what begins so. `when` says whether a REST
    fault comes before the request is carried out or after it. `count` ends the fault after so many
    strikes, `skip` lets so many matches pass first.
    """

    on: Literal["rest", "feed"]
    kind: FaultKind
    method: str | None = None
    path: str | None = None
    channel: str | None = None
    account: str | None = None
    when: Literal["before", "after"] = "before"
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    seed: int = 0
    delay_ms: int = 1_000
    status: int = 503
    html: bool = False
    gap: int = 1
    code: int | None = None

    def check(self) -> None:
        """Raise `InvalidInput` for a value that cannot be."""
        allowed = KINDS[self.on]
        if self.kind not in allowed:
            raise InvalidInput(f"kind: {self.kind}; allowed on {self.on}: {', '.join(allowed)}")
        strangers = ("channel", "code") if self.on == "rest" else ("method", "path")
        for name in strangers:
            if getattr(self, name) is not None:
                raise InvalidInput(f"{name}: not on {self.on}")
        if not 0 <= self.probability <= 1:
            raise InvalidInput(f"probability: {self.probability}; allowed: 0..1")
        for name, least, most in (
            ("count", 1, COUNT_MAX),
            ("skip", 0, COUNT_MAX),
            ("delay_ms", 0, DELAY_MS_MAX),
            ("gap", 1, COUNT_MAX),
            ("code", *_CLOSE_CODES),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise InvalidInput(f"{name}: {value}; allowed: {least}..{most}")
        throttled, first, last = _STATUSES
        if self.status != throttled and not first <= self.status <= last:
            raise InvalidInput(f"status: {self.status}; allowed: {throttled}, {first}..{last}")

    @property
    def seconds(self) -> float:
        """Return the delay in seconds."""
        return self.delay_ms / 1_000


@dataclass(slots=True)
class Fault:
    """A rule that is in force, and how often it could have struck and did."""

    number: int
    rule: FaultRule
    dice: random.Random = field(repr=False)
    matched: int = 0
    struck: int = 0

    @property
    def over(self) -> bool:
        """Say whether it has struck as often as it should."""
        return self.rule.count is not None and self.struck >= self.rule.count

    def strikes(self) -> bool:
        """Count a match and roll the dice."""
        self.matched += 1
        rule = self.rule
        if self.matched <= rule.skip:
            return False
        hit = rule.probability >= 1 or self.dice.random() < rule.probability
        self.struck += hit
        return hit


class FaultBook:
    """The faults in force. `rest_armed` and `feed_armed` say whether any could strike there.

    `rest_held` is how many requests wait for another one to pass them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._faults: dict[int, Fault] = {}
        self._next = 1
        self._struck = Counter(
            "exchange_faults_total",
            "Faults on demand that struck, by where and what",
            ["on", "kind"],
            registry=registry,
        )
        for on, kinds in KINDS.items():
            for kind in kinds:
                self._struck.labels(on, kind)
        self.rest_armed = False
        self.feed_armed = False
        self.rest_held = 0

    def concerns_rest(self) -> bool:
        """Say whether every request has to come by: to be struck, or to let another one go on."""
        return self.rest_armed or self.rest_held > 0

    def add(self, rule: FaultRule) -> Fault:
        """Put a rule in force; `InvalidInput` where it makes no sense or there are too many."""
        rule.check()
        if len(self._faults) >= FAULTS_MAX:
            raise InvalidInput(f"faults: {FAULTS_MAX} are in force; none more allowed")
        # random.Random, not secrets: the same seed has to give the same faults.
        fault = Fault(self._next, rule, random.Random(rule.seed))  # noqa: S311
        self._faults[self._next] = fault
        self._next += 1
        self._arm()
        return fault

    def clear(self, number: int | None = None) -> int:
        """End one fault or all; return how many ended. `NotFound` for a number that is not."""
        if number is None:
            count = len(self._faults)
            self._faults.clear()
        else:
            if self._faults.pop(number, None) is None:
                raise NotFound(f"fault: {number} is not in force")
            count = 1
        self._arm()
        return count

    def listed(self) -> list[Fault]:
        """Return the faults in force and those that are over, oldest first."""
        return list(self._faults.values())

    def on_rest(self, method: str, path: str, account: str | None) -> FaultRule | None:
        """Return what strikes this request."""
        for fault in self._faults.values():
            rule = fault.rule
            if (
                rule.on == "rest"
                and rule.method in (None, method)
                and _matches(rule.path, path)
                and rule.account in (None, account)
                and not fault.over
                and fault.strikes()
            ):
                return self._strike(rule)
        return None

    def on_feed(self, channel: str, account: str | None) -> FaultRule | None:
        """Return what strikes this message; `channel` as it is subscribed to or as it is sent."""
        channel = _SHOWN_AS.get(channel, channel)
        for fault in self._faults.values():
            rule = fault.rule
            if (
                rule.on == "feed"
                and (rule.channel is None or _SHOWN_AS.get(rule.channel, rule.channel) == channel)
                and rule.account in (None, account)
                and not fault.over
                and fault.strikes()
            ):
                return self._strike(rule)
        return None

    def feed_is_closed(self) -> bool:
        """Say whether the feed is under maintenance: no connection is taken."""
        return any(
            fault.rule.on == "feed" and fault.rule.kind is FaultKind.MAINTENANCE and not fault.over
            for fault in self._faults.values()
        )

    def _strike(self, rule: FaultRule) -> FaultRule:
        self._struck.labels(rule.on, rule.kind).inc()
        self._arm()
        return rule

    def _arm(self) -> None:
        live = {fault.rule.on for fault in self._faults.values() if not fault.over}
        self.rest_armed = "rest" in live
        self.feed_armed = "feed" in live


def _matches(wanted: str | None, path: str) -> bool:
    if wanted is None:
        return True
    return path.startswith(wanted[:-1]) if wanted.endswith("*") else path == wanted
