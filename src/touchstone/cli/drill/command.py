"""`touchstone drill`: prove that an acknowledged kill is obeyed, whatever breaks.

Below it `touchstone drill gateway`, which kills the parts of the real stack instead.
"""

import asyncio
import random
import time
from typing import Annotated, Final

import typer

from lob.errors import InvalidInput
from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    JsonOption,
    err,
    guarded,
    out,
    print_json,
)
from touchstone.cli.drill.folder import held_folder
from touchstone.cli.drill.report import show, summarise
from touchstone.cli.drill.stage import LATE_MS_MAX, Stage
from touchstone.cli.drill.survival_command import survive
from touchstone.cli.drill.trials import FAULTS, Kind, Trial, run_trial

PROCESSES_MAX: Final = 64

app = typer.Typer(invoke_without_command=True)
app.command("gateway")(survive)


@app.callback()
def drill(
    context: typer.Context,
    processes: Annotated[
        int, typer.Option(min=2, max=PROCESSES_MAX, help="Workers that send under full load.")
    ] = 8,
    trials: Annotated[
        int, typer.Option(min=0, max=10_000, help="Kills while everything works.")
    ] = 15,
    fault_trials: Annotated[int, typer.Option(min=1, max=1_000, help="Trials of each fault.")] = 3,
    faults: Annotated[
        str,
        typer.Option(help=f"`all`, `none`, or comma-separated: {', '.join(FAULTS)}."),
    ] = "all",
    seed: Annotated[int, typer.Option(min=0, help="Of the times at which things happen.")] = 0,
    last_order_ms_max: Annotated[
        float,
        typer.Option(min=0, help="Allowed p99 of the last order after a healthy kill's call."),
    ] = 50.0,
    json_output: JsonOption = False,
) -> None:
    """Kill, break and restart real processes under load, and count what they begin.

    Starts its own Redis (AOF, appendfsync always), a socket to send to and the workers, all on
    loopback and in a temporary folder, and ends them again, also where the drill is killed; the
    folder is then removed by the next drill. Nothing else is touched.

    Exit code 0 when every promise held, 1 when one did not, 2 for wrong usage.
    """
    if context.invoked_subcommand is not None:
        return
    raise typer.Exit(
        guarded(
            lambda: asyncio.run(
                _drill(
                    processes,
                    [Kind.HEALTHY] * trials + _parse(faults) * fault_trials,
                    seed,
                    last_order_ms_max,
                    json_output=json_output,
                )
            )
        )
    )


def _parse(text: str) -> list[Kind]:
    """Return the faults that `--faults` names, in their order."""
    if text in ("all", "none"):
        return list(FAULTS) if text == "all" else []
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(FAULTS))
    if unknown or not names:
        raise InvalidInput(
            f"--faults: {', '.join(unknown) or text!r}; allowed: all, none, {', '.join(FAULTS)}"
        )
    return [fault for fault in FAULTS if fault in names]


async def _drill(
    processes: int, kinds: list[Kind], seed: int, last_order_ms_max: float, *, json_output: bool
) -> int:
    if not kinds:
        raise InvalidInput("--trials: 0 with --faults none; allowed: at least one trial")
    chance = random.Random(seed)  # noqa: S311 - when things happen, no secret
    started = time.monotonic()
    done: list[Trial] = []
    with held_folder() as folder:
        err.print(f"starting Redis and {processes} workers")
        # A machine that may begin its last order late may answer as late.
        late_ms_max = max(LATE_MS_MAX, last_order_ms_max)
        async with Stage(folder, processes, late_ms_max) as stage:
            for number, kind in enumerate(kinds, 1):
                trial = await run_trial(stage, number, kind, chance)
                done.append(trial)
                err.print(_line(trial, len(kinds)), markup=False, soft_wrap=True)
    report = summarise(
        done,
        processes=processes,
        seed=seed,
        seconds=time.monotonic() - started,
        last_order_ms_max=last_order_ms_max,
    )
    if json_output:
        print_json(report)
    else:
        show(report, done, out)
    return EXIT_OK if report["ok"] else EXIT_FAILED


def _line(trial: Trial, total: int) -> str:
    parts = [f"{trial.number}/{total} {trial.kind}: {trial.orders:,} orders"]
    if trial.closed_ms is not None:
        parts.append(f"closed after {trial.closed_ms:.1f} ms")
    if trial.ack_ms is not None and trial.last_order_ms is not None:
        parts.append(f"last order {trial.last_order_ms:.1f} ms, acked {trial.ack_ms:.1f} ms")
        parts.append(f"{trial.orders_after_ack} after it")
    return "; ".join([*parts, *trial.problems])
