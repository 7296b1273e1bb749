"""`touchstone demo`: the main job, start to end, in one terminal."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lob.errors import Fault
from touchstone.cli.console import EXIT_FAILED, EXIT_OK, JsonOption, err, out, print_json
from touchstone.cli.demo_flow import Json, recorded_requests, synthetic_requests
from touchstone.cli.ports import Ports
from touchstone.cli.stack import Stack
from touchstone.cli.traffic import visible_l3
from touchstone.cli.up import run_until_signalled

BATCH_SIZE = 100
REQUEST_TIMEOUT_SECONDS = 10.0
SHADOW_TIMEOUT_SECONDS = 60.0
FILL_TIMEOUT_SECONDS = 60.0
QUOTE_PATIENCE_SECONDS = 4.0
PERP_SYMBOL = "BTC-PERP"
PERP_PRODUCT = "BIP-20DEC30-CDE"
PERP_QUANTITY = "0.01"
FINAL_STATUSES = {"filled", "cancelled", "expired", "rejected", "refused", "missing"}
COMPARISON_COLUMNS = ("", "pairs", "mean", "95 % limits", "RMSE", "L2 fill", "L3 fill", "errors")


class DemoFailed(Fault):
    """A step of the demonstration did not show what it promises."""

    code = "DEMO_FAILED"


def demo(
    requests: Annotated[
        int,
        typer.Option(min=1, max=100_000, help="Execution requests to route."),
    ] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the flow and of the orders.")] = 7,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A LOBSTER message file to replay instead of synthetic flow."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Show the main job: replay flow, route in shadow phase, trade a perp, throw the kill switch.

    Starts its own stack on free ports in a temporary folder and stops it at the end. Exit code 0
    when every step showed what it promises, 1 otherwise.
    """
    run = _demo(requests, seed, file, json_output)
    raise typer.Exit(run_until_signalled(run, signalled=EXIT_FAILED))


async def _demo(count: int, seed: int, file: Path | None, json_output: bool) -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="touchstone-demo-") as folder:
        say("1. start the services on free ports")
        stack = Stack(
            Ports.free(),
            Path(folder),
            report=lambda name, what: err.print(f"   {name:<16} {what}", markup=False),
            extra_environment=demo_environment(count, Path(folder)),
        )
        http = httpx.AsyncClient(timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False)
        async with stack, http as client:
            router = Service(client, stack.running["router"].part.address)
            gateway = Service(client, stack.running["order_gateway"].part.address)
            venue = Service(client, stack.running["paper_exchange"].part.address)
            say("2. replay order flow and route an execution request at each decision")
            routed = await route(router, _flow(count, seed, file), count)
            say("3. compare each L2 fill with the L3 fill of the same order on the same book")
            comparison = await compare(router, routed["requests"])
            say(f"4. place a post-only {PERP_SYMBOL} order and wait for the market to fill it")
            perps = await trade(gateway, venue)
            say("5. throw the kill switch, then try again")
            kill = await throw_kill_switch(gateway)
            say("6. stop everything")
    seconds = time.monotonic() - started
    if json_output:
        print_json(
            {
                "seed": seed,
                "source": str(file) if file else "synthetic",
                "routing": routed,
                "comparison": comparison,
                "perps": perps,
                "kill": kill,
                "seconds": round(seconds, 1),
            }
        )
    say(f"done: every step showed what it promises, in {seconds:.0f} s")
    return EXIT_OK


def demo_environment(count: int, folder: Path) -> dict[str, str]:
    """Return the settings of a demonstration's services, where they are not the defaults."""
    return {
        **visible_l3(folder),
        # A faster market, so that a resting order need not wait long for its fill.
        "TOUCHSTONE_EXCHANGE_FLOW_SPEED": "50",
        # Every request of the run is compared: none dropped, none forgotten, however slow the
        # machine; in production these bounds are what keeps the candidate off the path.
        "TOUCHSTONE_ROUTER_SHADOW_PER_SECOND_MAX": "10000",
        "TOUCHSTONE_ROUTER_SHADOW_QUEUE_SIZE": str(count),
        "TOUCHSTONE_ROUTER_SHADOW_PAIRS_MAX": str(count),
        "TOUCHSTONE_ROUTER_SHADOW_DEADLINE_SECONDS": "10",
        "TOUCHSTONE_ROUTER_SIMULATOR_DEADLINE_SECONDS": "10",
    }


class Service:
    """One service's REST interface; an answer that is no success ends the demonstration."""

    def __init__(self, client: httpx.AsyncClient, address: str) -> None:
        self._client = client
        self._address = address

    async def get(self, path: str) -> Json:
        """Return the JSON of a GET."""
        return self._body(await self._client.get(self._address + path))

    async def post(self, path: str, body: Json) -> Json:
        """Return the JSON of a POST."""
        return self._body(await self._client.post(self._address + path, json=body))

    async def delete(self, path: str) -> Json:
        """Return the JSON of a DELETE."""
        return self._body(await self._client.delete(self._address + path))

    async def place(self, wanted: Json) -> bool:
        """Place an order; return False where its price came to cross in the meantime."""
        response = await self._client.post(f"{self._address}/v1/orders", json=wanted)
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            return False
        self._body(response)
        return True

    async def refused(self, path: str, body: Json) -> tuple[int, Json]:
        """Return status and error of a POST that must be refused."""
        response = await self._client.post(self._address + path, json=body)
        require(response.is_error, f"POST {path}: {response.status_code}: it was not refused")
        error: Json = response.json()["error"]
        return response.status_code, error

    def _body(self, response: httpx.Response) -> Json:
        request = response.request
        require(
            response.is_success,
            f"{request.method} {request.url.path}: {response.status_code}: {response.text[:300]}",
        )
        body: Json = response.json()
        return body


def _flow(count: int, seed: int, file: Path | None) -> Iterator[Json]:
    return synthetic_requests(count, seed) if file is None else recorded_requests(file, count, seed)


async def route(router: Service, flow: Iterator[Json], count: int) -> Json:
    """Send every request of the flow, in batches, and return what answered."""
    rollout = await router.get("/v1/rollout")
    phase = rollout["document"]["phase"]
    say(f"   rollout phase {phase}, generation {rollout['generation']}")
    require(phase == "SHADOW", f"rollout phase: {phase}: the demonstration needs SHADOW")
    arms: dict[str, int] = {}
    statuses: dict[str, int] = {}
    seconds = 0.0
    with progress() as bar:
        task = bar.add_task("   routed", total=count)
        while batch := list(itertools.islice(flow, BATCH_SIZE)):
            sent = time.perf_counter()
            answers = (await router.post("/v1/executions/batch", {"requests": batch}))["results"]
            seconds += time.perf_counter() - sent
            for answer in answers:
                require("decision" in answer, f"a request was refused: {answer}")
                arm, status = answer["decision"]["arm"], answer["fill"]["status"]
                arms[arm] = arms.get(arm, 0) + 1
                statuses[status] = statuses.get(status, 0) + 1
            bar.advance(task, len(batch))
    require(set(arms) == {"L2"}, f"answers by arm: {arms}: in shadow phase only L2 answers")
    say(f"   {sum(arms.values())} answered by L2 in {seconds:.1f} s: {in_words(statuses)}")
    return {
        "requests": sum(arms.values()),
        "answers_by_arm": arms,
        "answers_by_status": statuses,
        "per_second": round(count / seconds, 1),
    }


async def compare(router: Service, expected: int) -> Json:
    """Wait until every request has been mirrored, then show the paired comparison."""
    deadline, before = time.monotonic() + SHADOW_TIMEOUT_SECONDS, 0
    with progress() as bar:
        task = bar.add_task("   mirrored by L3", total=expected)
        while True:
            summary = await router.get("/v1/shadow/summary")
            done = int(summary["mirrored"]) + int(summary["dropped"])
            bar.update(task, completed=done)
            if done >= expected:
                break
            if done > before:
                # A slow machine takes its time: only where nothing moves is something wrong.
                deadline, before = time.monotonic() + SHADOW_TIMEOUT_SECONDS, done
            elif time.monotonic() > deadline:
                raise DemoFailed(
                    f"only {done} of {expected} requests were mirrored, and nothing more comes; "
                    f"{summary['queue_depth']} wait"
                )
            await asyncio.sleep(0.2)
    overall = summary["overall"]
    require(overall["n"] > 0, "no pair in which both providers filled something")
    out.print(comparison_table(summary))
    out.print("   slippage is against the mid at the decision; positive costs more")
    return {"overall": overall, "by_symbol": summary["by_symbol"], "by_side": summary["by_side"]}


async def trade(gateway: Service, venue: Service) -> Json:
    """Rest a post-only bid at the touch until the market fills it; return how that went."""
    started = time.monotonic()
    order = await fill_at_the_touch(gateway, venue)
    seconds = time.monotonic() - started
    positions = (await gateway.get("/v1/positions"))["positions"]
    held = next(row for row in positions if row["symbol"] == PERP_SYMBOL)
    require(Decimal(held["quantity"]) == Decimal(PERP_QUANTITY), f"position: {held}")
    say(f"   filled at {order['average_price']} after {seconds:.1f} s, fees {order['fees']}")
    events = (await gateway.get(f"/v1/events?client_order_id={order['client_order_id']}"))["events"]
    journal = [event["type"] for event in events]
    say(f"   event store: {', '.join(journal)}")
    say(f"   position {held['quantity']} {PERP_SYMBOL} at {held['average_entry_price']}")
    return {
        "order": order,
        "positions": positions,
        "events": journal,
        "seconds_to_fill": round(seconds, 2),
    }


async def fill_at_the_touch(gateway: Service, venue: Service) -> Json:
    """Place post-only bids until one is filled; follow the touch where the market moves away."""
    deadline = time.monotonic() + FILL_TIMEOUT_SECONDS
    for attempt in itertools.count(1):
        best_bid = await touch(venue)
        wanted = {
            "client_order_id": f"demo-perp-{attempt}",
            "symbol": PERP_SYMBOL,
            "side": "BUY",
            "quantity": PERP_QUANTITY,
            "type": "LIMIT",
            "limit_price": best_bid,
            "post_only": True,
        }
        say(f"   demo-perp-{attempt}: BUY {PERP_QUANTITY} @ {best_bid}, post-only")
        if await gateway.place(wanted):
            order = await settle(gateway, f"demo-perp-{attempt}")
            if order["status"] == "filled":
                return order
        require(time.monotonic() < deadline, f"no fill within {FILL_TIMEOUT_SECONDS:.0f} s")
        say("   the market moved away; again at the new touch")
    raise AssertionError("unreachable")


async def settle(gateway: Service, order_id: str) -> Json:
    """Wait for a fill for a while, else cancel; return the order in its final state."""
    patience = time.monotonic() + QUOTE_PATIENCE_SECONDS
    cancelled = False
    while True:
        order: Json = (await gateway.get(f"/v1/orders/{order_id}"))["order"]
        if order["status"] in FINAL_STATUSES:
            return order
        if time.monotonic() > patience:
            require(not cancelled, f"the cancel did not end the order: {order}")
            await gateway.delete(f"/v1/orders/{order_id}")
            cancelled, patience = True, time.monotonic() + QUOTE_PATIENCE_SECONDS
        await asyncio.sleep(0.1)


async def touch(venue: Service) -> str:
    """Return the best bid of the perp at the paper exchange."""
    path = "/api/v3/brokerage/market/product_book"
    book = await venue.get(f"{path}?product_id={PERP_PRODUCT}&limit=1")
    return str(Decimal(book["pricebook"]["bids"][0]["price"]))


async def throw_kill_switch(gateway: Service) -> Json:
    """Halt, show that the next order is refused, and return both answers."""
    halted = await gateway.post(
        "/v1/kill-switch",
        {"state": "HALTED", "scope": "global", "reason": "demonstration"},
    )
    say(f"   kill switch {halted['state']}, generation {halted['generation']}: {halted['detail']}")
    status, error = await gateway.refused(
        "/v1/orders",
        {"symbol": PERP_SYMBOL, "side": "BUY", "quantity": PERP_QUANTITY, "type": "MARKET"},
    )
    say(f"   the next order: HTTP {status} {error['code']}: {error['message']}")
    return {"kill_switch": halted, "refused_with_status": status, "refusal": error}


def comparison_table(summary: Json) -> Table:
    """Return the paired comparison as a table: overall, then by symbol and by side."""
    table = Table(title="L3 minus L2 slippage in bps, pair by pair", title_justify="left")
    for column in COMPARISON_COLUMNS:
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    rows = [("all", summary["overall"]), *summary["by_symbol"].items(), *summary["by_side"].items()]
    for name, row in rows:
        limits = row["limits_of_agreement_bps"] or (None, None)
        table.add_row(
            name,
            f"{row['pairs']}",
            figure(row["mean_difference_bps"], "+.3f"),
            f"{figure(limits[0], '+.1f')} to {figure(limits[1], '+.1f')}",
            figure(row["rmse_bps"], ".3f"),
            figure(row["control_fill_rate"], ".1%"),
            figure(row["candidate_fill_rate"], ".1%"),
            figure(row["candidate_error_rate"], ".2%"),
        )
    return table


def figure(value: float | None, form: str) -> str:
    """Return a number in a format, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def in_words(counts: dict[str, int]) -> str:
    """Return counts by name as one line, largest first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name.lower().replace('_', ' ')}" for name, count in ordered)


def progress() -> Progress:
    """Return a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=err)


def say(text: str) -> None:
    """Print what happens now, on stderr."""
    err.print(text, markup=False, soft_wrap=True)


def require(holds: bool, otherwise: str) -> None:
    """Raise DemoFailed unless a step showed what it promises."""
    if not holds:
        raise DemoFailed(otherwise)
