"""What lies below the application: TLS, and WebSocket frames that are written without a copy."""

import socket
import ssl
import struct
from asyncio import BaseTransport
from pathlib import Path
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from lob.errors import ConfigError

CLOSE_GRACE_SECONDS: Final = 2.0
SEND_BUFFER_BYTES: Final = 1 << 18
FRAMES: Final = "touchstone.frames"
"""The ASGI extension under which a WebSocket's scope has its `TransportFrames`."""
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_TEXT: Final = 0x81
_SHORT_MAX: Final = 125
_MEDIUM_MAX: Final = 0xFFFF
_medium: Final = struct.Struct("!BBH").pack
_long: Final = struct.Struct("!BBQ").pack


class TransportFrames:
    """Write whole text frames straight to the transport of one WebSocket (RFC 6455, 5.2).

    What is sent in one moment goes out in one system call, which costs more than a frame does.
    """

    def __init__(self, protocol: WebSocketsSansIOProtocol) -> None:
        self._protocol = protocol
        self._held: list[bytes] = []
        self._held_bytes = 0

    def send(self, *pieces: bytes) -> None:
        """Send the pieces as one text frame; nothing after a close."""
        protocol = self._protocol
        if protocol.close_sent or protocol.disconnected:
            return
        length = sum(map(len, pieces))
        if length <= _SHORT_MAX:
            head = bytes((_TEXT, length))
        elif length <= _MEDIUM_MAX:
            head = _medium(_TEXT, 126, length)
        else:
            head = _long(_TEXT, 127, length)
        if not self._held:
            protocol.loop.call_soon(self.flush)
        self._held += (head, *pieces)
        self._held_bytes += len(head) + length

    def flush(self) -> None:
        """Hand over what was sent in this moment."""
        held, self._held, self._held_bytes = self._held, [], 0
        transport = self._protocol.transport
        if held and not transport.is_closing():
            transport.writelines(held)

    def waiting_bytes(self) -> int:
        """Return how many bytes the kernel has not taken yet."""
        return self._held_bytes + self._protocol.transport.get_write_buffer_size()

    def abort(self) -> None:
        """End the connection at once: what waits is dropped, in the kernel, too."""
        transport = self._protocol.transport
        self._held.clear()
        if not transport.is_closing():
            # Without this the kernel would go on offering what it has to a peer that does not read.
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
            )
        transport.abort()


class ImpatientWebSocket(WebSocketsSansIOProtocol):
    """Abort a connection that has not closed within two seconds of our asking.

    uvicorn flushes what is buffered before it closes, so a peer that never reads would keep its
    connection for ever.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin a connection; the kernel keeps little, so that we know how far behind a peer is."""
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES
        )
        super().connection_made(transport)

    async def run_asgi(self) -> None:
        """Serve the connection; its scope says how frames are written."""
        self._outgoing = TransportFrames(self)
        self.scope["extensions"][FRAMES] = self._outgoing  # type: ignore[assignment]
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """Pass a message on; a close message also starts the countdown."""
        if message["type"] == "websocket.close":
            self.loop.call_later(CLOSE_GRACE_SECONDS, self.transport.abort)
            self._outgoing.flush()
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            # A handshake that was refused is over, too; uvicorn would log an error.
            self.handshake_complete = True


def tls_options(certificate: Path | None, key: Path | None) -> dict[str, Any]:
    """Return uvicorn's TLS options; none without a certificate.

    Raises:
        ConfigError: a file cannot be read, the two do not belong together, or the key asks for a
            password, which nobody is there to give.
    """
    if certificate is None or key is None:
        return {}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except OSError as error:  # ssl.SSLError is one, too
        raise ConfigError(
            f"tls_certificate {certificate}, tls_key {key}: {error.strerror or error}; allowed: a"
            " PEM certificate and its PEM key without a password"
        ) from None
    return {"ssl_certfile": certificate, "ssl_keyfile": key}
