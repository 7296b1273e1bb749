"""What a sender needs to be closed in time: a lease that ends by itself, and the send gate.

A kill is known to be obeyed when every sender has said so, or can no longer send. The first takes
a gate (nothing that was checked before is still on its way), the second a lease (whoever cannot be
reached stops by himself).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

LEASE_SECONDS: Final = 0.5
"""How long one renewal permits new risk. One value for all: who kills waits as long."""
DRAIN_SECONDS: Final = 0.1
"""How long what was checked just before the end may take to be handed over."""


class Lease:
    """Permission that expires: held until `seconds` after the last granted renewal was *asked for*.

    Counting from before the question means that the holder's lease ends no later than it would by
    the clock of whoever granted it; the two clocks only have to run at the same rate.
    """

    def __init__(
        self, seconds: float = LEASE_SECONDS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._monotonic = monotonic
        self._until = float("-inf")
        self._over = False

    def renew(self, asked_at: float) -> None:
        """Extend the lease; `asked_at` is the monotonic time before the renewal was sent."""
        if not self._over:
            self._until = max(self._until, asked_at + self.seconds)

    def end(self) -> None:
        """End the lease now and for good: an answer that is still on its way changes nothing."""
        self._over = True
        self._until = float("-inf")

    def seconds_left(self) -> float:
        """Return how long the lease holds; 0 where it has lapsed or was never granted."""
        return max(0.0, self._until - self._monotonic())

    @property
    def held(self) -> bool:
        """Return whether the lease holds now."""
        return self._monotonic() < self._until


class SendGate:
    """The gate between "checked" and "handed to the socket" of one asyncio process.

    A sender takes a `passage`, checks inside it, hands over, and leaves: the shared side. Whoever
    applies a kill first changes what the check sees and then waits with `drained` for the passages
    that were open at that moment: the exclusive side.

    No lock is needed for that. One event loop runs everything, so a check and the hand-over after
    it cannot be torn apart unless the sender awaits in between; and a passage that begins after
    the change is refused by its own check, so it need not be kept out. What is left to wait for is
    a passage with an await inside (a socket's own `send`), and that is counted here. Such a wait
    cannot be starved by new passages, because it never waits for them.
    """

    def __init__(self) -> None:
        self._next = 0
        self._open: set[int] = set()
        self._ended = asyncio.Event()

    @property
    def open_passages(self) -> int:
        """Return how many passages are open now."""
        return len(self._open)

    @contextlib.contextmanager
    def passage(self) -> Iterator[None]:
        """Hold the shared side; check inside, and leave once the order is handed over."""
        ticket = self.enter()
        try:
            yield
        finally:
            self.leave(ticket)

    def enter(self) -> int:
        """Begin a passage and return its ticket; for passages that are no `with` block."""
        ticket = self._next
        self._next += 1
        self._open.add(ticket)
        return ticket

    def leave(self, ticket: int) -> None:
        """End a passage; one that has ended already stays so."""
        self._open.discard(ticket)
        self._ended.set()

    def mark(self) -> int:
        """Return the point in time that `drained` waits for: passages from now on lie behind it."""
        return self._next

    async def drained(self, mark: int) -> None:
        """Return when no passage that began before `mark` is open any more."""
        while any(ticket < mark for ticket in self._open):
            self._ended.clear()
            await self._ended.wait()
