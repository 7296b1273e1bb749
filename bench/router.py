"""Measure the path REST -> router -> gRPC -> L3 and back, with real processes on this machine.

The load generator runs beside the router, the simulator and Redis, and is counted in. The cases
take turns in rounds, so that whatever else the machine does meets all of them alike.
"""

import gc
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.router_stack import ACCOUNT, Stack, running_stack
from lob.errors import Fault
from touchstone.rollout.assignment import RoutingConfig, assign
from touchstone.rollout.phases import Phase
from touchstone.rollout.state import RolloutDocument

Document = dict[str, Any]

ONE: Final = "/v1/executions"
MANY: Final = "/v1/executions/batch"
RATE: Final = 500.0
BATCH: Final = 256
WARM_SECONDS: Final = 0.5
ASSIGNMENTS: Final = 2_000
RESULTS_BEGIN: Final = "<!-- results -->\n"
RESULTS_END: Final = "<!-- /results -->\n"
WRONG: Final = "answered by another arm than asked"


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure: `rounds` blocks of `seconds` for each case."""

    seconds: float = 4.0
    rounds: int = 5


class Case(NamedTuple):
    """One kind of load; `arm` is who has to answer all of it."""

    name: str
    arm: str
    job: Document


CASES: Final = (
    Case(
        "L2 in process, 500/s open loop",
        "L2",
        {"path": ONE, "mode": "open", "rate": RATE, "connections": 16},
    ),
    Case(
        "L3 over gRPC, 500/s open loop",
        "L3",
        {"path": f"{ONE}?account={ACCOUNT}", "mode": "open", "rate": RATE, "connections": 16},
    ),
    Case(
        "L3 single, 16 connections",
        "L3",
        {"path": f"{ONE}?account={ACCOUNT}", "mode": "closed", "connections": 16},
    ),
    Case(
        "L2 single, 16 connections",
        "L2",
        {"path": ONE, "mode": "closed", "connections": 16},
    ),
    Case(
        f"L3 batches of {BATCH}, 4 connections",
        "L3",
        {
            "path": f"{MANY}?account={ACCOUNT}",
            "mode": "closed",
            "connections": 4,
            "batch": BATCH,
        },
    ),
)


class Bar(NamedTuple):
    """One promise: a case's figure, or its ratio to another case's, at most or least a target."""

    name: str
    case: str
    figure: str
    target: float
    at_least: bool
    over: str = ""


BARS: Final = (
    Bar("L2 overhead p50, us", CASES[0].name, "overhead_p50_us", 250, at_least=False),
    Bar("L3 overhead p50, us", CASES[1].name, "overhead_p50_us", 600, at_least=False),
    Bar("L3 overhead p99, us", CASES[1].name, "overhead_p99_us", 2_000, at_least=False),
    Bar("L3 single executions/s", CASES[2].name, "executions_per_second", 3_000, at_least=True),
    Bar(
        "L3 executions/s in batches", CASES[4].name, "executions_per_second", 20_000, at_least=True
    ),
)
ASSIGNMENT: Final = Bar("assignment, us", "", "assignment_us", 2, at_least=False)


def measure(options: Options, home: Path, say: Callable[[str], None]) -> Document:
    """Return everything measured, as JSON values.

    Raises:
        Fault: a process did not start, or answers were errors or came from the wrong arm.
    """
    assignment_us = assignment_microseconds()
    blocks: dict[str, list[Document]] = {case.name: [] for case in CASES}
    with (
        tempfile.TemporaryDirectory(prefix="touchstone-bench-") as folder,
        running_stack(home, Path(folder)) as stack,
    ):
        for case in CASES:
            _block(stack, home, case, WARM_SECONDS)
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for case in CASES:
                blocks[case.name].append(_block(stack, home, case, options.seconds))
    document: Document = {
        "machine": this_machine(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "assignment_us": assignment_us,
        "cases": {name: summary(found) for name, found in blocks.items()},
    }
    document["bars"] = bars_of(document)
    return document


def assignment_microseconds() -> float:
    """Return an assignment's CPU time: the best of several rounds, a thousand symbols a list."""
    listed = tuple(f"LISTED{number:04d}" for number in range(1_000))
    document = RolloutDocument(
        phase=Phase.CANARY, basis_points=500, canary_symbols=listed, deny_symbols=listed
    )
    config = RoutingConfig(document=document, generation=7, expires_at=float("inf"))
    symbols = [f"SYM{number}" for number in range(500)]
    best = float("inf")
    gc.collect()
    for _ in range(50):
        started = time.thread_time()
        for number in range(ASSIGNMENTS):
            assign(symbols[number % 500], "somebody", config, 1.0)
        best = min(best, (time.thread_time() - started) / ASSIGNMENTS)
    return best * 1e6


def _block(stack: Stack, home: Path, case: Case, seconds: float) -> Document:
    found = stack.load(home, seconds=seconds, **case.job)
    if found["errors"]:
        raise Fault(f"{case.name}: {found['errors']} errors, the first: {found['first_error']}")
    answered = sum(found["by_arm"].values())
    block: Document = {
        "answered": answered,
        "other_arm": answered - found["by_arm"][case.arm],
        "executions_per_second": answered / found["seconds"],
        "cpu_us": {name: took / answered * 1e6 for name, took in found["cpu"].items()},
        "latency_us": found["latency_us"],
    }
    if case.job["mode"] == "open":
        provider = found["provider_us"]
        block |= {name: found[name] for name in ("late_us", "seen_us", "provider_us")}
        pairs = zip(found["latency_us"], provider, strict=True)
        block["overhead_us"] = [latency - own for latency, own in pairs]
    return block


def summary(blocks: Sequence[Document]) -> Document:
    """Return one case's figures: medians over its blocks; 99th percentiles over all answers."""
    found: Document = {
        "answered": sum(block["answered"] for block in blocks),
        "other_arm": sum(block["other_arm"] for block in blocks),
        "executions_per_second": median_of(blocks, lambda block: block["executions_per_second"]),
        "cpu_us_per_execution": {
            name: median_of(blocks, lambda block, name=name: block["cpu_us"][name])  # type: ignore[misc]
            for name in blocks[0]["cpu_us"]
        },
    }
    for name in ("latency", "overhead", "provider", "late", "seen"):
        key = f"{name}_us"
        if key in blocks[0]:
            found[f"{name}_p50_us"] = median_of(
                blocks,
                lambda block, key=key: statistics.median(block[key]),  # type: ignore[misc]
            )
            found[f"{name}_p99_us"] = percentile([v for block in blocks for v in block[key]], 0.99)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def bars_of(document: Document) -> list[Document]:
    """Return each promise with what was measured and whether it holds."""
    bars = [judged(ASSIGNMENT, document["assignment_us"])]
    for bar in BARS:
        case = document["cases"][bar.case]
        found = judged(bar, case[bar.figure])
        if case["other_arm"]:
            found |= {"holds": False, "why": f"{case['other_arm']} {WRONG}"}
        bars.append(found)
    return bars


def held(document: Document) -> bool:
    """Return whether every promise holds."""
    return all(bar["holds"] for bar in document["bars"])


def lines_of(document: Document) -> list[str]:
    """Return the results as lines for people."""
    lines = [f"{'case':<36}{'executions/s':>13}{'over p50':>10}{'over p99':>10}  CPU us/execution"]
    for name, case in document["cases"].items():
        spent = ", ".join(f"{who} {us:.0f}" for who, us in case["cpu_us_per_execution"].items())
        over = [case.get(f"overhead_{share}_us") for share in ("p50", "p99")]
        shown = "".join(f"{'-' if us is None else f'{us:.0f} us':>10}" for us in over)
        lines.append(f"{name:<36}{case['executions_per_second']:>13,.0f}{shown}  {spent}")
    lines.append("")
    for bar in document["bars"]:
        sign = ">=" if bar["at_least"] else "<="
        verdict = "holds" if bar["holds"] else "MISSED"
        why = f" ({bar['why']})" if "why" in bar else ""
        lines.append(
            f"{bar['name']:<36}{bar['measured']:>13,.1f} {sign} {bar['target']:>7,g}"
            f"  {verdict}{why}"
        )
    return lines


def write(document: Document, path: Path) -> None:
    """Put the results between the marks of the documentation's page."""
    said = (
        f"{document['rounds']} rounds of {document['seconds']:g} s a case; "
        f"{described_machine(document['machine'])}"
    )
    put_results(path, lines_of(document), said)


def described_machine(machine: Document) -> str:
    """Return what the results were measured on, as the end of a sentence."""
    load = ", ".join(f"{one:.1f}" for one in machine["load_average"])
    return (
        f"{machine['processors']} processors, {machine['system']}, Python {machine['python']}; "
        f"load averages at the end {load}."
    )


def this_machine() -> Document:
    """Return what results are measured on."""
    return {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": os.getloadavg(),
    }


def put_results(path: Path, lines: Sequence[str], said: str) -> None:
    """Put lines, and a sentence below them, between the marks of a documentation page."""
    text = path.read_text()
    before, _, rest = text.partition(RESULTS_BEGIN)
    _, _, after = rest.partition(RESULTS_END)
    block = "\n".join(["```text", *lines, "```", "", said, ""])
    path.write_text(f"{before}{RESULTS_BEGIN}{block}{RESULTS_END}{after}")


def judged(bar: Bar, measured: float) -> Document:
    """Return a promise with what was measured and whether it holds."""
    holds = measured >= bar.target if bar.at_least else measured <= bar.target
    return {
        "name": bar.name,
        "measured": measured,
        "target": bar.target,
        "at_least": bar.at_least,
        "holds": holds,
    }


def median_of(blocks: Sequence[Document], figure: Callable[[Document], float]) -> float:
    """Return the median of a figure over blocks."""
    return statistics.median(figure(block) for block in blocks)
