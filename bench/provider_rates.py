"""Measure executions a second of both levels: `touchstone bench providers`.

Each round has 500 different orders, a third of which rest and the others take one to four levels of
ten, each with a seed of its own, different ones in every round. In batch they are one call of
`execute_many` against one market; one by one each has a market of its own, which no call has seen
before. Cases take turns within a round; a figure is the median of the rounds. Times are of the
processor: what else the machine does adds to them, but far less than to a clock's.
"""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.providers import bar, market
from execution_providers import (
    AssetClass,
    ExecutionProvider,
    Fill,
    MarketState,
    Order,
    OrderType,
    Side,
    create_execution_provider,
)
from lob import backend
from lob.config import create_l3_config

ORDERS: Final = 500
PRESETS: Final = ("minimal", "equity", "full")
SCHEMA: Final = "touchstone.bench.providers/1"
PERCENTILES: Final = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}
GUIDE: Final = {"minimal": 15_000, "full": 1_000}
"""Executions a second that the deployment guide states for two presets; its p95 is 1 ms."""
GUIDE_P95_MS: Final = 1.0

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure: rounds of the 500 orders."""

    rounds: int = 15


class Case(NamedTuple):
    """One way to execute the orders: provider, in batch or one by one, and what is looked at."""

    name: str
    provider: str
    batch: bool = False
    told: bool = False
    during: bool = False


class Bar(NamedTuple):
    """A figure that has to be reached: at least, or below where it is a time."""

    case: str
    figure: str
    limit: float
    guide: float | None = None

    def holds(self, figure: float) -> bool:
        """Say whether a figure reaches it."""
        return figure < self.limit if self.figure.endswith("_ms") else figure >= self.limit

    def over_guide(self, figure: float) -> float | None:
        """Return how many times as good as the guide's figure it is; None where it has none."""
        if self.guide is None:
            return None
        return self.guide / figure if self.figure.endswith("_ms") else figure / self.guide


CASES: Final = (
    Case("L2, in batch", "L2", batch=True),
    Case("L2, in batch, attributions read", "L2", batch=True, told=True),
    Case("L2, one by one", "L2"),
    Case("L3 minimal, in batch", "minimal", batch=True),
    Case("L3 minimal, in batch, attributions read", "minimal", batch=True, told=True),
    Case("L3 minimal, one by one", "minimal"),
    Case("L3 equity, in batch", "equity", batch=True),
    Case("L3 equity, one by one", "equity"),
    Case("L3 full, in batch", "full", batch=True),
    Case("L3 full, one by one", "full"),
    Case("L3 full, one by one, attributions read", "full", told=True),
    Case("L3 minimal over a minute's bar, one by one", "minimal", during=True),
    Case("L3 full over a minute's bar, one by one", "full", during=True),
)
RATE: Final = "executions_per_second"
BARS: Final = (
    Bar("L2, in batch", RATE, 100_000),
    Bar("L3 minimal, in batch", RATE, 60_000, GUIDE["minimal"]),
    Bar("L3 minimal, one by one", RATE, 25_000, GUIDE["minimal"]),
    Bar("L3 full, one by one", RATE, 8_000, GUIDE["full"]),
    Bar("L3 full, one by one", "p95_ms", 0.3, GUIDE_P95_MS),
)


def mixed_orders(count: int = ORDERS) -> list[Order]:
    """Return orders that differ: two in three take one to four levels, one rests."""
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


def told_market(place: int = 0) -> MarketState:
    """Return ten levels a side with the day's volume and volatility; sizes are those of a place."""
    seen = market()
    bids, asks = (
        tuple(
            (price, size + (place * 7 + level) % 40) for level, (price, size) in enumerate(levels)
        )
        for levels in (seen.bids, seen.asks)
    )
    return replace(
        seen,
        timestamp_ms=seen.timestamp_ms + place,
        bids=bids,
        asks=asks,
        adv_notional=Decimal(100_000_000),
        volatility=Decimal("0.02"),
    )


def providers() -> dict[str, ExecutionProvider]:
    """Return the providers by the name that cases have for them."""
    made = {"L2": create_execution_provider(AssetClass.EQUITY, "L2")}
    for preset in PRESETS:
        config = create_l3_config(preset)
        made[preset] = create_execution_provider(AssetClass.EQUITY, "L3", config=config)
    return made


def seconds_of(case: Case, provider: ExecutionProvider, round_number: int) -> list[float]:
    """Return the seconds of the batch, or of each execution, in one round of a case."""
    asked = mixed_orders()
    first = round_number * len(asked)
    seeds = range(first, first + len(asked))
    markets = [told_market(seed) for seed in (seeds[:1] if case.batch else seeds)]
    during = bar() if case.during else None
    clock, times = time.process_time_ns, []
    gc.collect()
    if case.batch:
        started = clock()
        fills = provider.execute_many(asked, markets[0], during, seeds=seeds)
        if case.told:
            for fill in fills:
                _look_at(fill)
        return [(clock() - started) / 1e9]
    for order, seen, seed in zip(asked, markets, seeds, strict=True):
        started = clock()
        answer = provider.execute(order, seen, during, seed=seed)
        if case.told:
            _look_at(answer)
        times.append((clock() - started) / 1e9)
    return times


def _look_at(fill: object) -> None:
    """Have the attribution made, as an answer that is written down has it."""
    if not isinstance(fill, Fill) or not fill.attribution:
        raise AssertionError(f"not executed: {fill}")


def figures_of(case: Case, rounds: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the median of the rounds, and their range; for single calls their percentiles too."""
    rates = [ORDERS / sum(times) for times in rounds]
    found = {RATE: statistics.median(rates), "lowest": min(rates), "highest": max(rates)}
    if not case.batch:
        for name, level in PERCENTILES.items():
            cuts = [statistics.quantiles(times, n=100)[level - 1] for times in rounds]
            found[name] = statistics.median(cuts) * 1_000
    return found


def measure(options: Options, progress: Callable[[str], None]) -> Document:
    """Return the document of `touchstone bench providers`: figures, and the bars that they meet."""
    made = providers()
    rounds: dict[str, list[list[float]]] = {case.name: [] for case in CASES}
    # Seeds of round 0 warm up caches of closed forms, which live as long as a process does.
    for number in range(options.rounds + 1):
        progress(f"round {number} of {options.rounds}" if number else "warming up")
        for case in CASES:
            times = seconds_of(case, made[case.provider], number)
            if number:
                rounds[case.name].append(times)
    figures = {case.name: figures_of(case, rounds[case.name]) for case in CASES}
    return {
        "schema": SCHEMA,
        "machine": {
            "processor": _processor(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "book": backend(),
            "load_average": [round(load, 2) for load in os.getloadavg()],
        },
        "rounds": options.rounds,
        "orders": ORDERS,
        "figures": figures,
        "bars": [_judged(each, figures[each.case][each.figure]) for each in BARS],
    }


def held(document: Document) -> bool:
    """Say whether every bar holds."""
    return all(each["holds"] for each in document["bars"])


def lines_of(document: Document) -> list[str]:
    """Return the document as lines to read: every case, then every bar."""
    lines = [f"{'case':<44}{'executions/s':>13}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"]
    for name, found in document["figures"].items():
        late = "".join(f"{found[each]:>9.3f}" if each in found else " " * 9 for each in PERCENTILES)
        lines.append(f"{name:<44}{found[RATE]:>13,.0f}{late}".rstrip())
    lines.append("")
    for each in document["bars"]:
        timed = each["figure"] != RATE
        measured = f"{each['measured']:.3f}" if timed else f"{each['measured']:,.0f}"
        what = f"{each['case']}, {'95th percentile, ms' if timed else 'executions/s'}"
        limit = f"{'<' if timed else '>='} {each['limit']:,g}"
        over = "" if each["over_guide"] is None else f"  {each['over_guide']:.1f} x the guide's"
        verdict = "holds" if each["holds"] else "MISSED"
        lines.append(f"{what:<44}{measured:>13} {limit:>10}  {verdict:<7}{over}".rstrip())
    return lines


def _judged(bar_: Bar, measured: float) -> Document:
    return {
        "case": bar_.case,
        "figure": bar_.figure,
        "limit": bar_.limit,
        "measured": measured,
        "holds": bar_.holds(measured),
        "guide": bar_.guide,
        "over_guide": bar_.over_guide(measured),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"
