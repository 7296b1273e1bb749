"""The WebSocket endpoint at `/`: one reader per connection, and one who waits for its end."""

import asyncio
import contextlib
import logging
from typing import Final

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from lob.errors import Fault, Overloaded
from services.paper_exchange.connection import Connection
from services.paper_exchange.feed import Feed
from services.paper_exchange.gate import coinbase_answer
from services.paper_exchange.transport import FRAMES

_log: Final = logging.getLogger(__name__)

CLOSE_TRY_LATER: Final = 1013
CLOSE_TIMEOUT_SECONDS: Final = 3.0


def feed_router(feed: Feed) -> APIRouter:
    """Return the router that serves `feed`.

    A client that has not subscribed to anything within the feed's limit is disconnected.
    """
    router = APIRouter()

    @router.websocket("/")
    async def serve(socket: WebSocket) -> None:
        address = socket.client.host if socket.client else "unknown"
        try:
            feed.admit(address)
        except Fault as fault:
            await socket.send_denial_response(coinbase_answer(fault))
            return
        await socket.accept()
        try:
            connection = feed.open(socket.scope["extensions"][FRAMES], address)
        except Overloaded as fault:
            await _close(socket, CLOSE_TRY_LATER, str(fault))
            return
        await _serve(feed, connection, socket)

    return router


async def _serve(feed: Feed, connection: Connection, socket: WebSocket) -> None:
    """Read until either side ends it, then close."""
    seconds = feed.limits.first_subscribe_seconds

    def nothing_came() -> None:
        if not connection.subscribed:
            connection.end(f"no subscription within {seconds:g} s")

    first = asyncio.get_running_loop().call_later(seconds, nothing_came)
    tasks = {
        asyncio.create_task(_read(feed, connection, socket)),
        asyncio.create_task(_ended(connection)),
    }
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        first.cancel()
        feed.close(connection)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("connection failed", exc_info=result)
    await _close(socket, connection.end_code, connection.end_reason or "connection ended")


async def _read(feed: Feed, connection: Connection, socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, KeyError):  # KeyError: a binary message
        while True:
            feed.receive(connection, await socket.receive_text())


async def _ended(connection: Connection) -> None:
    await connection.ended.wait()


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Close, whether or not the peer still reads, or is still there."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await socket.close(code, reason)
