"""The two bot runners: what is missing around the gateway is started, then gateway and bot run.

`scripts/run_perps_bot_v2_week3.py` and `scripts/run_perps_bot_v2.py` come here.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import typer
import uvloop

from lob.errors import Fault, Unavailable
from services.order_gateway import bot_plan
from services.order_gateway.bot_options import BotOptions, parse
from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    acknowledgement_text,
    exit_code_of,
)
from touchstone.cli.go_no_go import matrix_text
from touchstone.cli.ports import LOOPBACK, Ports
from touchstone.cli.stack import Stack, require_redis
from touchstone.cli.up import data_dir_or_default
from touchstone.rollout.go_no_go import verdict_to_json

ADVANCED: Final = "run_perps_bot_v2_week3.py"
FALLBACK: Final = "run_perps_bot_v2.py"
LOOK_TIMEOUT_SECONDS: Final = 2.0
TELL_TIMEOUT_SECONDS: Final = 5.0
PASS_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""typer hands everything on: the flags are the bot's own."""


def advanced(argv: Sequence[str]) -> int:
    """Run the bot with every feature; return the exit code."""
    return _run(ADVANCED, argv, fallback=False)


def fallback(argv: Sequence[str]) -> int:
    """Run the fallback bot: market orders only; return the exit code."""
    return _run(FALLBACK, argv, fallback=True)


def advanced_command(context: typer.Context) -> None:
    """Run the perps bot: what scripts/run_perps_bot_v2_week3.py does."""
    raise typer.Exit(advanced(context.args))


def fallback_command(context: typer.Context) -> None:
    """Run the fallback perps bot: what scripts/run_perps_bot_v2.py does."""
    raise typer.Exit(fallback(context.args))


def _run(prog: str, argv: Sequence[str], *, fallback: bool) -> int:
    options = parse(argv, prog=prog, fallback=fallback)
    os.environ.setdefault("TOUCHSTONE_DATA_DIR", str(data_dir_or_default(None)))
    try:
        code = _tell_the_one_that_runs(prog, options)
        if code is not None:
            return code
        named = os.environ.get("TOUCHSTONE_REDIS_URL")
        port = Ports.from_environment().redis
        os.environ["TOUCHSTONE_REDIS_URL"] = named or f"redis://{LOOPBACK}:{port}/0"
        plan = bot_plan.plan(options)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_trade(plan, own_redis=not named))
    except Fault as fault:
        sys.stderr.write(f"{prog}: {fault}\n")
        return exit_code_of(fault)
    except KeyboardInterrupt:
        return EXIT_OK
    return EXIT_OK


async def _trade(plan: bot_plan.BotPlan, *, own_redis: bool) -> None:
    async with _companions(plan, data_dir_or_default(None), own_redis=own_redis):
        # Whatever ends before here does not wait for this import.
        from services.order_gateway import bot_process  # noqa: PLC0415

        verdict = await bot_process.run(plan, _say)
    _say("")
    _say(matrix_text(verdict_to_json(verdict)))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# --------------------------------------------------------------------- a gateway that runs already


def _tell_the_one_that_runs(prog: str, options: BotOptions) -> int | None:
    """Return the exit code where a gateway has the port already; None where none does."""
    base = f"http://{LOOPBACK}:{Ports.from_environment().order_gateway}"
    found = _ask("GET", f"{base}/v1/kill-switch", LOOK_TIMEOUT_SECONDS)
    if found is None or "state" not in found:
        if options.reduce_only:
            # Else somebody could take the lines that follow for those of the one they meant.
            _say(f"no gateway answers at {base}: nothing was closed; this run starts closed")
        return None
    if not options.reduce_only:
        sys.stderr.write(
            f"{prog}: a gateway ({found['state']}) answers at {base} already; stop it, or say "
            "--reduce-only to close it to entries\n"
        )
        return EXIT_USAGE
    answer = _ask("POST", f"{base}/reduce-only", TELL_TIMEOUT_SECONDS)
    if answer is None or "state" not in answer:
        why = (answer or {}).get("error", {}).get("message", "no answer")
        raise Unavailable(f"the gateway at {base} did not take it: {why}")
    _say(f"told the gateway at {base}: {answer['state']} (generation {answer.get('generation')})")
    if "acked" in answer:
        _say(acknowledgement_text(answer))
    return EXIT_OK if answer.get("persisted") else EXIT_FAILED


def _ask(method: str, url: str, timeout: float) -> dict[str, Any] | None:
    token = os.environ.get("TOUCHSTONE_GATEWAY_API_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        response = httpx.request(method, url, timeout=timeout, trust_env=False, headers=headers)
        body = response.json()
    except (httpx.HTTPError, ValueError):
        return None
    return body if isinstance(body, dict) else None


# --------------------------------------------------------------------- what runs around the gateway


@contextlib.asynccontextmanager
async def _companions(
    plan: bot_plan.BotPlan, folder: Path, *, own_redis: bool
) -> AsyncIterator[None]:
    """Start Redis and the paper exchange where they are local and nothing answers there.

    A Redis that is named has to answer.
    """
    ports, settings = Ports.from_environment(), plan.settings
    missing = set()
    if not own_redis:
        await require_redis(settings.redis_url)
    elif not await _redis_answers(settings.redis_url):
        missing.add("redis")
    local = urlsplit(settings.venue_url)
    is_ours = (local.hostname, local.port) == (LOOPBACK, ports.paper_exchange)
    if plan.paper and is_ours and not await _web_answers(settings.venue_url):
        missing.add("paper_exchange")
    if not missing:
        yield
        return
    stack = Stack(
        ports,
        folder,
        report=lambda name, what: _say(f"{name.replace('_', ' ')}: {what}"),
        redis_url=settings.redis_url if "redis" not in missing else None,
        only=frozenset(missing),
        log_dir=plan.log_dir,
    )
    async with stack:
        yield


async def _redis_answers(url: str) -> bool:
    try:
        await require_redis(url)
    except Unavailable:
        return False
    return True


async def _web_answers(base: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=LOOK_TIMEOUT_SECONDS, trust_env=False) as client:
            return (await client.get(f"{base.rstrip('/')}/healthz")).is_success
    except httpx.HTTPError:
        return False
