"""The windows of several routers together, over one real Redis: they trip as one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from services.router.shared_windows import SharedWindows
from tests.services.router_harness import Harness, control_of, running_router, to_canary
from touchstone.kit.control import ControlStore
from touchstone.kit.redis_server import RedisServer
from touchstone.rollout.triggers import TriggerBoard

Eventually = Callable[..., Awaitable[float]]
START = 1_700_000_000.0
INDEX = "control:{rollout}:windows"


def shared(
    store: ControlStore, name: str, at: Callable[[], float] = lambda: START
) -> tuple[SharedWindows, TriggerBoard]:
    """Return a board and what shares it."""
    board = TriggerBoard()
    return SharedWindows(store, name, board, wall_clock=at), board


def samples(windows: SharedWindows, name: str = "latency_p95", now: float = START) -> int:
    """Return how many values the others' windows add to a trigger."""
    readings = TriggerBoard().readings(now, windows.others())
    return next(r.samples for r in readings if r.trigger.name == name)


def phase_of(harness: Harness) -> str | None:
    """Return the phase as a router knows it."""
    document = control_of(harness).routing().document
    return None if document is None else document.phase.value


@contextlib.asynccontextmanager
async def two_routers(tmp_path: Path, eventually: Eventually) -> AsyncIterator[list[Harness]]:
    """Run two whole routers on one Redis, with a data folder each, in the canary phase."""
    async with contextlib.AsyncExitStack() as stack:
        routers = [
            await stack.enter_async_context(
                running_router(TOUCHSTONE_DATA_DIR=tmp_path / f"router{n}")
            )
            for n in range(2)
        ]
        for router in routers:
            await eventually(lambda r=router: r.decides)
        generation = await to_canary(routers[0], canary_symbols=["AAPL"])
        for router in routers:
            await eventually(lambda r=router: control_of(r).routing().generation == generation)
        yield routers


@pytest.mark.usefixtures("router_environment")
async def test_two_routers_trip_together_where_neither_would_alone(
    tmp_path: Path, eventually: Eventually
) -> None:
    """Sixty answers each, 11 bps dear: too few for one, enough for both; one writes it."""
    async with two_routers(tmp_path, eventually) as routers:
        for router in routers:
            for _ in range(60):
                router.components.triggers.board.observe(
                    router.components.shadow.now(), seconds=0.001, slippage_bps=11.0
                )
        now = routers[0].components.shadow.now()
        assert [None, None] == [r.components.triggers.board.evaluate(now) for r in routers]
        for router in routers:
            await eventually(lambda r=router: phase_of(r) == "ROLLED_BACK")
            await eventually(lambda r=router: control_of(r).latch is None)
        trips = [router.components.triggers.board.trip for router in routers]
        assert any(t is not None and t.reading.samples == 120 for t in trips)
        await asyncio.sleep(0.6)
        entries = (await routers[1].client.get("/v1/rollout/audit")).json()["entries"]
        assert ["ROLLED_BACK", "CANARY", "SHADOW"] == [entry["phase"] for entry in entries]
        assert entries[0]["reason"].startswith("slippage_p95")
        for router in routers:
            assert (await router.execute())["decision"]["rule"] == "rolled_back"


@pytest.mark.usefixtures("router_environment")
async def test_a_rearm_forgets_what_all_routers_counted(
    tmp_path: Path, eventually: Eventually
) -> None:
    """After it L3 may go on in both, also with what a router left that has ended since."""
    async with two_routers(tmp_path, eventually) as routers:
        ended, board = shared(routers[0].components.store, "router:ended", time.time)
        for _ in range(150):
            board.observe(time.time(), seconds=0.5)
        await ended.share()
        for router in routers:
            for _ in range(60):
                router.components.triggers.board.observe(
                    router.components.shadow.now(), seconds=0.5
                )
        await eventually(lambda: all(phase_of(r) == "ROLLED_BACK" for r in routers))
        await asyncio.sleep(0.4)
        generation = control_of(routers[0]).routing().generation
        again = await routers[1].client.post(
            "/v1/rollout/rearm",
            json={"reason": "fixed", "expected_generation": generation},
        )
        assert again.status_code == 200
        assert (await routers[0].put(generation + 1, phase="CANARY")).status_code == 200
        await asyncio.sleep(1.6)
        for router in routers:
            assert router.components.triggers.board.trip is None
            state = (await router.client.get("/v1/rollout")).json()
            assert ("CANARY", False) == (state["phase"], state["control"]["rolled_back_here"])
            readings = (await router.client.get("/v1/rollout/analysis")).json()["triggers"]
            assert {0} == {row["samples"] for row in readings["readings"]}
            assert (2, "") == (readings["shared"]["other_routers"], readings["shared"]["why"])


async def test_counts_are_exact_however_often_they_are_written(store: ControlStore) -> None:
    """Absolute counts: sharing again, and growing in between, counts nothing twice."""
    (one, board), (two, _) = shared(store, "one"), shared(store, "two")
    for n in range(1, 4):
        board.observe(START, seconds=0.02)
        await one.share()
        await one.share()
        await two.share()
        assert n == samples(two)
    assert 0 == samples(one)


async def test_what_redis_lost_is_written_again(
    store: ControlStore, router_environment: str
) -> None:
    """After a flush the next two looks restore the sums."""
    (one, board), (two, _) = shared(store, "one"), shared(store, "two")
    board.observe(START, seconds=0.02)
    await one.share()
    async with Redis.from_url(router_environment) as client:
        await client.flushdb()
    for _ in range(2):
        await one.share()
    await two.share()
    assert 1 == samples(two)


async def test_slots_that_left_the_window_leave_redis(
    store: ControlStore, router_environment: str
) -> None:
    """The hash stays as small as the windows, and it expires."""
    now = [START]
    one, board = shared(store, "one", lambda: now[0])
    for n in range(200):
        board.observe(START + 10 * n, seconds=0.02)
        await one.share()
    async with Redis.from_url(router_environment) as client:
        assert await client.hlen(f"{INDEX}:one") <= 3 * 61
        assert 0 < await client.pttl(f"{INDEX}:one") <= 660_000
        assert 0 < await client.pttl(INDEX) <= 660_000


@pytest.mark.parametrize("damage", [("latency_p95 1:99", "1"), ("latency_p95 x", "y")])
async def test_a_damaged_member_blinds_nobody(
    store: ControlStore, router_environment: str, damage: tuple[str, str]
) -> None:
    """What is no count of a window is left out, the other members count."""
    (one, board), (two, _) = shared(store, "one"), shared(store, "two")
    board.observe(START, seconds=0.02)
    await one.share()
    async with Redis.from_url(router_environment) as client:
        await client.hset(f"{INDEX}:bad", *damage)
        seen = await client.hget(INDEX, "one")
        assert isinstance(seen, bytes)
        await client.hset(INDEX, "bad", seen.decode())
    await two.share()
    assert 1 == samples(two)
    assert 1 == two.to_json()["other_routers"]


async def test_without_redis_own_counts_are_all_there_is(own_redis: RedisServer) -> None:
    """Sharing raises nothing; what was read is used for five seconds and no longer."""
    now = [0.0]
    async with ControlStore(own_redis.url) as store:
        one, board = shared(store, "one")
        two = SharedWindows(store, "two", TriggerBoard(), monotonic=lambda: now[0])
        board.observe(START, seconds=0.02)
        await one.share()
        await two.share()
        own_redis.stop()
        await two.share()
        assert 1 == samples(two)
        now[0] = 5.1
        assert () == two.others()
        assert "Redis" in str(two.to_json()["why"])


async def test_a_clock_that_is_ahead_clears_the_others_once(store: ControlStore) -> None:
    """A re-arm from an hour ahead counts as the server's now, and not again at each look."""
    ahead = time.time() + 3_600
    (one, _), (two, board) = shared(store, "one", lambda: ahead), shared(store, "two", time.time)
    board.observe(time.time(), seconds=0.02)
    one.forget()
    await one.share()
    await two.share()
    assert {} == board.to_counts()["latency_p95"]
    board.observe(time.time(), seconds=0.02)
    for _ in range(3):
        await one.share()
        await two.share()
    assert 1 == sum(board.to_counts()["latency_p95"].values())


async def test_a_rearm_while_redis_is_asked_is_not_undone(
    store: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer that was under way holds counts of before; it is not taken over."""
    (one, board), (two, _) = shared(store, "one"), shared(store, "two")
    board.observe(START, seconds=0.02)
    await one.share()
    asked = store.run_script

    async def rearmed_meanwhile(*arguments: Any) -> Any:
        answer = await asked(*arguments)
        asyncio.get_running_loop().call_soon(two.forget)
        return answer

    monkeypatch.setattr(store, "run_script", rearmed_meanwhile)
    await two.share()
    assert () == two.others()
