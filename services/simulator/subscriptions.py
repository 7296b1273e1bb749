"""Who listens to a session's events: a bounded queue each."""

import asyncio
from typing import NamedTuple

from lob.errors import NotFound, Overloaded
from lob.live_market import is_own
from lob.types import Event


class SourceEnded(NamedTuple):
    """Say that a session's file has no more; `unfitting` messages did not fit the book."""

    unfitting: int


class Numbered(NamedTuple):
    """An event with its place in the session, from 1, and the session's time."""

    sequence: int
    event: Event | SourceEnded
    now_ns: int

    @property
    def own(self) -> bool:
        """Say whether it concerns the caller's own orders, or everybody."""
        return isinstance(self.event, SourceEnded) or is_own(self.event)


class Subscription:
    """One listener's bounded queue: `lag` once it was full, `ended` once the session is over."""

    def __init__(self, queue_size: int, *, own_only: bool = False) -> None:
        self._queue: asyncio.Queue[Numbered] = asyncio.Queue(queue_size)
        self._stopped = asyncio.Event()
        self._lagged = False
        self._own_only = own_only

    def offer(self, event: Numbered) -> bool:
        """Queue an event; where there is no room, stop the subscription and return False."""
        if self._own_only and not event.own:
            return True
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.lag()
            return False
        return True

    def lag(self) -> None:
        """Cut the listener off."""
        self._lagged = True
        self._stopped.set()

    def room(self) -> int:
        """Return how many more events it takes before it is cut off."""
        return self._queue.maxsize - self._queue.qsize()

    def end(self) -> None:
        """Stop after what is queued."""
        self._stopped.set()

    async def next(self) -> Numbered:
        """Return the next event.

        Raises:
            Overloaded: the listener fell behind and was cut off.
            NotFound: the session is over.
        """
        while True:
            if self._lagged:
                raise Overloaded("the subscriber fell behind and was cut off; read GetBook again")
            if not self._queue.empty():
                return self._queue.get_nowait()
            if self._stopped.is_set():
                raise NotFound("session_id: the session has ended; nothing more will happen in it")
            getting = asyncio.ensure_future(self._queue.get())
            stopping = asyncio.ensure_future(self._stopped.wait())
            try:
                await asyncio.wait({getting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    return getting.result()
            finally:
                getting.cancel()
                stopping.cancel()
