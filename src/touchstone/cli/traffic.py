"""Made-up orders at a steady pace, so that a stack that has just started shows something."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import httpx

from lob.config import create_l3_config
from touchstone.cli.console import complain
from touchstone.cli.demo_flow import synthetic_requests

L3_CONFIG: Final = "TOUCHSTONE_SIMULATOR_L3_CONFIG_PATH"
L3_PRESET: Final = "equity_retail"
TIMEOUT_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0


def visible_l3(folder: Path) -> dict[str, str]:
    """Return settings under which L3 sees what L2 cannot; their file is put into `folder`.

    That is a retail connection, 15.5 ms on the way, in the busy market of the made-up orders. With
    the shipped latency of an institution the two hardly differ there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "execution_l3_traffic.yaml"
    create_l3_config(L3_PRESET).to_yaml(path)
    return {L3_CONFIG: str(path)}


async def send_traffic(router: str, rate: float, seed: int | None = None) -> None:
    """Send `rate` execution requests a second along synthetic flow, until cancelled.

    A router that does not answer, or refuses, is said once, and tried again until it takes them.
    """
    began = time.time_ns()
    flow = synthetic_requests(sys.maxsize, began % 2**32 if seed is None else seed)
    timeout = httpx.Timeout(TIMEOUT_SECONDS)
    told = ""
    async with httpx.AsyncClient(base_url=router, timeout=timeout, trust_env=False) as client:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number, request in enumerate(flow):
            # The router assigns by this id: two runs are different orders.
            request["order"]["client_order_id"] = f"traffic-{began:x}-{number}"
            problem = await _send(client, request)
            if problem and problem != told:
                complain(f"traffic: {problem}")
            told = problem
            due = max(due + 1 / rate, loop.time() - 1)
            await asyncio.sleep(RETRY_SECONDS if problem else max(0.0, due - loop.time()))


async def _send(client: httpx.AsyncClient, request: dict[str, object]) -> str:
    """Return why the request was not executed, "" where it was."""
    try:
        answer = await client.post("/v1/executions", json=request)
    except httpx.HTTPError as error:
        return f"{client.base_url}: {error or type(error).__name__}"
    return "" if answer.status_code == httpx.codes.OK else answer.text[:300]
