"""The plan's six tests of order flow, through the REST API of the gateway that its line started."""

import asyncio
import itertools
from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from touchstone.cli.rehearsal.ground import Ground, Line
from touchstone.cli.rehearsal.verdicts import Findings, NotHeldError, require
from touchstone.perps.sizing import largest_notional

SYMBOL: Final = "BTC-PERP"
PRODUCT: Final = "BTC-PERP-INTX"
QUANTITY: Final = "0.0003"
"""Some 30 dollars: well below the profile's position limit of 100."""
TICK: Final = Decimal("0.1")
CREATED, OK, ACCEPTED, CONFLICT, REFUSED = 201, 200, 202, 409, 422
IN_THE_WAY: Final = "REDUCE_ONLY_WOULD_INCREASE"
CLEARED_MAX: Final = 5
RETRIES_MAX: Final = 10
RETRY_SECONDS: Final = 0.5
RAISED_LIMIT: Final = "5000000"
RAISED: Final = {
    "TOUCHSTONE_GATEWAY_MAX_ORDER_NOTIONAL": RAISED_LIMIT,
    "TOUCHSTONE_GATEWAY_MAX_POSITION_NOTIONAL": RAISED_LIMIT,
}
"""100 dollars never move a book: sizing is tested with room for more."""

Json = dict[str, Any]


class OrderTests:
    """The six tests on one running line."""

    def __init__(self, ground: Ground, line: Line, findings: Findings) -> None:
        self._ground = ground
        self._line = line
        self._findings = findings
        self._numbers: Iterator[int] = itertools.count(1)

    async def run(self) -> None:
        """Run all but the sizing test, which needs other limits."""
        await self.market_orders()
        await self.post_only()
        await self.stops()
        await self.cancel_replace()
        await self.reduce_only_exits()

    async def market_orders(self) -> None:
        """Buy and sell at the market; what is beyond the profile's limit is refused."""
        with self._findings.test("1. Market orders with strict filters") as said:
            bought = await self._filled(side="BUY")
            said.append(f"BUY {QUANTITY} filled at {bought['average_price']}")
            status, body = await self._submit(side="BUY", quantity="1")
            code = body.get("error", {}).get("code")
            require(status == REFUSED, f"1 BTC is answered {status} {code}")
            said.append(f"1 BTC refused: {code}")
            sold = await self._filled(side="SELL", reduce_only=True)
            said.append(f"SELL reduce-only filled at {sold['average_price']}")
            await self._require_flat()

    async def post_only(self) -> None:
        """Rest where it does not cross, be refused where it does."""
        with self._findings.test("2. Limit post-only (non-crossing validation)") as said:
            bid, ask, *_ = await self._ground.book(PRODUCT)
            key = self._new_id()
            price = _on_tick(bid * Decimal("0.99"))
            status, body = await self._limit(key, price, post_only=True)
            require(status in (CREATED, ACCEPTED), f"{price} is answered {status}: {body}")
            await self._line.until_order(key, "open")
            said.append(f"BUY at {price} rests")
            crossing = _on_tick(ask * Decimal("1.002"))
            status, body = await self._limit(self._new_id(), crossing, post_only=True)
            code = body.get("error", {}).get("code")
            require(
                (status, code) == (REFUSED, "POST_ONLY_WOULD_CROSS"),
                f"crossing at {crossing} is answered {status} {code}",
            )
            said.append(f"BUY at {crossing} through the ask {ask}: {code}")
            await self._cancel(key)

    async def stops(self) -> None:
        """Place a stop that waits here and a stop-limit that waits at the venue; cancel both."""
        with self._findings.test("3. Stop / stop-limit placement and cancellation") as said:
            _, ask, *_ = await self._ground.book(PRODUCT)
            stop = _on_tick(ask * Decimal("1.05"))
            limit = _on_tick(ask * Decimal("1.06"))
            for kind, waits, prices in (
                ("STOP", ("armed",), {"stop_price": str(stop)}),
                ("STOP_LIMIT", ("open",), {"stop_price": str(stop), "limit_price": str(limit)}),
            ):
                key = self._new_id()
                status, body = await self._submit(key, side="BUY", type=kind, **prices)
                require(status in (CREATED, ACCEPTED), f"{kind} is answered {status}: {body}")
                order = await self._line.until_order(key, *waits)
                cancelled = await self._cancel(key)
                said.append(f"{kind} at {stop}: {order['status']}, then {cancelled['status']}")

    async def cancel_replace(self) -> None:
        """Change a resting order's price; the same wish again makes no second order."""
        with self._findings.test("4. Cancel/replace flow, idempotent") as said:
            bid, *_ = await self._ground.book(PRODUCT)
            key, child = self._new_id(), ""
            await self._limit(key, _on_tick(bid * Decimal("0.98")))
            await self._line.until_order(key, "open")
            price = _on_tick(bid * Decimal("0.985"))
            for _ in range(2):
                status, body = await self._line.ask(
                    "PATCH", f"/v1/orders/{key}", {"limit_price": str(price)}
                )
                require(status in (OK, CREATED, ACCEPTED), f"PATCH is answered {status}: {body}")
            child = f"{key}.r1"
            order = await self._line.until_order(child, "open")
            original = await self._line.until_order(key, "cancelled")
            require(Decimal(order["limit_price"]) == price, f"{child} is at {order['limit_price']}")
            second = await self._line.order(f"{key}.r2")
            require(not second, f"asked twice, it made {key}.r2")
            said.append(f"{key} {original['status']}, {child} open at {price}; asked twice, one")
            await self._cancel(child)

    async def reduce_only_exits(self) -> None:
        """Close to entries with a stop behind a position: the stop stays, only exits pass."""
        with self._findings.test("6. Reduce-only exits") as said:
            bought = await self._filled(side="BUY")
            entry, stop = Decimal(bought["average_price"]), self._new_id()
            prices = {
                "stop_price": str(_on_tick(entry * Decimal("0.95"))),
                "limit_price": str(_on_tick(entry * Decimal("0.94"))),
            }
            await self._submit(stop, side="SELL", type="STOP_LIMIT", reduce_only=True, **prices)
            await self._line.until_order(stop, "open")
            status, body = await self._line.ask("POST", "/reduce-only")
            require(
                (status, body.get("state")) == (OK, "REDUCE_ONLY"),
                f"/reduce-only is answered {status}: {body}",
            )
            said.append(f"/reduce-only acknowledged (generation {body.get('generation')})")
            status, body = await self._submit(side="BUY")
            code = body.get("error", {}).get("code")
            require((status, code) == (CONFLICT, "REDUCE_ONLY"), f"an entry: {status} {code}")
            kept = await self._line.order(stop)
            require(kept.get("status") == "open", f"the protective stop is {kept.get('status')}")
            said.append("an entry refused, the protective stop stays")
            await self._cancel(stop)
            await self._filled(side="SELL", reduce_only=True)
            await self._require_flat()
            said.append("the exit filled")
            await self._loosen()

    async def sizing(self) -> None:
        """Ask for more than the accepted impact allows: it is made to fit, and says so."""
        with self._findings.test("5. Impact-aware sizing adjustments") as said:
            _, ask, touch, deep = await self._ground.book(PRODUCT)
            allowed = largest_notional(Decimal(10), touch, deep)
            wanted = min(allowed * Decimal("1.5"), Decimal(RAISED_LIMIT) * Decimal("0.9"))
            quantity = (wanted / ask).quantize(Decimal("0.0001"), ROUND_DOWN)
            key = self._new_id()
            status, body = await self._submit(key, side="BUY", quantity=str(quantity))
            require(status in (CREATED, ACCEPTED), f"{quantity} is answered {status}: {body}")
            order = await self._line.until_order(key, "filled", "cancelled")
            sized = Decimal(order["quantity"])
            require(0 < sized < quantity, f"asked for {quantity}, sent {sized}")
            said.append(
                f"asked {quantity * ask:,.0f} USD, sent {sized * ask:,.0f} "
                f"(10 bps of impact allowed {allowed:,.0f} a moment before)"
            )
            held = await self._line.position(SYMBOL)
            if held > 0:
                await self._filled(side="SELL", quantity=str(held), reduce_only=True)
            await self._require_flat()

    # ------------------------------------------------------------- steps

    def _new_id(self) -> str:
        # The venue knows an id of an earlier run again, and answers with the order of then.
        return f"rehearsal-{self._ground.runs}-{next(self._numbers)}"

    async def _submit(self, key: str = "", **terms: Any) -> tuple[int, Json]:
        body = {
            "client_order_id": key or self._new_id(),
            "symbol": SYMBOL,
            "quantity": QUANTITY,
            "type": "MARKET",
            **terms,
        }
        for _ in range(RETRIES_MAX):
            status, answer = await self._line.ask("POST", "/v1/orders", body)
            if not answer.get("error", {}).get("retryable"):
                break
            # A machine that stood still for half a second has lost its lease for a moment.
            await asyncio.sleep(RETRY_SECONDS)
        return status, answer

    async def _limit(self, key: str, price: Decimal, **terms: Any) -> tuple[int, Json]:
        return await self._submit(key, side="BUY", type="LIMIT", limit_price=str(price), **terms)

    async def _filled(self, **terms: Any) -> Json:
        key = self._new_id()
        status, body = await self._submit(key, **terms)
        for _ in range(CLEARED_MAX):
            if body.get("error", {}).get("code") != IN_THE_WAY:
                break
            # The bot puts a stop behind any position in what it trades, this one included.
            await self._clear()
            key = self._new_id()
            status, body = await self._submit(key, **terms)
        if status not in (OK, CREATED, ACCEPTED):
            raise NotHeldError(f"{terms} is answered {status}: {body.get('error', body)}")
        return await self._line.until_order(key, "filled")

    async def _clear(self) -> None:
        """Cancel what rests in the symbol."""
        _, found = await self._line.ask("GET", f"/v1/orders?status=open&symbol={SYMBOL}")
        for order in found["orders"]:
            key = order["client_order_id"]
            await self._line.ask("DELETE", f"/v1/orders/{key}")
            await self._line.until_order(key, "cancelled", "filled")

    async def _cancel(self, key: str) -> Json:
        status, body = await self._line.ask("DELETE", f"/v1/orders/{key}")
        require(status in (OK, ACCEPTED), f"DELETE {key} is answered {status}: {body}")
        return await self._line.until_order(key, "cancelled")

    async def _require_flat(self) -> None:
        for _ in range(100):
            if await self._line.position(SYMBOL) == 0:
                return
            await asyncio.sleep(0.05)
        raise NotHeldError(f"the position is {await self._line.position(SYMBOL)}, not flat")

    async def _loosen(self) -> None:
        _, state = await self._line.ask("GET", "/v1/kill-switch")
        body = {
            "state": "ACTIVE",
            "reason": "the rehearsal goes on",
            "expected_generation": state["generation"],
        }
        status, answer = await self._line.ask("POST", "/v1/kill-switch", body)
        require(status == OK, f"ACTIVE again is answered {status}: {answer}")


def _on_tick(price: Decimal) -> Decimal:
    return price.quantize(TICK, ROUND_DOWN)
