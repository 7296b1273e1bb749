"""What it costs the paper exchange to forget nothing: per order, per restart, per snapshot.

    python -m bench.exchange_store [--records 20000] [--folder FOLDER]

prints one JSON object. `order_us` is CPU time per order with nothing kept, with a journal, and with
a journal whose answers wait for the disk (64 clients at once); `recovery` is a restart from that
journal; `snapshot` is how long the venue stands still for one and how long its child writes it.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lob.types import Side
from services.paper_exchange.clock import ExchangeClock
from services.paper_exchange.recovery import recover
from services.paper_exchange.store import Store, StorePolicy
from services.paper_exchange.venue import Venue
from touchstone.exchange import PRODUCTS, Exchange, ExchangeConfig, Order, OrderRequest, Updates

CLIENTS: Final = 64
ROUNDS: Final = 3
FLOW_EACH: Final = 64
"""Orders between two ticks, of a tenth of a second each: some 600 orders a second."""


class _Nobody:
    def publish(self, updates: Updates) -> None:
        pass


class _Clock:
    """Real time that the benchmark moves."""

    def __init__(self, start_ns: int) -> None:
        self.elapsed_ns = 0
        self.clock = ExchangeClock(
            1.0, monotonic_ns=lambda: self.elapsed_ns, wall_ns=lambda: start_ns
        )


def requests() -> Iterator[OrderRequest]:
    """Yield orders about the first price of one product, on both sides."""
    product = PRODUCTS[2]
    tick = product.instrument.tick_size
    for number in itertools.count():
        side = Side.BUY if number % 2 else Side.SELL
        yield OrderRequest(
            client_order_id=f"order-{number:032}",
            product_id=product.product_id,
            side=side,
            size=product.instrument.quantity(1),
            limit_price=product.reference_price - side.sign * (2 + number % 40) * tick,
            configuration={"limit_limit_gtc": {"base_size": "1", "limit_price": "99000"}},
        )


async def trade(venue: Venue, clock: _Clock, count: int) -> None:
    """Have `CLIENTS` clients enter orders and cancel them, `count` commands in all."""
    orders = requests()
    for _ in range(count // (2 * FLOW_EACH)):
        answers = await asyncio.gather(
            *(venue.create("alice", next(orders)) for _ in range(FLOW_EACH))
        )
        ids = [answer.order_id for answer in answers if isinstance(answer, Order)]
        await asyncio.gather(*(venue.cancel("alice", (order_id,)) for order_id in ids))
        clock.elapsed_ns += 100_000_000
        while not venue.tick():
            pass


def _config() -> ExchangeConfig:
    return ExchangeConfig(start_ns=1_800_000_000 * 10**9, max_open_orders=10_000)


def _timed(store: Store | None, count: int) -> tuple[float, float]:
    """Return CPU and wall microseconds per command."""
    exchange = Exchange(_config()) if store is None else store.exchange
    clock = _Clock(exchange.now_ns)
    venue = Venue(exchange, clock.clock, _Nobody(), 0.05, store=store)
    venue.start(["alice"])
    cpu, wall = time.process_time(), time.perf_counter()
    asyncio.run(trade(venue, clock, count))
    return (
        (time.process_time() - cpu) * 1e6 / count,
        (time.perf_counter() - wall) * 1e6 / count,
    )


def measure(folder: Path, count: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return all figures; the best of several rounds, taken in turns."""
    found: dict[str, list[tuple[float, float]]] = {"memory": [], "journal": [], "synced": []}
    groups = []
    for place in range(rounds):
        found["memory"].append(_timed(None, count))
        for name, sync in (("journal", False), ("synced", True)):
            store = Store(folder / f"{name}-{place}", _config(), StorePolicy(sync=sync))
            found[name].append(_timed(store, count))
            if sync:
                groups.append(store.records_written() / max(1, store.syncs()))
            store.abandon()
    return {
        "commands": count,
        "order_cpu_us": {name: round(min(took)[0], 1) for name, took in found.items()},
        "order_wall_us": {
            name: round(min(wall for _, wall in took), 1) for name, took in found.items()
        },
        "records_per_sync": round(statistics.median(groups), 1),
        **_restart(folder / "journal-0"),
    }


def _recovered(folder: Path) -> tuple[float, int]:
    """Return the CPU seconds of a recovery and how many records it replayed."""
    began = time.process_time()
    back = recover(folder, _config())
    return time.process_time() - began, back.records_replayed


def _restart(folder: Path) -> dict[str, Any]:
    seconds = min(_recovered(folder)[0] for _ in range(ROUNDS))
    records = _recovered(folder)[1]
    journal_bytes = sum(path.stat().st_size for path in folder.glob("journal-*"))
    store = Store(folder, _config(), StorePolicy(sync=False, snapshot_records=1))
    began = time.perf_counter()
    store.look_after()
    stood_still = time.perf_counter() - began
    while not store.snapshot_number and not store.snapshot_failure:
        time.sleep(0.001)
        store.look_after()
    written = time.perf_counter() - began
    (path,) = sorted(folder.glob("snapshot-*"))[-1:]
    snapshot_bytes = path.stat().st_size
    store.abandon()
    from_snapshot = min(_recovered(folder)[0] for _ in range(ROUNDS))
    return {
        "recovery": {
            "records": records,
            "journal_bytes_per_record": round(journal_bytes / records, 1),
            "cpu_seconds": round(seconds, 3),
            "cpu_seconds_per_100000": round(seconds / records * 100_000, 2),
            "cpu_seconds_from_snapshot": round(from_snapshot, 3),
        },
        "snapshot": {
            "stood_still_ms": round(stood_still * 1e3, 2),
            "written_ms": round(written * 1e3, 1),
            "bytes": snapshot_bytes,
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the disk is to measure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        print(json.dumps(measure(Path(folder), given.records), indent=2))


if __name__ == "__main__":
    main()
