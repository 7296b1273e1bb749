"""Constant-rate load on a router over HTTP, and what it answered.

Open loop: requests are due at a constant rate whatever the answers do, and each latency counts from
when the request was due, so that a router that stalls is charged for all that waited. Connections
are kept alive and carry one request at a time.
"""

import gc
import json
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

CONNECTIONS: Final = 32
PATIENCE_SECONDS: Final = 10.0
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_BLANK: Final = b"\r\n\r\n"
_READ_BYTES: Final = 65_536


BEFORE_SECONDS: Final = 0.02
"""The router settles the last orders, resting in between, before it sends more of them."""
AFTER_SECONDS: Final = 0.01
RUNS_NS: Final = 150_000
"""What a process computes between two looks when it is at an order; just waking is less."""
SHARE_MAX: Final = 0.5
"""Where it computes for longer, too little is left that it had no part in."""


@dataclass(slots=True)
class Block:
    """What a block of load gave: latencies in seconds, and what is odd about the answers.

    `due_at` has when each of them was due, `looks` times with what the watched process had computed
    by then (nanoseconds; it falls where another one took its place).
    """

    latencies: list[float] = field(default_factory=list)
    due_at: list[float] = field(default_factory=list)
    looks: list[tuple[float, int]] = field(default_factory=list)
    failed: int = 0
    changed: int = 0
    cpu_seconds: float = 0.0

    def quantile(self, share: float) -> float:
        """Return a quantile of the latencies, in seconds; the nearest rank."""
        return _quantile(self.latencies, share)

    def apart(self) -> tuple[list[float], float]:
        """Return the latencies that the watched process had no part in, and the others' share.

        The others were under way while it computed, or a little before or after.
        """
        at, computed = (np.array(column) for column in zip(*self.looks, strict=True))
        ran = np.flatnonzero((np.diff(computed) > RUNS_NS) | (np.diff(computed) < 0))
        starts, ends = at[ran] - BEFORE_SECONDS, at[ran + 1] + AFTER_SECONDS
        due = np.array(self.due_at)
        answered = due + self.latencies
        # Both are in order: the last burst that began before the answer ended before it was due.
        last = np.searchsorted(starts, answered) - 1
        apart = (last < 0) | (ends[last] < due) if len(ran) else np.ones(len(due), bool)
        return np.array(self.latencies)[apart].tolist(), 1.0 - float(np.mean(apart))

    def within(self) -> tuple[float | None, float]:
        """Return the p99 over that of the requests apart, and the share of the others.

        No ratio where there are too few apart.
        """
        apart, share = self.apart()
        if share > SHARE_MAX:
            return None, share
        return self.quantile(0.99) / _quantile(apart, 0.99), share

    def computed_share(self) -> float:
        """Return what share of one processor the watched process has had."""
        at, computed = (np.array(column) for column in zip(*self.looks, strict=True))
        return float(np.diff(computed).clip(0).sum() / 1e9 / (at[-1] - at[0]))


def _quantile(latencies: Sequence[float], share: float) -> float:
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request_bodies() -> list[bytes]:
    """Return the bodies that are sent in turn: ten levels a side, both sides, several symbols."""
    bodies = []
    for index, symbol in enumerate(("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "META", "TSLA")):
        for side, quantity in (("BUY", 10), ("SELL", 150), ("BUY", 420), ("SELL", 7)):
            tick = 100 + index
            body = {
                "order": {"symbol": symbol, "side": side, "quantity": str(quantity)},
                "market": {
                    "timestamp_ms": 1_700_000_000_000 + index,
                    "bids": [[f"{tick - 0.01 * n:.2f}", str(100 + n)] for n in range(1, 11)],
                    "asks": [[f"{tick + 0.01 * n:.2f}", str(100 + n)] for n in range(1, 11)],
                    "last_price": str(tick),
                    "adv_notional": "100000000",
                    "volatility": "0.02",
                },
                "bar": {
                    "open": str(tick),
                    "high": str(tick + 1),
                    "low": str(tick - 1),
                    "close": str(tick),
                    "volume": "10000",
                    "duration_ms": 60_000,
                },
                "asset_class": "EQUITY",
            }
            bodies.append(json.dumps(body, separators=(",", ":")).encode())
    return bodies


def request_of(body: bytes, port: int) -> bytes:
    """Return an HTTP request for an execution."""
    return (
        b"POST /v1/executions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    ) % (port, len(body), body)


@dataclass(slots=True, eq=False)
class _Connection:
    """A kept connection; one request at a time."""

    sock: socket.socket
    due_at: float = 0.0
    index: int = 0
    received: bytes = b""

    def answer(self) -> tuple[bool, bytes] | None:
        """Read, and return whether the answer is a good one and its body; None until it is whole.

        Raises:
            ConnectionError: the router has closed the connection.
        """
        read = self.sock.recv(_READ_BYTES)
        if not read:
            raise ConnectionError("closed")
        self.received += read
        end = self.received.find(_BLANK)
        length = _LENGTH.search(self.received, 0, end + 2) if end >= 0 else None
        if length is None or len(self.received) < end + 4 + int(length[1]):
            return None
        whole, self.received = self.received, b""
        return whole.startswith(b"HTTP/1.1 200"), whole[end + 4 :]


class Load:
    """Send requests at a constant rate over kept connections, one thread, no loop of its own.

    `select` waits to the microsecond, where an event loop's timers are a millisecond coarse.
    """

    def __init__(
        self,
        port: int,
        rate: float,
        bodies: Sequence[bytes],
        computed_ns: Callable[[], int] = time.process_time_ns,
    ) -> None:
        """Make a load; `computed_ns` is looked at about twice for each request."""
        self._rate = rate
        self._computed_ns = computed_ns
        self._requests = [request_of(body, port) for body in bodies]
        self._port = port
        self._free: deque[_Connection] = deque()
        self._busy: dict[socket.socket, _Connection] = {}
        self._expected: Mapping[int, bytes] | None = None
        self._seen: dict[int, bytes] = {}

    def connect(self) -> None:
        """Open the connections."""
        for _ in range(CONNECTIONS):
            sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._free.append(_Connection(sock))

    def close(self) -> None:
        """Close the connections."""
        for connection in (*self._free, *self._busy.values()):
            connection.sock.close()

    @property
    def seen(self) -> dict[int, bytes]:
        """Return what each body was last answered, the decision aside."""
        return dict(self._seen)

    def run(self, seconds: float, expected: Mapping[int, bytes] | None = None) -> Block:
        """Send for so long, wait for the last answers, and return the block.

        An answer that differs from the `expected` one of its body is counted as changed.
        """
        block, self._expected = Block(), expected
        count = round(seconds * self._rate)
        gc.collect()
        gc.disable()
        try:
            self._run(block, count)
        finally:
            gc.enable()
        block.failed += count - len(block.latencies)
        return block

    def _run(self, block: Block, count: int) -> None:
        started = time.perf_counter() + 0.01
        until = started + count / self._rate + PATIENCE_SECONDS
        sent = 0
        while len(block.latencies) < count and (now := time.perf_counter()) < until:
            block.looks.append((now, self._computed_ns()))
            while sent < count and self._free and started + sent / self._rate <= now:
                self._send(sent, started + sent / self._rate)
                sent += 1
            due_at = started + sent / self._rate if sent < count and self._free else until
            wait = max(0.0, due_at - time.perf_counter())
            for sock in select.select(self._busy, (), (), wait)[0]:
                self._receive(self._busy[sock], block)

    def _send(self, number: int, due_at: float) -> None:
        connection = self._free.popleft()
        connection.due_at, connection.index = due_at, number % len(self._requests)
        self._busy[connection.sock] = connection
        connection.sock.sendall(self._requests[connection.index])

    def _receive(self, connection: _Connection, block: Block) -> None:
        try:
            answer = connection.answer()
        except OSError:
            del self._busy[connection.sock]
            return
        if answer is None:
            return
        good, body = answer
        fill = fill_of(body) if good else None
        if fill is None:
            block.failed += 1
        elif self._expected is not None and self._expected.get(connection.index) != fill:
            block.changed += 1
        block.latencies.append(time.perf_counter() - connection.due_at)
        block.due_at.append(connection.due_at)
        if fill is not None:
            self._seen[connection.index] = fill
        del self._busy[connection.sock]
        self._free.append(connection)


def fill_of(answer: bytes) -> bytes | None:
    """Return the bytes of an answer's fill, and of what else its decision does not change.

    The decision has an id of its own, and its rule and generation say that the phase differs.
    None where it is no answer of L2.
    """
    head, mark, fill = answer.partition(b'"fill":')
    if not mark or b'"arm":"L2"' not in head:
        return None
    return fill
