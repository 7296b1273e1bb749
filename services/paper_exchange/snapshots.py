"""Snapshots of the venue's state: one file each, checksummed, with what it takes to trust it.

A file is a line `TSXSNAP <version> <length> <CRC-32>` about the header, the header as JSON, and the
state as `touchstone.exchange.state.dump` gives it. It is there under its name only when it is whole
and has been read back to the same hash.
"""

import contextlib
import gc
import os
import re
import signal
import zlib
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import msgspec

import lob
import touchstone.exchange
from lob.errors import ConfigError, Conflict, Fault
from touchstone.exchange import Exchange
from touchstone.exchange.state import (
    STATE_VERSION,
    Layout,
    dump,
    layout_difference,
    load,
    state_hash,
    survey,
)
from touchstone.kit.framing import Damaged
from touchstone.kit.journal import sync_folder

VERSION: Final = 1
START_ANEW: Final = "python -m services.paper_exchange --start-anew --confirm"

_NAME: Final = re.compile(r"snapshot-(\d{20})\.state")
_FIRST_LINE: Final = re.compile(rb"TSXSNAP (\d{1,9}) (\d{1,9}) (\d{1,10})\n")
_FIRST_LINE_BYTES_MAX: Final = 64
_NICENESS: Final = 10
_LOWEST_FILE: Final = 3


class Header(msgspec.Struct, frozen=True):
    """What a snapshot says of its state.

    `number` is that of the first journal record that is not in it, `code` says by which code it was
    written, `layout` which attributes the objects had then.
    """

    number: int
    now_ns: int
    state_version: int
    state_hash: str
    state_bytes: int
    checksum: str
    code: str
    layout: Layout


class Snapshot(NamedTuple):
    """A snapshot that was read and is what was written."""

    header: Header
    exchange: Exchange


class OtherCodeError(ConfigError):
    """Say that a state was written by code that this code cannot go on from."""


# -------------------------------------------------------------------- files


def snapshot_path(folder: Path, number: int) -> Path:
    """Return the path of the snapshot whose first journal record has this number."""
    return folder / f"snapshot-{number:020}.state"


def snapshots(folder: Path) -> list[tuple[int, Path]]:
    """Return the snapshots with the number of the first record not in each, in order."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def write_snapshot(folder: Path, number: int, exchange: Exchange) -> Header:
    """Write a snapshot, read it back, and only then give it its name. O(state).

    Raises:
        OSError: it cannot be written.
        Damaged: the file is not what was written.
        OtherCodeError: read back, the state is not the one that was written.
    """
    path = snapshot_path(folder, number)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    header, content = _encoded(number, exchange)
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        read_snapshot(unfinished)
        unfinished.rename(path)
        sync_folder(folder)
    finally:
        unfinished.unlink(missing_ok=True)
    return header


def read_snapshot(path: Path, fresh: Callable[[], Exchange] | None = None) -> Snapshot:
    """Return a snapshot; where other code wrote it, a `fresh` venue is what it has to fit.

    Without one, the state is held against its hash in any case.

    Raises:
        Damaged: the file is not what was written.
        OtherCodeError: this code cannot go on from it.
    """
    header, state = _checked(path)
    if header.state_version != STATE_VERSION:
        raise _other(path, header, f"state version {header.state_version}, not {STATE_VERSION}")
    foreign = fresh is None or header.code != code_digest()
    if fresh is not None and foreign:
        difference = layout_difference(header.layout, survey(fresh())[1])
        if difference:
            raise _other(path, header, difference)
    try:
        exchange = load(state)
        # The same bytes and the same code make the same state: its hash, which takes a while, is
        # for what was just written, and for what other code wrote.
        digest = state_hash(exchange) if foreign else header.state_hash
    except (Conflict, AttributeError) as error:
        raise _other(path, header, str(error)) from None
    if digest != header.state_hash:
        raise _other(path, header, f"its hash is {digest}, not {header.state_hash}")
    return Snapshot(header, exchange)


@cache
def code_digest() -> str:
    """Return 16 hex digits of the code that decides what a venue does."""
    digest = blake2b(digest_size=8)
    for package in (touchstone.exchange, lob):
        folder = Path(str(package.__file__)).parent
        for path in sorted([*folder.rglob("*.py"), *folder.glob("*.so"), *folder.glob("*.json")]):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _encoded(number: int, exchange: Exchange) -> tuple[Header, bytes]:
    state = dump(exchange)
    digest, layout = survey(exchange)
    header = Header(
        number=number,
        now_ns=exchange.now_ns,
        state_version=STATE_VERSION,
        state_hash=digest,
        state_bytes=len(state),
        checksum=_checksum(state),
        code=code_digest(),
        layout=layout,
    )
    encoded = msgspec.json.encode(header)
    first_line = b"TSXSNAP %d %d %d\n" % (VERSION, len(encoded), zlib.crc32(encoded))
    return header, first_line + encoded + state


def _checked(path: Path) -> tuple[Header, bytes]:
    content = path.read_bytes()
    match = _FIRST_LINE.match(content[:_FIRST_LINE_BYTES_MAX])
    if match is None:
        raise Damaged(f"{path}: byte 0: no snapshot of the paper exchange")
    version, length, checksum = map(int, match.groups())
    if version != VERSION:
        raise Damaged(f"{path}: snapshot version {version}; this is for version {VERSION}")
    encoded = content[match.end() : match.end() + length]
    if zlib.crc32(encoded) != checksum:
        raise Damaged(f"{path}: byte {match.end()}: the header is damaged")
    header = msgspec.json.decode(encoded, type=Header)
    state = content[match.end() + length :]
    if len(state) != header.state_bytes or _checksum(state) != header.checksum:
        raise Damaged(f"{path}: byte {match.end() + length}: the state is damaged")
    return header, state


def _checksum(state: bytes) -> str:
    return blake2b(state, digest_size=16).hexdigest()


def _other(path: Path, header: Header, why: str) -> OtherCodeError:
    return OtherCodeError(
        f"{path}: this code ({code_digest()}) cannot go on from a state of other code"
        f" ({header.code}): {why}; run that version, or start anew: {START_ANEW}"
    )


# -------------------------------------------------------------------- forked


class ForkedSnapshot:
    """A snapshot that a forked child writes while its parent goes on.

    The child has the state as it was at the fork; it takes no part in anything else: it closes what
    it inherited, so that no connection outlives its end, and leaves without any clean-up.
    """

    def __init__(self, folder: Path, number: int, exchange: Exchange) -> None:
        self.number = number
        self._complaint = folder / f"snapshot-{number:020}.failed"
        self.failure = ""
        self.pid = os.fork()
        if self.pid == 0:
            _child(folder, number, exchange, self._complaint)

    def ended(self) -> bool:
        """Say whether the child is done; `failure` then says why there is no snapshot, if so."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return False
        if status:
            self.failure = f"its writer ended with status {status}"
            with contextlib.suppress(OSError):
                self.failure = self._complaint.read_text() or self.failure
                self._complaint.unlink()
        return True

    def give_up(self) -> None:
        """End the child and wait for it."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _child(folder: Path, number: int, exchange: Exchange, complaint: Path) -> NoReturn:
    status = 1
    try:
        gc.disable()
        signal.set_wakeup_fd(-1)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)
        os.closerange(_LOWEST_FILE, os.sysconf("SC_OPEN_MAX"))
        os.nice(_NICENESS)
        write_snapshot(folder, number, exchange)
        status = 0
    except (OSError, Fault) as error:
        with contextlib.suppress(OSError):
            complaint.write_text(str(error))
    finally:
        os._exit(status)
