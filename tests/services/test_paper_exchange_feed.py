"""The WebSocket feed: snapshots, updates, sequence, limits, slow clients, strangers."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.services.paper_exchange import (
    BIP,
    BTC,
    Key,
    RunningExchange,
    gtc,
    running_exchange,
    wait_until,
    write_ed25519_key,
)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A fast-running venue, so that the book moves while a test looks."""
    data_dir = tmp_path_factory.mktemp("exchange")
    write_ed25519_key(data_dir / "exchange" / "keys", "other", account="other")
    with running_exchange(
        data_dir,
        rate_limit_per_second=10_000,
        flow="zero-intelligence",
        flow_speed=5,
        first_subscribe_seconds=30,
    ) as running:
        yield running


@pytest.fixture
def peer(venue: RunningExchange) -> Iterator[Connection]:
    """A connected client."""
    # The client stops reading while a message waits for recv, so its closing handshake times out.
    with connect(f"ws://{venue.host}", max_size=None, close_timeout=0.2) as connection:
        yield connection


def subscribe(
    peer: Connection, channel: str, product_ids: list[str] | None = None, **fields: Any
) -> None:
    """Send a subscription."""
    message = {"type": "subscribe", "channel": channel, "product_ids": product_ids or [], **fields}
    peer.send(json.dumps(message))


def receive(peer: Connection) -> dict[str, Any]:
    """Return the next message."""
    message: dict[str, Any] = json.loads(peer.recv(timeout=5))
    return message


def receive_channel(peer: Connection, channel: str) -> dict[str, Any]:
    """Return the next message of a channel."""
    while True:
        message = receive(peer)
        assert message.get("type") != "error", message
        if message["channel"] == channel:
            return message


def test_level2_updates_keep_a_copy_of_the_book(venue: RunningExchange, peer: Connection) -> None:
    """A client that applies snapshot and updates has the venue's book, level by level."""
    admin = f"http://{venue.host}/admin/flow"
    subscribe(peer, "level2", [BIP])
    copy: dict[tuple[str, str], str] = {}
    for _ in range(41):  # the snapshot, and what the flow did to it
        apply_levels(copy, receive_channel(peer, "l2_data")["events"][0])
    try:
        assert venue.client.post(admin, json={"paused": True}).status_code == 200
        venue.create(order_configuration=gtc("3", "60005"))
        while ("bid", "60005") not in copy:
            apply_levels(copy, receive_channel(peer, "l2_data")["events"][0])
        book = venue.call("GET", f"/product_book?product_id={BIP}").json()["pricebook"]
    finally:
        venue.client.post(admin, json={"paused": False})
    sides = {"bid": book["bids"], "offer": book["asks"]}
    assert copy == {
        (s, level["price"]): level["size"] for s, rows in sides.items() for level in rows
    }


def apply_levels(copy: dict[tuple[str, str], str], event: dict[str, Any]) -> None:
    """Carry a level2 event into a copy of the book."""
    for update in event["updates"]:
        place = (update["side"], update["price_level"])
        if update["new_quantity"] == "0":
            assert "update" == event["type"]
            copy.pop(place, None)
        else:
            copy[place] = update["new_quantity"]


def test_one_sequence_runs_through_all_channels(peer: Connection) -> None:
    """sequence_num starts at 0 and grows by one, whatever the channel."""
    subscribe(peer, "level2", [BIP, BTC])
    subscribe(peer, "heartbeats")
    subscribe(peer, "market_trades", [BIP])
    subscribe(peer, "ticker", [BIP])
    messages = [receive(peer) for _ in range(60)]
    assert list(range(60)) == [message["sequence_num"] for message in messages]
    assert {"channel", "client_id", "timestamp", "sequence_num", "events"} == set(messages[0])
    assert len({message["channel"] for message in messages}) > 2


def test_heartbeats_count(peer: Connection) -> None:
    """A heartbeat comes each real second and counts from 0."""
    subscribe(peer, "heartbeats")
    beats = [receive_channel(peer, "heartbeats")["events"][0] for _ in range(2)]
    assert ["0", "1"] == [beat["heartbeat_counter"] for beat in beats]


def test_trades_and_tickers(peer: Connection) -> None:
    """Trades come newest first with the maker's side, tickers with the touch."""
    subscribe(peer, "market_trades", [BIP])
    first = receive_channel(peer, "market_trades")["events"][0]
    assert "snapshot" == first["type"]
    times = [trade["time"] for trade in first["trades"]]
    assert sorted(times, reverse=True) == times
    update = receive_channel(peer, "market_trades")["events"][0]
    assert "update" == update["type"]
    assert {trade["side"] for trade in update["trades"]} <= {"BUY", "SELL"}
    subscribe(peer, "ticker", [BIP])
    ticker = receive_channel(peer, "ticker")["events"][0]["tickers"][0]
    assert int(ticker["best_bid"]) < int(ticker["best_ask"])


def test_unsubscribing_from_everything_leaves_an_empty_object(peer: Connection) -> None:
    """The last acknowledgement is `{}`, which ccxt waits for."""
    subscribe(peer, "level2", [BIP, BTC])
    subscribe(peer, "heartbeats")
    for channel, product_ids in (("level2", [BIP]), ("level2", [BTC]), ("heartbeats", [])):
        message = {"type": "unsubscribe", "channel": channel, "product_ids": product_ids}
        peer.send(json.dumps(message))
    acks = [receive_channel(peer, "subscriptions")["events"][0]["subscriptions"] for _ in range(5)]
    assert [
        {"level2": [BTC], "heartbeats": ["heartbeats"]},
        {"heartbeats": ["heartbeats"]},
        {},
    ] == (acks[2:])


def test_the_user_snapshot_comes_in_batches_of_fifty(
    venue: RunningExchange, peer: Connection
) -> None:
    """Exactly 100 open orders are told in 50, 50 and a last batch of 0."""
    created = [
        venue.create(product_id=BTC, order_configuration=gtc("0.001", "20000"))["success_response"]
        for _ in range(100)
    ]
    ids = [order["order_id"] for order in created]
    subscribe(peer, "user", [BTC], jwt=venue.key.token())
    batches = [receive_channel(peer, "user")["events"][0] for _ in range(3)]
    assert [50, 50, 0] == [len(batch["orders"]) for batch in batches]
    assert ids == [order["order_id"] for batch in batches for order in batch["orders"]]
    order = batches[0]["orders"][0]
    assert ("false", "Limit", "0.001") == (
        order["post_only"],
        order["order_type"],
        order["leaves_quantity"],
    )
    venue.call("POST", "/orders/batch_cancel", {"order_ids": ids})
    for _ in range(100):
        event = receive_channel(peer, "user")["events"][0]
        assert ("update", "CANCELLED") == (event["type"], event["orders"][0]["status"])


def test_nobody_sees_another_account_s_orders(venue: RunningExchange, peer: Connection) -> None:
    """The user channel belongs to the key's account, and a connection to one user."""
    document = json.loads(venue.key_file.with_name("other.json").read_text())
    other = Key(document["name"], document["privateKey"], "EdDSA")
    subscribe(peer, "user", [], jwt=other.token())
    assert [] == receive_channel(peer, "user")["events"][0]["orders"]
    venue.create()
    subscribe(peer, "user", [], jwt=venue.key.token())
    answer = receive(peer)
    assert "error" == answer["type"]
    assert "another user's" in answer["message"]


@pytest.mark.parametrize("token", [None, "x", "expired"])
def test_authentication_failures_are_answered(
    venue: RunningExchange, peer: Connection, token: str | None
) -> None:
    """A missing, broken or expired JWT is an error message, not a disconnect."""
    past = int(time.time()) - 600
    made = venue.key.token(nbf=past, exp=past + 120) if token == "expired" else token
    subscribe(peer, "user", [], **({} if made is None else {"jwt": made}))
    assert {"type": "error", "message": "authentication failure"} == receive(peer)
    subscribe(peer, "heartbeats")
    assert "subscriptions" == receive(peer)["channel"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 60_000, "not JSON"),
        ('{"type": "hello", "channel": "level2"}', "type: 'hello'"),
        ('{"type": "subscribe", "channel": "level3"}', "channel: 'level3'"),
        ('{"type": "subscribe", "channel": ["level2"]}', "channel: ['level2']"),
        ('{"type": "subscribe", "channel": "level2", "product_ids": ["X"]}', "product_ids: 'X'"),
        ('{"type": "subscribe", "channel": "level2", "product_ids": "X"}', "allowed: a list"),
    ],
)
def test_wrong_messages_are_answered(peer: Connection, message: str, expected: str) -> None:
    """What is wrong is said; the connection stays."""
    peer.send(message)
    answer = receive(peer)
    assert "error" == answer["type"]
    assert expected in answer["message"]
    subscribe(peer, "heartbeats")
    assert "subscriptions" == receive(peer)["channel"]


def test_silence_at_the_start_ends_the_connection(tmp_path: Path) -> None:
    """Whoever subscribes to nothing is disconnected."""
    with (
        running_exchange(tmp_path, flow="none", first_subscribe_seconds=0.2) as venue,
        connect(f"ws://{venue.host}") as peer,
        pytest.raises(ConnectionClosed) as caught,
    ):
        peer.recv(timeout=6)
    assert caught.value.rcvd is not None
    assert (1008, "no subscription within 0.2 s") == (
        caught.value.rcvd.code,
        caught.value.rcvd.reason,
    )


def test_too_many_messages_are_refused(peer: Connection) -> None:
    """A flood of subscriptions is answered with errors, not with snapshots."""
    for _ in range(60):
        peer.send('{"type": "unsubscribe", "channel": "ticker"}')
    kinds = [receive(peer).get("type", "ok") for _ in range(60)]
    assert "ok" == kinds[0]
    assert "error" in kinds


def test_binary_and_oversized_messages_end_only_their_own_connection(
    venue: RunningExchange, peer: Connection
) -> None:
    """A misbehaving client loses its connection; the next one is served."""
    subscribe(peer, "heartbeats")
    for junk in (b"\x00\x01", "x" * 100_000):
        with connect(f"ws://{venue.host}") as bad:
            bad.send(junk)
            with pytest.raises(ConnectionClosed):
                bad.recv(timeout=5)
    assert receive_channel(peer, "heartbeats")


@pytest.mark.parametrize("reads", [False, True])
def test_a_slow_client_is_cut_off_and_harms_nobody(tmp_path: Path, reads: bool) -> None:
    """A peer that reads nothing, or a byte now and then, is dropped; others miss and wait nothing.

    It asks for so many snapshots that neither the kernel nor the venue keeps them for it.
    """
    with running_exchange(
        tmp_path, flow="zero-intelligence", flow_speed=20, feed_queue_bytes=100_000
    ) as venue:
        connections = venue.components.feed.connections
        with connect(f"ws://{venue.host}", max_size=None, close_timeout=0.2) as quick:
            subscribe(quick, "level2")
            sequences = [receive(quick)["sequence_num"]]
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
            slow.connect(("127.0.0.1", venue.port))
            asked = _frame(b'{"type":"subscribe","channel":"level2"}')
            slow.sendall(_handshake(venue.host))
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += slow.recv(1)
            slow.sendall(asked * 20)
            slow.setblocking(False)
            longest, last = 0.0, time.monotonic()
            while len(sequences) < 100 or len(connections) > 1:
                sequences.append(receive(quick)["sequence_num"])
                longest = max(longest, time.monotonic() - last)
                last = time.monotonic()
                assert len(sequences) < 10_000
                if reads:
                    with contextlib.suppress(OSError):
                        slow.recv(1)
            assert list(range(len(sequences))) == sequences
            assert longest < 2
        assert 1.0 == venue.components.registry.get_sample_value("exchange_feed_cut_off_total")
        slow.close()


def test_too_many_connections_of_one_address_are_refused(tmp_path: Path) -> None:
    """Beyond the rate a connection is answered with 429 instead of being upgraded."""
    with running_exchange(tmp_path, flow="none", connections_per_second=1) as venue:
        with connect(f"ws://{venue.host}"), pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{venue.host}")
        assert 429 == refused.value.response.status_code
        assert b'"id":"rate_limit_exceeded"' in (refused.value.response.body or b"")


def test_connections_are_bounded(tmp_path: Path) -> None:
    """One connection more than allowed is told to try later; a freed place is free again."""
    with running_exchange(tmp_path, flow="none", max_connections=1) as venue:
        with connect(f"ws://{venue.host}") as first:
            subscribe(first, "heartbeats")
            receive(first)
            with connect(f"ws://{venue.host}") as second, pytest.raises(ConnectionClosed) as caught:
                second.recv(timeout=5)
            assert caught.value.rcvd is not None
            assert 1013 == caught.value.rcvd.code
        wait_until(lambda: not venue.components.feed.connections)
        with connect(f"ws://{venue.host}") as third:
            subscribe(third, "heartbeats")
            assert "subscriptions" == receive(third)["channel"]


def _handshake(host: str) -> bytes:
    return (
        f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def _frame(payload: bytes) -> bytes:
    """Return a masked text frame (RFC 6455) whose mask is zero."""
    return bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload
