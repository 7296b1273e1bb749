"""Kill each part of the real stack under load, and compare the gateway's books with the venue's."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from lob.errors import Fault
from services.order_gateway.venue_account import CoinbaseAccount
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from touchstone.cli.drill.load import PREFIX, Load
from touchstone.cli.drill.survival_stage import House, wait_until

RECOVER_SECONDS_MAX: Final = 40.0
SETTLE_SECONDS_MAX: Final = 60.0
PAGE_ROWS: Final = 500
SYMBOL: Final = "BTC-PERP"
PRODUCT: Final = "BIP-20DEC30-CDE"
CONTRACT: Final = Decimal("0.01")
"""Coins of one contract of the product."""
ENDED: Final = frozenset({"FILLED", "CANCELLED", "EXPIRED", "FAILED"})
RECONCILIATION: Final = ("order_adopted", "position_adopted", "order_not_found")


class Victim(StrEnum):
    """What is ended with SIGKILL."""

    GATEWAY = "gateway"
    REDIS = "redis"
    POSTGRESQL = "postgresql"
    EXCHANGE = "exchange"


@dataclass(slots=True)
class Death:
    """One kill under load; times in seconds.

    `down` is how long the part was kept away, `to_recover` from its restart until the first order
    after it was taken (PostgreSQL: until SQL had everything). `taken_meanwhile` and
    `refused_meanwhile` count the orders between the kill and the restart.
    """

    victim: Victim
    down: float = 0.0
    to_recover: float | None = None
    taken_meanwhile: int = 0
    refused_meanwhile: dict[str, int] = field(default_factory=dict)
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "victim": self.victim.value,
            "down_seconds": round(self.down, 3),
            "seconds_to_recover": None if self.to_recover is None else round(self.to_recover, 3),
            "taken_meanwhile": self.taken_meanwhile,
            "refused_meanwhile": self.refused_meanwhile,
            "problem": self.problem,
        }


def kill_in_turn(house: House, load: Load, *, down_seconds: float) -> list[Death]:
    """End each part under load, start it again, and measure until orders flow as before."""
    deaths = []
    for victim in Victim:
        if victim is Victim.POSTGRESQL and house.database is None:
            continue
        death = Death(victim)
        try:
            # Under load means that orders flow when it happens.
            begun = time.monotonic()
            wait_until(lambda: _flows(load, begun), "orders flow", RECOVER_SECONDS_MAX)  # noqa: B023 - called before the next turn
            _kill(house, load, death, down_seconds)
        except Fault as fault:
            death.problem = str(fault)
        deaths.append(death)
    return deaths


def _kill(house: House, load: Load, death: Death, down_seconds: float) -> None:
    kill, start = _means(house, death.victim)
    killed_at = time.monotonic()
    kill()
    time.sleep(down_seconds)
    restarted_at = time.monotonic()
    death.down = restarted_at - killed_at
    meanwhile = [one for one in load.sent if killed_at < one.answered_at <= restarted_at]
    death.taken_meanwhile = sum(one.taken for one in meanwhile)
    death.refused_meanwhile = dict(Counter(one.code for one in meanwhile if not one.taken))
    start()
    wait_until(lambda: _flows(load, restarted_at), "orders are taken again", RECOVER_SECONDS_MAX)
    first = load.taken_since(restarted_at)
    death.to_recover = (first.answered_at if first else time.monotonic()) - restarted_at
    wait_until(house.is_ready, "the gateway is ready", RECOVER_SECONDS_MAX)
    if death.victim is Victim.POSTGRESQL:
        death.to_recover = time.monotonic() - restarted_at


def _flows(load: Load, since: float) -> bool:
    return load.taken_since(since) is not None


def _means(house: House, victim: Victim) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return how a part is killed and started again."""
    if victim is Victim.REDIS:
        return house.kill_redis, house.start_redis
    if victim is Victim.POSTGRESQL and house.database is not None:
        return house.database.kill, house.database.start
    name = "order_gateway" if victim is Victim.GATEWAY else "paper_exchange"
    return (lambda: house.kill(name)), (lambda: house.start(name))


@dataclass(slots=True)
class Audit:
    """What gateway and venue have of the load; `problems` is empty where they agree."""

    sent: int = 0
    taken: int = 0
    repeated: int = 0
    at_venue: int = 0
    fills: int = 0
    position: str = ""
    explained: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in Audit.__slots__}


def audit(house: House, load: Load) -> Audit:
    """Wait until the gateway is settled, then compare it with the venue, order by order."""
    found = Audit(sent=len(load.sent), taken=sum(one.taken for one in load.sent))
    found.repeated = sum(one.attempts > 1 for one in load.sent)
    wait_until(house.is_ready, "the gateway is ready", SETTLE_SECONDS_MAX)
    wait_until(lambda: _is_settled(house), "no order is unsettled", SETTLE_SECONDS_MAX)
    ours = _our_orders(house)
    theirs, fills, positions = asyncio.run(_venue(house))
    found.at_venue, found.fills = len(theirs), len(fills)
    found.problems += _differences(load, ours, theirs)
    found.problems += _fill_differences(house, fills)
    rows = house.ask("/v1/positions")["positions"]
    shown = next(Decimal(row["quantity"]) for row in rows if row["symbol"] == SYMBOL)
    held = positions.get(PRODUCT, Decimal(0)) * CONTRACT
    found.position = f"{held:f}"
    if shown != held:
        found.problems.append(f"position: {shown} here, {held} at the venue")
    for event_type in RECONCILIATION:
        found.explained[event_type] = len(_events(house, event_type))
    return found


def _differences(
    load: Load, ours: dict[str, dict[str, Any]], theirs: dict[str, list[dict[str, Any]]]
) -> list[str]:
    """Return what is lost, double or different, a line each."""
    problems = [
        f"{key}: {len(rows)} orders at the venue" for key, rows in theirs.items() if len(rows) > 1
    ]
    for one in load.sent:
        key = one.client_order_id
        mine, venue = ours.get(key), theirs.get(key)
        if venue is None:
            if one.taken:
                state = mine["status"] if mine else "not there"
                if state not in ("missing", "rejected", "refused"):
                    problems.append(f"{key}: taken, {state} here, and not at the venue")
            continue
        if mine is None:
            problems.append(f"{key}: at the venue, and not here")
            continue
        filled = Decimal(str(venue[0]["filled_size"])) * CONTRACT
        if Decimal(mine["filled_quantity"]) != filled:
            problems.append(f"{key}: filled {mine['filled_quantity']} here, {filled} at the venue")
        over = mine["status"] in ("filled", "cancelled", "expired", "rejected")
        if over != (venue[0]["status"] in ENDED):
            problems.append(f"{key}: {mine['status']} here, {venue[0]['status']} at the venue")
    return problems


def _fill_differences(house: House, fills: Counter[str]) -> list[str]:
    booked = Counter(str(row["payload"]["trade_id"]) for row in _events(house, "fill"))
    problems = [f"fill {key}: booked {count} times" for key, count in booked.items() if count > 1]
    problems += [f"fill {key}: at the venue, not booked" for key in fills.keys() - booked.keys()]
    problems += [f"fill {key}: booked, not at the venue" for key in booked.keys() - fills.keys()]
    return problems


def _is_settled(house: House) -> bool:
    unsettled = {"unknown", "pending_submit", "submitted", "pending_cancel"}
    return all(order["status"] not in unsettled for order in _our_orders(house).values())


def _our_orders(house: House) -> dict[str, dict[str, Any]]:
    """Return the gateway's orders of the load by client id; its events name them all."""
    newest = house.ask("/v1/orders?limit=1000")["orders"]
    found = {order["client_order_id"]: order for order in newest}
    return {key: order for key, order in found.items() if key.startswith(PREFIX)}


def _events(house: House, event_type: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after = 0
    while True:
        answer = house.ask(f"/v1/events?type={event_type}&limit={PAGE_ROWS}&after={after}")
        if not answer["events"]:
            return rows
        rows += answer["events"]
        after = answer["next_after"]


async def _venue(
    house: House,
) -> tuple[dict[str, list[dict[str, Any]]], Counter[str], dict[str, Decimal]]:
    """Return the venue's orders by client id, its fills by trade id, and its positions."""
    signer = ApiKeySigner(house.key_file, lifetime_seconds=30)
    async with CoinbaseAccount(house.venue_url, signer) as account:
        orders: dict[str, list[dict[str, Any]]] = {}
        for row in await account.every("/orders/historical/batch", "orders"):
            orders.setdefault(str(row["client_order_id"]), []).append(row)
        fills = Counter(
            str(row["trade_id"]) for row in await account.every("/orders/historical/fills", "fills")
        )
        return orders, fills, await account.positions()
