"""`touchstone replay` and `touchstone simulate`: rebuild a book from a file, run a rulebook."""

import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from lob.replay import LobsterReplay
from lob.scenario import Failure, read_scenarios, run_scenario
from lob.types import Level
from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    JsonOption,
    err,
    guarded,
    out,
    print_json,
)

MISMATCHES_SHOWN = 3


def replay(
    file: Annotated[Path, typer.Argument(help="A LOBSTER message file (CSV).")],
    orderbook: Annotated[
        Path | None,
        typer.Option("--orderbook", help="The LOBSTER orderbook file to compare with."),
    ] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="Levels to compare.")] = 1,
    json_output: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Rebuild a book from a file and say how far it agrees with the venue's own.

    Exit code 0 when it agrees (or there is nothing to compare with), 1 when it does not, 2 when a
    file cannot be used.
    """
    raise typer.Exit(guarded(lambda: _replay(file, orderbook, depth, json_output, quiet)))


def simulate(
    files: Annotated[list[Path], typer.Argument(help="Scenario files (*.book).")],
    json_output: JsonOption = False,
) -> None:
    """Run scenario files against the book.

    Exit code 0 when every scenario holds, 1 when one does not, 2 when a file cannot be read.
    """
    raise typer.Exit(guarded(lambda: _simulate(files, json_output)))


def _replay(file: Path, orderbook: Path | None, depth: int, json_output: bool, quiet: bool) -> int:
    session = LobsterReplay(file, orderbook, depth=depth)
    started = time.perf_counter()
    with _progress_bar(quiet) as bar:
        session.progress = _advance(bar, file.name)
        summary = session.run()
    seconds = time.perf_counter() - started
    book = session.book
    compared = orderbook is not None
    document = {
        "file": str(file),
        "messages": summary.messages,
        "by_type": summary.by_type,
        "unusable": dict(summary.unusable),
        "first_unusable_lines": summary.unknown,
        "initial_orders": summary.initial_orders,
        "crossed": {"messages": summary.crossed_count, "first_lines": summary.crossed},
        "best_bid": _level(book.best_bid()),
        "best_ask": _level(book.best_ask()),
        "resting_orders": len(book),
        "comparison": {
            "orderbook": str(orderbook),
            "depth": session.depth,
            "rows": summary.rows_compared,
            "agreeing": summary.rows_agreeing,
            "missing": summary.rows_missing,
            "stale_order_count": summary.stale_count,
            "stale_orders": [asdict(stale) for stale in summary.stale],
            "first_mismatches": [asdict(mismatch) for mismatch in summary.mismatches],
        }
        if compared
        else None,
        "seconds": round(seconds, 3),
        "messages_per_second": round(summary.messages / seconds) if seconds else None,
        "state_hash": book.state_hash(),
    }
    if json_output:
        print_json(document)
    else:
        _show(document)
    return EXIT_OK if summary.agrees else EXIT_FAILED


def _progress_bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        # Where nobody watches, an ended bar would still leave a blank line among the complaints.
        disable=quiet or not err.is_terminal,
        transient=True,
    )


def _advance(bar: Progress, name: str) -> Callable[[int, int], None]:
    task = bar.add_task(name, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _level(level: Level | None) -> dict[str, int] | None:
    return None if level is None else level._asdict()


def _show(document: dict[str, Any]) -> None:
    def line(name: str, value: object) -> None:
        out.print(f"{name:<20} {value}", markup=False, soft_wrap=True)

    def counts(values: dict[str, int]) -> str:
        return ", ".join(f"{key} {count:,}" for key, count in sorted(values.items())) or "none"

    line("messages", f"{document['messages']:,} ({counts(document['by_type'])})")
    line("not used", counts(document["unusable"]))
    if document["first_unusable_lines"]:
        line("  first at lines", ", ".join(map(str, document["first_unusable_lines"])))
    line("resting before", f"{document['initial_orders']:,} orders")
    crossed = document["crossed"]
    where = f", first at lines {crossed['first_lines']}" if crossed["messages"] else ""
    line("crossed after", f"{crossed['messages']:,} messages{where}")
    for name in ("best_bid", "best_ask"):
        level = document[name]
        shown = "none"
        if level is not None:
            shown = f"{level['quantity_lots']:,} @ {level['price_ticks']:,} ticks"
            shown += f" in {level['order_count']:,} orders"
        line(name.replace("_", " "), shown)
    if document["comparison"] is not None:
        _show_comparison(document["comparison"], line)
    rate = document["messages_per_second"]
    line("time", f"{document['seconds']} s, {rate:,} messages/s" if rate else "0 s")
    line("state hash", document["state_hash"])


def _show_comparison(comparison: dict[str, Any], line: Callable[[str, object], None]) -> None:
    line(
        "agreement",
        f"{comparison['agreeing']:,} of {comparison['rows']:,} rows at depth"
        f" {comparison['depth']}, {comparison['missing']:,} rows missing",
    )
    for stale in comparison["stale_orders"]:
        line(
            "  stale order",
            f"{stale['order_id']} {stale['side']} {stale['quantity_lots']:,} @"
            f" {stale['price_ticks']:,}: added at line {stale['added_line']}, once on level"
            f" {stale['furthest_level']}; gone by line {stale['found_line']} (row {stale['row']}),"
            f" where the venue's touch is {stale['venue_touch_ticks']:,}",
        )
    unnamed = comparison["stale_order_count"] - len(comparison["stale_orders"])
    if unnamed:
        line("  stale orders", f"{unnamed:,} more")
    for mismatch in comparison["first_mismatches"][:MISMATCHES_SHOWN]:
        line(
            "  mismatch", f"line {mismatch['line']}, row {mismatch['row']}: {_differing(mismatch)}"
        )
    if comparison["first_mismatches"]:
        line(
            "  note",
            "a file of n levels has no message for what comes into its window from further out: "
            "take a file of more levels to tell that from a wrong book",
        )


def _differing(mismatch: dict[str, Any]) -> str:
    """Return the best level on which venue and rebuilt book differ."""
    for side, venue, ours in zip(("bid", "ask"), mismatch["venue"], mismatch["ours"], strict=True):
        for number, (there, here) in enumerate(zip_longest(venue, ours), start=1):
            if there != here:
                return f"{side} {number}: venue {_lots_at(there)}, ours {_lots_at(here)}"
    return "no level differs"


def _lots_at(level: tuple[int, int] | None) -> str:
    return "nothing" if level is None else f"{level[1]:,} @ {level[0]:,}"


def _simulate(files: list[Path], json_output: bool) -> int:
    failures: list[Failure] = []
    count = 0
    for path in files:
        for scenario in read_scenarios(path):
            count += 1
            failure = run_scenario(scenario)
            if failure is not None:
                failures.append(failure)
    if json_output:
        print_json(
            {
                "scenarios": count,
                "failed": [
                    {
                        "file": failure.scenario.path,
                        "line": failure.step.line,
                        "scenario": failure.scenario.title,
                        "expected": failure.expected,
                        "actual": failure.actual,
                    }
                    for failure in failures
                ],
            }
        )
    else:
        for failure in failures:
            out.print(str(failure), markup=False, soft_wrap=True)
        out.print(f"{count - len(failures)} of {count} scenarios hold")
    return EXIT_FAILED if failures else EXIT_OK
