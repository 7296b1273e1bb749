"""A real Redis for the service tests, and helpers to wait for what comes eventually."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.router.app import create_app
from tests.fakes.postgresql import PostgresqlServer, running_postgresql, wipe
from tests.services.router_harness import Harness, running_router
from touchstone.kit.control import ControlStore
from touchstone.kit.lifecycle import serve_web
from touchstone.kit.redis_server import RedisServer, running_redis

Eventually = Callable[..., Awaitable[float]]
_databases = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One durable Redis server for the session; tests that stop it start their own."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server of this test's own, to be killed, paused and flushed."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server for the session; TEST_POSTGRESQL_URL may name another."""
    named = os.environ.get("TEST_POSTGRESQL_URL")
    if named:
        yield named
        return
    with running_postgresql() as server:
        yield server.url


@pytest.fixture
def own_postgresql() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server of this test's own, to be killed and started again."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url_text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'events.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    asyncio.run(wipe(url))
    return url


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """A Redis database that is empty."""
    return _empty_database(redis_server)


@pytest.fixture
def other_redis_url(redis_server: RedisServer) -> str:
    """Another empty database, for a test of two services that share nothing."""
    return _empty_database(redis_server)


def _empty_database(server: RedisServer) -> str:
    """Return the address of the next of sixteen databases, emptied."""
    import redis  # noqa: PLC0415 - only here

    url = f"redis://127.0.0.1:{server.port}/{next(_databases) % 16}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[ControlStore]:
    """A control store on an empty database."""
    async with ControlStore(redis_url) as opened:
        yield opened


async def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> float:
    """Return how long it took until `condition()` held; fail after `seconds`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - started


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., object]:
    """Waiting for a condition, with a limit."""
    return eventually


@pytest.fixture
def router_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_url: str, root: Path
) -> str:
    """The environment of a router on an empty database; returns the database's address."""
    monkeypatch.chdir(root)
    monkeypatch.delenv("USE_L3_SIMULATOR", raising=False)
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", redis_url)
    monkeypatch.setenv("TOUCHSTONE_DATA_DIR", str(tmp_path / "data"))
    return redis_url


@pytest.fixture
async def harness(router_environment: str, eventually: Eventually) -> AsyncIterator[Harness]:
    """A router that has initialised an empty Redis."""
    async with running_router() as running:
        await eventually(lambda: running.decides)
        yield running


@pytest.fixture(name="url")
async def router_url(harness: Harness) -> AsyncIterator[str]:
    """The address of a router that accepts connections."""
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    app = create_app(harness.components)
    # Its life is the fixture's; a cancelled lifespan task would log a traceback.
    options: dict[str, Any] = {"on_started": started.set_result, "lifespan": "off"}
    server = asyncio.create_task(serve_web(app, "127.0.0.1", 0, **options))
    async with asyncio.timeout(30):
        port = await started
    yield f"http://127.0.0.1:{port}"
    server.cancel()
    await asyncio.gather(server, return_exceptions=True)
