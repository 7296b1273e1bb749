"""Measure what one execution costs, and what checking a request costs: `python bench/providers.py`.

Everything runs in this process; the market has ten levels a side. A figure is that of the fastest
round, in microseconds of processor time: what else the machine does can only add to it. `--json`
writes one JSON object; `--before FILE` reads such an object, that another version of the code
wrote, and shows how many times as fast this one is.

`touchstone bench providers` measures rates: see `bench.provider_rates`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from execution_providers import (
    AssetClass,
    BarData,
    ExecutionProvider,
    ExecutionRequest,
    MarketState,
    Order,
    OrderType,
    Side,
    create_execution_provider,
)
from lob.config import create_l3_config

ROUNDS = 15
LEVELS = 10
NOW_MS = 1_700_000_000_000

Case = Callable[[int], object]


def market() -> MarketState:
    """Return ten cent-wide levels a side around 100."""
    cents = [Decimal(level) / 100 for level in range(LEVELS)]
    return MarketState(
        timestamp_ms=NOW_MS,
        bids=tuple((Decimal("99.99") - cent, Decimal(500)) for cent in cents),
        asks=tuple((Decimal("100.01") + cent, Decimal(500)) for cent in cents),
        last_price=Decimal(100),
    )


def bar() -> BarData:
    """Return a minute of 50 bps range in which 200,000 trade."""
    first, high, low, last = (Decimal(text) for text in ("100", "100.30", "99.80", "100.10"))
    return BarData(first, high, low, last, volume=Decimal(200_000), duration_ms=60_000)


def microseconds(run: Case, seconds: float) -> float:
    """Return how long one call of `run` takes in the fastest round."""
    figures = []
    for _ in range(ROUNDS):
        count, started = 0, time.process_time()
        while (elapsed := time.process_time() - started) < seconds:
            for _ in range(20):  # so that the clock is a small part
                run(count)
                count += 1
        figures.append(elapsed / count * 1e6)
    return min(figures)


def executions() -> dict[str, Case]:
    """Return executions by name, each to be run with a seed."""
    two = create_execution_provider(AssetClass.EQUITY, "L2")
    minimal = create_execution_provider(AssetClass.EQUITY, "L3", config=create_l3_config("minimal"))
    equity = create_execution_provider(AssetClass.EQUITY, "L3", config=create_l3_config("equity"))
    taking = Order("ABC", Side.BUY, Decimal(700))
    sweeping = Order("ABC", Side.BUY, Decimal(2_300))
    resting = Order("ABC", Side.BUY, Decimal(100), OrderType.LIMIT, Decimal("99.99"))
    seen, minute = market(), bar()

    def case(provider: ExecutionProvider, order: Order, during: BarData | None) -> Case:
        return lambda seed: provider.execute(order, seen, during, seed=seed)

    return {
        "l2 market": case(two, taking, None),
        "l2 market, five levels": case(two, sweeping, None),
        "l2 limit": case(two, resting, None),
        "l3 minimal market": case(minimal, taking, None),
        "l3 minimal market, five levels": case(minimal, sweeping, None),
        "l3 minimal limit": case(minimal, resting, None),
        "l3 minimal market, bar": case(minimal, taking, minute),
        "l3 minimal limit resting over the bar": case(minimal, resting, minute),
        "l3 equity market": case(equity, taking, None),
        "l3 equity market, bar": case(equity, taking, minute),
        "l3 equity limit resting over the bar": case(equity, resting, minute),
    }


def checks() -> dict[str, Case]:
    """Return what it takes to make a checked request of text, by part."""
    seen = market()
    bids, asks = (
        [[str(price), str(size)] for price, size in side] for side in (seen.bids, seen.asks)
    )
    order: tuple[Any, ...] = ("ABC", "BUY", "700", "LIMIT", "99.99", None, "GTC")
    figures: tuple[Any, ...] = ("100", "100.30", "99.80", "100.10", "200000", 60_000)

    def market_of_text(_: int) -> MarketState:
        return MarketState(NOW_MS, bids, asks, "100")  # type: ignore[arg-type]

    return {
        "check an order": lambda _: Order(*order),
        "check a market": market_of_text,
        "check a bar": lambda _: BarData(*figures),
        "check a request": lambda seed: ExecutionRequest(
            Order(*order), market_of_text(seed), None, AssetClass.EQUITY
        ),
    }


def main() -> int:
    """Measure every case and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    parser.add_argument("--before", type=Path, help="figures of another version, from --json")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a round")
    arguments = parser.parse_args()
    cases = executions() | checks()
    figures = {name: round(microseconds(run, arguments.seconds), 2) for name, run in cases.items()}
    if arguments.json:
        print(json.dumps({"unit": "us", "rounds": ROUNDS, "figures": figures}, indent=2))
        return 0
    before: dict[str, float] = {}
    if arguments.before is not None:
        before = json.loads(arguments.before.read_text(encoding="utf-8"))["figures"]
    for name, figure in figures.items():
        then = before.get(name)
        ratio = "" if then is None else f"   before {then:>9,.2f} us  {then / figure:>5.2f} times"
        print(f"{name:<40}{figure:>9,.2f} us{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
