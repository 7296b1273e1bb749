"""The router behind its own HTTP protocol: the short way answers and tells as the long way does."""

import asyncio
import contextlib
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from execution_providers import ExecutionRequest, Fill
from lob.errors import Unavailable
from services.router.app import create_app
from services.router.body import BODY_BYTES_MAX
from tests.services.conftest import eventually
from tests.services.router_harness import (
    Harness,
    StubL3,
    request_json,
    running_router,
    to_canary,
)
from touchstone.kit.corked import CorkedProtocol
from touchstone.kit.lifecycle import serve_web
from touchstone.kit.quick_posts import QuickCycle

ONE, MANY = "/v1/executions", "/v1/executions/batch"
HEAD = "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
CANARY = "?account=canary"
SECONDS = {"SLOW": 0.5, "HANGS": 60.0}
L3_FAILS = request_json("FAILS")
NOT_COMPARED = ("process_", "python_", "_seconds", "_created", "decision_log_", "control_")


class Conversation(NamedTuple):
    """What one client sends, in pieces with a pause between them, and how many answers it gets."""

    name: str
    pieces: tuple[bytes, ...]
    answers: int = 1


class PausingL3(StubL3):
    """An L3 that takes a moment, and fails for one symbol."""

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return the stand-in's fill after a pause."""
        await asyncio.sleep(SECONDS.get(request.order.symbol, 0.01))
        if request.order.symbol == "FAILS":
            raise Unavailable("not there")
        return await super().execute(request, seed)


@dataclass
class Served:
    """A router that is served, where, and whether it knows the short way."""

    harness: Harness
    port: int

    async def say(self, conversation: Conversation) -> list[Any]:
        """Hold a conversation; return the answers and whether the connection was closed then."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found: list[Any] = []
        try:
            for number, piece in enumerate(conversation.pieces):
                if number:
                    await asyncio.sleep(0.02)
                writer.write(piece)
            with contextlib.suppress(asyncio.IncompleteReadError):
                async with asyncio.timeout(30):
                    while len(found) < conversation.answers:
                        found.append(await answer_of(reader))
            try:
                async with asyncio.timeout(0.05):
                    found.append(await reader.read(1))
            except TimeoutError:
                found.append("open")
        finally:
            writer.close()
        return found

    async def told(self) -> tuple[dict[str, float], list[bytes]]:
        """Return what it has counted, and what it has logged without times and ids."""
        log = self.harness.components.decisions
        await eventually(lambda: log.depth == 0)
        text = (await self.harness.client.get("/metrics")).text
        counted = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if not line.startswith("#") and not any(part in name for part in NOT_COMPARED):
                counted[name] = float(value)
        files = self.harness.components.settings.data_dir.rglob("decisions/*.jsonl")
        lines = b"".join(file.read_bytes() for file in files).splitlines()
        own = re.compile(rb'"(id|at|now|expires_at)":("[^"]*"|[0-9.]+)')
        return counted, sorted(own.sub(b"", line) for line in lines)


async def answer_of(reader: asyncio.StreamReader) -> tuple[str, list[str], Any]:
    """Return an answer's status line, its headers and its JSON, without what differs each time."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *headers = head.removesuffix("\r\n\r\n").split("\r\n")
    length = re.search(r"(?i)content-length: ([0-9]+)", head)
    body = await reader.readexactly(int(length[1])) if length else b""
    shown = [re.sub(r"^date: .*|dur=[0-9.]+", "", one) for one in headers]
    told: Any = re.sub(rb'"id":"[0-9a-f]{32}"', b"", body)
    return line, sorted(re.sub(r"content-length: \d+", "length", one) for one in shown), told


@asynccontextmanager
async def served(*, quick: bool, **more: Any) -> AsyncIterator[Served]:
    """Serve a router on a port; with the short way, or with the long one only."""
    async with running_router(l3=PausingL3()) as harness:
        await eventually(lambda: harness.decides)
        app = create_app(harness.components)
        if not quick:
            app.state.quick_posts = None
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        options: dict[str, Any] = {
            "http": CorkedProtocol,
            "proxy_headers": False,
            "lifespan": "off",
            "on_started": started.set_result,
            **more,
        }
        serving = asyncio.create_task(serve_web(app, "127.0.0.1", 0, **options))
        try:
            async with asyncio.timeout(30):
                port = await started
            yield Served(harness, port)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[QuickCycle]:
    """Return what is answered the short way, as it begins."""
    found: list[QuickCycle] = []
    begin = QuickCycle.begin

    def note(cycle: QuickCycle) -> None:
        found.append(cycle)
        begin(cycle)

    monkeypatch.setattr(QuickCycle, "begin", note)
    return found


def post(
    body: object,
    path: str = ONE,
    *,
    head: str = HEAD,
    version: str = "1.1",
    length: str | None = None,
) -> bytes:
    """Return a whole request; a body that is bytes goes as it is."""
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = str(len(encoded)) if length is None else length
    start = f"POST {path} HTTP/{version}\r\n{head}Content-Length: {told}\r\n\r\n"
    return start.encode() + encoded


def chunked(body: object, path: str = ONE) -> bytes:
    """Return a request whose body comes in two chunks."""
    encoded = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
    parts = (encoded[:50], encoded[50:])
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def conversations() -> list[Conversation]:
    """Return ordinary and odd ones, for L2 but where they say otherwise."""
    right, wrong = request_json("IBM"), request_json("IBM", quantity="0")
    many = {"requests": [right, wrong, L3_FAILS, request_json("AAPL")]}
    slow = post(right, f"{ONE}{CANARY}")
    large = post(request_json("IBM", client_order_id="x" * 100))
    expecting = post(right, head=f"{HEAD}Expect: 100-continue\r\n")
    cut = expecting.index(b"\r\n\r\n") + 4
    told = [
        ("one by L2", [post(right)], 1),
        ("one by L3", [slow], 1),
        ("L3 fails", [post(L3_FAILS, f"{ONE}{CANARY}")], 1),
        ("a batch by L2", [post(many, MANY)], 1),
        ("a batch by L3", [post(many, f"{MANY}{CANARY}")], 1),
        ("a wrong one", [post(wrong)], 1),
        ("a wrong market", [post(right | {"market": {"timestamp_ms": -1}})], 1),
        ("no such type", [post(request_json("IBM", type="PEG"))], 1),
        ("an iceberg", [post(request_json("IBM", display_quantity="1"))], 1),
        ("no JSON", [post(b"{")], 1),
        ("nothing", [post(b"")], 1),
        ("no requests", [post({}, MANY)], 1),
        ("too many", [post({"requests": [right] * 257}, MANY)], 1),
        ("a list", [post([])], 1),
        ("an account", [post(right, f"{ONE}?account=some.body~1")], 1),
        ("an encoded account", [post(right, f"{ONE}?account=canar%79")], 1),
        ("an account twice", [post(right, f"{ONE}?account=a&account=b")], 1),
        ("a long account", [post(right, f"{ONE}?account={'x' * 129}")], 1),
        ("no such parameter", [post(right, f"{ONE}?acount=a")], 1),
        ("an empty query", [post(right, f"{ONE}?")], 1),
        ("a fragment", [post(right, f"{ONE}#a")], 1),
        ("a whole address", [post(right, f"http://127.0.0.1{ONE}")], 1),
        ("an encoded path", [post(right, "/v1/execution%73")], 1),
        ("another path", [post(right, f"/{ONE}")], 1),
        ("several behind one another", [post(right) + post(wrong) + post(right)], 3),
        ("several behind one that waits", [slow + post(right) + slow + post(wrong)], 4),
        ("more while one waits", [slow, post(right), slow], 3),
        ("byte by byte, nearly", [large[n : n + 97] for n in range(0, len(large), 97)], 1),
        ("a body that comes later", [post(right)[:-40], post(right)[-40:]], 1),
        ("too long, it says", [post(b"", length=str(BODY_BYTES_MAX + 1))], 1),
        ("too long beyond numbers", [post(b"", length="9" * 40)], 1),
        ("a negative length", [post(b"", length="-1")], 1),
        ("two lengths", [post(right, head=f"{HEAD}Content-Length: 3\r\n")], 1),
        ("in chunks", [chunked(right)], 1),
        ("in chunks by L3", [chunked(right, f"{ONE}{CANARY}")], 1),
        ("expects to be told to go on", [expecting[:cut], expecting[cut:]], 2),
        ("closes", [post(right, head=f"{HEAD}Connection: close\r\n")], 1),
        ("keeps alive", [post(right, head=f"{HEAD}Connection: keep-alive\r\n")], 1),
        ("an older version", [post(right, version="1.0")], 1),
        ("no version", [f"POST {ONE}\r\n\r\n".encode()], 1),
        ("another method", [post(right).replace(b"POST", b"PUT", 1)], 1),
        ("another host", [post(right, head="Host: elsewhere\r\n")], 1),
        ("another site", [post(right, head=f"{HEAD}Origin: http://elsewhere\r\n")], 1),
        ("a page of another", [post(right, head=f"{HEAD}Sec-Fetch-Site: cross-site\r\n")], 1),
        ("another type", [post(right, head="Host: 127.0.0.1\r\nContent-Type: text/plain\r\n")], 1),
        ("a type twice", [post(right, head=f"{HEAD}Content-Type: application/json\r\n")], 1),
        ("no host", [post(right, head="Content-Type: application/json\r\n")], 1),
        ("no HTTP", [b"nonsense\r\n\r\n"], 1),
    ]
    return [Conversation(name, tuple(pieces), answers) for name, pieces, answers in told]


async def test_both_ways_answer_count_and_log_alike(
    router_environment: str,
    other_redis_url: str,
    begun: list[QuickCycle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Byte for byte but for ids and times: answers, what closes, metrics and decision lines."""
    async with AsyncExitStack() as stack:
        sides = []
        for number, quick in enumerate((True, False)):
            if number:
                monkeypatch.setenv("TOUCHSTONE_REDIS_URL", other_redis_url)
            monkeypatch.setenv("TOUCHSTONE_DATA_DIR", str(tmp_path / f"data{number}"))
            side = await stack.enter_async_context(served(quick=quick))
            await to_canary(side.harness, canary_accounts=["canary"])
            sides.append(side)
        for round_number in range(2):
            for conversation in conversations():
                short, long = [await side.say(conversation) for side in sides]
                assert long == short, (conversation.name, round_number)
        (counted, lines), (counted_long, lines_long) = [await side.told() for side in sides]
        assert counted_long == counted
        assert Counter(lines_long) == Counter(lines)
        assert len(lines) > 50
        # All that is ordinary went the short way, on one side.
        assert len(begun) > 40


@pytest.mark.parametrize("quick", [True, False])
async def test_sigterm_leaves_nobody_without_an_answer(
    quick: bool, router_environment: str, begun: list[QuickCycle]
) -> None:
    """What can end in time ends; what cannot is told so: 503, retryable, the connection closed."""
    async with served(quick=quick, timeout_graceful_shutdown=1) as side:
        await to_canary(side.harness, canary_accounts=["canary"])
        await side.say(Conversation("let through", (post(request_json("IBM")),)))
        hangs = post(request_json("HANGS"), f"{ONE}{CANARY}")
        ends = post(request_json("SLOW"), f"{ONE}{CANARY}")
        told = [
            asyncio.create_task(side.say(Conversation("", (request,)))) for request in (hangs, ends)
        ]
        await eventually(lambda: len(begun) == 2 * quick)
        await asyncio.sleep(0.005)
        signal.raise_signal(signal.SIGTERM)
        hanging, ended = await asyncio.gather(*told)
        assert "HTTP/1.1 503 Service Unavailable" == hanging[0][0]
        assert {"code": "UNAVAILABLE", "message": "the service is stopping", "retryable": True} == (
            json.loads(hanging[0][2])["error"]
        )
        assert "HTTP/1.1 200 OK" == ended[0][0]
        assert ["connection: close"] == [h for h in ended[0][1] if h.startswith("connection")]
        assert [b"", b""] == [hanging[1], ended[1]]


@pytest.mark.parametrize("path", [ONE, MANY])
async def test_the_second_of_a_kind_takes_the_short_way(
    path: str, router_environment: str, begun: list[QuickCycle]
) -> None:
    """Whatever its body, its length and its account are."""
    async with served(quick=True) as side:
        url = f"http://127.0.0.1:{side.port}"
        async with httpx.AsyncClient(base_url=url) as client:
            one: Any = request_json("IBM")
            body = one if path == ONE else {"requests": [one]}
            for number in range(4):
                response = await client.post(path, json=body, params={"account": "a" * number})
                assert httpx.codes.OK == response.status_code
                assert "date" in response.headers
                assert number == len(begun)


async def test_nobody_gets_past_the_guard_the_short_way(
    router_environment: str, begun: list[QuickCycle]
) -> None:
    """A page of another site, another host, another type: refused before and after."""
    async with (
        served(quick=True) as side,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{side.port}") as client,
    ):
        assert httpx.codes.OK == (await client.post(ONE, json=request_json())).status_code
        for headers, status in (
            ({"Origin": "http://elsewhere"}, httpx.codes.FORBIDDEN),
            ({"Host": "elsewhere"}, httpx.codes.FORBIDDEN),
            ({"Sec-Fetch-Site": "cross-site"}, httpx.codes.FORBIDDEN),
            ({"Content-Type": "text/plain"}, httpx.codes.UNSUPPORTED_MEDIA_TYPE),
        ):
            for _n in range(2):
                response = await client.post(ONE, json=request_json(), headers=headers)
                assert status == response.status_code
        for query in ("?acount=me", "?account=me&account=you", f"?account={'x' * 129}"):
            response = await client.post(f"{ONE}{query}", json=request_json())
            assert httpx.codes.BAD_REQUEST == response.status_code
        assert [] == begun
        assert httpx.codes.OK == (await client.post(ONE, json=request_json())).status_code
        assert 1 == len(begun)


async def test_a_blank_symbol_is_refused_on_every_way(
    router_environment: str, begun: list[QuickCycle]
) -> None:
    """It is a mistake of the request and no defect of the router."""
    async with (
        served(quick=True) as side,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{side.port}") as client,
    ):
        for number in range(2):
            response = await client.post(ONE, json=request_json(" "))
            assert httpx.codes.BAD_REQUEST == response.status_code
            assert "INVALID_ARGUMENT" == response.json()["error"]["code"]
            assert "a symbol is not blank" in response.json()["error"]["message"]
            assert number == len(begun)
