"""The feed by itself: what each channel says and when, limits, silence, slow readers, encoding."""

import asyncio
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from lob.errors import Overloaded, Unauthenticated
from lob.types import Side
from services.paper_exchange.auth import Authenticator, Caller
from services.paper_exchange.connection import Connection
from services.paper_exchange.faults import FaultBook
from services.paper_exchange.faults_feed import FeedFaults
from services.paper_exchange.feed import ANONYMOUS_BURST_SECONDS, Feed, FeedLimits
from services.paper_exchange.feed_events import compact
from services.paper_exchange.metrics import FeedMetrics
from tests.services.paper_exchange import BIP, BTC
from touchstone.exchange import Exchange, ExchangeConfig, Order, OrderRequest
from touchstone.exchange.background import FlowKind

START_NS = 1_700_000_000_000_000_000


class Recorder:
    """Frames that are kept; `waiting` is what the kernel is said not to have taken."""

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, ...]] = []
        self.waiting = 0
        self.aborted = False

    def send(self, *pieces: bytes) -> None:
        """Keep a frame's pieces."""
        self.pieces.append(pieces)

    def waiting_bytes(self) -> int:
        """Return what was set."""
        return self.waiting

    def abort(self) -> None:
        """Note the end."""
        self.aborted = True


class Signatures:
    """An authenticator that believes: the token is the account's name."""

    def subscriber(self, message: Mapping[str, Any]) -> Caller | None:
        """Return the caller that the message names."""
        token = message.get("jwt")
        if token == "wrong":
            raise Unauthenticated("Unauthorized")
        return None if token is None else Caller(token, token, frozenset({"view"}))


class Stage:
    """A feed over an empty venue, with time in the test's hands."""

    def __init__(self, *, user_positions: bool = False, **limits: float) -> None:
        self.exchange = Exchange(
            ExchangeConfig(start_ns=START_NS, flow=FlowKind.NONE, index_volatility={})
        )
        for account in ("alice", "bob"):
            self.exchange.open_account(account)
        self.now = 0.0
        self.later: list[Callable[[], None]] = []
        registry = CollectorRegistry()
        self.feed = Feed(
            self.exchange,
            cast("Authenticator", Signatures()),
            monotonic=lambda: self.now,
            limits=FeedLimits(**{"unauthenticated_per_second": 1_000, **limits}),  # type: ignore[arg-type]
            metrics=FeedMetrics(registry),
            faults=FeedFaults(FaultBook(registry)),
            user_positions=user_positions,
            later=lambda _seconds, call: self.later.append(call),
        )
        self.taken: dict[Connection, int] = {}

    def client(self, address: str = "here") -> Connection:
        """Return a new client's connection."""
        return self.feed.open(Recorder(), address)

    def subscribe(self, client: Connection, channel: str, *product_ids: str, **fields: Any) -> None:
        """Have a client subscribe."""
        asked = {"type": "subscribe", "channel": channel, "product_ids": product_ids, **fields}
        self.feed.receive(client, json.dumps(asked))

    def said(self, client: Connection) -> list[dict[str, Any]]:
        """Return what a client was told since the last time."""
        pieces = cast("Recorder", client.frames).pieces
        fresh = pieces[self.taken.get(client, 0) :]
        self.taken[client] = len(pieces)
        return [json.loads(b"".join(each)) for each in fresh]

    def told(self, client: Connection, channel: str) -> list[dict[str, Any]]:
        """Return the events of a channel that a client was told since the last time."""
        return [
            event
            for message in self.said(client)
            if message["channel"] == channel
            for event in message["events"]
        ]

    def order(self, account: str, side: Side, size: str, price: str, product: str = BIP) -> Order:
        """Enter a limit order and publish what came of it."""
        request = OrderRequest(
            client_order_id=f"{account}-{len(self.exchange.orders(account))}",
            product_id=product,
            side=side,
            size=Decimal(size),
            limit_price=Decimal(price),
        )
        found = self.exchange.create(account, request)
        assert isinstance(found, Order), found
        self.feed.publish(self.exchange.drain())
        return found

    def trade(self, size: str = "2", price: str = "100000") -> None:
        """Have bob sell to alice."""
        self.order("alice", Side.BUY, size, price)
        self.order("bob", Side.SELL, size, price)

    def pass_time(self, seconds: float) -> None:
        """Let the feed's clock run on, beat by beat, and what waits happen."""
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            waiting, self.later = self.later, []
            for call in waiting:
                call()
            self.feed.beat()


def test_an_event_is_written_once_for_all() -> None:
    """Twenty clients get the very same bytes; only their numbers are their own."""
    stage = Stage()
    clients = [stage.client() for _ in range(20)]
    for client in clients:
        stage.subscribe(client, "level2", BIP)
    stage.subscribe(clients[0], "level2", BTC)
    stage.order("alice", Side.BUY, "1", "90000")
    stage.pass_time(0.25)
    last = [cast("Recorder", client.frames).pieces[-1] for client in clients]
    assert {1} == {len({id(pieces[part]) for pieces in last}) for part in (0, 2)}
    assert [b"4", b"2"] == [pieces[1] for pieces in last[:2]]
    assert len(last[0][2]) > len(last[0][0]) > 80


def test_levels_are_gathered_and_told_as_they_stand() -> None:
    """Three changes of one level between two flushes are one update, with the last quantity."""
    stage = Stage()
    client = stage.client()
    stage.subscribe(client, "level2", BIP)
    stage.said(client)
    for size in ("1", "2"):
        stage.order("alice", Side.BUY, size, "90000")
    order = stage.order("alice", Side.SELL, "4", "100500")
    stage.exchange.cancel("alice", [order.order_id])
    stage.feed.publish(stage.exchange.drain())
    assert [] == stage.said(client)
    assert 1 == len(stage.later)
    stage.pass_time(0.25)
    (event,) = stage.told(client, "l2_data")
    assert [("bid", "90000", "3"), ("offer", "100500", "0")] == [
        (update["side"], update["price_level"], update["new_quantity"])
        for update in event["updates"]
    ]


def test_trades_come_in_quarters_of_a_second_newest_first() -> None:
    """What traded in one quarter is one message."""
    stage = Stage()
    client = stage.client()
    stage.subscribe(client, "market_trades", BIP)
    assert [{"type": "snapshot", "trades": []}] == stage.told(client, "market_trades")
    stage.trade("1")
    stage.trade("2")
    assert [] == stage.said(client)
    stage.pass_time(0.25)
    (event,) = stage.told(client, "market_trades")
    assert ("update", ["2", "1"]) == (event["type"], [row["size"] for row in event["trades"]])
    stage.pass_time(1)
    assert [] == stage.said(client)


def test_a_newcomer_is_told_nothing_twice() -> None:
    """What waits when somebody subscribes goes to the others first: it is in the snapshot."""
    stage = Stage()
    first, second = stage.client(), stage.client()
    for channel in ("market_trades", "level2"):
        stage.subscribe(first, channel, BIP)
    stage.said(first)
    stage.trade("1")
    stage.order("alice", Side.BUY, "3", "90000")
    for channel in ("market_trades", "level2"):
        stage.subscribe(second, channel, BIP)
    stage.pass_time(0.5)
    assert ["l2_data", "market_trades"] == [message["channel"] for message in stage.said(first)]
    told = [m for m in stage.said(second) if m["channel"] != "subscriptions"]
    assert ["snapshot", "snapshot"] == [message["events"][0]["type"] for message in told]
    assert ["1"] == [trade["size"] for trade in told[0]["events"][0]["trades"]]
    assert ["3"] == [update["new_quantity"] for update in told[1]["events"][0]["updates"]]


def test_tickers_come_with_trades_and_batches_every_five_seconds() -> None:
    """A ticker has the touch, a batch's has not."""
    stage = Stage()
    client = stage.client()
    stage.subscribe(client, "ticker", BIP)
    stage.subscribe(client, "ticker_batch", BIP)
    stage.said(client)
    stage.trade("2", "100005")
    stage.order("alice", Side.BUY, "1", "90000")
    stage.pass_time(0.25)
    (ticker,) = stage.told(client, "ticker")[0]["tickers"]
    assert ("100005", "90000", "1") == tuple(
        ticker[name] for name in ("price", "best_bid", "best_bid_quantity")
    )
    stage.pass_time(4.75)
    ((batch,),) = [event["tickers"] for event in stage.told(client, "ticker_batch")]
    assert "100005" == batch["price"]
    assert {"best_bid", "best_ask_quantity"} & set(batch) == set()


def test_candles_come_each_second() -> None:
    """The candle of the present five minutes, with its start in seconds."""
    stage = Stage()
    client = stage.client()
    stage.trade("2", "100000")
    stage.trade("1", "100010")
    stage.subscribe(client, "candles", BIP)
    stage.pass_time(2)
    snapshot, first, second = stage.told(client, "candles")
    assert ("snapshot", "update") == (snapshot["type"], first["type"])
    assert snapshot["candles"] == first["candles"] == second["candles"]
    start = START_NS // 10**9 // 300 * 300
    assert [
        {
            "start": str(start),
            "open": "100000",
            "high": "100010",
            "low": "100000",
            "close": "100010",
            "volume": "3",
            "product_id": BIP,
        }
    ] == first["candles"]


def test_status_tells_of_products() -> None:
    """Every product asked for is online, with its steps."""
    stage = Stage()
    client = stage.client()
    stage.subscribe(client, "status", BIP)
    (event,) = stage.told(client, "status")
    (product,) = event["products"]
    assert (BIP, "5", "1", "online") == tuple(
        product[name] for name in ("id", "quote_increment", "base_increment", "status")
    )
    stage.pass_time(5)
    assert ["update"] == [event["type"] for event in stage.told(client, "status")]


@pytest.mark.parametrize("channel", ["user", "futures_balance_summary"])
@pytest.mark.parametrize("token", [None, "wrong"])
def test_private_channels_ask_who_it_is(channel: str, token: str | None) -> None:
    """Without a signature, or with a wrong one, there is an error and no subscription."""
    stage = Stage()
    client = stage.client()
    stage.subscribe(client, channel, jwt=token)
    assert [{"type": "error", "message": "authentication failure"}] == stage.said(client)
    assert {} == client.subscriptions


def test_the_futures_balance_is_told_when_it_changes() -> None:
    """Amounts are plain texts; what another account does is not told."""
    stage = Stage()
    client = stage.client()
    stage.subscribe(client, "futures_balance_summary", jwt="alice")
    (event,) = stage.told(client, "futures_balance_summary")
    assert "100000" == event["fcm_balance_summary"]["total_usd_balance"]
    stage.pass_time(2)
    stage.order("bob", Side.SELL, "1", "100000")
    stage.pass_time(1)
    assert [] == stage.said(client)
    stage.order("alice", Side.BUY, "1", "100000")
    stage.pass_time(1)
    (event,) = stage.told(client, "futures_balance_summary")
    assert "update" == event["type"]
    assert Decimal(event["fcm_balance_summary"]["initial_margin"]) > 0


def test_positions_are_empty_unless_switched_on() -> None:
    """With the setting, both families' positions come with every event of the channel."""
    found = []
    for user_positions in (False, True):
        stage = Stage(user_positions=user_positions)
        stage.trade()
        stage.order("alice", Side.BUY, "1", "100000", BTC)
        stage.order("bob", Side.SELL, "1", "100000", BTC)
        client = stage.client()
        stage.subscribe(client, "user", jwt="alice")
        found.append(stage.told(client, "user")[0]["positions"])
    assert {"perpetual_futures_positions": [], "expiring_futures_positions": []} == found[0]
    (expiring,) = found[1]["expiring_futures_positions"]
    assert (BIP, "LONG", "2", "100000") == tuple(
        expiring[name] for name in ("product_id", "side", "number_of_contracts", "entry_price")
    )
    (perpetual,) = found[1]["perpetual_futures_positions"]
    assert (BTC, "1", "100000") == tuple(
        perpetual[name] for name in ("product_id", "net_size", "entry_vwap")
    )


def test_orders_are_told_to_their_owner_only() -> None:
    """Two users listen; each learns of its own orders, product by product."""
    stage = Stage()
    alice, bob, elsewhere = (stage.client() for _ in range(3))
    stage.subscribe(alice, "user", jwt="alice")
    stage.subscribe(bob, "user", jwt="bob")
    stage.subscribe(elsewhere, "user", BTC, jwt="alice")
    for client in (alice, bob, elsewhere):
        stage.said(client)
    stage.trade()
    assert ["OPEN", "FILLED"] == [e["orders"][0]["status"] for e in stage.told(alice, "user")]
    assert ["OPEN", "FILLED"] == [e["orders"][0]["status"] for e in stage.told(bob, "user")]
    assert [] == stage.said(elsewhere)


def test_messages_without_a_signature_are_counted_by_address() -> None:
    """Eight a second from one address, over all its connections; signed ones are not counted."""
    stage = Stage(unauthenticated_per_second=8)
    burst = round(8 * ANONYMOUS_BURST_SECONDS)
    clients = [stage.client() for _ in range(burst + 1)]
    for client in clients:
        stage.subscribe(client, "heartbeats")
    kinds = [m.get("type", "ok") for client in clients for m in stage.said(client)]
    assert (burst, 1) == (kinds.count("ok"), kinds.count("error"))
    signed, other = stage.client(), stage.client("elsewhere")
    stage.subscribe(signed, "heartbeats", jwt="alice")
    stage.subscribe(other, "heartbeats")
    assert "error" not in {m.get("type") for c in (signed, other) for m in stage.said(c)}
    stage.pass_time(1)
    for client in clients[:9]:
        stage.subscribe(client, "status")
    kinds = [m["type"] for c in clients[:9] for m in stage.said(c) if "type" in m]
    assert ["error"] == kinds


def test_connections_are_counted_by_address() -> None:
    """The ninth connection of a second is refused."""
    stage = Stage()
    for _ in range(8):
        stage.feed.admit("here")
    with pytest.raises(Overloaded):
        stage.feed.admit("here")
    stage.feed.admit("elsewhere")


def test_silence_ends_a_connection_and_heartbeats_prevent_it() -> None:
    """A client of a quiet channel goes after 75 s, one with heartbeats stays."""
    stage = Stage()
    quiet, alive = stage.client(), stage.client()
    stage.subscribe(quiet, "level2", BIP)
    stage.subscribe(alive, "level2", BIP)
    stage.subscribe(alive, "heartbeats")
    stage.pass_time(74)
    assert not quiet.ended.is_set()
    stage.pass_time(2)
    assert (True, "nothing to send for 75 s") == (quiet.ended.is_set(), quiet.end_reason)
    assert not alive.ended.is_set()


def test_a_client_that_is_too_far_behind_is_cut_off() -> None:
    """What was sent ten seconds ago still waits: it reads, but too slowly to ever catch up."""
    stage = Stage()
    slow, steady = stage.client(), stage.client()
    for client in (slow, steady):
        stage.subscribe(client, "heartbeats")
    for second in range(12):
        for client, share in ((slow, 0.9), (steady, 0.2)):
            cast("Recorder", client.frames).waiting = int(client.written_bytes * share)
        stage.pass_time(1)
        if second < 9:
            assert not slow.ended.is_set()
    assert (True, True) == (slow.was_cut_off, cast("Recorder", slow.frames).aborted)
    assert not steady.ended.is_set()


def test_a_client_that_lets_too_much_wait_is_cut_off_at_once() -> None:
    """Beyond the bound in bytes nothing more is kept for it; the others are told on."""
    stage = Stage(queue_bytes=10_000)
    slow, quick = stage.client(), stage.client()
    for client in (slow, quick):
        stage.subscribe(client, "level2", BIP)
        stage.said(client)
    cast("Recorder", slow.frames).waiting = 10_001
    stage.order("alice", Side.BUY, "1", "90000")
    stage.pass_time(0.25)
    stage.order("alice", Side.BUY, "1", "90005")
    stage.pass_time(0.25)
    assert (1, 2) == (len(stage.said(slow)), len(stage.said(quick)))
    assert slow.was_cut_off


def test_a_venue_that_stops_ends_its_feed() -> None:
    """Heartbeats of a venue that does nothing any more would only deceive."""
    stage = Stage()
    client = stage.client()
    asyncio.run(stage.feed.run(lambda: False))
    assert (True, 1011) == (client.ended.is_set(), client.end_code)


def test_answers_that_are_not_read_are_bounded() -> None:
    """Errors count as what waits, too."""
    stage = Stage(queue_bytes=100)
    client = stage.client()
    cast("Recorder", client.frames).waiting = 101
    stage.feed.receive(client, "{")
    assert client.was_cut_off


def test_a_client_that_is_gone_is_told_nothing() -> None:
    """Once closed, a connection is in no list of listeners."""
    stage = Stage()
    client = stage.client()
    stage.subscribe(client, "level2")
    stage.subscribe(client, "heartbeats")
    stage.feed.close(client)
    stage.said(client)
    stage.order("alice", Side.BUY, "1", "90000")
    stage.pass_time(1)
    assert [] == stage.said(client)
    assert not stage.feed.connections


@pytest.mark.parametrize("shown", ["plain", 'a"b\\c/<&', "é", "\u2028", "😀", "a\tb"])
def test_texts_are_escaped_as_they_always_were(shown: str) -> None:
    """Whichever encoder writes a message, what is beyond ASCII comes as an escape."""
    value = [{"client_order_id": shown, "orders": []}]
    assert json.dumps(value, separators=(",", ":")).encode() == compact(value)
