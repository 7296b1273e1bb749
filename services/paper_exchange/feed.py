"""The WebSocket feed: who listens to what, and what they are told when.

One sequence number per connection across all channels. Nothing here waits for a client, and an
event is written once for all who listen.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lob.errors import Fault, InvalidInput, Overloaded, Unauthenticated, Unavailable
from lob.types import Side
from services.paper_exchange import feed_events as events
from services.paper_exchange.auth import Authenticator
from services.paper_exchange.connection import Connection, Frames
from services.paper_exchange.faults_feed import FeedFaults, Later, call_later
from services.paper_exchange.feed_accounts import balance_events, balance_summary, positions
from services.paper_exchange.feed_events import message
from services.paper_exchange.metrics import FeedMetrics
from services.paper_exchange.shapes_orders import portfolio_uuid
from touchstone.exchange import Exchange, MarketTrade, Order, Updates
from touchstone.kit.rate_limit import RateLimiter

PRIVATE_CHANNELS: Final = frozenset({"user", "futures_balance_summary"})
UNLISTED_CHANNELS: Final = frozenset({"heartbeats", "futures_balance_summary"})
"""Channels that have no products; a subscription to one stands under the channel's own name."""
CHANNELS: Final = (
    "heartbeats",
    "level2",
    "ticker",
    "ticker_batch",
    "market_trades",
    "candles",
    "status",
    "user",
    "futures_balance_summary",
)
SNAPSHOT_BATCH: Final = 50
MESSAGES_PER_SECOND: Final = 20.0
CONNECTION_BURST_SECONDS: Final = 2.0
ANONYMOUS_BURST_SECONDS: Final = 5.0
"""Clients send one message a product and channel; ccxt waits for ever for one that was refused."""
FLUSH_SECONDS: Final = 0.01
"""How long levels and tickers are gathered: however many orders come, so many messages go out."""

BEAT_SECONDS: Final = 0.25
BEATS_A_SECOND: Final = 4
SECONDS_A_BATCH: Final = 5
CLOSE_STOPPED: Final = 1011

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    """What one client may do; seconds, bytes, and rates a second."""

    connections: int = 100
    queue_bytes: int = 4 << 20
    behind_seconds: float = 10.0
    first_subscribe_seconds: float = 5.0
    idle_seconds: float = 75.0
    connections_per_second: float = 8.0
    unauthenticated_per_second: float = 8.0


class Feed:
    """Hold the connections and tell them what happens on the venue.

    `user_positions` fills the positions of the `user` channel, which are empty without; `later`
    calls something after so many seconds.
    """

    def __init__(
        self,
        exchange: Exchange,
        authenticator: Authenticator,
        *,
        monotonic: Callable[[], float],
        limits: FeedLimits,
        metrics: FeedMetrics,
        faults: FeedFaults,
        user_positions: bool = False,
        later: Later | None = None,
    ) -> None:
        self.limits = limits
        self.faults = faults
        self.connections: dict[Connection, None] = {}
        self._exchange = exchange
        self._authenticator = authenticator
        self._monotonic = monotonic
        self._metrics = metrics
        self._user_positions = user_positions
        self._per_connection = RateLimiter(MESSAGES_PER_SECOND, monotonic, CONNECTION_BURST_SECONDS)
        self._anonymous = RateLimiter(
            limits.unauthenticated_per_second, monotonic, ANONYMOUS_BURST_SECONDS
        )
        self._arrivals = RateLimiter(limits.connections_per_second, monotonic)
        self._writers = events.product_writers(exchange)
        self._listeners: dict[tuple[str, str], dict[Connection, None]] = {}
        self._printed: dict[str, list[MarketTrade]] = {}
        self._levels: dict[str, dict[tuple[Side, int], int]] = {}
        self._traded: dict[str, None] = {}
        self._flush_is_due = False
        self._flushed_at = 0.0
        self._later = later or call_later
        self._balances: dict[str, dict[str, Any]] = {}
        self._opened = 0
        self._beats = 0

    # ---------------------------------------------------------------- connections

    def admit(self, address: str) -> None:
        """Count one more connection of this address.

        Raises:
            Overloaded: the address opens too many.
            Unavailable: the feed is under maintenance.
        """
        if self.faults.book.feed_is_closed():
            raise Unavailable("scheduled maintenance")
        if not self._arrivals.take(address).allowed:
            raise Overloaded("rate limit exceeded")

    def open(self, frames: Frames, address: str) -> Connection:
        """Return a new connection; `Overloaded` where there are too many."""
        if len(self.connections) >= self.limits.connections:
            raise Overloaded(f"connections: {self.limits.connections} are open; none more allowed")
        self._opened += 1
        connection = Connection(
            number=self._opened,
            address=address,
            frames=frames,
            queue_bytes=self.limits.queue_bytes,
            monotonic=self._monotonic,
        )
        self.connections[connection] = None
        return connection

    def close(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.pop(connection, None)
        for channel, product_ids in connection.subscriptions.items():
            for product_id in product_ids:
                self._forget(connection, channel, product_id)
        self.faults.forget(connection)
        if connection.was_cut_off:
            self._metrics.count_cut_off()

    def end_all(self, reason: str, code: int) -> None:
        """End every connection, with a code and a reason."""
        for connection in list(self.connections):
            connection.end(reason, code)

    # ---------------------------------------------------------------- from the client

    def receive(self, connection: Connection, text: str) -> None:
        """Carry out one client message; what is wrong with it is answered, not raised."""
        try:
            if not self._per_connection.take(str(connection.number)).allowed:
                raise Overloaded("rate limit exceeded")
            self._carry_out(connection, _parse(text))
        except Unauthenticated:
            connection.fail("authentication failure")
        except Fault as fault:
            connection.fail(str(fault))

    def _carry_out(self, connection: Connection, asked: Mapping[str, Any]) -> None:
        kind, channel = asked.get("type"), asked.get("channel")
        unsigned = asked.get("jwt") is None and asked.get("signature") is None
        if unsigned and not self._anonymous.take(connection.address).allowed:
            raise Overloaded("rate limit exceeded")
        if kind not in ("subscribe", "unsubscribe"):
            raise InvalidInput(f"type: {kind!r}; allowed: subscribe, unsubscribe")
        if not isinstance(channel, str) or channel not in CHANNELS:
            raise InvalidInput(f"channel: {channel!r}; allowed: {', '.join(CHANNELS)}")
        product_ids = self._product_ids(channel, asked.get("product_ids"))
        if kind == "unsubscribe":
            self._unsubscribe(connection, channel, product_ids)
            self._acknowledge(connection)
            return
        self._authenticate(connection, channel, asked)
        # What waits for the others is in the newcomer's snapshot already.
        self.flush()
        self._send_trades()
        connection.subscribed = True
        held = connection.subscriptions.setdefault(channel, {})
        for product_id in product_ids:
            held[product_id] = None
            self._listeners.setdefault((channel, product_id), {})[connection] = None
        self._acknowledge(connection)
        self._snapshot(connection, channel, product_ids)

    def _unsubscribe(
        self, connection: Connection, channel: str, product_ids: Iterable[str]
    ) -> None:
        held = connection.subscriptions.get(channel, {})
        for product_id in product_ids:
            if product_id in held:
                del held[product_id]
                self._forget(connection, channel, product_id)
        if not held:
            connection.subscriptions.pop(channel, None)

    def _forget(self, connection: Connection, channel: str, product_id: str) -> None:
        listening = self._listeners.get((channel, product_id), {})
        listening.pop(connection, None)
        if not listening:
            self._listeners.pop((channel, product_id), None)

    def _product_ids(self, channel: str, value: object) -> list[str]:
        """Return the products asked for, sorted; none means all."""
        if channel in UNLISTED_CHANNELS:
            return [channel]
        listed = self._exchange.products
        if value is not None and not isinstance(value, list):
            raise InvalidInput(f"product_ids: {value!r}; allowed: a list")
        product_ids = {str(product_id) for product_id in value or listed}
        unknown = sorted(product_ids - set(listed))
        if unknown:
            raise InvalidInput(f"product_ids: {unknown[0]!r}; listed: {', '.join(listed)}")
        return sorted(product_ids)

    def _authenticate(self, connection: Connection, channel: str, asked: Mapping[str, Any]) -> None:
        """Check the signature, which private channels need; the SDK signs on public ones, too."""
        caller = self._authenticator.subscriber(asked)
        if channel not in PRIVATE_CHANNELS:
            return
        if caller is None:
            raise Unauthenticated("authentication failure")
        caller.require("view")
        if connection.account not in (None, caller.account):
            raise InvalidInput(f"{channel}: this connection is another user's; open a new one")
        connection.account = caller.account

    def _acknowledge(self, connection: Connection) -> None:
        shown = {
            channel: (
                [portfolio_uuid(connection.account or "")]
                if channel in PRIVATE_CHANNELS
                else sorted(product_ids)
            )
            for channel, product_ids in connection.subscriptions.items()
        }
        self._send((connection,), "subscriptions", events.compact([{"subscriptions": shown}]))

    # ---------------------------------------------------------------- snapshots

    def _snapshot(self, connection: Connection, channel: str, product_ids: list[str]) -> None:
        to, now_ns = (connection,), self._exchange.now_ns
        markets = [self._exchange.markets[name] for name in product_ids if name != channel]
        match channel:
            case "level2":
                for market in markets:
                    writer = self._writers[market.product.product_id]
                    self._send(to, "l2_data", writer.snapshot(market, now_ns))
            case "ticker" | "ticker_batch":
                quotes = channel == "ticker"
                shown = events.ticker_events("snapshot", markets, now_ns, quotes=quotes)
                self._send(to, channel, shown)
            case "market_trades":
                for market in markets:
                    latest = events.latest_trades(market)
                    self._send(to, channel, events.trade_events("snapshot", latest))
            case "candles":
                self._send(to, channel, events.candle_events("snapshot", markets, now_ns))
            case "status":
                products = [market.product for market in markets]
                self._send(to, channel, events.status_events("snapshot", products))
            case "user":
                self._user_snapshot(connection, product_ids)
            case "futures_balance_summary":
                summary = balance_summary(self._exchange, connection.account or "")
                self._balances[connection.account or ""] = summary
                self._send(to, channel, balance_events("snapshot", summary))
            case _:
                pass

    def _user_snapshot(self, connection: Connection, product_ids: list[str]) -> None:
        """Send the open orders in batches of 50; a batch of fewer is the last one."""
        account = connection.account or ""
        orders = [
            order
            for order in self._exchange.open_orders(account)
            if order.product.product_id in product_ids
        ]
        held = self._positions(account)
        for start in range(0, len(orders) + 1, SNAPSHOT_BATCH):
            batch = orders[start : start + SNAPSHOT_BATCH]
            self._send((connection,), "user", events.user_events("snapshot", batch, held))

    def _positions(self, account: str) -> dict[str, list[Any]]:
        return positions(self._exchange, account) if self._user_positions else events.no_positions()

    # ---------------------------------------------------------------- as it happens

    def publish(self, updates: Updates) -> None:
        """Send orders to whoever listens; levels and tickers follow at the next flush."""
        if not self._listeners:
            return
        self._publish_orders(updates.orders)
        for product_id, changes in updates.levels.items():
            if ("level2", product_id) in self._listeners:
                pending = self._levels.setdefault(product_id, {})
                for side, ticks, lots in changes:
                    pending[side, ticks] = lots
        for trade in updates.trades:
            product_id = trade.product.product_id
            if ("ticker", product_id) in self._listeners:
                self._traded[product_id] = None
            if ("market_trades", product_id) in self._listeners:
                self._printed.setdefault(product_id, []).append(trade)
        if (self._levels or self._traded) and not self._flush_is_due:
            self._flush_is_due = True
            self._later(max(0.0, self._flushed_at + FLUSH_SECONDS - self._monotonic()), self.flush)

    def flush(self) -> None:
        """Send the levels and tickers that changed since the last time, each as it now stands."""
        self._flush_is_due = False
        if not (self._levels or self._traded):
            return
        self._flushed_at = self._monotonic()
        now_ns = self._exchange.now_ns
        levels, self._levels = self._levels, {}
        traded, self._traded = self._traded, {}
        for product_id, changes in levels.items():
            listening = self._listeners.get(("level2", product_id))
            if listening:
                touched = [(side, ticks, lots) for (side, ticks), lots in changes.items()]
                shown = self._writers[product_id].update(touched, now_ns)
                self._send(listening, "l2_data", shown)
                self._metrics.count_levels(len(touched), len(listening))
        for product_id in traded:
            listening = self._listeners.get(("ticker", product_id))
            if listening:
                market = self._exchange.markets[product_id]
                shown = events.ticker_events("update", [market], now_ns, quotes=True)
                self._send(listening, "ticker", shown)

    def _publish_orders(self, orders: Iterable[Order]) -> None:
        for order in orders:
            listening = [
                connection
                for connection in self._listeners.get(("user", order.product.product_id), ())
                if connection.account == order.account
            ]
            if listening:
                held = self._positions(order.account)
                self._send(listening, "user", events.user_events("update", [order], held))

    # ---------------------------------------------------------------- by the clock

    async def run(self, running: Callable[[], bool]) -> None:
        """Beat four times a second of real time until cancelled, or until nothing runs any more."""
        due = self._monotonic()
        while running():
            due = max(due + BEAT_SECONDS, self._monotonic())
            await asyncio.sleep(due - self._monotonic())
            try:
                self.beat()
            except Exception:  # noqa: BLE001 - the next beat may be well
                _log.exception("a beat of the feed failed")
        self.end_all("the venue has stopped", CLOSE_STOPPED)

    def beat(self) -> None:
        """Send what the last quarter of a second printed, and each second what is due then."""
        self._beats += 1
        self._send_trades()
        if self._beats % BEATS_A_SECOND == 0:
            self._second()
        if self._beats % (BEATS_A_SECOND * SECONDS_A_BATCH) == 0:
            self._five_seconds()

    def _send_trades(self) -> None:
        """Send the trades that were printed since the last time, newest first."""
        printed, self._printed = self._printed, {}
        for product_id, trades in sorted(printed.items()):
            listening = self._listeners.get(("market_trades", product_id))
            if listening:
                shown = events.trade_events("update", reversed(trades))
                self._send(listening, "market_trades", shown)

    def _second(self) -> None:
        now_ns = self._exchange.now_ns
        for connection in list(self._listeners.get(("heartbeats", "heartbeats"), ())):
            shown = events.heartbeat_events(connection.heartbeats, now_ns)
            connection.heartbeats += 1
            self._send((connection,), "heartbeats", shown)
        for market in self._exchange.markets.values():
            listening = self._listeners.get(("candles", market.product.product_id))
            if listening:
                self._send(listening, "candles", events.candle_events("update", [market], now_ns))
        self._publish_balances()
        self._end_what_is_over()

    def _five_seconds(self) -> None:
        now_ns = self._exchange.now_ns
        for market in self._exchange.markets.values():
            product_id = market.product.product_id
            listening = self._listeners.get(("ticker_batch", product_id))
            if listening:
                shown = events.ticker_events("update", [market], now_ns, quotes=False)
                self._send(listening, "ticker_batch", shown)
            listening = self._listeners.get(("status", product_id))
            if listening:
                self._send(listening, "status", events.status_events("update", [market.product]))

    def _publish_balances(self) -> None:
        """Send each account's futures balance to its listeners where it changed."""
        channel = "futures_balance_summary"
        by_account: dict[str, list[Connection]] = {}
        for connection in self._listeners.get((channel, channel), ()):
            by_account.setdefault(connection.account or "", []).append(connection)
        for account, listening in by_account.items():
            summary = balance_summary(self._exchange, account)
            if self._balances.get(account) != summary:
                self._balances[account] = summary
                self._send(listening, channel, balance_events("update", summary))

    def _end_what_is_over(self) -> None:
        """End connections that are silent, too far behind, or never subscribed."""
        now, limits = self._monotonic(), self.limits
        for connection in list(self.connections):
            connection.check_pace(limits.behind_seconds)
            if connection.subscribed and now - connection.last_sent >= limits.idle_seconds:
                connection.end(f"nothing to send for {limits.idle_seconds:g} s")

    def _send(self, to: Iterable[Connection], channel: str, shown: bytes) -> None:
        """Send one event to connections."""
        sent = message(channel, shown, self._exchange.now_ns)
        faulty = self.faults.armed()
        count = 0
        for connection in to:
            if faulty:
                self.faults.deliver(connection, sent)
            else:
                connection.send(sent)
            count += 1
        self._metrics.count_messages(channel, count)


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput("message: not JSON") from None
    if not isinstance(value, dict):
        raise InvalidInput("message: not a JSON object")
    return value
