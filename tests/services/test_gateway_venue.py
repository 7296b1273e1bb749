"""Coinbase's protocol from our side: what never left, what nobody knows, what the feed says."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from prometheus_client import CollectorRegistry
from websockets.asyncio.server import ServerConnection, serve

from lob.errors import ConfigError, NotSupported, Unavailable
from lob.types import Side, TimeInForce
from services.order_gateway.market import Quotes
from services.order_gateway.metrics import VenueMetrics
from services.order_gateway.venues.base import (
    Accepted,
    GateClosed,
    NotSent,
    OutcomeUnknown,
    Passage,
    Rejected,
    VenueReport,
)
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_orders import (
    attached_configuration,
    order_configuration,
    report_from,
)
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from services.order_gateway.venues.coinbase_wire import nanoseconds, rules_from
from services.order_gateway.venues.coinbase_ws import CoinbaseFeed, FeedOwner
from services.order_gateway.venues.websocket import Frame
from services.order_gateway.venues.wire import HttpWire
from touchstone.kit.leases import SendGate
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.orders import Attached, Intent, OrderType, VenueStatus
from touchstone.perps.products import ProductRules

RULES = ProductRules(
    symbol="BTC-PERP",
    product_id="BIP",
    price_increment=Decimal(5),
    size_increment=Decimal("0.01"),
    contract_size=Decimal("0.01"),
)
INTENT = Intent(
    client_order_id="a",
    symbol="BTC-PERP",
    side=Side.BUY,
    quantity=Decimal("0.03"),
    order_type=OrderType.LIMIT,
    limit_price=Decimal(60_000),
    post_only=True,
)
CREATED = {
    "success": True,
    "success_response": {
        "order_id": "v1",
        "product_id": "BIP",
        "side": "BUY",
        "client_order_id": "a",
    },
}
Eventually = Callable[..., Awaitable[float]]


class Wire:
    """A TCP server that records what it got and answers, or breaks, as scripted."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.connections = 0
        self.answer: bytes | None = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it; None never answers, b'' hangs up."""
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.split(b"\r\n") if b"content-length" in line.lower()]
            body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
            self.received.append(body)
            if self.answer is None:
                await asyncio.sleep(30)
            writer.write(self.answer or b"")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.received.append(b"<broken off>")
        finally:
            writer.close()

    def say(self, status: int, body: Any) -> None:
        """Answer with this status and JSON, or text."""
        text = body if isinstance(body, str) else json.dumps(body)
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        self.answer = (head + text).encode()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A scripted server on a free port."""
    made = Wire()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


def write_key(path: Path, name: str) -> None:
    """Write a key file as Coinbase's portal gives it out."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path.write_text(json.dumps({"name": name, "privateKey": pem.decode()}))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key file."""
    path = tmp_path / "key.json"
    write_key(path, "organizations/o/apiKeys/k")
    return path


@contextlib.asynccontextmanager
async def client(port: int, key_file: Path, seconds: float = 5) -> AsyncIterator[CoinbaseRest]:
    """A REST client of the scripted server."""
    rest = CoinbaseRest(
        HttpWire(f"http://127.0.0.1:{port}"),
        ApiKeySigner(key_file, lifetime_seconds=30),
        {"BTC-PERP": "BIP"},
        VenueMetrics(CollectorRegistry()),
        deadline_seconds=seconds,
    )
    try:
        yield rest
    finally:
        await rest.close()


def open_passage() -> Passage:
    """Let everything pass."""
    return Passage(SendGate(), lambda: None)


async def test_an_accepted_order(wire: Wire, key_file: Path) -> None:
    """The body is Coinbase's, sizes in contracts, and the answer names the order."""
    wire.say(200, CREATED)
    async with client(wire.port, key_file) as rest:
        assert await rest.submit(INTENT, RULES, open_passage()) == Accepted("v1")
    assert json.loads(wire.received[0]) == {
        "client_order_id": "a",
        "product_id": "BIP",
        "side": "BUY",
        "order_configuration": {
            "limit_limit_gtc": {"base_size": "3", "limit_price": "60000", "post_only": True}
        },
    }


async def test_a_rejection_is_http_200_or_400(wire: Wire, key_file: Path) -> None:
    """Both of Coinbase's ways to say no end the order."""
    async with client(wire.port, key_file) as rest:
        error = {"new_order_failure_reason": "INSUFFICIENT_FUND", "message": "no money"}
        wire.say(200, {"success": False, "error_response": error})
        found = await rest.submit(INTENT, RULES, open_passage())
        assert found == Rejected("INSUFFICIENT_FUND: no money")
        wire.say(400, {"error": "unknown field"})
        assert isinstance(await rest.submit(INTENT, RULES, open_passage()), Rejected)
        wire.say(429, {"errors": [{"id": "rate_limit_exceeded"}]})
        limited = await rest.submit(INTENT, RULES, open_passage())
        assert isinstance(limited, Rejected)
        assert limited.rate_limited


@pytest.mark.parametrize(
    "answer", ["none", "hang up", "500", "no json", "other order", "429 page", "408"]
)
async def test_once_the_body_left_a_bad_answer_means_unknown(
    answer: str, wire: Wire, key_file: Path
) -> None:
    """Time-out, broken connection, server error, nonsense: nobody knows."""
    other = {**CREATED["success_response"], "client_order_id": "b"}  # type: ignore[dict-item]
    scripts: dict[str, Callable[[], None]] = {
        "none": lambda: setattr(wire, "answer", None),
        "hang up": lambda: setattr(wire, "answer", b""),
        "500": lambda: wire.say(500, {"error": "x"}),
        "no json": lambda: wire.say(200, "<html>"),
        "other order": lambda: wire.say(200, {"success": True, "success_response": other}),
        # Not in the venue's own words: somebody on the way, who may or may not have passed it on.
        "429 page": lambda: wire.say(429, "<html>slow down</html>"),
        "408": lambda: wire.say(408, ""),
    }
    scripts[answer]()
    async with client(wire.port, key_file, seconds=0.5) as rest:
        with pytest.raises(OutcomeUnknown):
            await rest.submit(INTENT, RULES, open_passage())
    assert len(wire.received) == 1


async def test_no_connection_means_not_sent(key_file: Path, tmp_path: Path) -> None:
    """Nobody listens, or there is no key to sign with: it certainly never left."""
    async with client(1, key_file) as rest:
        with pytest.raises(NotSent):
            await rest.submit(INTENT, RULES, open_passage())
    async with client(1, tmp_path / "absent.json") as rest:
        with pytest.raises(NotSent, match=r"absent\.json"):
            await rest.submit(INTENT, RULES, open_passage())


async def test_the_gate_is_asked_directly_before_the_one_write(wire: Wire, key_file: Path) -> None:
    """Once, with the passage open; closed, not a byte of the order leaves."""
    refusal = Refusal(RefusalReason.HALTED, "halted")
    asked = 0
    gate = SendGate()

    def check() -> Refusal | None:
        nonlocal asked
        asked += 1
        assert gate.open_passages == 1
        return refusal

    wire.say(200, CREATED)
    async with client(wire.port, key_file) as rest:
        with pytest.raises(GateClosed) as caught:
            await rest.submit(INTENT, RULES, Passage(gate, check))
        assert caught.value.refusal is refusal
        assert (gate.open_passages, asked) == (0, 1)
    assert [] == [body for body in wire.received if body != b"<broken off>"]


async def test_the_passage_ends_when_the_socket_has_the_order(
    wire: Wire, key_file: Path, eventually: Eventually
) -> None:
    """A kill waits for the hand-over, and not for the venue's answer."""
    wire.answer = None
    gate = SendGate()
    async with client(wire.port, key_file, seconds=1.0) as rest:
        call = asyncio.create_task(rest.submit(INTENT, RULES, Passage(gate, lambda: None)))
        await eventually(lambda: len(wire.received) == 1)
        assert (gate.open_passages, call.done()) == (0, False)
        with pytest.raises(OutcomeUnknown):
            await call


def test_a_token_is_bound_to_method_and_path(key_file: Path) -> None:
    """The JWT carries what Coinbase checks, and expires soon."""
    token = ApiKeySigner(key_file, lifetime_seconds=30).token("POST", "h:1", "/x")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["uri"], claims["iss"]) == ("POST h:1/x", "cdp")
    assert claims["exp"] - claims["nbf"] == 30
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == ("ES256", claims["sub"])


def test_key_files_never_leak(tmp_path: Path) -> None:
    """A damaged key file is one line that does not quote it; a start names its setting."""
    path = tmp_path / "key.json"
    path.write_text('{"name": "n", "privateKey": "TOP-SECRET"}')
    with pytest.raises(Unavailable) as caught:
        ApiKeySigner(path, lifetime_seconds=30).token()
    assert "SECRET" not in str(caught.value)
    with pytest.raises(ConfigError, match="TOUCHSTONE_GATEWAY_API_KEY_FILE") as refused:
        ApiKeySigner(path, lifetime_seconds=30).check()
    assert "SECRET" not in str(refused.value)
    path.unlink()
    ApiKeySigner(path, lifetime_seconds=30).check()


def test_configurations() -> None:
    """Each kind of order has its own configuration."""
    market = replace(
        INTENT,
        order_type=OrderType.MARKET,
        limit_price=None,
        post_only=False,
        reduce_only=True,
        time_in_force=TimeInForce.IOC,
    )
    found = order_configuration(market, RULES, forward_reduce_only=True)
    assert found == {"market_market_ioc": {"base_size": "3", "reduce_only": True}}
    plain = order_configuration(market, RULES, forward_reduce_only=False)
    assert plain == {"market_market_ioc": {"base_size": "3"}}
    limit = replace(INTENT, post_only=False, time_in_force=TimeInForce.IOC)
    ioc = order_configuration(limit, RULES, forward_reduce_only=True)
    assert ioc == {"sor_limit_ioc": {"base_size": "3", "limit_price": "60000"}}


def test_reports_and_rules_are_in_coins() -> None:
    """Contracts become coins at the edge, and nowhere else."""
    order = {
        "order_id": "v",
        "client_order_id": "a",
        "side": "SELL",
        "status": "OPEN",
        "filled_size": "2",
        "order_configuration": {"limit_limit_gtc": {"base_size": "3", "limit_price": "60000"}},
    }
    report = report_from(order, RULES)
    assert (report.filled_quantity, report.quantity) == (Decimal("0.02"), Decimal("0.03"))
    assert report.status is VenueStatus.LIVE
    product = {
        "product_id": "BIP",
        "price_increment": "5",
        "base_increment": "1",
        "base_min_size": "1",
        "base_max_size": "100",
        "quote_min_size": "0",
        "cancel_only": True,
        "future_product_details": {"contract_size": "0.01"},
    }
    rules = rules_from(product, "BTC-PERP")
    assert (rules.size_increment, rules.max_quantity) == (Decimal("0.01"), Decimal(1))
    assert (rules.disabled, rules.min_notional) == ("cancel_only", None)


def test_times_keep_their_nanoseconds() -> None:
    """RFC 3339 with nine digits survives."""
    assert nanoseconds("2023-11-14T22:13:20.000000001Z") == 1_700_000_000_000_000_001
    assert nanoseconds("2023-11-14T22:13:20Z") == 1_700_000_000_000_000_000
    assert nanoseconds("yesterday") is None


class Feed:
    """A scripted WebSocket venue: numbers its messages, and can skip one or fall silent."""

    def __init__(self) -> None:
        self.connections = 0
        self.subscriptions: list[dict[str, Any]] = []
        self.sockets: list[ServerConnection] = []
        self.sequence = 0

    async def serve(self, socket: ServerConnection) -> None:
        """Answer each subscription with its snapshot."""
        self.connections += 1
        self.sequence = 0
        self.sockets.append(socket)
        snapshots: dict[str, Any] = {
            "heartbeats": {},
            "level2": {
                "type": "snapshot",
                "product_id": "BIP",
                "updates": [level("bid", "60000", "3"), level("offer", "60005", "2")],
            },
            "market_trades": {"type": "snapshot", "trades": [trade("t1", "60000")]},
            "user": {"type": "snapshot", "orders": []},
        }
        channels = {"level2": "l2_data"}
        async for raw in socket:
            message = json.loads(raw)
            self.subscriptions.append(message)
            name = message["channel"]
            await self.send(channels.get(name, name), snapshots[name])

    async def send(self, channel: str, event: Any) -> None:
        """Send one event on the newest connection."""
        message = {"channel": channel, "sequence_num": self.sequence, "events": [event]}
        self.sequence += 1
        await self.sockets[-1].send(json.dumps(message))


def trade(trade_id: str, price: str) -> dict[str, str]:
    """Return one public trade of two contracts."""
    time = "2026-01-01T00:00:00.5Z"
    return {"trade_id": trade_id, "product_id": "BIP", "price": price, "size": "2", "time": time}


def level(side: str, price: str, quantity: str) -> dict[str, str]:
    """Return one level-2 update."""
    return {"side": side, "price_level": price, "new_quantity": quantity}


class Following:
    """A feed client and what its owner was told."""

    def __init__(self, port: int, key_file: Path) -> None:
        self.quotes = Quotes()
        self.reports: list[VenueReport] = []
        self.resyncs = 0
        self.registry = CollectorRegistry()
        self.client = CoinbaseFeed(
            f"ws://127.0.0.1:{port}",
            ApiKeySigner(key_file, lifetime_seconds=30),
            ["BIP"],
            self.quotes,
            FeedOwner(self.reports.append, self._resync, lambda _product: RULES),
            VenueMetrics(self.registry),
            silence_seconds=0.5,
        )

    def _resync(self) -> None:
        self.resyncs += 1


@pytest.fixture
async def following(key_file: Path) -> AsyncIterator[tuple[Feed, Following]]:
    """A feed client connected to a scripted venue."""
    feed = Feed()
    async with serve(feed.serve, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        made = Following(port, key_file)
        task = asyncio.create_task(made.client.run())
        yield feed, made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_feed_keeps_the_touch_and_passes_reports_on(
    following: tuple[Feed, Following], eventually: Eventually
) -> None:
    """Absolute quantities, 0 removes, every subscription with a token of its own."""
    feed, made = following
    await eventually(lambda: made.resyncs == 1)
    updates = [level("bid", "60000", "0"), level("bid", "59995", "1")]
    await feed.send("l2_data", {"type": "update", "product_id": "BIP", "updates": updates})
    order = {
        "order_id": "v",
        "client_order_id": "a",
        "product_id": "BIP",
        "order_side": "BUY",
        "status": "OPEN",
        "cumulative_quantity": "1",
        "leaves_quantity": "2",
        "limit_price": "60000",
    }
    await feed.send("user", {"type": "update", "orders": [order]})
    await eventually(lambda: len(made.reports) == 1)
    quote = made.quotes.quote("BTC-PERP")
    assert quote is not None
    assert (quote.bid, quote.ask) == (Decimal(59_995), Decimal(60_005))
    assert made.reports[0].quantity == Decimal("0.03")
    assert len({message["jwt"] for message in feed.subscriptions}) == 4


async def test_a_gap_starts_over_with_a_new_snapshot(
    following: tuple[Feed, Following], eventually: Eventually
) -> None:
    """A skipped number ends the connection, clears the quotes, and asks for a fresh look."""
    feed, made = following
    await eventually(lambda: made.resyncs == 1)
    feed.sequence += 1
    await feed.send("heartbeats", {})
    await eventually(lambda: made.quotes.quote("BTC-PERP") is None)
    await eventually(lambda: made.resyncs == 2)
    assert made.registry.get_sample_value("venue_feed_gaps_total") == 1
    assert feed.connections == 2


async def test_silence_starts_over(
    following: tuple[Feed, Following], eventually: Eventually
) -> None:
    """Without heartbeats a connection that looks open is not trusted."""
    feed, made = following
    await eventually(lambda: made.resyncs == 1)
    await eventually(lambda: made.resyncs == 2)
    assert feed.connections == 2


async def test_unreadable_messages_start_over(
    following: tuple[Feed, Following], eventually: Eventually
) -> None:
    """What cannot be understood may have been a level or an order."""
    feed, made = following
    await eventually(lambda: made.resyncs == 1)
    await feed.sockets[-1].send("{}")
    await eventually(lambda: made.resyncs == 2)


@pytest.mark.parametrize("body", [[], {}, {"orders": [{"product_id": "BIP"}]}, "<html>", "null"])
async def test_an_unreadable_answer_is_a_fault_and_never_an_empty_one(
    body: Any, wire: Wire, key_file: Path
) -> None:
    """Another shape than the protocol's says nothing: no orders, no position, no missing order."""
    product = {"product_id": "BIP", "price_increment": "5", "base_increment": "1"}
    async with client(wire.port, key_file) as rest:
        wire.say(200, product)
        await rest.rules()
        wire.say(200, body)
        calls: list[Callable[[], Awaitable[Any]]] = [
            rest.rules,
            rest.positions,
            lambda: rest.order("v1"),
            lambda: rest.orders("BTC-PERP", working_only=True),
            lambda: rest.fills_of(["v1"]),
            lambda: rest.cancel(["v1"]),
        ]
        for call in calls:
            with pytest.raises(Unavailable):
                await call()


def test_increments_of_nothing_are_refused() -> None:
    """A price or size step of 0 would divide by it at the next order."""
    for name in ("price_increment", "base_increment"):
        product = {"product_id": "BIP", "price_increment": "5", "base_increment": "1", name: "0"}
        with pytest.raises(Unavailable, match=name):
            rules_from(product, "BTC-PERP")


def test_a_key_of_another_curve_is_a_clear_fault(tmp_path: Path) -> None:
    """ES256 means P-256; the signing library's own exception must not end the service."""
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"name": "k", "privateKey": pem.decode()}))
    with pytest.raises(Unavailable, match="ES256"):
        ApiKeySigner(path, lifetime_seconds=30).token()


class ScriptedFeed:
    """A feed without a network: hands out what it is given, in the batches it is given it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.batches: asyncio.Queue[list[Frame]] = asyncio.Queue()
        self.opened = 0

    async def connect(self, _url: str) -> "ScriptedFeed":
        """Open one more connection, with the snapshots at its beginning."""
        self.opened += 1
        self.batches = asyncio.Queue()
        await self.say(
            {"channel": "user", "events": [{"type": "snapshot", "orders": []}]}, number=0
        )
        return self

    async def say(self, message: Any, *, number: int, late: float = 0.0) -> None:
        """Have a message arrive, or have arrived `late` seconds ago."""
        raw = json.dumps({"sequence_num": number, **message}).encode()
        await self.batches.put([Frame(self.loop.time() - late, raw)])

    async def send(self, text: str) -> None:
        """Take a subscription."""

    async def receive(self) -> list[Frame]:
        """Return the next batch."""
        return await self.batches.get()

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture
async def scripted(key_file: Path) -> AsyncIterator[tuple[ScriptedFeed, Following]]:
    """A feed client over the seam that a simulation uses."""
    feed, made = ScriptedFeed(), Following(1, key_file)
    made.client._connect = feed.connect
    task = asyncio.create_task(made.client.run())
    yield feed, made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def whole_book(bid: str, ask: str) -> Any:
    """Return a level2 message with a snapshot."""
    updates = [level("bid", bid, "1"), level("offer", ask, "1")]
    event = {"type": "snapshot", "product_id": "BIP", "updates": updates}
    return {"channel": "l2_data", "events": [event]}


async def test_a_book_that_stays_crossed_is_asked_for_again(
    scripted: tuple[ScriptedFeed, Following], eventually: Eventually
) -> None:
    """No quote at once; a second later a fresh snapshot."""
    feed, made = scripted
    await eventually(lambda: made.resyncs == 1)
    await feed.say(whole_book("60000", "60005"), number=1)
    await eventually(lambda: made.quotes.quote("BTC-PERP") is not None)
    await feed.say(whole_book("60005", "60005"), number=2, late=2)
    await eventually(lambda: made.quotes.quote("BTC-PERP") is None)
    await feed.say({"channel": "heartbeats", "events": []}, number=3)
    await eventually(lambda: made.resyncs == 2)
    assert "not connected" not in made.client.problem


async def test_what_waited_too_long_is_not_taken_for_the_market(
    scripted: tuple[ScriptedFeed, Following], eventually: Eventually
) -> None:
    """A message that arrived long ago, because we were slow, ends the connection."""
    feed, made = scripted
    await eventually(lambda: made.resyncs == 1)
    await feed.say(whole_book("60000", "60005"), number=1, late=20)
    await eventually(lambda: feed.opened == 2)
    assert made.quotes.quote("BTC-PERP") is None


async def test_an_error_message_reads_the_key_again(
    scripted: tuple[ScriptedFeed, Following], eventually: Eventually, key_file: Path
) -> None:
    """The venue did not know the key: a new file is read, and fresh tokens are made of it."""
    feed, made = scripted
    await eventually(lambda: made.resyncs == 1)
    write_key(key_file, "new")
    await feed.say({"type": "error", "message": "authentication failure"}, number=1)
    await eventually(lambda: made.resyncs == 2)
    token = made.client._signer.token()
    assert jwt.get_unverified_header(token)["kid"] == "new"


@pytest.mark.parametrize("size", [32, 64])
def test_an_ed25519_key_in_base64(size: int, tmp_path: Path) -> None:
    """As Coinbase's portal gives them out: the seed, alone or with the public half."""
    key = ed25519.Ed25519PrivateKey.generate()
    raw = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"name": "k", "privateKey": base64.b64encode(raw[:size]).decode()}))
    token = ApiKeySigner(path, lifetime_seconds=30).token("POST", "h", "/x")
    claims = jwt.decode(token, key.public_key(), algorithms=["EdDSA"])
    assert claims["uri"] == "POST h/x"


def test_attached_exits_and_stops_have_coinbases_names() -> None:
    """Stop directions follow the side; the attached bracket has no size of its own."""
    stop = replace(
        INTENT, order_type=OrderType.STOP_LIMIT, stop_price=Decimal(61_000), post_only=False
    )
    for side, direction in ((Side.BUY, "UP"), (Side.SELL, "DOWN")):
        found = order_configuration(replace(stop, side=side), RULES, forward_reduce_only=True)
        assert found == {
            "stop_limit_stop_limit_gtc": {
                "base_size": "3",
                "limit_price": "60000",
                "stop_price": "61000",
                "stop_direction": f"STOP_DIRECTION_STOP_{direction}",
            }
        }
    exit_ = Attached(take_profit_price=Decimal(70_000), stop_price=Decimal(50_000))
    assert attached_configuration(replace(INTENT, attached=exit_)) == {
        "trigger_bracket_gtc": {"limit_price": "70000", "stop_trigger_price": "50000"}
    }
    expiring = replace(
        INTENT, time_in_force=TimeInForce.GTD, expires_at_ns=1_700_000_000_000_000_001
    )
    found = order_configuration(expiring, RULES, forward_reduce_only=True)
    assert found["limit_limit_gtd"]["end_time"] == "2023-11-14T22:13:20.000000001Z"


@pytest.mark.parametrize(
    "terms",
    [
        {"order_type": OrderType.STOP},
        {"time_in_force": TimeInForce.DAY},
        {"time_in_force": TimeInForce.GTD},
        {"time_in_force": TimeInForce.IOC},
    ],
)
def test_what_has_no_configuration_is_refused(terms: dict[str, Any]) -> None:
    """It must not become another order on its way: a post-only IOC, a GTD order without an end."""
    with pytest.raises(NotSupported):
        order_configuration(replace(INTENT, **terms), RULES, forward_reduce_only=True)


async def test_tokens_made_ahead_are_used_once_and_while_they_are_fresh(key_file: Path) -> None:
    """Each token is its own, for its own request; one from before a pause is not used."""
    seconds = 1_000.0
    signer = ApiKeySigner(key_file, lifetime_seconds=30, wall_clock=lambda: seconds)
    request = ("POST", "h", "/orders")
    tokens = [signer.token_ahead(*request), signer.token_ahead(*request)]
    await asyncio.sleep(0.02)
    ready = signer._ready
    assert ready is not None
    tokens.append(signer.token_ahead(*request))
    assert ready[2] == tokens[2]
    await asyncio.sleep(0.02)
    other = signer.token_ahead("POST", "h", "/other")
    claims = jwt.decode(other, options={"verify_signature": False, "verify_exp": False})
    assert claims["uri"] == "POST h/other"
    await asyncio.sleep(0.02)
    assert signer._ready is not None
    signer._ready = (request, asyncio.get_running_loop().time() - 2, "too old")
    tokens.append(signer.token_ahead(*request))
    assert len({*tokens, other, "too old"}) == 6
    signer.forget()
    assert signer._ready is None
