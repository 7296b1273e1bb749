"""A long run of real processes on a fast clock: our profit and the exchange's are the same.

Two families in one account, more than a thousand fills, forty-eight funding times and more, and a
liquidation by the exchange at the end. What is compared is what the exchange itself says.
"""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.fakes.processes import Service, free_port, order_gateway, paper_exchange
from touchstone.kit.redis_server import running_redis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

D = Decimal
PRODUCTS: Final = {"BTC-PERP": "BTC-PERP-INTX", "ETH-PERP": "ETP-20DEC30-CDE"}
SIZES: Final = {"BTC-PERP": D("0.15"), "ETH-PERP": D(3)}
POSITION_ORDERS: Final = 5
"""At how many orders' worth a position is turned."""
INTERVAL_SECONDS: Final = 200
SPEED: Final = 400
FILLS: Final = 1_000
FUNDING_TIMES: Final = 48
DRIFT_MAX: Final = 0.0001
"""A hundredth of a percent."""


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A paper exchange whose hour is five minutes and whose minute is a moment."""
    folder = tmp_path_factory.mktemp("house")
    with paper_exchange(
        folder,
        free_port(),
        funding_interval_seconds=str(INTERVAL_SECONDS),
        flow_rate="0.2",
        rate_limit_per_second="1000",
        durable="false",
    ) as made:
        yield made


@dataclass(frozen=True)
class House:
    """Where a gateway lives, so that it can be started again."""

    folder: Path
    redis_url: str
    exchange: Service

    @contextlib.contextmanager
    def gateway(self) -> Iterator[Service]:
        """Run a gateway over both families; limits that a liquidation needs are out of its way."""
        key_file = self.exchange.log.parent / "exchange" / "keys" / "cdp_api_key.json"
        with order_gateway(
            self.folder,
            self.redis_url,
            int(self.exchange.url.rsplit(":", 1)[1]),
            api_key_file=str(key_file),
            symbol_map=json.dumps(PRODUCTS),
            funding_interval_seconds=str(INTERVAL_SECONDS),
            max_orders_per_minute="100000",
            max_order_notional="1000000",
            max_drawdown="1",
            max_price_range="10",
            liquidation_critical="0",
        ) as made:
            made.wait_until("/readyz", status="ready")
            yield made


@pytest.fixture(scope="module")
def house(exchange: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A folder and a Redis for the module's gateways."""
    folder = tmp_path_factory.mktemp("gateway")
    with running_redis(folder / "redis") as redis:
        yield House(folder, redis.url, exchange)


def set_speed(exchange: Service, speed: float) -> None:
    """Let the exchange's clock run this fast."""
    assert exchange.call("POST", "/admin/clock", json={"speed": speed}).status_code == 200


def money_of(exchange: Service) -> dict[str, Any]:
    """Return what the exchange itself says of the account."""
    found: dict[str, Any] = exchange.call("GET", "/admin/money").json()["accounts"]["default"]
    return found


def events(gateway: Service, kind: str) -> list[dict[str, Any]]:
    """Return every event of a kind, oldest first."""
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        path = f"/v1/events?type={kind}&limit=1000&after={after}"
        page = gateway.call("GET", path).json()
        found += page["events"]
        after = page["next_after"]
        if len(page["events"]) < 1_000:
            return found


def pnl_of(gateway: Service) -> dict[str, Any]:
    """Return the gateway's own figures."""
    found: dict[str, Any] = gateway.call("GET", "/v1/pnl").json()
    return found


async def calm(client: httpx.AsyncClient) -> None:
    """Pause until what fell due is booked: the account can be compared between two bursts only."""
    for _ in range(100):
        await asyncio.sleep(0.1)
        if (await client.get("/v1/pnl")).json()["funding_pending"] == 0:
            return
    raise AssertionError("funding stays pending")


async def trade(gateway: Service, rounds: int) -> None:
    """Send bursts of market orders on both symbols, up to a position and down through zero."""
    sides = dict.fromkeys(PRODUCTS, "BUY")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20, trust_env=False) as client:

        async def send(symbol: str) -> None:
            body = {"symbol": symbol, "side": sides[symbol], "quantity": str(SIZES[symbol])}
            answer = await client.post("/v1/orders", json={**body, "type": "MARKET"})
            # On so fast a clock a book may be empty, or a quote old, for a moment.
            assert answer.status_code in (201, 202, 422, 503), answer.text

        for _ in range(rounds):
            await asyncio.gather(*(send(symbol) for symbol in PRODUCTS for _ in range(6)))
            await calm(client)
            for row in (await client.get("/v1/positions")).json()["positions"]:
                held = D(row["quantity"]) / SIZES[row["symbol"]]
                if abs(held) > POSITION_ORDERS:
                    sides[row["symbol"]] = "SELL" if held > 0 else "BUY"


def buy(gateway: Service, symbol: str, quantity: Decimal) -> None:
    """Buy at market until so much is bought: a book that fills up again may have less at once."""
    deadline = time.monotonic() + 40
    left = quantity
    while left >= D("0.001"):
        part = str(min(left, quantity / 4).quantize(D("0.001"), ROUND_UP))
        body = {"symbol": symbol, "side": "BUY", "quantity": part, "type": "MARKET"}
        answer = gateway.call("POST", "/v1/orders", json=body)
        # As while trading: a book may be empty, or a quote old, for a moment.
        assert answer.status_code in (201, 202, 422, 503), answer.text
        if answer.is_success:
            left -= D(ended(gateway, answer.json()["order"])["filled_quantity"])
        assert time.monotonic() < deadline, (left, answer.text)
        time.sleep(0.1)


def ended(gateway: Service, order: dict[str, Any]) -> dict[str, Any]:
    """Return a market order as it ended."""
    deadline = time.monotonic() + 40
    while order["status"] not in ("filled", "cancelled", "rejected"):
        assert time.monotonic() < deadline, order
        time.sleep(0.1)
        order = gateway.call("GET", f"/v1/orders/{order['client_order_id']}").json()["order"]
    return order


def liquidate(exchange: Service, gateway: Service) -> None:
    """Buy four times the equity and let the index fall by a fifth."""
    equity = D(money_of(exchange)["equity"])
    rows = {row["symbol"]: row for row in pnl_of(gateway)["symbols"]}
    row = rows["BTC-PERP"]
    buy(gateway, "BTC-PERP", D("4.2") * equity / D(row["mark_price"]) - D(row["quantity"]))
    price = (D(row["mark_price"]) * D("0.8")).quantize(D(1))
    body = {"coin": "BTC", "price": str(price)}
    assert exchange.call("POST", "/admin/index", json=body).status_code == 200


def wait_for(what: str, condition: Any, seconds: float = 40) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_profit_is_what_the_exchange_says(house: House) -> None:
    """A thousand fills, forty-eight funding times, a liquidation; drift below 0.01 %.

    Then the gateway is killed, funding times pass without it, and the next one books them.
    """
    exchange = house.exchange
    with house.gateway() as gateway:
        run(exchange, gateway)
        compare(exchange, gateway)
        check_records(gateway)
        before = {event["ts_event_ns"] for event in events(gateway, "funding")}
        gateway.stop(signal.SIGKILL)
    pass_three_funding_times(exchange)
    with house.gateway() as gateway:
        wait_for("no drift measured", lambda: pnl_of(gateway)["drift"] is not None)
        compare(exchange, gateway)
        missed = [e for e in events(gateway, "funding") if e["ts_event_ns"] not in before]
        assert len({event["ts_event_ns"] for event in missed}) >= 3
        assert "account" in {event["payload"]["source"] for event in missed}


def run(exchange: Service, gateway: Service) -> None:
    """Trade on a fast clock until there is enough, then be liquidated, and stop the marks."""
    wait_for("no drift measured", lambda: events(gateway, "pnl_drift"))
    set_speed(exchange, SPEED)
    deadline = time.monotonic() + 300
    while True:
        asyncio.run(trade(gateway, 12))
        fills, funded = len(events(gateway, "fill")), len(money_of(exchange)["funding"])
        if fills >= FILLS and funded >= 2 * FUNDING_TIMES:
            break
        assert time.monotonic() < deadline, (fills, funded)
    set_speed(exchange, 20)
    liquidate(exchange, gateway)

    def liquidated() -> bool:
        shown = exchange.call("GET", "/admin/money").json()
        return shown["liquidation"]["orders"] > 0 and not money_of(exchange)["liquidating"]

    wait_for("no liquidation", liquidated)
    stop_marks(exchange)


def stop_marks(exchange: Service) -> None:
    """Let the marks stand still, so that both sides can be asked one after the other."""
    set_speed(exchange, 0.01)


def pass_three_funding_times(exchange: Service) -> None:
    """Let the exchange's clock pass three funding times while nobody looks."""
    paid = len(money_of(exchange)["funding"])
    latest = money_of(exchange)["funding"][-1]["time"]
    set_speed(exchange, SPEED)

    def passed() -> bool:
        times = {row["time"] for row in money_of(exchange)["funding"] if row["time"] > latest}
        return len(times) >= 3

    wait_for(f"funding after {latest} ({paid})", passed)
    stop_marks(exchange)


def compare(exchange: Service, gateway: Service) -> None:
    """Hold every figure of the gateway against the exchange's."""
    theirs = money_of(exchange)

    def told() -> bool:
        return D(pnl_of(gateway)["equity"] or 0) == D(theirs["equity"])

    wait_for("statement", told)
    wait_for("funding pending", lambda: pnl_of(gateway)["funding_pending"] == 0)
    ours = pnl_of(gateway)
    venue_net = D(theirs["equity"]) - D(theirs["deposits"])
    gross = sum(
        abs(D(ours[name])) for name in ("realized_pnl", "unrealized_pnl", "funding_paid", "fees")
    )
    drift = abs(D(ours["net_pnl"]) - venue_net) / gross
    assert drift < DRIFT_MAX
    assert abs(D(ours["net_pnl"]) - venue_net) < D("0.0001")
    assert D(theirs["fees_paid"]) == D(ours["fees"])
    assert not events(gateway, "position_adopted")
    assert not events(gateway, "funding_unknown")
    compare_funding(theirs, gateway)
    measured = [event["payload"]["drift"] for event in events(gateway, "pnl_drift")]
    assert len(measured) >= 5
    assert max(measured) < DRIFT_MAX


def compare_funding(theirs: dict[str, Any], gateway: Service) -> None:
    """Every payment that the exchange still shows is booked, and each once."""
    booked = events(gateway, "funding")
    times = [(PRODUCTS[event["symbol"]], event["ts_event_ns"]) for event in booked]
    assert len(times) == len(set(times))
    assert len({at for _, at in times}) >= FUNDING_TIMES
    paid: dict[int, Decimal] = {}
    for event in booked:
        at = event["ts_event_ns"]
        paid[at] = paid.get(at, D(0)) + D(event["payload"]["amount"])
    shown = {
        (row["product_id"], nanoseconds(row["time"])): D(row["paid"]) for row in theirs["funding"]
    }
    assert set(shown) <= set(times)


def nanoseconds(text: str) -> int:
    """Return a whole second of RFC 3339 in nanoseconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def check_records(gateway: Service) -> None:
    """The day's figures are there; what the exchange liquidated is in the journal with fills."""
    day = pnl_of(gateway)["day"]
    assert day["trades"] > 0
    assert D(day["drawdown"]) > D("0.5")
    assert events(gateway, "order_adopted")
