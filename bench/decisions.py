"""Record decisions through the router itself, in one process: `python -m bench.decisions --help`.

An embedded Redis holds the control state, the router is wired as the service wires it, L3 is the
real provider in this process. The rollout goes through its phases meanwhile: shadow, canary,
expansion to a quarter and a half, a rollback, and shadow again; some L3 executions are made to
fail, so that L2 answers in their place.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import structlog

from execution_providers import (
    AssetClass,
    BarData,
    ExecutionRequest,
    Fill,
    MarketState,
    Order,
    OrderType,
    Side,
    TimeInForce,
    create_execution_provider,
)
from execution_providers.types import PriceLevel
from lob.config import L3ExecutionConfig
from lob.errors import Fault, InvariantViolation, Unavailable
from services.router.settings import RouterSettings
from services.router.wiring import Components, wire
from touchstone.kit.build import build_id
from touchstone.kit.codec import decode_execution_request, encode_execution_request
from touchstone.kit.redis_server import running_redis
from touchstone.kit.settings import load
from touchstone.rollout.assignment import Rule

FAILURES_SHARE: Final = 0.01
QUEUE_FULL_ENOUGH: Final = 50_000
SYMBOLS: Final = ("AAPL", "MSFT", "GOOGL", *(f"SYM{number}" for number in range(60)))
ACCOUNTS: Final = ("", "alpha", "beta", "gamma")
# Which part of the orders each phase gets, and how it begins.
PHASES: Final[tuple[tuple[float, dict[str, Any] | None], ...]] = (
    (0.10, None),
    (0.30, {"phase": "CANARY", "basis_points": 500}),
    (0.20, {"phase": "EXPANSION", "basis_points": 2_500}),
    (0.20, {"phase": "EXPANSION", "basis_points": 5_000, "deny_symbols": ["SYM7"]}),
    (0.10, {"phase": "ROLLED_BACK"}),
    (0.10, {"phase": "SHADOW"}),
)


class InProcessL3:
    """The real L3 in this process, which now and then is not there."""

    def __init__(self, config: L3ExecutionConfig, rng: random.Random) -> None:
        self._providers = {
            kind: create_execution_provider(kind, level="L3", config=config) for kind in AssetClass
        }
        self._rng = rng

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return the fill of L3; raise `Unavailable` for one of a hundred."""
        if self._rng.random() < FAILURES_SHARE:
            raise Unavailable("the simulator was not there")
        provider = self._providers[request.asset_class]
        fill = provider.execute(request.order, request.market, request.bar, seed=seed)
        if fill is None:
            raise InvariantViolation("L3 gave no fill")
        return fill


def drawn_request(rng: random.Random, number: int) -> ExecutionRequest:
    """Return an order of any kind, in a market of five levels, with a bar for most."""
    mid = Decimal(rng.randrange(5_000, 50_000)) / 100
    tick = Decimal("0.01")
    half = rng.randrange(1, 5) * tick
    bids: list[PriceLevel] = []
    asks: list[PriceLevel] = []
    for level in range(5):
        bids.append((mid - half - level * tick, Decimal(rng.randrange(1, 9) * 100)))
        asks.append((mid + half + level * tick, Decimal(rng.randrange(1, 9) * 100)))
    side = rng.choice((Side.BUY, Side.SELL))
    limited = rng.random() < 0.5  # noqa: PLR2004 - a fair coin
    bar = None
    if rng.random() < 0.8:  # noqa: PLR2004
        reach = Decimal(rng.randrange(1, 60)) / 100
        bar = BarData(mid, mid + reach, mid - reach, mid, Decimal(rng.randrange(2_000)), 60_000)
    offset = rng.randrange(-3, 4) * tick
    order = Order(
        symbol=rng.choice(SYMBOLS),
        side=side,
        quantity=Decimal(rng.randrange(1, 2_000)),
        type=OrderType.LIMIT if limited else OrderType.MARKET,
        limit_price=mid + offset if limited else None,
        time_in_force=rng.choice((TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)),
        client_order_id=f"order-{number}" if rng.random() < 0.5 else "",  # noqa: PLR2004
    )
    market = MarketState(
        timestamp_ms=1_700_000_000_000 + number,
        bids=tuple(bids),
        asks=tuple(asks),
        last_price=mid,
        adv_notional=Decimal(100_000_000),
        volatility=Decimal("0.02"),
    )
    return ExecutionRequest(order, market, bar, AssetClass.EQUITY)


async def record(folder: Path, count: int, seed: int, config: L3ExecutionConfig) -> dict[str, Any]:
    """Record `count` decisions below `folder` and return what was measured."""
    rng = random.Random(seed)  # noqa: S311 - a benchmark's orders
    with running_redis(folder / "redis") as redis:
        os.environ["TOUCHSTONE_REDIS_URL"] = f"redis://127.0.0.1:{redis.port}/0"
        os.environ["TOUCHSTONE_DATA_DIR"] = str(folder)
        settings = load(
            RouterSettings,
            decision_log_queue_size=100_000,
            decision_log_bytes_max=64 * 1024**3,
            auto_rollback_enabled=False,
        )
        async with wire(settings, InProcessL3(config, rng)) as components:
            components.decisions.learn_l3(config.model_dump(mode="json"), build_id())
            # State and lease are there when orders are shadowed.
            while components.router.assign(SYMBOLS[0]).rule is not Rule.SHADOW:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            started = time.perf_counter()
            await _orders(components, count, rng)
            seconds = time.perf_counter() - started
            depth = components.decisions.depth
        return {
            "count": count,
            "seconds": round(seconds, 2),
            "per_second": round(count / seconds),
            "left_in_the_queue": depth,
            "folder": str(components.decisions.folder),
        }


async def _orders(components: Components, count: int, rng: random.Random) -> None:
    number = 0
    for share, changes in PHASES:
        if changes is not None:
            await _change(components, changes)
        for _ in range(round(share * count)):
            request = drawn_request(rng, number)
            if number % 2:
                request = decode_execution_request(encode_execution_request(request))
            try:
                await components.router.execute(request, rng.choice(ACCOUNTS))
            except Fault as fault:
                raise SystemExit(f"decisions: order {number}: {fault}") from fault
            number += 1
            if number % 16 == 0:
                await asyncio.sleep(0)
            # The log lets go of what it cannot hold; here nothing may be let go.
            while components.decisions.depth > QUEUE_FULL_ENOUGH:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def _change(components: Components, changes: dict[str, Any]) -> None:
    control = components.control
    present = await control.present()
    expected = 0 if present is None else present.generation
    if changes["phase"] == "ROLLED_BACK":
        await control.rollback(actor="bench", reason="part of the recording")
    elif control.latch is not None or (present is not None and present.state == "ROLLED_BACK"):
        await control.rearm(
            changes["phase"], expected=expected, actor="bench", reason="part of the recording"
        )
    else:
        await control.put(changes, expected=expected, actor="bench", reason="part of the recording")


def cost_on_the_loop(count: int = 20_000) -> dict[str, float]:
    """Return what `record` costs the caller, in microseconds, with the writer at work."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - only here

    from services.router.decision_log import DecisionLog, DecisionMetrics, Made  # noqa: PLC0415
    from services.router.decision_segments import Segments  # noqa: PLC0415
    from touchstone.rollout.assignment import Arm, RoutingConfig, assign  # noqa: PLC0415
    from touchstone.rollout.state import Phase, RolloutDocument  # noqa: PLC0415

    rng = random.Random(1)  # noqa: S311
    config = RoutingConfig(document=RolloutDocument(phase=Phase.SHADOW), expires_at=1e18)
    l2 = create_execution_provider(AssetClass.EQUITY, level="L2")
    requests = [drawn_request(rng, number) for number in range(1_000)]
    fills = [l2.execute(r.order, r.market, r.bar, seed=0) for r in requests]
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        segments = Segments(
            Path(folder), bytes_max=1 << 40, segment_bytes=1 << 25, age_seconds_max=1e9
        )
        metrics = DecisionMetrics(CollectorRegistry())
        log = DecisionLog(segments, metrics, "bench", queue_size=count)
        log.start()
        for number in range(count):
            request, fill = requests[number % 1_000], fills[number % 1_000]
            assignment = assign(request.order.symbol, "", config, 0.0)
            started = time.perf_counter()
            log.record(
                Made(
                    *(f"{number:032x}", time.time(), "", request, 0, config, 0.0),
                    *(assignment, Arm.L2, fill),
                )
            )
            taken.append((time.perf_counter() - started) * 1e6)
            if number % 2 == 0:
                time.sleep(0.0002)
        log.close()
    taken.sort()
    return {
        "p50_us": round(statistics.median(taken), 2),
        "p99_us": round(taken[int(0.99 * count)], 2),
        "mean_us": round(statistics.fmean(taken), 2),
    }


def main() -> int:
    """Record, and print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="decisions to record")
    parser.add_argument("--dir", type=Path, required=True, help="data folder to record below")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--l3-config", type=Path, default=Path("configs/execution_l3.yaml"))
    parser.add_argument("--overhead", action="store_true", help="also measure the loop's cost")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    config = L3ExecutionConfig.from_yaml(options.l3_config)
    options.dir.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(record(options.dir.absolute(), options.count, options.seed, config))
    if options.overhead:
        found["record_call"] = cost_on_the_loop()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
