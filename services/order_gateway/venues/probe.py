"""Ask a venue what it can do: by previews, which change nothing, or by orders far from the market.

A preview shows that the venue understands a configuration, whatever else is wrong with the order
(no money, no position). Orders show more, and are for paper exchanges: they rest three percent
behind the touch, are cancelled at once, and go around the gateway's journal, so that only a command
places them, never the service.
"""

import contextlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from lob.errors import Fault, NotFound, Unavailable
from lob.types import Side, TimeInForce
from services.order_gateway.venues.base import Accepted, OutcomeUnknown, Passage, Rejected
from services.order_gateway.venues.coinbase_orders import (
    attached_configuration,
    order_configuration,
)
from services.order_gateway.venues.coinbase_rest import CoinbaseRest, VenueRefused
from services.order_gateway.venues.coinbase_wire import optional
from touchstone.kit.leases import SendGate
from touchstone.perps.capabilities import Capability, Finding, Probed
from touchstone.perps.orders import Attached, Intent, OrderType, VenueStatus
from touchstone.perps.products import ProductRules

C = Capability
BEHIND: Final = Decimal("0.03")
"""How far behind the touch a probe's price is, as a fraction."""
EXPIRES_IN_NS: Final = 3_600_000_000_000
_BY_PREVIEW: Final = "preview"
_BY_ORDER: Final = "order far from the market"
_UNSUPPORTED: Final = (
    "UNSUPPORTED_ORDER_CONFIGURATION",
    "REDUCE_ONLY_NOT_ALLOWED_ON_VENUE",
    "ORDER_TYPE_NOT_SUPPORTED",
    "POST_ONLY_NOT_ALLOWED",
    "INVALID_ORDER_CONFIG",
)
"""Reasons that mean the feature, not this order."""

Findings = Mapping[Capability, Probed]


@dataclass(frozen=True, slots=True)
class Prices:
    """Where a probe's orders would stand: away from the market on both sides."""

    low: Decimal
    high: Decimal

    @classmethod
    def around(cls, price: Decimal, rules: ProductRules) -> "Prices":
        """Return prices on the tick that are far from `price`."""
        return cls(
            rules.round_price(price * (1 - BEHIND), Side.BUY),
            rules.round_price(price * (1 + BEHIND), Side.SELL),
        )


class Probe:
    """Ask one venue about one product."""

    def __init__(self, venue: CoinbaseRest, symbol: str) -> None:
        self._venue = venue
        self._symbol = symbol

    async def by_previews(self) -> Findings:
        """Return what previews say; cancels, client ids and edits have none.

        Raises:
            Unavailable: the product's rules or prices cannot be had.
        """
        rules, prices = await self._market()
        found = {C.FUNDING: await self._funding()}
        for one, intent in questions(self._symbol, rules, prices, self._expiry_ns()).items():
            found[one] = await self._preview(intent, rules)
        previews = [answer.finding for answer in found.values()]
        works = Finding.SUPPORTED in previews[1:]
        found[C.PREVIEW] = Probed(
            Finding.SUPPORTED if works else previews[-1], _BY_PREVIEW, found[C.MARKET].detail
        )
        # A limit order that rests is GTC, a market order is IOC.
        found[C.GTC] = found[C.LIMIT]
        return found

    async def by_orders(self) -> Findings:
        """Return what previews say, and what orders far from the market show beyond that.

        Whatever was placed is cancelled, also where something goes wrong on the way.

        Raises:
            Unavailable: the product's rules or prices cannot be had.
        """
        found = dict(await self.by_previews())
        rules, prices = await self._market()
        asked = questions(self._symbol, rules, prices, self._expiry_ns())
        placeable = (C.LIMIT, C.POST_ONLY, C.IOC, C.FOK, C.GTD, C.STOP_LIMIT, C.ATTACHED)
        for one in placeable:
            found[one] = await self._place(asked[one], rules)
        found[C.GTC] = found[C.LIMIT]
        found[C.REDUCE_ONLY] = await self._reduce_only(asked[C.REDUCE_ONLY], rules)
        found.update(await self._lifecycle(asked[C.POST_ONLY], rules, prices))
        return found

    def _expiry_ns(self) -> int:
        now_ns = self._venue.clock.now_ns()
        if now_ns is None:
            raise Unavailable("venue: its time is not known")
        return now_ns + EXPIRES_IN_NS

    async def _market(self) -> tuple[ProductRules, Prices]:
        rules = (await self._venue.rules())[self._symbol]
        product = await self._venue.get(f"/products/{rules.product_id}")
        price = optional(product.get("mid_market_price"), "mid_market_price")
        price = price or optional(product.get("price"), "price")
        if price is None:
            raise Unavailable(f"venue: {rules.product_id}: it has no price")
        return rules, Prices.around(price, rules)

    async def _funding(self) -> Probed:
        rules = (await self._venue.rules())[self._symbol]
        product = await self._venue.get(f"/products/{rules.product_id}")
        details = product.get("future_product_details") or {}
        inner = details.get("perpetual_details") or {}
        there = bool(details.get("funding_rate") or inner.get("funding_rate"))
        detail = "" if there else "the product tells no funding rate"
        return Probed(Finding.SUPPORTED if there else Finding.UNSUPPORTED, "product", detail)

    async def _preview(self, intent: Intent, rules: ProductRules) -> Probed:
        body: dict[str, Any] = {
            "product_id": rules.product_id,
            "side": intent.side.value,
            "order_configuration": order_configuration(intent, rules, forward_reduce_only=True),
        }
        if intent.attached is not None:
            body["attached_order_configuration"] = attached_configuration(intent)
        try:
            answer = await self._venue.preview(body)
            problems = ", ".join(str(one) for one in answer.get("errs") or ())
        except (VenueRefused, NotFound) as refused:
            return Probed(Finding.UNSUPPORTED, _BY_PREVIEW, str(refused))
        except Fault as fault:
            return Probed(Finding.UNKNOWN, _BY_PREVIEW, str(fault))
        return Probed(_meaning(problems), _BY_PREVIEW, problems)

    async def _place(self, intent: Intent, rules: ProductRules) -> Probed:
        """Place an order and cancel it; a refusal that is about this order shows the feature."""
        try:
            outcome = await self._submit(intent, rules)
        except Fault as fault:
            return Probed(Finding.UNKNOWN, _BY_ORDER, str(fault))
        if isinstance(outcome, Rejected):
            return Probed(_meaning(outcome.reason), _BY_ORDER, outcome.reason)
        await self._cancel(outcome)
        return Probed(Finding.SUPPORTED, _BY_ORDER)

    async def _reduce_only(self, intent: Intent, rules: ProductRules) -> Probed:
        """Place a reduce-only order where there is nothing to reduce: it must be refused."""
        if (await self._venue.positions()).get(self._symbol) is not None:
            return Probed(Finding.UNKNOWN, _BY_ORDER, "there is a position")
        found = await self._place(intent, rules)
        if found.finding is Finding.SUPPORTED and not found.detail:
            return Probed(Finding.UNSUPPORTED, _BY_ORDER, "the flag was taken and means nothing")
        return found

    async def _lifecycle(
        self, intent: Intent, rules: ProductRules, prices: Prices
    ) -> dict[Capability, Probed]:
        """Place one order twice under one client id, edit it, cancel it."""
        found = dict.fromkeys((C.CLIENT_IDS, C.EDIT, C.CANCEL), Probed(Finding.UNKNOWN, _BY_ORDER))
        intent = replace(intent, client_order_id=_new_id())
        first: Accepted | Rejected | None = None
        with contextlib.suppress(Fault):
            first = await self._submit(intent, rules)
            again = await self._submit(intent, rules)
            if isinstance(first, Accepted):
                same = first == again
                text = "" if same else f"a second order was made: {again}"
                finding = Finding.SUPPORTED if same else Finding.UNSUPPORTED
                found[C.CLIENT_IDS] = Probed(finding, _BY_ORDER, text)
                if isinstance(again, Accepted) and not same:
                    await self._cancel(again)
        if not isinstance(first, Accepted):
            return found
        lower = rules.round_price(prices.low * (1 - BEHIND), Side.BUY)
        found[C.EDIT] = await self._edit(first, intent, rules, lower)
        refused = await self._cancel(first)
        over = await self._is_cancelled(first)
        finding = Finding.SUPPORTED if over else Finding.UNKNOWN
        found[C.CANCEL] = Probed(finding, _BY_ORDER, "" if over else refused)
        return found

    async def _edit(
        self, placed: Accepted, intent: Intent, rules: ProductRules, price: Decimal
    ) -> Probed:
        try:
            problem = await self._venue.edit(
                placed.venue_order_id, rules.to_venue_size(intent.quantity), price
            )
        except (VenueRefused, NotFound) as refused:
            return Probed(Finding.UNSUPPORTED, _BY_ORDER, str(refused))
        except Fault as fault:
            return Probed(Finding.UNKNOWN, _BY_ORDER, str(fault))
        return Probed(Finding.UNSUPPORTED if problem else Finding.SUPPORTED, _BY_ORDER, problem)

    async def _submit(self, intent: Intent, rules: ProductRules) -> Accepted | Rejected:
        try:
            return await self._venue.submit(intent, rules, Passage(SendGate(), lambda: None))
        except OutcomeUnknown:
            # It may rest: look for it once, so that it does not stay.
            for report in await self._venue.orders(self._symbol, working_only=True):
                if report.client_order_id == intent.client_order_id:
                    await self._venue.cancel([report.venue_order_id])
            raise

    async def _cancel(self, placed: Accepted) -> str:
        """Ask for the cancel; return why it was not taken."""
        try:
            answers = await self._venue.cancel([placed.venue_order_id])
        except Fault as fault:
            return str(fault)
        return answers.get(placed.venue_order_id, "not mentioned in the answer")

    async def _is_cancelled(self, placed: Accepted) -> bool:
        with contextlib.suppress(Fault):
            report = await self._venue.order(placed.venue_order_id)
            return report is not None and report.status is VenueStatus.CANCELLED
        return False


def questions(
    symbol: str, rules: ProductRules, prices: Prices, expires_at_ns: int
) -> dict[Capability, Intent]:
    """Return the order that asks for each feature, as small as the product allows."""
    resting = Intent(
        client_order_id=_new_id(),
        symbol=symbol,
        side=Side.BUY,
        quantity=smallest(rules, prices.low),
        order_type=OrderType.LIMIT,
        limit_price=prices.low,
    )

    def ask(**terms: Any) -> Intent:
        return replace(resting, client_order_id=_new_id(), **terms)

    market: dict[str, Any] = {
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.IOC,
        "limit_price": None,
    }
    sell: dict[str, Any] = {"side": Side.SELL, "limit_price": prices.high}
    return {
        C.MARKET: ask(**market),
        C.LIMIT: ask(),
        C.POST_ONLY: ask(post_only=True),
        C.IOC: ask(time_in_force=TimeInForce.IOC),
        C.FOK: ask(time_in_force=TimeInForce.FOK),
        C.GTD: ask(time_in_force=TimeInForce.GTD, expires_at_ns=expires_at_ns),
        C.STOP_LIMIT: ask(
            order_type=OrderType.STOP_LIMIT, limit_price=prices.high, stop_price=prices.high
        ),
        C.BRACKET: ask(order_type=OrderType.BRACKET, stop_price=prices.low, **sell),
        C.ATTACHED: ask(
            attached=Attached(
                take_profit_price=prices.high,
                stop_price=rules.round_price(prices.low * (1 - BEHIND), Side.BUY),
            )
        ),
        C.REDUCE_ONLY: ask(reduce_only=True, **sell),
    }


def smallest(rules: ProductRules, price: Decimal) -> Decimal:
    """Return the smallest quantity in coins that the product allows at a price."""
    step = rules.size_increment
    least = max(rules.min_quantity or step, (rules.min_notional or Decimal(0)) / price)
    return -(-least // step) * step


def _meaning(reasons: str) -> Finding:
    if any(word in reasons for word in _UNSUPPORTED) or "unknown field" in reasons:
        return Finding.UNSUPPORTED
    return Finding.SUPPORTED


def _new_id() -> str:
    return f"probe-{uuid.uuid4().hex}"
