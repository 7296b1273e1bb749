"""Who may change anything and how often, in front of an app that says yes to all."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.responses import PlainTextResponse

from services.order_gateway.guard import BODY_BYTES_MAX, MutationGuard
from tests.fakes.clock import Clock

JSON = {"content-type": "application/json"}


@pytest.fixture
def clock() -> Clock:
    """A clock of this test's own."""
    return Clock()


@pytest.fixture
async def caller(clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    """A client on loopback that may change two things a second."""
    guard = MutationGuard(PlainTextResponse("ok"), token=None, per_second=2, monotonic=clock)
    transport = httpx.ASGITransport(app=guard, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as made:
        yield made


async def test_a_client_that_sends_too_fast_is_told_when_to_come_again(
    caller: httpx.AsyncClient, clock: Clock
) -> None:
    """Twice the rate at once, then 429 with Retry-After; a second later two more."""
    statuses = [(await caller.post("/v1/orders")).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    refused = await caller.delete("/v1/orders/a")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["code"] == "OVERLOADED"
    clock.now += 1.0
    statuses = [(await caller.post("/v1/orders")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_closing_and_looking_are_never_limited(caller: httpx.AsyncClient) -> None:
    """A kill gets through in any flood, and nobody pays for reading."""
    for _ in range(5):
        await caller.post("/v1/orders")
    for path in ("/reduce-only", "/v1/kill-switch", "/v1/positions/close-all"):
        assert [(await caller.post(path)).status_code for _ in range(20)] == [200] * 20
    assert (await caller.get("/v1/orders")).status_code == 200


async def test_a_body_that_is_too_large_is_refused_unread(caller: httpx.AsyncClient) -> None:
    """By its announced length, with the limit in the answer."""
    body = b"x" * (BODY_BYTES_MAX + 1)
    refused = await caller.post("/v1/kill-switch", content=body, headers=JSON)
    assert (refused.status_code, str(BODY_BYTES_MAX) in refused.text) == (413, True)
    taken = await caller.post("/v1/kill-switch", content=body[:-1], headers=JSON)
    assert taken.status_code == 200
