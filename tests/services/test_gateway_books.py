"""Journal, ledger and SQL over crashes and losses: nothing is lost, and nothing is there twice."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from lob.errors import ConfigError, Unavailable
from lob.types import Side
from services.order_gateway import books as books_module
from services.order_gateway import journal as journal_module
from services.order_gateway import projector as projector_module
from services.order_gateway.books import open_books
from services.order_gateway.ledger import Ledger
from services.order_gateway.metrics import GatewayMetrics
from tests.fakes.postgresql import PostgresqlServer
from tests.services.books_harness import (
    SYMBOL,
    House,
    busy,
    fill_of,
    fund,
    housed,
    intent,
    open_order,
    shown,
    stored,
    whole_life,
)
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_url import database_url
from touchstone.kit.framing import FILE_HEADER
from touchstone.kit.journal import Reading, segments
from touchstone.kit.ledger_entries import (
    VERSION,
    DailyMetrics,
    Entry,
    Opened,
    Record,
    Watermark,
    decode_entry,
    encode_entry,
)
from touchstone.perps.orders import OrderEvent, OrderState, OrderType, Replacement

E = OrderEvent
Eventually = Callable[..., Awaitable[float]]


@asynccontextmanager
async def projecting(house: House) -> AsyncIterator[None]:
    """Run the projector as the gateway does."""
    task = asyncio.create_task(house.books.projector.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_restart_finds_everything_and_books_nothing_twice(
    url_text: str, tmp_path: Path
) -> None:
    """Orders, fills, funding, marks: the next run knows them, and SQL has each once."""
    async with housed(url_text, tmp_path / "j") as house:
        await busy(house.ledger, 3)
        before = shown(house.ledger)
    after_first = await stored(url_text)
    async with housed(url_text, tmp_path / "j") as house:
        assert shown(house.ledger) == before
        filled = house.ledger.get("o0")
        assert filled is not None
        assert house.ledger.book(filled, [fill_of(filled, "t1-o0", "0.005")]) == filled
        assert not fund(house.ledger, 2)
        await house.ledger.raise_watermark("kill:o", Watermark(3, "ACTIVE"))
    assert await stored(url_text) == after_first
    assert len(after_first["fills"]) == 6
    assert after_first["sums"] == after_first["totals"]
    assert {status for _, status, *_ in after_first["orders"]} == {"filled", "open"}


async def states_after_each_entry(folder: Path) -> list[dict[str, Any]]:
    """Return what a ledger knows after none, one, two ... of the entries of a journal."""
    ledger = Ledger(_no_archive(), GatewayMetrics(CollectorRegistry(), [SYMBOL]))
    found = [shown(ledger)]
    for kept in Reading(folder, 0):
        ledger.replay(decode_entry(kept.payload))
        found.append(shown(ledger))
    return found


def _no_archive() -> Any:
    return None


async def test_the_journal_cut_anywhere_is_what_was_whole(tmp_path: Path) -> None:
    """At every byte of an order's life: the ledger is as after the last whole entry."""
    url = f"sqlite:///{tmp_path / 'whole.db'}"
    async with housed(url, tmp_path / "j") as house:
        whole_life(house.ledger, "a")
        open_order(house.ledger, "b", Side.SELL)
    [(_, path)] = segments(tmp_path / "j")
    content = path.read_bytes()
    ends = [FILE_HEADER.size]
    ends += [kept.offset for kept in Reading(tmp_path / "j", 1)] + [len(content)]
    expected = await states_after_each_entry(tmp_path / "j")
    cut_folder = tmp_path / "cut"
    cut_folder.mkdir()
    for size in {*range(0, len(content), 97), *ends, *(end - 1 for end in ends)}:
        (cut_folder / path.name).write_bytes(content[:size])
        found = journal_module.FoundJournal(cut_folder, "bot")
        ledger = Ledger(_no_archive(), GatewayMetrics(CollectorRegistry(), [SYMBOL]))
        for _, entry in found.entries(0):
            ledger.replay(entry)
        whole = sum(end <= size for end in ends[1:])
        assert shown(ledger) == expected[whole], size
        assert found.number == whole
        for left in cut_folder.iterdir():
            left.unlink()


@pytest.mark.parametrize("projected", [0, 5, 14])
async def test_a_crash_with_sql_anywhere_behind_loses_nothing(
    url_text: str, tmp_path: Path, projected: int
) -> None:
    """However much SQL had, the next start replays the rest and writes it once."""
    async with housed(url_text, tmp_path / "j") as house:
        await house.caught_up()
        batcher = await house.store.batcher(house.books.journal.journal_id)
        await busy(house.ledger, 2)
        batch = batcher.begin()
        for kept in Reading(tmp_path / "j", 1):
            if kept.number <= projected:
                batcher.add(batch, kept.number, decode_entry(kept.payload))
        if projected:
            await house.store.write(batcher.end(batch))
        before = shown(house.ledger)
        # As a crash would leave it: nothing more is written.
        shutil.copytree(tmp_path / "j", tmp_path / "crashed")
        house.books.projector._next = house.books.journal.number
    async with housed(url_text, tmp_path / "crashed") as house:
        assert shown(house.ledger) == before
        await house.caught_up()
        found = await stored(url_text)
        assert len(found["fills"]) == 4
        assert found["sums"] == found["totals"]
        assert all(count == 1 for kind, _, count in found["events"] if kind != "fill")


@pytest.mark.parametrize("answered", [True, False])
async def test_a_commit_whose_answer_is_lost_is_not_repeated(
    url_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, answered: bool
) -> None:
    """Written and not told, or not written at all: SQL is asked, and has each entry once."""
    write, calls = EventStore.write, []

    async def loses(store: EventStore, batch: Any) -> None:
        calls.append(batch.last_number)
        if len(calls) % 2:
            if answered:
                await write(store, batch)
            raise Unavailable("event store: the answer was lost")
        await write(store, batch)

    async with housed(url_text, tmp_path / "j") as house:
        monkeypatch.setattr(EventStore, "write", loses)
        for number in range(3):
            await busy(house.ledger, 1, f"n{number}-")
            for _ in range(3):
                await house.books.projector.catch_up(10)
        before = shown(house.ledger)
        await house.caught_up()
    found = await stored(url_text)
    assert len(calls) >= 3
    assert len(found["fills"]) == 6
    assert found["sums"] == found["totals"]
    assert all(count == 1 for kind, _, count in found["events"] if kind != "fill")
    async with housed(url_text, tmp_path / "j") as house:
        assert shown(house.ledger) == before


async def test_a_database_from_an_older_backup_is_brought_up_to_date(
    url_text: str, tmp_path: Path
) -> None:
    """The journal keeps what SQL had already: a restored backup gets it again, once."""
    async with housed(url_text, tmp_path / "j") as house:
        await busy(house.ledger, 2, "early")
    await back_up(url_text)
    async with housed(url_text, tmp_path / "j") as house:
        await busy(house.ledger, 2, "late")
        before = shown(house.ledger)
    whole = await stored(url_text)
    await restore(url_text)
    assert await stored(url_text) != whole
    async with housed(url_text, tmp_path / "j") as house:
        assert shown(house.ledger) == before
        await house.caught_up()
        assert await stored(url_text) == whole


async def test_a_database_restored_under_a_running_gateway_is_filled_again(
    tmp_path: Path,
) -> None:
    """SQL suddenly has less: the next batch is refused, and what is missing is written first."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    async with housed(url, tmp_path / "j") as house:
        await busy(house.ledger, 1, "early")
        await house.caught_up()
        await house.store.checkpoint()
        await back_up(url)
        await busy(house.ledger, 1, "late")
        await house.caught_up()
        await house.store._engine.dispose()
        assert house.store._writing is not None
        house.store._writing.dispose()
        await restore(url)
        open_order(house.ledger, "last")
        assert not await house.books.projector.catch_up(10)
        await house.caught_up()
        assert {o.intent.client_order_id for o in await house.store.load_orders()} == {
            *("early0", "early0-rest", "late0", "late0-rest", "last")
        }
        found = await stored(url)
        assert found["sums"] == found["totals"]


async def back_up(url: str) -> None:
    """Copy a database that nobody has open."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        shutil.copy(path, path.with_suffix(".backup"))
        return
    await _administer(url, "DROP DATABASE IF EXISTS backup")
    await _administer(url, "CREATE DATABASE backup TEMPLATE postgres")


async def restore(url: str) -> None:
    """Put the copy back."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        for beside in path.parent.glob(f"{path.name}-*"):
            beside.unlink()
        shutil.copy(path.with_suffix(".backup"), path)
        return
    await _administer(url, "DROP DATABASE postgres WITH (FORCE)")
    await _administer(url, "CREATE DATABASE postgres TEMPLATE backup")


async def _administer(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url.rsplit("/", 1)[0] + "/template1")
    await connection.execute(statement)
    await connection.close()


async def test_a_lost_journal_is_said_and_sql_goes_on(url_text: str, tmp_path: Path) -> None:
    """What SQL has is the start; what it did not have is for the venue to tell."""
    async with housed(url_text, tmp_path / "j") as house:
        await busy(house.ledger, 2)
        before = shown(house.ledger)
        last = house.books.journal.number - 1
    shutil.rmtree(tmp_path / "j")
    async with housed(url_text, tmp_path / "j") as house:
        assert shown(house.ledger) == before
        await house.caught_up()
        [lost] = await house.store.load_events(event_type="journal_lost")
        assert lost["payload"]["last_number"] == last
        assert await house.ledger.lookup("o0") == before["orders"]["o0"]
        whole_life(house.ledger, "new")
    found = await stored(url_text)
    assert len(found["fills"]) == 6
    assert found["sums"] == found["totals"]
    async with housed(url_text, tmp_path / "j") as house:
        assert await house.store.load_events(event_type="journal_lost") == [lost]


async def test_a_database_that_is_empty_again_gets_everything(tmp_path: Path) -> None:
    """A new database under an old journal is written from its first entry on."""
    old, new = (f"sqlite:///{tmp_path / name}.db" for name in ("old", "new"))
    async with housed(old, tmp_path / "j") as house:
        await busy(house.ledger, 2)
    async with housed(new, tmp_path / "j") as house:
        await house.caught_up()
    assert await stored(new) == await stored(old)


async def test_a_gap_between_sql_and_journal_is_said_and_sums_stay_right(tmp_path: Path) -> None:
    """Files that an old backup would need are gone: said, and the sum makes up for it."""
    old, new = (f"sqlite:///{tmp_path / name}.db" for name in ("old", "new"))
    async with housed(old, tmp_path / "j") as house:
        await busy(house.ledger, 1, "early")
        house.books.journal.rotate()
        whole_life(house.ledger, "late")
        before = shown(house.ledger)["positions"]
    segments(tmp_path / "j")[0][1].unlink()
    async with housed(new, tmp_path / "j") as house:
        assert house.ledger.positions == before
        await house.caught_up()
        [gap] = await house.store.load_events(event_type="store_gap")
        assert (gap["payload"]["missing_from"], gap["payload"]["missing_upto"]) == (0, 12)
        assert await house.store.load_positions() == before
    found = await stored(new)
    assert found["sums"] == found["totals"]


async def test_a_damaged_journal_is_set_aside_with_all_that_is_whole(tmp_path: Path) -> None:
    """A bad byte in the middle: what stands before it goes on, and the start succeeds."""
    url, folder = f"sqlite:///{tmp_path / 'events.db'}", tmp_path / "j"
    async with housed(url, folder) as house:
        whole_life(house.ledger, "projected")
        await house.caught_up()
        for key in ("a", "b", "c"):
            open_order(house.ledger, key)
        house.books.projector._next = house.books.journal.number
    [(_, path)] = segments(folder)
    offsets = {kept.number: kept.offset for kept in Reading(folder, 0)}
    content = bytearray(path.read_bytes())
    content[offsets[14] + 40] ^= 1
    path.write_bytes(content)
    async with housed(url, folder) as house:
        states = {o.intent.client_order_id: o.state for o in house.ledger.working()}
        # Entry 13 was the venue's acknowledgement of the second order, the 14th is damaged.
        assert states == {"a": OrderState.OPEN, "b": OrderState.OPEN}
        await house.caught_up()
        [said] = await house.store.load_events(event_type="journal_damaged")
        assert "is damaged" in said["payload"]["why"]
        assert len(await house.store.load_fills()) == 2
        open_order(house.ledger, "d")
    [aside] = tmp_path.glob("j-damaged-*")  # noqa: ASYNC240 - a test may
    assert [item.name for item in aside.iterdir()] == [path.name]
    async with housed(url, folder) as house:
        assert {"a", "b", "d"} == {o.intent.client_order_id for o in house.ledger.working()}
        found = await stored(url)
        assert all(count == 1 for kind, _, count in found["events"] if kind != "fill")


async def test_a_database_that_dies_under_load_is_caught_up_with(
    own_postgresql: PostgresqlServer,
    tmp_path: Path,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL is killed: orders go on, memory stays small, and it gets everything once."""
    monkeypatch.setattr(projector_module, "ENTRIES_IN_MEMORY_MAX", 50)
    monkeypatch.setattr(projector_module, "RETRY_SECONDS", (0.05,))
    server = own_postgresql
    async with housed(server.url, tmp_path / "j") as house, projecting(house):
        projector = house.books.projector
        await busy(house.ledger, 3, "before")
        await eventually(lambda: projector.behind == 0)
        assert await projector.check() == "0 records behind"
        await asyncio.to_thread(server.stop, hard=True)
        await busy(house.ledger, 40, "while")
        await eventually(lambda: projector.problem != "")
        assert len(projector._memory) <= 50
        assert projector.behind > 400
        assert projector.age_seconds > 0
        with pytest.raises(Unavailable, match="records wait in the journal"):
            await projector.check()
        await asyncio.to_thread(server.start)
        await busy(house.ledger, 3, "after")
        await eventually(lambda: projector.behind == 0)
        await eventually(lambda: projector.age_seconds == 0)
        assert await projector.check() == "0 records behind"
        before = shown(house.ledger)
    found = await stored(server.url)
    assert len(found["fills"]) == 2 * 46
    assert found["sums"] == found["totals"]
    assert all(count == 1 for kind, _, count in found["events"] if kind != "fill")
    async with housed(server.url, tmp_path / "j") as house:
        assert shown(house.ledger) == before


PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests.services.books_harness import *

async def main(url, folder):
    async with housed(url, Path(folder)) as house:
        task = asyncio.create_task(house.books.projector.run())
        number = 0
        while True:
            whole_life(house.ledger, f"o{number}")
            fund(house.ledger, number)
            print(number, flush=True)
            number += 1
            await asyncio.sleep(0)

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def test_kill_9_at_any_moment_loses_nothing_that_was_said(
    url_text: str, tmp_path: Path
) -> None:
    """A real process, killed in the middle of it: what it said is so, each once."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, url_text, str(tmp_path / "j")),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    heard = [await asyncio.wait_for(process.stdout.readline(), 60) for _ in range(60)]
    process.send_signal(signal.SIGKILL)
    said = [int(line) for line in [*heard, *(await process.stdout.read()).split()]]
    await process.wait()
    async with housed(url_text, tmp_path / "j") as house:
        await house.caught_up()
        assert house.ledger.position(SYMBOL).quantity >= Decimal("0.02") * len(said)
        orders = house.ledger.in_memory()
        filled = {o.intent.client_order_id for o in orders if o.state is OrderState.FILLED}
        assert {f"o{number}" for number in said} <= filled
    found = await stored(url_text)
    keys = {key for _, key, *_ in found["fills"]}
    assert len(keys) == len(found["fills"])
    assert found["sums"] == found["totals"]
    ones = [count for kind, _, count in found["events"] if kind not in ("fill", "order_timed_out")]
    assert set(ones) == {1}


async def test_files_that_sql_has_are_removed_when_they_are_old_or_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest stay for a restored backup; what SQL does not have always stays."""
    url, folder = f"sqlite:///{tmp_path / 'events.db'}", tmp_path / "j"
    metrics = GatewayMetrics(CollectorRegistry(), [SYMBOL])
    store = EventStore(database_url(url, Path()), bot_id="bot", deadline_seconds=10)
    async with store, open_books(store, folder, metrics, sync=False, segment_bytes=4_000) as books:
        await busy(books.ledger, 5)
        count = len(segments(folder))
        assert count > 5
        assert await books.projector.catch_up(10)
        assert len(segments(folder)) == count
        assert books.journal.remove_projected(books.journal.number - 1) == 0
        old = {path for _, path in segments(folder)[:2]}
        for path in old:
            os.utime(path, (1, 1))
        monkeypatch.setattr(journal_module, "RETAINED_BYTES", 12_000)
        await busy(books.ledger, 1, "more")
        assert await books.projector.catch_up(10)
        left = [path for _, path in segments(folder)]
        assert not old & set(left)
        assert sum(path.stat().st_size for path in left[:-1]) <= 12_000 + 8_000
        before = shown(books.ledger)
    async with housed(url, folder) as house:
        assert shown(house.ledger) == before


async def test_only_so_many_finished_orders_stay_in_memory_and_ids_are_never_forgotten(
    url_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id that left memory is looked up in SQL; one that SQL does not have yet is a fault."""
    monkeypatch.setattr("services.order_gateway.ledger.FINISHED_ORDERS_MAX", 2)
    monkeypatch.setattr(books_module, "FINISHED_LOADED", 1)
    async with housed(url_text, tmp_path / "j") as house:
        for key in "abcd":
            whole_life(house.ledger, key)
        assert house.ledger.get("a") is None
        with pytest.raises(Unavailable, match="cannot be read yet"):
            await house.ledger.lookup("a")
        assert [o.intent.client_order_id for o in await house.ledger.orders(limit=9)] == ["d", "c"]
        await house.caught_up()
        found = await house.ledger.lookup("a")
        assert found is not None
        assert found.state is OrderState.FILLED
        assert await house.ledger.lookup("never") is None
        assert len(await house.ledger.orders(limit=9)) == 4
    async with housed(url_text, tmp_path / "j") as house:
        assert house.ledger.get("a") is None
        assert await house.ledger.lookup("a") == found
        assert await house.ledger.lookup("never") is None


async def test_what_was_under_way_is_unknown_and_a_waiting_stop_waits_on(tmp_path: Path) -> None:
    """After a crash an order may have left; a stop that was not triggered has not."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    async with housed(url, tmp_path / "j") as house:
        house.ledger.place(intent("sent"))
        stop = replace(intent("stop"), order_type=OrderType.STOP, stop_price=Decimal(1))
        house.ledger.place(stop)
        wish = Replacement(client_order_id="over.r1", quantity=Decimal(1))
        over = house.ledger.change(open_order(house.ledger, "over"), replacement=wish)
        house.ledger.apply(over, (E.CANCELLED,))
    async with housed(url, tmp_path / "j") as house:
        states = {o.intent.client_order_id: o.state for o in house.ledger.working()}
        assert states == {"sent": OrderState.UNKNOWN, "stop": OrderState.ARMED}
        [left] = house.ledger.outstanding()
        house.ledger.change(left, replacement=replace(wish, carried_out=True))
        assert house.ledger.outstanding() == []
    async with housed(url, tmp_path / "j") as house:
        assert house.ledger.outstanding() == []


async def test_whatever_a_venue_writes_can_be_kept(url_text: str, tmp_path: Path) -> None:
    """Endless reasons, NUL characters and long names stop neither the journal nor SQL."""
    async with housed(url_text, tmp_path / "j") as house:
        placed = house.ledger.place(replace(intent("a"), strategy="s" * 200))
        house.ledger.apply(placed, (E.REJECTED,), "no\0 " + "x" * 2_000_000)
        whole_life(house.ledger, "b")
        await house.caught_up()
        stored_order = await house.store.load_order("a")
        assert stored_order is not None
        assert stored_order.intent.strategy == "s" * 200
        assert stored_order.reason.startswith("no x")
        assert await house.store.load_order("b") is not None


async def test_another_bots_journal_is_refused(tmp_path: Path) -> None:
    """One folder is one bot's; the message says what to do."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    async with housed(url, tmp_path / "j"):
        pass
    with pytest.raises(ConfigError, match="TOUCHSTONE_GATEWAY_BOT_ID"):
        async with housed(url, tmp_path / "j", bot_id="other"):
            pass


def test_records_of_older_and_newer_versions(tmp_path: Path) -> None:
    """What an older version did not write reads as defaults; a newer one's is refused by name."""
    older = (
        b'{"version":1,"at_ns":5,"order":{"intent":{"client_order_id":"a","symbol":"X","side":"BUY",'
        b'"quantity":"1","order_type":"MARKET","unheard_of":1},"state":"open"}}'
    )
    order = decode_entry(older).order
    assert order is not None
    assert (order.state, order.intent.strategy, order.replacement) == (OrderState.OPEN, "", None)
    found = journal_module.FoundJournal(tmp_path, "bot")
    metrics = GatewayMetrics(CollectorRegistry(), [SYMBOL])
    journal = journal_module.GatewayJournal(tmp_path, found.opened, 0, metrics.storage, sync=False)
    journal.append(Entry(version=VERSION + 1, at_ns=1))
    journal.close()
    with pytest.raises(ConfigError, match=f"version {VERSION + 1}; known: up to {VERSION}"):
        list(journal_module.FoundJournal(tmp_path, "bot").entries(0))


def test_an_entry_comes_back_as_it_went_in() -> None:
    """Every part, every field."""
    entry = Entry(
        version=VERSION,
        at_ns=7,
        records=(Record(type="x", symbol="S", ts_event_ns=1, payload={"a": [1, "2", None]}),),
        day=DailyMetrics(day="2026-11-21", equity_close=Decimal("1.50"), trades=3),
        watermark=("kill:global", Watermark(3, "HALTED")),
        opened=Opened("id", "bot"),
    )
    assert decode_entry(encode_entry(entry)) == entry


async def test_the_days_figures_are_written_when_they_change(url_text: str, tmp_path: Path) -> None:
    """The same figures again are no new entry."""
    async with housed(url_text, tmp_path / "j") as house:
        day = DailyMetrics(day="2026-11-21", trades=1)
        house.ledger.book_day(day)
        number = house.books.journal.number
        house.ledger.book_day(day)
        assert house.books.journal.number == number
        house.ledger.book_day(replace(day, trades=2))
        await house.caught_up()
        assert [row.trades for row in await house.store.load_days()] == [2]
