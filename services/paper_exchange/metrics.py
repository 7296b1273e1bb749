"""What the paper exchange exports: orders and cancels by outcome, connections, the feed, faults."""

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
        self.feed = FeedMetrics(registry)
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


CHANNELS = (
    "subscriptions",
    "heartbeats",
    "l2_data",
    "ticker",
    "ticker_batch",
    "market_trades",
    "candles",
    "status",
    "user",
    "futures_balance_summary",
)
"""As messages name them: what `level2` was subscribed to comes as `l2_data`."""


class FeedMetrics:
    """Count what the feed sends, and whom it cuts off."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter(
            "exchange_feed_messages_total",
            "Messages sent to WebSocket clients, by channel",
            ["channel"],
            registry=registry,
        )
        self._written = Counter(
            "exchange_feed_levels_total", "Level2 updates written, once each", registry=registry
        )
        self._delivered = Counter(
            "exchange_feed_levels_delivered_total",
            "Level2 updates times the clients they went to",
            registry=registry,
        )
        self._cut_off = Counter(
            "exchange_feed_cut_off_total",
            "Clients cut off because they read too slowly",
            registry=registry,
        )

        # Looked up once: a label costs more to find than a message to count.
        self._of_channel = {channel: self._messages.labels(channel) for channel in CHANNELS}

    def count_messages(self, channel: str, count: int) -> None:
        """Count one message to so many clients."""
        self._of_channel[channel].inc(count)

    def count_levels(self, levels: int, clients: int) -> None:
        """Count the levels of one level2 event."""
        self._written.inc(levels)
        self._delivered.inc(levels * clients)

    def count_cut_off(self) -> None:
        """Count a client that was cut off."""
        self._cut_off.inc()
