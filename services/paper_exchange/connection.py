"""One client of the feed: what it listens to, its sequence, and what still waits to reach it.

What is sent goes to the transport at once. The bound is on what the transport could not hand to
the kernel yet: in bytes, and in how far behind the client is. Beyond either it is cut off.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.paper_exchange.feed_events import Message

CLOSE_POLICY: Final = 1008
_TOO_MUCH: Final = "too slow: more waits to be read than is kept"
_TOO_LATE: Final = "too slow: too far behind"


class Frames(Protocol):
    """Where text frames go."""

    def send(self, *pieces: bytes) -> None:
        """Send the pieces as one text frame; never waits."""
        ...

    def waiting_bytes(self) -> int:
        """Return how much the kernel has not taken yet."""
        ...

    def abort(self) -> None:
        """End the connection at once, without a word."""
        ...


@dataclass(eq=False, kw_only=True)
class Connection:
    """A client; `address` is where it comes from, `account` whose orders it may see."""

    number: int
    address: str
    frames: Frames
    queue_bytes: int
    monotonic: Callable[[], float]
    subscriptions: dict[str, dict[str, None]] = field(default_factory=dict)
    account: str | None = None
    sequence: int = 0
    heartbeats: int = 0
    written_bytes: int = 0
    last_sent: float = 0.0
    subscribed: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    end_code: int = CLOSE_POLICY
    end_reason: str = ""
    was_cut_off: bool = False
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        """Begin to count silence now."""
        self.last_sent = self.monotonic()

    def send(self, message: Message) -> None:
        """Send one message under the next sequence number."""
        sequence = self.sequence
        self.sequence = sequence + 1
        self.put(message, sequence)

    def put(self, message: Message, sequence: int) -> None:
        """Send a message under this number; cut the client off where too much waits already."""
        if self.ended.is_set():
            return
        number = b"%d" % sequence
        self.frames.send(message.head, number, message.tail)
        self.written_bytes += len(message.head) + len(number) + len(message.tail)
        self.last_sent = self.monotonic()
        self._check_queue()

    def fail(self, text: str) -> None:
        """Send an error; errors carry no sequence number."""
        if not self.ended.is_set():
            error = {"type": "error", "message": text}
            self.frames.send(json.dumps(error, separators=(",", ":")).encode())
            self._check_queue()

    def check_pace(self, behind_seconds: float) -> None:
        """Cut the client off where what was sent `behind_seconds` ago still waits; O(seconds)."""
        now = self.monotonic()
        marks = self._marks
        taken = self.written_bytes - self.frames.waiting_bytes()
        overdue = False
        while marks and marks[0][0] <= now - behind_seconds:
            overdue = marks.popleft()[1] > taken
        if overdue:
            self.cut_off(_TOO_LATE)
        marks.append((now, self.written_bytes))

    def cut_off(self, reason: str) -> None:
        """End the connection at once: nobody reads there who could be told."""
        if self.ended.is_set():
            return
        self.was_cut_off = True
        self.end(reason)
        self.frames.abort()

    def end(self, reason: str, code: int = CLOSE_POLICY) -> None:
        """Have the connection closed, with a code and a reason; the first one counts."""
        if not self.ended.is_set():
            self.end_code, self.end_reason = code, reason
            self.ended.set()

    def _check_queue(self) -> None:
        if self.frames.waiting_bytes() > self.queue_bytes:
            self.cut_off(_TOO_MUCH)
