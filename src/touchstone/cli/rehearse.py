"""`touchstone rehearse`: the rollout plan's phases from its own command lines, on paper."""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from lob.errors import Unavailable
from touchstone.cli.console import EXIT_FAILED, EXIT_OK, JsonOption, err, out, print_json
from touchstone.cli.go_no_go import matrix_text
from touchstone.cli.rehearsal.lines import PHASES, Phase
from touchstone.cli.rehearsal.phases import PhaseReport, Rehearsal
from touchstone.cli.rehearsal.verdicts import Finding, Findings, NotHeldError

ALL: Final = "all"
SPEED_MAX: Final = 1_000
_MARKS: Final = {True: "[x]", False: "[ ]"}


def rehearse(
    phase: Annotated[
        str, typer.Argument(help=f"One of {', '.join(PHASES)}, or {ALL}.", metavar="PHASE")
    ] = ALL,
    hours: Annotated[
        float, typer.Option(min=0.1, max=720, help="How long, in the venue's time.")
    ] = 24.0,
    speed: Annotated[
        float, typer.Option(min=1, max=SPEED_MAX, help="How fast the venue's time passes.")
    ] = 240.0,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Where everything is kept; else a temporary folder."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Run the phases of the rollout plan against a paper exchange on an accelerated clock.

    Each phase starts an exchange and a Redis of its own on free ports, runs the plan's command line
    word for word, puts it to the plan's tests through the gateway's REST API and holds its success
    criteria to what was recorded. Exit code 0 when all of it holds, 1 when not, 2 for wrong usage.
    """
    if phase != ALL and phase not in PHASES:
        raise typer.BadParameter(f"{phase!r}; allowed: {', '.join((*PHASES, ALL))}")
    chosen = list(PHASES.values()) if phase == ALL else [PHASES[phase]]
    folder = keep or Path(tempfile.mkdtemp(prefix="touchstone-rehearsal-"))
    reports = [_one(folder.absolute(), one, hours, speed, json_output) for one in chosen]
    passed = all(report.passed for report in reports)
    if json_output:
        print_json({"passed": passed, "phases": [report.to_json() for report in reports]})
    else:
        _print_end(reports, folder)
    raise typer.Exit(EXIT_OK if passed else EXIT_FAILED)


def _one(folder: Path, phase: Phase, hours: float, speed: float, quiet: bool) -> PhaseReport:
    started = time.monotonic()

    def progress(text: str) -> None:
        moment = time.monotonic() - started
        err.print(f"{moment:6.1f} s  {text}", markup=False, soft_wrap=True)

    def tell(finding: Finding) -> None:
        if not quiet:
            mark = _MARKS[finding.held]
            out.print(f"{mark} {finding.name}", markup=False, soft_wrap=True)
            out.print(f"      {finding.detail}", markup=False, soft_wrap=True)

    if not quiet:
        out.print(f"\n{phase.title}\n{'-' * len(phase.title)}", markup=False)
        out.print(f"COINBASE_SANDBOX=1 {phase.line}\n", markup=False, soft_wrap=True)
    rehearsal = Rehearsal(folder, hours, speed, progress)
    findings = Findings(tell)
    try:
        report = asyncio.run(rehearsal.run(phase, findings))
    except (Unavailable, NotHeldError, httpx.HTTPError) as error:
        why = str(error) or type(error).__name__
        findings.add("criterion", "The rehearsal runs to its end", held=False, detail=why)
        report = PhaseReport(phase, findings, hours)
    if not quiet and report.matrix.get("rows"):
        out.print(f"\ngo/no-go after {hours:g} h:", markup=False)
        out.print(matrix_text(report.matrix), markup=False, soft_wrap=True)
    return report


def _print_end(reports: list[PhaseReport], folder: Path) -> None:
    out.print()
    for report in reports:
        held = sum(finding.held for finding in report.findings.found)
        verdict = report.matrix.get("decision", "no verdict")
        out.print(
            f"{_MARKS[report.passed]} {report.phase.title}: {held} of "
            f"{len(report.findings.found)} held, go/no-go {verdict}, {report.seconds:.0f} s",
            markup=False,
        )
    out.print(f"kept in {folder}", markup=False, soft_wrap=True)
    if os.environ.get("TOUCHSTONE_DATA_DIR"):
        out.print("your own data folder was not touched", markup=False)
