"""`touchstone config show|check|keys|variables`: what services run with, and what they may."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from pydantic_settings import BaseSettings
from rich.markup import escape
from rich.table import Table

from execution_providers.config_digest import config_digest
from lob.config import L3ExecutionConfig
from lob.errors import ConfigError, Fault
from services.order_gateway.settings import GatewaySettings
from services.order_gateway.watchdog_settings import WatchdogSettings
from services.paper_exchange.settings import ExchangeSettings
from services.router.settings import RouterSettings
from services.simulator.settings import SimulatorSettings
from touchstone.cli.config_keys import l3_keys
from touchstone.cli.config_variables import markdown, variables
from touchstone.cli.console import EXIT_OK, EXIT_USAGE, JsonOption, guarded, out, print_json
from touchstone.cli.ports import Ports
from touchstone.cli.stack import redis_client
from touchstone.kit.control import SIMULATOR_SCOPE, ControlStore
from touchstone.kit.flags import load_flags
from touchstone.kit.settings import load, without_password

app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True)

SERVICES: Mapping[str, type[BaseSettings]] = {
    "router": RouterSettings,
    "order_gateway": GatewaySettings,
    "watchdog": WatchdogSettings,
    "paper_exchange": ExchangeSettings,
    "simulator": SimulatorSettings,
}


@app.command("show")
def show(json_output: JsonOption = False) -> None:
    """Print the settings every service would start with here; secrets stay hidden."""
    found = {name: _values(load(cls)) for name, cls in SERVICES.items()}
    if json_output:
        print_json(found)
        return
    table = Table()
    for column in ("service", "setting", "value"):
        table.add_column(column, overflow="fold")
    for name, values in found.items():
        for setting, value in values.items():
            table.add_row(name, setting, str(value))
    out.print(table)


@app.command("check")
def check(json_output: JsonOption = False) -> None:
    """Check the environment and the configuration files of every service.

    Exit code 0 when all are right, 2 when one is not; each mistake is one line.
    """
    with _at_home():
        found = {name: _problem(run) for name, run in _checks().items()}
    problems = {name: problem for name, problem in found.items() if problem}
    if json_output:
        print_json({"ok": not problems, "problems": problems})
    else:
        for name in _checks():
            out.print(f"{name:<28} {problems.get(name, 'ok')}", markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_USAGE if problems else EXIT_OK)


@app.command("keys")
def keys(json_output: JsonOption = False) -> None:
    """List every key of the L3 simulator's configuration: what it may be, and its default."""
    found = list(l3_keys())
    if json_output:
        print_json({key.key: {"allowed": key.allowed, "default": key.default} for key in found})
        return
    table = Table()
    for column in ("key", "allowed", "default"):
        table.add_column(column, overflow="fold")
    for key in found:
        table.add_row(*map(escape, key))
    out.print(table)


@app.command("variables")
def list_variables(json_output: JsonOption = False) -> None:
    """List every variable that a service reads, what it may be, and its default, as Markdown."""
    if json_output:
        found = variables(SERVICES)
        print_json({name: [v._asdict() for v in listed] for name, listed in found.items()})
    else:
        out.print(markdown(SERVICES), markup=False, highlight=False, soft_wrap=True, end="")


@app.command("reload")
def reload(
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Have every simulator that follows the control state read its L3 configuration again.

    The file is checked here first. Exit code 0 when it is asked for, 1 when Redis does not take it,
    2 when the file is wrong or a reason is missing.
    """

    def run() -> int:
        if not reason.strip():
            raise ConfigError("--reason: missing; the audit needs one")
        with _at_home():
            config = L3ExecutionConfig.from_yaml(load(SimulatorSettings).l3_config_path, os.environ)
            redis_url = load(SimulatorSettings).redis_url
        digest = config_digest(config)
        generation = asyncio.run(_ask_for_reload(redis_url, digest, reason))
        if json_output:
            print_json({"generation": generation, "config": digest})
        else:
            out.print(f"asked for, in generation {generation}; the file here is {digest}")
        return EXIT_OK

    raise typer.Exit(guarded(run))


async def _ask_for_reload(redis_url: str, digest: str, reason: str) -> int:
    async with ControlStore(redis_url) as store:
        record = await store.write(
            SIMULATOR_SCOPE,
            state="RELOAD",
            document={"config": digest},
            actor="touchstone config reload",
            reason=reason,
            expected_generation=None,
        )
    return record.generation


def require_right() -> None:
    """Raise ConfigError for the first mistake in the environment or a configuration file."""
    with _at_home():
        for run in _checks().values():
            run()


def _checks() -> dict[str, Callable[[], object]]:
    checks: dict[str, Callable[[], object]] = {
        f"environment of {name}": lambda cls=cls: load(cls)  # type: ignore[misc]
        for name, cls in SERVICES.items()
    }
    return checks | {
        "ports": Ports.from_environment,
        "address of Redis": lambda: redis_client(load(RouterSettings).redis_url),
        "configs of the router": _router_files,
        "config of the simulator": lambda: L3ExecutionConfig.from_yaml(
            load(SimulatorSettings).l3_config_path, os.environ
        ),
    }


def _at_home() -> contextlib.AbstractContextManager[None]:
    """Work where the services do: file names in settings are relative to the project's root."""
    return contextlib.chdir(os.environ.get("TOUCHSTONE_HOME", "."))


def _router_files() -> None:
    settings = load(RouterSettings)
    load_flags(settings.config_path, settings.rollout_path, settings.use_l3_simulator)


def _problem(run: Callable[[], object]) -> str | None:
    try:
        run()
    except Fault as fault:
        return str(fault)
    return None


def _values(settings: BaseSettings) -> dict[str, Any]:
    """Return the settings by name, with secrets shown only as set or not."""
    shown: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = "(set, hidden)"
        elif isinstance(value, Path):
            value = os.fspath(value)
        elif name.endswith("_url"):
            value = without_password(str(value))
        shown[name] = value
    return shown
