"""Coinbase's feed: books, trades, order news and life signs, on one connection.

One connection carries all channels, so that one sequence covers them: a gap anywhere ends the
connection, and a new one starts from snapshots. Nothing here is believed to be complete: after each
(re)connection the owner is told to look at the venue's orders over REST.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import msgspec
import structlog

from lob.errors import Fault
from services.order_gateway.market import Quotes, Traded
from services.order_gateway.metrics import VenueMetrics
from services.order_gateway.venues.base import VenueReport
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_orders import report_from
from services.order_gateway.venues.coinbase_wire import nanoseconds, number
from services.order_gateway.venues.venue_clock import VenueClock
from services.order_gateway.venues.websocket import Connect, FeedBroken, FeedConnection, connect
from touchstone.perps.products import ProductRules

CHANNELS: Final = ("heartbeats", "level2", "market_trades", "user")
SNAPSHOT_ORDERS: Final = 50
"""Open orders come in batches of so many; the last one has fewer."""
BACKOFF_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
CROSSED_SECONDS_MAX: Final = 1.0
BEHIND_SECONDS_MAX: Final = 5.0
"""A message that waited longer to be read says what was, not what is."""

_log = structlog.get_logger("touchstone.gateway.feed")


@dataclass(frozen=True, slots=True)
class FeedOwner:
    """Who is told: reports as they come, and when orders must be looked up afresh."""

    on_report: Callable[[VenueReport], None]
    on_resync: Callable[[], None]
    rules_for_product: Callable[[str], ProductRules | None]


class CoinbaseFeed:
    """Keep one connection alive; `run` never returns by itself.

    `connect` opens a connection to an address; a simulation has its own.
    """

    def __init__(
        self,
        url: str,
        signer: ApiKeySigner,
        product_ids: Sequence[str],
        quotes: Quotes,
        owner: FeedOwner,
        metrics: VenueMetrics,
        *,
        connect: Connect = connect,
        clock: VenueClock | None = None,
        random: Random | None = None,
        open_timeout_seconds: float = 5.0,
        silence_seconds: float = 5.0,
    ) -> None:
        self._url = url
        self._signer = signer
        self._product_ids = list(product_ids)
        self._quotes = quotes
        self._owner = owner
        self._metrics = metrics
        self._connect = connect
        self._clock = clock or VenueClock()
        self._random = random or Random()  # noqa: S311 - jitter
        self._open_timeout_seconds = open_timeout_seconds
        self._silence_seconds = silence_seconds
        self._next_sequence = 0
        self._failures = 0
        self._last_arrival = 0.0
        self._takers: Mapping[str, Callable[[Sequence[Any]], None]] = {
            "l2_data": self._take_levels,
            "market_trades": self._take_trades,
            "user": self._take_orders,
        }
        self.problem = "not connected yet"

    async def run(self) -> None:
        """Connect, listen, and start again after whatever goes wrong, with growing pauses."""
        while True:
            try:
                await self._connected()
            except (Fault, OSError, TimeoutError) as error:
                self.problem = str(error) or type(error).__name__
            self._quotes.clear()
            self._metrics.feed_connected.set(0)
            self._metrics.feed_reconnects.inc()
            _log.warning("feed_lost", why=self.problem)
            pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
            self._failures += 1
            # Clients that lost the venue together should not all come back together.
            await asyncio.sleep(pause * (0.5 + self._random.random() / 2))

    async def _connected(self) -> None:
        async with asyncio.timeout(self._open_timeout_seconds):
            connection = await self._connect(self._url)
        try:
            self._next_sequence = 0
            for channel in CHANNELS:
                await self._subscribe(connection, channel)
            await self._listen(connection)
        finally:
            with contextlib.suppress(Fault, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await connection.close()

    async def _subscribe(self, connection: FeedConnection, channel: str) -> None:
        message: dict[str, Any] = {
            "type": "subscribe",
            "channel": channel,
            # Fresh for each subscription: the channel is checked when it is asked for.
            "jwt": self._signer.token(),
        }
        if channel != "heartbeats":
            message["product_ids"] = self._product_ids
        async with asyncio.timeout(self._open_timeout_seconds):
            await connection.send(msgspec.json.encode(message).decode())

    async def _listen(self, connection: FeedConnection) -> None:
        loop = asyncio.get_running_loop()
        self._last_arrival = loop.time()
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    frames = await connection.receive()
            except TimeoutError:
                raise self._silent() from None
            for frame in frames:
                if frame.arrived_at - self._last_arrival > self._silence_seconds:
                    # We stood still: what waited meanwhile is as old as that.
                    raise self._silent()
                if loop.time() - frame.arrived_at > BEHIND_SECONDS_MAX:
                    raise FeedBroken("venue feed: too slow: messages wait too long to be read")
                self._last_arrival = frame.arrived_at
                try:
                    self._take(msgspec.json.decode(frame.payload), frame.arrived_at)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    text = f"venue feed: unreadable message: {error!r:.200}"
                    raise FeedBroken(text) from None

    def _silent(self) -> FeedBroken:
        return FeedBroken(f"venue feed: silent for {self._silence_seconds:g} s")

    def _take(self, message: Mapping[str, Any], arrived_at: float) -> None:
        if message.get("type") == "error":
            self._signer.forget()
            raise FeedBroken(f"venue feed: {message.get('message')}")
        sequence = message["sequence_num"]
        if sequence != self._next_sequence:
            self._metrics.feed_gaps.inc()
            raise FeedBroken(f"venue feed: sequence {sequence}, expected {self._next_sequence}")
        self._next_sequence += 1
        channel = message["channel"]
        self._metrics.count_message(channel)
        # The sequence has no gap: books that did not change are as good as new.
        self._quotes.heartbeat(arrived_at)
        take = self._takers.get(channel)
        if take is not None:
            take(message["events"])
        elif channel == "heartbeats":
            self._take_heartbeat(message)

    def _take_heartbeat(self, message: Mapping[str, Any]) -> None:
        venue_ns = nanoseconds(message.get("timestamp"))
        if venue_ns is not None:
            self._clock.observe(venue_ns)
        symbol = self._quotes.crossed(CROSSED_SECONDS_MAX)
        if symbol is not None:
            raise FeedBroken(f"venue feed: {symbol}: bids at or above asks for a second")

    def _take_levels(self, events: Sequence[Mapping[str, Any]]) -> None:
        quotes = self._quotes
        for event in events:
            rules = self._owner.rules_for_product(str(event["product_id"]))
            if rules is None:
                continue
            symbol, contract_size = rules.symbol, rules.contract_size
            if event["type"] == "snapshot":
                quotes.reset(symbol)
            for change in event["updates"]:
                price = number(change["price_level"], "price_level")
                quantity = number(change["new_quantity"], "new_quantity") * contract_size
                quotes.set_level(symbol, change["side"] == "bid", price, quantity)
            quotes.stamp(symbol, self._last_arrival)

    def _take_trades(self, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            by_symbol: dict[str, list[Traded]] = {}
            for trade in event["trades"]:
                rules = self._owner.rules_for_product(str(trade["product_id"]))
                time_ns = nanoseconds(trade.get("time"))
                if rules is None or time_ns is None:
                    continue
                by_symbol.setdefault(rules.symbol, []).append(
                    Traded(
                        str(trade["trade_id"]),
                        number(trade["price"], "price"),
                        rules.to_coins(number(trade["size"], "size")),
                        time_ns,
                    )
                )
            for symbol, trades in by_symbol.items():
                self._quotes.trades(symbol, trades)

    def _take_orders(self, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            orders = event.get("orders") or []
            for order in orders:
                rules = self._owner.rules_for_product(str(order["product_id"]))
                if rules is not None:
                    self._owner.on_report(report_from(order, rules))
            whole = event["type"] == "snapshot" and len(orders) < SNAPSHOT_ORDERS
            if whole and self.problem:
                self.problem = ""
                self._failures = 0
                self._metrics.feed_connected.set(1)
                self._owner.on_resync()
