"""Bring the venue back: the newest whole snapshot, then the journal, each record as it went before.

Only one process may have a state folder in hand; the lock goes with the process, however it ends.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lob.errors import ConfigError, Fault, InvariantViolation
from services.paper_exchange.entries import Entry, decode_entry
from services.paper_exchange.snapshots import (
    START_ANEW,
    OtherCodeError,
    Snapshot,
    code_digest,
    read_snapshot,
    snapshots,
    write_snapshot,
)
from touchstone.exchange import Exchange, ExchangeConfig
from touchstone.exchange.commands import apply
from touchstone.exchange.state import outcome
from touchstone.kit.framing import Damaged
from touchstone.kit.journal import Kept, Reading, cut_torn_end, remove_empty, segments

LOCK_FILE: Final = "lock"
_FREE_TO_CHANGE: Final = frozenset({"run", "start_ns"})
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A venue that was brought back, or begun, and how.

    `number` is that of the journal's next record, `snapshot_number` that of the first one after the
    snapshot; `torn_bytes` is what a write that was under way left behind.
    """

    exchange: Exchange
    begun: bool
    number: int
    snapshot_number: int
    records_replayed: int
    torn_bytes: int
    seconds: float


class FolderLock:
    """Hold a state folder for this process alone."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            ConfigError: another process has it, or the folder cannot be written.
        """
        path = folder / LOCK_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip()
            os.close(self._file)
            raise ConfigError(
                f"{folder}: another paper exchange (process {holder or 'unknown'}) has this state;"
                " stop it, or set TOUCHSTONE_DATA_DIR"
            ) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, b"%d\n" % os.getpid())

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._file)


def recover(folder: Path, config: ExchangeConfig) -> Recovered:
    """Return the venue as it was when its last record was kept; a new one where none was kept.

    The folder's lock is held by the caller. A torn end of the journal is cut off.

    Raises:
        ConfigError: the kept state is of other settings or of other code.
        Damaged: a file is not what was written.
    """
    since = time.perf_counter()
    for leftover in (*folder.glob("*.unfinished"), *folder.glob("*.failed")):
        leftover.unlink(missing_ok=True)
    if not snapshots(folder):
        if segments(folder):
            raise Damaged(f"{folder}: there is a journal, but no snapshot that it goes on from")
        write_snapshot(folder, 0, exchange := Exchange(config))
        return _recovered(exchange, 0, 0, 0, since, begun=True)
    found = _newest(folder, config)
    exchange, number = found.exchange, found.header.number
    _require_same(folder, exchange.config, config)
    reading = Reading(folder, number)
    for kept in reading:
        _replay(exchange, kept)
    torn_bytes = cut_torn_end(reading)
    remove_empty(folder, reading.number)
    return _recovered(exchange, reading.number, number, torn_bytes, since)


def start_anew(folder: Path) -> Path | None:
    """Set the kept state aside and return where it is now; None where there is none.

    Raises:
        ConfigError: a running exchange has it.
    """
    if not folder.is_dir() or not (snapshots(folder) or segments(folder)):
        return None
    lock = FolderLock(folder)
    try:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        return folder.rename(folder.with_name(f"{folder.name}-until-{now}"))
    finally:
        lock.release()


# -------------------------------------------------------------------- inside


def _recovered(
    exchange: Exchange,
    number: int,
    snapshot_number: int,
    torn_bytes: int,
    since: float,
    *,
    begun: bool = False,
) -> Recovered:
    return Recovered(
        exchange=exchange,
        begun=begun,
        number=number,
        snapshot_number=snapshot_number,
        records_replayed=number - snapshot_number,
        torn_bytes=torn_bytes,
        seconds=time.perf_counter() - since,
    )


def _newest(folder: Path, config: ExchangeConfig) -> Snapshot:
    """Return the newest snapshot that is whole; an older one has its part of the journal still."""
    failure: Damaged | None = None
    fresh: Callable[[], Exchange] = lambda: _fresh(config)  # noqa: E731 - only where it is needed
    for _, path in reversed(snapshots(folder)):
        try:
            return read_snapshot(path, fresh)
        except Damaged as fault:
            _log.error("%s; trying the one before", fault)
            failure = failure or fault
    assert failure is not None  # noqa: S101 - the caller has seen that there is a snapshot
    raise failure


def _fresh(config: ExchangeConfig) -> Exchange:
    """Return a venue made anew, with an account, so that all kinds of its state are there."""
    exchange = Exchange(config)
    exchange.open_account("fresh")
    exchange.drain()
    return exchange


def _require_same(folder: Path, kept: ExchangeConfig, asked: ExchangeConfig) -> None:
    for field in fields(ExchangeConfig):
        was, wanted = getattr(kept, field.name), getattr(asked, field.name)
        if field.name not in _FREE_TO_CHANGE and was != wanted:
            raise ConfigError(
                f"{field.name}: {_shown(wanted)}, but the state in {folder} was begun with"
                f" {_shown(was)}; set it back, use another TOUCHSTONE_DATA_DIR, or start anew:"
                f" {START_ANEW}"
            )


def _shown(value: object) -> str:
    shown = str(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004 - one line


def _replay(exchange: Exchange, kept: Kept) -> None:
    """Carry out one record again; it has to come to what it came to then."""
    where = f"{kept.path}: byte {kept.offset}: record {kept.number}"
    try:
        entry = decode_entry(kept.payload)
    except ValueError as error:
        raise OtherCodeError(
            f"{where}: {error}; it was written by other code: {_way_out()}"
        ) from None
    try:
        _carry_out(exchange, entry)
    except Exception as error:
        raise OtherCodeError(f"{where}: {type(error).__name__}: {error}; {_way_out()}") from error
    if outcome(exchange) != entry.outcome:
        raise OtherCodeError(f"{where}: comes to something else than it did; {_way_out()}")


def _carry_out(exchange: Exchange, entry: Entry) -> None:
    while exchange.now_ns < entry.now_ns:
        exchange.advance(entry.now_ns)
    exchange.advance(entry.now_ns)
    if entry.command is not None:
        try:
            apply(exchange, entry.command)
        except InvariantViolation:
            raise
        except Fault:
            pass  # It was refused then, too, and may have left the same traces.
    exchange.drain()


def _way_out() -> str:
    return (
        f"this code is {code_digest()}: run the version that wrote it and stop it with SIGTERM,"
        f" which leaves nothing to replay, or start anew: {START_ANEW}"
    )
