"""An HTTP protocol for uvicorn that sends an answer's head and body in one piece.

uvicorn writes them one after the other, and uvloop sends what it is given at once: two system calls
and two packets for every answer, and two wake-ups for whoever waits for it.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport that joins two writes of one moment."""

    def connection_made(self, transport: Any) -> None:
        """Begin a connection."""
        super().connection_made(Corked(transport, asyncio.get_running_loop()))  # type: ignore[arg-type]


class Corked:
    """Hold the first write of a moment until the next one, or until the event loop goes on.

    Everything else is the transport's own.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._flush: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        """Return what the transport has."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`, with what was held before it; or hold it."""
        if self._flush is None:
            self._held = data
            self._flush = self._loop.call_soon(self.flush)
        else:
            self._held += data
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
            held, self._held = self._held, b""
            self._transport.write(held)

    def close(self) -> None:
        """Send what is held, and close."""
        self.flush()
        self._transport.close()
