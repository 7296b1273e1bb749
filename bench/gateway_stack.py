"""A paper exchange, a Redis and a gateway on them, with limits out of the way."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.exchange_stack import Served, running_exchange
from bench.router_stack import (
    call_json,
    checkout_environment,
    free_ports,
    running_service,
    wait_until,
)
from lob.errors import Unavailable
from touchstone.kit.redis_server import running_redis

SYMBOLS: Final = {"BTC-PERP": "BTC-PERP-INTX", "ETH-PERP": "ETH-PERP-INTX"}
SIZES: Final = {"BTC-PERP": "0.0002", "ETH-PERP": "0.005"}
"""About twenty dollars an order: the background fills thousands a second of that."""
SETTINGS: Final = {
    "SYMBOL_MAP": json.dumps(SYMBOLS),
    "MAX_ORDERS_PER_MINUTE": "1000000",
    "MAX_POSITION_NOTIONAL": "1000000",
    "CONTROL_STALE_AFTER_SECONDS": "5",
}
"""Limits that would end the measurement; and a machine that does something else for half a second
is no reason to refuse orders here."""

MEMORY_BYTES_MIN: Final = 1 << 30
RECORD_BYTES: Final = 700
"""About what an order's intent takes in the journal."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GatewayStack:
    """What a gateway needs; each one gets a folder of its own.

    `folder` is on the disk; `beside`, in memory where that is offered, is for what is elsewhere in
    production and has a disk of its own there: the exchange, Redis.
    """

    home: Path
    folder: Path
    beside: Path
    redis_url: str
    exchange: Served

    def environment(self, folder: Path, port: int = 0) -> Mapping[str, str]:
        """Return the environment of a gateway whose data is in `folder`."""
        key = self.beside / "exchange" / "exchange" / "keys" / "es256-0.json"
        address = f"127.0.0.1:{self.exchange.port}"
        return checkout_environment(self.home) | {
            "TOUCHSTONE_REDIS_URL": self.redis_url,
            "TOUCHSTONE_DATA_DIR": str(folder),
            "TOUCHSTONE_GATEWAY_PORT": str(port),
            "TOUCHSTONE_GATEWAY_VENUE_URL": f"http://{address}",
            "TOUCHSTONE_GATEWAY_VENUE_WS_URL": f"ws://{address}",
            "TOUCHSTONE_GATEWAY_API_KEY_FILE": str(key),
            **{f"TOUCHSTONE_GATEWAY_{name}": value for name, value in SETTINGS.items()},
        }

    def load(self, module: str, job: Document, environment: Mapping[str, str]) -> Document:
        """Run a load process with a job, in which it finds the exchange's process id."""
        job = {**job, "exchange_pid": self.exchange.process.pid}
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", f"bench.{module}"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            cwd=self.home,
            env=dict(environment),
            check=False,
        )
        if done.returncode:
            lines = [
                line for line in done.stderr.splitlines() if "Error" in line or "Fault" in line
            ]
            raise Unavailable(f"{module}: {lines[-1:] or done.stderr[-300:]}")
        found: Document = json.loads(done.stdout)
        return found

    @contextlib.contextmanager
    def gateway(self) -> "Iterator[tuple[int, subprocess.Popen[bytes]]]":
        """Serve a gateway for a `with` block; yields its port and process."""
        (port,) = free_ports(1)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            environment = dict(self.environment(Path(folder), port))
            with running_service("order_gateway", self.home, environment, Path(folder)) as process:
                wait_until(lambda: call_json(port, "GET", "/readyz")[0] == http.client.OK)
                yield port, process


@contextlib.contextmanager
def running_stack(home: Path, folder: Path) -> Iterator[GatewayStack]:
    """Serve exchange and Redis for a `with` block."""
    with (
        tempfile.TemporaryDirectory(prefix="touchstone-bench-", dir=_memory(folder)) as beside,
        running_redis(Path(beside) / "redis") as redis,
        running_exchange(home, Path(beside) / "exchange") as exchange,
    ):
        yield GatewayStack(home, folder, Path(beside), redis.url, exchange)


def _memory(otherwise: Path) -> Path:
    """Return a folder in memory that has room, else the other one."""
    found = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    if not found.is_dir() or shutil.disk_usage(found).free < MEMORY_BYTES_MIN:
        return otherwise
    return found


def disk_alone(folder: Path, seconds: float, rate: float) -> list[float]:
    """Return how long after it was due each record is on the disk while nothing else asks, in us.

    Records are due at a constant rate, whatever the disk does. Those that become due while it is at
    work share the next `fdatasync`, as orders do.
    """
    found: list[float] = []
    count = int(seconds * rate)
    with (folder / "disk-alone").open("wb", buffering=0) as file:
        began = time.perf_counter()
        while len(found) < count:
            time.sleep(max(0.0, began + len(found) / rate - time.perf_counter()))
            due = min(count, 1 + int((time.perf_counter() - began) * rate)) - len(found)
            file.write(bytes(RECORD_BYTES * due))
            os.fdatasync(file.fileno())
            now = time.perf_counter()
            found += [
                (now - began - number / rate) * 1e6
                for number in range(len(found), len(found) + due)
            ]
    return found
