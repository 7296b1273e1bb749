"""`touchstone status`: what runs, where, and how it is."""

import asyncio
import json
import os
from pathlib import Path

import httpx
import typer
from rich.table import Table

from touchstone.cli.console import EXIT_FAILED, EXIT_OK, JsonOption, out, print_json
from touchstone.cli.ports import LOOPBACK, PORT_NAMES, Ports
from touchstone.cli.stack import (
    PROBE_TIMEOUT_SECONDS,
    Health,
    Part,
    probe,
    run_file,
    service_part,
)
from touchstone.cli.up import DataDirOption, data_dir_or_default

SERVICES = ("simulator", "paper_exchange", "router", "order_gateway")


def status(data_dir: DataDirOption = None, json_output: JsonOption = False) -> None:
    """Show the health of every part: of the stack below the data folder, else on default ports.

    Exit code 0 when every part is ready, 1 otherwise.
    """
    ports = ports_of(data_dir_or_default(data_dir))
    found = asyncio.run(_probe_all(ports))
    ready = all(health.ok for _, health in found)
    if json_output:
        parts = {
            part.name: {"address": part.address, "ok": health.ok, "detail": health.detail}
            for part, health in found
        }
        print_json({"ready": ready, "parts": parts})
    else:
        table = Table()
        for column in ("part", "address", "ready", "detail"):
            table.add_column(column, overflow="fold")
        for part, health in found:
            table.add_row(part.name, part.address, "yes" if health.ok else "no", health.detail)
        out.print(table)
    raise typer.Exit(EXIT_OK if ready else EXIT_FAILED)


def ports_of(data_dir: Path) -> Ports:
    """Return the ports of the stack that runs below `data_dir`, else the environment's."""
    try:
        running = json.loads(run_file(data_dir).read_text())["ports"]
    except (OSError, ValueError, KeyError):
        running = {}
    known = {name: running[name] for name in PORT_NAMES.values() if name in running}
    return Ports.from_environment({**os.environ, **known})


async def _probe_all(ports: Ports) -> list[tuple[Part, Health]]:
    redis = Part("redis", (), f"redis://{LOOPBACK}:{ports.redis}", None)
    parts = [redis, *(service_part(name, ports) for name in SERVICES)]
    async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_SECONDS) as client:
        found = await asyncio.gather(*(probe(client, part, ports) for part in parts))
    return list(zip(parts, found, strict=True))
