"""Write a run down: `docs/benchmarks.md`, its plots and its JSON."""

import json
import textwrap
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.bar_chart import BarRow, bars_svg, short
from bench.bars import TWO_PROCESSES, TWO_THREADS
from bench.book import SCHEMA
from lob.errors import InvalidInput

RATE: Final = "messages_per_second"
OURS: Final = ("native", "python")

TITLES: Final = {
    "native feed": "native: feed replay",
    "native matching": "native: matching",
    "native tape": "native: compiled tape",
    "native two threads": "native: feed, two threads",
    "native stepping": "native: stepping from Python",
    "native calls": "native: calls from Python",
    "python feed": "plain Python: feed replay",
    "python matching": "plain Python: matching",
    "python tape": "plain Python: compiled tape",
    "python calls": "plain Python: calls",
    "hftbacktest exchange_and_local": "hftbacktest L3: exchange and local book",
    "hftbacktest local_only": "hftbacktest: local book only (no queues)",
    "nautilus_trader apply_deltas_prebuilt": "nautilus_trader: apply_deltas, prebuilt",
    "nautilus_trader apply_deltas_with_objects": "nautilus_trader: apply_deltas, making objects",
    "nautilus_trader backtest_engine": "nautilus_trader: BacktestEngine L3",
    "bourse mixed": "bourse: calls from Python",
    "pyorderbook mixed": "pyorderbook: calls",
}

Document = dict[str, Any]


class Plot(NamedTuple):
    """One plot: its file, its title, its unit, and the contestants and figure that it shows."""

    file: str
    title: str
    unit: str
    figure: str
    contestants: tuple[str, ...]
    scale: float = 1.0


FEED: Final = (
    "native feed",
    "native tape",
    "native two threads",
    "python feed",
    *(name for name in TITLES if name.startswith(("hftbacktest", "nautilus"))),
)
CALLS: Final = ("native calls", "bourse mixed", "python calls", "pyorderbook mixed")


def read_document(path: Path) -> Document:
    """Return an earlier run's document; `InvalidInput` where the file is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: {error}; allowed: the JSON of `bench book --json`") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InvalidInput(f"{path}: not the JSON of `bench book --json` (schema {SCHEMA})")
    return found


def write(document: Document, docs: Path) -> list[Path]:
    """Write everything under `docs`; return the files."""
    folder = docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "book.json"]
    written[0].write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    plots = []
    for size in document["sizes"]:
        for plot in (
            Plot(
                f"feed-{size}.svg",
                f"Feed messages a second, {size} live orders",
                "M/s",
                RATE,
                FEED,
                1e-6,
            ),
            Plot(
                f"calls-{size}.svg",
                f"Nanoseconds a command by single calls from Python, {size} live orders",
                "ns",
                RATE,
                CALLS,
                1e9,
            ),
        ):
            rows = list(_rows(document, size, plot))
            if rows:
                path = folder / plot.file
                path.write_text(bars_svg(plot.title, plot.unit, rows), "utf-8")
                plots.append((plot, path))
                written.append(path)
    page = docs / "benchmarks.md"
    page.write_text(_page(document, plots), "utf-8")
    return [page, *written]


def _rows(document: Document, size: str, plot: Plot) -> Iterable[BarRow]:
    contestants = document["sizes"][size]["contestants"]
    for name in plot.contestants:
        figures = contestants.get(name, {}).get("figures", {})
        if plot.figure in figures:
            rate = figures[plot.figure]["median"]
            value = plot.scale / rate if plot.unit == "ns" else plot.scale * rate
            ours = contestants[name]["book"] in OURS
            yield BarRow(TITLES.get(name, name), value, ours)


def _page(document: Document, plots: list[tuple[Plot, Path]]) -> str:
    parts = [_introduction(document)]
    for size, found in document["sizes"].items():
        parts.append(_size(size, found))
        parts += [
            f"![{escape(plot.title)}](benchmarks/{path.name})\n"
            for plot, path in plots
            if path.stem.endswith(f"-{size}")
        ]
    parts += [_stepping(document), _bars(document), _how()]
    return "\n".join(part for part in parts if part)


def _introduction(document: Document) -> str:
    machine = document["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    peers = sorted(
        {
            f"{contestant['book']} {contestant['version']}"
            for found in document["sizes"].values()
            for contestant in found["contestants"].values()
            if contestant.get("version")
        }
    )
    load = ", ".join(str(load) for load in machine["load_average"])
    flags = " --peers" if peers else ""
    if "pace" in document:
        flags += f" --patience {document['pace']['patience_seconds']:g}"
    figures = textwrap.fill(
        f"Machine: {machine['processor']}, {machine['cpus']} CPUs, {machine['system']}, Python "
        f"{machine['python']}; load average at the end {load}. Books: "
        f"{', '.join(document['backends'])}; {packages}. Peers: "
        f"{', '.join(peers) or 'not measured'}. Figures are medians, the rounds: "
        f"{document['rounds']}; in each the contestants took turns.{_pace(document)}"
        f" Seed {document['seed']}.",
        100,
        break_on_hyphens=False,
    )
    return f"""# Benchmarks of the order book

This page is written by a program from [its JSON](benchmarks/book.json):

    ./touchstone bench book{flags} --rounds {document["rounds"]} --write-docs

{figures}
"""


def _size(size: str, found: Document) -> str:
    mix = found["mix"]
    lines = [
        f"## {size} live orders\n",
        (
            f"{found['live_orders']:,} live orders on {found['levels']:,} levels at the end;"
            f" {found['commands']:,} commands and {found['feed_messages']:,} feed messages:"
            f" {mix['add']:.1%} add, {mix['delete']:.1%} delete,"
            f" {mix['reduce_modify']:.1%} reduce or modify, {mix['execute']:.1%} execute.\n"
        ),
        "| | messages | million a second | ns each | touch |",
        "|---|---:|---:|---:|---|",
    ]
    for name, contestant in found["contestants"].items():
        title = TITLES.get(name, name)
        rate = contestant["figures"].get(RATE)
        if contestant.get("failure"):
            lines.append(f"| {title} | | failed: {contestant['failure']} | | |")
        elif rate is not None:
            touch = {True: "right", False: "**wrong**", None: "-"}[contestant.get("touch_ok")]
            lines.append(
                f"| {title} | {contestant['messages']:,} | {short(rate['median'] / 1e6)} |"
                f" {short(1e9 / rate['median'])} | {touch} |"
            )
    return "\n".join(lines) + "\n"


_FIGURES: Final = {
    "submit_ns": "submit, a call",
    "cancel_ns": "cancel, a call",
    "mixed_ns": "mixed commands, a call each",
    "step_1_ns": "`apply` of one message",
    "step_100_ns": "`apply` of 100, each message",
    "p50_ns": "a message, median over blocks of 100",
    "p99_ns": "a message, 99th percentile over blocks of 100",
}


def _stepping(document: Document) -> str:
    """Return the table of nanoseconds from Python, and what a book costs in memory and import."""
    columns = [(size, kind) for size in document["sizes"] for kind in document["backends"]]
    lines = [
        "## From Python, in nanoseconds\n",
        "| | " + " | ".join(f"{kind} {size}" for size, kind in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name, title in _FIGURES.items():
        what = "calls" if name in {"submit_ns", "cancel_ns", "mixed_ns"} else "stepping"
        cells = []
        for size, kind in columns:
            contestant = document["sizes"][size]["contestants"].get(f"{kind} {what}", {})
            spread = contestant.get("figures", {}).get(name)
            cells.append(short(spread["median"]) if spread else "-")
        if any(cell != "-" for cell in cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    cost = document["footprint"]
    if cost:
        orders = "; ".join(
            f"{kind} {cost[kind]['resident_bytes']:.0f} B"
            for kind in document["backends"]
            if "resident_bytes" in cost[kind]
        )
        lines.append(
            f"\nA resting order of a million, in resident memory: {orders or 'not measured'}."
            f" `import lob` after numpy: {cost['import_over_numpy_ms']:.2g} ms."
        )
    return "\n".join(lines) + "\n"


def _pace(document: Document) -> str:
    pace = document.get("pace")
    if pace is None or not pace["patience_seconds"]:
        return ""
    return (
        f" Of {pace['turns']} turns {pace['slow_turns']} began while the machine was slower than at"
        f" its best, after a wait of {pace['waited_seconds']:.0f} s in all."
    )


def _bars(document: Document) -> str:
    lines = ["## Bars\n", "| | target | measured | |", "|---|---:|---:|---|"]
    for bar in document["bars"]:
        sign = "at least" if bar["at_least"] else "at most"
        measured = "not measured" if bar["measured"] is None else short(bar["measured"])
        mark = {True: "holds", False: "**missed**", None: ""}[bar["ok"]]
        lines.append(f"| {bar['name']} | {sign} {short(bar['target'])} | {measured} | {mark} |")
    threads, processes = TWO_THREADS.of(document), TWO_PROCESSES.of(document)
    if threads is not None and processes is not None:
        lines.append(
            f"\nOver one that is alone on the machine: two threads {threads:.3g}, two processes"
            f" {processes:.3g}."
        )
    return "\n".join(lines) + "\n"


def _how() -> str:
    return """## How it is measured

- **Stream.** `bench/stream.py` makes it from a seed with a small book of its own: traders send
  orders exponentially behind a drifting reference price, join the touch while it is thin, cancel
  any live order, and take with IOC orders. A prelude fills the book first; it is in no figure,
  except a tape's and the BacktestEngine's. Where fewer messages are given than the stream has, the
  contestant got a prefix of the same stream.
- **Feed** is what the venue's market-by-order feed says of those commands, **matching** the
  commands themselves, both by one `apply`. A compiled tape is made before the time is taken, and
  is compared with the plain replay of the same messages in the same round.
- **Pace.** Other machines' work on the other threads of the same cores makes everything take up to
  1.7 times as long for some of the seconds. Right before what is timed, ours and theirs, a loop of
  plain Python is, until a tenth of a second of it is within 15 % of the best so far: for five
  seconds at most, and for five minutes in all (`--patience`).
- **Calls** from Python: the time of the same loop without the call is taken off, the collector is
  off, events are dropped unread. Submits and cancels come in batches of 2,000 that leave the book
  at its size; *mixed* is the stream's own commands.
- **Percentiles** are of blocks of 100 messages, each block timed alone and divided by 100: a clock
  read costs more than a message.
- **Two threads** replay into a book each, in trials of half a second; before them two processes do,
  which share nothing but the machine. The bar is on how much more the threads come to than one of
  these processes. Where there are two cores that is as much more as over one that is alone. The
  processors of a virtual machine may be two threads of one core, or share one with somebody else's,
  and that changes many times a second: then one that is alone has a whole core now and then, two
  never have, and no threads can come to twice as much. The ratios to one alone are below the table.
- **Bytes of a resting order** are what the process's resident memory grew by for a million orders
  on 2,000 prices, in a process of its own. **Import** is the best of 30 processes.
- **Peers** run in their own environment (`bench/peers/requirements.txt`, hashed), one process each.
  Their input is converted, and what they compile is compiled, before the time is taken. An
  execution is given to a feed book as the modification or deletion that it amounts to. What each
  had to do differently is said at the top of its file in `bench/peers`. After each round its touch
  (both prices and their lots) is compared with the stream's.
"""
