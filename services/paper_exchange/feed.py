"""The WebSocket feed: subscriptions, snapshots, updates, one sequence number per connection.

Nothing here waits for a client: a message goes into the connection's bounded queue, and a
connection whose queue is full is cut off while the others go on.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lob.errors import Fault, InvalidInput, NotSupported, Overloaded, Unauthenticated
from services.paper_exchange.auth import Authenticator
from services.paper_exchange.rate_limit import RateLimiter
from services.paper_exchange.shapes_markets import level_updates, ticker_shape, trade_shape
from services.paper_exchange.shapes_orders import portfolio_uuid, user_order_shape
from services.paper_exchange.wire import rfc3339
from touchstone.exchange import Exchange, MarketTrade, Order, Updates

PUBLIC_CHANNELS: Final = ("level2", "ticker", "market_trades")
PRODUCT_CHANNELS: Final = (*PUBLIC_CHANNELS, "user")
CHANNELS: Final = ("heartbeats", *PRODUCT_CHANNELS)
ABSENT_CHANNELS: Final = ("ticker_batch", "candles", "status", "futures_balance_summary")
SNAPSHOT_BATCH: Final = 50
SNAPSHOT_TRADES: Final = 50
SNAPSHOT_LEVELS: Final = 10_000
MESSAGES_PER_SECOND: Final = 20.0


@dataclass(eq=False)
class Connection:
    """One client: what it listens to, and what waits to be sent to it."""

    number: int
    queue: asyncio.Queue[str]
    now_ns: Callable[[], int]
    subscriptions: dict[str, set[str]] = field(default_factory=dict)
    account: str | None = None
    sequence: int = 0
    heartbeats: int = 0
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    cut_reason: str = ""

    def send(self, channel: str, events: str) -> None:
        """Queue one message; `events` is its events as a JSON array."""
        if self.cut.is_set():
            return
        timestamp = rfc3339(self.now_ns())
        self._put(
            f'{{"channel":"{channel}","client_id":"","timestamp":"{timestamp}",'
            f'"sequence_num":{self.sequence},"events":{events}}}'
        )
        self.sequence += 1

    def fail(self, message: str) -> None:
        """Queue an error; errors carry no sequence number."""
        self._put(_compact({"type": "error", "message": message}))

    def listens(self, channel: str, product_id: str) -> bool:
        """Say whether the client subscribed to a product of a channel."""
        return product_id in self.subscriptions.get(channel, ())

    def _put(self, message: str) -> None:
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.cut_reason = "too slow: the outbound queue is full"
            self.cut.set()


class Feed:
    """Hold the connections and tell them what happens on the venue."""

    def __init__(
        self,
        exchange: Exchange,
        authenticator: Authenticator,
        *,
        monotonic: Callable[[], float],
        connections_max: int,
        queue_messages: int,
    ) -> None:
        self._exchange = exchange
        self._authenticator = authenticator
        self._limiter = RateLimiter(MESSAGES_PER_SECOND, monotonic)
        self._connections_max = connections_max
        self._queue_messages = queue_messages
        self._opened = 0
        self.connections: set[Connection] = set()

    def open(self) -> Connection:
        """Return a new connection; `Overloaded` where there are too many."""
        if len(self.connections) >= self._connections_max:
            raise Overloaded(f"connections: {self._connections_max} are open; none more allowed")
        self._opened += 1
        connection = Connection(
            self._opened, asyncio.Queue(self._queue_messages), lambda: self._exchange.now_ns
        )
        self.connections.add(connection)
        return connection

    def close(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)

    # ---------------------------------------------------------------- from the client

    def receive(self, connection: Connection, message: str) -> None:
        """Carry out one client message; what is wrong with it is answered, not raised."""
        try:
            if not self._limiter.take(str(connection.number)).allowed:
                raise Overloaded("rate limit exceeded")
            self._carry_out(connection, _parse(message))
        except Unauthenticated:
            connection.fail("authentication failure")
        except Fault as fault:
            connection.fail(str(fault))

    def _carry_out(self, connection: Connection, message: Mapping[str, Any]) -> None:
        kind, channel = message.get("type"), message.get("channel")
        if kind not in ("subscribe", "unsubscribe"):
            raise InvalidInput(f"type: {kind!r}; allowed: subscribe, unsubscribe")
        if channel in ABSENT_CHANNELS:
            raise NotSupported(f"channel: {channel} is not implemented")
        if not isinstance(channel, str) or channel not in CHANNELS:
            raise InvalidInput(f"channel: {channel!r}; allowed: {', '.join(CHANNELS)}")
        product_ids = self._product_ids(channel, message.get("product_ids"))
        self._authenticate(connection, channel, message.get("jwt"))
        if kind == "unsubscribe":
            held = connection.subscriptions.get(channel, set())
            held -= product_ids
            if not held:
                connection.subscriptions.pop(channel, None)
            self._acknowledge(connection)
            return
        connection.subscribed.set()
        connection.subscriptions.setdefault(channel, set()).update(product_ids)
        self._acknowledge(connection)
        self._snapshot(connection, channel, product_ids)

    def _product_ids(self, channel: str, value: object) -> set[str]:
        """Return the products asked for; none means all."""
        if channel == "heartbeats":
            return {"heartbeats"}
        listed = self._exchange.products
        if value is not None and not isinstance(value, list):
            raise InvalidInput(f"product_ids: {value!r}; allowed: a list")
        product_ids = {str(product_id) for product_id in value or listed}
        unknown = sorted(product_ids - set(listed))
        if unknown:
            raise InvalidInput(f"product_ids: {unknown[0]!r}; listed: {', '.join(listed)}")
        return product_ids

    def _authenticate(self, connection: Connection, channel: str, token: object) -> None:
        """Check the JWT, which `user` needs; the SDK sends one on public channels, too."""
        if token is None:
            if channel == "user":
                raise Unauthenticated("authentication failure")
            return
        caller = self._authenticator.websocket(str(token))
        if channel != "user":
            return
        caller.require("view")
        if connection.account not in (None, caller.account):
            raise InvalidInput("user: this connection is another user's; open a new one")
        connection.account = caller.account

    # ---------------------------------------------------------------- to the client

    def publish(self, updates: Updates) -> None:
        """Send what happened to every connection that listens. O(updates x connections)."""
        if not self.connections:
            return
        self._publish_levels(updates)
        self._publish_trades(updates.trades)
        self._publish_orders(updates.orders)

    def heartbeat(self) -> None:
        """Send one heartbeat to every connection that asked for them."""
        now = rfc3339(self._exchange.now_ns)
        for connection in self.connections:
            if "heartbeats" in connection.subscriptions:
                beat = {
                    "current_time": now,
                    "heartbeat_counter": str(connection.heartbeats),
                }
                connection.heartbeats += 1
                connection.send("heartbeats", _compact([beat]))

    def _publish_levels(self, updates: Updates) -> None:
        for product_id, changes in updates.levels.items():
            listening = self._listening("level2", product_id)
            if listening:
                events = self._level_events("update", product_id, changes)
                for connection in listening:
                    connection.send("l2_data", events)

    def _publish_trades(self, trades: tuple[MarketTrade, ...]) -> None:
        by_product: dict[str, list[MarketTrade]] = {}
        for trade in trades:
            by_product.setdefault(trade.product.product_id, []).append(trade)
        for product_id, printed in by_product.items():
            tickers = self._listening("ticker", product_id)
            if tickers:
                events = self._ticker_events("update", [product_id])
                for connection in tickers:
                    connection.send("ticker", events)
            listening = self._listening("market_trades", product_id)
            if listening:
                events = _trade_events("update", reversed(printed))
                for connection in listening:
                    connection.send("market_trades", events)

    def _publish_orders(self, orders: tuple[Order, ...]) -> None:
        for order in orders:
            product_id = order.product.product_id
            for connection in self._listening("user", product_id):
                if connection.account == order.account:
                    connection.send("user", _user_events("update", [order]))

    def _listening(self, channel: str, product_id: str) -> list[Connection]:
        return [peer for peer in self.connections if peer.listens(channel, product_id)]

    def _acknowledge(self, connection: Connection) -> None:
        shown = {
            channel: (
                [portfolio_uuid(connection.account or "")]
                if channel == "user"
                else sorted(product_ids)
            )
            for channel, product_ids in connection.subscriptions.items()
        }
        connection.send("subscriptions", _compact([{"subscriptions": shown}]))

    def _snapshot(self, connection: Connection, channel: str, product_ids: set[str]) -> None:
        match channel:
            case "level2":
                for product_id in sorted(product_ids):
                    bids, asks = self._exchange.markets[product_id].levels(SNAPSHOT_LEVELS)
                    events = self._level_events("snapshot", product_id, (*bids, *asks))
                    connection.send("l2_data", events)
            case "ticker":
                connection.send(channel, self._ticker_events("snapshot", sorted(product_ids)))
            case "market_trades":
                for product_id in sorted(product_ids):
                    tape = self._exchange.markets[product_id].tape
                    latest = list(reversed(tape))[:SNAPSHOT_TRADES]
                    connection.send(channel, _trade_events("snapshot", latest))
            case "user":
                self._user_snapshot(connection, product_ids)
            case _:
                pass

    def _user_snapshot(self, connection: Connection, product_ids: set[str]) -> None:
        """Send the open orders in batches of 50; a batch of fewer is the last one."""
        orders = [
            order
            for order in self._exchange.open_orders(connection.account or "")
            if order.product.product_id in product_ids
        ]
        for start in range(0, len(orders) + 1, SNAPSHOT_BATCH):
            batch = orders[start : start + SNAPSHOT_BATCH]
            connection.send("user", _user_events("snapshot", batch))

    def _level_events(self, kind: str, product_id: str, changes: tuple[Any, ...]) -> str:
        updates = level_updates(changes, self._exchange.now_ns)
        return _compact([{"type": kind, "product_id": product_id, "updates": updates}])

    def _ticker_events(self, kind: str, product_ids: list[str]) -> str:
        markets, now_ns = self._exchange.markets, self._exchange.now_ns
        tickers = [ticker_shape(markets[product_id], now_ns) for product_id in product_ids]
        return _compact([{"type": kind, "tickers": tickers}])


def _trade_events(kind: str, trades: Iterable[MarketTrade]) -> str:
    return _compact([{"type": kind, "trades": [trade_shape(trade) for trade in trades]}])


def _user_events(kind: str, orders: list[Order]) -> str:
    positions: dict[str, list[object]] = {
        "perpetual_futures_positions": [],
        "expiring_futures_positions": [],
    }
    shown = [user_order_shape(order) for order in orders]
    return _compact([{"type": kind, "orders": shown, "positions": positions}])


def _parse(message: str) -> dict[str, Any]:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise InvalidInput("message: not JSON") from None
    if not isinstance(value, dict):
        raise InvalidInput("message: not a JSON object")
    return value


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
