"""`touchstone status`: what runs, where, and how it is."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

import lob
from lob.books import why_not_native
from lob.errors import Fault
from touchstone.cli.console import EXIT_FAILED, EXIT_OK, JsonOption, out, print_json
from touchstone.cli.ports import LOOPBACK, PORT_NAMES, Ports
from touchstone.cli.stack import (
    Health,
    Part,
    probe,
    probing_client,
    require_redis,
    run_file,
    service_part,
)
from touchstone.cli.up import DataDirOption, data_dir_or_default
from touchstone.kit.control import ControlStore
from touchstone.kit.settings import without_password

SERVICES = ("simulator", "paper_exchange", "router", "order_gateway", "watchdog")


def status(data_dir: DataDirOption = None, json_output: JsonOption = False) -> None:
    """Show the health of every part: of the stack below the data folder, else on default ports.

    Exit code 0 when every part is ready, 1 otherwise.
    """
    folder = data_dir_or_default(data_dir)
    found = asyncio.run(_probe_all(ports_of(folder), redis_url_of(folder)))
    ready = all(health.ok for _, health in found)
    if json_output:
        parts = {
            part.name: {"address": part.address, "ok": health.ok, "detail": health.detail}
            for part, health in found
        }
        print_json({"ready": ready, "parts": parts, "book": book_backend()})
    else:
        table = Table()
        for column in ("part", "address", "ready", "detail"):
            table.add_column(column, overflow="fold")
        for part, health in found:
            table.add_row(part.name, part.address, "yes" if health.ok else "no", health.detail)
        out.print(table)
        book = book_backend()
        why = f": {book['detail']}" if book["detail"] else ""
        out.print(f"order book: {book['backend']}{why}", markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_OK if ready else EXIT_FAILED)


def book_backend() -> dict[str, str]:
    """Return which order book this environment has, and why it is not the native one."""
    why = why_not_native()
    if why:
        why = f"{why}; {_why_not_built()}".rstrip("; ")
    return {"backend": lob.backend(), "detail": why}


def _why_not_built() -> str:
    """Return what the bootstrap script noted when it could not build the native book."""
    try:
        note = (Path(sys.prefix) / "touchstone-native").read_text(encoding="utf-8")
    except OSError:
        return ""
    return note.partition("\n")[2].strip()


def ports_of(data_dir: Path) -> Ports:
    """Return the ports of the stack that runs below `data_dir`, else the environment's."""
    running = _run_document(data_dir).get("ports", {})
    known = {name: running[name] for name in PORT_NAMES.values() if name in running}
    return Ports.from_environment({**os.environ, **known})


def redis_url_of(data_dir: Path) -> str:
    """Return the Redis of the stack that runs below `data_dir`, else the environment's."""
    embedded = f"redis://{LOOPBACK}:{ports_of(data_dir).redis}/0"
    named: str | None = _run_document(data_dir).get("redis_url")
    return named or os.environ.get("TOUCHSTONE_REDIS_URL") or embedded


def _run_document(data_dir: Path) -> dict[str, Any]:
    try:
        document = json.loads(run_file(data_dir).read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


async def _probe_all(ports: Ports, redis_url: str) -> list[tuple[Part, Health]]:
    redis = Part("redis", (), without_password(redis_url), None)
    parts = [service_part(name, ports) for name in SERVICES]
    async with probing_client() as client:
        found = await asyncio.gather(
            _probe_redis(redis_url), *(probe(client, part, ports) for part in parts)
        )
    return list(zip([redis, *parts], found, strict=True))


async def _probe_redis(url: str) -> Health:
    try:
        await require_redis(url)
        async with ControlStore(url) as store:
            problems = await store.durability_problems()
    except Fault as fault:
        return Health(ok=False, detail=str(fault))
    if problems:
        return Health(ok=True, detail=f"ready, but may forget a rollback: {'; '.join(problems)}")
    return Health(ok=True, detail="ready")
