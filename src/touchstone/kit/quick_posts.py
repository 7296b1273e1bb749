"""Answer the POSTs that come most where they are read, without the way through the framework.

The way of a request from uvicorn through FastAPI and its middleware costs more than L2 takes to
execute. A head that went that way once and was let through is let through again: everything that
checks heads judges by method, path, query and headers alone. Such a head is remembered, but for
`Content-Length` and the query, which are checked each time; the next request with it goes straight
to the handler. Whatever is not as plain as that takes the long way.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple

import structlog
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lob.errors import Fault, Unavailable
from touchstone.kit.codec import encode_json
from touchstone.kit.errors import describe

HEADS_MAX: Final = 256
HEAD_BYTES_MAX: Final = 4_096
FIELD_BYTES: Final = 32
"""What a field takes besides its text, as HTTP/2 counts it (RFC 9113, 6.5.2)."""
_LENGTH_DIGITS_MAX: Final = 16
# With these a request is more than a head and a body, or its head is like no other.
_ODD_HEADERS: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"traceparent"})

_log = structlog.get_logger("touchstone.kit")

Headers = list[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """An answer in JSON; `timing` is what `Server-Timing` says, where it is said.

    With `fields` (whole lines) the head says that, and nothing of content or timing by itself.
    """

    status: int
    body: bytes
    timing: bytes | None = None
    fields: bytes | None = None


Outcome = Reply | Coroutine[Any, Any, Reply]
Handler = Callable[[bytes, bytes], Outcome]
"""Takes query and body, raises nothing but defects; what has to wait comes as a coroutine."""


class QuickPosts:
    """The heads that were let through, and who answers what comes with them.

    Args:
        handlers: by path.
        plain_query: says of a query whether it needs no further look; the empty one never does.
        body_bytes_max: what says that it is longer takes the long way, to be refused there.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        plain_query: Callable[[bytes], object],
        body_bytes_max: int,
    ) -> None:
        self._handlers = {path.encode(): handler for path, handler in handlers.items()}
        self._plain_query = plain_query
        self._body_bytes_max = body_bytes_max
        self._let_through: set[tuple[bytes, tuple[tuple[bytes, bytes], ...]]] = set()

    def admit(self, scope: Scope) -> None:
        """Remember the head of a POST to one of the paths that was let through."""
        query, headers = scope["query_string"], scope["headers"]
        if (query and not self._plain_query(query)) or scope.get("http_version") != "1.1":
            return
        kept = tuple((name, value) for name, value in headers if name != b"content-length")
        if sum(len(name) + len(value) + FIELD_BYTES for name, value in kept) > HEAD_BYTES_MAX:
            return
        for name, value in kept:
            if name in _ODD_HEADERS or (name == b"connection" and value.lower() != b"keep-alive"):
                return
        if len(self._let_through) >= HEADS_MAX:
            self._let_through.clear()
        self._let_through.add((scope["path"].encode(), kept))

    def find(self, url: bytes, headers: Headers) -> tuple[Handler, bytes] | None:
        """Return who answers a POST with this head, and its query; None for the long way."""
        path, asked, query = url.partition(b"?")
        handler = self._handlers.get(path)
        if handler is None or (asked and not (query and self._plain_query(query))):
            return None
        length, kept = None, []
        for header in headers:
            if header[0] != b"content-length":
                kept.append(header)
            elif length is None:
                length = header[1]
            else:
                return None
        if (path, tuple(kept)) not in self._let_through or length is None:
            return None
        if len(length) > _LENGTH_DIGITS_MAX or not length.isdigit():
            return None
        return (handler, query) if int(length) <= self._body_bytes_max else None


class QuickCycle:
    """One request that is answered where it is read; to uvicorn's protocol a cycle as its own."""

    __slots__ = (
        "_handler",
        "_parts",
        "_protocol",
        "_query",
        "disconnected",
        "keep_alive",
        "response_complete",
    )

    def __init__(self, protocol: Any, handler: Handler, query: bytes) -> None:
        self._protocol = protocol
        self._handler = handler
        self._query = query
        self._parts: list[bytes] = []
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False

    @property
    def message_event(self) -> "QuickCycle":
        """Return what uvicorn sets when the connection is lost."""
        return self

    def set(self) -> None:
        """Do nothing: nobody waits for more of a request whose body is whole."""

    def take(self, body: bytes) -> None:
        """Keep a piece of the body; the head said that all of it is within its bound."""
        self._parts.append(body)

    def begin(self) -> None:
        """Answer, now that the body is whole; in a task where the answer has to wait."""
        parts = self._parts
        try:
            outcome = self._handler(self._query, parts[0] if len(parts) == 1 else b"".join(parts))
        except Exception as error:  # noqa: BLE001 - logged with its trace
            self._reply(_defect(error))
            return
        if isinstance(outcome, Reply):
            self._reply(outcome)
            return
        tasks = self._protocol.tasks
        task = self._protocol.loop.create_task(self._wait(outcome))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _wait(self, outcome: Coroutine[Any, Any, Reply]) -> None:
        try:
            reply = await outcome
        except asyncio.CancelledError:
            # Whoever cancels it is about to close everything.
            self.keep_alive = False
            self._reply(stopping())
            raise
        except Exception as error:  # noqa: BLE001 - logged with its trace
            reply = _defect(error)
        self._reply(reply)

    def _reply(self, reply: Reply) -> None:
        self.response_complete = True
        if self.disconnected or self._protocol.transport.is_closing():
            return
        protocol, (status, body, timing, fields) = self._protocol, reply
        parts = [STATUS_LINE[status]]
        for name, value in protocol.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        if fields is None:
            fields = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
            if timing is not None:
                fields += b"server-timing: %b\r\n" % timing
        parts.append(fields)
        parts += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", body)
        protocol.transport.write_whole(b"".join(parts))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


def stopping() -> Reply:
    """Return the reply to what has to be let go when the service stops; who asks may ask again."""
    return Reply(503, encode_json(describe(Unavailable("the service is stopping"))))


def _defect(error: Exception) -> Reply:
    _log.error("defect", exc_info=error)
    return Reply(500, encode_json(describe(Fault("a defect; see the service's log"))))
