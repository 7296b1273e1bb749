"""An HTTP protocol for uvicorn that sends an answer's head and body in one piece.

uvicorn writes them one after the other, and uvloop sends what it is given at once: two system calls
and two packets for every answer, and two wake-ups for whoever waits for it. Where the application
has `state.quick_posts`, or `state.quick_gets`, the requests that these know are answered here.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lob.errors import InvalidInput
from touchstone.kit.codec import encode_json
from touchstone.kit.errors import describe
from touchstone.kit.quick_posts import Handler, Headers, QuickCycle

HEAD_BYTES_MAX: Final = 65_536


class QuickRequests(Protocol):
    """The requests of one method that are answered where they are read."""

    def find(self, url: bytes, headers: Headers) -> tuple[Handler, bytes] | None:
        """Return who answers a request with this head, and its query; None for the long way."""
        ...


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport that joins two writes of one moment."""

    _in_head = False
    _in_tail = False
    _head_bytes = 0
    _quick_by_method: Mapping[bytes, QuickRequests] = MappingProxyType({})

    def connection_made(self, transport: Any) -> None:
        """Begin a connection."""
        state = getattr(self.config.loaded_app, "state", None)
        known = {
            b"POST": getattr(state, "quick_posts", None),
            b"GET": getattr(state, "quick_gets", None),
        }
        self._quick_by_method = {name: quick for name, quick in known.items() if quick is not None}
        super().connection_made(Corked(transport, asyncio.get_running_loop()))  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        """Begin a request: its head is read until it is whole, and not for ever."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._head_bytes = 0
        self._in_head = True
        if self.timeout_keep_alive_task is not None:
            # Begun by the quick answer to what came ahead of this in the same piece.
            self._unset_keepalive_if_required()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; what comes behind a body is none, and nobody reads it."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._in_head = False
        found = self._quick()
        if found is None:
            self._take_long_way()
        else:
            self.cycle = QuickCycle(self, *found)  # type: ignore[assignment]

    def _quick(self) -> tuple[Handler, bytes] | None:
        """Return who answers this request here, and its query; None where nobody does."""
        quick, before = self._quick_by_method.get(self.parser.get_method()), self.cycle
        if (
            quick is None
            or self.parser.get_http_version() != "1.1"
            or (before is not None and not before.response_complete)
            or self.flow.write_paused
        ):
            return None
        return quick.find(self.url, self.headers)

    def _take_long_way(self) -> None:
        """Begin the request as uvicorn does, with the head that was read."""
        url, headers, expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers += headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        cycle: object = self.cycle
        if type(cycle) is QuickCycle:
            cycle.take(body)
        else:
            self._in_tail = False
            super().on_body(body)

    def on_chunk_header(self) -> None:
        """Begin a chunk, or what comes behind the last one: that is read as long as a head."""
        self._in_tail = True
        self._head_bytes = 0

    def on_message_complete(self) -> None:
        """Answer the request, or let whoever answers it know that it is whole."""
        cycle: object = self.cycle
        if type(cycle) is QuickCycle:
            cycle.begin()
        else:
            self._in_tail = False
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Read what came; refuse a head that does not end within its bound."""
        head, in_tail = self.headers if self._in_head else None, self._in_tail
        super().data_received(data)
        # What came was all of one head: of a head that begins in it the rest is still to come.
        same = self.headers is head if self._in_head else in_tail and self._in_tail
        if same and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response(f"More than {HEAD_BYTES_MAX} bytes of head.")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP as everything else is refused, and close: no handler sees it."""
        body = encode_json(describe(InvalidInput(f"request: {msg} Allowed: HTTP/1.1")))
        headers = b"content-type: application/json\r\nconnection: close\r\n"
        head = b"HTTP/1.1 400 Bad Request\r\n%bcontent-length: %d\r\n\r\n" % (headers, len(body))
        self.transport.write(head + body)
        self.transport.close()


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

    def write_whole(self, data: bytes) -> None:
        """Send a whole answer now, after what is held."""
        self.flush()
        self._transport.write(data)

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
