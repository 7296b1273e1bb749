"""Faults on REST requests, outside of everything else: authentication and limits come behind."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lob.errors import Overloaded, Unavailable
from services.paper_exchange.bodies import BODY_BYTES_MAX
from services.paper_exchange.faults import FaultBook, FaultKind, FaultRule
from services.paper_exchange.gate import API_PREFIX, WALLET_PREFIX, coinbase_answer
from services.paper_exchange.quick import ABORT

TIME_OUT_SECONDS: Final = 60.0
TOO_MANY_REQUESTS: Final = 429
_NEVER_CARRIED_OUT: Final = frozenset({FaultKind.DROP, FaultKind.MAINTENANCE})
_ANSWERED_WITH_ERROR: Final = frozenset({FaultKind.ERROR, FaultKind.MAINTENANCE})
_SILENT: Final = frozenset({FaultKind.DROP, FaultKind.TIME_OUT, FaultKind.DISCONNECT})

AccountOf = Callable[[Headers], str | None]


class RestFaults:
    """Strike requests below the API's prefixes as the faults in force say.

    Args:
        app: what serves requests.
        book: the faults.
        account_of: names the account that a request's headers claim, without checking them.
    """

    def __init__(self, app: ASGIApp, book: FaultBook, account_of: AccountOf) -> None:
        self._app = app
        self._book = book
        self._account_of = account_of
        self._held: set[asyncio.Event] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or do something wrong with it."""
        if scope["type"] != "http" or not scope["path"].startswith((API_PREFIX, WALLET_PREFIX)):
            await self._app(scope, receive, send)
            return
        struck = None
        if self._book.rest_armed:
            account = self._account_of(Headers(scope=scope))
            struck = self._book.on_rest(scope["method"], scope["path"], account)
        if struck is None:
            await self._app(scope, receive, send)
        else:
            await self._strike(struck, scope, receive, send)
        if struck is None or struck.kind is not FaultKind.REORDER:
            for event in self._held:
                event.set()

    async def _strike(self, rule: FaultRule, scope: Scope, receive: Receive, send: Send) -> None:
        # Held from here on: another one may pass while this one's body is on its way.
        with self._holding(rule) as passed:
            body = await _read(receive)
            if rule.when == "before" or rule.kind in _NEVER_CARRIED_OUT:
                if await _answered_otherwise(rule, scope, receive, send):
                    return
                await _pause(rule)
            if passed is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rule.seconds):
                        await passed.wait()
        if rule.kind is FaultKind.DUPLICATE:
            await self._carry_out(scope, body)
        answer = await self._carry_out(scope, body)
        if rule.when == "after":
            if await _answered_otherwise(rule, scope, receive, send):
                return
            await _pause(rule)
        if rule.kind is FaultKind.PARTIAL:
            await _send_half(answer, send)
            await _abort(scope, receive)
            return
        for message in answer:
            await send(message)

    async def _carry_out(self, scope: Scope, body: bytes) -> list[Message]:
        """Serve the request and return the answer's messages instead of sending them."""
        answer: list[Message] = []
        given = False

        async def receive() -> Message:
            nonlocal given
            if given:
                return {"type": "http.disconnect"}
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            answer.append(message)

        # The state is the same in a second time, so that it knows who was admitted in the first.
        await self._app(scope, receive, keep)
        return answer

    @contextlib.contextmanager
    def _holding(self, rule: FaultRule) -> Iterator[asyncio.Event | None]:
        """Give what is set when another request has been served; None where none is waited for."""
        if rule.kind is not FaultKind.REORDER:
            yield None
            return
        event = asyncio.Event()
        self._held.add(event)
        self._book.rest_held = len(self._held)
        try:
            yield event
        finally:
            self._held.discard(event)
            self._book.rest_held = len(self._held)


async def _read(receive: Receive) -> bytes:
    """Return the body, or as much of it as shows that it is too long."""
    body = b""
    while len(body) <= BODY_BYTES_MAX:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


async def _pause(rule: FaultRule) -> None:
    if rule.kind is FaultKind.DELAY:
        await asyncio.sleep(rule.seconds)


async def _answered_otherwise(rule: FaultRule, scope: Scope, receive: Receive, send: Send) -> bool:
    """Give an error, or never any answer, where the rule says so; return whether it does."""
    if rule.kind in _ANSWERED_WITH_ERROR:
        await _error(rule)(scope, receive, send)
    elif rule.kind in _SILENT:
        await _leave(rule, scope, receive)
    else:
        return False
    return True


def _error(rule: FaultRule) -> Response:
    """Return the error that the rule asks for, in Coinbase's shape or as its front door's page."""
    status = rule.status
    if rule.html:
        page = f"<html><head><title>{status}</title></head><body>{status}</body></html>"
        return HTMLResponse(page, status_code=status)
    if rule.kind is FaultKind.MAINTENANCE:
        return coinbase_answer(Unavailable("scheduled maintenance"))
    if status == TOO_MANY_REQUESTS:
        return coinbase_answer(Overloaded("rate limit exceeded"))
    text = "fault on demand"
    body = {"error": "INTERNAL", "error_details": text, "message": text}
    return JSONResponse(body, status_code=status)


async def _leave(rule: FaultRule, scope: Scope, receive: Receive) -> None:
    """Never answer: end the connection at once, or when the client has waited long enough."""
    if rule.kind is not FaultKind.DISCONNECT:
        try:
            async with asyncio.timeout(TIME_OUT_SECONDS):
                await _until_gone(receive)
        except TimeoutError:
            pass
    await _abort(scope, receive)


async def _abort(scope: Scope, receive: Receive) -> None:
    """End the connection without an answer, and return when it is gone."""
    scope["extensions"][ABORT]()
    await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_half(answer: list[Message], send: Send) -> None:
    """Send a whole head and half of the body that it announces."""
    body = b"".join(message.get("body", b"") for message in answer[1:])
    await send(answer[0])
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
