"""Coinbase Advanced Trade over REST, with a deadline on each request and no blind resend."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from lob.errors import Fault, NotFound, Overloaded, Unavailable
from services.order_gateway.metrics import VenueMetrics
from services.order_gateway.venues.base import (
    Accepted,
    GateClosed,
    NotSent,
    OutcomeUnknown,
    Passage,
    Priority,
    Rejected,
    VenuePosition,
    VenueReport,
)
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_orders import (
    WORKING_STATUSES,
    attached_configuration,
    fill_from,
    order_configuration,
    report_from,
)
from services.order_gateway.venues.coinbase_wire import position_from, rules_from
from services.order_gateway.venues.pacing import HTTP_TOO_MANY_REQUESTS, Pacer
from services.order_gateway.venues.venue_clock import VenueClock
from services.order_gateway.venues.wire import Answer, Wire
from touchstone.kit.ledger_entries import Fill
from touchstone.perps.capabilities import ASSUMED
from touchstone.perps.orders import Intent
from touchstone.perps.products import ProductRules

PREFIX: Final = "/api/v3/brokerage"
CREATE: Final = "create"
PAGE_ROWS: Final = 250
CANCELS_MAX: Final = 100
IDS_MAX: Final = 100
PAGES_MAX: Final = 20
RECENT_PAGES: Final = 4

HTTP_OK: Final = 200
HTTP_BAD_REQUEST: Final = 400
HTTP_UNAUTHORIZED: Final = 401
HTTP_NOT_FOUND: Final = 404
HTTP_REQUEST_TIMEOUT: Final = 408
HTTP_SERVER_ERROR: Final = 500
_MILLISECOND_NS: Final = 1_000_000
_JSON: Final = ("content-type", "application/json")

Query = Sequence[tuple[str, str]]


class VenueRefused(Unavailable):
    """Say that the venue does not take a request as it is (HTTP 4xx)."""


class CoinbaseRest:
    """Speak Coinbase's REST protocol over a wire: to the exchange, or to the paper exchange.

    `symbols` maps our symbols to product ids. Implements `Venue`.
    """

    def __init__(
        self,
        wire: Wire,
        signer: ApiKeySigner,
        symbols: Mapping[str, str],
        metrics: VenueMetrics,
        *,
        deadline_seconds: float = 5.0,
        forward_reduce_only: bool = True,
        clock: VenueClock | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        self._wire = wire
        self._signer = signer
        self._symbols = dict(symbols)
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        self._forward_reduce_only = forward_reduce_only
        self._pacer = pacer or Pacer(metrics.pace)
        self._rules: dict[str, ProductRules] = {}
        self._rules_by_product: dict[str, ProductRules] = {}
        self._intx_portfolio = ""
        self.clock = clock or VenueClock()
        self.capabilities = ASSUMED
        """What orders may need of the venue; a probe may know better."""

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()

    async def rules(self) -> Mapping[str, ProductRules]:
        """Return the rules of every configured symbol, by symbol."""
        for symbol, product_id in self._symbols.items():
            product = await self.get(f"/products/{product_id}")
            with readable(f"product {product_id}"):
                rules = rules_from(product, symbol)
                self._rules[symbol] = self._rules_by_product[rules.product_id] = rules
        if self.clock.now_ns() is None:
            # The feed's heartbeats tell the time as well.
            with contextlib.suppress(Fault):
                await self.read_clock()
        return dict(self._rules)

    async def read_clock(self) -> None:
        """Set the venue's clock by `/time`."""
        answer = await self.get("/time")
        with readable("time"):
            self.clock.observe(int(answer["epochMillis"]) * _MILLISECOND_NS)

    async def submit(
        self, intent: Intent, rules: ProductRules, passage: Passage
    ) -> Accepted | Rejected:
        """Send an order.

        `passage` is called once, directly before head and body leave in one write, without an
        await in between.

        Raises:
            GateClosed: the gate refused; nothing was written.
            NotSent: no turn, no key or no connection in time.
            OutcomeUnknown: it was written, and no readable answer came.
        """
        body: dict[str, Any] = {
            "client_order_id": intent.client_order_id,
            "product_id": rules.product_id,
            "side": intent.side.value,
            "order_configuration": order_configuration(
                intent, rules, forward_reduce_only=self._forward_reduce_only
            ),
        }
        if intent.attached is not None:
            body["attached_order_configuration"] = attached_configuration(intent)
        priority = Priority.REDUCE if intent.reduce_only else Priority.ENTRY
        answer = await self._send("create", "POST", "/orders", priority, body=body, passage=passage)
        return self._read_created(answer, intent, rules)

    async def preview(self, body: Mapping[str, Any]) -> Any:
        """Ask what an order (without a client id) would come to; nothing is placed."""
        return await self._call("preview", "POST", "/orders/preview", body=body)

    async def edit(self, venue_order_id: str, size: Decimal, price: Decimal) -> str:
        """Edit a resting order, as only a probe does; return why not, '' where it was done."""
        # An omitted size is read as 0: both are always sent.
        body = {"order_id": venue_order_id, "price": f"{price:f}", "size": f"{size:f}"}
        answer = await self._call("edit", "POST", "/orders/edit", body=body)
        with readable("edit"):
            errors = [one["edit_failure_reason"] for one in answer.get("errors") or ()]
            return "" if answer["success"] else ", ".join(map(str, errors)) or "refused"

    async def cancel(self, venue_order_ids: Sequence[str]) -> Mapping[str, str]:
        """Ask for cancels, a hundred a request; '' where taken, else the venue's reason, by id."""
        found: dict[str, str] = {}
        for start in range(0, len(venue_order_ids), CANCELS_MAX):
            body = {"order_ids": list(venue_order_ids[start : start + CANCELS_MAX])}
            answer = await self._call(
                "cancel", "POST", "/orders/batch_cancel", body=body, priority=Priority.CANCEL
            )
            with readable("cancel"):
                for result in answer["results"]:
                    # The reason is there even on success; it then means nothing.
                    reason = str(result.get("failure_reason") or "UNKNOWN_CANCEL_FAILURE_REASON")
                    found[str(result["order_id"])] = "" if result.get("success") else reason
        return found

    async def order(self, venue_order_id: str) -> VenueReport | None:
        """Return one order; None only when the venue answers that there is none of that id."""
        try:
            answer = await self.get(f"/orders/historical/{quote(venue_order_id, safe='')}")
        except NotFound:
            return None
        with readable(f"order {venue_order_id}"):
            report = self._report(answer["order"])
        if report is None:
            raise Unavailable(f"venue: order {venue_order_id}: of a product that is not ours")
        return report

    async def orders(self, symbol: str, *, working_only: bool) -> list[VenueReport]:
        """Return a symbol's working orders, or its newest thousand in any state."""
        query = [("product_ids", self._symbols[symbol])]
        if working_only:
            # OPEN alone misses orders that are still on their way in or out of the book.
            query += [("order_status", status) for status in WORKING_STATUSES]
        path = "/orders/historical/batch"
        rows = await self._pages(path, "orders", query, None if working_only else RECENT_PAGES)
        with readable("orders"):
            return [report for row in rows if (report := self._report(row)) is not None]

    async def fills_of(self, venue_order_ids: Sequence[str]) -> list[Fill]:
        """Return every fill of these orders, oldest first; their client ids are empty."""
        found: list[Fill] = []
        for start in range(0, len(venue_order_ids), IDS_MAX):
            found += await self._fills(venue_order_ids[start : start + IDS_MAX])
        return found

    async def positions(self) -> Mapping[str, VenuePosition]:
        """Return the open positions by symbol; a symbol that is absent is flat."""
        rows: list[Mapping[str, Any]] = []
        families = {product_id.endswith("-INTX") for product_id in self._symbols.values()}
        found = {}
        with readable("positions"):
            if False in families:
                rows += (await self.get("/cfm/positions"))["positions"]
            if True in families:
                portfolio = await self.intx_portfolio()
                rows += (await self.get(f"/intx/positions/{portfolio}"))["positions"]
            for row in rows:
                rules = self.rules_for_product(row.get("product_id"))
                if rules is not None:
                    found[rules.symbol] = position_from(row, rules)
        return found

    def rules_for_product(self, product_id: Any) -> ProductRules | None:
        """Return the rules of a product id, None when it is not one of ours."""
        return self._rules_by_product.get(product_id)

    async def intx_portfolio(self) -> str:
        """Return the id of the portfolio that trades perpetuals."""
        if not self._intx_portfolio:
            answer = await self.get("/portfolios", [("portfolio_type", "INTX")])
            with readable("portfolios"):
                for portfolio in answer.get("portfolios", []):
                    self._intx_portfolio = str(portfolio["uuid"])
        if not self._intx_portfolio:
            raise Unavailable("venue: no portfolio of type INTX")
        return self._intx_portfolio

    async def get(self, path: str, query: Query = ()) -> Any:
        """Return the JSON at a path below the API's prefix.

        Raises:
            NotFound: the venue says that there is no such thing.
            Overloaded: the rate limit is reached.
            Unavailable: no answer in time, or none that can be read.
        """
        return await self._call(path.split("/")[1], "GET", path, query=query)

    async def _fills(self, venue_order_ids: Sequence[str]) -> list[Fill]:
        query = [("order_ids", one) for one in venue_order_ids]
        rows = await self._pages("/orders/historical/fills", "fills", query, None)
        with readable("fills"):
            found = [
                fill_from(row, rules)
                for row in rows
                if (rules := self.rules_for_product(row.get("product_id"))) is not None
            ]
        return sorted(found, key=lambda fill: fill.ts_event_ns or 0)

    def _report(self, order: Mapping[str, Any]) -> VenueReport | None:
        rules = self.rules_for_product(order.get("product_id"))
        return None if rules is None else report_from(order, rules)

    def _read_created(
        self, answer: Answer, intent: Intent, rules: ProductRules
    ) -> Accepted | Rejected:
        status = answer.status
        if status == HTTP_TOO_MANY_REQUESTS:
            if b"rate_limit_exceeded" in answer.body:
                return Rejected("the venue's rate limit is reached", rate_limited=True)
            # Something on the way said so: whether the venue itself has the order, nobody knows.
            raise OutcomeUnknown("venue: create order: HTTP 429 that is not the venue's")
        if status == HTTP_REQUEST_TIMEOUT:
            raise OutcomeUnknown("venue: create order: HTTP 408; outcome unknown")
        if status == HTTP_UNAUTHORIZED:
            self._signer.forget()
        if status != HTTP_OK and status < HTTP_SERVER_ERROR:
            return Rejected(f"HTTP {status}: {_shorten(answer.text)}")
        try:
            read = msgspec.json.decode(answer.body)
            if status == HTTP_OK and not read["success"]:
                return Rejected(_failure(read.get("error_response") or {}))
            made = read["success_response"] if status == HTTP_OK else {}
            order_id = str(made["order_id"])
        except (ValueError, KeyError, TypeError, AttributeError):
            # It may have been taken all the same: a broken answer is no answer.
            raise OutcomeUnknown(f"venue: create order: unreadable answer, HTTP {status}") from None
        echo = (made.get("client_order_id"), made.get("product_id"), made.get("side"))
        if echo != (intent.client_order_id, rules.product_id, intent.side.value):
            raise OutcomeUnknown(f"venue: create order: the answer is for another order: {echo}")
        return Accepted(order_id, str(made.get("attached_order_id") or ""))

    async def _pages(
        self, path: str, field: str, query: Query, pages_max: int | None
    ) -> list[Mapping[str, Any]]:
        """Return the rows of all pages, or of the first `pages_max`.

        Raises:
            Unavailable: all were wanted, and there is no end of them.
        """
        rows: list[Mapping[str, Any]] = []
        cursor = ""
        for _ in range(pages_max or PAGES_MAX):
            page = [*query, ("limit", str(PAGE_ROWS)), *([("cursor", cursor)] if cursor else [])]
            answer = await self.get(path, page)
            with readable(field):
                found = list(answer[field])
                cursor = str(answer.get("cursor") or "")
            rows += found
            if not cursor or not found:
                return rows
        if pages_max is None:
            raise Unavailable(f"venue: {field}: more than {PAGES_MAX} pages")
        return rows

    async def _call(
        self,
        name: str,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Any = None,
        priority: Priority = Priority.QUERY,
    ) -> Any:
        try:
            answer = await self._send(name, method, path, priority, query=query, body=body)
        except (NotSent, OutcomeUnknown) as error:
            raise Unavailable(f"venue: {method} {path}: {error}") from None
        if answer.status == HTTP_OK:
            try:
                return msgspec.json.decode(answer.body)
            except ValueError:
                raise Unavailable(f"venue: {method} {path}: the answer is no JSON") from None
        raise self._fault(answer, f"venue: {method} {path}")

    async def _send(
        self,
        name: str,
        method: str,
        path: str,
        priority: Priority,
        *,
        query: Query = (),
        body: Any = None,
        passage: Passage | None = None,
    ) -> Answer:
        """Send one request when it is its turn; its deadline counts from now."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_seconds
        content = b"" if body is None else msgspec.json.encode(body)
        if not await self._pacer.turn(priority, deadline):
            self._metrics.count_request(name, "error")
            raise NotSent(f"{name}: not sent: the venue's rate limit left no turn in time")
        answer: Answer | None = None
        sent = False
        try:
            # Signed just before it leaves, or a second earlier at most: the JWT's short life also
            # bounds how late the venue can still accept an order whose answer was lost.
            token = self._sign(name, method, path)
            headers = [("authorization", f"Bearer {token}"), *([_JSON] if content else [])]
            target = f"{PREFIX}{path}?{urlencode(query)}" if query else f"{PREFIX}{path}"
            if passage is not None:
                await passage.kept()
            sent = True
            answer = await self._wire.request(
                method,
                target,
                headers,
                content,
                deadline_seconds=deadline - loop.time(),
                passage=passage,
                urgent=priority is Priority.CANCEL,
            )
        except (NotSent, GateClosed):
            sent = False
            raise
        finally:
            if answer is None:
                self._pacer.unanswered(sent=sent)
                self._metrics.count_request(name, "error")
        self._pacer.answered(answer.status, answer.headers)
        self._metrics.count_request(name, str(answer.status))
        return answer

    def _sign(self, name: str, method: str, path: str) -> str:
        make = self._signer.token_ahead if name == CREATE else self._signer.token
        try:
            return make(method, self._wire.host, PREFIX + path)
        except Unavailable as error:
            raise NotSent(f"{name}: not sent: {error}") from None

    def _fault(self, answer: Answer, what: str) -> Fault:
        text = f"{what}: HTTP {answer.status}: {_shorten(answer.text)}"
        if answer.status == HTTP_UNAUTHORIZED:
            self._signer.forget()
        if answer.status == HTTP_NOT_FOUND:
            return NotFound(text)
        if answer.status == HTTP_TOO_MANY_REQUESTS:
            return Overloaded(text)
        if HTTP_BAD_REQUEST <= answer.status < HTTP_SERVER_ERROR:
            return VenueRefused(text)
        return Unavailable(text)


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn an answer of another shape than the protocol's into a fault: it says nothing."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unavailable(f"venue: {what}: unreadable answer: {_shorten(repr(error))}") from None


def _failure(error: Mapping[str, Any]) -> str:
    names = ("new_order_failure_reason", "error", "preview_failure_reason")
    reasons = [str(error.get(name) or "") for name in names]
    reason = next((r for r in reasons if r and "UNKNOWN" not in r), "") or reasons[0]
    message = _shorten(str(error.get("message") or ""))
    return f"{reason}: {message}" if message else reason


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:197]}..."  # noqa: PLR2004 - one line
