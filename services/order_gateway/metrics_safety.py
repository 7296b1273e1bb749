"""Prometheus families of what keeps the gateway safe: guards, stops, storage, the watchdog.

Every child that a rule needs is there from the start. Ages are gauges that are read at a scrape
(`set_function`), so that a loop that has stopped cannot look fresh.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

GUARDS: Final = (
    "daily_loss",
    "drawdown",
    "exposure",
    "leverage",
    "liquidation",
    "staleness",
    "volatility",
    "watcher",
)
RECONCILED: Final = ("orders", "positions")
PRIORITIES: Final = ("cancel", "reduce", "entry", "query")
COLOURS: Final = ("GREEN", "YELLOW", "RED", "UNKNOWN")
DECISIONS: Final = ("GO", "HOLD", "NO-GO")
ROWS: Final = (
    "order_success_rate",
    "post_only_rejects",
    "slippage",
    "system_latency",
    "error_rate",
    "pnl_drift",
)
WAIT_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_NEVER: Final = float("inf")


class SafetyMetrics:
    """Guards, stops, kill scopes, reconciliation and the watchdog."""

    def __init__(self, registry: CollectorRegistry, guards: Iterable[str] = GUARDS) -> None:
        self._now_tripped: set[str] = set()
        self._tripped = Gauge(
            "gateway_guard_tripped", "1 while a risk guard is tripped", ["guard"], registry=registry
        )
        self._trips = Counter(
            "gateway_guard_trips", "Times a risk guard tripped", ["guard"], registry=registry
        )
        self.scope_state = Gauge(
            "gateway_kill_scope_state",
            "State of each kill scope that this gateway obeys, strictness 0 ACTIVE to 3 HALTED",
            ["scope"],
            registry=registry,
        )
        self.flattening = Gauge(
            "gateway_flattening", "1 while positions are being closed", registry=registry
        )
        self.stops_armed = Gauge(
            "gateway_stops_armed",
            "Stop orders held here that wait for their price",
            registry=registry,
        )
        self.stop_triggers = Counter(
            "gateway_stop_triggers", "Stop orders held here that were set off", registry=registry
        )
        self.stop_retries = Counter(
            "gateway_stop_retries",
            "Stops whose capped order did not fill, armed again",
            registry=registry,
        )
        self.reconciliation_age = Gauge(
            "gateway_reconciliation_age_seconds",
            "Since the last complete comparison with the venue",
            ["what"],
            registry=registry,
        )
        self.watchdog_age = Gauge(
            "gateway_watchdog_age_seconds",
            "Since the watchdog process was last heard; NaN where none is expected",
            registry=registry,
        )
        # As long as nothing was read, nothing is allowed.
        self.scope_state.labels("global").set(3)
        for guard in guards:
            self._tripped.labels(guard).set(0)
            self._trips.labels(guard)
        for what in RECONCILED:
            self.reconciliation_age.labels(what).set(_NEVER)
        self.watchdog_age.set(float("nan"))

    def set_guard(self, guard: str, *, tripped: bool) -> None:
        """Say whether a guard is tripped; a change to tripped counts as one trip."""
        if tripped and guard not in self._now_tripped:
            self._trips.labels(guard).inc()
        (self._now_tripped.add if tripped else self._now_tripped.discard)(guard)
        self._tripped.labels(guard).set(tripped)


class StorageMetrics:
    """The journal, and the SQL that is written behind it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.journal_writable = Gauge(
            "gateway_journal_writable",
            "1 while the journal takes records: without it no new order leaves",
            registry=registry,
        )
        self.journal_bytes = Gauge(
            "gateway_journal_bytes", "Size of the journal's files", registry=registry
        )
        self.journal_records = Counter(
            "gateway_journal_records", "Records appended to the journal", registry=registry
        )
        self.backlog_records = Gauge(
            "gateway_projector_backlog_records",
            "Journal records that SQL does not have yet",
            registry=registry,
        )
        self.backlog_age = Gauge(
            "gateway_projector_backlog_age_seconds",
            "Age of the oldest journal record that SQL does not have yet; 0 where it has all",
            registry=registry,
        )
        self.failures = Counter(
            "gateway_projector_failures", "Batches that SQL did not take", registry=registry
        )
        self.journal_writable.set(1)


class PaceMetrics:
    """How close the gateway is to the venue's limits, and what waits because of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.remaining = Gauge(
            "venue_rate_limit_remaining",
            "Requests that the venue still allows in its present window; NaN before it said",
            registry=registry,
        )
        self.limit = Gauge(
            "venue_rate_limit", "Requests that the venue allows in a window", registry=registry
        )
        self.limited = Counter("venue_rate_limited", "Answers 429 of the venue", registry=registry)
        waits = Histogram(
            "venue_request_wait_seconds",
            "Time a request waited for its turn, by priority",
            ["priority"],
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self.remaining.set(float("nan"))
        self.limit.set(float("nan"))
        self._waits = {priority: waits.labels(priority) for priority in PRIORITIES}

    def observe_wait(self, priority: str, seconds: float) -> None:
        """Count what one request waited for its turn."""
        self._waits[priority].observe(seconds)


class VerdictMetrics:
    """The go/no-go matrix of this gateway: the colour of each row, and the decision."""

    def __init__(self, registry: CollectorRegistry, rows: Iterable[str] = ROWS) -> None:
        colours = Gauge(
            "gateway_go_no_go_row",
            "1 for the colour of a row",
            ["row", "colour"],
            registry=registry,
        )
        decisions = Gauge(
            "gateway_go_no_go", "1 for the present verdict", ["decision"], registry=registry
        )
        self._rows = {
            row: {colour: colours.labels(row, colour) for colour in COLOURS} for row in rows
        }
        self._decisions = {decision: decisions.labels(decision) for decision in DECISIONS}
        self.decide("HOLD")
        for row in self._rows:
            self.colour(row, "UNKNOWN")

    def colour(self, row: str, colour: str) -> None:
        """Say the colour of a row."""
        for name, gauge in self._rows[row].items():
            gauge.set(name == colour)

    def decide(self, decision: str) -> None:
        """Say the decision: GO, HOLD or NO-GO."""
        for name, gauge in self._decisions.items():
            gauge.set(name == decision)
