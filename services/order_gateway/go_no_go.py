"""The go/no-go matrix of this gateway, from its own records; it survives a restart.

Orders become outcomes (`outcomes`), the comparison of profits gives drifts, and the verdict is
`touchstone.rollout.go_no_go`'s. Everything is an event: `order_outcome`, `pnl_drift`,
`go_no_go_waiver`, `go_no_go_verdict`. Time is the venue's, so that a day on an accelerated clock
is a day.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any, Final, Protocol

import structlog

from lob.errors import Fault, InvalidInput, NotFound
from services.order_gateway.metrics_safety import VerdictMetrics
from services.order_gateway.outcomes import (
    WINDOW_SECONDS,
    Outcome,
    OutcomeWindow,
    from_json,
    outcome_of,
    refused_outcome,
)
from touchstone.kit.event_store import ROWS_MAX, Record
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.orders import Intent, Order
from touchstone.rollout.go_no_go import (
    DWELL_SECONDS,
    ROWS,
    Decision,
    Measurement,
    Verdict,
    Waiver,
    decide,
    verdict_to_json,
)

OUTCOME: Final = "order_outcome"
DRIFT: Final = "pnl_drift"
VERDICT: Final = "go_no_go_verdict"
WAIVER: Final = "go_no_go_waiver"

LOOK_SECONDS: Final = 300.0
"""Of venue time: how often the matrix is looked at, and its verdict kept."""
POLL_SECONDS: Final = 1.0
WAIVER_HOURS_MAX: Final = 720.0
DRIFTS_MAX: Final = 2_000
SHOWN_VALUES_MAX: Final = 200
_NS: Final = 1_000_000_000
_ROW_NAMES: Final = tuple(row.name for row in ROWS)

_log = structlog.get_logger("touchstone.gateway.go_no_go")


class Reader(Protocol):
    """Where the kept events are read."""

    async def load_events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        event_type: str | None = None,
        client_order_id: str | None = None,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """Return events."""
        ...


class GoNoGo:
    """Observe orders, judge the matrix, keep each verdict (an `OrderObserver`).

    Until `load` has read what was kept, the matrix is what this process has seen.
    """

    def __init__(
        self,
        note: Callable[[Record], None],
        mid: Callable[[str], Decimal | None],
        now_ns: Callable[[], int],
        metrics: VerdictMetrics,
        *,
        dwell_seconds: float = DWELL_SECONDS,
        observe_slippage: Callable[[float], None] = lambda _bps: None,
    ) -> None:
        """Begin with nothing.

        Args:
            note: appends an event.
            mid: the middle of a symbol's touch now.
            now_ns: venue time.
            metrics: told each verdict.
            dwell_seconds: how long everything has to be clear, in venue time.
            observe_slippage: told the slippage of each order, in bps.
        """
        self._note = note
        self._mid = mid
        self._now_ns = now_ns
        self._metrics = metrics
        self._dwell_seconds = dwell_seconds
        self._observe_slippage = observe_slippage
        self.window = OutcomeWindow()
        self._drifts: deque[tuple[float, float]] = deque(maxlen=DRIFTS_MAX)
        self._waivers: dict[str, Waiver] = {}
        self._mids: dict[str, Decimal | None] = {}
        self._latencies_ms: dict[str, float] = {}
        self._on_their_way: set[str] = set()
        self._unanswered: dict[str, Order] = {}
        self._last: Verdict | None = None
        self._kept_at = -math.inf

    # ------------------------------------------------------------- what orders tell

    def arrived(self, intent: Intent) -> None:
        """Remember the market that an order was decided in."""
        key = intent.client_order_id
        if key not in self._mids:
            self._mids[key] = self._mid(intent.symbol)
            self._on_their_way.add(key)

    def refused(self, intent: Intent, refusal: Refusal) -> None:
        """Count an order that could not be sent, or would have crossed."""
        if refusal.reason is RefusalReason.DUPLICATE_CLIENT_ORDER_ID:
            # The id is another order's, which goes on.
            return
        self._forget(intent.client_order_id)
        outcome = refused_outcome(intent, refusal.reason.value, at=self.now())
        if outcome is not None:
            self._keep(intent, outcome)

    def answered(self, order: Order, seconds: float) -> None:
        """Remember how long the venue's answer took."""
        key = order.intent.client_order_id
        if key not in self._on_their_way:
            return
        self._on_their_way.discard(key)
        self._latencies_ms[key] = seconds * 1_000
        waiting = self._unanswered.pop(key, None)
        if waiting is not None:
            self._count(waiting)

    def over(self, order: Order) -> None:
        """Count an order that has ended, once."""
        key = order.intent.client_order_id
        if key in self._on_their_way:
            # The feed was faster than the answer to the request, which tells the latency.
            self._unanswered[key] = order
            return
        self._count(order)

    def _count(self, order: Order) -> None:
        key = order.intent.client_order_id
        mid, latency = self._mids.pop(key, None), self._latencies_ms.pop(key, None)
        outcome = outcome_of(order, at=self.now(), mid=mid, latency_ms=latency)
        if outcome is None:
            return
        if outcome.slippage_bps is not None:
            self._observe_slippage(outcome.slippage_bps)
        self._keep(order.intent, outcome)

    def _forget(self, client_order_id: str) -> None:
        self._mids.pop(client_order_id, None)
        self._latencies_ms.pop(client_order_id, None)
        self._unanswered.pop(client_order_id, None)
        self._on_their_way.discard(client_order_id)

    def drift(self, share: float, at: float) -> None:
        """Count one comparison of our profit with the venue's; whoever compared keeps the event.

        Args:
            share: the difference, as a share of what it is measured against.
            at: venue time, in seconds since 1970.
        """
        self._drifts.append((at, share))

    # ------------------------------------------------------------- the verdict

    def now(self) -> float:
        """Return venue time, in seconds since 1970."""
        return self._now_ns() / _NS

    def measurements(self, now: float) -> dict[str, Measurement]:
        """Return what each row is measured at; rows that nothing was seen of are absent."""
        found = self.window.measurements(now)
        drifts = [one for one in self._drifts if now - WINDOW_SECONDS < one[0] <= now]
        if drifts:
            values = tuple(abs(share) for _, share in drifts)
            at = max(at for at, _ in drifts)
            found["pnl_drift"] = Measurement(measured_at=at, n=len(values), values=values)
        return found

    def evaluate(self) -> Verdict:
        """Return the verdict now; one that differs, or is the first of five minutes, is kept."""
        now = self.now()
        verdict = decide(
            self.measurements(now),
            list(self._waivers.values()),
            now,
            previous=self._last,
            dwell_seconds=self._dwell_seconds,
        )
        self._metrics.decide(verdict.decision.value)
        for row in verdict.rows:
            self._metrics.colour(row.row.name, row.colour.value)
        if _differs(self._last, verdict) or now - self._kept_at >= LOOK_SECONDS:
            self._note(Record(type=VERDICT, payload=shown(verdict)))
            self._kept_at = now
        self._last = verdict
        return verdict

    async def work(self, reader: Reader) -> None:
        """Read what was kept, then look every five minutes of venue time, until cancelled."""
        await self.load_until_done(reader)
        looked_at = -math.inf
        while True:
            if self.now() - looked_at >= LOOK_SECONDS:
                self.evaluate()
                looked_at = self.now()
            await asyncio.sleep(POLL_SECONDS)

    def waive(self, row: str, *, by: str, reason: str, hours: float) -> Waiver:
        """Accept one yellow row by name until a time; it replaces an earlier waiver of that row.

        Raises:
            InvalidInput: no such row, a blank name or reason, or no allowed time.
        """
        if row not in _ROW_NAMES:
            raise InvalidInput(f"row: {row[:80]!r}; allowed: {', '.join(_ROW_NAMES)}")
        if not 0 < hours <= WAIVER_HOURS_MAX:
            raise InvalidInput(f"hours: {hours!r}; allowed: above 0, up to {WAIVER_HOURS_MAX:g}")
        waiver = Waiver(row=row, by=by, reason=reason, expires_at=self.now() + hours * 3_600)
        self._waivers[row] = waiver
        self._note(Record(type=WAIVER, payload=asdict(waiver)))
        _log.warning("go_no_go_waived", **asdict(waiver))
        return waiver

    def withdraw(self, row: str) -> None:
        """Take a waiver back.

        Raises:
            NotFound: that row is not waived.
        """
        waiver = self._waivers.pop(row, None)
        if waiver is None:
            raise NotFound(f"waiver: {row[:80]!r}; allowed: a row that is waived")
        self._note(Record(type=WAIVER, payload={**asdict(waiver), "expires_at": self.now()}))
        _log.warning("go_no_go_waiver_withdrawn", row=row)

    # ------------------------------------------------------------- after a restart

    async def load(self, reader: Reader) -> None:
        """Read the last day's records back; what this process has seen meanwhile comes after them.

        Raises:
            Fault: the event store does not answer; nothing is changed.
        """
        since = self.now() - WINDOW_SECONDS
        outcomes = [
            outcome
            for payload in await _newest(reader, OUTCOME, since, "at")
            if (outcome := from_json(payload)) is not None
        ]
        drifts = [
            (float(payload["at"]), float(payload["drift"]))
            for payload in await _newest(reader, DRIFT, since, "at")
            if _is_number(payload.get("drift"))
        ]
        # A waiver may be older than the window, and a later record of its row takes it back.
        told = await _newest(reader, WAIVER, -math.inf, "expires_at", limit=ROWS_MAX)
        waivers = {waiver.row: waiver for one in told if (waiver := _waiver(one)) is not None}
        verdicts = await _newest(reader, VERDICT, since, "at", limit=1)
        seen = self.window.within(math.inf)
        self.window = OutcomeWindow([*outcomes, *seen])
        self._drifts = deque([*drifts, *self._drifts], maxlen=DRIFTS_MAX)
        self._waivers = waivers | self._waivers
        if verdicts:
            self._resume(verdicts[-1])
        _log.info("go_no_go_loaded", orders=len(outcomes), drifts=len(drifts))

    async def load_until_done(self, reader: Reader) -> None:
        """Try `load` until it works."""
        while True:
            try:
                await self.load(reader)
            except Fault as fault:
                _log.warning("go_no_go_not_loaded", why=str(fault))
                await asyncio.sleep(POLL_SECONDS)
            else:
                return

    def _resume(self, payload: Mapping[str, Any]) -> None:
        """Go on from a kept verdict, so that a restart does not begin the dwell anew."""
        since = payload.get("clear_since")
        if since is not None and not _is_number(since):
            return
        try:
            decision = Decision(str(payload.get("decision")))
        except ValueError:
            return
        at = float(payload["at"])
        self._last = Verdict(decision, at, (), (), (), since, self._dwell_seconds)

    def _keep(self, intent: Intent, outcome: Outcome) -> None:
        self.window.add(outcome)
        self._note(
            Record(
                type=OUTCOME,
                symbol=intent.symbol,
                client_order_id=intent.client_order_id,
                payload=outcome.to_json(),
            ),
        )


def shown(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON, with a sample of the values of a long row, evenly spread."""
    rows = []
    for row in verdict.rows:
        measured = row.measurement
        if measured is not None and len(measured.values) > SHOWN_VALUES_MAX:
            step = len(measured.values) / SHOWN_VALUES_MAX
            ordered = sorted(measured.values)
            values = tuple(ordered[int(i * step)] for i in range(SHOWN_VALUES_MAX))
            row = replace(row, measurement=replace(measured, values=values))  # noqa: PLW2901
        rows.append(row)
    return verdict_to_json(replace(verdict, rows=tuple(rows)))


def _differs(before: Verdict | None, now: Verdict) -> bool:
    if before is None:
        return True
    colours = [row.colour for row in before.rows], [row.colour for row in now.rows]
    return before.decision is not now.decision or colours[0] != colours[1]


async def _newest(
    reader: Reader, event_type: str, since: float, key: str, limit: int = 10**9
) -> list[dict[str, Any]]:
    """Return the payloads of a type whose `key` is after `since`, oldest first."""
    found: list[dict[str, Any]] = []
    before: int | None = None
    while True:
        rows = await reader.load_events(
            event_type=event_type,
            before=before,
            limit=min(limit, ROWS_MAX),
            newest_first=True,
        )
        for row in rows:
            payload = row["payload"]
            if not _is_number(payload.get(key)) or payload[key] <= since:
                return found[::-1]
            found.append(payload)
        if len(rows) < ROWS_MAX or len(found) >= limit:
            return found[::-1]
        before = rows[-1]["sequence"]


def _is_number(value: object) -> bool:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return right and math.isfinite(value)  # type: ignore[arg-type]


def _waiver(payload: Mapping[str, Any]) -> Waiver | None:
    try:
        return Waiver(**payload)
    except (TypeError, InvalidInput):
        return None
