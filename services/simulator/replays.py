"""Replays of feed files: in a thread, bounded in number, and stopped with their caller."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from lob.errors import Conflict, InvalidInput, NotFound, Overloaded
from lob.feeds import Feed, detect_format, open_feed, own_instrument, reader_class
from lob.live_feed import BLOCK_ROWS
from lob.replay import FeedReplay, LobsterReplay
from lob.types import AssetClass, Instrument
from touchstone.kit.errors import field_of

MAX_PATH: Final = 512


class ReplayAsked(NamedTuple):
    """A file below the folder; without a format it is found, without a symbol it has one.

    Tick and lot size are for a file that does not say its scale.
    """

    path: str
    format: str = ""
    symbol: str = ""
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """How far a replay is; the last step has the summary."""

    messages: int
    messages_total: int
    done: bool = False
    summary: dict[str, int] = field(default_factory=dict)
    state_hash: str = ""


class _CallerLeftError(Exception):
    """Stop a replay whose caller has gone."""


class _Progress:
    """The latest step of a replay, handed from its thread to the loop; steps in between are lost.

    So a caller that reads slowly makes nothing pile up.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._left = threading.Event()
        self.latest: ReplayStep | None = None

    def tell(self, messages: int, total: int) -> None:
        """Take the news, in the replay's thread."""
        if self._left.is_set():
            raise _CallerLeftError
        self.latest = ReplayStep(messages, total)
        self._loop.call_soon_threadsafe(self._news.set)

    def leave(self) -> None:
        """Say that nobody listens any more."""
        self._left.set()

    def finished(self) -> None:
        """Wake the listener for the last time."""
        self._news.set()

    async def news(self) -> None:
        """Return when there is something new."""
        await self._news.wait()
        self._news.clear()


class Replays:
    """Rebuild books from files of orders below `folder`; None refuses every path."""

    def __init__(self, folder: Path | None, max_replays: int) -> None:
        self._folder = folder
        self._max_replays = max_replays
        self._executor = ThreadPoolExecutor(max_replays, thread_name_prefix="replay")
        self.running = 0

    def close(self) -> None:
        """Wait for threads whose callers have left, and take no more."""
        self._executor.shutdown(cancel_futures=True)

    async def run(self, asked: ReplayAsked) -> AsyncGenerator[ReplayStep, None]:
        """Replay a file and yield its progress, the last step done.

        Raises:
            InvalidInput: the path leads out of the folder, or the file is not what it should be.
            NotFound: there is no such file.
            Overloaded: as many replays as allowed are running.
            Conflict: no folder is configured.
        """
        file = file_below(self._folder, asked.path)
        if self.running >= self._max_replays:
            raise Overloaded(f"{self.running} replays are running; allowed: {self._max_replays}")
        self.running += 1
        progress = _Progress()
        working = asyncio.get_running_loop().run_in_executor(
            self._executor, _replay, file, asked, progress
        )
        working.add_done_callback(lambda done: self._ended(progress, done))
        try:
            while not working.done():
                await progress.news()
                step = progress.latest
                if step is not None and not working.done():
                    yield step
            yield working.result()
        finally:
            progress.leave()

    def _ended(self, progress: _Progress, done: "asyncio.Future[ReplayStep]") -> None:
        self.running -= 1
        if not done.cancelled():
            done.exception()  # looked at, because a caller who has left never will
        progress.finished()


def file_below(folder: Path | None, path: str) -> Path:
    """Return the file of a path below a folder.

    Raises:
        InvalidInput: the path leads out of the folder.
        NotFound: there is no such file.
        Conflict: there is no folder.
    """
    if folder is None:
        raise Conflict("path: no folder to read; TOUCHSTONE_SIMULATOR_REPLAY_DIR names one")
    if not path or len(path) > MAX_PATH or not path.isprintable():
        raise InvalidInput(f"path: {path[:MAX_PATH]!r}; allowed: 1 to {MAX_PATH} characters")
    folder = folder.resolve()
    file = (folder / path).resolve()
    if not file.is_relative_to(folder):
        raise InvalidInput(f"path: {path!r}; allowed: a path below the replay folder")
    if not file.is_file():
        raise NotFound(f"path: {path!r} is no file below the replay folder")
    return file


def format_of(file: Path, name: str) -> str:
    """Return the format named, or that of the file.

    Raises:
        InvalidInput: no such format, or a file of none.
    """
    if name:
        reader_class(name)
        return name
    try:
        return detect_format(file)
    except InvalidInput as fault:
        raise _of_the_path(file, fault) from None


def open_below(file: Path, asked: ReplayAsked) -> Feed:
    """Return a reader of a file, of its own scale, else of the one asked for.

    Raises:
        InvalidInput: no scale, or two that differ; a file that is not what it should be.
    """
    try:
        name, symbol = format_of(file, asked.format), asked.symbol or None
        instrument = _scaled(file, name, asked)
        return open_feed(
            file, format=name, instrument=instrument, symbol=symbol, block_rows=BLOCK_ROWS
        )
    except InvalidInput as fault:
        raise _of_the_path(file, fault) from None


def _scaled(file: Path, name: str, asked: ReplayAsked) -> Instrument:
    """Return a file's own instrument, else one of the scale asked for."""
    own = own_instrument(file, name, symbol=asked.symbol or None)
    for size in ("tick_size", "lot_size"):
        wanted, has = getattr(asked, size), None if own is None else getattr(own, size)
        if wanted is not None and has not in {None, wanted}:
            raise InvalidInput(f"{size}: {wanted}; allowed for this file: {has}")
        if wanted is None and own is None:
            why = f"the {name} file does not say it"
            raise InvalidInput(f"{size}: missing; allowed: a number above 0, as {why}")
    if own is not None:
        return own
    return Instrument(
        symbol=asked.symbol or file.name,
        asset_class=AssetClass.EQUITY,
        tick_size=asked.tick_size or Decimal(1),
        lot_size=asked.lot_size or Decimal(1),
    )


def _of_the_path(file: Path, fault: InvalidInput) -> InvalidInput:
    """Return a fault that names the request's field, and the file by its name alone."""
    text = str(fault).replace(str(file), file.name)
    named = {"format", "symbol", "tick_size", "lot_size"}
    return fault if field_of(fault) in named else InvalidInput(f"path: {text}")


def _replay(file: Path, asked: ReplayAsked, progress: _Progress) -> ReplayStep:
    if format_of(file, asked.format) == "lobster":
        return _replay_lobster(file, progress)
    replay = FeedReplay(open_below(file, asked), progress=progress.tell)
    summary = replay.run()
    counts = {
        "messages": summary.messages,
        "records": summary.records,
        "trades": summary.trades,
        "initial_orders": summary.snapshot_orders,
        "resting_orders": len(replay.book),
        "crossed": summary.crossed_count,
    }
    counts |= {f"type_{kind}": count for kind, count in summary.by_type.items()}
    counts |= {f"unusable_{reason}": count for reason, count in summary.unusable.items()}
    counts |= {f"refused_{reason}": count for reason, count in summary.refused.items()}
    read = replay.feed.bytes_total
    return ReplayStep(read, read, True, counts, replay.book.state_hash())


def _replay_lobster(file: Path, progress: _Progress) -> ReplayStep:
    replay = LobsterReplay(file, progress=progress.tell)
    summary = replay.run()
    counts = {
        "messages": summary.messages,
        "initial_orders": summary.initial_orders,
        "resting_orders": len(replay.book),
        "crossed": summary.crossed_count,
    }
    counts |= {f"type_{kind}": count for kind, count in summary.by_type.items()}
    counts |= {f"unusable_{reason}": count for reason, count in summary.unusable.items()}
    return ReplayStep(summary.messages, summary.messages, True, counts, replay.book.state_hash())
