"""Where a phase is rehearsed: a paper exchange and a Redis of its own, and the plan's line."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx

from lob.errors import Unavailable
from touchstone.cli.ports import LOOPBACK, Ports
from touchstone.cli.rehearsal.records import Records
from touchstone.cli.rehearsal.verdicts import NotHeldError
from touchstone.cli.stack import Stack, past_proxies
from touchstone.kit.lifecycle import die_with_parent

READY_SECONDS: Final = 40.0
STOP_SECONDS: Final = 20.0
ORDER_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02
SCRIPT: Final = "scripts/run_perps_bot_v2_week3.py"
PUBLIC: Final = "/api/v3/brokerage/market"
DEEP: Final = {"TOUCHSTONE_EXCHANGE_FLOW_SIZE": "10", "TOUCHSTONE_EXCHANGE_FLOW_RATE": "0.25"}
"""Ten times the usual depth, which the plan's filters ask for, at a quarter of the usual pace, so
that a day takes minutes."""
RICH: Final = {"TOUCHSTONE_EXCHANGE_STARTING_BALANCE": "10000000"}
"""For orders that move a book of that depth."""
USUAL: Final = {
    "TOUCHSTONE_EXCHANGE_RATE_LIMIT_PER_SECOND": "1000",
    "TOUCHSTONE_EXCHANGE_PUBLIC_RATE_LIMIT_PER_SECOND": "1000",
    "TOUCHSTONE_EXCHANGE_JOURNAL_SYNC": "false",
    "TOUCHSTONE_EXCHANGE_TICK_SECONDS": "0.01",
}

Json = dict[str, Any]


@dataclass(slots=True)
class Line:
    """One run of a command line: its process, its REST, its folder."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    folder: Path
    output: Path

    @property
    def records(self) -> Records:
        """Return what the gateway recorded."""
        return Records(self.folder / "gateway" / "events.db")

    @property
    def log(self) -> Path:
        """Return the bot's log."""
        return self.folder / "logs" / "perps_bot.log"

    @property
    def health(self) -> Json:
        """Return the health file."""
        found: Json = json.loads((self.folder / "logs" / "health.json").read_text())
        return found

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Json]:
        """Send one request; return status and body."""
        answer = await self.client.request(method, path, json=body)
        return answer.status_code, answer.json()

    async def order(self, client_order_id: str) -> Json:
        """Return an order as the gateway has it."""
        _, body = await self.ask("GET", f"/v1/orders/{client_order_id}")
        found: Json = body.get("order", {})
        return found

    async def until_order(self, client_order_id: str, *statuses: str) -> Json:
        """Return the order once it has one of these statuses.

        Raises:
            NotHeldError: it has not within ten seconds.
        """
        deadline = time.monotonic() + ORDER_SECONDS
        while True:
            order = await self.order(client_order_id)
            if order.get("status") in statuses:
                return order
            if time.monotonic() > deadline:
                raise NotHeldError(
                    f"{client_order_id} is {order.get('status')}, not {' or '.join(statuses)}"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def position(self, symbol: str) -> Decimal:
        """Return the signed position of a symbol, in coins."""
        _, body = await self.ask("GET", "/v1/positions")
        [quantity] = [row["quantity"] for row in body["positions"] if row["symbol"] == symbol]
        return Decimal(quantity)

    async def until_ready(self) -> None:
        """Wait until the gateway is ready to trade.

        Raises:
            Unavailable: the run ended, or is not ready in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.returncode is not None:
                break
            with contextlib.suppress(httpx.HTTPError, ValueError):
                status, _ = await self.ask("GET", "/readyz")
                if status == httpx.codes.OK:
                    return
            await asyncio.sleep(5 * POLL_SECONDS)
        text = self.output.read_text(errors="replace").strip().splitlines()
        last = text[-1] if text else "it said nothing"
        raise Unavailable(f"the command line is not ready: {last}; its output: {self.output}")

    async def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            return -signal.SIGKILL


@dataclass(slots=True)
class Ground:
    """A running exchange and Redis, and the folder below which everything of a phase is."""

    stack: Stack
    folder: Path
    client: httpx.AsyncClient
    runs: int = 0
    speed: float = 1.0

    async def set_speed(self, speed: float) -> None:
        """Let the exchange's time pass so fast."""
        answer = await self.client.post("/admin/clock", json={"speed": speed})
        answer.raise_for_status()
        self.speed = speed

    async def book(self, product: str) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Return best bid and ask, and what the touch and ten levels of asks hold in dollars."""
        path = f"{PUBLIC}/product_book?product_id={product}&limit=10"
        found = (await self.client.get(path)).json()["pricebook"]
        asks = [(Decimal(row["price"]), Decimal(row["size"])) for row in found["asks"]]
        worth = [price * size for price, size in asks]
        return Decimal(found["bids"][0]["price"]), asks[0][0], worth[0], sum(worth, Decimal(0))

    async def money(self) -> Json:
        """Return the exchange's own accounts."""
        found: Json = (await self.client.get("/admin/money")).json()
        return found

    async def orders_taken(self) -> int:
        """Return how many orders have come to the exchange, whatever became of them."""
        text = (await self.client.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("exchange_orders_total{")]
        return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))

    @contextlib.asynccontextmanager
    async def line(
        self, words: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[Line]:
        """Run the script with these flags until the block ends; it is ready when it begins."""
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        folder.mkdir(parents=True)
        ports = self.stack.ports
        output = folder / "output.txt"
        with output.open("wb") as target:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                SCRIPT,
                *words,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=target,
                cwd=os.environ.get("TOUCHSTONE_HOME"),
                env={
                    **os.environ,
                    **past_proxies(os.environ),
                    **ports.environment(),
                    "COINBASE_SANDBOX": "1",
                    "TOUCHSTONE_DATA_DIR": str(folder),
                    "LOG_DIR": str(folder / "logs"),
                    # A database for each run: each begins as a first start does.
                    "TOUCHSTONE_REDIS_URL": f"redis://{LOOPBACK}:{ports.redis}/{self.runs}",
                    "TOUCHSTONE_GATEWAY_API_KEY_FILE": str(
                        self.stack.data_dir / "exchange" / "keys" / "cdp_api_key.json"
                    ),
                    **(environment or {}),
                },
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        base = f"http://{LOOPBACK}:{ports.order_gateway}"
        async with httpx.AsyncClient(base_url=base, timeout=10, trust_env=False) as client:
            line = Line(process, client, folder, output)
            try:
                await line.until_ready()
                yield line
            finally:
                await line.stop()


@contextlib.asynccontextmanager
async def ground(
    folder: Path, report: Callable[[str, str], None], environment: Mapping[str, str]
) -> AsyncIterator[Ground]:
    """Start an exchange and a Redis on free ports below `folder`; stop them at the end."""
    ports = Ports.free()
    stack = Stack(
        ports,
        folder,
        report=report,
        extra_environment={**USUAL, **DEEP, **environment},
        only=frozenset({"redis", "paper_exchange"}),
    )
    base = f"http://{LOOPBACK}:{ports.paper_exchange}"
    async with (
        stack,
        httpx.AsyncClient(base_url=base, timeout=10, trust_env=False) as client,
    ):
        yield Ground(stack, folder, client)
