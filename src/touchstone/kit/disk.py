"""Have the disk know a file, in a thread, and tell the event loop: one file at a time.

The native thread needs Python's lock neither to wait nor to tell: beside a loop that computes, a
thread of Python's waits for the lock as long again as for the disk. Where the native part was not
built, or the system is not Linux, a thread of Python's does the same.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lob._core import DiskThread

Over = Callable[[OSError | None], None]
"""Called in the event loop with what went wrong, or None."""


class Disk(Protocol):
    """Whatever waits for the disk."""

    def begin(self, file: int, over: Over) -> None:
        """Sync what a descriptor stands for, and call `over`; the last one has to be over."""

    def close(self) -> None:
        """Wait for what is under way, of which nobody is told any more, and end. Idempotent."""


def open_disk() -> Disk:
    """Return the fastest that there is here."""
    try:
        from lob._core import DiskThread  # noqa: PLC0415 - not everywhere
    except ImportError:
        return PythonDisk()
    return NativeDisk(DiskThread())


class NativeDisk:
    """Wait in a thread of C++, which tells by a descriptor that the loop watches."""

    def __init__(self, thread: "DiskThread") -> None:
        self._thread = thread
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: Over | None = None

    def begin(self, file: int, over: Over) -> None:
        """Sync a file, and call `over`; the last one has to be over."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._leave()
            loop.add_reader(self._thread.fileno(), self._end)
            self._loop = loop
        self._thread.begin(file)
        self._over = over

    def _end(self) -> None:
        error = self._thread.finish()
        over = self._over
        if error is None or over is None:
            return
        self._over = None
        over(OSError(error, os.strerror(error)) if error else None)

    def close(self) -> None:
        """Wait for what is under way, of which nobody is told any more, and end. Idempotent."""
        self._leave()
        self._thread.close()

    def _leave(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._thread.fileno())
        self._loop = None


class PythonDisk:
    """Wait in a thread of Python's."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "disk")
        self._over: Over | None = None

    def begin(self, file: int, over: Over) -> None:
        """Sync a file, and call `over`; the last one has to be over."""
        self._over = over
        work = asyncio.get_running_loop().run_in_executor(self._thread, os.fdatasync, file)
        work.add_done_callback(self._end)

    def _end(self, work: "asyncio.Future[None]") -> None:
        over, self._over = self._over, None
        if over is None or work.cancelled():
            return
        error = work.exception()
        over(error if error is None or isinstance(error, OSError) else OSError(str(error)))

    def close(self) -> None:
        """Wait for what is under way, of which nobody is told any more, and end. Idempotent."""
        self._over = None
        self._thread.shutdown(wait=True)
