"""`touchstone rollout show|set`: the rollout state, through the router's REST."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lob.errors import InvalidInput
from touchstone.cli import schedule
from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    JsonOption,
    acknowledgement_text,
    agreed,
    complain,
    out,
    print_json,
)
from touchstone.cli.router_client import TIMEOUT_SECONDS, UrlOption, actor, base_of, call
from touchstone.cli.up import DataDirOption
from touchstone.rollout.state import Phase, basis_points_from_fraction

app = typer.Typer(help="Show or change the rollout of L3.", no_args_is_help=True)
app.add_typer(schedule.app, name="schedule")

ListOption = Annotated[
    str | None, typer.Option(help="Comma-separated; replaces the list; '' empties it.")
]


@app.command()
def show(
    url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False
) -> None:
    """Show phase, share, lists, generation, and whether L3 may answer now."""
    _print(call("GET", base_of(url, data_dir)), json_output=json_output)


@app.command("set")
def set_(
    phase: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(Phase)} (any case).")
    ] = None,
    percentage: Annotated[
        str | None, typer.Option(help="Share of symbols as a fraction: 0.05 is 5 %.")
    ] = None,
    salt: Annotated[str | None, typer.Option(help="Only while no rollout is in progress.")] = None,
    canary_symbols: ListOption = None,
    canary_accounts: ListOption = None,
    deny_symbols: ListOption = None,
    deny_accounts: ListOption = None,
    reason: Annotated[str, typer.Option(help="Goes into the audit.")] = "from the command line",
    generation: Annotated[
        int | None,
        typer.Option(min=0, help="What the present generation must be; else it is read first."),
    ] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Change what is given and keep the rest; refused when the state changed meanwhile.

    Exit code 0 when changed, 1 when the state does not allow it or the router does not answer, 2
    when what was asked for is wrong.
    """
    lists = {
        "canary_symbols": canary_symbols,
        "canary_accounts": canary_accounts,
        "deny_symbols": deny_symbols,
        "deny_accounts": deny_accounts,
    }
    changes: dict[str, Any] = {
        name: [part.strip() for part in text.split(",") if part.strip()]
        for name, text in lists.items()
        if text is not None
    }
    if phase is not None:
        changes["phase"] = phase.upper()
    if percentage is not None:
        changes["basis_points"] = basis_points_from_fraction(percentage)
    if salt is not None:
        changes["salt"] = salt
    if not changes:
        raise InvalidInput("nothing to change; see touchstone rollout set --help")
    base = base_of(url, data_dir)
    expected = call("GET", base)["generation"] if generation is None else generation
    body = changes | {"reason": reason, "actor": actor()}
    answer = call("PUT", base, json=body, headers={"If-Match": f'"{expected}"'})
    _print(answer, json_output=json_output)


def rollback(
    reason: Annotated[str, typer.Option(help="Goes into the audit.")],
    emergency: Annotated[
        bool,
        typer.Option(
            "--emergency", help="At once; without it what L3 has under way may end first."
        ),
    ] = False,
    drain_seconds: Annotated[
        float,
        typer.Option(min=0, max=60, help="How long a graceful rollback waits for that, at most."),
    ] = 5.0,
    confirm: Annotated[bool, typer.Option("--confirm", help="Do it without asking.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Send everything to L2 and latch it: only a re-arm with a reason leaves the rollback.

    Without --emergency: no new order to L3, wait for what is under way, switch off, verify that
    all is on L2, report. Exit code 0 when rolled back and persisted (and, without --emergency, all
    is on L2), 1 when not or when the router does not answer, 2 for wrong usage, which includes a
    missing confirmation.
    """
    if not confirm and not agreed("Roll back to L2?"):
        complain("would roll back to L2; say --confirm to do it")
        raise typer.Exit(EXIT_USAGE)
    body: dict[str, Any] = {"reason": reason, "actor": actor()}
    if emergency:
        body |= {"mode": "emergency"}
        wait = TIMEOUT_SECONDS
    else:
        body |= {"mode": "graceful", "drain_seconds": drain_seconds}
        wait = TIMEOUT_SECONDS + drain_seconds
    answer = call("POST", base_of(url, data_dir), "/rollback", timeout=wait, json=body)
    if json_output:
        print_json(answer)
    else:
        kept = "persisted" if answer["persisted"] else "held by this router; Redis does not answer"
        out.print(f"rolled back to L2, generation {answer['generation']}: {kept}", soft_wrap=True)
        for line in [] if emergency else _graceful_lines(answer):
            out.print(line, soft_wrap=True, markup=False)
        out.print(acknowledgement_text(answer), soft_wrap=True, markup=False)
    done = answer["persisted"] and (emergency or answer["verified"]["all_on_l2"])
    raise typer.Exit(EXIT_OK if done else EXIT_FAILED)


def _graceful_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return what a graceful rollback found, for people."""
    drain, verified = answer["drain"], answer["verified"]
    if not drain["needed"]:
        drained = "nothing to drain: L3 answered nothing in this phase"
    elif drain["drained"]:
        drained = f"drained in {drain['seconds']:.2f} s"
    else:
        left = ", ".join(drain.get("lapsed", ())) or drain.get("why") or "this router"
        drained = f"NOT drained after {drain['seconds']:.2f} s: {left}"
    proof = "yes" if verified["all_on_l2"] else "NOT verified"
    found = (
        f"all on L2: {proof} ({verified['routers_on_l2']} routers, "
        f"{verified['symbols_probed']} symbols probed, "
        f"{verified['under_way_here']} executions still under way here)"
    )
    return [drained, found]


def _print(state: dict[str, Any], *, json_output: bool) -> None:
    if json_output:
        print_json(state)
        return
    document = state["document"] or {}
    control = state["control"]
    rows = {
        "phase": state["phase"] or "none",
        "generation": state["generation"],
        "share": f"{state.get('basis_points', 0) / 100:g} % of symbols",
        "L3 may answer": "yes" if state["l3_may_answer"] else "no",
        **{
            name.replace("_", " "): ", ".join(document.get(name, ())) or "-"
            for name in ("canary_symbols", "canary_accounts", "deny_symbols", "deny_accounts")
        },
        "switched off by": "; ".join(_switches(state["flags"])) or "-",
        "control state": control["why"] or control["status"],
        "last change": f"{state.get('updated_at', '-')} by {state.get('actor', '-')}: "
        f"{state.get('reason', '-')}",
    }
    for name, value in rows.items():
        out.print(f"{name:>16}  {value}", soft_wrap=True, markup=False)


def _switches(flags: dict[str, Any]) -> list[str]:
    environment = [] if flags["environment_allows"] else ["USE_L3_SIMULATOR=false"]
    return environment + list(flags["off_because"])
