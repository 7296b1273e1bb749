"""The control store and its reader against a real Redis that is raced, paused, flushed, killed."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from lob.errors import ConfigError, Conflict, DeadlineExceeded, Fault, InvalidInput, Unavailable
from touchstone.kit.control import (
    ROLLOUT_SCOPE,
    ControlReader,
    ControlRecord,
    ControlStore,
    ControlView,
    ViewStatus,
)
from touchstone.kit.redis_server import RedisServer, start_redis

Eventually = Callable[..., Awaitable[float]]
SCOPE = ROLLOUT_SCOPE
HASH = "control:{rollout}"


async def put(store: ControlStore, state: str, expected: int | None, **more: Any) -> ControlRecord:
    """Write one generation whose document repeats its state."""
    return await store.write(
        SCOPE,
        state=state,
        document={"phase": state},
        actor="test",
        reason="a test",
        expected_generation=expected,
        **more,
    )


async def test_a_scope_without_a_record_reads_as_none(store: ControlStore) -> None:
    """Nothing written is nothing, not a default."""
    assert await store.read(SCOPE) is None


async def test_a_write_is_read_back_whole(redis_url: str) -> None:
    """What was written is what is read, with the writer's time."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    async with ControlStore(redis_url, now=lambda: moment) as store:
        written = await put(store, "SHADOW", 0)
        assert await store.read(SCOPE) == written
    assert (written.generation, written.state, written.document) == (
        1,
        "SHADOW",
        {"phase": "SHADOW"},
    )
    assert written.updated_at == "2026-01-02T03:04:05.000000+00:00"


async def test_of_many_writers_exactly_one_wins_each_generation(store: ControlStore) -> None:
    """Compare-and-set lets one of twelve racing writers through, ten times over."""
    for generation in range(10):
        results = await asyncio.gather(
            *(put(store, f"S{writer}", generation) for writer in range(12)),
            return_exceptions=True,
        )
        won = [result for result in results if isinstance(result, ControlRecord)]
        lost = [result for result in results if isinstance(result, Conflict)]
        assert (len(won), len(lost)) == (1, 11)
        assert won[0].generation == generation + 1
        assert f"present is {generation + 1}" in str(lost[0])


async def test_state_and_audit_agree_after_a_race(store: ControlStore) -> None:
    """The audit holds every generation once, in order, and its newest entry is the state."""
    await asyncio.gather(*(put(store, f"S{n}", None) for n in range(40)))
    audit = await store.audit(SCOPE)
    assert [entry.record.generation for entry in audit] == list(range(40, 0, -1))
    assert audit[0].record == await store.read(SCOPE)


async def test_tightening_needs_no_generation(store: ControlStore) -> None:
    """A write without an expected generation goes through whatever the present one is."""
    await put(store, "CANARY", 0)
    await put(store, "EXPANSION", 1)
    assert (await put(store, "ROLLED_BACK", None)).generation == 3


async def test_the_floor_lifts_the_generation_above_what_was_seen(store: ControlStore) -> None:
    """After a lost database the next generation still goes on from what readers know."""
    assert (await put(store, "ROLLED_BACK", None, floor_generation=41)).generation == 42


async def test_initialise_writes_only_where_nothing_is(store: ControlStore) -> None:
    """The second initialise returns the first one's record and leaves no audit entry."""
    first = await store.initialise(SCOPE, state="SHADOW", document={}, actor="a", reason="first")
    second = await store.initialise(SCOPE, state="FULL", document={}, actor="b", reason="second")
    assert second == first
    assert len(await store.audit(SCOPE)) == 1


async def test_a_repeated_request_is_applied_once(
    store: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same write id (a retry after a lost answer) neither conflicts nor counts up again."""

    class Fixed:
        hex = "f" * 32

    monkeypatch.setattr("touchstone.kit.control_store.uuid.uuid4", Fixed)
    first = await put(store, "SHADOW", 0)
    again = await put(store, "SHADOW", 0)
    assert again == first
    assert len(await store.audit(SCOPE)) == 1


@pytest.mark.parametrize("missing", ["state", "actor", "reason"])
async def test_empty_texts_are_refused(store: ControlStore, missing: str) -> None:
    """An audit without a who and a why is none."""
    texts: dict[str, Any] = {"state": "SHADOW", "actor": "a", "reason": "r"} | {missing: "  "}
    with pytest.raises(InvalidInput, match=missing):
        await store.write(SCOPE, document={}, expected_generation=0, **texts)


async def test_a_large_document_is_refused(store: ControlStore) -> None:
    """A document has a bound."""
    with pytest.raises(InvalidInput, match="65536"):
        await store.write(
            SCOPE,
            state="S",
            document={"x": "y" * 70_000},
            actor="a",
            reason="r",
            expected_generation=0,
        )


def test_a_wrong_address_is_a_config_error() -> None:
    """A URL that is none names its variable."""
    with pytest.raises(ConfigError, match="TOUCHSTONE_REDIS_URL"):
        ControlStore("http://127.0.0.1")


async def test_a_damaged_record_is_unavailable_and_can_be_tightened(
    store: ControlStore, redis_url: str
) -> None:
    """A record nobody can read permits nothing, and a tightening write replaces it."""
    await put(store, "FULL", 0)
    async with Redis.from_url(redis_url) as client:
        await client.hset(HASH, "generation", "many")
    with pytest.raises(Unavailable, match="unreadable"):
        await store.read(SCOPE)
    with pytest.raises(Conflict):
        await put(store, "FULL", 1)
    assert (await put(store, "ROLLED_BACK", None, floor_generation=1)).generation == 2


async def test_a_record_that_is_no_text_closes_the_view_until_it_is_repaired(
    store: ControlStore, redis_url: str, eventually: Eventually
) -> None:
    """Bytes from a foreign hand do not end the reader: it sees the next good record."""
    await put(store, "FULL", 0)
    async with ControlReader(store, SCOPE) as reader, Redis.from_url(redis_url) as client:
        await eventually(lambda: reader.view().known)
        await client.hset(HASH, "reason", b"\xff\xfe")
        await eventually(lambda: reader.view().status is ViewStatus.UNREADABLE)
        assert not reader.view().known
        await put(store, "OFF", None)
        await eventually(lambda: reader.view().known)
        assert (2, "OFF") == (reader.seen_generation, _state(reader))


async def test_a_reason_that_utf_8_cannot_hold_is_refused(store: ControlStore) -> None:
    """A lone surrogate comes in through JSON; it is the caller's mistake, not Redis's."""
    with pytest.raises(InvalidInput, match="reason"):
        await store.write(
            SCOPE, state="OFF", document={}, actor="a", reason="\ud800", expected_generation=0
        )


async def test_our_own_server_is_durable(store: ControlStore) -> None:
    """The embedded server is configured as the principle demands."""
    assert await store.durability_problems() == ()
    assert await store.check() == "answers; durable"


async def test_a_server_that_may_forget_is_named(own_redis: RedisServer) -> None:
    """Each setting that could lose a halt is in the readiness line."""
    async with Redis.from_url(own_redis.url) as client:
        await client.config_set("appendfsync", "everysec")
        await client.config_set("maxmemory-policy", "allkeys-lru")
    async with ControlStore(own_redis.url) as store:
        with pytest.raises(Unavailable, match=r"appendfsync is 'everysec'.*maxmemory-policy"):
            await store.check()


async def test_a_view_before_the_first_answer_permits_nothing(store: ControlStore) -> None:
    """A reader that never read is unknown and infinitely old."""
    view = ControlReader(store, SCOPE).view()
    assert (view.known, view.record, view.age_seconds) == (False, None, float("inf"))


async def test_the_age_counts_from_before_the_read_was_sent(store: ControlStore) -> None:
    """Time spent waiting for the answer is part of its age."""
    await put(store, "SHADOW", 0)
    ticks = iter([100.0, 107.5])
    reader = ControlReader(store, SCOPE, monotonic=lambda: next(ticks))
    assert (await reader.refresh()).age_seconds == 7.5


async def test_the_doorbell_brings_a_change_before_the_poll(
    store: ControlStore, eventually: Eventually
) -> None:
    """With the poll put off, the published ring alone makes the reader look."""
    async with ControlReader(store, SCOPE, poll_seconds=30.0) as reader:
        await eventually(lambda: reader.view().status is ViewStatus.MISSING)
        # The subscription itself makes the reader look once more; it may still be under way.
        await asyncio.sleep(0.2)
        await put(store, "SHADOW", 0)
        assert await eventually(lambda: reader.view().known) < 1.0


async def test_a_ring_that_is_no_text_does_not_end_the_doorbell(
    store: ControlStore, redis_url: str, eventually: Eventually
) -> None:
    """Whoever may publish must not be able to slow every kill after it down to the poll."""
    async with (
        ControlReader(store, SCOPE, poll_seconds=0.5) as reader,
        Redis.from_url(redis_url) as client,
    ):
        channel = f"{HASH}:doorbell"

        async def listeners() -> int:
            [(_, count)] = await client.pubsub_numsub(channel)
            return int(count)

        await eventually(lambda: reader.view().status is ViewStatus.MISSING)
        await _until(listeners, 1)
        assert 1 == await client.publish(channel, b"\xff\xfe")
        await asyncio.sleep(1.0)
        await _until(listeners, 1)
        await asyncio.sleep(0.1)
        await put(store, "SHADOW", 0)
        assert await eventually(lambda: reader.view().known) < 0.4


async def _until(ask: Callable[[], Awaitable[int]], wanted: int) -> None:
    """Wait until the answer is `wanted`, for at most five seconds."""
    async with asyncio.timeout(5.0):
        while await ask() != wanted:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def test_a_poll_outlives_an_odd_answer_about_durability(
    store: ControlStore, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Whatever CONFIG GET leads to, the reader goes on: else this process stays closed."""

    async def odd(_: ControlStore) -> tuple[str, ...]:
        raise ValueError("odd")

    monkeypatch.setattr(ControlStore, "durability_problems", odd)
    async with ControlReader(store, SCOPE, poll_seconds=0.01) as reader:
        await eventually(lambda: reader.view().status is ViewStatus.MISSING)
        await put(store, "SHADOW", 0)
        await eventually(lambda: reader.view().known)
        assert "" == reader.view().why


async def test_the_poll_brings_a_change_without_the_doorbell(
    store: ControlStore, redis_url: str, eventually: Eventually
) -> None:
    """A change that rings nobody is seen by the next poll."""
    record = await put(store, "SHADOW", 0)
    async with ControlReader(store, SCOPE) as reader, Redis.from_url(redis_url) as client:
        await eventually(lambda: reader.view().record == record)
        await client.hset(HASH, mapping={"generation": 2, "state": "CANARY"})
        assert await eventually(lambda: _state(reader) == "CANARY") < 1.0


async def test_a_flush_makes_the_view_unknown_until_a_higher_generation(
    store: ControlStore, redis_url: str, eventually: Eventually
) -> None:
    """FLUSHALL, and a record that starts again from one, are both unknown."""
    for generation in range(3):
        await put(store, "CANARY", generation)
    async with ControlReader(store, SCOPE) as reader, Redis.from_url(redis_url) as client:
        await eventually(lambda: reader.view().known)
        await client.flushdb()
        await eventually(lambda: reader.view().status is ViewStatus.MISSING)
        await put(store, "FULL", 0)
        await eventually(lambda: reader.view().status is ViewStatus.REGRESSED)
        view = reader.view()
        assert (view.known, _state(reader)) == (False, "CANARY")
        await put(store, "SHADOW", 1, floor_generation=reader.seen_generation)
        await eventually(lambda: reader.view().known)
        assert reader.seen_generation == 4


async def test_the_same_generation_with_another_content_is_unknown(
    store: ControlStore, redis_url: str
) -> None:
    """A failover that lost a write and counted again must not pass for the write that was lost."""
    await put(store, "ROLLED_BACK", 0)
    reader = ControlReader(store, SCOPE)
    await reader.refresh()
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    await put(store, "FULL", 0)
    view = await reader.refresh()
    assert (view.status, _state(reader)) == (ViewStatus.REGRESSED, "ROLLED_BACK")


async def test_a_floor_from_an_earlier_life_makes_a_lower_record_unknown(
    store: ControlStore,
) -> None:
    """A restart does not forget how far the generations had come."""
    await put(store, "FULL", 0)
    view = await ControlReader(store, SCOPE, floor_generation=9).refresh()
    assert (view.status, view.known, view.record) == (ViewStatus.REGRESSED, False, None)


async def test_a_defective_listener_does_not_blind_the_reader(store: ControlStore) -> None:
    """Whoever listens may fail; the view is still right and others are still told."""
    seen: list[ControlView] = []
    reader = ControlReader(store, SCOPE)

    def defective(_view: ControlView) -> None:
        raise ValueError

    reader.subscribe(defective)
    reader.subscribe(seen.append)
    record = await put(store, "SHADOW", 0)
    await reader.refresh()
    assert [view.record for view in seen] == [record]


async def test_a_reader_outlives_a_killed_and_restarted_server(
    own_redis: RedisServer, eventually: Eventually
) -> None:
    """Killed: known but ageing. Restarted from its log: the same generation, and the doorbell."""
    async with (
        ControlStore(own_redis.url) as store,
        ControlReader(store, SCOPE, poll_seconds=0.05) as reader,
    ):
        record = await put(store, "CANARY", 0)
        await eventually(lambda: reader.view().known)
        own_redis.process.kill()
        own_redis.process.wait()
        await eventually(lambda: reader.view().age_seconds > 0.5)
        view = reader.view()
        assert (view.known, view.record) == (True, record)
        assert "Redis" in view.why
        with pytest.raises(Unavailable):
            await put(store, "FULL", 1)
        restarted = start_redis(own_redis.data_dir, own_redis.port)
        try:
            await eventually(lambda: reader.view().age_seconds < 0.5 and not reader.view().why)
            assert reader.view().record == record
            await put(store, "SHADOW", 1)
            await eventually(lambda: _state(reader) == "SHADOW")
        finally:
            restarted.stop()


async def test_the_doorbell_is_heard_again_after_a_restart(
    own_redis: RedisServer, eventually: Eventually
) -> None:
    """A subscription lost with the server is made anew, which redis-py alone does not promise."""
    async with ControlStore(own_redis.url) as store, ControlReader(store, SCOPE) as reader:
        await put(store, "SHADOW", 0)
        await eventually(lambda: reader.view().known)
        own_redis.stop()
        restarted = start_redis(own_redis.data_dir, own_redis.port)
        try:
            async with Redis.from_url(own_redis.url) as client:
                listening = 0
                started = time.monotonic()
                while not listening and time.monotonic() - started < 5.0:
                    [(_, listening)] = await client.pubsub_numsub("control:{rollout}:doorbell")
                    await asyncio.sleep(0.02)
            assert listening == 1
        finally:
            restarted.stop()


async def test_a_paused_server_costs_no_more_than_the_time_out(
    own_redis: RedisServer, eventually: Eventually
) -> None:
    """A server that hangs is a deadline, the view ages meanwhile, and both recover."""
    async with (
        ControlStore(own_redis.url, write_timeout_seconds=0.5) as store,
        ControlReader(store, SCOPE, poll_seconds=0.05) as reader,
    ):
        await put(store, "SHADOW", 0)
        await eventually(lambda: reader.view().known)
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            for call in (store.read(SCOPE), put(store, "CANARY", 1)):
                with pytest.raises((DeadlineExceeded, Unavailable)):
                    await call
            assert time.monotonic() - started < 1.5
            await eventually(lambda: reader.view().age_seconds > 0.5)
        finally:
            own_redis.process.send_signal(signal.SIGCONT)
        await eventually(lambda: reader.view().age_seconds < 0.5)


async def test_a_dead_address_fails_fast() -> None:
    """Nothing listens there: an answer at once, and it is a fault."""
    async with ControlStore("redis://127.0.0.1:1/0") as store:
        started = time.monotonic()
        with pytest.raises(Fault):
            await store.read(SCOPE)
        assert time.monotonic() - started < 1.0


def _state(reader: ControlReader) -> str | None:
    record = reader.view().record
    return None if record is None else record.state


async def test_a_reader_stops_even_when_a_cancellation_is_swallowed(
    store: ControlStore, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client library may take a cancellation for its own time-out; the reader stops anyway."""
    listening = asyncio.Event()

    async def swallow(*_: object, **__: object) -> None:
        listening.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1.0)

    monkeypatch.setattr("redis.asyncio.client.PubSub.get_message", swallow)
    async with asyncio.timeout(5.0):
        async with ControlReader(store, SCOPE) as reader:
            await eventually(lambda: reader.view().status is ViewStatus.MISSING)
            await listening.wait()
