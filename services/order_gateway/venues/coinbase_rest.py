"""Coinbase Advanced Trade over REST, with a deadline on each request and no blind resend."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import httpx

from lob.errors import Fault, NotFound, Overloaded, Unavailable
from services.order_gateway.metrics import VenueMetrics
from services.order_gateway.venues.base import (
    Accepted,
    GateClosed,
    NotSent,
    OutcomeUnknown,
    Passage,
    Rejected,
    VenuePosition,
    VenueReport,
)
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_wire import (
    WORKING_STATUSES,
    fill_from,
    order_configuration,
    position_from,
    report_from,
    rules_from,
)
from touchstone.kit.event_store import Fill
from touchstone.perps.orders import Intent
from touchstone.perps.products import ProductRules

PREFIX: Final = "/api/v3/brokerage"
PAGE_ROWS: Final = 250
CANCELS_MAX: Final = 100
PAGES_MAX: Final = 20
RECENT_PAGES: Final = 4

HTTP_OK: Final = 200
HTTP_UNAUTHORIZED: Final = 401
HTTP_NOT_FOUND: Final = 404
HTTP_TOO_MANY_REQUESTS: Final = 429
HTTP_SERVER_ERROR: Final = 500

Query = Sequence[tuple[str, str]]


class CoinbaseRest:
    """Speak Coinbase's REST protocol to `base_url`: the exchange, or the paper exchange.

    `symbols` maps our symbols to product ids. Implements `Venue`.
    """

    def __init__(
        self,
        base_url: str,
        signer: ApiKeySigner,
        symbols: Mapping[str, str],
        metrics: VenueMetrics,
        *,
        deadline_seconds: float = 5.0,
        forward_reduce_only: bool = True,
    ) -> None:
        self._signer = signer
        self._symbols = dict(symbols)
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        self._forward_reduce_only = forward_reduce_only
        self._rules: dict[str, ProductRules] = {}
        self._intx_portfolio = ""
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(deadline_seconds),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=16),
            # The environment's proxies have no business between us and the venue.
            trust_env=False,
        )
        self._host = self._client.base_url.netloc.decode()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def rules(self) -> Mapping[str, ProductRules]:
        """Return the rules of every configured symbol, by symbol."""
        for symbol, product_id in self._symbols.items():
            product = await self._get(f"/products/{product_id}")
            with _readable(f"product {product_id}"):
                self._rules[symbol] = rules_from(product, symbol)
        return dict(self._rules)

    async def submit(
        self, intent: Intent, rules: ProductRules, passage: Passage
    ) -> Accepted | Rejected:
        """Send an order.

        `passage` is called twice without an await between it and the next step of the write: before
        the headers, and again before the body, without which the venue has no order. What remains
        after the second call is one turn of the event loop inside the socket's `send`; the passage
        ends only after that.

        Raises:
            GateClosed: the gate refused; the body was never written.
            NotSent: no connection, or it broke before the body was written.
            OutcomeUnknown: the body was handed to the socket and no readable answer came.
        """
        body = {
            "client_order_id": intent.client_order_id,
            "product_id": rules.product_id,
            "side": intent.side.value,
            "order_configuration": order_configuration(
                intent, rules, forward_reduce_only=self._forward_reduce_only
            ),
        }
        write = _Write(passage)
        try:
            request = self._request("POST", "/orders", json=body)
            request.extensions["trace"] = write.trace
            async with asyncio.timeout(self._deadline_seconds):
                response = await self._client.send(request)
        except GateClosed:
            raise
        except (httpx.HTTPError, TimeoutError, OSError, Unavailable) as error:
            self._metrics.count_request("create", "error")
            cause = str(error) or type(error).__name__
            if write.begun:
                raise OutcomeUnknown(f"venue: create order: {cause}; outcome unknown") from None
            raise NotSent(f"venue: create order: not sent: {cause}") from None
        self._metrics.count_request("create", str(response.status_code))
        return self._read_created(response, intent, rules)

    async def cancel(self, venue_order_ids: Sequence[str]) -> Mapping[str, str]:
        """Ask for cancels, a hundred a request; '' where taken, else the venue's reason, by id."""
        found: dict[str, str] = {}
        for start in range(0, len(venue_order_ids), CANCELS_MAX):
            body = {"order_ids": list(venue_order_ids[start : start + CANCELS_MAX])}
            answer = await self._call("cancel", "POST", "/orders/batch_cancel", json=body)
            with _readable("cancel"):
                for result in answer["results"]:
                    # The reason is there even on success; it then means nothing.
                    reason = str(result.get("failure_reason") or "UNKNOWN_CANCEL_FAILURE_REASON")
                    found[str(result["order_id"])] = "" if result.get("success") else reason
        return found

    async def order(self, venue_order_id: str) -> VenueReport | None:
        """Return one order; None only when the venue answers that there is none of that id."""
        try:
            answer = await self._get(f"/orders/historical/{venue_order_id}")
        except NotFound:
            return None
        with _readable(f"order {venue_order_id}"):
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
        pages = PAGES_MAX if working_only else RECENT_PAGES
        rows = await self._pages("/orders/historical/batch", "orders", query, pages)
        with _readable("orders"):
            return [report for row in rows if (report := self._report(row)) is not None]

    async def fills(self, venue_order_id: str, client_order_id: str) -> list[Fill]:
        """Return every fill of an order, oldest first."""
        query = [("order_ids", venue_order_id)]
        rows = await self._pages("/orders/historical/fills", "fills", query, PAGES_MAX)
        with _readable("fills"):
            found = [
                fill_from(row, rules, client_order_id)
                for row in rows
                if (rules := self._rules_of(row.get("product_id"))) is not None
            ]
        return sorted(found, key=lambda fill: (fill.ts_event_ns or 0, fill.trade_id))

    async def positions(self) -> Mapping[str, VenuePosition]:
        """Return the open positions of the configured symbols, by symbol."""
        rows: list[Any] = []
        families = {product_id.endswith("-INTX") for product_id in self._symbols.values()}
        found = {}
        with _readable("positions"):
            if False in families:
                rows += (await self._get("/cfm/positions"))["positions"]
            if True in families:
                portfolio = await self._portfolio()
                rows += (await self._get(f"/intx/positions/{portfolio}"))["positions"]
            for row in rows:
                rules = self._rules_of(row.get("product_id"))
                if rules is not None:
                    found[rules.symbol] = position_from(row, rules)
        return found

    def rules_for_product(self, product_id: str) -> ProductRules | None:
        """Return the rules of a product id, None when it is not one of ours."""
        return self._rules_of(product_id)

    async def _portfolio(self) -> str:
        if not self._intx_portfolio:
            answer = await self._get("/portfolios", [("portfolio_type", "INTX")])
            for portfolio in answer.get("portfolios", []):
                self._intx_portfolio = str(portfolio["uuid"])
        if not self._intx_portfolio:
            raise Unavailable("venue: no portfolio of type INTX")
        return self._intx_portfolio

    def _rules_of(self, product_id: Any) -> ProductRules | None:
        return next((r for r in self._rules.values() if r.product_id == product_id), None)

    def _report(self, order: Mapping[str, Any]) -> VenueReport | None:
        rules = self._rules_of(order.get("product_id"))
        return None if rules is None else report_from(order, rules)

    def _read_created(
        self, response: httpx.Response, intent: Intent, rules: ProductRules
    ) -> Accepted | Rejected:
        status = response.status_code
        if status == HTTP_TOO_MANY_REQUESTS:
            return Rejected("the venue's rate limit is reached", rate_limited=True)
        if status == HTTP_UNAUTHORIZED:
            self._signer.forget()
        if status != HTTP_OK and status < HTTP_SERVER_ERROR:
            return Rejected(f"HTTP {status}: {_shorten(response.text)}")
        try:
            answer = response.json()
            if status == HTTP_OK and not answer["success"]:
                return Rejected(_failure(answer.get("error_response") or {}))
            made = answer["success_response"] if status == HTTP_OK else {}
            order_id = str(made["order_id"])
        except (ValueError, KeyError, TypeError, AttributeError):
            # It may have been taken all the same: a broken answer is no answer.
            raise OutcomeUnknown(f"venue: create order: unreadable answer, HTTP {status}") from None
        echo = (made.get("client_order_id"), made.get("product_id"), made.get("side"))
        if echo != (intent.client_order_id, rules.product_id, intent.side.value):
            raise OutcomeUnknown(f"venue: create order: the answer is for another order: {echo}")
        return Accepted(order_id)

    async def _pages(
        self, path: str, field: str, query: Query, pages_max: int
    ) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        cursor = ""
        for _ in range(pages_max):
            page = [*query, ("limit", str(PAGE_ROWS)), *([("cursor", cursor)] if cursor else [])]
            answer = await self._get(path, page)
            with _readable(field):
                found = list(answer[field])
                cursor = str(answer.get("cursor") or "")
            rows += found
            if not cursor or not found:
                break
        return rows

    async def _get(self, path: str, query: Query = ()) -> Any:
        return await self._call(path.split("/")[1], "GET", path, query=query)

    async def _call(
        self, name: str, method: str, path: str, *, query: Query = (), json: Any = None
    ) -> Any:
        try:
            request = self._request(method, path, query=query, json=json)
            async with asyncio.timeout(self._deadline_seconds):
                response = await self._client.send(request)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            self._metrics.count_request(name, "error")
            cause = str(error) or type(error).__name__
            raise Unavailable(f"venue: {method} {path}: {cause}") from None
        self._metrics.count_request(name, str(response.status_code))
        if response.status_code == HTTP_OK:
            try:
                return response.json()
            except ValueError:
                raise Unavailable(f"venue: {method} {path}: the answer is no JSON") from None
        raise self._fault(response, f"venue: {method} {path}")

    def _fault(self, response: httpx.Response, what: str) -> Fault:
        text = f"{what}: HTTP {response.status_code}: {_shorten(response.text)}"
        if response.status_code == HTTP_UNAUTHORIZED:
            self._signer.forget()
        if response.status_code == HTTP_NOT_FOUND:
            return NotFound(text)
        if response.status_code == HTTP_TOO_MANY_REQUESTS:
            return Overloaded(text)
        return Unavailable(text)

    def _request(
        self, method: str, path: str, *, query: Query = (), json: Any = None
    ) -> httpx.Request:
        # Signed just before it leaves: the JWT's short life also bounds how late the venue can
        # still accept an order whose answer was lost.
        token = self._signer.token(method, self._host, PREFIX + path)
        return self._client.build_request(
            method,
            PREFIX + path,
            params=list(query) or None,
            json=json,
            headers={"Authorization": f"Bearer {token}"},
        )


class _Write:
    """Call the last gate from inside httpcore's write path, and remember whether it let go."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self.begun = False

    async def trace(self, name: str, _info: Mapping[str, Any]) -> None:
        if name.endswith(("send_request_headers.started", "send_request_body.started")):
            refusal = self._passage()
            if refusal is not None:
                raise GateClosed(refusal)
        if name.endswith("send_request_body.started"):
            self.begun = True
        elif name.endswith(("send_request_body.complete", "send_request_body.failed")):
            self._passage.handed_over()


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
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
