"""What the ledger stands on: the journal and the archive that it needs, and how it words events."""

import asyncio
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from operator import attrgetter
from typing import Any, Final, Protocol

import msgspec

from touchstone.kit.journal import JournalFailed
from touchstone.kit.ledger_entries import Entry, Fill, Record
from touchstone.perps.orders import Intent, Order

REASON_CHARACTERS_MAX: Final = 1_000


def plain(reason: str) -> str:
    """Return a reason that can be kept, whatever a venue wrote: not too long, and without NUL."""
    return reason[:REASON_CHARACTERS_MAX].replace("\0", "")


class EntryLog(Protocol):
    """What the ledger needs of a journal."""

    def append(self, entry: Entry) -> int:
        """Hand an entry over for good; `JournalFailed` where that cannot be."""
        ...

    async def kept(self) -> None:
        """Return when all entries are on the disk."""
        ...

    def keep(self) -> "asyncio.Future[None]":
        """Begin what `kept` waits for."""
        ...

    @property
    def failure(self) -> str:
        """Return why nothing is taken any more; ''."""
        ...


class Archive(Protocol):
    """What the ledger asks of SQL: orders that have left memory."""

    async def load_order(self, client_order_id: str) -> Order | None:
        """Return one order, None where there is none of that id."""
        ...

    async def load_orders(
        self, *, status: str | None = None, symbol: str | None = None, limit: int
    ) -> list[Order]:
        """Return orders, newest first."""
        ...


class NotOpen:
    """No journal yet: nothing can be changed."""

    failure = "not open yet"

    def append(self, _entry: Entry) -> int:
        """Refuse."""
        raise JournalFailed(f"journal: {self.failure}")

    async def kept(self) -> None:
        """Refuse."""
        raise JournalFailed(f"journal: {self.failure}")

    def keep(self) -> "asyncio.Future[None]":
        """Refuse."""
        raise JournalFailed(f"journal: {self.failure}")


_read: Final = attrgetter(*(item.name for item in dataclass_fields(Order)))
_SET: Final = {item.name: getattr(Order, item.name).__set__ for item in dataclass_fields(Order)}
_SETTERS: Final = tuple(_SET.values())


def changed(order: Order, fields: Mapping[str, Any]) -> Order:
    """Return `replace(order, **fields)` in a fifth of its time: an order changes all the time."""
    made: Order = object.__new__(Order)
    for put, value in zip(_SETTERS, _read(order), strict=True):
        put(made, value)
    for name, value in fields.items():
        _SET[name](made, value)
    return made


def record_of(
    order: Order, event_type: str, payload: dict[str, Any], ts_event_ns: int | None = None
) -> Record:
    """Return an event of an order; `payload` holds only what JSON can say."""
    return Record(
        type=event_type,
        symbol=order.intent.symbol,
        client_order_id=order.intent.client_order_id,
        ts_event_ns=ts_event_ns,
        payload=payload,
    )


_NAMED_APART: Final = frozenset({"client_order_id", "symbol"})


def terms_of(intent: Intent) -> dict[str, Any]:
    """Return what was asked for, without what is not set."""
    terms: dict[str, Any] = msgspec.to_builtins(intent)
    return {
        name: value
        for name, value in terms.items()
        if value not in (None, "", False) and name not in _NAMED_APART
    }


def terms_of_fill(fill: Fill) -> dict[str, Any]:
    """Return what a fill says beyond the columns of its event."""
    payload: dict[str, Any] = msgspec.to_builtins(fill)
    return {
        name: value
        for name, value in payload.items()
        if name not in _NAMED_APART and name != "ts_event_ns"
    }
