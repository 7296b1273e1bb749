"""Write down a run of `touchstone bench providers`: `docs/providers-speed.md`, plot and JSON."""

import json
from pathlib import Path
from typing import Any, Final

from bench.bar_chart import BarRow, bars_svg, short
from bench.provider_rates import GUIDE, PERCENTILES, RATE, SCHEMA
from lob.errors import InvalidInput

TITLE: Final = "Executions a second in one process"

Document = dict[str, Any]


def read_document(path: Path) -> Document:
    """Return an earlier run's document; `InvalidInput` where the file is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        allowed = "the JSON of `bench providers --json`"
        raise InvalidInput(f"{path}: {error}; allowed: {allowed}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InvalidInput(f"{path}: not the JSON of `bench providers --json` (schema {SCHEMA})")
    return found


def write(document: Document, docs: Path) -> list[Path]:
    """Write everything under `docs`; return the files."""
    folder = docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    page, plot = docs / "providers-speed.md", folder / "providers.svg"
    figures = folder / "providers.json"
    figures.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    plot.write_text(bars_svg(TITLE, "/s", _rows(document)), "utf-8")
    page.write_text(_page(document), "utf-8")
    return [page, plot, figures]


def _rows(document: Document) -> list[BarRow]:
    rows = []
    for name, found in document["figures"].items():
        rows.append(BarRow(name, found[RATE], ours=True))
        preset = name.removeprefix("L3 ").partition(",")[0]
        if name.endswith("one by one") and preset in GUIDE:
            rows.append(BarRow(f"the guide's {preset} preset", GUIDE[preset], ours=False))
    return rows


def _page(document: Document) -> str:
    return "\n".join((_introduction(document), _cases(document), _bars(document), _ABOUT))


def _introduction(document: Document) -> str:
    machine = document["machine"]
    load = ", ".join(str(each) for each in machine["load_average"])
    shared = ""
    if min(machine["load_average"]) > machine["processors"]:
        shared = "\nOther work shared the processors all the while; alone, rates are higher."
    return f"""# How fast the execution providers are

This page is written by a program from [its JSON](benchmarks/providers.json):

    ./touchstone bench providers --rounds {document["rounds"]} --write-docs

Exit code 0 says that every bar holds, 1 that one does not.

Machine: {machine["processor"]}, {machine["processors"]} processors, {machine["system"]}, Python \
{machine["python"]}; the {machine["book"]} order book; load averages at the end {load}.
Figures are medians of {document["rounds"]} rounds, in which the cases took turns.{shared}

![{TITLE}](benchmarks/providers.svg)
"""


def _cases(document: Document) -> str:
    lines = [
        "## Figures\n",
        "| | executions/s | lowest | highest | p50 ms | p95 ms | p99 ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in document["figures"].items():
        rates = (f"{found[each]:,.0f}" for each in (RATE, "lowest", "highest"))
        late = (f"{found[each]:.3f}" if each in found else "" for each in PERCENTILES)
        lines.append(f"| {name} | {' | '.join((*rates, *late))} |")
    return "\n".join(lines) + "\n"


def _bars(document: Document) -> str:
    lines = [
        "## Bars\n",
        "| | target | measured | | times the guide's |",
        "|---|---:|---:|---|---:|",
    ]
    for each in document["bars"]:
        timed = each["figure"] != RATE
        what = f"{each['case']}, {'95th percentile in ms' if timed else 'executions/s'}"
        target = f"{'below' if timed else 'at least'} {short(each['limit'])}"
        mark = "holds" if each["holds"] else "**missed**"
        over = "" if each["over_guide"] is None else f"{each['over_guide']:.1f}"
        lines.append(f"| {what} | {target} | {short(each['measured'])} | {mark} | {over} |")
    return "\n".join(lines) + "\n"


_ABOUT: Final = """The guide's figures are 15,000 a second for the preset minimal, 1,000 for full, \
and a 95th
percentile below 1 ms.

## What is measured

- **Orders.** 500 different ones: a third are limit orders that come to rest, the others take one to
  four of ten levels, on both sides. Each has a seed of its own, and each round other seeds.
- **In batch** is one call of `execute_many` for the 500, against one market: what every order asks
  of the market (its mid, its touches, its levels in ticks and lots) is found once. Orders do not
  see one another; no result is used twice. Each answer is, byte for byte, that of `execute` with
  the same seed, which a test holds for drawn orders and markets of every kind.
- **One by one** is a call of `execute` for each, every order with a market of its own that no call
  has seen before, other sizes at every level: nothing is shared but the models of the
  configuration, and the closed forms that they keep for rates and queue lengths they have met. One
  round goes before the measured ones to fill these. Percentiles are those of single calls.
- **Attributions read**: why a fill is what it is (`Fill.attribution`) is written down when somebody
  looks at it. These cases look at every one, as a service does that sends them on; the others leave
  them. What is written down then was known at the execution: looking later, or after other
  executions, gives the same.
- **Over a minute's bar** others act as well: background flow of the bar's volume and range, while
  the order is on its way and, for one that rests, until the minute is over.
- **Time** is the processor's, which other work on the machine stretches less than a clock's.

## What the preset full contains

Every model of `L3ExecutionConfig` is on: latency drawn for the order's and the exchange's leg
(lognormal, bent by volatility); dark pools first, one after another, each with a hidden volume of
its own draw; impact (Almgren-Chriss) that moves the quotes before the order trades, and the book
built of what it can meet, with the hidden orders and icebergs that the seed has there; matching in
the order book; and for what rests the exact queue ahead, the forecast of its fill (Poisson, with
cancels ahead) and the value of its place in the queue (Moallemi and Yuan). Background flow needs a
bar.

## How it is made fast

1. **No book where none is needed.** With no models on and nobody else acting, an order that meets
   the given depth is a walk over it. A test holds that walk against the same order in a book, for
   drawn orders and markets, fill by fill.
2. **Whole numbers.** A market's levels become ticks and lots in one pass, and the book is only
   the part that the order can meet. Decimals are made of the fills, exactly, at the end.
3. **Seeds when something draws.** A stream is one word of state (SplitMix64); which levels hide
   nothing is found without making theirs one by one. numpy's streams, where a law needs one, start
   from words made in native code. Every native step has its like in plain Python with the same
   results, which serves where nothing was compiled.
4. **Reasons when somebody asks.** Attributions are made when they are read.
5. **Closed forms once.** Fill probabilities and queue values are tables by rates and lengths.
"""
