"""`touchstone replay` and `touchstone simulate`: rebuild a book from a file, run a rulebook."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lob import OrderBook
from lob.feeds.depth import DepthComparison, DepthFile
from lob.replay import FeedReplay, FeedReplaySummary, LobsterReplay
from lob.scenario import Failure, read_scenarios, run_scenario
from lob.types import Level
from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    JsonOption,
    guarded,
    out,
    print_json,
)
from touchstone.cli.feeds import (
    FORMATS,
    LotSize,
    Publisher,
    Quiet,
    Snapshot,
    Source,
    Symbol,
    TickSize,
    advance,
    find_source,
    progress_bar,
)
from touchstone.cli.replay_text import show

Document = dict[str, Any]


def replay(
    file: Annotated[Path, typer.Argument(help="A file of orders, of any known format.")],
    orderbook: Annotated[
        Path | None,
        typer.Option(
            "--orderbook", help="The venue's own book: a LOBSTER orderbook or a Databento mbp file."
        ),
    ] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="LOBSTER levels to compare.")] = 1,
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"If not found: {FORMATS}.")
    ] = None,
    symbol: Symbol = None,
    publisher: Publisher = None,
    tick_size: TickSize = None,
    lot_size: LotSize = None,
    snapshot: Snapshot = None,
    json_output: JsonOption = False,
    quiet: Quiet = False,
) -> None:
    """Rebuild a book from a file and say how far it agrees with the venue's own.

    Exit code 0 when it agrees (or there is nothing to compare with), 1 when it does not, 2 when a
    file or an option cannot be used.
    """

    def run() -> int:
        source = find_source(
            file, format_name, symbol, tick_size, lot_size, publisher=publisher, quiet=quiet
        )
        source = source._replace(snapshot=snapshot)
        if source.format == "lobster" and snapshot is None:
            document, agrees = _replay_lobster(source, orderbook, depth, quiet)
        else:
            document, agrees = _replay_feed(source, orderbook, quiet)
        if json_output:
            print_json(document)
        else:
            show(document)
        return EXIT_OK if agrees else EXIT_FAILED

    raise typer.Exit(guarded(run))


def simulate(
    files: Annotated[list[Path], typer.Argument(help="Scenario files (*.book).")],
    json_output: JsonOption = False,
) -> None:
    """Run scenario files against the book.

    Exit code 0 when every scenario holds, 1 when one does not, 2 when a file cannot be read.
    """
    raise typer.Exit(guarded(lambda: _simulate(files, json_output)))


def _replay_lobster(
    source: Source, orderbook: Path | None, depth: int, quiet: bool
) -> tuple[Document, bool]:
    session = LobsterReplay(source.path, orderbook, depth=depth, instrument=source.instrument)
    started = time.perf_counter()
    with progress_bar(quiet) as bar:
        session.progress = advance(bar, source.path.name)
        summary = session.run()
    seconds = time.perf_counter() - started
    comparison = {
        "orderbook": str(orderbook),
        "depth": session.depth,
        "rows": summary.rows_compared,
        "agreeing": summary.rows_agreeing,
        "agreeing_to_level": summary.rows_agreeing_to,
        "out_of_sight": summary.rows_out_of_sight,
        "missing": summary.rows_missing,
        "stale_order_count": summary.stale_count,
        "stale_orders": [asdict(stale) for stale in summary.stale],
        "first_mismatches": [asdict(mismatch) for mismatch in summary.mismatches],
    }
    document = _of_source(source) | {
        "records": summary.messages,
        "messages": summary.messages,
        "by_type": summary.by_type,
        "unusable": dict(summary.unusable),
        "first_unusable_lines": summary.unknown,
        "gaps": {"count": 0, "first": []},
        "initial_orders": summary.initial_orders,
        "crossed": {"messages": summary.crossed_count, "first_lines": summary.crossed},
        "comparison": None if orderbook is None else comparison,
    }
    return document | _of_book(session.book, summary.messages, seconds), summary.agrees


def _replay_feed(source: Source, orderbook: Path | None, quiet: bool) -> tuple[Document, bool]:
    comparison = None
    if orderbook is not None:
        depth_file = DepthFile(
            orderbook,
            source.instrument,
            symbol=source.symbol,
            publisher_id=source.publisher,
        )
        comparison = DepthComparison(depth_file)
    session = FeedReplay(source.open(), comparison=comparison)
    started = time.perf_counter()
    with progress_bar(quiet) as bar:
        session.progress = advance(bar, source.path.name)
        summary = session.run()
    seconds = time.perf_counter() - started
    document = _of_source(source) | _of_summary(summary)
    document["comparison"] = None
    agrees = True
    if comparison is not None:
        found = comparison.agreement
        agrees = 0 < found.compared == found.agreeing
        document["comparison"] = {
            "orderbook": str(orderbook),
            "depth": found.levels,
            "aligned_by": list(found.aligned_by),
            "rows": found.compared,
            "agreeing": found.agreeing,
            "agreeing_to_level": found.agreeing_to,
            "records": found.records,
            "within_events": found.within_events,
            "before_feed": found.before_feed,
            "after_feed": found.after_feed,
            "without_event": found.without_event,
            "first_without_event": found.first_without_event,
            "unannounced": found.unannounced,
            "first_unannounced": found.first_unannounced,
            "unusable": dict(depth_file.unusable),
            "first_differences": [each._asdict() for each in found.differences],
        }
    return document | _of_book(session.book, summary.messages, seconds), agrees


def _of_source(source: Source) -> Document:
    return {
        "file": str(source.path),
        "format": source.format,
        "symbol": source.instrument.symbol,
        "tick_size": format(source.instrument.tick_size, "f"),
        "lot_size": format(source.instrument.lot_size, "f"),
    }


def _of_summary(summary: FeedReplaySummary) -> Document:
    refused = {reason.lower(): count for reason, count in summary.refused.items()}
    first_refused = {reason.lower(): lines for reason, lines in summary.first_refused.items()}
    return {
        "records": summary.records,
        "messages": summary.messages,
        "by_type": summary.by_type,
        "by_action": dict(summary.by_action),
        "unusable": summary.unusable,
        "first_unusable": summary.first_unusable,
        "refused": refused,
        "first_refused": first_refused,
        "gaps": {
            "count": summary.gap_count,
            "first": [gap._asdict() for gap in summary.gaps],
        },
        "initial_orders": summary.snapshot_orders,
        "trades": summary.trades,
        "crossed": {
            "messages": summary.crossed_count,
            "stretches": summary.crossing_count,
            "first_lines": summary.crossings,
        },
    }


def _of_book(book: OrderBook, messages: int, seconds: float) -> Document:
    return {
        "best_bid": _level(book.best_bid()),
        "best_ask": _level(book.best_ask()),
        "resting_orders": len(book),
        "seconds": round(seconds, 3),
        "messages_per_second": round(messages / seconds) if seconds else None,
        "state_hash": book.state_hash(),
    }


def _level(level: Level | None) -> dict[str, int] | None:
    return None if level is None else level._asdict()


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
