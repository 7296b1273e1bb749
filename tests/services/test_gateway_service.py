"""The gateway as a process, against a real Redis and the paper exchange as a process."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.processes import ROOT, Service, free_port, order_gateway, paper_exchange, running
from touchstone.kit.redis_server import RedisServer, running_redis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder that exchange and gateway share."""
    return tmp_path_factory.mktemp("house")


@pytest.fixture(scope="module")
def exchange(folder: Path) -> Iterator[Service]:
    """One paper exchange for the module."""
    with paper_exchange(folder) as made:
        yield made


@pytest.fixture
def gateway(
    folder: Path, exchange: Service, own_redis: RedisServer, tmp_path: Path
) -> Iterator[Service]:
    """A ready gateway with a store of its own over the module's exchange."""
    key_file = folder / "exchange" / "keys" / "cdp_api_key.json"
    with order_gateway(
        tmp_path, own_redis.url, port_of(exchange), api_key_file=str(key_file)
    ) as made:
        made.wait_until("/readyz", status="ready")
        yield made


def port_of(service: Service) -> int:
    """Return a service's port."""
    return int(service.url.rsplit(":", 1)[1])


def order(**terms: Any) -> dict[str, Any]:
    """Return the body of a small market buy, with changes."""
    return {"symbol": "BTC-PERP", "side": "BUY", "quantity": "0.01", "type": "MARKET", **terms}


def resting(service: Service, key: str, **terms: Any) -> dict[str, Any]:
    """Return the body of a post-only buy far below the market."""
    rows = service.call("GET", "/v1/positions").json()["positions"]
    mark = float(rows[0]["mark_price"])
    price = int(mark * 0.95) // 5 * 5
    return order(client_order_id=key, type="LIMIT", limit_price=price, post_only=True, **terms)


def submit(service: Service, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Post an order and return status and answer."""
    response = service.call("POST", "/v1/orders", json=body)
    return response.status_code, response.json()


def test_orders_fill_rest_repeat_and_cancel(gateway: Service) -> None:
    """The main way: market filled, post-only rests, a repeat is the same order, cancel works."""
    before = float(positions(gateway)["quantity"])
    status, answer = submit(gateway, order())
    assert (status, answer["order"]["status"]) == (201, "filled")
    assert float(positions(gateway)["quantity"]) == pytest.approx(before + 0.01)
    body = resting(gateway, "rest")
    status, answer = submit(gateway, body)
    assert (status, answer["repeated"]) == (201, False)
    assert answer["order"]["status"] in ("submitted", "open")
    status, answer = submit(gateway, body)
    assert (status, answer["repeated"]) == (200, True)
    status, answer = submit(gateway, body | {"quantity": "0.02"})
    assert (status, answer["error"]["code"]) == (409, "DUPLICATE_CLIENT_ORDER_ID")
    moved = gateway.call("PATCH", "/v1/orders/rest", json={"quantity": "0.02"})
    assert (moved.status_code, moved.json()["original"]["status"]) == (200, "cancelled")
    assert moved.json()["order"]["client_order_id"] == "rest.r1"
    again = gateway.call("PATCH", "/v1/orders/rest", json={"quantity": "0.02"})
    assert (again.status_code, again.json()["order"]["quantity"]) == (200, "0.02")
    other = gateway.call("PATCH", "/v1/orders/rest", json={"quantity": "0.03"})
    assert other.status_code == 409
    gone = gateway.call("DELETE", "/v1/orders/rest.r1")
    assert (gone.status_code, gone.json()["order"]["status"]) == (200, "cancelled")
    assert gateway.call("DELETE", "/v1/orders/rest.r1").status_code == 409
    assert gateway.call("DELETE", "/v1/orders/none").status_code == 404
    shown = gateway.call("GET", "/v1/orders?status=cancelled").json()["orders"]
    assert [row["client_order_id"] for row in shown] == ["rest.r1", "rest"]
    pnl = gateway.call("GET", "/v1/pnl").json()
    assert float(pnl["fees"]) > 0
    metrics = gateway.call("GET", "/metrics").text
    assert 'gateway_orders_total{outcome="filled",symbol="BTC-PERP"} 1.0' in metrics
    assert "gateway_order_defects_total 0.0" in metrics


def positions(service: Service) -> dict[str, Any]:
    """Return the BTC-PERP row of the positions."""
    row: dict[str, Any] = service.call("GET", "/v1/positions").json()["positions"][0]
    return row


@pytest.mark.parametrize(
    ("terms", "status", "code"),
    [
        ({"quantity": "0.015"}, 422, "QUANTITY_INCREMENT"),
        ({"quantity": "5"}, 422, "ORDER_NOTIONAL"),
        ({"symbol": "DOGE-PERP"}, 422, "UNKNOWN_SYMBOL"),
        (
            {"reduce_only": True, "side": "SELL", "quantity": "0.5"},
            409,
            "REDUCE_ONLY_WOULD_INCREASE",
        ),
        (
            {"type": "LIMIT", "limit_price": 1_000_000, "post_only": True},
            422,
            "POST_ONLY_WOULD_CROSS",
        ),
        (
            {
                "type": "LIMIT",
                "limit_price": 60_000,
                "time_in_force": "GTD",
                "expires_at": "2020-01-01T00:00:00Z",
            },
            422,
            "EXPIRED",
        ),
        (
            {"type": "STOP", "side": "SELL", "stop_price": 10, "reduce_only": True, "quantity": 1},
            409,
            "REDUCE_ONLY_WOULD_INCREASE",
        ),
        ({"type": "LIMIT", "limit_price": 10, "time_in_force": "DAY"}, 400, "INVALID_ARGUMENT"),
        ({"type": "STOP_LIMIT", "limit_price": 10}, 400, "INVALID_ARGUMENT"),
        ({"type": "STOP_LIMIT", "limit_price": 10, "stop_price": 20}, 400, "INVALID_ARGUMENT"),
        ({"type": "STOP"}, 400, "INVALID_ARGUMENT"),
        ({"reduceOnly": True}, 400, "INVALID_ARGUMENT"),
        ({"quantity": "NaN"}, 400, "INVALID_ARGUMENT"),
        ({"quantity": "1e-400"}, 400, "INVALID_ARGUMENT"),
        ({"quantity": True}, 400, "INVALID_ARGUMENT"),
        ({"type": "LIMIT"}, 400, "INVALID_ARGUMENT"),
        ({"limit_price": 5}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_refusals_say_which_rule(
    gateway_of_module: Service, terms: dict[str, Any], status: int, code: str
) -> None:
    """Each wrong order is refused by the right rule under the right status."""
    found, answer = submit(gateway_of_module, order(**terms))
    assert (found, answer["error"]["code"]) == (status, code)


@pytest.fixture(scope="module")
def gateway_of_module(folder: Path, exchange: Service) -> Iterator[Service]:
    """One gateway for the tests that change nothing."""
    with (
        running_redis(folder / "redis") as server,
        order_gateway(folder, server.url, port_of(exchange)) as made,
    ):
        made.wait_until("/readyz", status="ready")
        yield made


def test_a_stop_waits_here_is_set_off_and_a_close_leaves_nothing(gateway: Service) -> None:
    """Armed below the market, moved above it, sold at once; then everything is closed."""
    submit(gateway, order(quantity="0.05"))
    stop = {
        "client_order_id": "stop",
        "side": "SELL",
        "quantity": "0.02",
        "type": "STOP",
        "stop_price": "20000",
        "reduce_only": True,
    }
    status, answer = submit(gateway, order(**stop))
    assert (status, answer["order"]["status"]) == (201, "armed")
    moved = gateway.call("PATCH", "/v1/orders/stop", json={"stop_price": "1000000"})
    assert moved.status_code == 200
    deadline = time.monotonic() + 20
    while gateway.call("GET", "/v1/orders/stop.r1").json()["order"]["status"] != "filled":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    submit(gateway, resting(gateway, "rest"))
    closed = gateway.call("POST", "/v1/positions/BTC-PERP/close", json={"request_id": "end"})
    assert (closed.status_code, closed.json()["flat"]) == (200, True)
    assert positions(gateway)["quantity"] == "0"


def known_state(gateway: Service) -> str:
    """Return the kill switch's state once it is known: a slow Redis closes it for a moment."""
    for _ in range(100):
        shown = gateway.call("GET", "/v1/kill-switch").json()
        if shown["known"]:
            break
        time.sleep(0.1)
    return str(shown["state"])


def test_strangers_and_web_pages_change_nothing(gateway_of_module: Service) -> None:
    """Another site's page, or a name that is not ours, is refused although it is loopback."""
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://["},
    ):
        response = gateway_of_module.call("POST", "/reduce-only", headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (
            403,
            "PERMISSION_DENIED",
        )
    assert known_state(gateway_of_module) == "ACTIVE"


def test_bodies_that_cannot_be_taken_are_named(gateway_of_module: Service) -> None:
    """Of unknown length, too large, not said to be JSON: each is refused in words that help."""
    send = gateway_of_module.call
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = send("POST", "/v1/kill-switch", content='{"state": "HALTED"}', headers=form)
    assert (answer.status_code, "application/json" in answer.text) == (415, True)
    answer = send(
        "POST", "/v1/orders", content=b" " * 1_000_000, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, "content-length" in answer.text) == (413, True)
    answer = send("POST", "/v1/orders", content=iter([b"{", b"}"]))
    assert (answer.status_code, "content-length" in answer.text) == (400, True)
    assert known_state(gateway_of_module) == "ACTIVE"


def test_an_order_at_an_absurd_price_can_be_shown(gateway: Service) -> None:
    """Fifteen digits before the point and fifteen after are still one answer."""
    assert submit(gateway, order(symbol="ETH-PERP", quantity="0.1"))[0] == 201
    far = order(symbol="ETH-PERP", quantity="0.1", side="SELL", type="LIMIT", reduce_only=True)
    far |= {"client_order_id": "far", "limit_price": "99999999999999.5"}
    assert submit(gateway, far)[1]["order"]["limit_price"] == "99999999999999.5"
    assert gateway.call("GET", "/v1/orders").status_code == 200
    gateway.call("DELETE", "/v1/orders/far")


def test_active_needs_a_venue_that_is_in_step_now(own_redis: RedisServer, tmp_path: Path) -> None:
    """Reconciled once and then lost: the switch cannot be opened until the venue is back."""
    with paper_exchange(tmp_path) as venue:
        settings = {"orders_reconcile_seconds": "0.2", "positions_reconcile_seconds": "0.2"}
        with order_gateway(tmp_path, own_redis.url, port_of(venue), **settings) as made:
            made.wait_until("/readyz", status="ready")
            made.call("POST", "/reduce-only")
            venue.stop()
            deadline = time.monotonic() + 10
            while made.call("GET", "/readyz").json()["checks"]["venue"]["ok"]:
                assert time.monotonic() < deadline
            loosen = {"state": "ACTIVE", "reason": "hope", "expected_generation": 2}
            answer = made.call("POST", "/v1/kill-switch", json=loosen)
            assert (answer.status_code, "not allowed yet" in answer.text) == (409, True)


def test_the_kill_switch_from_curl_to_the_venue_and_back(gateway: Service) -> None:
    """Reduce-only cancels the entry and refuses the next; loosening takes its conditions."""
    submit(gateway, order())
    submit(gateway, resting(gateway, "entry"))
    answer = gateway.call("POST", "/reduce-only").json()
    assert (answer["state"], answer["persisted"], answer["generation"]) == ("REDUCE_ONLY", True, 2)
    status, refused = submit(gateway, order())
    assert (status, refused["error"]["code"]) == (409, "REDUCE_ONLY")
    gateway.wait_until("/v1/kill-switch", state="REDUCE_ONLY", persisted=True)
    deadline = time.monotonic() + 5
    while gateway.call("GET", "/v1/orders/entry").json()["order"]["status"] != "cancelled":
        assert time.monotonic() < deadline
    reducing = order(side="SELL", reduce_only=True)
    assert submit(gateway, reducing)[0] == 201
    loosen = {"state": "ACTIVE", "reason": "test over", "expected_generation": 2}
    path = "/v1/kill-switch"
    assert gateway.call("POST", path, json={"state": "ACTIVE"}).status_code == 400
    assert gateway.call("POST", path, json=loosen | {"expected_generation": 1}).status_code == 409
    assert gateway.call("POST", path, json=loosen).json()["state"] == "ACTIVE"
    assert submit(gateway, order())[0] == 201


def test_a_killed_redis_closes_the_gate(gateway: Service, own_redis: RedisServer) -> None:
    """Within its limit the gateway refuses new risk, and still can be told to close further."""
    own_redis.process.kill()
    deadline = time.monotonic() + 2
    status, answer = submit(gateway, order())
    while status != 503:
        assert time.monotonic() < deadline
        status, answer = submit(gateway, order())
    assert answer["error"]["code"] == "CONTROL_STATE_UNKNOWN"
    assert "s old" in answer["error"]["message"]
    halted = gateway.call("POST", "/v1/kill-switch", json={"state": "HALTED", "reason": "fire"})
    assert (halted.json()["state"], halted.json()["persisted"]) == ("HALTED", False)
    ready = gateway.call("GET", "/readyz")
    assert ready.json()["checks"]["redis"]["ok"] is False


def test_sigterm_cancels_entries_and_exits_with_0(
    gateway: Service, exchange: Service, tmp_path: Path
) -> None:
    """A drained gateway leaves no entry behind, and its journal says so."""
    assert submit(gateway, resting(gateway, "drained"))[1]["order"]["status"] == "open"
    started = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - started < 10
    assert exchange.process.poll() is None
    assert "Traceback" not in gateway.log.read_text()
    with sqlite3.connect(tmp_path / "gateway" / "events.db") as journal:
        rows = journal.execute("SELECT client_order_id, status FROM orders").fetchall()
    assert rows == [("drained", "cancelled")]


def test_an_order_survives_kill_9_and_the_switch_stays_thrown(
    folder: Path, exchange: Service, own_redis: RedisServer, tmp_path: Path
) -> None:
    """Killed hard with a resting order: the next start finds it, and does not re-arm."""
    key = str(folder / "exchange" / "keys" / "cdp_api_key.json")
    with order_gateway(tmp_path, own_redis.url, port_of(exchange), api_key_file=key) as first:
        first.wait_until("/readyz", status="ready")
        submit(first, order(quantity="0.02"))
        body = resting(first, "protect")
        # Reducing, so that the switch keeps it.
        body |= {"side": "SELL", "limit_price": body["limit_price"] * 2, "reduce_only": True}
        assert submit(first, body)[0] == 201
        first.call("POST", "/reduce-only")
        first.stop(signal.SIGKILL)
    with order_gateway(tmp_path, own_redis.url, port_of(exchange), api_key_file=key) as second:
        second.wait_until("/readyz", status="ready")
        assert second.call("GET", "/v1/kill-switch").json()["state"] == "REDUCE_ONLY"
        shown = second.call("GET", "/v1/orders/protect").json()["order"]
        assert shown["status"] == "open"
        assert second.call("DELETE", "/v1/orders/protect").status_code == 200


def test_it_starts_without_venue_and_recovers_by_itself(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    """Venue down: alive, not ready and saying why, orders refused; up: ready without a hand."""
    venue_port = free_port()
    with order_gateway(tmp_path, own_redis.url, venue_port) as made:
        ready = made.call("GET", "/readyz")
        assert ready.status_code == 503
        assert "venue" in {name for name, c in ready.json()["checks"].items() if not c["ok"]}
        made.wait_until("/v1/kill-switch", state="ACTIVE")
        status, answer = submit(made, order())
        assert (status, answer["error"]["code"]) == (503, "NOT_RECONCILED")
        with paper_exchange(tmp_path, venue_port):
            made.wait_until("/readyz", status="ready")
            assert submit(made, order())[0] == 201


def test_a_token_is_needed_from_elsewhere() -> None:
    """The guard in front of the app: loopback, or the token; nothing else."""
    import asyncio  # noqa: PLC0415 - only here

    from starlette.responses import PlainTextResponse  # noqa: PLC0415 - only here

    from services.order_gateway.guard import MutationGuard  # noqa: PLC0415 - only here

    async def ask(client: str, headers: dict[str, str], token: str | None) -> int:
        app = MutationGuard(PlainTextResponse("ok"), token=token)
        transport = httpx.ASGITransport(app=app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway:8080") as caller:
            return (await caller.post("/reduce-only", headers=headers)).status_code

    secret = "x" * 20
    bearer = {"Authorization": f"Bearer {secret}"}
    assert asyncio.run(ask("172.17.0.1", {}, None)) == 403
    assert asyncio.run(ask("172.17.0.1", {}, secret)) == 403
    assert asyncio.run(ask("172.17.0.1", {"Authorization": "Bearer y"}, secret)) == 403
    assert asyncio.run(ask("172.17.0.1", bearer, secret)) == 200
    assert asyncio.run(ask("127.0.0.1", {}, secret)) == 403
    assert asyncio.run(ask("127.0.0.1", {"Host": "localhost:8080"}, secret)) == 200


@pytest.mark.parametrize(
    ("environment", "code", "line"),
    [
        ({"TOUCHSTONE_GATEWAY_PROT": "1"}, 2, "TOUCHSTONE_GATEWAY_PROT"),
        ({"TOUCHSTONE_GATEWAY_PORT": "http"}, 2, "TOUCHSTONE_GATEWAY_PORT"),
        ({"DATABASE_URL": "mysql://a:secret@b/c"}, 2, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://a:secret@127.0.0.1:1/c"}, 1, "event store"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    tmp_path: Path, environment: dict[str, str], code: int, line: str
) -> None:
    """No traceback, no secret, and an exit code that says whose fault it is."""
    done = subprocess.run(
        [sys.executable, "-m", "services.order_gateway"],
        cwd=ROOT,
        env={**os.environ, "TOUCHSTONE_DATA_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    plain = [row for row in done.stderr.splitlines() if not row.startswith("{")]
    assert (done.returncode, len(plain)) == (code, 1), done.stderr
    assert line in plain[0]
    assert "secret" not in done.stderr


def test_a_second_gateway_on_the_same_journal_is_refused(gateway: Service, tmp_path: Path) -> None:
    """One journal has one gateway."""
    environment = {"TOUCHSTONE_GATEWAY_PORT": str(free_port())}
    with running("order_gateway", 1, tmp_path, environment) as second:
        assert second.process.wait(timeout=40) == 1
        assert "another gateway already uses" in second.log.read_text()
    assert gateway.call("GET", "/healthz").status_code == 200
