"""Measure the paper exchange with real processes: orders over REST, level2 to many clients.

The load runs beside the exchange on the same processors and is counted in. The cases take turns in
rounds, so that whatever else the machine does meets all of them alike.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.exchange_stack import ALGORITHMS, Served, load, running_exchange
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
from lob.errors import Fault

__all__ = ["Options", "held", "lines_of", "measure", "write"]

Document = dict[str, Any]

CONNECTIONS: Final = 16
OPEN_RATE: Final = 525.0
"""Requests a second: one of 21 is a cancel, so that 500 are orders."""
MADE_RATE_MAX: Final = 4_000.0
"""How many orders a second are made beforehand: more than are expected to be taken."""
ORDERS_A_CANCEL: Final = 20
CLIENTS: Final = 20
SLOW: Final = 4
FEED_FLOW: Final = {"FLOW": "zero-intelligence", "FLOW_RATE": 100, "FLOW_SPEED": 5}
"""A flow that changes levels faster than they have to be delivered, and is cheap to make."""
WARM_SECONDS: Final = 0.5

REST: Final = {
    "orders, ES256": {"keys": ("ES256",), "mode": "closed", "long_way": False},
    "orders, Ed25519": {"keys": ("EdDSA",), "mode": "closed", "long_way": False},
    "orders, ES256, the framework's way": {"keys": ("ES256",), "mode": "closed", "long_way": True},
    "orders, 500/s open loop": {"keys": ALGORITHMS, "mode": "open", "long_way": False},
}
FEED: Final = {
    "level2 to 1 client": {"clients": 1, "slow": 0},
    f"level2 to {CLIENTS} clients": {"clients": CLIENTS, "slow": 0},
    f"level2 to {CLIENTS} beside {SLOW} slow": {"clients": CLIENTS, "slow": SLOW},
}
_ES256, _ED25519, _LONG, _OPEN = REST
_ONE, _MANY, _BESIDE_SLOW = FEED


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure: `rounds` blocks of `seconds` for each case."""

    seconds: float = 4.0
    rounds: int = 3


BARS: Final = (
    Bar("orders/s over REST, ES256", _ES256, "orders_per_second", 1_500, at_least=True),
    Bar("orders/s over REST, Ed25519", _ED25519, "orders_per_second", 1_500, at_least=True),
    Bar("ack p99 at 500 orders/s, us", _OPEN, "ack_p99_us", 10_000, at_least=False),
    Bar("level2 updates/s to 20 clients", _MANY, "levels_per_second", 20_000, at_least=True),
    Bar(
        "quick way's CPU over the framework's",
        _ES256,
        "exchange_cpu_us",
        0.9,
        at_least=False,
        over=_LONG,
    ),
    Bar(
        "updates/s beside slow clients over without",
        _BESIDE_SLOW,
        "levels_per_second",
        0.8,
        at_least=True,
        over=_MANY,
    ),
    Bar("slow clients left", _BESIDE_SLOW, "slow_left", 0, at_least=False),
)


def measure(options: Options, home: Path, say: Callable[[str], None]) -> Document:
    """Return everything measured, as JSON values.

    Raises:
        Fault: a process did not start, an order was refused, or a client's sequence had a gap.
    """
    blocks: dict[str, list[Document]] = {name: [] for name in (*REST, *FEED)}
    with (
        tempfile.TemporaryDirectory(prefix="touchstone-bench-") as folder,
        running_exchange(home, Path(folder) / "rest") as rest,
        running_exchange(home, Path(folder) / "feed", **FEED_FLOW) as feed,
    ):
        feed.pause_flow(True)
        for name in REST:
            rest_block(rest, home, name, WARM_SECONDS)
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for name in REST:
                blocks[name].append(rest_block(rest, home, name, options.seconds))
            feed.pause_flow(False)
            for name in FEED:
                blocks[name].append(feed_block(feed, home, name, options.seconds))
            feed.pause_flow(True)
    document: Document = {
        "machine": this_machine(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "cases": {
            name: (rest_summary if name in REST else feed_summary)(found)
            for name, found in blocks.items()
        },
    }
    document["bars"] = bars_of(document)
    return document


def rest_block(served: Served, home: Path, name: str, seconds: float) -> Document:
    """Run one block of orders; raises `Fault` where one was refused."""
    case = REST[name]
    found = load(
        served,
        home,
        "exchange_load",
        mode=case["mode"],
        long_way=case["long_way"],
        keys=[key for algorithm in case["keys"] for key in served.keys[algorithm]],  # type: ignore[attr-defined]
        connections=CONNECTIONS,
        seconds=seconds,
        rate=OPEN_RATE if case["mode"] == "open" else MADE_RATE_MAX,
        orders_a_cancel=ORDERS_A_CANCEL,
    )
    if found["errors"] or not found["orders"]:
        raise Fault(f"{name}: {found['errors']} errors, the first: {found['first_error']}")
    return found


def feed_block(served: Served, home: Path, name: str, seconds: float) -> Document:
    """Run one block of the feed; raises `Fault` where a client's sequence had a gap."""
    found = load(
        served, home, "exchange_feed", seconds=seconds, warm_seconds=WARM_SECONDS, **FEED[name]
    )
    if found["gaps"]:
        raise Fault(f"{name}: {found['gaps']} gaps in sequences")
    return found


def rest_summary(blocks: Sequence[Document]) -> Document:
    """Return one case's figures: medians over blocks; 99th percentiles over all answers."""
    acks = [ack for block in blocks for ack in block["latency_us"]]
    return {
        "orders": sum(block["orders"] for block in blocks),
        "cancel_requests": sum(block["cancels"] for block in blocks),
        "orders_per_second": median_of(blocks, lambda one: one["orders"] / one["seconds"]),
        "ack_p50_us": statistics.median(acks),
        "ack_p99_us": percentile(acks, 0.99),
        "exchange_cpu_us": median_of(
            blocks, lambda one: one["exchange_cpu_seconds"] / one["orders"] * 1e6
        ),
        "load_cpu_us": median_of(blocks, lambda one: one["cpu_seconds"] / one["orders"] * 1e6),
    }


def feed_summary(blocks: Sequence[Document]) -> Document:
    """Return one case's figures: medians over blocks; rates are of the slowest counted client."""
    pauses = [pause for block in blocks for pause in block["pauses_us"]]
    return {
        "levels_per_second": median_of(blocks, lambda one: min(one["levels"]) / one["seconds"]),
        "delivered_per_second": median_of(blocks, lambda one: sum(one["levels"]) / one["seconds"]),
        "bytes_per_second": median_of(blocks, lambda one: one["bytes"] / one["seconds"]),
        "frames_per_second": median_of(blocks, lambda one: one["frames"] / one["seconds"]),
        "pause_p99_us": percentile(pauses, 0.99),
        "pause_max_us": max(pauses),
        "exchange_cpu_share": median_of(
            blocks, lambda one: one["exchange_cpu_seconds"] / (one["seconds"] + WARM_SECONDS)
        ),
        "load_cpu_share": median_of(blocks, lambda one: one["cpu_seconds"] / one["seconds"]),
        "slow_left": max(block["slow"] - block["slow_cut_off"] for block in blocks),
    }


def bars_of(document: Document) -> list[Document]:
    """Return each promise with what was measured and whether it holds."""
    bars = []
    for bar in BARS:
        measured = document["cases"][bar.case][bar.figure]
        if bar.over:
            measured /= document["cases"][bar.over][bar.figure]
        bars.append(judged(bar, measured))
    return bars


def lines_of(document: Document) -> list[str]:
    """Return the results as lines for people."""
    cases = document["cases"]
    lines = [f"{'case':<38}{'orders/s':>10}{'ack p50':>10}{'ack p99':>10}  CPU us/order"]
    for name in REST:
        case = cases[name]
        lines.append(
            f"{name:<38}{case['orders_per_second']:>10,.0f}{case['ack_p50_us'] / 1e3:>7.2f} ms"
            f"{case['ack_p99_us'] / 1e3:>7.2f} ms  exchange {case['exchange_cpu_us']:.0f},"
            f" load {case['load_cpu_us']:.0f}"
        )
    lines += ["", f"{'case':<38}{'levels/s':>10}{'MB/s':>10}{'pause p99':>10}  CPU share"]
    for name in FEED:
        case = cases[name]
        lines.append(
            f"{name:<38}{case['levels_per_second']:>10,.0f}"
            f"{case['bytes_per_second'] / 1e6:>10.1f}{case['pause_p99_us'] / 1e3:>7.1f} ms"
            f"  exchange {case['exchange_cpu_share']:.2f}, load {case['load_cpu_share']:.2f}"
        )
    lines.append("")
    for bar in document["bars"]:
        sign = ">=" if bar["at_least"] else "<="
        verdict = "holds" if bar["holds"] else "MISSED"
        lines.append(
            f"{bar['name']:<44}{bar['measured']:>12,.2f} {sign} {bar['target']:>7,g}  {verdict}"
        )
    return lines


def write(document: Document, path: Path) -> None:
    """Put the results between the marks of the documentation's page."""
    said = (
        f"{document['rounds']} rounds of {document['seconds']:g} s a case; "
        f"{described_machine(document['machine'])}"
    )
    put_results(path, lines_of(document), said)
