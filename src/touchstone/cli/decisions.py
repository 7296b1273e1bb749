"""`touchstone decisions`: list and show recorded decisions, replay them, try a proposal on them."""

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lob.config import L3ExecutionConfig
from lob.errors import Fault, InvalidInput, NotFound
from services.router.decision_log import JsonCodec
from services.router.decision_reading import Reading, ReplayReport, replay_record
from services.router.decision_segments import Line
from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    JsonOption,
    complain,
    err,
    guarded,
    out,
    print_json,
)
from touchstone.cli.decisions_text import (
    lines_of_record,
    lines_of_report,
    lines_of_what_if,
)
from touchstone.cli.up import data_dir_or_default
from touchstone.kit.build import build_id
from touchstone.kit.flags import load_proposal
from touchstone.rollout.decisions import CandidateRecord, DecisionRecord, config_record, to_json
from touchstone.rollout.decisions_replay import Providers, Replayer
from touchstone.rollout.state import (
    LIVE_PHASES,
    RolloutDocument,
    basis_points_from_fraction,
    normalise,
)
from touchstone.rollout.what_if import Proposal, WhatIf, changed

app = typer.Typer(help="Replay recorded decisions, or run them under another rollout.")

DirOption = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder of the log; else <data folder>/router/decisions."),
]
DayOption = Annotated[
    str | None, typer.Option("--day", help="Only decisions of this day (UTC): YYYY-MM-DD.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Listed = Annotated[str | None, typer.Option(help="Comma-separated; '' empties the list.")]


@app.command("list")
def list_(
    directory: DirOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, at most.")] = 20,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    day: DayOption = None,
    json_output: JsonOption = False,
) -> None:
    """Print the newest decisions, newest first."""

    def run() -> int:
        reading = _open(directory)
        span = _span(day)
        wanted = None if symbol is None else normalise(symbol)

        def is_wanted(record: DecisionRecord) -> bool:
            return span(record.at) and wanted in {None, normalise(record.symbol)}

        found = reading.newest(limit, is_wanted)
        if json_output:
            print_json({"decisions": [to_json(record) for record in found]})
        else:
            for record in found:
                out.print(lines_of_record(record)[0], markup=False, soft_wrap=True)
        for text in reading.first_damaged:
            complain(f"left out: {text}")
        return EXIT_OK

    raise typer.Exit(guarded(run))


@app.command()
def show(
    identity: Annotated[str, typer.Argument(metavar="ID")],
    directory: DirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Print everything recorded of one decision. Exit code 1 where it is not in the log."""

    def run() -> int:
        document: dict[str, Any] = {"decision": None, "candidate": None}
        for _, record in _find(_open(directory), identity):
            shown = to_json(record)
            document[shown["kind"]] = shown
            if not json_output:
                for line in lines_of_record(record):
                    out.print(line, markup=False, soft_wrap=True)
        if json_output:
            print_json(document)
        return EXIT_OK

    raise typer.Exit(guarded(run))


@app.command()
def replay(
    identity: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every decision in the log.")] = False,
    directory: DirOption = None,
    day: DayOption = None,
    json_output: JsonOption = False,
    quiet: Quiet = False,
) -> None:
    """Make decisions again, route and fills, and compare them with the log byte for byte.

    Exit code 0 when all are the same, 1 when one differs, is damaged or is not there, 2 on bad
    usage. A decision that another build recorded is named; that is no difference by itself.
    """

    def run() -> int:
        if (identity is None) != every:
            raise InvalidInput("replay: give either an ID or --all")
        reading = _open(directory)
        replayer = Replayer(JsonCodec(), build_id())
        reading.learn(replayer.providers)
        report = ReplayReport()
        span = _span(day)
        records = reading.records() if identity is None else iter(_find(reading, identity))
        with _Progress(reading, "replay", quiet=quiet or identity is not None):
            for line, record in records:
                if _is_of_day(record, day, span, replayer):
                    replay_record(replayer, report, line, record)
        if not report.decisions and not reading.damaged:
            raise NotFound(f"{reading.folder}: no decision{'' if day is None else f' of {day}'}")
        document = report.to_json(reading, build_id())
        if json_output:
            print_json(document)
        else:
            for text in lines_of_report(document):
                out.print(text, markup=False, soft_wrap=True)
        return EXIT_OK if report.same(reading) else EXIT_FAILED

    raise typer.Exit(guarded(run))


def _is_of_day(
    record: DecisionRecord | CandidateRecord,
    day: str | None,
    span: Callable[[float], bool],
    replayer: Replayer,
) -> bool:
    """Say whether a record is to be replayed: a candidate goes with its decision."""
    if isinstance(record, CandidateRecord):
        return day is None or replayer.awaits(record.id)
    return span(record.at)


@app.command("what-if")
def what_if(
    config: Annotated[
        Path | None, typer.Option("--config", help="A rollout file, as configs/l3_rollout.yaml.")
    ] = None,
    phase: Annotated[str | None, typer.Option(help="The phase proposed, any case.")] = None,
    percentage: Annotated[str | None, typer.Option(help="Share of symbols: 0.05 is 5 %.")] = None,
    salt: Annotated[str | None, typer.Option(help="Another salt.")] = None,
    canary_symbols: Listed = None,
    canary_accounts: Listed = None,
    deny_symbols: Listed = None,
    deny_accounts: Listed = None,
    l3_config: Annotated[
        Path | None, typer.Option("--l3-config", help="Another configuration of L3.")
    ] = None,
    keep_failures: Annotated[
        bool, typer.Option("--keep-failures", help="Also where the control state was away.")
    ] = False,
    day: DayOption = None,
    directory: DirOption = None,
    json_output: JsonOption = False,
    quiet: Quiet = False,
) -> None:
    """Run recorded decisions under a proposed rollout: who moves, and what changes.

    What is not given is as in the newest decision recorded. Exit code 0 when done, 1 when there is
    nothing to run, 2 on bad usage.
    """
    lists = {
        "canary_symbols": canary_symbols,
        "canary_accounts": canary_accounts,
        "deny_symbols": deny_symbols,
        "deny_accounts": deny_accounts,
    }

    def run() -> int:
        changes = _changes(phase, percentage, salt, lists)
        if not changes and config is None and l3_config is None:
            raise InvalidInput("nothing proposed; see touchstone decisions what-if --help")
        reading = _open(directory)
        providers = Providers()
        reading.learn(providers)
        proposal = _proposal(reading, providers, config, changes, l3_config)
        runner = WhatIf(JsonCodec(), providers, replace(proposal, keep_failures=keep_failures))
        with _Progress(reading, "what-if", quiet=quiet):
            _run_all(reading, runner, day)
        document = runner.finish() | {
            "torn_lines": reading.torn,
            "damaged_lines": reading.damaged,
        }
        if json_output:
            print_json(document)
        else:
            for text in lines_of_what_if(document):
                out.print(text, markup=False, soft_wrap=True)
        return EXIT_OK

    raise typer.Exit(guarded(run))


def _run_all(reading: Reading, runner: WhatIf, day: str | None) -> None:
    span, seen = _span(day), 0
    for _, record in reading.records():
        if isinstance(record, DecisionRecord) and span(record.at):
            runner.see(record)
            seen += 1
    if not seen:
        raise NotFound(f"{reading.folder}: no decision{'' if day is None else f' of {day}'}")


def _changes(
    phase: str | None, percentage: str | None, salt: str | None, lists: dict[str, str | None]
) -> dict[str, Any]:
    """Return what is given on the command line, as the document's keys."""
    changes: dict[str, Any] = {
        name: [part.strip() for part in text.split(",") if part.strip()]
        for name, text in lists.items()
        if text is not None
    }
    if phase is not None:
        changes["phase"] = phase.upper()
    if salt is not None:
        changes["salt"] = salt
    if percentage is not None:
        changes["basis_points"] = basis_points_from_fraction(percentage)
    return changes


def _proposal(
    reading: Reading,
    providers: Providers,
    config: Path | None,
    changes: dict[str, Any],
    l3_config: Path | None,
) -> Proposal:
    """Return what is proposed: the file, else the newest document recorded, with the changes."""
    enabled = True
    if config is not None:
        base, enabled = load_proposal(config)
    else:
        base = _newest_document(reading, providers)
    name = None
    if l3_config is not None:
        loaded = L3ExecutionConfig.from_yaml(l3_config)
        found = config_record("l3", loaded.model_dump(mode="json"))
        newest = providers.newest_l3
        providers.learn(found)
        providers.newest_l3 = newest or found.hash
        name = found.hash
    document = changed(base, changes)
    if providers.newest_l3 is None and enabled and _may_use_l3(document):
        raise NotFound(f"{reading.folder}: no configuration of L3; allowed: --l3-config FILE")
    return Proposal(document=document, l3_config=name, enabled=enabled)


def _may_use_l3(document: RolloutDocument) -> bool:
    listed = document.canary_symbols or document.canary_accounts
    return bool(document.live_basis_points or (listed and document.phase in LIVE_PHASES))


def _newest_document(reading: Reading, providers: Providers) -> RolloutDocument:
    newest: RolloutDocument | None = None
    hashes: dict[str, RolloutDocument | None] = {}
    for _, record in reading.records():
        if isinstance(record, DecisionRecord):
            if record.config_hash not in hashes:
                hashes[record.config_hash] = None
                # One whose line is damaged is said to be not possible when it is run.
                with contextlib.suppress(Fault):
                    hashes[record.config_hash] = providers.routing(record).document
            newest = hashes[record.config_hash] or newest
    reading.torn = reading.damaged = 0
    reading.first_damaged.clear()
    if newest is None:
        raise NotFound(f"{reading.folder}: no rollout was known; allowed: --config FILE")
    return newest


def _open(directory: Path | None) -> Reading:
    return Reading(directory or data_dir_or_default(None) / "router" / "decisions")


def _find(reading: Reading, identity: str) -> list[tuple[Line, DecisionRecord | CandidateRecord]]:
    found = reading.find(identity)
    if not any(isinstance(record, DecisionRecord) for _, record in found):
        raise NotFound(f"{identity}: no such decision in {reading.folder}")
    return found


def _span(day: str | None) -> Callable[[float], bool]:
    """Return a test of a time, in seconds since 1970: whether it is on a day (UTC)."""
    if day is None:
        return lambda _at: True
    try:
        start = dt.datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=dt.UTC).timestamp()
    except ValueError:
        raise InvalidInput(f"--day: {day!r}; allowed: YYYY-MM-DD") from None
    return lambda at: start <= at < start + 86_400


class _Progress:
    """Show on stderr how much of the log is read, where somebody watches."""

    def __init__(self, reading: Reading, what: str, *, quiet: bool) -> None:
        self._reading = reading
        self._bar = Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=quiet or not err.is_terminal,
        )

    def __enter__(self) -> None:
        task = self._bar.add_task("", total=self._reading.size_bytes)
        self._reading.on_bytes = lambda count: self._bar.advance(task, count)
        self._bar.start()

    def __exit__(self, *_error: object) -> None:
        self._reading.on_bytes = lambda _count: None
        self._bar.stop()
