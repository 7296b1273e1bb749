"""`touchstone drill gateway`: what becomes of orders when a part of the real stack is killed."""

import time
from typing import Annotated, Any, Final

import typer
from rich.table import Table

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
from touchstone.cli.drill.folder import held_folder
from touchstone.cli.drill.load import Load
from touchstone.cli.drill.survival import audit, kill_in_turn
from touchstone.cli.drill.survival_stage import House, wait_until

READY_SECONDS_MAX: Final = 40.0


def survive(
    per_second: Annotated[
        float, typer.Option(min=1, max=200, help="Orders a second while parts die.")
    ] = 20.0,
    down_seconds: Annotated[
        float, typer.Option(min=0, max=60, help="How long each part stays away.")
    ] = 1.0,
    json_output: JsonOption = False,
) -> None:
    """Kill gateway, Redis, PostgreSQL and exchange in turn under load; compare the books.

    Starts its own stack on free ports in a temporary folder (PostgreSQL where it is installed, else
    SQLite), kills each part with SIGKILL, starts it again, and measures until orders are taken as
    before. Then gateway and venue must agree on every order, fill and position.

    Exit code 0 when they agree and everything recovered, 1 when not, 2 for wrong usage.
    """

    def run() -> int:
        report = drill_gateway(per_second=per_second, down_seconds=down_seconds)
        if json_output:
            print_json(report)
        else:
            _show(report)
        return EXIT_OK if report["ok"] else EXIT_FAILED

    raise typer.Exit(guarded(run))


def drill_gateway(*, per_second: float, down_seconds: float) -> dict[str, Any]:
    """Run the drill and return its report."""
    started = time.monotonic()
    with held_folder() as folder:
        err.print("starting Redis, PostgreSQL, exchange and gateway")
        with House(folder) as house:
            wait_until(house.is_ready, "the gateway is ready", READY_SECONDS_MAX)
            mark = float(house.ask("/v1/positions")["positions"][0]["mark_price"])
            with Load(house.gateway_url, per_second, lambda: mark) as load:
                deaths = kill_in_turn(house, load, down_seconds=down_seconds)
            found = audit(house, load)
            database = "postgresql" if house.database else "sqlite"
    ok = not found.problems and not any(death.problem for death in deaths)
    return {
        "ok": ok,
        "database": database,
        "seconds": round(time.monotonic() - started, 1),
        "orders_per_second": per_second,
        "deaths": [death.to_json() for death in deaths],
        "audit": found.to_json(),
    }


def _show(report: dict[str, Any]) -> None:
    table = Table()
    for column in ("killed", "away", "recovered after", "orders taken / refused meanwhile"):
        table.add_column(column, overflow="fold")
    for death in report["deaths"]:
        recovered = death["seconds_to_recover"]
        refused = ", ".join(f"{count} {code}" for code, count in death["refused_meanwhile"].items())
        table.add_row(
            death["victim"],
            f"{death['down_seconds']:.1f} s",
            "never" if recovered is None else f"{recovered:.2f} s",
            f"{death['taken_meanwhile']} / {refused or 0}",
        )
    out.print(table)
    found = report["audit"]
    out.print(
        f"{found['sent']} orders, {found['taken']} taken, {found['repeated']} asked for again; "
        f"{found['at_venue']} at the venue with {found['fills']} fills; position "
        f"{found['position']}; explained: {found['explained']}",
        soft_wrap=True,
    )
    for problem in [*found["problems"], *(d["problem"] for d in report["deaths"] if d["problem"])]:
        complain(problem)
    out.print("books agree" if report["ok"] else "NOT as promised")
