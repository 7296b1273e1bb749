"""`/admin` about keeping and latency, over real HTTP, and an exchange in memory only."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.paper_exchange import BIP, RunningExchange, gtc, running_exchange

LIMITS = {"rate_limit_per_second": 1_000, "public_rate_limit_per_second": 1_000}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """An exchange that keeps what happens."""
    with running_exchange(tmp_path_factory.mktemp("exchange"), flow="none", **LIMITS) as running:
        yield running


def admin(venue: RunningExchange, path: str, body: object = None) -> httpx.Response:
    """Ask the administration, or tell it something."""
    url = f"http://{venue.host}/admin/{path}"
    return venue.client.get(url) if body is None else venue.client.post(url, json=body)


def test_state_says_how_it_is_kept(venue: RunningExchange) -> None:
    """Journal, snapshot, recovery and the speed achieved are in the state and in the metrics."""
    before = admin(venue, "state").json()["store"]["journal"]["records"]
    venue.create()
    state = admin(venue, "state").json()
    store = state["store"]
    assert state["durable"]
    assert before < store["journal"]["records"] == store["journal"]["records_since_snapshot"]
    assert 0 < store["journal"]["bytes"]
    assert 1 <= store["journal"]["syncs"]
    assert {"begun": True, "records_replayed": 0, "torn_bytes": 0} == {
        name: value for name, value in store["recovery"].items() if name != "seconds"
    }
    assert ("", 0) == (store["snapshot"]["failure"], store["snapshot"]["records"])
    assert 0 <= store["snapshot"]["age_seconds"] < 60
    ready = venue.client.get(f"http://{venue.host}/readyz").json()["checks"]["venue"]["detail"]
    assert "durable: snapshot " in ready
    metrics = venue.client.get(f"http://{venue.host}/metrics").text
    for name in ("durable 1.0", "running 1.0", "recovery_records 0.0", "snapshot_failed 0.0"):
        assert f"exchange_{name}\n" in metrics
    assert "exchange_journal_syncs 0.0" not in metrics


def test_in_memory_only(tmp_path: Path) -> None:
    """Where the setting says so, nothing is kept, and state and readiness say that."""
    with running_exchange(tmp_path, durable=False, flow="none", **LIMITS) as running:
        assert running.create()["success"]
        state = admin(running, "state").json()
        assert (False, None) == (state["durable"], state["store"])
        ready = running.client.get(f"http://{running.host}/readyz").json()
        assert "in memory only" in ready["checks"]["venue"]["detail"]
    assert not (tmp_path / "exchange" / "state").exists()


def test_a_restart_goes_on(tmp_path: Path) -> None:
    """After a stop and a start the order is there, and its client_order_id still is taken."""
    options: dict[str, Any] = {"flow": "none", **LIMITS}
    body = {"client_order_id": "mine", "order_configuration": gtc("1", "90000")}
    with running_exchange(tmp_path, **options) as running:
        first = running.create(**body)["success_response"]["order_id"]
    with running_exchange(tmp_path, **options) as running:
        assert first == running.create(**body)["success_response"]["order_id"]
        other = running.create(client_order_id="other")["success_response"]["order_id"]
        assert first != other
        listed = running.call("GET", f"/orders/historical/batch?product_ids={BIP}").json()["orders"]
        assert {first, other} == {order["order_id"] for order in listed}
        recovery = admin(running, "state").json()["store"]["recovery"]
        assert (False, 0) == (recovery["begun"], recovery["records_replayed"])


def test_the_hash_of_the_whole_state(venue: RunningExchange) -> None:
    """Anybody can ask for the hash, and an order changes it."""
    before = admin(venue, "state_hash").json()
    venue.create()
    after = admin(venue, "state_hash").json()
    assert before["state_hash"] != after["state_hash"]
    assert before["records"] < after["records"]


def test_latency_of_an_account(venue: RunningExchange) -> None:
    """An account's orders take the time that was set for it, until it is taken away again."""
    assert "none" == admin(venue, "latency").json()["default"]["profile"]
    own = {"account": "default", "in_us": 40_000, "back_us": 30_000, "spread": 0}
    shape = admin(venue, "latency", own).json()
    assert 40_000 == shape["accounts"]["default"]["in_us"]
    slow = [elapsed(venue) for _ in range(2)]
    assert min(slow) >= 0.069
    assert {} == admin(venue, "latency", {"account": "default"}).json()["accounts"]
    assert min(elapsed(venue) for _ in range(3)) < 0.069
    assert "retail" == admin(venue, "latency", {"profile": "retail"}).json()["default"]["profile"]
    assert "none" == admin(venue, "latency", {"profile": "none"}).json()["default"]["profile"]


def elapsed(venue: RunningExchange) -> float:
    """Return how many seconds an order took."""
    body = {
        "client_order_id": secrets.token_hex(8),
        "product_id": BIP,
        "side": "BUY",
        "order_configuration": gtc("1", "80000"),
    }
    return venue.call("POST", "/orders", body).elapsed.total_seconds()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"profile": "moon"}, 400, "profile: 'moon'; allowed: none, colocated"),
        ({"profile": "retail", "in_us": 5}, 400, "one or the other"),
        ({"in_us": -1}, 400, "in_us"),
        ({"account": "nobody", "profile": "retail"}, 404, "account: 'nobody' is not open"),
        ({"speed": 5}, 400, "unknown field"),
    ],
)
def test_latency_that_cannot_be(
    venue: RunningExchange, body: dict[str, object], status: int, said: str
) -> None:
    """A profile, an account or a figure that cannot be is refused with what is allowed."""
    refused = admin(venue, "latency", body)
    assert status == refused.status_code
    assert said in refused.text
