"""What lies below HTTP: TLS, and uvicorn's WebSocket, plus an end to peers that do not read."""

import ssl
from pathlib import Path
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from lob.errors import ConfigError

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
