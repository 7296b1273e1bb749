"""The router behind its own HTTP protocol: the short way answers as the long way does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.router.app import create_app
from tests.services.router_harness import Harness, request_json, running_router, to_canary
from touchstone.kit.corked import CorkedProtocol
from touchstone.kit.lifecycle import serve_web
from touchstone.kit.quick_posts import QuickCycle

ONE, MANY = "/v1/executions", "/v1/executions/batch"


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


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[tuple[Harness, httpx.AsyncClient]]:
    """Serve a router on a port; gives it, and a client of its port."""
    async with running_router(**settings) as harness:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        options: dict[str, Any] = {"http": CorkedProtocol, "proxy_headers": False}
        serving = asyncio.create_task(
            serve_web(
                create_app(harness.components),
                "127.0.0.1",
                0,
                on_started=started.set_result,
                **options,
            )
        )
        try:
            url = f"http://127.0.0.1:{await started}"
            async with httpx.AsyncClient(base_url=url) as client:
                yield harness, client
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def shape(response: httpx.Response) -> tuple[int, list[str], Any]:
    """Return what of an answer is the same each time."""
    body = response.json()
    for result in body.get("results", [body]):
        result.get("decision", {}).pop("id", None)
    return response.status_code, sorted(response.headers), body


@pytest.mark.parametrize("account", ["", "somebody", "canary"])
@pytest.mark.parametrize("path", [ONE, MANY])
async def test_both_ways_answer_alike(path: str, account: str, begun: list[QuickCycle]) -> None:
    """L2 and L3, one or several, right or wrong: status, headers, decision and fill."""
    async with served() as (harness, client):
        while not harness.components.control.reader.view().known:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
        await to_canary(harness, canary_accounts=["canary"])
        right = request_json()
        wrong = request_json(quantity="0")
        odd = right | {"market": {"timestamp_ms": -1}}
        bodies: list[Any] = [right, wrong, odd, []]
        if path == MANY:
            bodies = [{"requests": [right, wrong, odd]}, {"requests": []}, {}]
        params = {"account": account} if account else {}
        long = [await client.post(path, json=body, params=params) for body in bodies]
        # One head for all of them but for its length: the first was let through the long way.
        assert len(bodies) - 1 == len(begun)
        short = [await client.post(path, json=body, params=params) for body in bodies]
        assert 2 * len(bodies) - 1 == len(begun)
        assert [shape(one) for one in long] == [shape(one) for one in short]
        assert "date" in short[0].headers


async def test_nobody_gets_past_the_guard_the_short_way(begun: list[QuickCycle]) -> None:
    """A page of another site, another host, another type: refused before and after."""
    async with served() as (_, client):
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
