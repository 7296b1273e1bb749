"""Coinbase's WebSocket: quotes from `level2`, order news from `user`, life signs from `heartbeats`.

One connection carries all three, so that one sequence covers them: a gap anywhere ends the
connection, and a new one starts from snapshots. Nothing here is believed to be complete: after each
(re)connection the owner is told to look at the venue's orders over REST.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException

from lob.errors import Fault, Unavailable
from services.order_gateway.market import Quotes
from services.order_gateway.metrics import VenueMetrics
from services.order_gateway.venues.base import VenueReport
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_wire import number, report_from
from touchstone.perps.products import ProductRules

CHANNELS: Final = ("heartbeats", "level2", "user")
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
BACKOFF_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0)

_log = structlog.get_logger("touchstone.gateway.feed")


class FeedBroken(Unavailable):
    """Say that this connection can no longer be trusted."""


@dataclass(frozen=True, slots=True)
class FeedOwner:
    """Who is told: reports as they come, and when orders must be looked up afresh."""

    on_report: Callable[[VenueReport], None]
    on_resync: Callable[[], None]
    rules_for_product: Callable[[str], ProductRules | None]


class CoinbaseFeed:
    """Keep one connection alive; `run` never returns by itself."""

    def __init__(
        self,
        url: str,
        signer: ApiKeySigner,
        product_ids: Sequence[str],
        quotes: Quotes,
        owner: FeedOwner,
        metrics: VenueMetrics,
        *,
        open_timeout_seconds: float = 5.0,
        silence_seconds: float = 5.0,
    ) -> None:
        self._url = url
        self._signer = signer
        self._product_ids = list(product_ids)
        self._quotes = quotes
        self._owner = owner
        self._metrics = metrics
        self._open_timeout_seconds = open_timeout_seconds
        self._silence_seconds = silence_seconds
        self._next_sequence = 0
        self._failures = 0
        self.problem = "not connected yet"

    async def run(self) -> None:
        """Connect, listen, and start again after whatever goes wrong, with growing pauses."""
        while True:
            try:
                await self._connected()
            except (Fault, WebSocketException, InvalidURI, OSError, TimeoutError) as error:
                self.problem = str(error) or type(error).__name__
            self._quotes.clear()
            self._metrics.feed_connected.set(0)
            self._metrics.feed_reconnects.inc()
            _log.warning("feed_lost", why=self.problem)
            pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
            self._failures += 1
            await asyncio.sleep(pause)

    async def _connected(self) -> None:
        connection = await connect(
            self._url,
            open_timeout=self._open_timeout_seconds,
            close_timeout=1,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=64,
            # Heartbeats of the protocol's own tell more than pings: they carry a sequence.
            ping_interval=None,
        )
        try:
            self._next_sequence = 0
            for channel in CHANNELS:
                await self._subscribe(connection, channel)
            await self._listen(connection)
        finally:
            with contextlib.suppress(WebSocketException, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await connection.close()

    async def _subscribe(self, connection: ClientConnection, channel: str) -> None:
        message: dict[str, Any] = {
            "type": "subscribe",
            "channel": channel,
            # Fresh for each subscription: the channel is checked when it is asked for.
            "jwt": self._signer.token(),
        }
        if channel != "heartbeats":
            message["product_ids"] = self._product_ids
        async with asyncio.timeout(self._open_timeout_seconds):
            await connection.send(json.dumps(message))

    async def _listen(self, connection: ClientConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    raw = await connection.recv()
            except TimeoutError:
                raise FeedBroken(f"venue feed: silent for {self._silence_seconds:g} s") from None
            try:
                message = json.loads(raw)
                self._take(message)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise FeedBroken(f"venue feed: unreadable message: {error!r}") from None

    def _take(self, message: Mapping[str, Any]) -> None:
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
        self._quotes.heartbeat()
        if channel == "l2_data":
            self._take_levels(message["events"])
        elif channel == "user":
            self._take_orders(message["events"])

    def _take_levels(self, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            rules = self._owner.rules_for_product(str(event["product_id"]))
            if rules is None:
                continue
            if event["type"] == "snapshot":
                self._quotes.reset(rules.symbol)
            for change in event["updates"]:
                price = number(change["price_level"], "price_level")
                quantity = number(change["new_quantity"], "new_quantity")
                self._quotes.set_level(rules.symbol, change["side"] == "bid", price, quantity)
            self._quotes.stamp(rules.symbol)

    def _take_orders(self, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            for order in event.get("orders") or []:
                rules = self._owner.rules_for_product(str(order["product_id"]))
                if rules is not None:
                    self._owner.on_report(report_from(order, rules))
            if event["type"] == "snapshot" and self.problem:
                self.problem = ""
                self._failures = 0
                self._metrics.feed_connected.set(1)
                self._owner.on_resync()
