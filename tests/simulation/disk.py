"""A machine's disk: what a dead process appended stays, what was not synced a power cut may take.

The journal's own code runs on real files (in memory, where the machine has such a folder); only its
system calls come through here.
"""

import asyncio
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.simulation.loop import VirtualLoop, World

SYNC_SECONDS: Final = (0.00005, 0.002)
SLOW_SYNC_SECONDS: Final = (0.05, 0.4)


class Machine:
    """The files of one seed, and how much of each the disk surely has."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.synced: dict[str, int] = {}
        self._rng = rng

    def cut_power(self) -> int:
        """Lose a part of what was not synced, at random; return how many bytes."""
        lost = 0
        for path in sorted(self.folder.rglob("journal-*")):
            size = path.stat().st_size
            synced = min(self.synced.get(str(path), 0), size)
            kept = self._rng.choice((synced, size, self._rng.randint(synced, size)))
            if kept < size:
                lost += size - kept
                os.truncate(path, kept)
        return lost


class ProcessFiles:
    """The `os` module as one process's journal sees it, until that process dies."""

    def __init__(
        self,
        machine: Machine,
        world: World,
        rng: random.Random,
        *,
        slow: Callable[[], bool],
        broken: Callable[[], bool],
    ) -> None:
        self.machine = machine
        self.alive = True
        self.writes = 0
        self.crash_at_write: int | None = None
        self.on_crash: Callable[[], None] = lambda: None
        self._world = world
        self._rng = rng
        self._slow = slow
        self._broken = broken
        self._paths: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        """Open a file; a new one is not on the disk yet."""
        opened = os.open(path, flags, mode)
        self._paths[opened] = str(path)
        return opened

    def write(self, file: int, content: bytes) -> int:
        """Append; the process may die right before it, or right after."""
        if not self.alive:
            return len(content)
        if self._broken():
            raise OSError(errno.ENOSPC, "No space left on device")
        self.writes += 1
        last = self.writes == self.crash_at_write
        if last and self._rng.random() < 0.5:
            self.on_crash()
            return len(content)
        written = os.write(file, content)
        if last:
            self.on_crash()
        return written

    def fdatasync(self, file: int) -> None:
        """Have the disk take everything, at once."""
        if self.alive:
            if self._broken():
                raise OSError(errno.EIO, "Input/output error")
            self._took(file, os.fstat(file).st_size)

    fsync = fdatasync

    def close(self, file: int) -> None:
        """Close a file."""
        os.close(file)

    def sync(self, loop: VirtualLoop, act: Callable[..., Any], *arguments: Any) -> Any:
        """Do in virtual time what was handed to the disk's thread; stands for `run_in_executor`."""
        future: asyncio.Future[Any] = loop.create_future()
        if act != self.fdatasync:
            loop.call_later(0.0001, _complete, future, act, arguments)
            return future
        size = os.fstat(arguments[0]).st_size
        seconds = self._rng.uniform(*(SLOW_SYNC_SECONDS if self._slow() else SYNC_SECONDS))
        broken = self._broken()

        def done() -> None:
            if not self.alive or future.done():
                return
            if broken:
                future.set_exception(OSError(errno.EIO, "Input/output error"))
                return
            self._took(arguments[0], size)
            future.set_result(None)

        loop.call_later(seconds, done)
        return future

    def _took(self, file: int, size: int) -> None:
        path = self._paths.get(file, "")
        self.machine.synced[path] = max(size, self.machine.synced.get(path, 0))


def _complete(future: "asyncio.Future[Any]", act: Callable[..., Any], arguments: Any) -> None:
    try:
        result = act(*arguments)
    except Exception as error:  # noqa: BLE001 - handed to whoever waits
        future.set_exception(error)
    else:
        future.set_result(result)
