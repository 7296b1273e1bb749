"""Members, their leases and acknowledgements on a real Redis."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from lob.errors import InvalidInput, Unavailable
from tests.services.conftest import eventually
from touchstone.cli.console import acknowledgement_text
from touchstone.cli.kill import tighten_in_redis
from touchstone.kit import membership as protocol
from touchstone.kit.control import (
    KILL_SCOPE,
    ROLLOUT_SCOPE,
    ControlReader,
    ControlRecord,
    ControlStore,
)
from touchstone.kit.leases import DRAIN_SECONDS, LEASE_SECONDS
from touchstone.kit.membership import (
    SETTLED_SECONDS,
    Acknowledgement,
    Membership,
    member_name,
    renew,
    take_census,
    wait_for_acks,
)
from touchstone.kit.redis_server import RedisServer
from touchstone.perps.kill import TradingState

SCOPE = ROLLOUT_SCOPE
MEMBERS = "control:{rollout}:members"
LAPSED_SECONDS = LEASE_SECONDS + DRAIN_SECONDS


async def put(store: ControlStore, state: str, **more: Any) -> ControlRecord:
    """Write the next generation."""
    return await store.write(
        SCOPE,
        state=state,
        document={},
        actor="test",
        reason="a test",
        expected_generation=None,
        **more,
    )


async def kill(store: ControlStore) -> Acknowledgement:
    """Write a tightening and wait for everybody."""
    record = await put(store, "CLOSED")
    return await wait_for_acks(store, SCOPE, record.generation)


@pytest.fixture
async def armed(store: ControlStore, redis_url: str) -> ControlStore:
    """A store with a record, and a census that is old enough to be trusted."""
    await put(store, "OPEN")
    async with Redis.from_url(redis_url) as client:
        await client.hset(MEMBERS, "@founded", int(time.time() * 1000) - 3_000)
    while await store.uptime_seconds() < SETTLED_SECONDS:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)
    return store


@contextlib.asynccontextmanager
async def member(
    store: ControlStore, name: str, **more: Any
) -> AsyncIterator[tuple[ControlReader, Membership]]:
    """Run a member that holds its lease."""
    membership = Membership(name, **more)
    async with ControlReader(store, SCOPE, membership=membership) as reader:
        await eventually(lambda: membership.lease.held)
        yield reader, membership


async def test_every_member_acknowledges_and_the_answer_names_them(armed: ControlStore) -> None:
    """Well before a lease is over, and by then each has applied it."""
    async with member(armed, "a:1") as (one, _), member(armed, "b:1") as (other, _):
        told = await kill(armed)
        assert (told.acked, set(told.acks), told.lapsed) == (2, {"a:1", "b:1"}, ())
        assert told.seconds < LEASE_SECONDS
        assert all(0 < seconds <= told.seconds for seconds in told.acks.values())
        states = [reader.view().record for reader in (one, other)]
        assert [record and record.state for record in states] == ["CLOSED", "CLOSED"]
        assert "generation 2 in" in told.describe()


async def test_the_command_line_waits_and_says_who_acknowledged(
    store: ControlStore, redis_url: str
) -> None:
    """Where no gateway answers it writes to Redis, and every gateway that runs has to say so."""
    await store.write(
        KILL_SCOPE,
        state="ACTIVE",
        document={},
        actor="test",
        reason="a test",
        expected_generation=0,
    )
    running, dead = Membership("gateway:1"), Membership("gateway:2", applied_generation=1)
    assert (await renew(store, KILL_SCOPE, dead))[0]
    async with ControlReader(store, KILL_SCOPE, membership=running):
        await eventually(lambda: running.lease.held)
        answer = await tighten_in_redis(redis_url, TradingState.HALTED, "me", "fire")
    assert (answer["generation"], answer["acked"], answer["lapsed"]) == (2, 2, ["gateway:2"])
    text = acknowledgement_text(answer)
    assert text.startswith("acked: 2 in ")
    assert "ms  gateway:1" in text
    assert "lease lapsed  gateway:2" in text


def test_an_answer_without_acknowledgement_says_what_happens_instead() -> None:
    """Redis was away, or the other side is older: nothing is claimed."""
    text = acknowledgement_text({"acked": None, "why": "Redis does not have it"})
    assert text.startswith("not acknowledged: Redis does not have it; members close by themselves")
    nobody = acknowledgement_text({"acked": 3, "acks": [], "lapsed": [], "seconds": 0.6})
    assert "no member is registered" in nobody


async def test_who_left_is_not_waited_for(armed: ControlStore) -> None:
    """A process that ends takes its name off the census, after its lease."""
    async with member(armed, "a:1") as (_, membership):
        pass
    assert not membership.lease.held
    told = await kill(armed)
    assert (told.acked, dict(told.acks), told.lapsed) == (2, {}, ())
    assert told.seconds < LEASE_SECONDS


async def test_who_is_silent_costs_a_lease_once(armed: ControlStore) -> None:
    """A process that died is named, waited for as long as it could send, and then forgotten."""
    silent = Membership("dead:1", applied_generation=1)
    assert (await renew(armed, SCOPE, silent))[0]
    async with member(armed, "a:1"):
        told = await kill(armed)
        assert (told.acked, set(told.acks), told.lapsed) == (2, {"a:1"}, ("dead:1",))
        assert LAPSED_SECONDS <= told.seconds < LAPSED_SECONDS + 0.3
        again = await kill(armed)
        assert (again.acked, again.lapsed) == (3, ())
        assert again.seconds < LEASE_SECONDS


async def test_no_lease_is_renewed_under_an_older_generation(armed: ControlStore) -> None:
    """The question says what was applied; the answer is yes only while that is the present one."""
    late = Membership("late:1", applied_generation=1)
    assert (await renew(armed, SCOPE, late))[0]
    await put(armed, "CLOSED")
    granted, fields = await renew(armed, SCOPE, late)
    assert (granted, fields["state"]) == (False, "CLOSED")
    assert (await take_census(armed, SCOPE)).members == {"late:1": 1}
    late.applied_generation = 2
    assert (await renew(armed, SCOPE, late))[0]
    assert (await take_census(armed, SCOPE)).members == {"late:1": 2}


async def test_who_has_seen_more_than_there_is_has_acknowledged_nothing(
    armed: ControlStore,
) -> None:
    """After a restored backup a higher number of old is no acknowledgement of a lower new one."""
    ahead = Membership("ahead:1", applied_generation=1)
    await renew(armed, SCOPE, ahead)
    ahead.applied_generation = 9
    assert not (await renew(armed, SCOPE, ahead))[0]
    assert (await take_census(armed, SCOPE)).members == {"ahead:1": 0}


async def test_an_open_passage_holds_the_acknowledgement_up(armed: ControlStore) -> None:
    """What was checked before goes out before the call returns, and the check after it refuses."""
    async with member(armed, "a:1") as (reader, membership):
        ticket = membership.gate.enter()
        call = asyncio.create_task(kill(armed))
        await eventually(lambda: reader.seen_generation == 2)
        await asyncio.sleep(0.03)
        assert not call.done()
        membership.gate.leave(ticket)
        told = await call
        assert (told.acked, set(told.acks)) == (2, {"a:1"})


async def test_a_passage_that_never_ends_is_a_lapsed_lease(armed: ControlStore) -> None:
    """The member gets no lease either, so it cannot begin anything new."""
    async with member(armed, "a:1") as (_, membership):
        membership.gate.enter()
        told = await kill(armed)
        assert (told.acked, dict(told.acks), told.lapsed) == (2, {}, ("a:1",))
        assert not membership.lease.held


async def test_what_must_be_durable_comes_before_the_acknowledgement(armed: ControlStore) -> None:
    """A disk that refuses means no acknowledgement and no lease; one that works again, both."""
    kept: list[int] = []
    broken = False

    async def keep(record: ControlRecord) -> None:
        if broken:
            raise Unavailable("disk full")
        kept.append(record.generation)

    async with member(armed, "a:1", before_ack=keep) as (_, membership):
        assert kept == [1]
        assert (await kill(armed)).acked == 2
        assert kept == [1, 2]
        broken = True
        told = await kill(armed)
        assert (told.acked, told.lapsed, membership.lease.held) == (3, ("a:1",), False)
        broken = False
        await eventually(lambda: membership.lease.held)
        assert kept == [1, 2, 3]


async def test_a_young_census_is_not_trusted(store: ControlStore) -> None:
    """Just after a flush somebody may hold a lease whose name is gone: wait a whole lease."""
    await put(store, "OPEN")
    async with member(store, "a:1"):
        told = await kill(store)
        assert (told.acked, set(told.acks), told.lapsed) == (2, {"a:1"}, ())
        assert told.seconds >= LAPSED_SECONDS


async def test_a_census_that_is_founded_anew_meanwhile_is_not_trusted(
    armed: ControlStore, redis_url: str
) -> None:
    """Names that vanish while somebody waits are not taken for acknowledgements."""
    await renew(armed, SCOPE, Membership("dead:1", applied_generation=1))
    call = asyncio.create_task(kill(armed))
    await asyncio.sleep(0.05)
    async with Redis.from_url(redis_url) as client:
        await client.delete(MEMBERS)
    told = await call
    assert told.acked == 2
    assert told.seconds >= LAPSED_SECONDS


async def test_a_generation_that_was_lost_is_not_acknowledged(
    armed: ControlStore, redis_url: str
) -> None:
    """The data vanish while somebody waits: nothing is claimed, and it says why."""
    async with member(armed, "a:1") as (_, membership):
        membership.gate.enter()
        call = asyncio.create_task(kill(armed))
        await asyncio.sleep(0.05)
        async with Redis.from_url(redis_url) as client:
            await client.flushdb()
        told = await call
        assert (told.acked, "lost" in told.why) == (None, True)
        assert told.describe().startswith("not acknowledged")


async def test_without_redis_nothing_is_acknowledged(
    own_redis: RedisServer,
) -> None:
    """A server that dies while somebody waits leaves the question open."""
    async with ControlStore(own_redis.url) as store:
        await put(store, "CLOSED")
        own_redis.process.kill()
        own_redis.process.wait()
        told = await wait_for_acks(store, SCOPE, 1)
        assert (told.acked, told.to_json()["acked"]) == (None, None)
        assert told.why.startswith("Redis:")


async def test_a_paused_redis_ends_every_lease(
    own_redis: RedisServer,
) -> None:
    """Within 500 ms, and the answer that was waiting in the socket revives none."""
    async with ControlStore(own_redis.url) as store:
        await put(store, "OPEN")
        async with member(store, "a:1") as (reader, membership):
            own_redis.process.send_signal(signal.SIGSTOP)
            try:
                stopped_at = looked_at = time.monotonic()
                while membership.lease.held:
                    looked_at = time.monotonic()
                    await asyncio.sleep(0.005)
                # When it was last seen held: a machine that stands still meanwhile ends it, too.
                assert looked_at - stopped_at <= LEASE_SECONDS + 0.05
                assert reader.view().lease_seconds_left == 0
            finally:
                own_redis.process.send_signal(signal.SIGCONT)
            await eventually(lambda: membership.lease.held)


async def test_a_server_that_cannot_take_a_kill_grants_no_lease(
    own_redis: RedisServer,
) -> None:
    """Full, under noeviction: a renewal attempts a write, so it fails like the kill would."""
    async with ControlStore(own_redis.url) as store, Redis.from_url(own_redis.url) as client:
        await put(store, "OPEN")
        async with member(store, "a:1") as (_, membership):
            await client.config_set("maxmemory", "1")
            with pytest.raises(Unavailable):
                await put(store, "CLOSED")
            await eventually(lambda: not membership.lease.held)
            await client.config_set("maxmemory", "0")
            await eventually(lambda: membership.lease.held)


async def test_a_renewal_writes_nothing_where_nothing_changed(
    armed: ControlStore, redis_url: str
) -> None:
    """A member in peace costs the disk nothing."""
    async with Redis.from_url(redis_url) as client, member(armed, "a:1"):
        before = (await client.info("persistence"))["rdb_changes_since_last_save"]
        await asyncio.sleep(0.5)
        after = (await client.info("persistence"))["rdb_changes_since_last_save"]
    assert after == before


async def test_a_name_long_unseen_is_forgotten_and_the_census_is_young_again(
    armed: ControlStore, redis_url: str
) -> None:
    """By the server's clock, which may jump: so who kills does not trust it for a while."""
    async with Redis.from_url(redis_url) as client:
        now = int(time.time() * 1000)
        await client.hset(MEMBERS, "gone:1", f"1 {now - 61_000}")
        await client.hset(MEMBERS, "damaged:1", "nonsense")
    await renew(armed, SCOPE, Membership("new:1", applied_generation=1))
    census = await take_census(armed, SCOPE)
    assert (set(census.members), census.settled) == ({"new:1"}, False)


async def test_a_damaged_entry_of_ones_own_is_replaced(armed: ControlStore, redis_url: str) -> None:
    """Whatever a foreign hand wrote, the next renewal repairs it."""
    mine = Membership("a:1", applied_generation=1)
    async with Redis.from_url(redis_url) as client:
        await client.hset(MEMBERS, "a:1", "nonsense")
    assert (await renew(armed, SCOPE, mine))[0]
    assert (await take_census(armed, SCOPE)).members == {"a:1": 1}


async def test_a_server_that_has_just_started_is_not_trusted(
    armed: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have come back over an older census."""

    async def just_started(_: ControlStore) -> float:
        return 0.0

    monkeypatch.setattr(ControlStore, "uptime_seconds", just_started)
    assert (await kill(armed)).seconds >= LAPSED_SECONDS


async def test_an_answer_older_than_the_doorbell_is_no_step_back(
    armed: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring overtakes a read that is under way: the read's answer is let go."""
    async with member(armed, "a:1") as (reader, _):
        real = protocol.renew

        async def slow(*args: Any) -> Any:
            answer = await real(*args)
            await asyncio.sleep(0.1)
            return answer

        monkeypatch.setattr("touchstone.kit.control.renew", slow)
        await asyncio.sleep(0.15)
        views = []
        reader.subscribe(lambda view: views.append((view.known, view.record)))
        for _ in range(10):
            record = await put(armed, "OPEN")
            await asyncio.sleep(0.03)
        assert all(known for known, _ in views)
        assert views[-1] == (True, record)


async def test_a_connection_closed_within_a_write_is_a_fault_and_not_the_end(
    armed: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop says RuntimeError there, and once more something nobody thought of."""
    async with member(armed, "a:1") as (reader, membership):
        errors: list[Exception] = [RuntimeError("the handler is closed"), KeyError("a defect")]
        real = protocol.renew

        async def failing(*args: Any) -> Any:
            if isinstance(errors[0], RuntimeError):
                return await args[0]._bounded(_raise(errors.pop(0)), 1.0, "renewal")
            monkeypatch.setattr("touchstone.kit.control.renew", real)
            raise errors[0]

        monkeypatch.setattr("touchstone.kit.control.renew", failing)
        await eventually(lambda: len(errors) == 1)
        await put(armed, "CLOSED")
        await eventually(lambda: membership.applied_generation == 2)
        assert reader.view().known


async def _raise(error: Exception) -> None:
    raise error


def test_names_are_fit_for_the_census() -> None:
    """Ours are, and a foreign one is refused."""
    assert Membership(member_name("router")).name.startswith("router:")
    with pytest.raises(InvalidInput, match="member"):
        Membership("@founded")
