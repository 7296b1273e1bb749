"""Faults on the feed's messages, between the feed and each connection.

A message has its number before anything happens to it, so that what is lost shows as a gap and what
comes twice or out of order shows as that.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.paper_exchange.connection import Connection
from services.paper_exchange.faults import FaultBook, FaultKind, FaultRule
from services.paper_exchange.feed_events import Message

Numbered = tuple[Message, int]
Later = Callable[[float, Callable[[], None]], object]


@dataclass(slots=True)
class _Held:
    """What a connection has not got yet: everything since a delay began, or one to be swapped."""

    delays: int = 0
    queue: list[Numbered] = field(default_factory=list)
    queue_bytes: int = 0
    swapped: Numbered | None = None


class FeedFaults:
    """Deliver messages as the faults in force say; `later` calls something after some seconds."""

    def __init__(self, book: FaultBook, later: Later | None = None) -> None:
        self.book = book
        self._later = later or call_later
        self._held: dict[Connection, _Held] = {}

    def armed(self) -> bool:
        """Say whether messages have to come this way."""
        return self.book.feed_armed or bool(self._held)

    def forget(self, connection: Connection) -> None:
        """Drop what a connection that is gone has not got."""
        self._held.pop(connection, None)

    def deliver(self, connection: Connection, message: Message) -> None:
        """Give one message to a connection, or do something wrong with it."""
        rule = self.book.on_feed(message.channel, connection.account)
        kind = None if rule is None else rule.kind
        if rule is not None and kind is FaultKind.SEQUENCE_GAP:
            connection.sequence += rule.gap
        numbered = (message, connection.sequence)
        connection.sequence += 1
        if rule is None or kind is FaultKind.SEQUENCE_GAP:
            self._pass(connection, numbered)
        elif kind is FaultKind.DUPLICATE:
            self._pass(connection, numbered)
            self._pass(connection, numbered)
        elif kind is FaultKind.REORDER:
            self._swap(connection, numbered, rule)
        elif kind is FaultKind.DELAY:
            self._delay(connection, numbered, rule)
        elif kind is FaultKind.DISCONNECT:
            _disconnect(connection, rule)
        # Dropped otherwise: the number is used and nothing is sent.

    def _pass(self, connection: Connection, numbered: Numbered) -> None:
        held = self._held.get(connection)
        if held is not None and held.delays:
            _keep(connection, held, numbered)
            return
        connection.put(*numbered)
        if held is not None:
            self._release_swapped(connection, held)

    def _swap(self, connection: Connection, numbered: Numbered, rule: FaultRule) -> None:
        """Keep a message until the next one has gone, or for the rule's delay."""
        held = self._held.setdefault(connection, _Held())
        if held.swapped is not None:
            self._pass(connection, numbered)
            return
        held.swapped = numbered

        def give_up() -> None:
            if held.swapped is numbered:
                self._release_swapped(connection, held)

        self._later(rule.seconds, give_up)

    def _release_swapped(self, connection: Connection, held: _Held) -> None:
        numbered, held.swapped = held.swapped, None
        if numbered is not None:
            connection.put(*numbered)
        self._tidy(connection, held)

    def _delay(self, connection: Connection, numbered: Numbered, rule: FaultRule) -> None:
        """Keep a message, and with it all that follows: a delay does not change the order."""
        held = self._held.setdefault(connection, _Held())
        held.delays += 1
        _keep(connection, held, numbered)

        def release() -> None:
            held.delays -= 1
            if not held.delays:
                queue, held.queue, held.queue_bytes = held.queue, [], 0
                for one in queue:
                    connection.put(*one)
                self._tidy(connection, held)

        self._later(rule.seconds, release)

    def _tidy(self, connection: Connection, held: _Held) -> None:
        if not held.delays and held.swapped is None:
            self._held.pop(connection, None)


def _keep(connection: Connection, held: _Held, numbered: Numbered) -> None:
    """Keep a message for later, as far as what waits for a connection may go."""
    held.queue.append(numbered)
    held.queue_bytes += len(numbered[0].tail)
    if held.queue_bytes > connection.queue_bytes:
        connection.cut_off("fault on demand: more is delayed than is kept")


def _disconnect(connection: Connection, rule: FaultRule) -> None:
    """End a connection: with the rule's close code, or without a word."""
    if rule.code is not None:
        connection.end("fault on demand", rule.code)
        return
    connection.end("fault on demand")
    connection.frames.abort()


def call_later(seconds: float, call: Callable[[], None]) -> object:
    """Have the running event loop call something after so many seconds."""
    return asyncio.get_running_loop().call_later(seconds, call)
