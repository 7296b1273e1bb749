"""Two accounts on one venue: whatever both do, neither is ever shown anything of the other."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from services.paper_exchange.shapes_orders import portfolio_uuid
from tests.services.paper_exchange import (
    BIP,
    BTC,
    Key,
    RunningExchange,
    gtc,
    running_exchange,
    write_ed25519_key,
)

KINDS = ("limit", "limit", "limit", "stop", "cancel", "edit", "close", "preview", "foreign")
PRIVATE_CHANNELS = ("user", "futures_balance_summary")
PUBLIC_CHANNELS = ("level2", "market_trades", "ticker", "heartbeats")
TOLD_SECONDS = 20

actions = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(KINDS),
        st.sampled_from((BIP, BTC)),
        st.sampled_from(("BUY", "SELL")),
        st.integers(-3, 3),
        st.integers(1, 3),
    ),
    min_size=4,
    max_size=12,
)


@dataclass
class Party:
    """An account as its owner knows it: its key, its connection, and what is its alone."""

    venue: RunningExchange
    account: str
    key: Key
    peer: Connection
    orders: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Send a request with this party's key."""
        return self.venue.call(method, path, body, key=self.key)

    def place(self, product_id: str, side: str, configuration: dict[str, Any]) -> None:
        """Place an order and remember its names."""
        name = str(uuid.uuid4())
        body = {
            "client_order_id": name,
            "product_id": product_id,
            "side": side,
            "order_configuration": configuration,
        }
        self.secrets.add(name)
        answer = self.call("POST", "/orders", body).json()
        if answer["success"]:
            self.orders.append(answer["success_response"]["order_id"])
            self.secrets.add(self.orders[-1])


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Party, Party]]:
    """Two accounts that listen to everything, on a venue where only they trade."""
    data_dir = tmp_path_factory.mktemp("exchange")
    keys = data_dir / "exchange" / "keys"
    held = {name: write_ed25519_key(keys, name, account=name) for name in ("alice", "bob")}
    with running_exchange(
        data_dir, flow="none", rate_limit_per_second=10_000, tick_seconds=0.01
    ) as venue:
        made = [
            Party(venue, name, key, connect(f"ws://{venue.host}", close_timeout=0.2))
            for name, key in held.items()
        ]
        for party in made:
            party.secrets.add(portfolio_uuid(party.account))
            for channel in PRIVATE_CHANNELS:
                ask = {"type": "subscribe", "channel": channel, "jwt": party.key.token()}
                party.peer.send(json.dumps(ask))
            for channel in PUBLIC_CHANNELS:
                party.peer.send(json.dumps({"type": "subscribe", "channel": channel}))
        yield made[0], made[1]
        for party in made:
            party.peer.close()


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=actions)
def test_nothing_of_one_account_reaches_the_other(
    parties: tuple[Party, Party], steps: list[tuple[Any, ...]]
) -> None:
    """No answer and no message to one holds an id or a balance of the other."""
    before = {party.account: len(party.orders) for party in parties}
    for first, kind, product_id, side, offset, size in steps:
        actor, other = parties if first else parties[::-1]
        act(actor, other, kind, product_id, side, offset, size)
    for party in parties:
        remember(party)
    for party, other in (parties, parties[::-1]):
        told = drain(party.peer, party.orders[before[party.account] :])
        for text in (*told, *own_answers(party)):
            shown = [secret for secret in other.secrets if secret in text]
            assert [] == shown, text
        look_for(party, other)


def act(
    actor: Party, other: Party, kind: str, product_id: str, side: str, offset: int, size: int
) -> None:
    """Do one thing; what is refused is fine."""
    base_size = str(size) if product_id == BIP else f"0.00{size}"
    price = str(100_000 + 5 * offset)
    orders = other.orders if kind == "foreign" else actor.orders
    order_id = orders[offset % len(orders)] if orders else "none"
    body: dict[str, Any]
    match kind:
        case "limit":
            actor.place(product_id, side, gtc(base_size, price))
        case "stop":
            stop = {
                "base_size": base_size,
                "limit_price": price,
                "stop_price": price,
                "stop_direction": f"STOP_DIRECTION_STOP_{'UP' if side == 'BUY' else 'DOWN'}",
            }
            actor.place(product_id, side, {"stop_limit_stop_limit_gtc": stop})
        case "cancel" | "foreign":
            actor.call("POST", "/orders/batch_cancel", {"order_ids": [order_id]})
        case "edit":
            body = {"order_id": order_id, "size": base_size, "price": price}
            actor.call("POST", "/orders/edit", body)
        case "close":
            body = {"client_order_id": str(uuid.uuid4()), "product_id": product_id}
            actor.call("POST", "/orders/close_position", body)
        case _:
            configuration = gtc(base_size, price)
            body = {"product_id": product_id, "side": side, "order_configuration": configuration}
            actor.call("POST", "/orders/preview", body)


def remember(party: Party) -> None:
    """Add to a party's secrets what its own answers say is its own."""
    for row in party.call("GET", "/orders/historical/batch?limit=250").json()["orders"]:
        party.secrets |= {row["order_id"], row["client_order_id"]}
    for row in party.call("GET", "/orders/historical/fills?limit=250").json()["fills"]:
        party.secrets.add(row["entry_id"])
    for row in party.call("GET", "/accounts").json()["accounts"]:
        party.secrets.add(row["uuid"])
    summary = party.call("GET", "/cfm/balance_summary").json()["balance_summary"]
    balance = summary["total_usd_balance"]["value"]
    if len(balance.partition(".")[2]) > 2:  # what fees left is nobody else's number
        party.secrets.add(balance)


def own_answers(party: Party) -> list[str]:
    """Return what every reading path says to a party, market data included."""
    uuids = portfolio_uuid(party.account)
    paths = [
        "/accounts",
        "/portfolios",
        f"/portfolios/{uuids}",
        "/key_permissions",
        "/transaction_summary",
        "/payment_methods",
        f"/intx/portfolio/{uuids}",
        f"/intx/positions/{uuids}",
        f"/intx/positions/{uuids}/{BTC}",
        f"/intx/balances/{uuids}",
        "/cfm/balance_summary",
        "/cfm/positions",
        f"/cfm/positions/{BIP}",
        "/cfm/sweeps",
        "/cfm/intraday/margin_setting",
        "/orders/historical/batch?limit=250",
        "/orders/historical/fills?limit=250",
        "/products",
        f"/products/{BIP}/ticker",
        f"/product_book?product_id={BIP}",
        "/best_bid_ask",
        "/market/products",
    ]
    return [party.call("GET", path).text for path in paths]


def look_for(party: Party, other: Party) -> None:
    """Ask for what belongs to the other: the answers are those for what does not exist."""
    order_id = other.orders[-1] if other.orders else str(uuid.uuid4())
    for theirs in (order_id, portfolio_uuid(other.account)):
        nobody = str(uuid.uuid4())
        for method, path, body in (
            ("GET", "/orders/historical/{}", None),
            ("GET", "/orders/historical/batch?order_ids={}", None),
            ("GET", "/orders/historical/fills?order_ids={}", None),
            ("GET", "/accounts/{}", None),
            ("GET", "/portfolios/{}", None),
            ("PUT", "/portfolios/{}", {"name": "mine"}),
            ("DELETE", "/portfolios/{}", None),
            ("GET", "/intx/portfolio/{}", None),
            ("GET", "/intx/positions/{}", None),
            ("GET", "/intx/balances/{}", None),
            ("POST", "/orders/batch_cancel", {"order_ids": ["{}"]}),
            ("POST", "/orders/edit", {"order_id": "{}", "price": "100000", "size": "1"}),
            ("POST", "/orders/edit_preview", {"order_id": "{}", "price": "100000", "size": "1"}),
        ):
            answers = []
            for name in (theirs, nobody):
                asked = json.loads(json.dumps(body).replace("{}", name))
                answer = party.call(method, path.replace("{}", name), asked)
                answers.append((answer.status_code, answer.text.replace(name, "ID")))
            assert answers[0] == answers[1], path


def drain(peer: Connection, order_ids: Sequence[str]) -> list[str]:
    """Return every message that has come so far, once each of these orders is in one."""
    messages: list[str] = []
    untold = set(order_ids)
    give_up_at = time.monotonic() + TOLD_SECONDS
    while True:
        try:
            messages.append(str(peer.recv(timeout=0.05)))
        except TimeoutError:
            if not untold:
                return messages
            assert time.monotonic() < give_up_at, f"not told of {untold}"
        else:
            untold = {order_id for order_id in untold if order_id not in messages[-1]}
