"""The gateway's Prometheus families, with every child that a rule needs made at zero."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.order_gateway.metrics_money import MoneyMetrics
from services.order_gateway.metrics_safety import (
    PaceMetrics,
    SafetyMetrics,
    StorageMetrics,
    VerdictMetrics,
)
from touchstone.kit.control import KILL_SCOPE
from touchstone.kit.membership import ack_histogram
from touchstone.perps.checks import RefusalReason
from touchstone.perps.kill import TradingState

ORDER_OUTCOMES = (
    "accepted",
    "rejected",
    "refused",
    "unknown",
    "missing",
    "filled",
    "cancelled",
    "expired",
)
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
CHANNELS = ("subscriptions", "heartbeats", "l2_data", "market_trades", "user")


class VenueMetrics:
    """What the venue adapters count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "venue_requests",
            "REST requests to the venue by what they asked and how they ended",
            ["request", "status"],
            registry=registry,
        )
        self._messages = Counter(
            "venue_feed_messages", "WebSocket messages by channel", ["channel"], registry=registry
        )
        self.feed_gaps = Counter(
            "venue_feed_gaps", "Sequence gaps seen in the venue's feed", registry=registry
        )
        self.feed_reconnects = Counter(
            "venue_feed_reconnects", "Times the venue's feed was lost", registry=registry
        )
        self.feed_connected = Gauge(
            "venue_feed_connected", "1 while the venue's feed is complete", registry=registry
        )
        self.pace = PaceMetrics(registry)
        for channel in CHANNELS:
            self._messages.labels(channel)
        for request in ("create", "cancel"):
            for status in ("200", "error"):
                self._requests.labels(request, status)

    def count_request(self, request: str, status: str) -> None:
        """Count one REST request."""
        self._requests.labels(request, status).inc()

    def count_message(self, channel: str) -> None:
        """Count one message; a channel we do not know counts as `other`."""
        self._messages.labels(channel if channel in CHANNELS else "other").inc()


class GatewayMetrics:
    """What the engine and the kill switch export."""

    def __init__(self, registry: CollectorRegistry, symbols: Iterable[str]) -> None:
        self.orders = Counter(
            "gateway_orders",
            "Orders by symbol and what became of them; one order counts once per outcome",
            ["symbol", "outcome"],
            registry=registry,
        )
        self.refusals = Counter(
            "gateway_refusals", "Orders refused by the gateway", ["reason"], registry=registry
        )
        self.defects = Counter(
            "gateway_order_defects",
            "Order events that the state table does not allow",
            registry=registry,
        )
        self.reconciliation_differences = Counter(
            "gateway_reconciliation_differences",
            "Differences between journal and venue by what was done about them",
            ["kind"],
            registry=registry,
        )
        self.kill_state = Gauge(
            "gateway_kill_state",
            "Effective trading state: 0 ACTIVE, 1 REDUCE_ONLY, 2 CANCEL_ONLY, 3 HALTED",
            registry=registry,
        )
        self.control_age = Gauge(
            "control_state_age_seconds",
            "Age of the last control state read from Redis",
            ["scope"],
            registry=registry,
        )
        # One child for each kind of scope: callers must not make up series.
        self.ack_seconds = ack_histogram(
            registry, KILL_SCOPE, "kill:account", "kill:strategy", "kill:symbol"
        )
        self.working_orders = Gauge(
            "gateway_working_orders", "Orders that are not over", registry=registry
        )
        self.latency = Histogram(
            "gateway_order_latency_seconds",
            "From the request's arrival to the venue's answer (checks, journal, venue)",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.journal_latency = Histogram(
            "gateway_journal_latency_seconds",
            "Time to make an order's intent durable",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.post_only = Counter(
            "gateway_post_only_orders",
            "Post-only orders that reached the venue, by whether it took them",
            ["outcome"],
            registry=registry,
        )
        self.money = MoneyMetrics(registry)
        self.safety = SafetyMetrics(registry)
        self.storage = StorageMetrics(registry)
        self.verdict = VerdictMetrics(registry)
        self._make_children(symbols)

    def _make_children(self, symbols: Iterable[str]) -> None:
        """Make every child that a rule needs, at zero; what nobody has read is HALTED."""
        for outcome in ("accepted", "rejected"):
            self.post_only.labels(outcome)
        for symbol in symbols:
            for outcome in ORDER_OUTCOMES:
                self.orders.labels(symbol, outcome)
        for reason in RefusalReason:
            self.refusals.labels(reason.value)
        for kind in ("order_adopted", "order_missing", "fills_found", "position_adopted"):
            self.reconciliation_differences.labels(kind)
        self.kill_state.set(TradingState.HALTED.strictness)
        self.control_age.labels(KILL_SCOPE).set(float("inf"))
