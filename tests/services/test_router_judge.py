"""The judge acts: proven harm rolls back once, latched, with a dossier, in shadow and live."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from execution_providers import Fill
from lob.errors import Fault, InvalidInput, Unavailable
from services.router.counterfactual import Counterfactual, LiveAnswer
from services.router.providers import InProcessL2
from services.router.shadow_frames import LateFill
from tests.services.router_harness import (
    Harness,
    StubL3,
    request_json,
    running_router,
    to_canary,
)
from touchstone.kit.codec import execution_request_from_json
from touchstone.rollout.shadow import ShadowPair, ShadowStore

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


class Fixed(StubL3):
    """Fill at a slippage of its own: L2's and so much on top."""

    worse_bps = Decimal(0)

    async def execute(self, request: Any, seed: int) -> Fill:
        """Return L2's fill, dearer."""
        self.calls.append((request, seed))
        fill = await InProcessL2(seed).execute(request, seed)
        assert fill.slippage_bps is not None
        return replace(fill, slippage_bps=fill.slippage_bps + self.worse_bps)


def prove(harness: Harness, difference: float) -> None:
    """Give the present experiment two hours of evidence."""
    analysis = harness.components.analysis
    for minute in range(120):
        at = analysis.started_at - 7_300 + 60 * minute
        analysis._judge.observe("AAPL", at, difference + 0.01 * (minute % 3 - 1))


async def phase_of(harness: Harness) -> str:
    """Return the phase."""
    return str((await harness.client.get("/v1/rollout")).json()["phase"])


@pytest.mark.parametrize("phase", ["SHADOW", "CANARY", "EXPANSION", "FULL"])
async def test_proven_harm_rolls_back_once_in_each_phase(
    harness: Harness, phase: str, eventually: Eventually
) -> None:
    """Latched and persisted once, with a dossier that shows the evidence; a re-arm begins anew."""
    generation = 1
    later = ("CANARY", "EXPANSION", "FULL")
    for step in later[: 0 if phase == "SHADOW" else later.index(phase) + 1]:
        response = await harness.put(generation, phase=step)
        assert 200 == response.status_code, response.text
        generation = response.json()["generation"]
    prove(harness, 2.0)
    for _ in range(3):
        await harness.components.autopilot.judgement.look()
    body = (await harness.client.get("/v1/rollout")).json()
    assert ("ROLLED_BACK", "judge", generation + 1) == (
        body["phase"],
        body["actor"],
        body["generation"],
    )
    assert body["reason"].startswith("judge: harm above 0 bps proven after ")
    assert "rolled_back" == (await harness.execute())["decision"]["rule"]
    assert 1 == await harness.metric("rollout_judge_harm_total")
    folder = harness.components.dossiers
    await eventually(lambda: len(folder.names()) == 1, 10.0)
    [line] = folder.list()
    assert ("automatic", "judge") == (line["kind"], line["actor"])
    page = await harness.client.get(f"/v1/rollout/dossiers/{line['id']}.html")
    assert "the judge proved harm" in page.text
    again = await harness.client.post(
        "/v1/rollout/rearm",
        json={"reason": "fixed", "expected_generation": generation + 1},
    )
    assert 200 == again.status_code
    await harness.components.autopilot.judgement.look()
    assert "SHADOW" == await phase_of(harness)
    analysis = (await harness.client.get("/v1/rollout/analysis")).json()
    assert ("HOLD", "ROLLBACK") == (
        analysis["verdict"]["outcome"],
        analysis["earlier"][-1]["verdict"]["outcome"],
    )


async def test_no_harm_and_no_proof_roll_nothing_back(harness: Harness) -> None:
    """A better candidate is PROMOTE and stays where it is: the judge permits only."""
    await harness.components.autopilot.judgement.look()
    prove(harness, -1.0)
    await harness.components.autopilot.judgement.look()
    assert "SHADOW" == await phase_of(harness)
    assert 1 == await harness.metric('rollout_judge_outcome{outcome="PROMOTE"}')


async def test_without_auto_rollback_harm_is_only_said(
    monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """`AUTO_ROLLBACK_ENABLED=false`: counted and shown, and L3 stays."""
    monkeypatch.setenv("AUTO_ROLLBACK_ENABLED", "false")
    async with running_router() as running:
        await eventually(lambda: running.decides)
        prove(running, 2.0)
        for _ in range(2):
            await running.components.autopilot.judgement.look()
        assert "SHADOW" == await phase_of(running)
        assert 1 == await running.metric("rollout_judge_harm_total")


async def test_live_orders_go_on_being_compared_in_pairs(eventually: Eventually) -> None:
    """L2 is asked after L3 has answered: the difference is L3's own, order by order."""
    stub = Fixed()
    stub.worse_bps = Decimal("0.75")
    async with running_router(l3=stub) as running:
        await eventually(lambda: running.decides)
        await to_canary(running, canary_symbols=["AAPL"])
        for n in range(20):
            assert "L3" == (await running.execute(client_order_id=f"c{n}"))["decision"]["arm"]
        store = running.components.autopilot.counterfactual.store
        await eventually(lambda: len(store) == 20)
        found = store.pairs(running.components.shadow.now())
        assert {0.75} == {round(pair.difference_bps or 0, 9) for pair in found}
        assert 20 == len({pair.decision_id for pair in found})
        # One object each to the garbage collector, with nothing behind it: thousands are kept.
        assert {LateFill} == {
            type(fill) for pair in found for fill in (pair.control, pair.candidate)
        }
        assert 0 < store._bytes
        analysis = running.components.analysis
        (block,) = analysis._judge._blocks.close(analysis.now() + 60)
        assert (20, 0.75) == (block.orders, round(block.mean_bps, 9))
        assert 20 == await running.metric('live_pairs_total{outcome="pair"}')


async def test_an_order_that_l3_failed_on_cannot_be_compared(
    harness: Harness, eventually: Eventually
) -> None:
    """It counts as missing and not as a difference; a wrong request says nothing of L3."""
    await to_canary(harness, canary_symbols=["AAPL"])
    store = harness.components.autopilot.counterfactual.store
    harness.l3.error = InvalidInput("order.quantity: too odd")
    await harness.execute()
    harness.l3.error = Unavailable("gone")
    await harness.execute()
    await eventually(lambda: len(store) == 1)
    assert 1 == harness.components.analysis.verdict().missing


def answer(n: int) -> LiveAnswer:
    """Return an order that L3 filled."""
    request = execution_request_from_json(request_json(client_order_id=f"c{n}"))
    fill = asyncio.run(InProcessL2(0).execute(request, 0))
    return LiveAnswer(f"d{n}", 3, request, 0, fill, None, 0.001)


async def test_the_comparison_is_bounded() -> None:
    """Beyond the queue orders are let go and counted; a control that fails ends nothing."""
    registry = CollectorRegistry()
    pairs: list[ShadowPair] = []

    class Failing:
        async def execute(self, *_: Any) -> Fill:
            raise Fault("a defect")

    answers = [await asyncio.to_thread(answer, n) for n in range(6)]
    seen: Callable[[ShadowPair], None] = pairs.append
    bounded = Counterfactual(
        InProcessL2(0),
        ShadowStore(10),
        registry=registry,
        on_pair=seen,
        per_second=50,
        queue_size=4,
    )
    for one in answers:
        bounded.offer(one)
    worker = asyncio.create_task(bounded.work())
    await asyncio.sleep(0.05)
    assert 1 <= len(pairs) < 4, "at most fifty a second"
    await asyncio.sleep(0.2)
    bounded._control = Failing()
    bounded.offer(answers[0])
    await asyncio.sleep(0.1)
    worker.cancel()
    counts = {
        name: registry.get_sample_value("live_pairs_total", {"outcome": name})
        for name in ("pair", "queue_full", "control_failed")
    }
    assert {"pair": 4.0, "queue_full": 2.0, "control_failed": 1.0} == counts
    assert {0.0} == {pair.difference_bps for pair in pairs}
