"""The graceful rollback: nothing new to L3, what is under way ends, off, verified, reported."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from execution_providers import ExecutionRequest, Fill
from tests.services.router_harness import Harness, StubL3, control_of, running_router, to_canary
from touchstone.kit.membership import SETTLED_SECONDS
from touchstone.kit.redis_server import RedisServer

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


class Slow(StubL3):
    """Answer once `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return the usual fill, late."""
        await self.go.wait()
        return await super().execute(request, seed)


@contextlib.asynccontextmanager
async def slow_router(eventually: Eventually, **overrides: Any) -> AsyncIterator[Harness]:
    """Run a router in the canary phase whose L3 waits to be told."""
    async with running_router(l3=Slow(), **overrides) as harness:
        await eventually(lambda: harness.decides)
        if control_of(harness).routing().generation == 1:
            await to_canary(harness, canary_symbols=["AAPL"])
        yield harness


async def roll_back(harness: Harness, **more: Any) -> Any:
    """Roll back gracefully and return the answer."""
    body = {"mode": "graceful", "reason": "month end", "actor": "casey"} | more
    return await harness.client.post("/v1/rollout/rollback", json=body)


async def test_what_is_under_way_ends_and_all_else_is_on_l2(eventually: Eventually) -> None:
    """Longer than a lease: L2 answers meanwhile, L3 the order it had, and then it is off."""
    async with slow_router(eventually) as harness:
        waiting = asyncio.create_task(harness.execute())
        await eventually(lambda: control_of(harness).send_gate.open_passages == 1)
        call = asyncio.create_task(roll_back(harness))
        await eventually(lambda: control_of(harness).routing().generation == 3)
        state = (await harness.client.get("/v1/rollout")).json()
        assert ("CANARY", 0) == (state["phase"], state["basis_points"])
        assert state["reason"].startswith("draining for a graceful rollback: month end")
        assert (await harness.execute())["decision"]["arm"] == "L2"
        await asyncio.sleep(1.0)
        assert not call.done()
        assert isinstance(harness.l3, Slow)
        harness.l3.go.set()
        assert "L3" == (await waiting)["decision"]["arm"]
        response = await call
        report = response.json()
        assert (200, True, 4) == (response.status_code, report["confirmed"], report["generation"])
        drain, verified = report["drain"], report["verified"]
        assert (True, 1, []) == (drain["drained"], drain["under_way_at_start"], drain["lapsed"])
        assert 1.0 <= drain["seconds"] < 3.0
        assert (True, 0, []) == (
            verified["all_on_l2"],
            verified["under_way_here"],
            verified["symbols_on_l3"],
        )
        assert verified["symbols_probed"] >= 100
        state = (await harness.client.get("/v1/rollout")).json()
        assert ("ROLLED_BACK", 500) == (state["phase"], state["basis_points"])
        assert ["AAPL"] == state["document"]["canary_symbols"]
        assert ("casey", "graceful: month end") == (state["actor"], state["reason"])
        assert "rolled_back" == (await harness.execute())["decision"]["rule"]
        assert 409 == (await roll_back(harness)).status_code


async def test_what_does_not_end_is_named_and_not_waited_for(eventually: Eventually) -> None:
    """The bound holds: rolled back all the same, `drained` and `all_on_l2` are false."""
    async with slow_router(eventually) as harness:
        waiting = asyncio.create_task(harness.execute())
        await eventually(lambda: control_of(harness).send_gate.open_passages == 1)
        report = (await roll_back(harness, drain_seconds=0.2)).json()
        member = control_of(harness).member
        assert (False, [member]) == (report["drain"]["drained"], report["drain"]["lapsed"])
        assert report["seconds"] < 2.5
        verified = report["verified"]
        assert (False, 1) == (verified["all_on_l2"], verified["under_way_here"])
        assert "ROLLED_BACK" == (await harness.client.get("/v1/rollout")).json()["phase"]
        assert isinstance(harness.l3, Slow)
        harness.l3.go.set()
        await waiting


async def test_another_routers_executions_are_waited_for(
    eventually: Eventually, tmp_path: Path
) -> None:
    """The router that is asked has nothing under way; the other one has."""
    async with (
        slow_router(eventually, TOUCHSTONE_DATA_DIR=tmp_path / "one") as one,
        slow_router(eventually, TOUCHSTONE_DATA_DIR=tmp_path / "two") as two,
    ):
        waiting = asyncio.create_task(two.execute())
        await eventually(lambda: control_of(two).send_gate.open_passages == 1)
        call = asyncio.create_task(roll_back(one))
        await asyncio.sleep(0.8)
        assert not call.done()
        assert isinstance(two.l3, Slow)
        two.l3.go.set()
        await waiting
        report = (await call).json()
        assert (True, 0) == (report["drain"]["drained"], report["drain"]["under_way_at_start"])
        assert (True, 2) == (
            report["verified"]["all_on_l2"],
            report["verified"]["routers_on_l2"],
        )


async def test_a_census_that_is_trusted_hides_nobody_who_is_silent(
    eventually: Eventually, tmp_path: Path, redis_url: str
) -> None:
    """Routers that run for long: one that waits for L3 stays listed however often it is looked."""
    async with (
        slow_router(eventually, TOUCHSTONE_DATA_DIR=tmp_path / "one") as one,
        slow_router(eventually, TOUCHSTONE_DATA_DIR=tmp_path / "two") as two,
    ):
        async with Redis.from_url(redis_url) as client:
            long_ago = int(time.time() * 1000) - 3_000
            await client.hset("control:{rollout}:members", "@founded", long_ago)
        store = one.components.store
        while await store.uptime_seconds() < SETTLED_SECONDS:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        waiting = asyncio.create_task(two.execute())
        await eventually(lambda: control_of(two).send_gate.open_passages == 1)
        report = (await roll_back(one, drain_seconds=1.5)).json()
        member = control_of(two).member
        assert (False, [member]) == (report["drain"]["drained"], report["drain"]["lapsed"])
        assert report["drain"]["seconds"] >= 1.5
        assert ([member], False) == (report["lapsed"], report["verified"]["all_on_l2"])
        assert isinstance(two.l3, Slow)
        two.l3.go.set()
        await waiting


async def test_from_shadow_there_is_nothing_to_drain(harness: Harness) -> None:
    """One generation, at once."""
    report = (await roll_back(harness)).json()
    assert (False, True, 2) == (
        report["drain"]["needed"],
        report["drain"]["drained"],
        report["generation"],
    )
    assert report["verified"]["all_on_l2"]


async def test_from_full_it_drains_through_expansion(harness: Harness) -> None:
    """FULL has no share of 0; the document keeps its 100 % for later."""
    generation = await to_canary(harness, canary_symbols=[])
    for phase, points in (("EXPANSION", 5_000), ("FULL", 10_000)):
        response = await harness.put(generation, phase=phase, basis_points=points)
        generation = response.json()["generation"]
    report = (await roll_back(harness)).json()
    assert generation + 2 == report["generation"]
    entries = (await harness.client.get("/v1/rollout/audit?limit=3")).json()["entries"]
    assert [("ROLLED_BACK", 10_000), ("EXPANSION", 0), ("FULL", 10_000)] == [
        (entry["phase"], entry["document"]["basis_points"]) for entry in entries
    ]


async def test_a_dossier_of_it_shows_the_state_before_the_drain(
    harness: Harness, eventually: Eventually
) -> None:
    """One dossier, kind graceful; only the phase is different in the end."""
    await to_canary(harness)
    await roll_back(harness)
    folder = harness.components.dossiers
    await eventually(lambda: len(folder.names()) == 1)
    [name] = folder.names()
    body = (await harness.client.get(f"/v1/rollout/dossiers/{name}")).json()
    assert "graceful" == body["kind"]
    assert ["phase"] == [row["key"] for row in body["flags"]["diff"]]


async def test_without_redis_this_router_is_latched_at_once(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """202: nothing is promised for others; here L2 answers, and what was under way has ended."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", own_redis.url)
    async with slow_router(eventually) as harness:
        waiting = asyncio.create_task(harness.execute())
        await eventually(lambda: control_of(harness).send_gate.open_passages == 1)
        own_redis.stop()
        call = asyncio.create_task(roll_back(harness))
        await eventually(lambda: control_of(harness).latch is not None)
        assert "rolled_back" == (await harness.execute())["decision"]["rule"]
        assert isinstance(harness.l3, Slow)
        harness.l3.go.set()
        await waiting
        response = await call
        report = response.json()
        assert (202, False, None) == (response.status_code, report["persisted"], report["acked"])
        assert report["drain"]["drained"]
        assert report["drain"]["why"].startswith("only here: Redis")
        assert (False, True) == (report["verified"]["all_on_l2"], report["verified"]["here"])


@pytest.mark.parametrize("more", [{"reason": "x" * 501}, {"actor": "x" * 501}])
async def test_a_text_that_could_not_be_kept_is_400_and_changes_nothing(
    harness: Harness, more: dict[str, str]
) -> None:
    """As in the emergency rollback; 500 characters are right, and cut where the prefix is."""
    await to_canary(harness)
    assert 400 == (await roll_back(harness, **more)).status_code
    assert control_of(harness).latch is None
    assert 2 == (await harness.client.get("/v1/rollout")).json()["generation"]
    report = (await roll_back(harness, reason="x" * 500)).json()
    assert (True, 4) == (report["persisted"], report["generation"])


async def test_it_is_done_to_its_end_though_the_caller_left(
    eventually: Eventually,
) -> None:
    """A client that goes away leaves no half-drained rollout."""
    async with slow_router(eventually) as harness:
        waiting = asyncio.create_task(harness.execute())
        await eventually(lambda: control_of(harness).send_gate.open_passages == 1)
        call = asyncio.create_task(
            harness.components.graceful.run(actor="a", reason="r", drain_seconds=5)
        )
        await eventually(lambda: control_of(harness).routing().generation == 3)
        call.cancel()
        assert isinstance(harness.l3, Slow)
        harness.l3.go.set()
        await waiting
        await eventually(lambda: control_of(harness).routing().generation == 4)


@pytest.mark.parametrize("seconds", [-1, 61, "5", True, None])
async def test_a_wrong_bound_is_400_and_changes_nothing(harness: Harness, seconds: object) -> None:
    """The line names the field, the value and what is allowed."""
    response = await roll_back(harness, drain_seconds=seconds)
    assert (400, True) == (response.status_code, "drain_seconds" in response.text)
    assert 1 == (await harness.client.get("/v1/rollout")).json()["generation"]
