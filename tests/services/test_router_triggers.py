"""The triggers at work: a bad L3 is rolled back within its window, once; a good one never."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from execution_providers import Fill, FillStatus
from lob.errors import Fault, InvalidInput, Unavailable
from services.router.health_watch import HealthWatch
from tests.services.router_harness import Harness, StubL3, control_of, running_router, to_canary

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


async def rolled_back(harness: Harness) -> Any:
    """Return the state once it says ROLLED_BACK."""
    async with asyncio.timeout(5.0):
        while True:
            body = (await harness.client.get("/v1/rollout")).json()
            if body["phase"] == "ROLLED_BACK":
                return body
            await asyncio.sleep(0.01)


async def analysis(harness: Harness) -> Any:
    """Return the analysis."""
    response = await harness.client.get("/v1/rollout/analysis")
    assert response.status_code == 200, response.text
    return response.json()


async def test_an_error_storm_rolls_back_within_a_second(harness: Harness) -> None:
    """From the first failing answer to L2 for everybody; answers come throughout."""
    await to_canary(harness, canary_symbols=["AAPL"])
    harness.l3.error = Unavailable("simulator gone")
    started = time.monotonic()
    rules = []
    for _ in range(30):
        answer = await harness.execute()
        assert answer["fill"]["status"] == "FILLED"
        rules.append(answer["decision"]["rule"])
    assert rules == ["fallback:UNAVAILABLE"] * 20 + ["rolled_back"] * 10
    body = await rolled_back(harness)
    assert time.monotonic() - started < 1.0
    assert body["actor"] == "trigger"
    assert body["reason"].startswith("error_storm")
    assert len(harness.l3.calls) == 20
    assert await harness.metric('rollout_trigger_trips_total{trigger="error_storm"}') == 1


async def test_a_critical_exception_rolls_back_once_and_latched(
    harness: Harness, eventually: Eventually
) -> None:
    """One defect is enough; a second one writes no second rollback; a re-arm opens the latch."""
    await to_canary(harness, canary_symbols=["AAPL"])
    harness.l3.error = Fault("a defect in L3")
    for _ in range(2):
        await harness.execute()
    body = await rolled_back(harness)
    assert body["reason"].startswith("critical_exception")
    assert (await analysis(harness))["triggers"]["trip"]["trigger"] == "critical_exception"
    await asyncio.sleep(0.6)
    audit = (await harness.client.get("/v1/rollout/audit")).json()["entries"]
    assert [entry["phase"] for entry in audit].count("ROLLED_BACK") == 1
    again = await harness.client.post(
        "/v1/rollout/rearm",
        json={"reason": "fixed"},
        headers={"If-Match": f'"{body["generation"]}"'},
    )
    assert again.status_code == 200
    await eventually(lambda: harness.components.triggers.board.trip is None)


async def test_a_state_that_was_lost_does_not_open_the_latch(
    harness: Harness, router_environment: str, eventually: Eventually
) -> None:
    """FLUSHALL after a trip: the trip and its counts stay to be seen until a person re-arms."""
    await to_canary(harness)
    harness.l3.error = Fault("a defect")
    await harness.execute()
    board = harness.components.triggers.board
    await rolled_back(harness)
    await eventually(lambda: control_of(harness).latch is None)
    async with Redis.from_url(router_environment) as client:
        await client.flushdb()
    await eventually(lambda: not harness.components.control.reader.view().known)
    await asyncio.sleep(0.6)
    assert board.trip is not None
    rearm = await harness.client.post(
        "/v1/rollout/rearm", json={"reason": "fixed", "expected_generation": 0}
    )
    assert 200 == rearm.status_code
    await eventually(lambda: board.trip is None)


async def test_a_wrong_request_is_no_error_of_l3(harness: Harness) -> None:
    """However many there are: they say nothing of L3."""
    await to_canary(harness, canary_symbols=["AAPL"])
    harness.l3.error = InvalidInput("order.quantity: too odd")
    for _ in range(30):
        await harness.execute()
    await asyncio.sleep(0.3)
    assert (await analysis(harness))["triggers"]["trip"] is None
    assert not control_of(harness).routing().latched


async def test_biased_slippage_rolls_back(eventually: Eventually) -> None:
    """A hundred answers at 11 bps are enough for the p95; no event of theirs is an error."""

    class Dear(StubL3):
        async def execute(self, request: Any, seed: int) -> Fill:
            self.calls.append((request, seed))
            return Fill(
                FillStatus.FILLED,
                request.order.quantity,
                Decimal("100.11"),
                Decimal(0),
                Decimal(11),
            )

    async with running_router(l3=Dear()) as running:
        await eventually(lambda: running.decides)
        await to_canary(running, canary_symbols=["AAPL"])
        for _ in range(100):
            await running.execute()
            await asyncio.sleep(0)
        assert (await rolled_back(running))["reason"].startswith("slippage_p95")


async def test_healthy_traffic_is_left_alone(harness: Harness) -> None:
    """Three hundred good answers: everything is read, nothing trips."""
    await to_canary(harness, canary_symbols=["AAPL"])
    for _ in range(300):
        assert (await harness.execute())["decision"]["arm"] == "L3"
        await asyncio.sleep(0)
    triggers = (await analysis(harness))["triggers"]
    assert triggers["trip"] is None
    readings = {reading["trigger"]: reading for reading in triggers["readings"]}
    assert readings["error_rate"]["samples"] == 300
    assert readings["slippage_p95"]["quantile_at_most"] == 5.0


async def test_without_auto_rollback_a_trip_is_only_said(
    monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """`AUTO_ROLLBACK_ENABLED=false`: counted and shown, and L3 stays."""
    monkeypatch.setenv("AUTO_ROLLBACK_ENABLED", "false")
    async with running_router() as running:
        await eventually(lambda: running.decides)
        await to_canary(running, canary_symbols=["AAPL"])
        running.l3.error = Fault("a defect")
        await running.execute()
        await eventually(lambda: running.components.triggers.board.trip is not None)
        await asyncio.sleep(0.3)
        triggers = (await analysis(running))["triggers"]
        assert (triggers["auto_rollback_enabled"], triggers["trip"] is None) == (False, False)
        assert (await running.client.get("/v1/rollout")).json()["phase"] == "CANARY"
        assert (
            await running.metric('rollout_trigger_trips_total{trigger="critical_exception"}') == 1
        )


async def test_the_analysis_holds_without_data_and_counts_the_shadows_pairs(
    harness: Harness, eventually: Eventually
) -> None:
    """No order: HOLD with a deadline. Ten: one open block, which proves nothing yet."""
    empty = await analysis(harness)
    assert (empty["verdict"]["outcome"], empty["verdict"]["blocks"]) == ("HOLD", 0)
    assert empty["verdict"]["deadline_at"] == pytest.approx(empty["started_at"] + 7 * 86_400)
    for n in range(10):
        await harness.execute(client_order_id=f"c{n}")
    await eventually(lambda: len(harness.components.shadow.store) == 10)
    body = await analysis(harness)
    assert body["verdict"]["outcome"] == "HOLD"
    assert body["config"]["alpha"] == 0.05
    summary = (await harness.client.get("/v1/shadow/summary")).json()
    assert {name: group["pairs"] for name, group in summary["by_size"].items()} == {
        "up to 1x touch": 10
    }
    assert list(summary["by_spread"]) == ["1 to 5 bps"]
    assert summary["noise_floor"]["rmse_bps"] == 0.0
    against_mid = await harness.client.get("/v1/shadow/summary", params={"reference": "mid"})
    assert against_mid.json()["overall"]["rmse_bps"] == pytest.approx(2.5)
    wrong = await harness.client.get("/v1/shadow/summary", params={"reference": "x"})
    assert wrong.status_code == 400


async def test_each_step_is_an_experiment_of_its_own(harness: Harness) -> None:
    """Canary, more of it, and back: each begins anew and later; a changed list does not."""
    generation, started = await to_canary(harness), [(await analysis(harness))["started_at"]]
    for changes in (
        {"basis_points": 600},
        {"canary_symbols": ["TSLA"]},
        {"phase": "SHADOW"},
    ):
        response = await harness.put(generation, **changes)
        generation = response.json()["generation"]
        started.append((await analysis(harness))["started_at"])
    assert sorted(started) == started
    assert started[1] == started[2]
    assert 3 == len(set(started))
    body = await analysis(harness)
    assert ["SHADOW", "CANARY", "CANARY"] == [e["step"]["phase"] for e in body["earlier"]]
    assert {"phase": "SHADOW", "basis_points": 600, "generation": generation} == body["step"]


async def test_a_dead_simulator_is_rolled_back(eventually: Eventually) -> None:
    """Nobody listens at the simulator's address: L2 answers each order, then every order."""
    async with running_router(simulator="127.0.0.1:1") as running:
        await eventually(lambda: running.decides)
        await to_canary(running, canary_symbols=["AAPL"])
        rules = set()
        for _ in range(40):
            rules.add((await running.execute())["decision"]["rule"])
        assert rules == {"fallback:UNAVAILABLE", "rolled_back"}
        assert (await rolled_back(running))["reason"].startswith("error_storm")


async def test_a_failing_health_check_rolls_back_without_any_order(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its window of ten seconds, and only where L3 may answer."""
    monkeypatch.setattr("services.router.health_watch.HEALTH_SECONDS", 0.05)
    checks = []

    async def failing() -> str:
        checks.append(1)
        raise Unavailable("NOT_SERVING")

    async with running_router(l3_check=failing) as running:
        await eventually(lambda: running.decides)
        await asyncio.sleep(0.3)
        assert [] == checks
        await to_canary(running, canary_symbols=["AAPL"])
        body = await rolled_back(running)
        assert body["reason"].startswith("health_check: more than half of the simulator's")
        assert [] == running.l3.calls


async def test_a_hanging_health_check_counts_as_failed() -> None:
    """It is given half a second, and a passing one is told apart."""

    async def hang() -> None:
        await asyncio.sleep(60)

    async def well() -> None:
        return None

    def watch(check: Any) -> HealthWatch:
        return HealthWatch(check, live=lambda: True, count=lambda _failed: None)

    started = time.monotonic()
    assert (False, True) == (await watch(hang).passes(), await watch(well).passes())
    assert time.monotonic() - started < 2.0


async def test_the_watch_goes_on_after_a_defect_of_its_own(
    monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """A dead simulator must be found however odd the moment before was."""
    monkeypatch.setattr("services.router.health_watch.HEALTH_SECONDS", 0.001)
    counted: list[bool] = []

    def count(failed: bool) -> None:
        counted.append(failed)
        if len(counted) == 1:
            raise ValueError("odd")

    async def well() -> None:
        return None

    watch = HealthWatch(well, live=lambda: True, count=count)
    task = asyncio.create_task(watch.work())
    await eventually(lambda: len(counted) >= 2)
    task.cancel()
