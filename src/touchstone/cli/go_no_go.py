"""`touchstone go-no-go`: the matrix's verdict through the router, and waivers by name."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from touchstone.cli.console import EXIT_FAILED, EXIT_OK, JsonOption, out, print_json
from touchstone.cli.router_client import UrlOption, actor, base_of, call
from touchstone.cli.up import DataDirOption
from touchstone.rollout.go_no_go import ROWS, Decision

EXIT_NO_GO: Final = 3
_EXITS: Final = {
    Decision.GO: EXIT_OK,
    Decision.HOLD: EXIT_FAILED,
    Decision.NO_GO: EXIT_NO_GO,
}
_ROOT: Final = "/v1/go-no-go"
WIDTH: Final = 100

app = typer.Typer(
    help="Say GO, HOLD or NO-GO, and from what: of the router's candidate, or with --gateway of "
    "the order gateway. Exit code 0 for GO, 1 for HOLD (also where nobody answers), 2 for wrong "
    "usage, 3 for NO-GO.",
    invoke_without_command=True,
)
GatewayOption = Annotated[
    bool, typer.Option("--gateway", help="The order gateway's matrix instead of the router's.")
]
RowArgument = Annotated[str, typer.Argument(help=f"One of {', '.join(row.name for row in ROWS)}.")]


@app.callback()
def show(
    context: typer.Context,
    url: UrlOption = None,
    gateway: GatewayOption = False,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say GO, HOLD or NO-GO, and from what."""
    if context.invoked_subcommand is not None:
        return
    verdict = _ask("GET", "", url, data_dir, gateway)
    if json_output:
        print_json(verdict)
    else:
        _print(verdict)
    raise typer.Exit(_EXITS[Decision(verdict["decision"])])


@app.command()
def waive(
    row: RowArgument,
    reason: Annotated[str, typer.Option(help="Why; stored with each verdict.")],
    hours: Annotated[float, typer.Option(help="How long it holds.")],
    by: Annotated[str | None, typer.Option(help="Who accepts it; else who runs this.")] = None,
    url: UrlOption = None,
    gateway: GatewayOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Accept a YELLOW row by name until a time; RED and UNKNOWN cannot be waived."""
    body = {"by": by or actor(), "reason": reason, "hours": hours}
    answer = _ask("PUT", f"/waivers/{row}", url, data_dir, gateway, json=body)
    out.print(f"{row} is waived by {answer['waiver']['by']} for {hours:g} h", markup=False)


@app.command()
def withdraw(
    row: RowArgument,
    url: UrlOption = None,
    gateway: GatewayOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Take a waiver back."""
    _ask("DELETE", f"/waivers/{row}", url, data_dir, gateway)
    out.print(f"{row} is not waived any more", markup=False)


def _ask(
    method: str, path: str, url: str | None, data_dir: Path | None, gateway: bool, **options: Any
) -> dict[str, Any]:
    service = "gateway" if gateway else "router"
    base = base_of(url, data_dir, service)
    return call(method, base, path, root=_ROOT, service=service, **options)


def matrix_text(verdict: Mapping[str, Any]) -> str:
    """Return a verdict as text: the matrix, who waived what, the reasons, the decision."""
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False)
    _print(verdict, console)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined,no-any-return]


def _print(verdict: Mapping[str, Any], out: Console = out) -> None:
    table = Table()
    for column in ("row", "colour", "measured", "green", "red"):
        table.add_column(column, overflow="fold", no_wrap=column == "row")
    for row in verdict["rows"]:
        above = row["direction"].startswith("higher")
        good, bad = (">", "<") if above else ("<", ">")
        table.add_row(
            row["name"],
            row["colour"],
            row["reason"],
            f"{good} {row['green']:g} {row['unit']}",
            f"{bad} {row['red']:g} {row['unit']}",
        )
    out.print(table)
    for waiver in verdict["waivers"]:
        out.print(f"waived: {waiver['row']} by {waiver['by']}: {waiver['reason']}", markup=False)
    for reason in verdict["reasons"]:
        out.print(f"- {reason}", soft_wrap=True, markup=False)
    out.print(verdict["decision"], markup=False)
