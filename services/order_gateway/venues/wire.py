"""HTTP/1.1 to the venue: a pool of kept connections, a deadline on each request, no second try.

Head and body of a request leave in one write, directly after the last gate said yes. So there are
three endings, and they are told apart by where the write stands: an answer; `NotSent` before it;
`OutcomeUnknown` after it. A kept connection that the venue has closed meanwhile is noticed where
that can be noticed, and otherwise is an unknown outcome like any other: nothing is ever sent twice.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from lob.errors import ConfigError
from services.order_gateway.venues.base import GateClosed, NotSent, OutcomeUnknown, Passage
from services.order_gateway.venues.http_connection import (
    Answer,
    Broken,
    HttpConnection,
)

__all__ = ["Answer", "Headers", "HttpWire", "Wire", "tls_context"]

CONNECTIONS_MAX: Final = 32
URGENT_CONNECTIONS: Final = 8
"""More connections for cancels, when all others wait for a venue that does not answer."""
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
IDLE_SECONDS_MAX: Final = 4.0
"""Where the venue does not say: servers commonly close what is idle for five seconds, and nobody
should write into a connection that is just being closed."""
HAND_OVER_SECONDS: Final = 0.001

Headers = Sequence[tuple[str, str]]


class Wire(Protocol):
    """What the adapter sends its requests through: HTTP, or a simulated network."""

    @property
    def host(self) -> str:
        """Return host[:port] as requests name it."""
        ...

    async def request(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes,
        *,
        deadline_seconds: float,
        passage: Passage | None = None,
        urgent: bool = False,
    ) -> Answer:
        """Send one request and return its answer.

        Args:
            method: HTTP method.
            target: path and query.
            headers: beside those that the wire adds (host, content-length).
            body: may be empty.
            deadline_seconds: from now to the last byte of the answer.
            passage: called once, directly before the write.
            urgent: may use connections that others may not.

        Raises:
            GateClosed: `passage` refused; nothing was written.
            NotSent: no connection, or the deadline passed, before anything was written.
            OutcomeUnknown: written, and no whole answer came.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class HttpWire:
    """Implements `Wire` over TCP or TLS to one base URL (`http[s]://host[:port]`).

    The environment's proxies have no business here. Certificates are always checked, against the
    system's authorities or the file in `SSL_CERT_FILE`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections_max: int = CONNECTIONS_MAX,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        idle_seconds_max: float = IDLE_SECONDS_MAX,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"base_url: {base_url!r}; allowed: http[s]://host[:port]")
        self.host = parts.netloc
        self._address = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = tls_context() if parts.scheme == "https" else None
        self._connections_max = connections_max
        self._answer_bytes_max = answer_bytes_max
        self._idle_seconds_max = idle_seconds_max
        self._idle: list[HttpConnection] = []
        self._open: set[HttpConnection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def request(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes,
        *,
        deadline_seconds: float,
        passage: Passage | None = None,
        urgent: bool = False,
    ) -> Answer:
        """Send one request; see `Wire.request`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_seconds
        request = self._encode(method, target, headers, body)
        connection = None if self._waiters else self._take_idle()
        if connection is None:
            connection = await self._connection(method, deadline, urgent=urgent)
        if loop.time() >= deadline:
            self._give_back(connection)
            raise NotSent(f"{method}: not sent: no time is left for an answer")
        # No await from the gate's answer to the write.
        refusal = None if passage is None else passage()
        if refusal is not None:
            self._give_back(connection)
            raise GateClosed(refusal)
        answered = connection.send(request)
        if passage is not None:
            # The event loop may keep what it was given until its present turn is over.
            loop.call_soon(self._hand_over, connection, passage)
        expiry = loop.call_at(deadline, _expire, answered)
        try:
            answer = await answered
        except (Broken, TimeoutError) as error:
            raise OutcomeUnknown(f"{method} {_path(target)}: {error}; outcome unknown") from None
        finally:
            expiry.cancel()
            if connection.waits:
                # Given up: its answer would be taken for the next request's.
                connection.end(Broken("given up"))
        self._give_back(connection)
        return answer

    async def close(self) -> None:
        """Close every connection; what waits for an answer is `OutcomeUnknown`."""
        self._closed = True
        for connection in list(self._open):
            connection.end(Broken("the gateway closes the connection"))
        self._wake_all()

    def _encode(self, method: str, target: str, headers: Headers, body: bytes) -> bytes:
        lines = [f"{method} {target} HTTP/1.1\r\nhost: {self.host}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers]
        if body or method != "GET":
            lines.append(f"content-length: {len(body)}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1") + body

    def _take_idle(self) -> HttpConnection | None:
        """Return the connection used last, if it has not been idle for too long."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                age = asyncio.get_running_loop().time() - connection.idle_since
                kept = connection.idle_seconds_max
                if age < (self._idle_seconds_max if kept is None else kept):
                    return connection
            connection.end(Broken("idle for too long"))
        return None

    async def _connection(self, method: str, deadline: float, *, urgent: bool) -> HttpConnection:
        """Wait for a connection or open one; raises `NotSent`."""
        loop = asyncio.get_running_loop()
        bound = self._connections_max + (URGENT_CONNECTIONS if urgent else 0)
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    if self._closed:
                        raise NotSent(f"{method}: not sent: the gateway is stopping")
                    found = self._take_idle()
                    if found is not None:
                        return found
                    if len(self._open) + self._opening < bound:
                        return await self._open_one(loop)
                    waiter = loop.create_future()
                    self._waiters.append(waiter)
                    try:
                        await waiter
                    finally:
                        with contextlib.suppress(ValueError):
                            self._waiters.remove(waiter)
        except TimeoutError:
            raise NotSent(f"{method}: not sent: no connection in time") from None
        except (OSError, ssl.SSLError) as error:
            raise NotSent(f"{method}: not sent: {self.host}: {_cause(error)}") from None
        finally:
            # Who was woken may not have used what was free.
            self._wake()

    async def _open_one(self, loop: asyncio.AbstractEventLoop) -> HttpConnection:
        self._opening += 1
        try:
            _, connection = await loop.create_connection(
                lambda: HttpConnection(loop, self._answer_bytes_max, self._on_over),
                self._address,
                self._port,
                ssl=self._tls,
                server_hostname=self._address if self._tls is not None else None,
            )
        finally:
            self._opening -= 1
        if self._closed or not connection.usable():
            connection.end(Broken("closed"))
            raise ConnectionError("the connection was closed at once")
        self._open.add(connection)
        return connection

    def _give_back(self, connection: HttpConnection) -> None:
        if connection.usable() and not self._closed:
            self._idle.append(connection)
        if self._waiters:
            self._wake()

    def _on_over(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        self._wake()

    def _hand_over(self, connection: HttpConnection, passage: Passage) -> None:
        """End the passage once the kernel has the request, or the connection is over."""
        if connection.unsent_bytes():
            loop = asyncio.get_running_loop()
            loop.call_later(HAND_OVER_SECONDS, self._hand_over, connection, passage)
        else:
            passage.handed_over()

    def _wake(self) -> None:
        room = bool(self._idle) or len(self._open) + self._opening < self._connections_max
        while room and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)


def tls_context() -> ssl.SSLContext:
    """Return what checks a venue's certificate: by `SSL_CERT_FILE`, else the system's authorities.

    Raises:
        ConfigError: the file cannot be read, or holds no certificate.
    """
    chosen = os.environ.get("SSL_CERT_FILE")
    if chosen is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=Path(chosen))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"SSL_CERT_FILE: {chosen}: {_cause(error)}") from None


def _expire(answered: "asyncio.Future[Answer]") -> None:
    if not answered.done():
        answered.set_exception(TimeoutError("no answer in time"))


def _path(target: str) -> str:
    return target.partition("?")[0]


def _cause(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror})"
    return error.strerror or str(error) or type(error).__name__
