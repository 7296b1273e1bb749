"""What the paper exchange exports: orders and cancels by outcome, open connections."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from touchstone.exchange import CancelResult, FailureReason, Order, Refusal


class ExchangeMetrics:
    """Count what customers do. Children exist from the start, so that a rate can be taken."""

    def __init__(self, registry: CollectorRegistry, connections: Callable[[], int]) -> None:
        self._orders = Counter(
            "exchange_orders_total",
            "Order requests by outcome: ACCEPTED or the failure reason",
            ["outcome"],
            registry=registry,
        )
        self._cancels = Counter(
            "exchange_cancels_total",
            "Cancel requests by outcome: ACCEPTED or the failure reason",
            ["outcome"],
            registry=registry,
        )
        gauge = Gauge("exchange_connections", "Open WebSocket connections", registry=registry)
        gauge.set_function(connections)
        for outcome in ("ACCEPTED", *FailureReason):
            self._orders.labels(outcome)
        self._cancels.labels("ACCEPTED")

    def count_order(self, result: Order | Refusal) -> None:
        """Count one order request."""
        outcome = str(result.reason) if isinstance(result, Refusal) else "ACCEPTED"
        self._orders.labels(outcome).inc()

    def count_cancel(self, result: CancelResult) -> None:
        """Count one cancel request."""
        self._cancels.labels("ACCEPTED" if result.success else str(result.failure)).inc()
