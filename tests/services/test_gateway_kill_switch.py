"""The kill switch over a real Redis: alive, killed, flushed, restored; restarts never re-arm."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from lob.errors import Conflict, Fault, InvalidInput, Unavailable
from services.order_gateway.books import open_books
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.ledger import Ledger
from services.order_gateway.metrics import GatewayMetrics
from touchstone.kit.control import KILL_SCOPE, ControlStore
from touchstone.kit.event_store import EventStore, Watermark
from touchstone.kit.event_store_url import database_url
from touchstone.kit.redis_server import RedisServer, running_redis, start_redis
from touchstone.kit.tasks import stop_tasks
from touchstone.perps.kill import TradingState

A, R, C, H = TradingState
SCOPES = ("global", "account:mine", "strategy:ma", "symbol:BTC-PERP", "symbol:ETH-PERP")
Eventually = Callable[..., Awaitable[float]]


@asynccontextmanager
async def switched(
    url: str, folder: Path, first: TradingState = A, closings: list[float] | None = None
) -> AsyncIterator[KillSwitch]:
    """Run a kill switch as one gateway process would."""
    events = database_url(None, folder / "events.db")
    metrics = GatewayMetrics(CollectorRegistry(), [])
    async with (
        EventStore(events, bot_id="bot", deadline_seconds=10) as store,
        open_books(store, folder / "journal", metrics) as books,
        ControlStore(url) as control,
        KillSwitch(
            control,
            books.ledger,
            metrics,
            scopes=SCOPES,
            watermarks=books.ledger.watermarks,
            first_state=first,
            stale_after_seconds=0.5,
            account="mine",
        ) as switch,
    ):

        async def on_closed() -> None:
            if closings is not None:
                closings.append(time.monotonic())

        watcher = asyncio.create_task(switch.watch(on_closed))
        try:
            yield switch
        finally:
            await stop_tasks([watcher])


async def is_active(switch: KillSwitch, eventually: Eventually) -> None:
    """Wait until the switch is armed and its generation is remembered."""
    await eventually(lambda: switch.gate().state is A and switch.gate().known)
    await eventually(
        lambda: all(scope._told_generation for scope in switch.scopes.values()),
    )


@pytest.mark.parametrize("first", [A, R])
async def test_the_very_first_start_writes_the_first_state(
    first: TradingState, redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """With neither a record nor a watermark, the configured first state is written, once."""
    async with switched(redis_url, tmp_path, first) as switch:
        await eventually(lambda: switch.gate().known)
        assert switch.gate().state is first
        assert switch.generation == 1


async def test_before_the_first_answer_nothing_is_permitted(tmp_path: Path) -> None:
    """Without Redis the gate is closed to new risk from the first instant, and says why."""
    async with switched("redis://127.0.0.1:1/0", tmp_path) as switch:
        gate = switch.gate()
        assert (gate.state, gate.known) == (R, False)
        assert "never read" in gate.why


async def test_tightening_is_seen_by_every_process(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """One process is told, the other closes and is asked to cancel its entries."""
    closings: list[float] = []
    (tmp_path / "b").mkdir()
    async with (
        switched(redis_url, tmp_path) as one,
        switched(redis_url, tmp_path / "b", closings=closings) as other,
    ):
        await is_active(one, eventually)
        await is_active(other, eventually)
        made = await one.tighten(R, actor="me", reason="test")
        assert (made.state, made.generation, made.persisted) == (R, 2, True)
        took = await eventually(lambda: other.gate().state is R and other.gate().known)
        assert took < 0.5
        assert made.acknowledgement is not None
        assert (made.acknowledgement.acked, len(made.acknowledgement.acks)) == (2, 2)
        await eventually(lambda: len(closings) == 1)


async def test_a_dead_redis_closes_within_its_limit_and_tightening_still_works(
    own_redis: RedisServer, tmp_path: Path, eventually: Eventually
) -> None:
    """Stale is closed; a kill holds in process; Redis gets it when it is back, by itself."""
    url = f"redis://127.0.0.1:{own_redis.port}/0"
    async with switched(url, tmp_path) as switch:
        await is_active(switch, eventually)
        own_redis.process.kill()
        took = await eventually(lambda: not switch.gate().known)
        assert took < 1.0
        assert switch.gate().state is R
        started = time.monotonic()
        made = await switch.tighten(H, actor="me", reason="fire")
        assert time.monotonic() - started < 1.0
        assert (made.state, made.persisted) == (H, False)
        assert switch.gate().state is H
        with pytest.raises(Fault):
            await switch.change(R, actor="me", reason="r", expected_generation=1)
        with running_redis(own_redis.data_dir, own_redis.port):
            await eventually(lambda: switch.describe()["persisted"], 10)
            assert switch.gate().state is H
            async with ControlStore(url) as control:
                record = await control.read(KILL_SCOPE)
            assert record is not None
            assert (record.state, record.reason) == ("HALTED", "fire")


async def test_tightening_never_loosens(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """Reduce-only asked for while halted leaves it halted."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        await switch.tighten(H, actor="me", reason="fire")
        made = await switch.tighten(R, actor="me", reason="curl")
        assert (made.state, made.persisted) == (H, True)
        async with ControlStore(redis_url) as control:
            record = await control.read(KILL_SCOPE)
        assert record is not None
        assert (record.state, record.generation) == ("HALTED", 2)


async def test_loosening_takes_reason_generation_and_the_way_through_reduce_only(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """Each missing condition is refused by name; all of them together open the gate again."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        await switch.tighten(H, actor="me", reason="fire")
        with pytest.raises(InvalidInput, match="needs a reason"):
            await switch.change(R, actor="me", reason="", expected_generation=2)
        with pytest.raises(InvalidInput, match="expected_generation: missing"):
            await switch.change(R, actor="me", reason="out", expected_generation=None)
        with pytest.raises(Conflict, match="present one is 2"):
            await switch.change(R, actor="me", reason="out", expected_generation=1)
        with pytest.raises(Conflict, match="only be loosened to CANCEL_ONLY, REDUCE_ONLY"):
            await switch.change(A, actor="me", reason="out", expected_generation=2)
        made = await switch.change(R, actor="me", reason="out", expected_generation=2)
        assert (made.state, made.generation) == (R, 3)
        switch.may_go_active = lambda: "positions differ"
        with pytest.raises(Conflict, match="positions differ"):
            await switch.change(A, actor="me", reason="out", expected_generation=3)
        switch.may_go_active = lambda: ""
        await switch.change(A, actor="me", reason="out", expected_generation=3)
        assert switch.gate().state is A


async def test_a_flushed_redis_is_closed_and_stays_closed_over_restarts(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """Lost data means HALTED, for this process and the next, until a person says otherwise."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        async with Redis.from_url(redis_url) as client:
            await client.flushdb()
        await eventually(lambda: switch.gate().state is H)
        assert not switch.gate().known
    async with switched(redis_url, tmp_path) as switch:
        await eventually(lambda: "no record" in switch.gate().why)
        await asyncio.sleep(0.6)
        assert switch.gate().state is H
        assert switch.generation == 1
        for scope in SCOPES:
            await switch.change(R, actor="me", reason="checked", expected_generation=1, scope=scope)
        assert switch.generation == 2
        assert switch.gate("BTC-PERP", "ma").state is R


async def test_a_restored_backup_is_closed(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """A lower generation than one applied before is not believed, even after a restart."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        await switch.tighten(H, actor="me", reason="fire")
        await eventually(lambda: switch.scopes["global"]._told_generation == 2)
    async with Redis.from_url(redis_url) as client:
        await client.hset(f"control:{{{KILL_SCOPE}}}", mapping={"generation": 1, "state": "ACTIVE"})
    async with switched(redis_url, tmp_path) as switch:
        await eventually(lambda: "below 2" in switch.gate().why)
        gate = switch.gate()
        assert (gate.state, gate.known) == (H, False)


async def test_a_restart_without_redis_never_re_arms(
    own_redis: RedisServer, tmp_path: Path, eventually: Eventually
) -> None:
    """The state was ACTIVE; Redis is gone at the next start: closed to new risk."""
    url = f"redis://127.0.0.1:{own_redis.port}/0"
    async with switched(url, tmp_path) as switch:
        await is_active(switch, eventually)
    own_redis.stop()
    async with switched(url, tmp_path) as switch:
        await asyncio.sleep(0.3)
        assert (switch.gate().state, switch.gate().known) == (R, False)
    server = start_redis(own_redis.data_dir, own_redis.port)
    try:
        async with switched(url, tmp_path) as switch:
            await is_active(switch, eventually)
    finally:
        server.stop()


async def test_a_store_that_fails_does_not_keep_entries_alive(
    redis_url: str, tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the kill comes: entries are cancelled all the same."""

    async def full(_ledger: Ledger, _scope: str, _mark: Watermark) -> None:
        raise Unavailable("journal: disk is full")

    closings: list[float] = []
    async with switched(redis_url, tmp_path, closings=closings) as switch:
        await is_active(switch, eventually)
        monkeypatch.setattr(Ledger, "raise_watermark", full)
        await switch.tighten(R, actor="me", reason="fire")
        await eventually(lambda: len(closings) == 1)


async def test_a_closing_that_failed_is_tried_again(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """Entries that could not be cancelled at the first try are asked for again."""
    tries: list[int] = []

    async def on_closed() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable("venue: down")

    async with switched(redis_url, tmp_path, first=R) as switch:
        watcher = asyncio.create_task(switch.watch(on_closed))
        await eventually(lambda: len(tries) == 3)
        await asyncio.sleep(0.2)
        watcher.cancel()
        assert len(tries) == 3


async def test_a_blank_reason_is_persisted_all_the_same(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """Redis keeps no blank reason: the kill gets one, and can be undone later."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        made = await switch.change(R, actor="me", reason="  ", expected_generation=None)
        assert (made.state, made.persisted) == (R, True)
        assert switch.gate().why == "set to REDUCE_ONLY (me)"
        await switch.change(A, actor="me", reason="over", expected_generation=2)
        assert switch.gate().state is A


async def test_the_strictest_scope_that_applies_wins(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """A symbol or a strategy is closed apart; what is not here at all is HALTED."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        made = await switch.tighten(H, actor="me", reason="book broken", scope="symbol:BTC-PERP")
        assert (made.scope, made.state, made.persisted) == ("symbol:BTC-PERP", H, True)
        await switch.tighten(R, actor="me", reason="losing", scope="strategy:ma")
        found = {
            terms: switch.gate(*terms).state
            for terms in [
                ("", ""),
                ("BTC-PERP", ""),
                ("ETH-PERP", ""),
                ("ETH-PERP", "ma"),
                ("BTC-PERP", "ma"),
                ("ETH-PERP", "unheard-of"),
            ]
        }
        assert list(found.values()) == [A, H, A, R, H, H]
        assert switch.gate("BTC-PERP").why == "symbol:BTC-PERP: book broken (me)"
        assert not switch.gate("ETH-PERP", "unheard-of").known
        assert [switch.closes("BTC-PERP"), switch.closes("ETH-PERP")] == [True, False]
        await switch.tighten(C, actor="me", reason="all", scope="account:mine")
        assert [switch.gate(name).state for name in ("BTC-PERP", "ETH-PERP")] == [H, C]
        with pytest.raises(InvalidInput, match="no order here has it"):
            await switch.tighten(H, actor="me", reason="?", scope="symbol:DOGE-PERP")


async def test_opening_one_scope_names_those_that_stay_closed(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """Nobody has to wonder why orders are still refused."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        told = {}
        for scope in ("symbol:BTC-PERP", "strategy:ma", "global"):
            await switch.tighten(R, actor="me", reason="test", scope=scope)
        for scope in ("global", "strategy:ma", "symbol:BTC-PERP"):
            generation = switch.scopes[scope].generation
            made = await switch.change(
                A, actor="me", reason="over", expected_generation=generation, scope=scope
            )
            told[scope] = made.detail
    symbol, strategy = "symbol:BTC-PERP (REDUCE_ONLY)", "strategy:ma (REDUCE_ONLY)"
    assert {
        "global": f"persisted; still closed: {strategy}, {symbol}",
        "strategy:ma": f"persisted; still closed: {symbol}",
        "symbol:BTC-PERP": "persisted",
    } == told


async def test_the_kill_of_a_symbol_is_acknowledged_by_the_gateways(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """Both gateways say so before the answer, and both have closed that symbol alone."""
    closings: list[float] = []
    (tmp_path / "b").mkdir()
    async with (
        switched(redis_url, tmp_path) as one,
        switched(redis_url, tmp_path / "b", closings=closings) as other,
    ):
        await is_active(one, eventually)
        await is_active(other, eventually)
        made = await one.tighten(R, actor="me", reason="test", scope="symbol:ETH-PERP")
        assert made.acknowledgement is not None
        assert (made.acknowledgement.acked, len(made.acknowledgement.acks)) == (2, 2)
        assert [switch.gate("ETH-PERP").state for switch in (one, other)] == [R, R]
        assert [switch.gate("BTC-PERP").state for switch in (one, other)] == [A, A]
        await eventually(lambda: len(closings) == 1)


async def test_a_lost_scope_never_reopens_by_itself(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """The record of one symbol is deleted: HALTED for that symbol, also after a restart."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        async with Redis.from_url(redis_url) as client:
            await client.delete("control:{kill:symbol:BTC-PERP}")
        await eventually(lambda: switch.gate("BTC-PERP").state is H)
        assert switch.gate("ETH-PERP").state is A
    async with switched(redis_url, tmp_path) as switch:
        await eventually(lambda: switch.gate("ETH-PERP").state is A)
        await asyncio.sleep(0.6)
        assert (switch.gate("BTC-PERP").state, switch.gate("BTC-PERP").known) == (H, False)


async def test_a_kill_without_redis_survives_a_crash(
    own_redis: RedisServer, tmp_path: Path, eventually: Eventually
) -> None:
    """Held in process only, then the process is gone: the next is closed although Redis is not."""
    url = f"redis://127.0.0.1:{own_redis.port}/0"
    async with switched(url, tmp_path) as switch:
        await is_active(switch, eventually)
        own_redis.stop()
        made = await switch.tighten(H, actor="me", reason="fire", scope="symbol:BTC-PERP")
        assert not made.persisted
    with running_redis(own_redis.data_dir, own_redis.port):
        async with switched(url, tmp_path) as switch:
            await eventually(lambda: switch.gate("ETH-PERP").state is A)
            gate = switch.gate("BTC-PERP")
            assert (gate.state, gate.known) == (H, False)
            generation = switch.scopes["symbol:BTC-PERP"].generation
            made = await switch.change(
                R,
                actor="me",
                reason="looked",
                expected_generation=generation,
                scope="symbol:BTC-PERP",
            )
            assert made.generation == generation + 1
            assert (switch.gate("BTC-PERP").state, switch.gate("BTC-PERP").known) == (R, True)


async def test_the_gate_costs_an_order_microseconds_and_ends_with_its_lease(
    redis_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """What is kept for the next order is a fraction of a look, and no older than lease and age."""
    async with switched(redis_url, tmp_path) as switch:
        await is_active(switch, eventually)
        best = min(_seconds_of_gates(switch, 1_000) for _ in range(10))
        assert best / 1_000 < 20e-6
        assert switch.gate("BTC-PERP", "ma").state is A
        await switch.tighten(R, actor="me", reason="test", scope="strategy:ma")
        assert switch.gate("BTC-PERP", "ma").state is R
        assert switch.gate("BTC-PERP", "unheard-of").state is H
        await switch.change(
            A, actor="me", reason="over", expected_generation=2, scope="strategy:ma"
        )
        assert switch.gate("BTC-PERP", "ma").state is A
    assert switch.gate("BTC-PERP", "ma").state is R
    assert not switch.gate("BTC-PERP", "ma").known


def _seconds_of_gates(switch: KillSwitch, count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        switch.gate("BTC-PERP", "ma")
    return time.process_time() - started
