"""Shadow comparison: every answer mirrored, none of them delayed or changed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from lob.errors import Unavailable
from services.router import routes
from tests.services.router_harness import (
    Harness,
    StubL3,
    running_router,
)
from touchstone.rollout.shadow import ShadowPair, ShadowSummary, summarise

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


async def test_in_shadow_every_answer_is_compared(harness: Harness, eventually: Eventually) -> None:
    """Same request, same seed; the summary shows 2.5 bps of L3 against 1 bp of L2."""
    for n in range(10):
        await harness.execute("AAPL" if n % 2 else "MSFT", client_order_id=f"c{n}")
    await eventually(lambda: len(harness.components.shadow.store) == 10)
    assert {seed for _, seed in harness.l3.calls} == {0}
    body = (await harness.client.get("/v1/shadow/summary")).json()
    assert (body["overall"]["pairs"], body["overall"]["n"]) == (10, 10)
    assert body["overall"]["mean_difference_bps"] == pytest.approx(1.5)
    assert set(body["by_symbol"]) == {"AAPL", "MSFT"}
    pairs = (await harness.client.get("/v1/shadow/pairs", params={"limit": 3})).json()["pairs"]
    assert len(pairs) == 3
    assert pairs[0]["control"]["attribution"]["provider"] == "L2"
    assert await harness.metric("shadow_pairs_total") == 10


async def test_a_summary_is_of_one_moment(
    harness: Harness, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mirrored while a summary is computed is in none of its figures."""
    await harness.execute("AAPL")
    await eventually(lambda: len(harness.components.shadow.store) == 1)
    shadow = harness.components.shadow

    def summarise_meanwhile(pairs: Sequence[ShadowPair], reference: str) -> ShadowSummary:
        shadow.store.append(pairs[0])
        shadow.mirrored += 1
        return summarise(pairs, reference)

    monkeypatch.setattr(routes, "summarise", summarise_meanwhile)
    body = (await harness.client.get("/v1/shadow/summary")).json()
    assert (1, 1) == (body["mirrored"], body["overall"]["pairs"])


async def test_a_failing_candidate_is_recorded_and_swallowed(
    harness: Harness, eventually: Eventually
) -> None:
    """Errors and defects of L3 reach the summary and nobody else."""
    for error in (Unavailable("gone"), ValueError("a defect")):
        harness.l3.error = error
        assert (await harness.execute())["fill"]["status"] == "FILLED"
        await eventually(lambda: harness.components.shadow.depth == 0)
    await eventually(lambda: len(harness.components.shadow.store) == 2)
    body = (await harness.client.get("/v1/shadow/summary")).json()
    assert body["overall"]["candidate_error_rate"] == 1.0
    assert await harness.metric('shadow_errors_total{code="UNAVAILABLE"}') == 1


async def test_a_hanging_candidate_delays_nobody_and_a_full_queue_drops(
    eventually: Eventually,
) -> None:
    """With every worker stuck, answers keep coming and what does not fit is counted."""

    class Hanging(StubL3):
        async def execute(self, *_: Any) -> Any:
            await asyncio.sleep(30)

    async with running_router(l3=Hanging(), shadow_queue_size=3, shadow_workers=1) as harness:
        await eventually(lambda: harness.decides)
        for _ in range(10):
            async with asyncio.timeout(1.0):
                await harness.execute()
        assert harness.components.shadow.dropped >= 6
        assert await harness.metric('shadow_dropped_total{reason="queue_full"}') >= 6


async def test_a_rollback_lets_go_of_what_waits(eventually: Eventually) -> None:
    """After a rollback nothing more is sent to L3, mirrored orders included."""
    gate = asyncio.Event()

    class Gated(StubL3):
        async def execute(self, request: Any, seed: int) -> Any:
            await gate.wait()
            return await super().execute(request, seed)

    stub = Gated()
    async with running_router(l3=stub, shadow_workers=1) as harness:
        await eventually(lambda: harness.decides)
        for _ in range(5):
            await harness.execute()
        await eventually(lambda: harness.components.shadow.depth == 4)
        await harness.client.post("/v1/rollout/rollback", json={"reason": "r"})
        gate.set()
        await eventually(lambda: harness.components.shadow.depth == 0)
        assert len(stub.calls) <= 1
        assert await harness.metric('shadow_dropped_total{reason="not_in_shadow"}') == 4
