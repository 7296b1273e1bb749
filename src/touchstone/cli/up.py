"""`touchstone up` and `touchstone down`: the whole stack on embedded defaults."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lob.errors import Unavailable
from touchstone.cli.config import require_right
from touchstone.cli.console import EXIT_OK, JsonOption, err, out, print_json
from touchstone.cli.ports import Ports
from touchstone.cli.stack import Health, Stack, supervisor_pid
from touchstone.cli.watching import Watch

DEFAULT_DATA_DIR = ".touchstone"
DOWN_TIMEOUT_SECONDS = 30.0
TRAFFIC_MAX = 200.0
"""What one sender, which waits for each answer, can be relied on to keep up."""

DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where state and logs are (TOUCHSTONE_DATA_DIR)."),
]


def data_dir_or_default(data_dir: Path | None) -> Path:
    """Return the data folder: the option, else the environment's, else the project's own.

    The last is below the project's root, so that every command finds it from every folder.
    """
    named = data_dir or os.environ.get("TOUCHSTONE_DATA_DIR")
    home = Path(os.environ.get("TOUCHSTONE_HOME", "."))
    return (Path(named) if named else home / DEFAULT_DATA_DIR).absolute()


def run_until_signalled(main: Coroutine[Any, Any, int], signalled: int = EXIT_OK) -> int:
    """Run `main`; SIGINT or SIGTERM cancels it once, so that it can close what it opened.

    Returns:
        What `main` returned, or `signalled` where a signal ended it.
    """

    async def run() -> int:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        asked = False

        def cancel_once() -> None:
            nonlocal asked
            if not asked:  # a second Ctrl-C must not interrupt the stopping itself
                asked = True
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, cancel_once)
        try:
            return await task
        except asyncio.CancelledError:
            return signalled

    return asyncio.run(run())


def up(
    data_dir: DataDirOption = None,
    stop_after: Annotated[
        float | None,
        typer.Option("--stop-after", min=0, help="Stop by itself after so many seconds."),
    ] = None,
    traffic: Annotated[
        float,
        typer.Option(
            "--traffic",
            min=0,
            max=TRAFFIC_MAX,
            help="Send so many made-up orders a second through the router.",
        ),
    ] = 0.0,
    restart: Annotated[
        bool,
        typer.Option("--restart/--no-restart", help="Start a part that dies again, or leave it."),
    ] = True,
    json_output: JsonOption = False,
) -> None:
    """Start every service on loopback and watch them until Ctrl-C.

    Redis is an embedded server unless TOUCHSTONE_REDIS_URL names one. A part that dies is
    reported and started again, later each time that it lives for less than ten seconds; after a
    death nothing is armed again by itself. Exit code 0 after a clean stop, 1 when something did
    not start, 2 for a wrong setting.
    """
    folder = data_dir_or_default(data_dir)
    main = _up(folder, stop_after, traffic, restart=restart, json_output=json_output)
    raise typer.Exit(run_until_signalled(main))


async def _up(
    data_dir: Path, stop_after: float | None, traffic: float, *, restart: bool, json_output: bool
) -> int:
    require_right()
    stack = Stack(
        Ports.from_environment(),
        data_dir,
        report=lambda name, what: err.print(f"  {name:<16} {what}", markup=False, soft_wrap=True),
        redis_url=os.environ.get("TOUCHSTONE_REDIS_URL"),
        extra_environment=_settings_for_traffic(data_dir) if traffic else {},
    )
    err.print("starting; Ctrl-C stops everything")
    async with stack:
        await _announce(stack, json_output)
        async with contextlib.AsyncExitStack() as beside:
            if traffic:
                await beside.enter_async_context(_traffic(stack, traffic))
            watch = Watch(stack, restart=restart, json_output=json_output)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(stop_after):
                    await watch.run()
    return EXIT_OK


def _settings_for_traffic(data_dir: Path) -> dict[str, str]:
    """Return what makes traffic worth looking at, unless the simulator's configuration is named."""
    from touchstone.cli.traffic import L3_CONFIG, visible_l3  # noqa: PLC0415 - only here

    if L3_CONFIG in os.environ:
        return {}
    try:
        return visible_l3(data_dir)
    except OSError:
        # The stack says what is wrong with the folder.
        return {}


@contextlib.asynccontextmanager
async def _traffic(stack: Stack, rate: float) -> AsyncIterator[None]:
    """Send made-up orders through the router for a `with` block."""
    from touchstone.cli.traffic import L3_CONFIG, send_traffic  # noqa: PLC0415 - only here are books needed

    err.print(f"  {'traffic':<16} {rate:g} made-up orders a second go through the router")
    if stack.extra_environment:
        what = f"L3 has a retail connection's latency; {L3_CONFIG} gives it another"
        err.print(f"  {'':<16} {what}", soft_wrap=True)
    sending = asyncio.create_task(send_traffic(stack.running["router"].part.address, rate))
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _announce(stack: Stack, json_output: bool) -> None:
    health = await stack.health()
    if json_output:
        print_json(
            {"event": "up", "data_dir": str(stack.data_dir), "parts": _as_json(stack, health)}
        )
        return
    table = Table(title="Touchstone is up", title_justify="left")
    for column in ("part", "address", "health", "pid"):
        table.add_column(column, no_wrap=column != "health")
    for name, running in stack.running.items():
        table.add_row(name, running.part.address, health[name].detail, str(running.process.pid))
    out.print(table)
    out.print(f"logs: {stack.data_dir}/logs", soft_wrap=True)
    router = stack.running["router"].part.address
    gateway = stack.running["order_gateway"].part.address
    out.print(f"see:  {router}/ in a browser", soft_wrap=True)
    out.print(f"try:  curl {router}/v1/rollout", soft_wrap=True)
    out.print(f"      curl {gateway}/v1/kill-switch", soft_wrap=True)
    out.print(f"      curl -X POST {gateway}/reduce-only", soft_wrap=True)


def _as_json(stack: Stack, health: dict[str, Health]) -> dict[str, dict[str, object]]:
    return {
        name: {
            "address": running.part.address,
            "pid": running.process.pid,
            "ok": health[name].ok,
            "detail": health[name].detail,
            "log": str(running.log),
        }
        for name, running in stack.running.items()
    }


def down(data_dir: DataDirOption = None, json_output: JsonOption = False) -> None:
    """Stop the stack that `touchstone up` started below the data folder.

    Exit code 0 when nothing runs any more (also when nothing ran), 1 when it would not stop.
    """
    folder = data_dir_or_default(data_dir)
    pid = supervisor_pid(folder)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        _wait_until_gone(folder, pid)
    what = "nothing was running" if pid is None else f"stopped (supervisor {pid})"
    if json_output:
        print_json({"stopped": pid is not None, "supervisor_pid": pid})
    else:
        out.print(f"{what} below {folder}", soft_wrap=True)


def _wait_until_gone(data_dir: Path, pid: int) -> None:
    deadline = time.monotonic() + DOWN_TIMEOUT_SECONDS
    while supervisor_pid(data_dir) is not None:
        if time.monotonic() > deadline:
            raise Unavailable(f"supervisor {pid} has not stopped in {DOWN_TIMEOUT_SECONDS:.0f} s")
        time.sleep(0.1)
