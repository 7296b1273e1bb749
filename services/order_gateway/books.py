"""Open the gateway's books: SQL, then what the journal has beyond it, then the journal itself.

A start ends with a ledger to trade on, whatever it finds: a journal that was lost, cut or damaged
and a database that is older than it should be are said, recorded as events, and put right by the
comparison with the venue.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from services.order_gateway.journal import SEGMENT_BYTES, FoundJournal, GatewayJournal
from services.order_gateway.ledger import Ledger
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.projector import Projector
from touchstone.kit.event_store import EventStore
from touchstone.kit.ledger_entries import Record

FINISHED_LOADED: Final = 2_000
"""How many orders that are over a start takes into memory: a late fill may still be told."""

CLOSING_SECONDS: Final = 3.0

_log = structlog.get_logger("touchstone.gateway.books")


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger, the journal under it, and what writes SQL behind it."""

    ledger: Ledger
    journal: GatewayJournal
    projector: Projector


@contextlib.asynccontextmanager
async def open_books(
    store: EventStore,
    folder: Path,
    metrics: GatewayMetrics,
    *,
    now_ns: Callable[[], int] = time.time_ns,
    sync: bool = True,
    segment_bytes: int = SEGMENT_BYTES,
) -> AsyncIterator[Books]:
    """Yield books that have everything; on leaving, SQL gets what it does not have yet.

    Somebody has to run `projector.run`.

    Raises:
        ConfigError: the journal is of another bot, or of a newer version.
        Unavailable: the database does not answer, or the folder cannot be written.
    """
    found = FoundJournal(folder, store.bot_id)
    places = await store.places()
    place = places.get(found.opened.journal_id, -1)
    ledger = Ledger(store, metrics, now_ns=now_ns)
    await _restore(ledger, store)
    for _, entry in found.entries(place + 1):
        ledger.replay(entry)
    notes = _differences(found, place, places)
    journal = _go_on(found, place, metrics, sync=sync, segment_bytes=segment_bytes)
    ledger.journal = journal
    projector = Projector(store, journal, metrics.storage)
    journal.listener = projector.offer
    try:
        for note in notes:
            _log.warning(note.type, **note.payload)
            ledger.note(note)
        ledger.resume()
        yield Books(ledger, journal, projector)
    finally:
        if not await projector.catch_up(CLOSING_SECONDS):
            _log.warning("store_left_behind", records=projector.behind)
        journal.close()


async def _restore(ledger: Ledger, store: EventStore) -> None:
    """Load from SQL what a ledger begins with."""
    finished = await store.load_last_changed(FINISHED_LOADED)
    orders = [*reversed(finished), *await store.load_orders(not_done=True)]
    venue_ids = [order.venue_order_id for order in orders if order.venue_order_id]
    ledger.restore(
        orders=orders,
        positions=await store.load_positions(),
        fills=await store.load_fill_ids(venue_ids),
        funded=await store.load_funding_times(),
        watermarks=await store.load_watermarks(),
        used=[client_order_id async for client_order_id in store.load_ids()],
    )


def _differences(found: FoundJournal, place: int, places: dict[str, int]) -> list[Record]:
    """Return what is to be said of journal and SQL not being in step."""
    notes = []
    if found.is_new and places:
        previous, last = list(places.items())[-1]
        payload = {"previous": previous, "last_number": last}
        notes.append(Record(type="journal_lost", payload=payload))
    if found.first > place + 1:
        payload = {"missing_from": place + 1, "missing_upto": found.first - 1}
        notes.append(Record(type="store_gap", payload=payload))
    if not found.damage and found.next_number < place + 1:
        payload = {"journal_ends": found.next_number, "store_has": place}
        notes.append(Record(type="journal_behind_store", payload=payload))
    if found.damage:
        notes.append(Record(type="journal_damaged", payload={"why": found.damage}))
    return notes


def _go_on(
    found: FoundJournal, place: int, metrics: GatewayMetrics, *, sync: bool, segment_bytes: int
) -> GatewayJournal:
    """Return the journal to append to; a damaged one is set aside, and what it has kept goes on."""

    def begin(where: FoundJournal) -> GatewayJournal:
        return GatewayJournal(
            where.folder,
            where.opened,
            where.number,
            metrics.storage,
            sync=sync,
            segment_bytes=segment_bytes,
        )

    if not found.damage:
        return begin(found)
    fresh, aside = found.set_aside()
    journal = begin(fresh)
    for _, entry in found.in_folder(aside).entries(place + 1):
        if entry.opened is None:
            journal.append(entry)
    return journal
