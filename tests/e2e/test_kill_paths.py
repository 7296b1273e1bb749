"""Every way to stop trading, with real processes: what goes, what stays, what the exit code says.

One exchange, one Redis and, but for its crash and its end, one gateway serve the module.
"""

import contextlib
import io
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from tests.fakes.processes import (
    Service,
    free_port,
    order_gateway,
    paper_exchange,
    watchdog,
)
from tests.fakes.venue_client import VenueHand, make_key
from touchstone.cli.app import app
from touchstone.cli.emergency_close import main
from touchstone.kit.redis_server import RedisServer, running_redis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

BTC = "BIP-20DEC30-CDE"
API_TOKEN = "hush-api-token-0123456789"
WRONG_TOKEN = "hush-wrong-token"
REDIS_PASSWORD = "hush-redis-password"
ORDER = {"symbol": "BTC-PERP", "side": "BUY", "quantity": "0.01", "type": "MARKET"}


@dataclass
class House:
    """Exchange, Redis and a hand at the account, all below one folder."""

    folder: Path
    exchange: Service
    redis: RedisServer
    redis_url: str
    hand: VenueHand

    @property
    def venue_port(self) -> int:
        """The exchange's port."""
        return int(self.exchange.url.rsplit(":", 1)[1])

    def resting(self) -> set[str]:
        """Return the client ids that may still trade at the venue."""
        return {order.client_order_id for order in self.hand.orders()}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One exchange and one Redis for the module."""
    folder = tmp_path_factory.mktemp("house")
    key = make_key(folder, "hand")
    with (
        paper_exchange(
            folder, rate_limit_per_second="1000", flow_rate="0.2", extra_keys='["watchdog"]'
        ) as exchange,
        running_redis(folder / "redis") as redis,
    ):
        with Redis.from_url(redis.url) as client:
            client.config_set("requirepass", REDIS_PASSWORD)
        url = redis.url.replace("://", f"://:{REDIS_PASSWORD}@")
        yield House(folder, exchange, redis, url, VenueHand(exchange.url, key))


@pytest.fixture(scope="module")
def shared_gateway(house: House) -> Iterator[Service]:
    """One gateway for the tests that do not end it."""
    with order_gateway(
        house.folder, house.redis_url, house.venue_port, api_token=API_TOKEN
    ) as made:
        made.wait_until("/readyz", status="ready")
        yield made


@pytest.fixture
def gateway(house: House, shared_gateway: Service) -> Iterator[Service]:
    """The gateway, ACTIVE, over an account with nothing in it."""
    _arm(shared_gateway)
    yield shared_gateway
    code, told = emergency(house, "--url", f"http://127.0.0.1:{free_port()}")
    assert (code, told["flat"]) == (0, True)


def _arm(gateway: Service) -> None:
    """Open the kill switch again after an earlier test."""
    for state in ("REDUCE_ONLY", "ACTIVE"):
        shown = gateway.call("GET", "/v1/kill-switch").json()
        for scope in shown["scopes"]:
            if scope["state"] in ("ACTIVE", state):
                continue
            body = {"state": state, "scope": scope["scope"], "reason": "next test"}
            body["expected_generation"] = scope["generation"]
            answer = gateway.call("POST", "/v1/kill-switch", json=body)
            assert answer.status_code == 200, answer.text
    assert gateway.call("GET", "/v1/kill-switch").json()["state"] == "ACTIVE"


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> float:
    """Return how long it took until `condition()` held; fail after `seconds`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, what
        time.sleep(0.05)
    return time.monotonic() - started


def place(gateway: Service, key: str, **terms: Any) -> dict[str, Any]:
    """Place an order through the gateway; fail where it is not taken."""
    answer = gateway.call("POST", "/v1/orders", json=ORDER | {"client_order_id": key} | terms)
    assert answer.status_code in (200, 201, 202), answer.text
    order: dict[str, Any] = answer.json()["order"]
    return order


def status(gateway: Service, key: str) -> str:
    """Return the state of an order as the gateway has it."""
    return str(gateway.call("GET", f"/v1/orders/{key}").json()["order"]["status"])


def furnish(house: House, gateway: Service, prefix: str) -> set[str]:
    """Open a position with an entry, a stop at the venue and one held here.

    Returns:
        The client ids that should be left at the venue when the entries are gone.
    """
    place(gateway, f"{prefix}-open", quantity="0.02")
    until(
        lambda: float(gateway.call("GET", "/v1/positions").json()["positions"][0]["quantity"]) > 0,
        "the position is booked",
    )
    low = float(house.hand.price(BTC, "0.8"))
    place(gateway, f"{prefix}-entry", type="LIMIT", limit_price=low, post_only=True)
    stop = {"side": "SELL", "quantity": "0.01", "reduce_only": True, "stop_price": low}
    place(gateway, f"{prefix}-stop", type="STOP_LIMIT", limit_price=low, **stop)
    place(gateway, f"{prefix}-armed", type="STOP", **stop)
    until(
        lambda: {f"{prefix}-entry", f"{prefix}-stop"} <= house.resting(),
        "entry and stop rest at the venue",
    )
    assert status(gateway, f"{prefix}-armed") == "armed"
    return {f"{prefix}-stop"}


def emergency(house: House, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the emergency close in this process; return its exit code and its JSON."""
    key = house.folder / "exchange" / "keys" / "hand.json"
    words = ["--confirm", "--json", "--key-file", str(key), "--venue-url", house.exchange.url]
    words += ["--redis-url", house.redis_url, "--data-dir", str(house.folder), *options]
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        code = main(words)
    return code, json.loads(text.getvalue())


def test_reduce_only_stops_entries_and_keeps_the_stops(house: House, gateway: Service) -> None:
    """Acknowledged, then no entry leaves; the resting entry goes; both stops stay."""
    kept = furnish(house, gateway, "ro")
    answer = gateway.call("POST", "/reduce-only").json()
    assert (answer["state"], answer["acked"]) == ("REDUCE_ONLY", answer["generation"])
    refused = gateway.call("POST", "/v1/orders", json=ORDER)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "REDUCE_ONLY")
    until(lambda: house.resting() == kept, "only the stop is left")
    assert status(gateway, "ro-armed") == "armed"


def test_the_kill_of_one_symbol_leaves_the_other_open(house: House, gateway: Service) -> None:
    """`touchstone kill --scope symbol:BTC-PERP`: acknowledged; ETH goes on trading."""
    words = ["kill", "--scope", "symbol:BTC-PERP", "--reason", "test", "--confirm", "--json"]
    words += ["--url", gateway.url, "--data-dir", str(house.folder)]
    done = CliRunner().invoke(app, words)
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["scope"]) == (0, "symbol:BTC-PERP")
    assert answer["acked"] == answer["generation"]
    assert len(answer["acks"]) == 1
    refused = gateway.call("POST", "/v1/orders", json=ORDER).json()
    assert refused["error"]["code"] == "HALTED"
    place(gateway, "eth", symbol="ETH-PERP", quantity="0.1")


def test_emergency_close_beside_a_live_gateway(house: House, gateway: Service) -> None:
    """The gateway is halted first, then the venue is emptied under it; exit code 0."""
    furnish(house, gateway, "em")
    code, told = emergency(house, "--url", gateway.url)
    assert (code, told["flat"]) == (0, True)
    assert told["halted"]["gateway"] == "HALTED (acknowledged)"
    assert (house.hand.orders(), house.hand.positions()) == ([], {})
    refused = gateway.call("POST", "/v1/orders", json=ORDER).json()
    assert refused["error"]["code"] == "HALTED"


def test_the_watchdog_fires_for_a_stopped_gateway_and_not_for_a_dead_redis(
    house: House, gateway: Service
) -> None:
    """Redis paused: nothing. Gateway paused: entries go, stops stay. Back: armed again."""
    kept = furnish(house, gateway, "dog")
    key = house.folder / "exchange" / "keys" / "watchdog.json"
    # Long enough for a machine that is busy, whose gateway answers late.
    settings = {"silence_seconds": "4", "poll_seconds": "0.1"}
    with watchdog(
        house.folder, house.redis_url, gateway.url, house.exchange.url, key, **settings
    ) as dog:
        dog.wait_until("/readyz", status="ready")
        house.redis.process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        house.redis.process.send_signal(signal.SIGCONT)
        assert sample(dog, "watchdog_fired_total") == 0
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: house.resting() == kept, "only the stop is left")
            until(lambda: sample(dog, "watchdog_orders_cancelled_total") == 1, "it counts")
            assert sample(dog, "watchdog_armed") == 0
        finally:
            gateway.process.send_signal(signal.SIGCONT)
        until(lambda: sample(dog, "watchdog_armed") == 1, "it is armed again")
        until(
            lambda: status(gateway, "dog-entry") == "cancelled",
            "the gateway finds its entry cancelled",
            60,
        )
        assert status(gateway, "dog-armed") == "armed"
        lines = (house.folder / "watchdog" / "events.jsonl").read_text().splitlines()
        told = [json.loads(line)["type"] for line in lines]
        assert told == ["watchdog_fired", "watchdog_cancelled", "watchdog_done", "watchdog_armed"]
        assert sample(gateway, "gateway_watchdog_age_seconds") < 2
        assert dog.stop() == 0


def test_close_all_goes_on_after_a_crash_and_sigterm_keeps_the_stops(
    house: House, gateway: Service
) -> None:
    """Killed in the middle: the next start makes the venue flat. SIGTERM: entries go, exit 0.

    After all of this no key material, token, password or JWT is anywhere but in the key files.
    """
    furnish(house, gateway, "flat")
    path, body = "/v1/positions/close-all", {"confirm": True, "reason": "test"}
    assert gateway.call("POST", path, json={"reason": "x"}).status_code == 400
    answer = gateway.call("POST", path, json=body)
    assert answer.status_code == 202
    run = answer.json()["run"]
    gateway.stop(signal.SIGKILL)
    with order_gateway(house.folder, house.redis_url, house.venue_port) as second:
        second.wait_until("/readyz", status="ready")
        told = second.wait_until(path, phase="FLAT")
        assert (told["run"], told["resumed"]) == (run, True)
        assert (told["orders_left"], told["positions_left"]) == (0, {})
        assert (house.hand.orders(), house.hand.positions()) == ([], {})
        assert second.call("GET", "/v1/kill-switch").json()["state"] == "REDUCE_ONLY"
        again = second.call("POST", path, json=body).json()
        assert again["run"] == run + 2
        assert second.wait_until(path, phase="FLAT")["closes"] == 0
        _arm(second)
        kept = furnish(house, second, "term")
        answers = error_answers(second)
        assert second.stop() == 0
        assert house.resting() == kept
    assert secrets_in(house, answers) == []
    assert secrets_in(house, [f"planted: {API_TOKEN}"]) == [("answer 0", API_TOKEN[:12])]


def sample(service: Service, name: str) -> float:
    """Return the value of a metric without labels."""
    for line in service.call("GET", "/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise AssertionError(f"no {name}")


def error_answers(gateway: Service) -> list[str]:
    """Return what the gateway answers to wrong tokens and wrong bodies, and what it shows."""
    wrong = {"Authorization": f"Bearer {WRONG_TOKEN}"}
    return [
        gateway.call("POST", "/reduce-only", headers=wrong | {"Host": "elsewhere"}).text,
        gateway.call("POST", "/v1/orders", json={"symbol": 1}, headers=wrong).text,
        gateway.call("GET", "/v1/orders/none", headers=wrong).text,
        gateway.call("GET", "/v1/events?limit=1000").text,
        gateway.call("GET", "/readyz").text,
        gateway.call("GET", "/v1/kill-switch").text,
        gateway.call("GET", "/metrics").text,
    ]


def secrets_in(house: House, answers: list[str]) -> list[tuple[str, str]]:
    """Return (place, beginning of the secret) for each secret in an answer or a file."""
    keys = (house.folder / "exchange" / "keys").glob("*.json")
    pems = [json.loads(path.read_text())["privateKey"] for path in keys]
    assert len(pems) == 3
    material = [line for pem in pems for line in pem.splitlines() if line and "---" not in line]
    # The last is how the head of every JWT begins.
    secrets = [*material, API_TOKEN, WRONG_TOKEN, REDIS_PASSWORD, "PRIVATE KEY", "eyJhbGciOi"]
    places = {f"answer {number}": text for number, text in enumerate(answers)}
    for path in house.folder.rglob("*"):
        if path.is_file() and path.parent.name != "keys":
            places[str(path.relative_to(house.folder))] = path.read_bytes().decode(errors="replace")
    names = " ".join(places)
    for kind in ("order_gateway-", "watchdog-", "paper_exchange-", "events.jsonl", "events.db"):
        assert kind in names, f"{kind} was not looked at"
    return [
        (place, secret[:12])
        for place, text in places.items()
        for secret in secrets
        if secret in text
    ]
