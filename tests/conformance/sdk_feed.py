"""The SDK's WSClient and WSUserClient: every channel, over ws and wss, against what REST says."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any

from coinbase.websocket import WebsocketResponse, WSClient, WSUserClient

from tests.conformance.runner import Target
from tests.conformance.sdk import (
    BIP,
    BTC,
    TICK,
    accepted,
    eventually,
    new_id,
    over_http,
    over_tls,
    reference,
    touch,
)


class Listener:
    """What a client was told, each message taken by the SDK's own types, too."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.problems: list[str] = []

    def __call__(self, text: str) -> None:
        """Keep a message."""
        message = json.loads(text)
        if message.get("type") == "error":
            self.problems.append(message["message"])
            return
        WebsocketResponse(json.loads(text))
        self.messages.append(message)

    def events(self, channel: str) -> list[dict[str, Any]]:
        """Return the events of a channel in their order."""
        return [
            event
            for message in self.messages
            if message["channel"] == channel
            for event in message["events"]
        ]

    def has(self, *channels: str) -> Callable[[], bool]:
        """Return a condition: each of the channels has said something."""
        return lambda: all(self.events(channel) for channel in channels)

    def check_sequence(self) -> None:
        """No number of the connection is missing or comes twice, from 0 on."""
        numbers = [message["sequence_num"] for message in self.messages]
        assert list(range(len(numbers))) == numbers


@contextmanager
def listening(
    address: str, target: Target, key: str | None, kind: Any = WSClient
) -> Iterator[tuple[Any, Listener]]:
    """Open a client of the SDK, close it afterwards, and check that no number was missed."""
    listener = Listener()
    named = {}
    if key is not None:
        credentials = target.keys[key]
        named = {"api_key": credentials.name, "api_secret": credentials.secret}
    client = kind(base_url=address, on_message=listener, retry=False, **named)
    client.open()
    try:
        yield client, listener
    finally:
        client.close()
    listener.check_sequence()


def case_every_public_channel(target: Target) -> None:
    """Market data flows to a client without a key, each channel from its snapshot on."""
    with listening(f"ws://{target.plain}", target, None) as (client, heard):
        client.heartbeats()
        client.level2([BTC, BIP])
        client.ticker([BTC])
        client.ticker_batch([BTC])
        client.market_trades([BTC])
        client.candles([BTC])
        client.status([BTC])
        eventually(
            heard.has(
                *("heartbeats", "l2_data", "ticker", "ticker_batch", "market_trades"),
                *("candles", "status", "subscriptions"),
            )
        )
        eventually(lambda: len(heard.events("l2_data")) > 10)
        eventually(lambda: len(heard.events("market_trades")) > 2)
    assert [] == heard.problems
    first: dict[str, str] = {}
    for event in heard.events("l2_data"):
        first.setdefault(event["product_id"], event["type"])
    assert {BTC: "snapshot", BIP: "snapshot"} == first
    sides = {update["side"] for event in heard.events("l2_data") for update in event["updates"]}
    assert {"bid", "offer"} == sides
    ticker = heard.events("ticker")[-1]["tickers"][0]
    assert Decimal(ticker["best_bid"]) < Decimal(ticker["best_ask"])
    assert "best_bid" not in heard.events("ticker_batch")[0]["tickers"][0]
    beats = [int(event["heartbeat_counter"]) for event in heard.events("heartbeats")]
    assert list(range(beats[0], beats[0] + len(beats))) == beats
    candle = heard.events("candles")[0]["candles"][0]
    assert int(candle["start"]) % 300 == 0


def case_level2_adds_up_to_the_rest_book(target: Target) -> None:
    """Snapshot and updates give the book that REST shows."""
    rest = over_http(target, "es256")
    target.admin("/flow", {"paused": True})
    try:
        with listening(f"ws://{target.plain}", target, None) as (client, heard):
            client.level2([BIP])
            eventually(heard.has("l2_data"))
            bid, _ = touch(rest, BIP)
            price = bid - 30 * TICK
            order_id = accepted(rest.limit_order_gtc_buy(new_id(), BIP, "7", str(price)))
            eventually(lambda: len(heard.events("l2_data")) > 1)
            shown = rest.get_product_book(BIP, limit=1000).pricebook
            book: dict[tuple[str, str], str] = {}
            for event in heard.events("l2_data"):
                for update in event["updates"]:
                    key = (update["side"], str(Decimal(update["price_level"])))
                    book[key] = update["new_quantity"]
            for side, levels in (("bid", shown.bids), ("offer", shown.asks)):
                listed = {
                    (side, str(Decimal(level.price))): Decimal(level.size) for level in levels
                }
                ours = {
                    key: Decimal(size)
                    for key, size in book.items()
                    if key[0] == side and Decimal(size)
                }
                assert listed == {key: ours[key] for key in listed}
            rest.cancel_orders([order_id])
    finally:
        target.admin("/flow", {"paused": False})


def case_user_and_balances(target: Target) -> None:
    """The life of an order reaches WSUserClient and WSClient alike, with every kind of key."""
    for key in ("es256", "pem", "ed25519"):
        rest = over_tls(target, key)
        low = str(reference(rest) - 60 * TICK)
        with (
            listening(f"wss://{target.tls}", target, key, WSUserClient) as (own, user),
            listening(f"wss://{target.tls}", target, key) as (client, both),
        ):
            own.user([])
            own.heartbeats()
            own.futures_balance_summary()
            client.user([BIP])
            eventually(user.has("user", "futures_balance_summary"))
            eventually(both.has("user"))
            assert "snapshot" == user.events("user")[0]["type"]
            order_id = accepted(rest.limit_order_gtc_buy(new_id(), BIP, "1", low))
            rest.cancel_orders([order_id])
            for heard in (user, both):
                eventually(partial(ended, heard, order_id))
                assert ["OPEN", "CANCELLED"] == statuses(heard, order_id)
        summary = user.events("futures_balance_summary")[0]["fcm_balance_summary"]
        assert isinstance(summary["futures_buying_power"], str)
        assert [] == user.problems + both.problems


def ended(heard: Listener, order_id: str) -> bool:
    """Say whether the order was told to be cancelled."""
    return "CANCELLED" in statuses(heard, order_id)


def statuses(heard: Listener, order_id: str) -> list[str]:
    """Return the states of an order as they were told, without repetitions."""
    told = [
        order["status"]
        for event in heard.events("user")
        for order in event["orders"]
        if order["order_id"] == order_id
    ]
    return [status for n, status in enumerate(told) if n == 0 or told[n - 1] != status]


def case_an_open_order_is_in_the_snapshot(target: Target) -> None:
    """Whoever comes later finds the open orders in the first message."""
    rest = over_tls(target, "pem")
    low = str(reference(rest) - 60 * TICK)
    placed = {accepted(rest.limit_order_gtc_buy(new_id(), BIP, "1", low)) for _ in range(3)}
    with listening(f"wss://{target.tls}", target, "pem", WSUserClient) as (own, heard):
        own.user([])
        eventually(heard.has("user"))
        event = heard.events("user")[0]
        assert placed <= {order["order_id"] for order in event["orders"]}
        order = next(o for o in event["orders"] if o["order_id"] in placed)
        assert ("Limit", "BUY", "1") == (
            order["order_type"],
            order["order_side"],
            order["leaves_quantity"],
        )
    rest.cancel_orders(list(placed))


def case_unsubscribing_ends_a_channel(target: Target) -> None:
    """The acknowledgement names what is left; nothing more comes."""
    with listening(f"ws://{target.plain}", target, "es256") as (client, heard):
        client.subscribe([BTC], ["ticker", "market_trades"])
        eventually(heard.has("ticker", "market_trades"))
        client.unsubscribe([BTC], ["ticker"])
        eventually(
            lambda: set(heard.events("subscriptions")[-1]["subscriptions"]) == {"market_trades"}
        )
        client.unsubscribe_all()
        eventually(lambda: heard.events("subscriptions")[-1]["subscriptions"] == {})
        count = len(heard.messages)
        client.sleep_with_exception_check(1)
        assert count == len(heard.messages)


def case_wrong_subscriptions_are_errors(target: Target) -> None:
    """A wrong product, channel or signature is answered with a message of type error."""
    with listening(f"ws://{target.plain}", target, "es256") as (client, heard):
        client.subscribe(["NO-SUCH"], ["ticker"])
        eventually(lambda: len(heard.problems) == 1)
        client.subscribe([BTC], ["no_such_channel"])
        eventually(lambda: len(heard.problems) == 2)
    listener = Listener()
    stranger = WSUserClient(
        api_key=target.keys["es256"].name,
        api_secret=target.keys["pem"].secret,
        base_url=f"ws://{target.plain}",
        on_message=listener,
        retry=False,
    )
    stranger.open()
    stranger.user([])
    eventually(lambda: bool(listener.problems))
    assert not listener.events("user")
    stranger.close()


def case_the_client_comes_back_after_a_drop(target: Target) -> None:
    """The SDK opens a new connection by itself and finds a new snapshot there."""
    heard: list[dict[str, Any]] = []
    client = WSClient(
        base_url=f"ws://{target.plain}", on_message=lambda text: heard.append(json.loads(text))
    )
    client.open()
    try:
        client.subscribe([BIP], ["level2"])
        eventually(lambda: any(message["channel"] == "l2_data" for message in heard))
        fault = {"on": "feed", "kind": "disconnect", "channel": "l2_data", "count": 1}
        target.admin("/faults", fault)
        eventually(lambda: [m["sequence_num"] for m in heard].count(0) == 2)
        eventually(
            lambda: (
                [m["events"][0]["type"] for m in heard if m["channel"] == "l2_data"].count(
                    "snapshot"
                )
                == 2
            )
        )
    finally:
        client.close()


async def case_the_asynchronous_methods(target: Target) -> None:
    """Each channel is opened and left by its own asynchronous methods."""
    listener = Listener()
    credentials = target.keys["es256"]
    client = WSClient(
        api_key=credentials.name,
        api_secret=credentials.secret,
        base_url=f"ws://{target.plain}",
        on_message=listener,
    )
    await client.open_async()
    public = ("level2", "ticker", "ticker_batch", "market_trades", "candles", "status")
    for channel in public:
        await getattr(client, f"{channel}_async")([BTC])
    await client.heartbeats_async()
    await client.user_async([BTC])
    await client.futures_balance_summary_async()
    await until(listener.has("l2_data", "ticker", "user", "heartbeats", "candles", "status"))
    for channel in (*public, "user"):
        await getattr(client, f"{channel}_unsubscribe_async")([BTC])
    await client.heartbeats_unsubscribe_async()
    await client.futures_balance_summary_unsubscribe_async()
    await until(lambda: listener.events("subscriptions")[-1]["subscriptions"] == {})
    await client.close_async()
    listener.check_sequence()
    assert [] == listener.problems


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; the case has its own limit."""
    while not condition():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0.02)
