"""Rollback, and what the router does while Redis is away or has lost its data."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from execution_providers import ExecutionRequest, Fill
from lob.errors import Unavailable
from services.router.watermark import Latch, load_watermark
from tests.services.router_harness import (
    Harness,
    StubL3,
    control_of,
    request_json,
    running_router,
    to_canary,
)
from touchstone.kit import control_store
from touchstone.kit.control import ViewStatus
from touchstone.kit.control_store import document_text
from touchstone.kit.leases import LEASE_SECONDS
from touchstone.kit.redis_server import RedisServer, start_redis
from touchstone.rollout.state import RolloutDocument

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


def held_l3() -> tuple[asyncio.Event, StubL3]:
    """Return an L3 that answers once the event is set."""
    slow, stub = asyncio.Event(), StubL3()

    async def execute(request: ExecutionRequest, seed: int) -> Fill:
        await slow.wait()
        return await StubL3.execute(stub, request, seed)

    stub.execute = execute  # type: ignore[method-assign]
    return slow, stub


async def test_a_rollback_is_latched_until_it_is_rearmed(harness: Harness) -> None:
    """One call takes all to L2; no PUT leaves it; a re-arm needs reason and generation."""
    generation = await to_canary(harness)
    rollback = await harness.client.post(
        "/v1/rollout/rollback", json={"mode": "emergency", "reason": "slippage"}
    )
    answer = rollback.json()
    [ack] = answer.pop("acks")
    assert answer.pop("seconds") >= ack["seconds"] > 0
    assert ack["member"].startswith("router:")
    assert answer == {
        "rolled_back": True,
        "persisted": True,
        "confirmed": True,
        "generation": generation + 1,
        "acked": generation + 1,
        "lapsed": [],
    }
    name = 'kill_switch_ack_seconds_count{scope="rollout"}'
    assert await harness.metric(name) == 1
    assert (await harness.execute())["decision"]["rule"] == "rolled_back"
    refused = await harness.put(generation + 1, phase="CANARY")
    assert (refused.status_code, "re-arm" in refused.text) == (409, True)

    async def rearm(body: dict[str, Any], etag: str | None) -> httpx.Response:
        headers = {} if etag is None else {"If-Match": etag}
        return await harness.client.post("/v1/rollout/rearm", json=body, headers=headers)

    assert (await rearm({"reason": "fixed"}, None)).status_code == 428
    assert (await rearm({"reason": "fixed"}, "1")).status_code == 409
    assert (await rearm({}, "3")).status_code == 400
    assert (await rearm({"reason": "fixed", "phase": "CANARY"}, "3")).status_code == 400
    done = await rearm({"reason": "fixed", "actor": "bo", "expected_generation": 3}, None)
    assert (done.status_code, done.json()["phase"], done.json()["actor"]) == (200, "SHADOW", "bo")
    assert (await harness.execute())["decision"]["rule"] == "shadow"
    assert (await rearm({"reason": "again"}, "4")).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": " "},
        {"reason": "r", "mode": "x"},
        {"why": 1},
        {"reason": "r", "drain_seconds": 1},
    ],
)
async def test_a_wrong_rollback_is_400(harness: Harness, body: dict[str, Any]) -> None:
    """It needs a reason and a mode that exists."""
    response = await harness.client.post("/v1/rollout/rollback", json=body)
    assert response.status_code == 400


@pytest.mark.parametrize("field", ["reason", "actor"])
@pytest.mark.parametrize("text", ["x" * 501, "\ud800"])
async def test_a_rollback_that_could_never_be_persisted_is_400(
    harness: Harness, field: str, text: str
) -> None:
    """Else it would hold in one router only, and be tried again for ever."""
    body = {"reason": "r"} | {field: text}
    response = await harness.client.post(
        "/v1/rollout/rollback",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert (response.status_code, field in response.text) == (400, True)
    assert control_of(harness).latch is None
    shorter = await harness.client.post("/v1/rollout/rollback", json={"reason": "x" * 500})
    assert (shorter.status_code, shorter.json()["persisted"]) == (200, True)


async def test_a_rollback_during_a_rearm_is_not_lost(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes in between the re-arm's write and its end stays latched, also without Redis."""
    control = control_of(harness)
    first = await control.rollback(actor="a", reason="first")
    assert first is not None
    refresh = control.reader.refresh

    async def rolled_back_meanwhile() -> Any:
        monkeypatch.setattr(control.reader, "refresh", refresh)
        monkeypatch.setattr(control._store, "write", away)
        assert await control.rollback(actor="b", reason="second") is None
        return await refresh()

    async def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("Redis is away")

    monkeypatch.setattr(control.reader, "refresh", rolled_back_meanwhile)
    await control.rearm("SHADOW", expected=first.generation, actor="a", reason="fixed")
    assert control.latch is not None
    assert (await harness.execute())["decision"]["rule"] == "rolled_back"


async def test_a_rollback_that_comes_while_a_rearm_reads_is_not_lost(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """The re-arm is about what was held when it was asked for, whatever it waits for first."""
    control = control_of(harness)
    first = await control.rollback(actor="a", reason="first")
    assert first is not None
    read = control._store.read

    async def rolled_back_meanwhile(scope: str, *, patient: bool) -> Any:
        monkeypatch.setattr(control._store, "read", read)
        found = await read(scope, patient=patient)
        control.latch_here(actor="b", reason="second")
        return found

    monkeypatch.setattr(control._store, "read", rolled_back_meanwhile)
    await control.rearm("SHADOW", expected=first.generation, actor="a", reason="fixed")
    assert (await harness.execute())["decision"]["rule"] == "rolled_back"
    await eventually(lambda: control.latch is None)
    state = (await harness.client.get("/v1/rollout")).json()
    assert ("ROLLED_BACK", "b", "second") == (state["phase"], state["actor"], state["reason"])


async def test_the_same_words_again_are_another_rollback_once_the_first_is_written(
    harness: Harness,
) -> None:
    """The first may have been left by a re-arm elsewhere that this router has not seen yet."""
    control = control_of(harness)
    control._latch = Latch("fire", "a", generation=7)
    control.latch_here(actor="a", reason="fire")
    assert Latch("fire", "a") == control.latch


async def test_a_generation_that_the_disk_refuses_is_not_acknowledged(
    harness: Harness, tmp_path: Path, eventually: Eventually
) -> None:
    """L2 answers, and the file is tried again until the disk takes it; then L3 may again."""
    control = control_of(harness)
    generation = await to_canary(harness)
    assert "L3" == (await harness.execute())["decision"]["arm"]
    (tmp_path / "full").write_text("no folder")
    good, control._watermark_path = control._watermark_path, tmp_path / "full" / "control.json"
    assert 200 == (await harness.put(generation, basis_points=100)).status_code
    await eventually(lambda: control.reader.view().lease_seconds_left == 0)
    assert "stale" == (await harness.execute())["decision"]["rule"]
    told = (await harness.client.post("/v1/rollout/rollback", json={"reason": "full"})).json()
    assert (True, [control.member]) == (told["persisted"], told["lapsed"])
    control._watermark_path = good
    await eventually(lambda: control.reader.view().lease_seconds_left > 0)
    saved = load_watermark(good)
    assert (generation + 2, True) == (saved.generation, saved.rolled_back)


async def test_what_could_not_be_rolled_back_is_not_taken(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that just fits has no room for ROLLED_BACK: other routers would go on with L3."""
    present = (await harness.client.get("/v1/rollout")).json()["document"]
    canary = RolloutDocument.from_json(present | {"phase": "CANARY"}).to_json()
    monkeypatch.setattr(control_store, "DOCUMENT_BYTES_MAX", len(document_text(canary)))
    refused = await harness.put(1, phase="CANARY")
    assert (400, True) == (refused.status_code, "document: " in refused.text)
    rollback = await harness.client.post("/v1/rollout/rollback", json={"reason": "bad fills"})
    assert not rollback.json()["persisted"]
    grown = control_store.DOCUMENT_BYTES_MAX + len("ROLLED_BACK") - len("CANARY")
    monkeypatch.setattr(control_store, "DOCUMENT_BYTES_MAX", grown)
    rollback = await harness.client.post("/v1/rollout/rollback", json={"reason": "bad fills"})
    assert rollback.json()["persisted"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"generation": Infinity, "rolled_back": false, "latch": null}',
        '{"generation": -1, "rolled_back": false, "latch": null}',
        '{"generation": 9007199254740992, "rolled_back": false, "latch": null}',
        '{"generation": "7", "rolled_back": false, "latch": null}',
        '{"generation": 1, "rolled_back": false, "latch": {"reason": 5, "actor": "a"}}',
        '{"generation": 1, "rolled_back": false, "latch": {"reason": "", "actor": "a"}}',
        '{"generation": 1, "rolled_back": false, "latch": {"reason": "r", "actor": "a", "x": 1}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_watermark_is_a_latch_that_can_be_written(tmp_path: Path, text: str) -> None:
    """Never a router that does not start, nor one whose rollback Redis would never take."""
    path = tmp_path / "control.json"
    path.write_text(text)
    latch = load_watermark(path).latch
    assert latch is not None
    assert ("router", None) == (latch.actor, latch.generation)


async def test_without_redis_a_rollback_still_holds_here_and_over_a_restart(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """In process first; what Redis did not get is kept on disk, and written when it is back."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", own_redis.url)
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        own_redis.stop()
        response = await harness.client.post("/v1/rollout/rollback", json={"reason": "no redis"})
        assert (response.status_code, response.json()["persisted"]) == (202, False)
        assert (response.json()["acked"], response.json()["confirmed"]) == (None, False)
        assert (await harness.execute())["decision"]["rule"] == "rolled_back"
    async with running_router() as harness:
        assert (await harness.execute())["decision"]["rule"] == "rolled_back"
        restarted = start_redis(own_redis.data_dir, own_redis.port)
        try:
            await eventually(lambda: control_of(harness).latch is None)
            body = (await harness.client.get("/v1/rollout")).json()
            assert (body["phase"], body["reason"]) == ("ROLLED_BACK", "no redis")
        finally:
            restarted.stop()


async def test_a_cold_boot_without_redis_answers_with_l2(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts, answers, and readiness says degraded and why."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", "redis://127.0.0.1:1/0")
    async with running_router() as harness:
        assert (await harness.execute())["decision"]["rule"] == "unknown"
        ready = await harness.client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert "L2 answers" in ready.json()["checks"]["rollout"]["detail"]
        response = await harness.put(0, phase="SHADOW")
        assert (response.status_code, response.json()["error"]["retryable"]) == (503, True)
        state = (await harness.client.get("/v1/rollout")).json()
        assert (state["generation"], state["control"]["known"]) == (0, False)


async def test_when_redis_dies_l3_ends_with_the_lease(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """L3 goes on answering for half a second at most, then L2; it comes back with Redis."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", own_redis.url)
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        own_redis.process.kill()
        own_redis.process.wait()
        assert (await harness.execute())["decision"]["rule"] == "allow_list"
        lapsed = await eventually(lambda: control_of(harness).reader.view().lease_seconds_left == 0)
        assert lapsed <= 0.6
        assert (await harness.execute())["decision"]["rule"] == "stale"
        assert "L2 answers" in (await harness.client.get("/readyz")).text
        restarted = start_redis(own_redis.data_dir, own_redis.port)
        try:
            await eventually(lambda: control_of(harness).reader.view().lease_seconds_left > 0)
            assert (await harness.execute())["decision"]["rule"] == "allow_list"
        finally:
            restarted.stop()


async def test_a_rollback_is_acknowledged_once_l3_has_nothing_under_way(
    eventually: Eventually,
) -> None:
    """L2 answers at once; the call returns only after the L3 execution begun before it."""
    slow, stub = held_l3()
    async with running_router(l3=stub) as harness:
        await eventually(lambda: harness.decides)
        generation = await to_canary(harness)
        waiting = asyncio.create_task(harness.execute())
        await eventually(lambda: control_of(harness).send_gate.open_passages == 1)
        body = {"mode": "emergency", "reason": "slippage"}
        call = asyncio.create_task(harness.client.post("/v1/rollout/rollback", json=body))
        await eventually(lambda: control_of(harness).latch is not None)
        assert (await harness.execute())["decision"]["rule"] == "rolled_back"
        await asyncio.sleep(0.05)
        assert not call.done()
        slow.set()
        assert (await waiting)["decision"]["arm"] == "L3"
        answer = (await call).json()
        assert (answer["acked"], answer["lapsed"]) == (generation + 1, [])


@pytest.mark.parametrize("many", [False, True])
async def test_an_answer_of_l3_after_the_acknowledgement_is_thrown_away(
    eventually: Eventually, *, many: bool
) -> None:
    """An execution that outlasts the lease: the kill is acknowledged without it, so L2 answers."""
    slow, stub = held_l3()
    async with running_router(l3=stub) as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        path, body = "/v1/executions", request_json()
        if many:
            path, body = "/v1/executions/batch", {"requests": [body, body]}
        waiting = asyncio.create_task(harness.client.post(path, json=body))
        await eventually(lambda: control_of(harness).send_gate.open_passages == 1)
        told = (
            await harness.client.post(
                "/v1/rollout/rollback", json={"mode": "emergency", "reason": "slippage"}
            )
        ).json()
        assert (told["generation"], [control_of(harness).member]) == (told["acked"], told["lapsed"])
        slow.set()
        answer = (await waiting).json()
        for one in answer["results"] if many else [answer]:
            assert ("L2", "rolled_back") == (one["decision"]["arm"], one["decision"]["rule"])


async def test_an_answer_of_l3_without_redis_for_a_lease_is_thrown_away(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Who is cut off cannot know of a kill, and by then it may be acknowledged without him."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", own_redis.url)
    slow, stub = held_l3()
    async with running_router(l3=stub) as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        waiting = asyncio.create_task(harness.execute())
        await eventually(lambda: control_of(harness).send_gate.open_passages == 1)
        own_redis.process.kill()
        own_redis.process.wait()
        await eventually(lambda: control_of(harness).reader.view().age_seconds >= LEASE_SECONDS)
        slow.set()
        answer = await waiting
        assert ("L2", "stale") == (answer["decision"]["arm"], answer["decision"]["rule"])


async def test_a_flushed_redis_is_unknown_until_a_person_rearms(
    harness: Harness, router_environment: str, eventually: Eventually
) -> None:
    """A state that vanished is not made again by the router that saw it."""
    await to_canary(harness)
    async with Redis.from_url(router_environment) as client:
        await client.flushdb()
    reader = control_of(harness).reader
    await eventually(lambda: reader.view().status is ViewStatus.MISSING)
    assert (await harness.execute())["decision"]["rule"] == "unknown"
    assert (await harness.put(0, phase="SHADOW")).status_code == 409
    rearm = await harness.client.post(
        "/v1/rollout/rearm", json={"reason": "flushed by mistake", "expected_generation": 0}
    )
    assert (rearm.status_code, rearm.json()["generation"], rearm.json()["phase"]) == (
        200,
        3,
        "SHADOW",
    )
    assert (await harness.execute())["decision"]["rule"] == "shadow"


async def test_a_restart_after_a_lost_rollback_does_not_rearm(
    router_environment: str, eventually: Eventually
) -> None:
    """Redis lost everything while the router was away: it comes back rolled back."""
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        await harness.client.post("/v1/rollout/rollback", json={"reason": "bad fills"})
        await eventually(lambda: control_of(harness)._saved.rolled_back)
    async with Redis.from_url(router_environment) as client:
        await client.flushdb()
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        body = (await harness.client.get("/v1/rollout")).json()
        assert (body["phase"], body["generation"]) == ("ROLLED_BACK", 3)
