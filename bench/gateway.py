"""Measure the order gateway with real processes: decisions to bytes, orders a second, REST.

Exchange, Redis and load run beside the gateway on the same processors and are counted in. The cases
take turns in rounds, so that whatever else the machine does meets all of them alike. The journal is
synchronised to the disk throughout.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.gateway_stack import (
    SIZES,
    SYMBOLS,
    GatewayStack,
    disk_alone,
    running_stack,
)
from bench.router import (
    Bar,
    described_machine,
    held,
    judged,
    median_of,
    percentile,
    put_results,
    this_machine,
)
from bench.router_stack import call_json
from lob.errors import Fault
from touchstone.kit.processor_time import computed_seconds

__all__ = ["Options", "held", "lines_of", "measure", "write"]

Document = dict[str, Any]

DECISIONS_A_SECOND: Final = 200.0
UNDER_WAY: Final = 64
"""Twice as many as the gateway keeps connections to a venue: with as many, it and the exchange take
turns with whole bunches of orders, and each stands still for a third of the time."""
REST_RATE: Final = 100.0
WARM_SECONDS: Final = 1.0
REFUSED_SHARE_MAX: Final = 0.02
"""A market order finds no quote, or a lapsed lease, on a machine that stands still for a moment."""
FAR: Final = 0.97

DECISIONS: Final = {
    "decisions, 200/s open loop": {"mode": "open", "rate": DECISIONS_A_SECOND, "fills": True},
    "the same, journal in memory": {
        "mode": "open",
        "rate": DECISIONS_A_SECOND,
        "fills": True,
        "in_memory": True,
    },
    "the same, disk waited for in Python": {
        "mode": "open",
        "rate": DECISIONS_A_SECOND,
        "fills": True,
        "python_disk": True,
    },
    "decisions, 64 under way": {"mode": "closed", "under_way": UNDER_WAY, "fills": True},
    "decisions, 64 under way, none fills": {
        "mode": "closed",
        "under_way": UNDER_WAY,
        "fills": False,
    },
}
REST: Final = {
    "REST, 100/s open loop": {"mode": "open", "rate": REST_RATE, "connections": 16},
    "REST, 16 connections": {"mode": "closed", "connections": 16},
}
_OPEN, _, _, _CLOSED, _ = DECISIONS
_REST_OPEN, _ = REST


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure: `rounds` blocks of `seconds` for each case."""

    seconds: float = 5.0
    rounds: int = 3


BARS: Final = (
    Bar("decision to bytes p50 at 200/s, us", _OPEN, "handed_p50_us", 500, at_least=False),
    Bar("decision to bytes p99 at 200/s, us", _OPEN, "handed_p99_us", 2_000, at_least=False),
    Bar("orders/s, fills included", _CLOSED, "orders_per_second", 1_000, at_least=True),
    Bar("REST answer p99 at 100/s, us", _REST_OPEN, "answered_p99_us", 100_000, at_least=False),
)


def measure(options: Options, home: Path, say: Callable[[str], None]) -> Document:
    """Return everything measured, as JSON values.

    Raises:
        Fault: a process did not start, an order was refused, or one was not over at the end.
    """
    blocks: dict[str, list[Document]] = {name: [] for name in (*DECISIONS, *REST)}
    disk: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="touchstone-bench-") as folder,
        running_stack(home, Path(folder)) as stack,
    ):
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            disk += disk_alone(stack.folder, options.seconds, DECISIONS_A_SECOND)
            for name in DECISIONS:
                blocks[name].append(decisions_block(stack, name, options.seconds))
            for name in REST:
                blocks[name].append(rest_block(stack, name, options.seconds))
    document: Document = {
        "machine": this_machine(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "disk_alone": {
            "p50_us": statistics.median(disk),
            "p99_us": percentile(disk, 0.99),
            "max_us": max(disk),
        },
        "cases": {name: summary(found) for name, found in blocks.items()},
    }
    document["bars"] = bars_of(document)
    return document


def decisions_block(stack: GatewayStack, name: str, seconds: float, **changes: Any) -> Document:
    """Run one block of decisions inside a gateway's process; raises `Fault` where they failed.

    `changes` are of the case's job.
    """
    job = {**DECISIONS[name], "sizes": SIZES, "seconds": seconds, "warm_seconds": WARM_SECONDS}
    job |= changes
    where = stack.beside if job.pop("in_memory", False) else stack.folder
    with tempfile.TemporaryDirectory(dir=where) as folder:
        found = stack.load("gateway_load", job, stack.environment(Path(folder)))
    taken = found["accepted"]
    if not taken or found["refused"] > taken * REFUSED_SHARE_MAX:
        raise Fault(f"{name}: {found['refused']} refused, the first: {found['first_refusal']}")
    return {
        "orders": taken,
        "refused": found["refused"],
        "fills": found["fills"],
        "seconds": found["seconds"],
        "gateway_cpu_seconds": found["cpu_seconds"],
        "exchange_cpu_seconds": found["exchange_cpu_seconds"],
        **{key: found[key] for key in ("handed_us", "sent_us", "answered_us")},
    }


def rest_block(stack: GatewayStack, name: str, seconds: float, **changes: Any) -> Document:
    """Run one block of orders over REST; raises `Fault` where one failed.

    `changes` are of the case's job.
    """
    with stack.gateway() as (port, process):
        far = {symbol: far_price(stack, product) for symbol, product in SYMBOLS.items()}
        job = {**REST[name], "port": port, "sizes": SIZES, "far": far, **changes}
        environment = stack.environment(stack.folder)
        stack.load("gateway_rest_load", {**job, "seconds": WARM_SECONDS}, environment)
        before = computed_seconds(process.pid)
        found = stack.load("gateway_rest_load", {**job, "seconds": seconds}, environment)
        spent = computed_seconds(process.pid) - before
    answered = len(found["latency_us"])
    if not answered or found["errors"] > answered * REFUSED_SHARE_MAX:
        raise Fault(f"{name}: {found['errors']} errors, the first: {found['first_error']}")
    return {
        "orders": answered,
        "seconds": found["seconds"],
        "gateway_cpu_seconds": spent,
        "exchange_cpu_seconds": found["exchange_cpu_seconds"],
        "answered_us": found["latency_us"],
    }


def far_price(stack: GatewayStack, product: str) -> str:
    """Return a price at which nothing buys now, in whole units."""
    path = f"/api/v3/brokerage/market/products/{product}"
    _, found = call_json(stack.exchange.port, "GET", path)
    return str(int(float(found["price"]) * FAR))


def summary(blocks: Sequence[Document]) -> Document:
    """Return one case's figures: medians over blocks; percentiles over all orders."""
    found: Document = {
        "orders": sum(block["orders"] for block in blocks),
        "orders_per_second": median_of(blocks, lambda one: one["orders"] / one["seconds"]),
        "gateway_cpu_us": median_of(
            blocks, lambda one: one["gateway_cpu_seconds"] / one["orders"] * 1e6
        ),
        "exchange_cpu_us": median_of(
            blocks, lambda one: one["exchange_cpu_seconds"] / one["orders"] * 1e6
        ),
    }
    for name in ("fills", "refused"):
        if name in blocks[0]:
            found[name] = sum(block[name] for block in blocks)
    for name in ("handed", "sent", "answered"):
        times = [one for block in blocks for one in block.get(f"{name}_us", ())]
        if times:
            found[f"{name}_p50_us"] = statistics.median(times)
            found[f"{name}_p99_us"] = percentile(times, 0.99)
    return found


def bars_of(document: Document) -> list[Document]:
    """Return each promise with what was measured and whether it holds."""
    return [judged(bar, document["cases"][bar.case][bar.figure]) for bar in BARS]


def lines_of(document: Document) -> list[str]:
    """Return the results as lines for people; times in milliseconds."""
    head = f"{'case':<37}{'orders/s':>9}{'bytes p50':>11}{'p99':>7}{'answer p50':>12}{'p99':>8}"
    lines = [f"{head}  CPU us/order"]
    for name, case in document["cases"].items():
        times = "".join(
            f"{case[key] / 1e3:>{width}.2f}" if key in case else f"{'-':>{width}}"
            for key, width in (
                ("handed_p50_us", 11),
                ("handed_p99_us", 7),
                ("answered_p50_us", 12),
                ("answered_p99_us", 8),
            )
        )
        lines.append(
            f"{name:<37}{case['orders_per_second']:>9,.0f}{times}"
            f"  gateway {case['gateway_cpu_us']:.0f}, exchange {case['exchange_cpu_us']:.0f}"
        )
    disk = document["disk_alone"]
    lines.append(
        f"{'the disk alone, 200/s open loop':<46}{disk['p50_us'] / 1e3:>11.2f}"
        f"{disk['p99_us'] / 1e3:>7.2f}  (at most {disk['max_us'] / 1e3:.1f})"
    )
    lines.append("")
    for bar in document["bars"]:
        sign = ">=" if bar["at_least"] else "<="
        verdict = "holds" if bar["holds"] else "MISSED"
        lines.append(
            f"{bar['name']:<37}{bar['measured']:>12,.1f} {sign} {bar['target']:>7,g}  {verdict}"
        )
    return lines


def write(document: Document, path: Path) -> None:
    """Put the results between the marks of the documentation's page."""
    said = (
        f"{document['rounds']} rounds of {document['seconds']:g} s a case; "
        f"{described_machine(document['machine'])}"
    )
    put_results(path, lines_of(document), said)
