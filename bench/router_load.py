"""A lean HTTP load generator: one thread, raw keep-alive connections, one job as JSON on stdin.

Open loop sends at a constant rate. An answer's time ends when the kernel has it for this process,
by the kernel's own stamp, and begins when its request was handed over; or when it was *meant* to
be, where no connection was free, so that a stall of the server is not hidden by a generator that
waits (coordinated omission). How late this process itself was is told beside. Closed loop keeps one
request under way on each connection. Standard output gets one JSON object.

    echo '{"port": 8000, "mode": "open", ...}' | python -m bench.router_load
"""

import ctypes
import gc
import itertools
import json
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

READ_BYTES: Final = 1 << 18
ANSWER_SECONDS_MAX: Final = 5.0
BODIES: Final = 512
LEVELS: Final = 10
# Linux; Python has no name for it.
_TIMESTAMP_NS: Final = 35
_ANCILLARY_BYTES: Final = 64
_unpack_time: Final = struct.Struct("qq").unpack_from


def request_bodies(count: int = BODIES, levels: int = LEVELS) -> list[bytes]:
    """Return the JSON of so many different requests: market and limit orders, some symbols."""
    bodies = []
    for number in range(count):
        middle = 9_000 + 7 * number % 2_000
        bids = [[_price(middle - 1 - n), str(100 + (number + n) % 900)] for n in range(levels)]
        asks = [[_price(middle + 1 + n), str(100 + (number * 3 + n) % 900)] for n in range(levels)]
        order = {
            "symbol": f"SYM{number % 40}",
            "side": "BUY" if number % 2 else "SELL",
            "quantity": str(1 + number % 150),
            "type": "MARKET" if number % 3 else "LIMIT",
            "client_order_id": f"bench-{number}",
        }
        if order["type"] == "LIMIT":
            order["limit_price"] = _price(middle + (5 if number % 2 else -5))
        market = {
            "timestamp_ms": 1_700_000_000_000 + number,
            "bids": bids,
            "asks": asks,
            "last_price": _price(middle),
        }
        request = {"order": order, "market": market, "asset_class": "EQUITY"}
        bodies.append(json.dumps(request, separators=(",", ":")).encode())
    return bodies


def http_requests(path: str, bodies: Sequence[bytes], batch: int) -> list[bytes]:
    """Return whole HTTP requests: one order each, or `batch` orders each where that is above 0."""
    if batch:
        groups = [[bodies[(g + n) % len(bodies)] for n in range(batch)] for g in range(8)]
        bodies = [b'{"requests":[' + b",".join(group) + b"]}" for group in groups]
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


class Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            self.socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMP_NS, 1)
        self.number = self.socket.fileno()
        self.due_ns = self.since_ns = self.arrived_ns = 0
        self._parts = bytearray()
        self._whole = 0

    def send(self, request: bytes, due_ns: int | None = None) -> None:
        """Send a request that was due then, or now.

        What its time counts from is when it is sent; but when it was due, where this connection was
        not free before. Times are in nanoseconds since 1970.
        """
        now = time.time_ns()
        self.due_ns = now if due_ns is None else due_ns
        self.since_ns = now if self.arrived_ns <= self.due_ns else self.due_ns
        self.socket.sendall(request)

    def receive(self) -> tuple[bytes, bytes] | None:
        """Read what is there; return head and body once the answer is whole."""
        chunk, ancillary, _, _ = self.socket.recvmsg(READ_BYTES, _ANCILLARY_BYTES)
        if not chunk:
            raise ConnectionError("the router closed a connection")
        self.arrived_ns = time.time_ns()
        for level, kind, encoded in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMP_NS):
                seconds, nanoseconds = _unpack_time(encoded)
                self.arrived_ns = seconds * 1_000_000_000 + nanoseconds
        parts = self._parts
        parts += chunk
        if not self._whole:
            end = parts.find(b"\r\n\r\n")
            if end < 0:
                return None
            at = parts.find(b"content-length: ", 0, end) + 16
            length = int(parts[at : parts.find(b"\r\n", at)])
            self._whole = end + 4 + length
        if len(parts) < self._whole:
            return None
        answer = bytes(parts)
        self._parts, self._whole = bytearray(), 0
        head, _, body = answer.partition(b"\r\n\r\n")
        return head, body


class Tally:
    """What came back: how long it took, what the provider said it took, and who answered."""

    def __init__(self) -> None:
        self.latency_us: list[float] = []
        self.provider_us: list[float] = []
        self.late_us: list[float] = []
        self.seen_us: list[float] = []
        self.by_arm = {"L2": 0, "L3": 0}
        self.errors = 0
        self.first_error = ""

    def take(self, connection: Connection, answer: tuple[bytes, bytes]) -> None:
        """Count one answer that was just read; its figures are in microseconds."""
        now = time.time_ns()
        head, body = answer
        if not head.startswith(b"HTTP/1.1 200"):
            self.errors += 1
            self.first_error = self.first_error or (head[:40] + b" " + body[:200]).decode()
            return
        self.latency_us.append((connection.arrived_ns - connection.since_ns) / 1e3)
        self.late_us.append((connection.since_ns - connection.due_ns) / 1e3)
        self.seen_us.append((now - connection.due_ns) / 1e3)
        at = head.find(b"provider;dur=")
        if at >= 0:
            end = head.find(b"\r\n", at)
            self.provider_us.append(float(head[at + 13 : end if end > 0 else None]) * 1e3)
        for arm in self.by_arm:
            self.by_arm[arm] += body.count(b'"arm":"%s"' % arm.encode())

    def to_json(self, seconds: float) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "seconds": seconds,
            "by_arm": self.by_arm,
            "errors": self.errors,
            "first_error": self.first_error,
            "latency_us": self.latency_us,
            "provider_us": self.provider_us,
            "late_us": self.late_us,
            "seen_us": self.seen_us,
            "cpu_seconds": time.process_time(),
        }


def open_loop(
    connections: list[Connection], requests: Sequence[bytes], rate: float, seconds: float
) -> dict[str, Any]:
    """Send so many requests a second, in turn, and return what came of them."""
    tally, turns = Tally(), itertools.cycle(requests)
    started = send_at_rate(
        connections, rate, seconds, lambda one, due: one.send(next(turns), due), tally.take
    )
    return tally.to_json((time.time_ns() - started) / 1e9)


def send_at_rate(
    connections: Sequence[Connection],
    rate: float,
    seconds: float,
    send: Callable[[Connection, int], None],
    take: Callable[[Connection, tuple[bytes, bytes]], None],
) -> int:
    """Send at a constant rate, each on a free connection, and take all answers.

    `send` is told when the request was due; the result is when the first was: nanoseconds.
    """
    free = deque(connections)
    by_socket = {connection.socket: connection for connection in connections}
    count, sent = int(rate * seconds), 0
    started = time.time_ns() + 10_000_000
    step = 1e9 / rate
    answered = 0
    while answered < count:
        due = started + int(sent * step)
        now = time.time_ns()
        while sent < count and now >= due and free:
            send(free.popleft(), due)
            sent += 1
            due = started + int(sent * step)
            now = time.time_ns()
        # select, not epoll: its timeout is in microseconds.
        more = sent < count and bool(free)
        wait = max(0, due - now) / 1e9 if more else ANSWER_SECONDS_MAX
        ready, _, _ = select.select(list(by_socket), (), (), wait)
        if not ready and not more:
            raise TimeoutError(f"no answer within {ANSWER_SECONDS_MAX} s")
        for sock in ready:
            answer = by_socket[sock].receive()
            if answer is not None:
                take(by_socket[sock], answer)
                free.append(by_socket[sock])
                answered += 1
    return started


def closed_loop(
    connections: list[Connection], requests: Sequence[bytes], seconds: float
) -> dict[str, Any]:
    """Keep one request under way on each connection until the time is over."""
    tally, number = Tally(), 0
    poll = select.epoll()
    by_number = {connection.number: connection for connection in connections}
    started = time.perf_counter()
    for connection in connections:
        poll.register(connection.number, select.EPOLLIN)
        connection.send(requests[number % len(requests)])
        number += 1
    under_way, until = len(connections), started + seconds
    while under_way:
        ready = poll.poll(ANSWER_SECONDS_MAX)
        if not ready:
            raise TimeoutError(f"no answer within {ANSWER_SECONDS_MAX} s")
        for ready_number, _ in ready:
            connection = by_number[ready_number]
            answer = connection.receive()
            if answer is None:
                continue
            tally.take(connection, answer)
            if time.perf_counter() < until:
                connection.send(requests[number % len(requests)])
                number += 1
            else:
                under_way -= 1
    return tally.to_json(time.perf_counter() - started)


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def precise_sleep() -> None:
    """Let sleeps end within a microsecond of their time, where Linux would add up to 50."""
    pr_set_timerslack = 29
    ctypes.CDLL(None).prctl(pr_set_timerslack, 1_000, 0, 0, 0)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job: `port, path, mode, connections, batch, seconds`, and `rate` in open loop."""
    requests = http_requests(job["path"], request_bodies(), job["batch"])
    connections = [Connection(job["port"]) for _ in range(job["connections"])]
    if Path("/proc/self").exists():
        precise_sleep()
    gc.collect()
    gc.freeze()
    gc.disable()
    if job["mode"] == "open":
        return open_loop(connections, requests, job["rate"], job["seconds"])
    return closed_loop(connections, requests, job["seconds"])


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
