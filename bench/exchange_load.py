"""Traders on the exchange's REST interface, in one thread: one job as JSON on stdin.

Every connection has a key of its own kind and places resting orders far from the touch, one after
the other; after so many it cancels them all in one request. Every request has a JWT of its own,
made as Coinbase's SDK makes it, before the clock runs. Times are taken as in `bench.router_load`,
whose connections these are.

    echo '{"port": 8090, "mode": "open", "rate": 500, ...}' | python -m bench.exchange_load
"""

import gc
import json
import secrets
import select
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.router_load import ANSWER_SECONDS_MAX, Connection, precise_sleep, send_at_rate

CREATE: Final = "/api/v3/brokerage/orders"
CANCEL: Final = "/api/v3/brokerage/orders/batch_cancel"
TOKEN_SECONDS: Final = 120
HEADS_LEFT: Final = 2
"""For one more cancel, and for the last one."""
PRODUCTS: Final = (
    ("BIP-20DEC30-CDE", "1", 60_000, 5),
    ("ETP-20DEC30-CDE", "1", 2_500, 1),
    ("BTC-PERP-INTX", "0.001", 60_000, 1),
    ("ETH-PERP-INTX", "0.01", 2_500, 1),
)
"""What is ordered: product, size, and the prices, which are far below any market."""


class Signer:
    """Sign requests with one key, as the SDK does."""

    def __init__(self, name: str, pem: str, algorithm: str, host: str) -> None:
        self._name = name
        self._key: Any = load_pem_private_key(pem.encode(), password=None)
        self._algorithm = algorithm
        self._host = host

    def head(self, path: str, extra: str = "") -> bytes:
        """Return a POST's head up to its length, with a token of its own."""
        now = int(time.time())
        claims = {
            "sub": self._name,
            "iss": "cdp",
            "nbf": now,
            "exp": now + TOKEN_SECONDS,
            "uri": f"POST {self._host}{path}",
        }
        token = jwt.encode(
            claims,
            self._key,
            algorithm=self._algorithm,
            headers={"kid": self._name, "nonce": secrets.token_hex()},
        )
        return (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\n{extra}Content-Length: "
        ).encode()


class Trader:
    """One connection's requests, made beforehand; a cancel's ids are those of its own answers."""

    def __init__(
        self, port: int, signer: Signer, requests: int, orders_a_cancel: int, *, long_way: bool
    ) -> None:
        self.connection = Connection(port)
        self.cancels = False
        # A header that asks for nothing and that the quick way does not take.
        extra = "Expect: nothing\r\n" if long_way else ""
        run = secrets.token_hex(6)
        self._creates = deque(
            _whole(signer.head(CREATE, extra), order(f"{run}-{number}", number))
            for number in range(requests)
        )
        self._cancel_heads = deque(
            signer.head(CANCEL, extra) for _ in range(requests // orders_a_cancel + 2 * HEADS_LEFT)
        )
        self._orders_a_cancel = orders_a_cancel
        self._ids: list[str] = []

    def exhausted(self) -> bool:
        """Say whether nothing more was made beforehand."""
        return not self._creates or len(self._cancel_heads) < HEADS_LEFT

    def next_request(self) -> bytes:
        """Return the next order, or the cancel of all before."""
        self.cancels = len(self._ids) >= self._orders_a_cancel
        if self.cancels:
            ids, self._ids = self._ids, []
            return _whole(self._cancel_heads.popleft(), json.dumps({"order_ids": ids}).encode())
        return self._creates.popleft()

    def leave(self) -> None:
        """Cancel what still rests, uncounted: the next load begins with none open."""
        if not self._ids:
            return
        ids, self._ids = self._ids, []
        body = json.dumps({"order_ids": ids}).encode()
        self.connection.send(_whole(self._cancel_heads.popleft(), body))
        while (answer := self.connection.receive()) is None:
            pass
        if not answer[0].startswith(b"HTTP/1.1 200"):
            raise ConnectionError(answer[0][:60].decode())

    def took(self, head: bytes, body: bytes) -> str:
        """Note an answer; return what is wrong with it."""
        if not head.startswith(b"HTTP/1.1 200") or b'"success":false' in body:
            return (head[:40] + b" " + body[:300]).decode()
        if not self.cancels:
            at = body.find(b'"order_id":"') + 12
            self._ids.append(body[at : body.find(b'"', at)].decode())
        return ""


def order(client_order_id: str, number: int) -> bytes:
    """Return the body of an order that rests: products, prices and ids take turns."""
    product_id, size, price, step = PRODUCTS[number % len(PRODUCTS)]
    limit = {
        "base_size": size,
        "limit_price": str(price + step * (number * 7 % 400)),
        "post_only": True,
    }
    return json.dumps(
        {
            "client_order_id": client_order_id,
            "product_id": product_id,
            "side": "BUY",
            "order_configuration": {"limit_limit_gtc": limit},
        }
    ).encode()


def _whole(head: bytes, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


class Tally:
    """What came back: orders and cancels, how long each order took, what went wrong."""

    def __init__(self) -> None:
        self.latency_us: list[float] = []
        self.orders = self.cancels = self.errors = 0
        self.first_error = ""

    def take(self, trader: Trader, answer: tuple[bytes, bytes]) -> None:
        """Count one answer."""
        wrong = trader.took(*answer)
        if wrong:
            self.errors += 1
            self.first_error = self.first_error or wrong
        elif trader.cancels:
            self.cancels += 1
        else:
            self.orders += 1
            connection = trader.connection
            self.latency_us.append((connection.arrived_ns - connection.since_ns) / 1e3)

    def to_json(self, seconds: float, cpu_seconds: float) -> dict[str, Any]:
        """Return everything as JSON values."""
        return vars(self) | {"seconds": seconds, "cpu_seconds": cpu_seconds}


def open_loop(traders: Sequence[Trader], rate: float, seconds: float) -> Tally:
    """Send at a constant rate, each request on a free connection, and wait for all answers."""
    tally = Tally()
    by_number = {trader.connection.number: trader for trader in traders}
    send_at_rate(
        [trader.connection for trader in traders],
        rate,
        seconds,
        lambda one, due: one.send(by_number[one.number].next_request(), due),
        lambda one, answer: tally.take(by_number[one.number], answer),
    )
    return tally


def closed_loop(traders: Sequence[Trader], seconds: float) -> Tally:
    """Keep one request under way on each connection until the time or what was made is over."""
    tally, poll = Tally(), select.epoll()
    by_number = {trader.connection.number: trader for trader in traders}
    for number, trader in by_number.items():
        poll.register(number, select.EPOLLIN)
        trader.connection.send(trader.next_request())
    under_way, until = len(traders), time.perf_counter() + seconds
    while under_way:
        ready = poll.poll(ANSWER_SECONDS_MAX)
        if not ready:
            raise TimeoutError(f"no answer within {ANSWER_SECONDS_MAX} s")
        for number, _ in ready:
            trader = by_number[number]
            answer = trader.connection.receive()
            if answer is None:
                continue
            tally.take(trader, answer)
            if time.perf_counter() < until and not trader.exhausted():
                trader.connection.send(trader.next_request())
            else:
                under_way -= 1
    return tally


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job.

    It has `port, mode, keys (name, private_key, algorithm), connections, seconds, rate` (of the
    open loop; in the closed one, how many orders a second to make beforehand), `orders_a_cancel`
    and `long_way`.
    """
    host = f"127.0.0.1:{job['port']}"
    signers = [
        Signer(key["name"], key["private_key"], key["algorithm"], host) for key in job["keys"]
    ]
    each = int(job["rate"] * job["seconds"] / job["connections"] * 1.5) + 10
    traders = [
        Trader(
            job["port"],
            signers[number % len(signers)],
            each,
            job["orders_a_cancel"],
            long_way=job["long_way"],
        )
        for number in range(job["connections"])
    ]
    precise_sleep()
    gc.collect()
    gc.freeze()
    gc.disable()
    started, cpu = time.perf_counter(), time.process_time()
    if job["mode"] == "open":
        tally = open_loop(traders, job["rate"], job["seconds"])
    else:
        tally = closed_loop(traders, job["seconds"])
    figures = tally.to_json(time.perf_counter() - started, time.process_time() - cpu)
    for trader in traders:
        trader.leave()
    return figures


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
