"""Funding and conservation seen from outside: `/admin/money` over time and over a restart."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.services.paper_exchange import (
    BIP,
    RunningExchange,
    gtc,
    running_exchange,
    wait_until,
    write_ed25519_key,
)

OPTIONS: dict[str, Any] = {
    "flow": "none",
    "index_volatility": {},
    "funding_interval_seconds": 20,
    "funding_rate": "0.0001",
    "rate_limit_per_second": 1_000,
    "public_rate_limit_per_second": 1_000,
}


def money(venue: RunningExchange) -> dict[str, Any]:
    """Return where the money is; it always adds up."""
    found: dict[str, Any] = venue.client.get(f"http://{venue.host}/admin/money").json()
    parts = (found["book_values"], found["insurance_fund"], found["fees"])
    assert Decimal(found["deposits"]) == sum(map(Decimal, parts))
    assert found["conserved"]
    return found


def clock(venue: RunningExchange, speed: float) -> None:
    """Change how fast time passes."""
    venue.client.post(f"http://{venue.host}/admin/clock", json={"speed": speed})


def test_funding_is_booked_once_over_a_restart(tmp_path: Path) -> None:
    """Every 20 s a long of 100 contracts pays 10 to the short, also for the time in between."""
    bob = write_ed25519_key(tmp_path / "exchange" / "keys", "bob", account="bob")
    with running_exchange(tmp_path, **OPTIONS) as venue:
        sale = {
            "client_order_id": "sale",
            "product_id": BIP,
            "side": "SELL",
            "order_configuration": gtc("100", "100000"),
        }
        assert venue.call("POST", "/orders", sale, key=bob).json()["success"]
        assert venue.create(order_configuration=gtc("100", "100000"))["success"]
        clock(venue, 200)
        wait_until(lambda: len(money(venue)["accounts"]["bob"]["funding"]) > 2)
        clock(venue, 1)
        before = money(venue)["accounts"]["bob"]["funding"]
    with running_exchange(tmp_path, **OPTIONS) as venue:
        clock(venue, 200)
        wait_until(lambda: len(money(venue)["accounts"]["bob"]["funding"]) > len(before) + 2)
        accounts = money(venue)["accounts"]
    received, paid = accounts["bob"]["funding"], accounts["default"]["funding"]
    assert before == received[: len(before)]
    assert {1} == set(Counter(one["time"] for one in received).values())
    assert {"-10"} == {one["paid"] for one in received}
    assert [one["time"] for one in received] == [one["time"] for one in paid]
    assert Decimal(100_000 - 30 - 10 * len(paid)) == Decimal(accounts["default"]["equity"])
