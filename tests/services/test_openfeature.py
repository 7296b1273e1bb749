"""The OpenFeature provider on a real Redis, beside a router: same answers, closed in time."""

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from services.router.app import create_app as _create_app  # noqa: F401 - the harness needs it
from tests.services.router_harness import Harness, control_of, to_canary
from touchstone.kit.leases import LEASE_SECONDS
from touchstone.kit.redis_server import RedisServer
from touchstone.openfeature.provider import TouchstoneProvider
from touchstone.openfeature.switches import Switches

Eventually = Callable[..., Awaitable[float]]
ON = Switches(master_flag=True)


@pytest.fixture
async def provider(router_environment: str) -> AsyncIterator[TouchstoneProvider]:
    """A provider that was given to the SDK, over an empty Redis."""
    made = TouchstoneProvider(router_environment, switches=ON)
    await asyncio.to_thread(api.set_provider_and_wait, made)
    yield made
    await asyncio.to_thread(api.shutdown)


@pytest.fixture
def client(provider: TouchstoneProvider) -> OpenFeatureClient:
    """A client of it."""
    return api.get_client()


def level(client: OpenFeatureClient, symbol: str = "AAPL", account: str = "") -> str:
    """Return the level of a symbol; the default given is the wrong one on purpose."""
    context = EvaluationContext(symbol, {"account": account})
    return client.get_string_value("execution.level", "L3", context)


async def test_unknown_is_l2_whatever_default_was_given(client: OpenFeatureClient) -> None:
    """No record in Redis yet: the safe value of each flag."""
    details = client.get_string_details("execution.level", "L3", EvaluationContext("AAPL"))
    assert (details.value, details.reason) == ("L2", Reason.DEFAULT)
    assert client.get_boolean_value("use_l3_simulator", True, EvaluationContext("AAPL")) is False
    assert client.get_float_value("rollout.percentage", 1.0) == 0.0
    assert client.get_string_value("rollout.phase", "FULL") == "OFF"
    assert client.get_object_value("rollout.document", {"phase": "FULL"}) == {}


async def test_it_says_what_the_router_says_in_every_state(
    harness: Harness, client: OpenFeatureClient, eventually: Eventually
) -> None:
    """A walk through phases, shares and lists; forty symbols and two accounts after each step."""
    draw = random.Random(20_260_105)
    symbols = ["AAPL", "TSLA", " btc-usd ", *(f"S{n}" for n in range(37))]
    generation = 1
    walk: list[dict[str, Any]] = [
        {"canary_symbols": ["TSLA"], "deny_symbols": ["AAPL"], "deny_accounts": ["bob"]},
        {"phase": "CANARY", "basis_points": 0},
        {"basis_points": draw.randrange(1, 2_500), "canary_accounts": ["ALICE"]},
        {"phase": "EXPANSION", "basis_points": draw.randrange(2_500, 10_000)},
        {"phase": "FULL", "deny_accounts": []},
        {"phase": "SHADOW", "basis_points": 100},
        {"phase": "OFF"},
    ]
    seen = set()
    for change in walk:
        response = await harness.put(generation, **change)
        assert response.status_code == 200, response.text
        generation = response.json()["generation"]
        await eventually(partial(sees, client, generation))
        for symbol in symbols:
            for account in ("alice", "bob"):
                expected = control_of(harness)
                decided = harness.components.router.assign(symbol, account)
                details = client.get_string_details(
                    "execution.level", "L3", EvaluationContext(symbol, {"account": account})
                )
                metadata = details.flag_metadata
                assert details.value == decided.arm.value
                assert metadata["rule"] == decided.rule.value
                assert metadata["bucket"] == decided.bucket
                assert metadata["generation"] == expected.routing().generation
                seen.add(decided.rule.value)
    assert seen >= {"deny_list", "allow_list", "percentage", "default", "shadow", "phase_off"}


def sees(client: OpenFeatureClient, generation: int) -> bool:
    """Return whether the provider answers from that generation."""
    details = client.get_string_details("rollout.phase", "OFF")
    return details.flag_metadata["generation"] == generation


async def test_after_an_acknowledged_rollback_it_says_l2(
    harness: Harness, client: OpenFeatureClient, eventually: Eventually
) -> None:
    """Whoever rolls back waits for the provider as for a router."""
    await to_canary(harness)
    await eventually(lambda: level(client) == "L3")
    answer = await harness.client.post("/v1/rollout/rollback", json={"reason": "bad fills"})
    assert level(client) == "L2"
    body = answer.json()
    assert body["acked"] == 3
    members = {ack["member"].partition(":")[0] for ack in body["acks"]}
    assert members == {"router", "flags"}
    details = client.get_boolean_details("use_l3_simulator", True, EvaluationContext("AAPL"))
    assert (details.value, details.reason) == (False, Reason.DISABLED)
    assert details.flag_metadata["rule"] == "rolled_back"
    assert client.get_string_value("rollout.phase", "FULL") == "ROLLED_BACK"


def note(told: list[tuple[str, EventDetails]], name: str, details: EventDetails) -> None:
    """Keep what an event told."""
    told.append((name, details))


async def test_cut_off_it_says_l2_within_the_lease_and_recovers(
    own_redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    router_environment: str,
    eventually: Eventually,
) -> None:
    """By its own clock, whether anybody reaches it or not; events tell of it."""
    from tests.services.router_harness import running_router  # noqa: PLC0415 - another Redis

    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", f"redis://127.0.0.1:{own_redis.port}/0")
    told: list[tuple[str, EventDetails]] = []
    for event in ProviderEvent:
        api.add_handler(event, partial(note, told, event.name))
    made = TouchstoneProvider(f"redis://127.0.0.1:{own_redis.port}/0", switches=ON)
    try:
        async with running_router() as harness:
            await eventually(lambda: harness.decides)
            await to_canary(harness)
            await asyncio.to_thread(api.set_provider_and_wait, made)
            client = api.get_client()
            await eventually(lambda: level(client) == "L3")
            own_redis.process.send_signal(19)
            stopped = time.monotonic()
            await eventually(lambda: level(client) == "L2")
            assert time.monotonic() - stopped < LEASE_SECONDS + 0.25
            details = client.get_string_details("execution.level", "L3", EvaluationContext("AAPL"))
            assert (details.value, details.reason) == ("L2", Reason.STALE)
            await eventually(lambda: client.get_provider_status() is ProviderStatus.STALE)
            own_redis.process.send_signal(18)
            await eventually(lambda: level(client) == "L3")
            await eventually(lambda: client.get_provider_status() is ProviderStatus.READY)
            await harness.put(2, deny_symbols=["AAPL"])
            await eventually(lambda: level(client) == "L2")
            await eventually(lambda: "PROVIDER_CONFIGURATION_CHANGED" in [name for name, _ in told])
    finally:
        own_redis.process.send_signal(18)
        await asyncio.to_thread(api.shutdown)
    names = [name for name, _ in told]
    assert names.index("PROVIDER_READY") < names.index("PROVIDER_STALE")
    assert "PROVIDER_READY" in names[names.index("PROVIDER_STALE") :]
    changed = next(d for name, d in told if name == "PROVIDER_CONFIGURATION_CHANGED")
    assert changed.flags_changed is not None
    assert "execution.level" in changed.flags_changed


async def test_without_redis_it_starts_stale_and_says_l2() -> None:
    """A service that asks for flags does not fail for it."""
    made = TouchstoneProvider("redis://127.0.0.1:1/0", switches=ON, wait_seconds=1.0)
    try:
        await asyncio.to_thread(api.set_provider_and_wait, made)
        client = api.get_client()
        assert level(client) == "L2"
        for _ in range(100):
            if client.get_provider_status() is ProviderStatus.STALE:
                break
            await asyncio.sleep(0.02)
        assert client.get_provider_status() is ProviderStatus.STALE
        assert level(client) == "L2"
    finally:
        await asyncio.to_thread(api.shutdown)


async def test_no_question_gets_the_callers_default(
    harness: Harness, client: OpenFeatureClient, eventually: Eventually
) -> None:
    """However wrong it is: an exception would make the SDK return L3."""
    await to_canary(harness, canary_symbols=["AAPL"])
    await eventually(lambda: level(client) == "L3")
    wrong: tuple[Any, ...] = (7, 1.5, True, b"AAPL", ["AAPL"], "\ud800", "x" * 200, " ", None)
    for symbol in wrong:
        details = client.get_string_details("execution.level", "L3", EvaluationContext(symbol))
        assert (details.value, details.reason) == ("L2", Reason.ERROR), symbol
    for account in wrong[:5]:
        assert level(client, "AAPL", account) == "L2"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_child_of_a_fork_knows_nothing(
    harness: Harness,
    client: OpenFeatureClient,
    provider: TouchstoneProvider,
    eventually: Eventually,
) -> None:
    """Nobody acknowledges a rollback for it; it can shut down, and start anew."""
    await to_canary(harness, canary_symbols=["AAPL"])
    await eventually(lambda: level(client) == "L3")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no assertion here: what it finds is told to the parent
        found = [level(client)]
        provider.shutdown()
        provider.initialize(EvaluationContext())
        found.append(level(client))
        provider.shutdown()
        os.write(writing, " ".join(found).encode())
        os._exit(0)
    os.close(writing)
    told = await asyncio.to_thread(os.read, reading, 100)
    os.close(reading)
    await asyncio.to_thread(os.waitpid, child, 0)
    assert told.decode().split() == ["L2", "L3"]
    assert level(client) == "L3"


async def test_shut_down_it_is_closed_and_leaves_no_thread_and_no_member(
    harness: Harness,
    client: OpenFeatureClient,
    provider: TouchstoneProvider,
    eventually: Eventually,
) -> None:
    """A rollback right after waits for nobody who is gone."""
    await to_canary(harness)
    await eventually(lambda: level(client) == "L3")
    await asyncio.to_thread(provider.shutdown)
    await asyncio.to_thread(provider.shutdown)
    assert "touchstone flags" not in [thread.name for thread in threading.enumerate()]
    context = EvaluationContext("AAPL")
    assert provider.resolve_string_details("execution.level", "L3", context).value == "L2"
    answer = await harness.client.post("/v1/rollout/rollback", json={"reason": "after it"})
    assert answer.json()["lapsed"] == []
    assert [a["member"].partition(":")[0] for a in answer.json()["acks"]] == ["router"]


async def test_many_threads_and_tasks_ask_at_once(
    harness: Harness, client: OpenFeatureClient, eventually: Eventually
) -> None:
    """Sync from threads and async from tasks, while the state changes: never a wrong symbol."""
    generation = await to_canary(harness, basis_points=0, canary_symbols=["AAPL"])
    await eventually(lambda: level(client) == "L3")
    wrong: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            if level(client, "TSLA") != "L2":
                wrong.append("TSLA")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(5):
        changed = await harness.put(generation, deny_symbols=[f"D{step}"])
        generation = changed.json()["generation"]
        values = await asyncio.gather(
            *(
                client.get_string_value_async("execution.level", "L3", EvaluationContext("TSLA"))
                for _ in range(20)
            )
        )
        assert set(values) == {"L2"}
    stop.set()
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
    assert wrong == []


async def test_a_flag_that_is_none_and_a_wrong_type_are_told(client: OpenFeatureClient) -> None:
    """By OpenFeature's own codes; there the SDK returns the default."""
    unknown = client.get_string_details("execution.levels", "L2")
    assert (unknown.value, unknown.error_code) == ("L2", ErrorCode.FLAG_NOT_FOUND)
    mismatch = client.get_integer_details("rollout.percentage", 0)
    assert (mismatch.value, mismatch.error_code) == (0, ErrorCode.TYPE_MISMATCH)
    assert client.get_boolean_details("execution.level", False).error_code is (
        ErrorCode.TYPE_MISMATCH
    )


async def test_the_master_switch_forbids(
    harness: Harness, router_environment: str, eventually: Eventually
) -> None:
    """Off in files or environment, it is L2 in every phase."""
    await to_canary(harness)
    made = TouchstoneProvider(
        router_environment, switches=Switches(master_flag=True, environment_allows=False)
    )
    try:
        await asyncio.to_thread(api.set_provider_and_wait, made)
        client = api.get_client()
        details = client.get_string_details("execution.level", "L3", EvaluationContext("AAPL"))
        assert (details.value, details.reason) == ("L2", Reason.DISABLED)
        assert details.flag_metadata["rule"] == "environment"
        assert client.get_float_value("rollout.percentage", 1.0) == 0.0
    finally:
        await asyncio.to_thread(api.shutdown)


def test_an_evaluation_is_quick(router_environment: str) -> None:
    """It asks nobody: a thousand in well under a second, with or without an answer of Redis."""
    made = TouchstoneProvider(router_environment, switches=ON)
    made.initialize(EvaluationContext())
    try:
        context = EvaluationContext("AAPL", {"account": "alice"})
        started = time.perf_counter()
        for _ in range(1_000):
            made.resolve_string_details("execution.level", "L2", context)
        assert time.perf_counter() - started < 0.5
    finally:
        made.shutdown()
