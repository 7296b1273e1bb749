"""`touchstone kill` and `touchstone reduce-only`: close trading, through the gateway or Redis.

The gateway comes first: it closes in its own process at once and then persists. Where it does not
answer, the state is written to Redis directly, so that every gateway that still runs, or starts
later, finds it closed. Only tightening has that second way.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from lob.errors import Conflict, Fault, InvalidInput, Unavailable
from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    JsonOption,
    acknowledgement_text,
    agreed,
    complain,
    guarded,
    print_json,
)
from touchstone.cli.ports import LOOPBACK
from touchstone.cli.status import ports_of
from touchstone.cli.up import DataDirOption, data_dir_or_default
from touchstone.kit.control import ControlStore
from touchstone.kit.membership import wait_for_acks
from touchstone.perps.kill import (
    GLOBAL_SCOPE,
    TradingState,
    parse_scope,
    parse_state,
    strictest,
)

GATEWAY_TIMEOUT_SECONDS = 3.0
WRITE_ATTEMPTS = 5
HTTP_BAD_REQUEST = 400
HTTP_CONFLICT = 409

UrlOption = Annotated[
    str | None, typer.Option("--url", help="The gateway's address; else that of the local stack.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]


def kill(
    state: Annotated[
        TradingState, typer.Option("--state", help="The state to set.", case_sensitive=False)
    ] = TradingState.HALTED,
    scope: Annotated[
        str,
        typer.Option("--scope", help="global, account:<id>, strategy:<name> or symbol:<symbol>."),
    ] = "global",
    reason: ReasonOption = "",
    expected_generation: Annotated[
        int | None,
        typer.Option("--expected-generation", min=0, help="Needed to loosen: the present one."),
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Do it without asking.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Set the kill switch: HALTED unless another state is named.

    Exit code 0 when the state is set and persisted, 1 when it is not (or only the gateway holds
    it), 2 for wrong usage, which includes a missing confirmation.
    """
    try:
        parse_scope(scope)
    except InvalidInput as fault:
        complain(f"--{fault}")
        raise typer.Exit(EXIT_USAGE) from None
    if not reason.strip():
        complain("--reason: missing; the audit needs one")
        raise typer.Exit(EXIT_USAGE)
    what = f"the kill switch ({scope}) to {state}"
    if not confirm and not agreed(f"Set {what}?"):
        complain(f"would set {what}; say --confirm to do it")
        raise typer.Exit(EXIT_USAGE)
    body: dict[str, Any] = {
        "state": state.value,
        "scope": scope,
        "reason": reason,
        "actor": "touchstone kill",
    }
    if expected_generation is not None:
        body["expected_generation"] = expected_generation
    raise typer.Exit(
        guarded(lambda: _run("/v1/kill-switch", state, body, url, data_dir, json_output))
    )


def reduce_only(
    reason: ReasonOption = "touchstone reduce-only",
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Allow nothing but orders that reduce positions, and cancel the entries that rest.

    Exit code 0 when the state is set and persisted, 1 when it is not (or only the gateway holds
    it), 2 for wrong usage.
    """
    state = TradingState.REDUCE_ONLY
    body = {"reason": reason, "actor": "touchstone reduce-only"}
    # A gateway that is closed further stays so: /reduce-only never loosens.
    raise typer.Exit(guarded(lambda: _run("/reduce-only", state, body, url, data_dir, json_output)))


def _run(
    path: str,
    state: TradingState,
    body: dict[str, Any],
    url: str | None,
    data_dir: Path | None,
    json_output: bool,
) -> int:
    ports = ports_of(data_dir_or_default(data_dir))
    address = url or f"http://{LOOPBACK}:{ports.order_gateway}"
    try:
        answer = ask_gateway(address, path, body)
        answer["by"] = "gateway"
    except Unavailable as fault:
        complain(f"{fault}; writing to Redis directly")
        if "expected_generation" in body or state is TradingState.ACTIVE:
            raise Unavailable("loosening goes through a running gateway only") from None
        redis_url = os.environ.get("TOUCHSTONE_REDIS_URL", f"redis://{LOOPBACK}:{ports.redis}/0")
        scope = body.get("scope", GLOBAL_SCOPE)
        answer = asyncio.run(
            tighten_in_redis(redis_url, state, body["actor"], body["reason"], scope=scope)
        )
    if json_output:
        print_json(answer)
    else:
        sys.stdout.write(
            f"kill switch ({answer.get('scope', GLOBAL_SCOPE)}): {answer['state']} "
            f"(generation {answer['generation']}, "
            f"by {answer['by']}): {answer['detail']}\n",
        )
        if "acked" in answer:
            sys.stdout.write(f"{acknowledgement_text(answer)}\n")
    return EXIT_OK if answer["persisted"] else EXIT_FAILED


def ask_gateway(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the gateway's answer; `Unavailable` when there is none that can be understood."""
    token = os.environ.get("TOUCHSTONE_GATEWAY_API_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        response = httpx.post(
            address.rstrip("/") + path,
            json=body,
            headers=headers,
            timeout=GATEWAY_TIMEOUT_SECONDS,
            trust_env=False,
        )
        answer = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Unavailable(f"gateway {address}: {error or type(error).__name__}") from None
    if not isinstance(answer, dict):
        raise Unavailable(f"gateway {address}: no answer of a gateway")
    if response.is_success:
        if not answer.keys() >= {"state", "generation", "persisted", "detail"}:
            raise Unavailable(f"gateway {address}: no answer of a gateway")
        return answer
    refusal = answer.get("error")
    told = refusal.get("message") if isinstance(refusal, dict) else None
    message = str(told or f"HTTP {response.status_code}")
    if response.status_code == HTTP_BAD_REQUEST:
        raise InvalidInput(f"gateway {address}: {message}")
    if response.status_code == HTTP_CONFLICT:
        raise Conflict(f"gateway {address}: {message}")
    if response.is_server_error:
        raise Unavailable(f"gateway {address}: {message}")
    raise Fault(f"gateway {address}: {message}")


async def tighten_in_redis(
    url: str, state: TradingState, actor: str, reason: str, *, scope: str = GLOBAL_SCOPE
) -> dict[str, Any]:
    """Write `state` to Redis unless something stricter is there; return the gateway's answer form.

    A missing record counts as HALTED and is written as such: nobody knows what it was. Returns
    once every gateway has acknowledged it or its lease has lapsed.
    """
    started, key = time.monotonic(), f"kill:{scope}"
    async with ControlStore(url) as store:
        for _ in range(WRITE_ATTEMPTS):
            found = await store.read(key)
            present = parse_state(found.state) if found else TradingState.HALTED
            wanted = strictest((state, present))
            generation = found.generation if found else 0
            if found is None or wanted is not present:
                try:
                    record = await store.write(
                        key,
                        state=wanted.value,
                        document={},
                        actor=actor,
                        reason=reason,
                        expected_generation=generation,
                    )
                except Conflict:
                    continue
                generation = record.generation
            told = await wait_for_acks(store, key, generation, since=started)
            return {
                "scope": scope,
                "state": wanted.value,
                "requested": state.value,
                "generation": generation,
                "persisted": True,
                "detail": "persisted",
                "by": "redis",
            } | told.to_json()
    raise Conflict(f"the kill switch changed {WRITE_ATTEMPTS} times meanwhile; try again")
