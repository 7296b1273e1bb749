"""Clients of the exchange's feed, all in one thread: one job as JSON on stdin, figures on stdout.

Every client subscribes to level2 of all products and reads what comes as fast as it can; frames are
counted, not parsed. A client's sequence must have no gap. Slow clients do not read, or read one
byte a second; they are not counted.

    echo '{"port": 8090, "clients": 20, "slow": 0, "seconds": 4}' | python -m bench.exchange_feed
"""

import gc
import json
import re
import select
import socket
import struct
import sys
import time
from typing import Any, Final

READ_BYTES: Final = 1 << 20
SUBSCRIBE: Final = b'{"type":"subscribe","channel":"level2"}'
HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SLOW_BUFFER_BYTES: Final = 4_096
WAIT_SECONDS_MAX: Final = 5.0
_SHORT_MAX: Final = 125
_MEDIUM: Final = 126
_LONG: Final = 127
_number: Final = re.compile(rb'"sequence_num":(\d+)').search
_medium: Final = struct.Struct("!H").unpack_from
_long: Final = struct.Struct("!Q").unpack_from


class Client:
    """One connection: frames are cut out of what comes, updates counted, sequences checked."""

    def __init__(self, port: int) -> None:
        self.socket = connected(port)
        self.bytes = self.frames = self.levels = self.gaps = 0
        self.pauses_us: list[float] = []
        self._expected = 0
        self._last = 0.0
        self._rest = b""

    def begin(self) -> None:
        """Forget what was counted; what is under way goes on."""
        self.bytes = self.frames = self.levels = self.gaps = 0
        self.pauses_us = []
        self._last = 0.0

    def read(self) -> None:
        """Read what is there and count its whole frames."""
        chunk = self.socket.recv(READ_BYTES)
        if not chunk:
            raise ConnectionError("the exchange closed a connection")
        now = time.perf_counter()
        self.bytes += len(chunk)
        received = self._rest + chunk
        at, end = 0, len(received)
        while True:
            payload, length = _payload(received, at, end)
            if payload + length > end or not length:
                break
            self._count(received, payload, payload + length)
            at = payload + length
            if self._last:
                self.pauses_us.append((now - self._last) * 1e6)
            self._last = now
        self._rest = received[at:]

    def _count(self, received: bytes, start: int, end: int) -> None:
        self.frames += 1
        self.levels += received.count(b'"new_quantity"', start, end)
        found = _number(received, start, min(end, start + 200))
        sequence = int(found[1]) if found else -1
        self.gaps += sequence != self._expected
        self._expected = sequence + 1


def connected(port: int, buffer_bytes: int = 0) -> socket.socket:
    """Return a socket on which level2 of everything is subscribed."""
    sock = socket.socket()
    if buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.connect(("127.0.0.1", port))
    sock.sendall(HANDSHAKE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(head[:60].decode("latin-1"))
    # A masked text frame whose mask is zero.
    sock.sendall(bytes((0x81, 0x80 | len(SUBSCRIBE))) + bytes(4) + SUBSCRIBE)
    return sock


def _payload(received: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where a frame's payload begins and its length; 0 where that is not there yet."""
    if end - at < 2:  # noqa: PLR2004 - the shortest head
        return at, 0
    length = received[at + 1]
    if length <= _SHORT_MAX:
        return at + 2, length
    if length == _MEDIUM:
        return (at + 4, _medium(received, at + 2)[0]) if end - at >= 4 else (at, 0)  # noqa: PLR2004
    return (at + 10, _long(received, at + 2)[0]) if end - at >= 10 else (at, 0)  # noqa: PLR2004


class Slow:
    """Clients that read nothing, or one byte a second; counts what the exchange does to them."""

    def __init__(self, port: int, count: int) -> None:
        self.sockets = [connected(port, SLOW_BUFFER_BYTES) for _ in range(count)]
        self._next = 0.0

    def read(self) -> None:
        """Read one byte of every second one, once a second."""
        now = time.perf_counter()
        if now < self._next:
            return
        self._next = now + 1
        for sock in self.sockets[::2]:
            try:
                sock.recv(1)
            except OSError:
                self.sockets.remove(sock)

    def cut_off(self) -> int:
        """Return how many of them the exchange has cut off by now."""
        poll = select.poll()
        for sock in self.sockets:
            poll.register(sock.fileno(), select.POLLERR | select.POLLHUP)
        return len(poll.poll(0))


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job: `port, clients, slow, seconds` and `warm_seconds` before counting."""
    clients = [Client(job["port"]) for _ in range(job["clients"])]
    slow = Slow(job["port"], job["slow"])
    poll = select.epoll()
    by_number = {client.socket.fileno(): client for client in clients}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    gc.collect()
    gc.freeze()
    gc.disable()
    begins = time.perf_counter() + job["warm_seconds"]
    started = 0.0
    while True:
        ready = poll.poll(WAIT_SECONDS_MAX)
        if not ready:
            raise TimeoutError(f"nothing came within {WAIT_SECONDS_MAX} s")
        for number, _ in ready:
            by_number[number].read()
        slow.read()
        now = time.perf_counter()
        if not started and now >= begins:
            started = now
            cpu = time.process_time()
            for client in clients:
                client.begin()
        if started and now >= started + job["seconds"]:
            break
    return {
        "seconds": now - started,
        "cpu_seconds": time.process_time() - cpu,
        "bytes": sum(client.bytes for client in clients),
        "frames": sum(client.frames for client in clients),
        "levels": [client.levels for client in clients],
        "gaps": sum(client.gaps for client in clients),
        "pauses_us": [pause for client in clients for pause in client.pauses_us],
        "slow": job["slow"],
        "slow_cut_off": slow.cut_off(),
    }


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
