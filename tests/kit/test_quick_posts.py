"""Requests that are answered where they are read: like any other, or not at all."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from touchstone.kit.corked import CorkedProtocol
from touchstone.kit.lifecycle import serve_web
from touchstone.kit.quick_posts import HEAD_BYTES_MAX, HEADS_MAX, QuickPosts, Reply

BODY_BYTES_MAX = 300_000
HOST = "Host: x\r\n"
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class App:
    """An application that says which way a request came, and lets through what has a host."""

    held: asyncio.Event = field(default_factory=asyncio.Event)
    quick: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.posts = QuickPosts(
            {"/order": self.answer},
            plain_query=lambda query: query == b"account=me",
            body_bytes_max=BODY_BYTES_MAX,
        )
        self.state = SimpleNamespace(quick_posts=self.posts)

    def answer(self, query: bytes, body: bytes) -> Reply | Coroutine[Any, Any, Reply]:
        """Answer at once, after a while, or with a defect."""
        self.quick.append(query + body)
        if body == b"defect":
            raise RuntimeError
        if body == b"late defect":
            return self.late(RuntimeError())
        if body == b"wait":
            return self.late(None)
        return Reply(200, b'"quick %d"' % len(body), b"provider;dur=1")

    async def late(self, error: Exception | None) -> Reply:
        """Answer when it is told to."""
        await self.held.wait()
        if error is not None:
            raise error
        return Reply(202, b'"waited"')

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the long way."""
        allowed = any(name == b"host" for name, _ in scope["headers"])
        if allowed and scope["path"] == "/order" and scope["method"] == "POST":
            self.posts.admit(scope)
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/slow":
            await self.held.wait()
        body = b'"long way"' if allowed else b'"refused"'
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(**more: Any) -> AsyncIterator[tuple[App, Callable[[], Awaitable[Client]]]]:
    """Serve an application; gives it, and what connects to it."""
    app, started = App(), asyncio.get_running_loop().create_future()
    options: dict[str, Any] = {"on_started": started.set_result, "lifespan": "off", **more}
    options["proxy_headers"] = False  # they would wrap the application
    running = asyncio.create_task(serve_web(app, "127.0.0.1", 0, http=CorkedProtocol, **options))
    writers: list[asyncio.StreamWriter] = []
    async with asyncio.timeout(30):
        port = await started

        async def connect() -> Client:
            client = await asyncio.open_connection("127.0.0.1", port)
            writers.append(client[1])
            return client

        try:
            yield app, connect
        finally:
            for writer in writers:
                writer.close()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def request(
    body: bytes = b"{}", *, query: str = "", head: str = HOST, method: str = "POST"
) -> bytes:
    """Return a whole request."""
    start = f"{method} /order{query} HTTP/1.1\r\n{head}"
    return start.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


async def answer(reader: asyncio.StreamReader) -> tuple[str, Any]:
    """Return an answer's head, in lower case, and its JSON."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return head, json.loads(await reader.readexactly(length))


async def asked(client: Client, sent: bytes) -> Any:
    """Send a request; return what its answer says."""
    client[1].write(sent)
    return (await answer(client[0]))[1]


async def test_what_was_let_through_once_is_answered_where_it_is_read() -> None:
    """On this connection and any other, with whatever body and plain query."""
    async with serving() as (app, connect):
        first, second = await connect(), await connect()
        assert "long way" == await asked(first, request())
        first[1].write(request(b"[1]"))
        head, body = await answer(first[0])
        assert "quick 3" == body
        assert head.startswith("http/1.1 200 ok\r\n")
        for told in ("content-type: application/json", "server-timing: provider;dur=1", "date: "):
            assert told in head
        assert "quick 2" == await asked(second, request(query="?account=me"))
        assert [b"[1]", b"account=me{}"] == app.quick


@pytest.mark.parametrize(
    "sent",
    [
        request(query="?account=%6de"),
        request(query="?account=you"),
        request(query="?"),
        request(head=f"{HOST}Origin: http://elsewhere\r\n"),
        request(head="Host: elsewhere\r\n"),
        request(method="PUT"),
        request(b"x" * (BODY_BYTES_MAX + 1)),
        request(head=f"{HOST}Connection: close\r\n"),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        f"POST /order HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
    ],
)
async def test_whatever_is_not_as_plain_takes_the_long_way(sent: bytes) -> None:
    """Another head, a query to be decoded, a body without a length or beyond its bound."""
    async with serving() as (app, connect):
        await asked(await connect(), request())
        assert "long way" == await asked(await connect(), sent)
        assert [] == app.quick


async def test_what_was_not_let_through_never_is() -> None:
    """A head that is refused is judged again each time."""
    async with serving() as (app, connect):
        client = await connect()
        await asked(client, request())
        for _ in range(3):
            assert "refused" == await asked(client, request(head="X: y\r\n"))
        assert [] == app.quick


async def test_odd_heads_are_not_remembered() -> None:
    """`Expect`, `Connection: close` and long ones are judged each time; keep-alive is plain."""
    async with serving() as (app, connect):
        small = "".join(f"X{number}:\r\n" for number in range(200))
        for head in ("Expect: nothing\r\n", f"X: {'y' * HEAD_BYTES_MAX}\r\n", small):
            for _ in range(2):
                assert "long way" == await asked(await connect(), request(head=HOST + head))
        kept = request(head=f"{HOST}Connection: keep-alive\r\n")
        assert "long way" == await asked(await connect(), kept)
        assert "quick 2" == await asked(await connect(), kept)
        assert [b"{}"] == app.quick


async def test_heads_are_bounded() -> None:
    """However many different ones come, so many are remembered at most."""
    async with serving() as (app, connect):
        client = await connect()
        for number in range(HEADS_MAX + 1):
            await asked(client, request(head=f"{HOST}X: {number}\r\n"))
        assert 1 == len(app.posts._let_through)


async def test_answers_keep_the_order_of_requests() -> None:
    """What comes behind one that waits is answered behind it."""
    async with serving() as (app, connect):
        client = await connect()
        await asked(client, request())
        client[1].write(request(b"wait") + request(b"[2]") + request(b"[345]"))
        while not app.quick:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        app.held.set()
        answers = [(await answer(client[0]))[1] for _ in range(3)]
        assert "waited" == answers[0]
        assert {"long way", "quick 5"} >= set(answers[1:])
        assert "quick 4" == await asked(client, request(b"[ 2]"))


async def test_what_is_right_is_answered_before_what_is_no_http_behind_it() -> None:
    """Then the connection is closed, as the long way closes it."""
    async with serving() as (app, connect):
        client = await connect()
        await asked(client, request())
        client[1].write(request() + b"nonsense\r\n\r\n")
        assert "quick 2" == (await answer(client[0]))[1]
        head, _ = await answer(client[0])
        assert head.startswith("http/1.1 400 ")
        assert b"" == await client[0].read()
        assert [b"{}"] == app.quick


async def test_sigterm_lets_what_is_under_way_end() -> None:
    """It is answered, its connection is closed after that, and nobody else gets in."""
    async with serving() as (app, connect):
        client, idle = await connect(), await connect()
        await asked(client, request())
        client[1].write(request(b"wait"))
        while not app.quick:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.001)
        signal.raise_signal(signal.SIGTERM)
        assert b"" == await idle[0].read()
        app.held.set()
        head, body = await answer(client[0])
        assert "waited" == body
        assert "connection: close" in head
        assert b"" == await client[0].read()
        with pytest.raises(OSError, match=r"."):
            await connect()


async def test_what_waits_when_the_service_has_to_go_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """503, retryable, instead of a connection that ends without a word."""
    async with serving(timeout_graceful_shutdown=1) as (app, connect):
        client = await connect()
        await asked(client, request())
        client[1].write(request(b"wait"))
        while not app.quick:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.001)
        signal.raise_signal(signal.SIGTERM)
        head, body = await answer(client[0])
        assert head.startswith("http/1.1 503 ")
        assert "connection: close" in head
        assert body["error"]["retryable"]
        assert b"" == await client[0].read()


async def test_a_large_body_in_pieces_is_whole() -> None:
    """However it comes."""
    async with serving() as (app, connect):
        client = await connect()
        await asked(client, request())
        sent = request(b"y" * BODY_BYTES_MAX)
        for start in range(0, len(sent), 50_000):
            client[1].write(sent[start : start + 50_000])
            await client[1].drain()
            await asyncio.sleep(0.001)
        assert f"quick {BODY_BYTES_MAX}" == (await answer(client[0]))[1]
        assert [b"y" * BODY_BYTES_MAX] == app.quick


@pytest.mark.parametrize("body", [b"defect", b"late defect"])
async def test_a_defect_is_told_and_the_connection_goes_on(body: bytes) -> None:
    """500 without details, in the one shape that faults have."""
    async with serving() as (app, connect):
        client = await connect()
        await asked(client, request())
        app.held.set()
        client[1].write(request(body))
        head, told = await answer(client[0])
        assert head.startswith("http/1.1 500 ")
        assert "INTERNAL" == told["error"]["code"]
        assert "quick 2" == await asked(client, request())


async def test_a_caller_who_goes_away_gets_nothing_and_harms_nobody() -> None:
    """His answer is dropped; others go on."""
    async with serving() as (app, connect):
        gone, other = await connect(), await connect()
        await asked(gone, request())
        gone[1].write(request(b"wait"))
        while not app.quick:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.001)
        gone[1].close()
        await asyncio.sleep(0.02)
        app.held.set()
        assert "quick 2" == await asked(other, request())


async def test_a_slow_answer_behind_a_quick_one_is_not_cut_off() -> None:
    """An idle connection is closed after a while; one whose next request came along is not idle."""
    async with serving(timeout_keep_alive=0.05) as (app, connect):
        await asked(await connect(), request())
        client = await connect()
        client[1].write(request() + f"GET /slow HTTP/1.1\r\n{HOST}\r\n".encode())
        assert "quick 2" == (await answer(client[0]))[1]
        await asyncio.sleep(0.3)
        app.held.set()
        assert "long way" == (await answer(client[0]))[1]
        assert b"" == await client[0].read()


async def test_what_comes_behind_a_body_is_no_head() -> None:
    """A trailer is not taken for a field that whoever judges heads would look at."""
    chunked = b"POST /order HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%b\r\n"
    async with serving() as (_, connect):
        assert "refused" == await asked(await connect(), chunked % b"")
        assert "refused" == await asked(await connect(), chunked % HOST.encode())


async def test_what_comes_behind_a_body_is_bounded_as_a_head_is() -> None:
    """A trailer without an end is refused, before it takes what memory there is."""
    head = f"POST /order HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    async with serving() as (_, connect):
        reader, writer = await connect()
        for sent in (f"{head}X: ", *["y" * 40_000] * 2):
            writer.write(sent.encode())
            await asyncio.sleep(0.02)
        assert (await answer(reader))[0].startswith("http/1.1 400 ")
        assert b"" == await reader.read()
