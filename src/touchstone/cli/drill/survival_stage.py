"""What the survival drill runs on: the real stack, each part a process to kill and restart."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httpx

from lob.errors import Unavailable
from touchstone.cli.drill.postgresql import Postgresql, find_initdb
from touchstone.cli.ports import LOOPBACK, Ports
from touchstone.cli.stack import past_proxies
from touchstone.kit.lifecycle import die_with_parent
from touchstone.kit.redis_server import RedisServer, start_redis

START_SECONDS_MAX: Final = 40.0
ORDERS_PER_MINUTE: Final = 60_000
VENUE_REQUESTS_PER_SECOND: Final = 1_000


@dataclass
class House:
    """Redis, PostgreSQL where there is one, exchange and gateway below one folder."""

    folder: Path
    ports: Ports = field(default_factory=Ports.free)
    database: Postgresql | None = None
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Self:
        self.client = self._stack.enter_context(httpx.Client(timeout=5, trust_env=False))
        try:
            self.start_redis()
            self._stack.callback(self._stop_redis)
            self._start_database()
            for name in ("paper_exchange", "order_gateway"):
                self._stack.callback(self._end, name)
                self.start(name)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def gateway_url(self) -> str:
        """Return the gateway's address."""
        return f"http://{LOOPBACK}:{self.ports.order_gateway}"

    @property
    def venue_url(self) -> str:
        """Return the exchange's address."""
        return f"http://{LOOPBACK}:{self.ports.paper_exchange}"

    @property
    def key_file(self) -> Path:
        """Return the API key that the audit looks with; not the gateway's."""
        return self.folder / "exchange" / "keys" / "auditor.json"

    def start_redis(self) -> None:
        """Start Redis, over what an earlier one left."""
        self.redis: RedisServer = start_redis(
            self.folder / "redis", self.ports.redis, death_signal=signal.SIGKILL
        )

    def kill_redis(self) -> None:
        """End Redis with SIGKILL."""
        self.redis.process.kill()
        self.redis.process.wait()

    def start(self, name: str) -> None:
        """Start exchange or gateway and return once it answers; it may not be ready yet."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            self._processes[name] = subprocess.Popen(  # noqa: S603 - our own service
                [sys.executable, "-m", f"services.{name}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **past_proxies(os.environ), **self._environment()},
                cwd=os.environ.get("TOUCHSTONE_HOME"),
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, signal.SIGKILL),  # noqa: PLW1509 - as in redis_server
            )
        url = self.gateway_url if name == "order_gateway" else self.venue_url

        def answers() -> bool:
            if self._processes[name].poll() is not None:
                raise Unavailable(f"{name} ended: {_last_line(log)}")
            return self.status(f"{url}/healthz") == httpx.codes.OK

        wait_until(answers, f"{name} answers", START_SECONDS_MAX)

    def kill(self, name: str) -> None:
        """End exchange or gateway with SIGKILL."""
        self._processes[name].kill()
        self._processes[name].wait()

    def status(self, url: str) -> int:
        """Return the HTTP status of a look at `url`, 0 where nobody answers."""
        try:
            return self.client.get(url).status_code
        except httpx.HTTPError:
            return 0

    def ask(self, path: str) -> Any:
        """Return what the gateway answers to a GET.

        Raises:
            Unavailable: it does not answer.
        """
        try:
            answer = self.client.get(self.gateway_url + path)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"gateway: GET {path}: {error}") from None

    def is_ready(self) -> bool:
        """Return whether the gateway says that nothing is amiss: not even SQL is behind."""
        try:
            answer = self.client.get(f"{self.gateway_url}/readyz").json()
        except (httpx.HTTPError, ValueError):
            return False
        return all(check["ok"] for check in answer["checks"].values())

    def sample(self, name: str) -> float:
        """Return the value of one of the gateway's metrics without labels."""
        try:
            text = self.client.get(f"{self.gateway_url}/metrics").text
        except httpx.HTTPError:
            return float("nan")
        found = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(found[0]) if found else float("nan")

    def _stop_redis(self) -> None:
        # The present one: it was started anew meanwhile.
        self.redis.stop()

    def _start_database(self) -> None:
        initdb = find_initdb()
        if initdb is None:
            return
        with_port = Ports.free().simulator
        self.database = Postgresql(initdb, self.folder / "postgresql", with_port)
        self._stack.callback(self.database.stop)
        self.database.start()

    def _environment(self) -> Mapping[str, str]:
        database = {"DATABASE_URL": self.database.url} if self.database else {}
        return {
            **self.ports.environment(),
            **database,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TOUCHSTONE_REDIS_URL": f"redis://{LOOPBACK}:{self.ports.redis}/0",
            "TOUCHSTONE_DATA_DIR": str(self.folder),
            "TOUCHSTONE_EXCHANGE_EXTRA_KEYS": '["auditor"]',
            "TOUCHSTONE_EXCHANGE_RATE_LIMIT_PER_SECOND": str(VENUE_REQUESTS_PER_SECOND),
            "TOUCHSTONE_GATEWAY_VENUE_URL": self.venue_url,
            "TOUCHSTONE_GATEWAY_VENUE_WS_URL": self.venue_url.replace("http", "ws", 1),
            "TOUCHSTONE_GATEWAY_MAX_ORDERS_PER_MINUTE": str(ORDERS_PER_MINUTE),
        }

    def _end(self, name: str) -> None:
        process = self._processes.get(name)
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> float:
    """Return how long it took until `condition()` held; `Unavailable` after `seconds`."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise Unavailable(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - started


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][-300:] if lines else f"nothing in {log}"
