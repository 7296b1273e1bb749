"""A Redis that may forget a rollback: seen by readiness, metric and status; loosening refused."""

import time
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from tests.services.router_harness import running_router
from touchstone.cli.status import _probe_redis
from touchstone.kit.redis_server import RedisServer

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


@pytest.fixture
async def forgetful(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server that syncs once a second only."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", own_redis.url)
    async with Redis.from_url(own_redis.url) as client:
        await client.config_set("appendfsync", "everysec")
    return own_redis.url


async def test_a_forgetful_redis_is_seen(forgetful: str, eventually: Eventually) -> None:
    """Degraded with the setting's name, 0 in the metric, and said by `touchstone status`."""
    async with running_router() as harness:
        await eventually(lambda: harness.components.store.durability is not None)
        assert 0 == await harness.metric("control_durable")
        body = (await harness.client.get("/readyz")).json()
        assert "degraded" == body["status"]
        assert "appendfsync is 'everysec', wanted 'always'" in body["checks"]["redis"]["detail"]
        health = await _probe_redis(forgetful)
        assert (True, True) == (health.ok, "appendfsync is 'everysec'" in health.detail)
        async with Redis.from_url(forgetful) as client:
            await client.config_set("appendfsync", "always")
        assert (await harness.client.get("/readyz")).json()["checks"]["redis"]["ok"]
        assert 1 == await harness.metric("control_durable")
        assert "ready" == (await _probe_redis(forgetful)).detail


async def test_where_it_is_required_only_tightening_is_taken(
    forgetful: str, eventually: Eventually
) -> None:
    """Promotion, arming and re-arm are refused with the reason; going back always works."""
    async with running_router(require_durable_control=True) as harness:
        await eventually(lambda: harness.decides)
        for changes in ({"phase": "CANARY"}, {"schedule_armed": True}):
            refused = await harness.put(1, **changes)
            assert (409, True) == (
                refused.status_code,
                "Redis may lose control state (appendfsync" in refused.text,
            )
        async with Redis.from_url(forgetful) as client:
            await client.config_set("appendfsync", "always")
            assert 200 == (await harness.put(1, phase="CANARY", basis_points=500)).status_code
            await client.config_set("appendfsync", "everysec")
        assert 409 == (await harness.put(2, basis_points=600)).status_code
        assert 409 == (await harness.put(2, canary_symbols=["TSLA"])).status_code
        assert 200 == (await harness.put(2, basis_points=100)).status_code
        assert 200 == (await harness.put(3, deny_symbols=["TSLA"])).status_code
        started = time.monotonic()
        done = await harness.client.post("/v1/rollout/rollback", json={"reason": "r"})
        assert (200, True) == (done.status_code, done.json()["confirmed"])
        assert time.monotonic() - started < 2.0
        refused = await harness.client.post(
            "/v1/rollout/rearm", json={"reason": "r", "expected_generation": 5}
        )
        assert 409 == refused.status_code
        async with Redis.from_url(forgetful) as client:
            await client.config_set("appendfsync", "always")
        again = await harness.client.post(
            "/v1/rollout/rearm", json={"reason": "r", "expected_generation": 5}
        )
        assert 200 == again.status_code, again.text


async def test_where_it_is_not_required_it_is_only_said(
    forgetful: str, eventually: Eventually
) -> None:
    """As before: a warning, and the change is taken."""
    assert forgetful
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        assert 200 == (await harness.put(1, phase="CANARY")).status_code
