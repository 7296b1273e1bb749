"""`kill -9` under load, again and again: what clients were told is there after the restart."""

import json
import resource
import secrets
import signal
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from services.paper_exchange.keys import KEY_FILE
from tests.fakes.processes import Service, free_port, running
from tests.services.paper_exchange import API, BIP, Key, gtc, wait_until

ROUNDS = 2
ACKNOWLEDGED = 40
"""Answers before the process is killed."""

SETTINGS = {
    "FLOW": "zero-intelligence",
    "RATE_LIMIT_PER_SECOND": "100000",
    "SNAPSHOT_RECORDS": "100",
    "STARTING_BALANCE": "10000000",
}


@dataclass
class Told:
    """What clients were told: accepted orders, successful cancels, and fills on the feed."""

    orders: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    filled: dict[str, int] = field(default_factory=dict)
    unanswered: list[dict[str, Any]] = field(default_factory=list)


class Client:
    """One API key's view of the exchange on a port."""

    def __init__(self, folder: Path, port: int) -> None:
        document = json.loads((folder / "exchange" / "keys" / KEY_FILE).read_text())
        self.key = Key(document["name"], document["privateKey"], "ES256")
        self.port = port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5, trust_env=False)

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send one signed request and return the JSON of its answer."""
        token = self.key.token(f"{method} 127.0.0.1:{self.port}{API}{path.partition('?')[0]}")
        answer = self.http.request(
            method,
            f"{API}{path}",
            headers={"Authorization": f"Bearer {token}"},
            content=json.dumps(body or {}).encode(),
        )
        assert answer.status_code == 200, answer.text
        shape: dict[str, Any] = answer.json()
        return shape

    def all_of(self, path: str, name: str) -> list[dict[str, Any]]:
        """Return all rows of a list, page by page."""
        rows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.call("GET", f"{path}?limit=250&cursor={cursor}")
            rows += page[name]
            cursor = page["cursor"]
            if not cursor:
                return rows

    def admin(self, path: str, body: object = None) -> dict[str, Any]:
        """Ask the administration, or tell it something."""
        answer = (
            self.http.get(f"/admin/{path}")
            if body is None
            else self.http.post(f"/admin/{path}", json=body)
        )
        shape: dict[str, Any] = answer.json()
        return shape


def trade(client: Client, told: Told, number: int) -> None:
    """Place orders near the market and cancel every third, until the exchange is gone."""
    place = 0
    while True:
        place += 1
        # Both sides, so that the two that trade meet one another and the flow.
        side = "BUY" if (place + number) % 2 else "SELL"
        price = "100200" if side == "BUY" else "99800"
        resting = "90000" if side == "BUY" else "110000"
        body: dict[str, Any] = {
            "client_order_id": secrets.token_hex(8),
            "product_id": BIP,
            "side": side,
            "order_configuration": gtc("2", resting if place % 3 == 0 else price),
        }
        try:
            answer = client.call("POST", "/orders", body)
        except httpx.HTTPError:
            told.unanswered.append(body)
            return
        order_id = answer["success_response"]["order_id"]
        told.orders[body["client_order_id"]] = order_id
        if place % 3 == 0:
            try:
                cancel = client.call("POST", "/orders/batch_cancel", {"order_ids": [order_id]})
            except httpx.HTTPError:
                return
            if cancel["results"][0]["success"]:
                told.cancelled.add(order_id)


def listen(client: Client, told: Told, listening: threading.Event) -> None:
    """Note what the user channel says of fills, until the exchange is gone."""
    subscription = {
        "type": "subscribe",
        "channel": "user",
        "product_ids": [BIP],
        "jwt": client.key.token(),
    }
    try:
        with connect(f"ws://127.0.0.1:{client.port}", close_timeout=0.2) as peer:
            peer.send(json.dumps(subscription))
            while True:
                message = json.loads(peer.recv(timeout=10))
                listening.set()
                for event in message["events"] if message["channel"] == "user" else ():
                    for order in event["orders"]:
                        filled = int(float(order["cumulative_quantity"]))
                        known = told.filled.get(order["order_id"], 0)
                        told.filled[order["order_id"]] = max(known, filled)
    except (WebSocketException, OSError, TimeoutError):
        return


def kill_under_load(folder: Path, told: Told, service: Service, port: int) -> None:
    """Trade with two clients and kill the process in the middle of it."""
    listening = threading.Event()
    threads = [
        threading.Thread(target=trade, args=(Client(folder, port), told, number))
        for number in range(2)
    ]
    listener = threading.Thread(target=listen, args=(Client(folder, port), told, listening))
    listener.start()
    assert listening.wait(10)
    goal = len(told.orders) + ACKNOWLEDGED
    for thread in threads:
        thread.start()
    wait_until(lambda: len(told.orders) >= goal, 20)
    service.process.send_signal(signal.SIGKILL)
    service.process.wait(10)
    for thread in (*threads, listener):
        thread.join(15)
        assert not thread.is_alive()


def check(client: Client, told: Told) -> None:
    """Compare what is there with what clients were told."""
    orders = {
        order["order_id"]: order for order in client.all_of("/orders/historical/batch", "orders")
    }
    fills = client.all_of("/orders/historical/fills", "fills")
    for client_order_id, order_id in told.orders.items():
        assert client_order_id == orders[order_id]["client_order_id"]
    for order_id in told.cancelled:
        assert orders[order_id]["status"] == "CANCELLED"
    for order_id, filled in told.filled.items():
        assert float(orders[order_id]["filled_size"]) >= filled
    by_order: dict[str, float] = {}
    for fill in fills:
        by_order[fill["order_id"]] = by_order.get(fill["order_id"], 0.0) + float(fill["size"])
    assert by_order == {
        order_id: float(order["filled_size"])
        for order_id, order in orders.items()
        if float(order["filled_size"])
    }
    assert len({fill["entry_id"] for fill in fills}) == len(fills)
    own = [order["client_order_id"] for order in orders.values()]
    assert len(set(own)) == len(own)
    for body in told.unanswered:
        # Sent again, it is the order that it was, or a new one; in any case there is one.
        answer = client.call("POST", "/orders", body)
        told.orders[body["client_order_id"]] = answer["success_response"]["order_id"]
        if body["client_order_id"] in own:
            assert answer["success_response"]["order_id"] in orders
    told.unanswered.clear()


def exchange(folder: Path, port: int, **changes: str) -> Any:
    """Run the exchange as a process."""
    environment = {**SETTINGS, **changes, "PORT": str(port)}
    return running(
        "paper_exchange",
        port,
        folder,
        {f"TOUCHSTONE_EXCHANGE_{name}": value for name, value in environment.items()},
    )


def until_it_answers(service: Service, port: int) -> None:
    """Return when the exchange takes connections; to knock costs next to nothing."""

    def answers() -> bool:
        assert service.process.poll() is None, service.log.read_text()[-2_000:]
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, 30)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """A folder whose exchange was killed under load several times, and what clients were told."""
    folder = tmp_path_factory.mktemp("exchange")
    told = Told()
    for _ in range(ROUNDS):
        port = free_port()
        with exchange(folder, port) as service:
            until_it_answers(service, port)
            check(Client(folder, port), told)
            kill_under_load(folder, told, service, port)
    return folder, told


def test_what_clients_were_told_survives(lived: tuple[Path, Told]) -> None:
    """Orders, cancels, fills: all that was acknowledged is there, and then stays as it is.

    With the flow paused nothing moves: after one more kill every order, fill, balance and book is
    the same. Then the disk is full: an order is refused with 503.
    """
    folder, told = lived
    port = free_port()
    with exchange(folder, port) as service:
        until_it_answers(service, port)
        client = Client(folder, port)
        check(client, told)
        recovery = client.admin("state")["store"]["recovery"]
        assert (False, True) == (recovery["begun"], recovery["records_replayed"] >= 0)
        client.admin("flow", {"paused": True})
        before = everything(client)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(10)
    port = free_port()
    with exchange(folder, port, SNAPSHOT_RECORDS="1000000") as service:
        until_it_answers(service, port)
        client = Client(folder, port)
        assert before == everything(client)
        fill_the_disk(service, folder)
        token = client.key.token(f"POST 127.0.0.1:{port}{API}/orders")
        body = {
            "client_order_id": "too late",
            "product_id": BIP,
            "side": "BUY",
            "order_configuration": gtc("1", "90000"),
        }
        refused = client.http.post(
            f"{API}/orders", json=body, headers={"Authorization": f"Bearer {token}"}
        )
        assert 503 == refused.status_code
        assert "File too large" in refused.text
        assert 503 == client.http.get("/readyz").status_code


def fill_the_disk(service: Service, folder: Path) -> None:
    """Let the process write no file beyond the journal's present size."""
    (path,) = sorted((folder / "exchange" / "state").glob("journal-*.log"))[-1:]
    limit = path.stat().st_size + 10
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (limit, limit))


def everything(client: Client) -> dict[str, Any]:
    """Return orders, fills, balances and books."""
    state = client.admin("state")
    return {
        "orders": client.all_of("/orders/historical/batch", "orders"),
        "fills": client.all_of("/orders/historical/fills", "fills"),
        "balances": {name: row["balance"] for name, row in state["accounts"].items()},
        "fees": state["fees_collected"],
        "books": {name: market["state_hash"] for name, market in state["markets"].items()},
        "paused": state["flow"]["paused"],
    }
