"""A whole account at the venue, for what has to work without the gateway: look, cancel, close.

No symbol map, no journal, no order of ours: everything that the key's account has, in the venue's
own units. An answer that does not come, or cannot be read, is a fault and never "nothing there".
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Any, Final, Protocol, Self

import httpx

from lob.errors import Overloaded, Unavailable
from services.order_gateway.venues.coinbase_auth import ApiKeySigner

PREFIX: Final = "/api/v3/brokerage"
WORKING: Final = ("OPEN", "PENDING", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED")
PAGE_ROWS: Final = 250
PAGES_MAX: Final = 20
CANCELS_MAX: Final = 100
STOPS: Final = ("stop_limit_", "trigger_bracket_")

HTTP_OK: Final = 200
HTTP_UNAUTHORIZED: Final = 401
HTTP_TOO_MANY_REQUESTS: Final = 429


@dataclass(frozen=True, slots=True)
class LiveOrder:
    """An order that may still trade; `leaves` in the venue's units (contracts or coins)."""

    order_id: str
    client_order_id: str
    product_id: str
    side: str
    kind: str
    leaves: Decimal
    reduce_only: bool
    created: str

    @property
    def is_stop(self) -> bool:
        """Return whether it waits for a price: a stop-limit or a bracket."""
        return self.kind.startswith(STOPS)


class Account(Protocol):
    """What is needed of an account; every call is bounded in time and raises only faults."""

    async def working_orders(self) -> list[LiveOrder]:
        """Return every order that may still trade."""
        ...

    async def positions(self) -> dict[str, Decimal]:
        """Return the open positions by product, signed; a product that is absent is flat."""
        ...

    async def cancel(self, order_ids: Sequence[str]) -> dict[str, str]:
        """Ask for cancels; return by id '' where taken, else the venue's reason."""
        ...

    async def close_position(self, product_id: str, client_order_id: str) -> str:
        """Have the venue close a position, reduce-only; return '' where taken, else its reason."""
        ...


def protective(
    orders: Sequence[LiveOrder], positions: Mapping[str, Decimal] | None
) -> frozenset[str]:
    """Return the ids of the stops that protect an open position.

    They are on the reducing side and fit into the position together, flagged ones first, then the
    oldest. Where the positions are not known (None), the stops that are flagged reduce-only count,
    because they can do no harm, and so do brackets.
    """
    stops = [order for order in orders if order.is_stop]
    if positions is None:
        return frozenset(
            order.order_id
            for order in stops
            if order.reduce_only or order.kind.startswith("trigger_bracket_")
        )
    room = {product: abs(quantity) for product, quantity in positions.items()}
    kept = set()
    for order in sorted(stops, key=lambda each: (not each.reduce_only, each.created)):
        held = positions.get(order.product_id, Decimal(0))
        reduces = held > 0 if order.side == "SELL" else held < 0
        if reduces and order.leaves <= room[order.product_id]:
            room[order.product_id] -= order.leaves
            kept.add(order.order_id)
    return frozenset(kept)


class CoinbaseAccount:
    """The account of one API key at `base_url`; use it as an async context manager."""

    def __init__(
        self,
        base_url: str,
        signer: ApiKeySigner,
        *,
        deadline_seconds: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._signer = signer
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(deadline_seconds),
            transport=transport,
            # The environment's proxies have no business between us and the venue.
            trust_env=False,
        )
        self._host = self._client.base_url.netloc.decode()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def working_orders(self) -> list[LiveOrder]:
        """Return every order that may still trade.

        Raises:
            Unavailable: no answer, or one that is not the protocol's; nothing is known then.
        """
        query = [("order_status", status) for status in WORKING]
        rows = await self.every("/orders/historical/batch", "orders", query)
        with _readable("orders"):
            return [_order(row) for row in rows]

    async def every(
        self, path: str, name: str, query: Sequence[tuple[str, str]] = ()
    ) -> list[dict[str, Any]]:
        """Return every row of a list that comes in pages, as the venue writes it.

        Raises:
            Unavailable: no answer, no end of the pages, or an answer that is not the protocol's.
        """
        rows: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(PAGES_MAX):
            page = [*query, ("limit", str(PAGE_ROWS)), *([("cursor", cursor)] if cursor else [])]
            answer = await self._get(path, page)
            with _readable(name):
                rows += answer[name]
                cursor = str(answer.get("cursor") or "")
            if not cursor:
                return rows
        raise Unavailable(f"venue: {name}: more than {PAGES_MAX * PAGE_ROWS}")

    async def positions(self) -> dict[str, Decimal]:
        """Return the open positions by product, signed; a product that is absent is flat.

        Raises:
            Unavailable: no answer, or one that is not the protocol's: unknown, never flat.
        """
        found: dict[str, Decimal] = {}
        answer = await self._get("/cfm/positions")
        with _readable("positions"):
            for row in answer["positions"]:
                size = Decimal(row["number_of_contracts"])
                _signed(found, row, -size if row["side"] == "SHORT" else size)
        portfolios = await self._get("/portfolios", [("portfolio_type", "INTX")])
        with _readable("portfolios"):
            uuids = [str(row["uuid"]) for row in portfolios["portfolios"]]
        for uuid in uuids:
            answer = await self._get(f"/intx/positions/{uuid}")
            with _readable("positions"):
                for row in answer["positions"]:
                    _signed(found, row, Decimal(row["net_size"]))
        return found

    async def cancel(self, order_ids: Sequence[str]) -> dict[str, str]:
        """Ask for cancels, a hundred a request; '' where taken, else the venue's reason, by id."""
        found: dict[str, str] = {}
        for start in range(0, len(order_ids), CANCELS_MAX):
            body = {"order_ids": list(order_ids[start : start + CANCELS_MAX])}
            answer = await self._call("POST", "/orders/batch_cancel", body=body)
            with _readable("cancel"):
                for result in answer["results"]:
                    reason = str(result.get("failure_reason") or "UNKNOWN_CANCEL_FAILURE_REASON")
                    found[str(result["order_id"])] = "" if result.get("success") else reason
        return found

    async def close_position(self, product_id: str, client_order_id: str) -> str:
        """Have the venue close a position; it finds side and size when the request arrives.

        So one that is sent twice cannot open the other way.
        """
        body = {"client_order_id": client_order_id, "product_id": product_id}
        answer = await self._call("POST", "/orders/close_position", body=body)
        with _readable("close"):
            if answer["success"]:
                return ""
            error = answer.get("error_response") or {}
            reason = error.get("new_order_failure_reason") or error.get("error") or "refused"
            return f"{reason}: {error.get('message') or ''}".rstrip(": ")

    async def _get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:
        return await self._call("GET", path, query=query)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        what = f"venue: {method} {path}"
        token = self._signer.token(method, self._host, PREFIX + path)
        try:
            response = await self._client.request(
                method,
                PREFIX + path,
                params=list(query) or None,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
            )
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(f"{what}: {error or type(error).__name__}") from None
        if response.status_code == HTTP_UNAUTHORIZED:
            self._signer.forget()
        if response.status_code == HTTP_TOO_MANY_REQUESTS:
            raise Overloaded(f"{what}: the venue's rate limit is reached")
        if response.status_code != HTTP_OK:
            raise Unavailable(f"{what}: HTTP {response.status_code}")
        try:
            return response.json()
        except ValueError:
            raise Unavailable(f"{what}: the answer is no JSON") from None


def _order(row: Mapping[str, Any]) -> LiveOrder:
    [(kind, terms)] = dict(row["order_configuration"]).items()
    size = Decimal(str(terms.get("base_size") or 0))
    return LiveOrder(
        order_id=str(row["order_id"]),
        client_order_id=str(row.get("client_order_id") or ""),
        product_id=str(row["product_id"]),
        side=str(row["side"]),
        kind=kind,
        leaves=size - Decimal(str(row.get("filled_size") or 0)),
        reduce_only=terms.get("reduce_only") is True,
        created=str(row.get("created_time") or ""),
    )


def _signed(found: dict[str, Decimal], row: Mapping[str, Any], quantity: Decimal) -> None:
    product_id = str(row["product_id"])
    total = found.pop(product_id, Decimal(0)) + quantity
    if total:
        found[product_id] = total


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn an answer of another shape than the protocol's into a fault: it says nothing."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        text = json.dumps(repr(error)[:160])
        raise Unavailable(f"venue: {what}: unreadable answer: {text}") from None
