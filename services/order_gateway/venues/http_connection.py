"""One HTTP/1.1 connection to the venue: a request at a time, written in one piece.

An answer ends a request only when it is whole. Whatever else comes (bytes nobody asked for, an end
of the stream, a head or body beyond its bound, what is no HTTP) breaks the connection for good: a
connection that has once been out of step is never used again.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httptools

from lob.errors import Unavailable

HEAD_BYTES_MAX: Final = 65_536
HTTP_SWITCHING: Final = 101
HTTP_FINAL: Final = 200
"""Statuses below are informational: the answer is still to come."""
_KEPT_SECONDS: Final = re.compile(r"\btimeout=(\d{1,6})")


class Answer(NamedTuple):
    """A whole answer; header names are in lower case, of a repeated one the last counts."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text, whatever bytes it has."""
        return self.body.decode("utf-8", "replace")


class Broken(Unavailable):
    """Say why a connection cannot be used any more."""


class AnswerReader:
    """Read answers from pieces of bytes, cut anywhere.

    `feed` returns the answer once it is whole, `end` what the end of the stream makes of it. After
    an exception the stream is of no use. Nothing is kept beyond the bounds.
    """

    def __init__(self, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._parser: Any = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self.reusable = False
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._body_bytes = 0
        self._answer: Answer | None = None
        self._in_body = self._surplus = False

    @property
    def begun(self) -> bool:
        """Say whether a part of an answer has come."""
        return self._head_bytes > 0

    def feed(self, received: bytes) -> Answer | None:
        """Take a piece; return the answer that it ended.

        Raises:
            Broken: it is no HTTP/1.1 answer, is beyond its bounds, or goes on behind its end.
        """
        if not self._in_body:
            self._head_bytes += len(received)
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserUpgrade:
            raise Broken("the venue wants to switch protocols") from None
        except httptools.HttpParserCallbackError as error:
            raise Broken(str(error.__context__ or error)) from None
        except httptools.HttpParserError as error:
            raise Broken(f"no HTTP answer: {error}") from None
        if self._surplus:
            raise Broken("bytes behind the end of the answer")
        if self._answer is None:
            if not self._in_body and self._head_bytes > HEAD_BYTES_MAX:
                raise Broken(f"the answer's head is beyond {HEAD_BYTES_MAX} bytes")
            return None
        answer = self._answer
        if self.reusable:
            # The parser is ready for the next answer.
            self._begin()
            self._head_bytes = 0
        return answer

    def end(self) -> Answer:
        """Return the answer that lasts until the end of the stream.

        Raises:
            Broken: the stream ended inside an answer, or before one.
        """
        if not self.begun:
            raise Broken("the venue closed the connection without an answer")
        framed = {"content-length", "transfer-encoding"} & self._headers.keys()
        if not self._in_body or framed:
            raise Broken("the venue closed the connection in the middle of an answer")
        return self._whole()

    def on_message_begin(self) -> None:
        """Begin an answer; behind a final one there must be none."""
        if self._answer is not None:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field; the ones behind a chunked body are no part of the head."""
        if not self._in_body:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body within the bound."""
        self._body_bytes += len(body)
        if self._body_bytes > self._body_bytes_max:
            raise Broken(f"the answer is beyond {self._body_bytes_max} bytes")
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """End the answer; an informational one is followed by the real one."""
        if self._answer is not None:
            return
        status = self._parser.get_status_code()
        if status < HTTP_FINAL and status != HTTP_SWITCHING:
            self._begin()
            return
        # Only now does the parser still know what the head said of the connection.
        self.reusable = self._parser.should_keep_alive()
        self._answer = self._whole()

    def _whole(self) -> Answer:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return Answer(self._parser.get_status_code(), self._headers, body)


class HttpConnection(asyncio.Protocol):
    """A connection that is idle, or waits for one answer, or is over.

    Args:
        loop: runs it.
        answer_bytes_max: a longer body breaks the connection.
        on_over: called once when it can no longer be used.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer_bytes_max: int,
        on_over: Callable[["HttpConnection"], None],
    ) -> None:
        self._loop = loop
        self._on_over = on_over
        self._reader = AnswerReader(answer_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self.over = False
        self.idle_since = 0.0
        self.idle_seconds_max: float | None = None
        """How long the venue said that it keeps an idle connection, less a second."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment] # TCP and TLS ones can write
        self.idle_since = self._loop.time()

    def usable(self) -> bool:
        """Say whether a request may be written now, as far as anyone knows."""
        return not self.over and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> "asyncio.Future[Answer]":
        """Hand a whole request to the transport; the future has the answer, or `Broken`."""
        waiting = self._waiting = self._loop.create_future()
        self._transport.write(request)  # type: ignore[union-attr] # usable() said so
        return waiting

    @property
    def waits(self) -> bool:
        """Say whether the answer to what was sent has not come yet."""
        return self._waiting is not None

    def unsent_bytes(self) -> int:
        """Return how much of what was written the kernel does not have yet."""
        if self._transport is None or self._transport.is_closing():
            return 0
        return self._transport.get_write_buffer_size()

    def data_received(self, data: bytes) -> None:
        """Read a piece of the answer."""
        if self._waiting is None:
            self.end(Broken("bytes that nobody asked for"))
            return
        try:
            answer = self._reader.feed(data)
        except Broken as error:
            self.end(error)
            return
        if answer is not None:
            self._answered(answer)

    def eof_received(self) -> bool:
        """End: a half-closed connection is of no use; an answer without a length is whole now."""
        waiting = self._waiting
        try:
            answer = self._reader.end() if waiting is not None else None
        except Broken as error:
            self.end(error)
            return False
        if answer is not None:
            self._answered(answer)
        self.end(Broken("the venue closed the connection"))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """End: the transport is gone."""
        self.end(Broken(str(error) if error else "the connection is lost"))

    def end(self, why: Broken) -> None:
        """Never use it again; whoever waits for an answer is told why."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(why)
        if self._transport is not None:
            self._transport.abort()
        if not self.over:
            self.over = True
            self._on_over(self)

    def _answered(self, answer: Answer) -> None:
        waiting, self._waiting = self._waiting, None
        self.idle_since = self._loop.time()
        if "keep-alive" in answer.headers:
            told = _KEPT_SECONDS.search(answer.headers["keep-alive"])
            self.idle_seconds_max = None if told is None else float(told[1]) - 1
        if not self._reader.reusable:
            self.end(Broken("the venue closes the connection after its answer"))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
