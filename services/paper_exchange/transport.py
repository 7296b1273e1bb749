"""The WebSocket transport: uvicorn's, plus an end to connections whose peer does not read."""

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

CLOSE_GRACE_SECONDS: Final = 2.0


class ImpatientWebSocket(WebSocketsSansIOProtocol):
    """Abort a connection that has not closed within two seconds of our asking.

    uvicorn flushes what is buffered before it closes, so a peer that never reads would keep its
    connection for ever.
    """

    async def send(self, message: Any) -> None:
        """Pass a message on; a close message also starts the countdown."""
        if message["type"] == "websocket.close":
            self.loop.call_later(CLOSE_GRACE_SECONDS, self.transport.abort)
        await super().send(message)
