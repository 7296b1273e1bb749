"""A client of the gateway's REST interface, in one thread: one job as JSON on stdin.

Half of the orders fill at once, buys and sells in turns; the other half are immediate and too far
from the market to fill. Times are taken as in `bench.router_load`, whose connections these are.

    echo '{"port": 8080, "mode": "open", "rate": 100, ...}' | python -m bench.gateway_rest_load
"""

import gc
import itertools
import json
import secrets
import select
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from bench.router_load import ANSWER_SECONDS_MAX, Connection, precise_sleep, send_at_rate
from touchstone.kit.processor_time import computed_seconds

TAKEN: Final = (b"HTTP/1.1 201", b"HTTP/1.1 202")

Document = dict[str, Any]


def requests(sizes: dict[str, str], far: dict[str, str]) -> Iterator[bytes]:
    """Yield orders without an end: symbols, sides and kinds take turns."""
    run, symbols = secrets.token_hex(4), list(sizes)
    for number in itertools.count():
        symbol = symbols[number % len(symbols)]
        turn = number // len(symbols)
        order: Document = {
            "client_order_id": f"r-{run}-{number}",
            "symbol": symbol,
            "side": "SELL" if turn // 2 % 2 and not turn % 2 else "BUY",
            "quantity": sizes[symbol],
            "type": "MARKET",
        }
        if turn % 2:
            order |= {"type": "LIMIT", "time_in_force": "IOC", "limit_price": far[symbol]}
        body = json.dumps(order).encode()
        yield (
            b"POST /v1/orders HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )


class Tally:
    """What came back: how long each order took, and what went wrong."""

    def __init__(self) -> None:
        self.latency_us: list[float] = []
        self.errors = 0
        self.first_error = ""

    def take(self, connection: Connection, answer: tuple[bytes, bytes]) -> None:
        """Count one answer."""
        head, body = answer
        if not head.startswith(TAKEN):
            self.errors += 1
            self.first_error = self.first_error or (head[:40] + b" " + body[:200]).decode()
            return
        self.latency_us.append((connection.arrived_ns - connection.since_ns) / 1e3)


def closed_loop(connections: list[Connection], orders: Iterator[bytes], seconds: float) -> Tally:
    """Keep one order under way on each connection until the time is over."""
    tally, poll = Tally(), select.epoll()
    by_number = {connection.number: connection for connection in connections}
    for connection in connections:
        poll.register(connection.number, select.EPOLLIN)
        connection.send(next(orders))
    under_way, until = len(connections), time.perf_counter() + seconds
    while under_way:
        ready = poll.poll(ANSWER_SECONDS_MAX)
        if not ready:
            raise TimeoutError(f"no answer within {ANSWER_SECONDS_MAX} s")
        for number, _ in ready:
            answer = by_number[number].receive()
            if answer is None:
                continue
            tally.take(by_number[number], answer)
            if time.perf_counter() < until:
                by_number[number].send(next(orders))
            else:
                under_way -= 1
    return tally


def run(job: Document) -> Document:
    """Run one job: `port, mode, connections, seconds, rate` (open loop), `sizes`, `far`."""
    orders = requests(job["sizes"], job["far"])
    connections = [Connection(job["port"]) for _ in range(job["connections"])]
    precise_sleep()
    gc.collect()
    gc.freeze()
    gc.disable()
    began, cpu = time.perf_counter(), time.process_time()
    exchange = computed_seconds(job["exchange_pid"])
    if job["mode"] == "open":
        tally = Tally()
        send_at_rate(
            connections,
            job["rate"],
            job["seconds"],
            lambda one, due: one.send(next(orders), due),
            tally.take,
        )
    else:
        tally = closed_loop(connections, orders, job["seconds"])
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    exchange = computed_seconds(job["exchange_pid"]) - exchange
    return vars(tally) | {
        "seconds": seconds,
        "cpu_seconds": spent,
        "exchange_cpu_seconds": exchange,
    }


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
