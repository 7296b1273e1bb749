"""Measure executions a second of the providers, in this process: `python bench/providers.py`.

The market has ten levels a side. `--json` writes one JSON object; otherwise a table.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal

from execution_providers import (
    AssetClass,
    BarData,
    ExecutionProvider,
    MarketState,
    Order,
    OrderType,
    Side,
    create_execution_provider,
)
from lob.config import create_l3_config

ROUNDS = 5
LEVELS = 10


def market() -> MarketState:
    """Return ten cent-wide levels a side around 100."""
    cents = [Decimal(level) / 100 for level in range(LEVELS)]
    return MarketState(
        timestamp_ms=1_700_000_000_000,
        bids=tuple((Decimal("99.99") - cent, Decimal(500)) for cent in cents),
        asks=tuple((Decimal("100.01") + cent, Decimal(500)) for cent in cents),
        last_price=Decimal(100),
    )


def bar() -> BarData:
    """Return a minute of 50 bps range in which 200,000 trade."""
    first, high, low, last = (Decimal(text) for text in ("100", "100.30", "99.80", "100.10"))
    return BarData(first, high, low, last, volume=Decimal(200_000), duration_ms=60_000)


def executions_per_second(run: Callable[[int], object], seconds: float) -> float:
    """Return the median over rounds of how often `run` runs in a second."""
    rates = []
    for _ in range(ROUNDS):
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            run(count)
            count += 1
        rates.append(count / elapsed)
    return statistics.median(rates)


def cases() -> dict[str, Callable[[int], object]]:
    """Return what is measured, by name."""
    two = create_execution_provider(AssetClass.EQUITY, "L2")
    minimal = create_execution_provider(AssetClass.EQUITY, "L3", config=create_l3_config("minimal"))
    equity = create_execution_provider(AssetClass.EQUITY, "L3", config=create_l3_config("equity"))
    taking = Order("ABC", Side.BUY, Decimal(700))
    resting = Order("ABC", Side.BUY, Decimal(100), OrderType.LIMIT, Decimal("99.99"))
    seen, minute = market(), bar()

    def case(
        provider: ExecutionProvider, order: Order, during: BarData | None
    ) -> Callable[[int], object]:
        return lambda seed: provider.execute(order, seen, during, seed=seed)

    return {
        "l2 market": case(two, taking, None),
        "l3 minimal market": case(minimal, taking, None),
        "l3 minimal market, bar": case(minimal, taking, minute),
        "l3 minimal limit resting over the bar": case(minimal, resting, minute),
        "l3 equity market": case(equity, taking, None),
        "l3 equity market, bar": case(equity, taking, minute),
        "l3 equity limit resting over the bar": case(equity, resting, minute),
    }


def main() -> int:
    """Measure every case and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a round")
    arguments = parser.parse_args()
    rates = {
        name: round(executions_per_second(run, arguments.seconds)) for name, run in cases().items()
    }
    if arguments.json:
        print(json.dumps({"unit": "executions/s", "rounds": ROUNDS, "rates": rates}, indent=2))
    else:
        for name, rate in rates.items():
            print(f"{name:<40}{rate:>9,} /s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
