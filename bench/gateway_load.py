"""A gateway as it is wired always, driven from within its own process: one job as JSON on stdin.

Decisions are made on the event loop's thread, as a strategy makes them, and go through
`engine.submit`: checks, journal with fsync, last gate, signature, wire, and what the venue says of
them afterwards. What is stamped is when `submit` was called, when the order's bytes were handed to
the transport, and when the loop went on after that, by which time the kernel has them at the
latest.

    echo '{"data_dir": "...", "environment": {...}, "mode": "open", ...}' | \
        python -m bench.gateway_load
"""

import asyncio
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any, Final

import uvloop

from lob.errors import Fault
from lob.types import Side, TimeInForce
from services.order_gateway.engine import Engine, Submitted
from services.order_gateway.settings import GatewaySettings
from services.order_gateway.venues.http_connection import Answer, HttpConnection
from services.order_gateway.wiring import Components, wire
from touchstone.kit import journal
from touchstone.kit.disk import PythonDisk
from touchstone.kit.lifecycle import YOUNG_OBJECTS
from touchstone.kit.logs import configure_logging
from touchstone.kit.processor_time import computed_seconds
from touchstone.kit.settings import load
from touchstone.perps.orders import Intent, OrderType

READY_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 30.0
ORDERS_A_CANCEL: Final = 20
REFUSED_SECONDS: Final = 0.01
FAR: Final = Decimal("0.97")
"""A resting order's price beside the bid's."""
_ID: Final = b'"client_order_id":"'

Document = dict[str, Any]


class Stamps:
    """When each order was decided, handed to the transport, and certainly sent: nanoseconds."""

    def __init__(self) -> None:
        self.decided: dict[str, int] = {}
        self.handed: dict[str, int] = {}
        self.sent: dict[str, int] = {}

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have every connection stamp the orders that it sends."""
        plain = HttpConnection.send

        def send(connection: HttpConnection, request: bytes) -> "asyncio.Future[Answer]":
            waiting = plain(connection, request)
            now = time.perf_counter_ns()
            at = request.find(_ID)
            if at >= 0:
                start = at + len(_ID)
                key = request[start : request.find(b'"', start)].decode()
                self.handed[key] = now
                loop.call_soon(self._note_sent, key)
            return waiting

        HttpConnection.send = send  # type: ignore[method-assign,assignment]

    def _note_sent(self, key: str) -> None:
        self.sent[key] = time.perf_counter_ns()

    def since_decision_us(self, stamps: dict[str, int]) -> list[float]:
        """Return how long after its decision each order was there."""
        return [(at - self.decided[key]) / 1e3 for key, at in stamps.items() if key in self.decided]


class Orders:
    """What is decided: resting ones far below the market, or that and ones that fill at once.

    Symbols take turns. Of the ones that fill, buys and sells take turns, so that no position grows.
    """

    def __init__(self, components: Components, sizes: dict[str, str], *, fills: bool) -> None:
        self._quotes = components.quotes
        self._rules = components.engine.rules
        self._sizes = {symbol: Decimal(size) for symbol, size in sizes.items()}
        self._turns = itertools.cycle(self._sizes)
        self._sides = itertools.cycle(
            side for side in (Side.BUY, Side.SELL) for _ in range(2 * len(sizes))
        )
        self._fills = fills
        self._run = os.urandom(4).hex()
        self._numbers = itertools.count()

    def decide(self) -> Intent:
        """Return the next order."""
        number = next(self._numbers)
        symbol = next(self._turns)
        side = next(self._sides)
        terms: Document = {
            "client_order_id": f"b-{self._run}-{number}",
            "symbol": symbol,
            "quantity": self._sizes[symbol],
        }
        if self._fills and number // len(self._sizes) % 2:
            ioc = TimeInForce.IOC
            return Intent(**terms, side=side, order_type=OrderType.MARKET, time_in_force=ioc)
        quote = self._quotes.quote(symbol)
        if quote is None or quote.bid is None:
            raise Fault(f"{symbol}: no quote")
        price = self._rules[symbol].round_price(quote.bid * FAR, Side.BUY)
        return Intent(
            **terms,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            limit_price=price,
            post_only=True,
        )


class Desk:
    """Submit decisions, cancel what rests in batches, count what came of them."""

    def __init__(self, components: Components, orders: Orders, stamps: Stamps) -> None:
        self._engine: Engine = components.engine
        self._orders = orders
        self._stamps = stamps
        self._resting: list[str] = []
        self._cancels: set[asyncio.Task[None]] = set()
        self.answered_us: list[float] = []
        self.accepted = self.refused = self.cancel_requests = 0
        self.first_refusal = ""

    async def trade(self) -> None:
        """Make one decision and have it sent; returns with the venue's answer."""
        intent = self._orders.decide()
        key = intent.client_order_id
        self._stamps.decided[key] = began = time.perf_counter_ns()
        found = await self._engine.submit(intent)
        self.answered_us.append((time.perf_counter_ns() - began) / 1e3)
        taken = isinstance(found, Submitted) and found.refusal is None
        if not taken or not found.order.venue_order_id:  # type: ignore[union-attr]
            self.refused += 1
            self.first_refusal = self.first_refusal or str(found)[:300]
            # A refusal costs no await: who went on at once would never let anything else run.
            await asyncio.sleep(REFUSED_SECONDS)
            return
        self.accepted += 1
        if intent.order_type is OrderType.LIMIT:
            self._resting.append(found.order.venue_order_id)  # type: ignore[union-attr]
            if len(self._resting) >= ORDERS_A_CANCEL:
                self.cancel_rest()

    def cancel_rest(self) -> None:
        """Cancel what rests, in one request beside the decisions."""
        ids, self._resting = self._resting, []
        task = asyncio.get_running_loop().create_task(self._cancel(ids))
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)

    async def _cancel(self, ids: list[str]) -> None:
        self.cancel_requests += 1
        await self._engine.venue.cancel(ids)

    async def over(self) -> None:
        """Cancel everything that is left and wait for the answers."""
        if self._resting:
            self.cancel_rest()
        while self._cancels:
            await asyncio.wait(set(self._cancels))


async def open_loop(desk: Desk, rate: float, seconds: float) -> None:
    """Decide at a constant rate, whatever the answers do."""
    loop = asyncio.get_running_loop()
    began, tasks = loop.time() + 0.01, set()
    for number in range(int(rate * seconds)):
        pause = began + number / rate - loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        task = loop.create_task(desk.trade())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)


async def closed_loop(desk: Desk, under_way: int, seconds: float) -> None:
    """Keep so many decisions under way until the time is over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def trader() -> None:
        while loop.time() < until:
            await desk.trade()

    await asyncio.gather(*(trader() for _ in range(under_way)))


async def run(job: Document) -> Document:
    """Run one job.

    It has `mode` (`open` with `rate`, or `closed` with `under_way`), `seconds`, `warm_seconds`,
    `sizes` by symbol, and `fills`; with `python_disk` a thread of Python's waits for the disk.
    """
    settings = load(GatewaySettings)
    configure_logging("order_gateway", "ERROR")
    if job.get("python_disk"):
        journal.open_disk = PythonDisk  # type: ignore[attr-defined]
    stamps = Stamps()
    stamps.watch(asyncio.get_running_loop())
    async with wire(settings) as components:
        await until(lambda: ready(components), READY_SECONDS)
        orders = Orders(components, job["sizes"], fills=job["fills"])
        warming = Desk(components, orders, stamps)
        await load_for(warming, job, job["warm_seconds"])
        await warming.over()
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
        for kept in (stamps.decided, stamps.handed, stamps.sent):
            kept.clear()
        desk = Desk(components, orders, stamps)
        filled_before = filled(components)
        with profiled(job.get("profile", "")):
            began, cpu = time.perf_counter(), time.process_time()
            exchange = computed_seconds(job["exchange_pid"])
            await load_for(desk, job, job["seconds"])
            seconds, spent = time.perf_counter() - began, time.process_time() - cpu
            exchange = computed_seconds(job["exchange_pid"]) - exchange
        await desk.over()
        settled = await settles(components)
        return {
            "accepted": desk.accepted,
            "refused": desk.refused,
            "first_refusal": desk.first_refusal,
            "cancel_requests": desk.cancel_requests,
            "fills": filled(components) - filled_before,
            "seconds": seconds,
            "cpu_seconds": spent,
            "exchange_cpu_seconds": exchange,
            "settled_seconds": settled,
            "left_working": len(components.engine.ledger.working()),
            "answered_us": desk.answered_us,
            "handed_us": stamps.since_decision_us(stamps.handed),
            "sent_us": stamps.since_decision_us(stamps.sent),
        }


def profiled(path: str) -> Any:
    """Return a context that writes a profile to a file, or does nothing."""
    import contextlib  # noqa: PLC0415
    import cProfile  # noqa: PLC0415

    @contextlib.contextmanager
    def profiling() -> Iterator[None]:
        profile = cProfile.Profile()
        profile.enable()
        try:
            yield
        finally:
            profile.disable()
            profile.dump_stats(path)

    return profiling() if path else contextlib.nullcontext()


async def load_for(desk: Desk, job: Document, seconds: float) -> None:
    """Run the job's load for so long."""
    if job["mode"] == "open":
        await open_loop(desk, job["rate"], seconds)
    else:
        await closed_loop(desk, job["under_way"], seconds)


def ready(components: Components) -> bool:
    """Return whether orders are taken: reconciled, connected, every symbol quoted, not halted."""
    quotes, gate = components.quotes, components.kill_switch.gate()
    return (
        components.engine.reconciled
        and gate.known
        and all(quotes.mark(symbol) is not None for symbol in components.settings.symbol_map)
    )


def filled(components: Components) -> int:
    """Return how many orders have been filled."""
    counter = components.engine.metrics.orders
    symbols = components.settings.symbol_map
    return int(sum(counter.labels(symbol, "filled")._value.get() for symbol in symbols))  # noqa: SLF001


async def settles(components: Components) -> float:
    """Return how long it took until no order was working any more; raises `Fault` after a while."""
    began, ledger = time.perf_counter(), components.engine.ledger
    try:
        await until(lambda: not ledger.working(), SETTLE_SECONDS)
    except Fault:
        first = ledger.working()[0]
        raise Fault(f"{len(ledger.working())} orders are not over: {first}") from None
    return time.perf_counter() - began


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until `condition()` holds; `Fault` where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Fault(f"not within {seconds:g} s: {condition}")
        await asyncio.sleep(0.02)


def main(read: Callable[[], str] = sys.stdin.read) -> Document:
    """Run the job on stdin on the loop that the service uses."""
    job: Document = json.loads(read())
    coroutine: Awaitable[Document] = run(job)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)  # type: ignore[arg-type] # a coroutine


if __name__ == "__main__":
    json.dump(main(), sys.stdout)
