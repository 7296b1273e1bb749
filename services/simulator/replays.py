"""Replays of feed files: in a thread, bounded in number, and stopped with their caller."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lob.errors import Conflict, InvalidInput, NotFound, Overloaded
from lob.replay import LobsterReplay

MAX_PATH: Final = 512


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
    """Rebuild books from LOBSTER message files below `folder`; None refuses every path."""

    def __init__(self, folder: Path | None, max_replays: int) -> None:
        self._folder = None if folder is None else folder.resolve()
        self._max_replays = max_replays
        self._executor = ThreadPoolExecutor(max_replays, thread_name_prefix="replay")
        self.running = 0

    def close(self) -> None:
        """Wait for threads whose callers have left, and take no more."""
        self._executor.shutdown(cancel_futures=True)

    async def run(self, path: str) -> AsyncGenerator[ReplayStep, None]:
        """Replay a file and yield its progress, the last step done.

        Raises:
            InvalidInput: the path leads out of the folder, or the file is not what it should be.
            NotFound: there is no such file.
            Overloaded: as many replays as allowed are running.
            Conflict: no folder is configured.
        """
        file = self._file(path)
        if self.running >= self._max_replays:
            raise Overloaded(f"{self.running} replays are running; allowed: {self._max_replays}")
        self.running += 1
        progress = _Progress()
        working = asyncio.get_running_loop().run_in_executor(
            self._executor, _replay, file, progress
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

    def _file(self, path: str) -> Path:
        if self._folder is None:
            raise Conflict("replay: no folder; TOUCHSTONE_SIMULATOR_REPLAY_DIR names one")
        if not path or len(path) > MAX_PATH or not path.isprintable():
            raise InvalidInput(f"path: {path[:MAX_PATH]!r}; allowed: 1 to {MAX_PATH} characters")
        file = (self._folder / path).resolve()
        if not file.is_relative_to(self._folder):
            raise InvalidInput(f"path: {path!r}; allowed: a path below the replay folder")
        if not file.is_file():
            raise NotFound(f"path: {path!r} is no file below the replay folder")
        return file


def _replay(file: Path, progress: _Progress) -> ReplayStep:
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
