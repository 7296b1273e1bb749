"""`touchstone rollout schedule show|arm|disarm`: how the rollout goes on by itself."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from touchstone.cli.console import JsonOption, out, print_json
from touchstone.cli.router_client import UrlOption, actor, base_of, call
from touchstone.cli.up import DataDirOption

app = typer.Typer(
    help="Show what the schedule does next and why it waits; arm or disarm it.",
    no_args_is_help=True,
)
ReasonOption = Annotated[str, typer.Option(help="Goes into the audit.")]


@app.command()
def show(
    url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False
) -> None:
    """Show the steps, the next one, the gate, and what it waits for."""
    _print(call("GET", base_of(url, data_dir))["schedule"], json_output=json_output)


@app.command()
def arm(
    reason: ReasonOption,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Let the schedule go on by itself, until the next way back; exit code 1 where it may not."""
    _set(base_of(url, data_dir), armed=True, reason=reason, json_output=json_output)


@app.command()
def disarm(
    reason: ReasonOption,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Hold the schedule where it is."""
    _set(base_of(url, data_dir), armed=False, reason=reason, json_output=json_output)


def _set(base: str, *, armed: bool, reason: str, json_output: bool) -> None:
    generation = call("GET", base)["generation"]
    body = {"schedule_armed": armed, "reason": reason, "actor": actor()}
    call("PUT", base, json=body, headers={"If-Match": f'"{generation}"'})
    _print(call("GET", base)["schedule"], json_output=json_output)


def _print(schedule: Mapping[str, Any], *, json_output: bool) -> None:
    if json_output:
        print_json(schedule)
        return
    rows = {
        "armed": "yes" if schedule["armed"] else "no",
        "steps": ", ".join(map(_step, schedule["steps"])) or "none in the rollout file",
        "next": _step(schedule["next"]) if schedule["next"] else "-",
        "judge": schedule["gate"]["judge"]["outcome"],
        "go/no-go": (schedule["gate"]["go_no_go"] or {}).get("decision", "no verdict yet"),
        "waits for": "nothing" if schedule["permitted"] else "",
    }
    for name, value in rows.items():
        out.print(f"{name:>10}  {value}", soft_wrap=True, markup=False)
    for why in schedule["waits_for"]:
        out.print(f"{'':>10}  - {why}", soft_wrap=True, markup=False)


def _step(step: Mapping[str, Any]) -> str:
    return f"{step['basis_points'] / 100:g} % from {step['not_before']}"
