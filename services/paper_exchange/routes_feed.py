"""The WebSocket endpoint at `/`: one reader and one writer per connection, both bounded in time."""

import asyncio
import contextlib
import logging
from typing import Final

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from lob.errors import Overloaded
from services.paper_exchange.feed import Connection, Feed

_log: Final = logging.getLogger(__name__)

CLOSE_POLICY: Final = 1008
CLOSE_TRY_LATER: Final = 1013
WRITE_TIMEOUT_SECONDS: Final = 10.0
CLOSE_TIMEOUT_SECONDS: Final = 3.0


def feed_router(feed: Feed, first_subscribe_seconds: float) -> APIRouter:
    """Return the router that serves `feed`.

    A client that has not subscribed to anything within `first_subscribe_seconds` is disconnected.
    """
    router = APIRouter()

    @router.websocket("/")
    async def serve(socket: WebSocket) -> None:
        await socket.accept()
        try:
            connection = feed.open()
        except Overloaded as fault:
            await _close(socket, CLOSE_TRY_LATER, str(fault))
            return
        tasks = {
            asyncio.create_task(_read(feed, connection, socket)),
            asyncio.create_task(_write(connection, socket)),
            asyncio.create_task(_watch(connection, first_subscribe_seconds)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            feed.close(connection)
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    _log.error("connection failed", exc_info=result)
        await _close(socket, CLOSE_POLICY, connection.cut_reason or "connection ended")

    return router


async def _read(feed: Feed, connection: Connection, socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, KeyError):  # KeyError: a binary message
        while True:
            feed.receive(connection, await socket.receive_text())


async def _write(connection: Connection, socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        while True:
            message = await connection.queue.get()
            async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                await socket.send_text(message)


async def _watch(connection: Connection, first_subscribe_seconds: float) -> None:
    """Return when the connection has to end: nothing subscribed in time, or cut off."""
    try:
        async with asyncio.timeout(first_subscribe_seconds):
            await connection.subscribed.wait()
    except TimeoutError:
        connection.cut_reason = f"no subscription within {first_subscribe_seconds:g} s"
        return
    await connection.cut.wait()


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Close, whether or not the peer still reads, or is still there."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await socket.close(code, reason)
