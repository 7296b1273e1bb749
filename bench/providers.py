"""Measure what one execution costs, and what checking a request costs: `python bench/providers.py`.

Everything runs in this process; the market has ten levels a side. A figure is that of the fastest
round, in microseconds of processor time: what else the machine does can only add to it. `--json`
writes one JSON object; `--before FILE` reads such an object, that another version of the code
wrote, and shows how many times as fast this one is.

`touchstone bench providers` measures rates as well (`measure`): 500 different orders, a third of
them limit orders that rest, the others taking one to four levels, each with a seed of its own; in
batch by `execute_many`, and one by one. The preset full has every model on.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure: rounds of the 500 orders, of which the fastest counts."""

    rounds: int = 15


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that has to be reached: at least, or below where it is a time."""

    case: str
    unit: str
    limit: float

    def holds(self, figure: float) -> bool:
        """Say whether a figure reaches it."""
        return figure < self.limit if self.unit == "ms" else figure >= self.limit


BARS = (
    Bar("l2, in batch", "1/s", 100_000),
    Bar("l3 minimal, in batch", "1/s", 60_000),
    Bar("l3 minimal, one by one", "1/s", 25_000),
    Bar("l3 full, one by one", "1/s", 8_000),
    Bar("l3 full, 95th percentile", "ms", 0.3),
)


def mixed_orders(count: int = 500) -> list[Order]:
    """Return orders that differ: two in three take up to four levels, one rests."""
    return [
        Order("ABC", Side.BUY, Decimal(100 + number), OrderType.LIMIT, Decimal("99.98"))
        if number % 3 == 0
        else Order(
            "ABC",
            Side.BUY if number % 2 else Side.SELL,
            Decimal(50 + 37 * number % 1_900),
            client_order_id=f"o{number}",
        )
        for number in range(count)
    ]


def told_market() -> MarketState:
    """Return the market with its day's volume and volatility, which impact models ask for."""
    return replace(market(), adv_notional=Decimal(100_000_000), volatility=Decimal("0.02"))


def in_batch(provider: ExecutionProvider, rounds: int) -> float:
    """Return executions a second of `execute_many`, in the fastest round."""
    asked, seen, best = mixed_orders(), told_market(), math.inf
    for _ in range(rounds):
        started = time.process_time()
        provider.execute_many(asked, seen)
        best = min(best, time.process_time() - started)
    return len(asked) / best


def one_by_one(
    provider: ExecutionProvider, rounds: int, during: BarData | None = None
) -> tuple[float, float]:
    """Return executions a second, and the 95th percentile in milliseconds, of the fastest round."""
    asked, seen = mixed_orders(), told_market()
    rate, late_ms = 0.0, math.inf
    for first_seed in range(rounds):
        times = []
        for seed, order in enumerate(asked, first_seed):
            started = time.process_time_ns()
            provider.execute(order, seen, during, seed=seed)
            times.append(time.process_time_ns() - started)
        rate = max(rate, len(asked) / sum(times) * 1e9)
        late_ms = min(late_ms, sorted(times)[len(times) * 95 // 100] / 1e6)
    return rate, late_ms


def measure(options: Options, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return the document of `touchstone bench providers`: figures, and the bars that they meet."""
    two = create_execution_provider(AssetClass.EQUITY, "L2")
    three = {
        preset: create_execution_provider(AssetClass.EQUITY, "L3", config=create_l3_config(preset))
        for preset in ("minimal", "equity", "full")
    }
    figures: dict[str, float] = {}
    progress("in batch")
    figures["l2, in batch"] = in_batch(two, options.rounds)
    for preset, provider in three.items():
        figures[f"l3 {preset}, in batch"] = in_batch(provider, options.rounds)
    progress("one by one")
    figures["l2, one by one"], _ = one_by_one(two, options.rounds)
    for preset, provider in three.items():
        rate, late_ms = one_by_one(provider, options.rounds)
        figures[f"l3 {preset}, one by one"] = rate
        figures[f"l3 {preset}, 95th percentile"] = late_ms
    progress("over a bar")
    rounds = max(1, options.rounds // 5)
    rate, late_ms = one_by_one(three["full"], rounds, bar())
    figures["l3 full over a minute's bar, one by one"] = rate
    figures["l3 full over a minute's bar, 95th percentile"] = late_ms
    bars = [
        {
            "case": each.case,
            "measured": figures[each.case],
            "limit": each.limit,
            "unit": each.unit,
            "holds": each.holds(figures[each.case]),
        }
        for each in BARS
    ]
    return {
        "rounds": options.rounds,
        "orders": len(mixed_orders()),
        "figures": figures,
        "bars": bars,
    }


def held(document: dict[str, Any]) -> bool:
    """Say whether every bar holds."""
    return all(bar["holds"] for bar in document["bars"])


def lines_of(document: dict[str, Any]) -> list[str]:
    """Return the document as lines to read: every figure, and beside it the bar it has."""
    bars = {each["case"]: each for each in document["bars"]}
    lines = []
    for case, figure in document["figures"].items():
        late = case.endswith("percentile")
        shown = f"{figure:>12.3f} ms" if late else f"{figure:>12,.0f} /s"
        bar = bars.get(case)
        if bar is not None:
            limit = f"below {bar['limit']:g} ms" if late else f"at least {bar['limit']:,.0f} /s"
            shown += f"   {limit}: {'holds' if bar['holds'] else 'DOES NOT HOLD'}"
        lines.append(f"{case:<48}{shown}")
    return lines


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
