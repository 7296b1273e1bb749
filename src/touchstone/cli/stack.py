"""The whole stack as child processes: start in order, watch, stop in reverse order.

A part that dies is started again only when somebody asks for it; meanwhile the others keep their
promises without it.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from lob.errors import ConfigError, Conflict, Unavailable
from touchstone.cli.ports import LOOPBACK, Ports
from touchstone.kit.lifecycle import die_with_parent
from touchstone.kit.settings import without_password

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 10.0
PROBE_TIMEOUT_SECONDS = 2.0

# What the rest still does while one part is away: printed with the report of its death.
PROMISES = {
    "redis": "the router answers with L2 after half a second; the gateway refuses new risk",
    "simulator": "the router answers with L2",
    "paper_exchange": "the gateway refuses orders until the venue is back",
    "router": "the gateway and the simulator go on",
    "order_gateway": "the router and the simulator go on; the watchdog cancels resting entries",
    "watchdog": "the gateway goes on; nobody cancels its entries should it die, too",
}
# Where a part is not `services.<name>`.
MODULES = {"watchdog": "services.order_gateway.watchdog"}


ALL_PARTS = frozenset(PROMISES)


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack: how to start it and where it tells its health."""

    name: str
    command: tuple[str, ...]
    address: str
    health_url: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """What a part says of itself; `state` is its detail without the figures that always change."""

    ok: bool
    detail: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A started part."""

    part: Part
    process: asyncio.subprocess.Process
    log: Path


Report = Callable[[str, str], None]


@dataclass
class Stack:
    """Processes of one stack below one data folder.

    Use as `async with Stack(...) as stack`: on leaving, whatever was started is stopped. `only`
    names the parts to start; the others are somebody else's, and their ports may be taken.
    """

    ports: Ports
    data_dir: Path
    report: Report
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    redis_url: str | None = None
    only: frozenset[str] = ALL_PARTS
    log_dir: Path | None = None
    running: dict[str, Running] = field(default_factory=dict)
    _lock: IO[str] | None = None

    @property
    def logs(self) -> Path:
        """Return the folder that each part's log is in."""
        return self.log_dir or self.data_dir / "logs"

    async def __aenter__(self) -> Self:
        self.ports.refuse_shared()
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        except OSError as error:
            raise ConfigError(
                f"--data-dir (TOUCHSTONE_DATA_DIR): {str(self.data_dir)!r}: "
                f"{error.strerror}; allowed: a folder to write to"
            ) from None
        try:
            self.ports.refuse_taken(but=self._not_ours())
            if self.redis_url:
                await require_redis(self.redis_url)
            for stage in self._stages():
                await self._start_stage(stage)
            self._write_run_file()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop every part, last started first: SIGTERM, and SIGKILL after 10 s."""
        for running in reversed(self.running.values()):
            if running.process.returncode is not None:
                continue
            self.report(running.part.name, "stopping")
            await _terminate(running.process)
        self.running.clear()
        run_file(self.data_dir).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def has_ended(self, name: str) -> bool:
        """Return whether a part's process is over."""
        return self.running[name].process.returncode is not None

    async def restart(self, name: str) -> Running:
        """Start a part that has ended again, without waiting for its health.

        Raises:
            OSError: the system has no room for another process, or the part runs again and the run
                file could not say so.
        """
        spawning = asyncio.ensure_future(self._spawn(self.running[name].part))
        try:
            await asyncio.shield(spawning)
        finally:
            # Also when cancelled: what was started has to be known to be stopped.
            self.running[name] = await spawning
        self._write_run_file()
        return self.running[name]

    async def health(self) -> dict[str, Health]:
        """Ask every part for its health, side by side."""
        async with probing_client() as client:
            parts = [running.part for running in self.running.values()]
            found = await asyncio.gather(*(probe(client, part, self.ports) for part in parts))
        return {part.name: health for part, health in zip(parts, found, strict=True)}

    def _stages(self) -> Sequence[Sequence[Part]]:
        embedded = not self.redis_url and "redis" in self.only
        stages = (("simulator", "paper_exchange"), ("router", "order_gateway"), ("watchdog",))
        return (
            (redis_part(self.ports, self.data_dir),) if embedded else (),
            *(
                [service_part(name, self.ports) for name in stage if name in self.only]
                for stage in stages
            ),
        )

    def _not_ours(self) -> frozenset[str]:
        """Return the ports that this stack does not listen on."""
        shared = {"redis"} if self.redis_url else set()
        parts = ALL_PARTS - self.only | shared
        simulator = {"simulator_stream", "simulator_metrics"} if "simulator" in parts else set()
        return frozenset(parts | simulator)

    async def _start_stage(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self.report(part.name, "starting")
            self.running[part.name] = await self._spawn(part)
        await asyncio.gather(*(self._wait_until_healthy(self.running[p.name]) for p in parts))

    async def _spawn(self, part: Part) -> Running:
        log = self.logs / f"{part.name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *part.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                # Settings name files such as configs/execution_l3.yaml from the project's root.
                cwd=os.environ.get("TOUCHSTONE_HOME"),
                # Ctrl-C is for the supervisor, which stops the parts in order.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        return Running(part, process, log)

    def _environment(self) -> dict[str, str]:
        streams = f"{LOOPBACK}:{self.ports.simulator_stream}"
        return {
            "TOUCHSTONE_SIMULATOR_FOLLOW_CONTROL": "true",
            **os.environ,
            **past_proxies(os.environ),
            **self.ports.environment(),
            "TOUCHSTONE_REDIS_URL": self.redis_url or f"redis://{LOOPBACK}:{self.ports.redis}/0",
            "TOUCHSTONE_DATA_DIR": str(self.data_dir),
            "TOUCHSTONE_ROUTER_SIMULATOR_ADDRESS": f"{LOOPBACK}:{self.ports.simulator}",
            "TOUCHSTONE_ROUTER_SIMULATOR_STREAM_ADDRESS": streams,
            "TOUCHSTONE_GATEWAY_VENUE_URL": f"http://{LOOPBACK}:{self.ports.paper_exchange}",
            "TOUCHSTONE_GATEWAY_VENUE_WS_URL": f"ws://{LOOPBACK}:{self.ports.paper_exchange}",
            # The watchdog signs with a key of its own, which the exchange makes beside the first.
            "TOUCHSTONE_EXCHANGE_EXTRA_KEYS": json.dumps(["watchdog"]),
            "TOUCHSTONE_WATCHDOG_API_KEY_FILE": str(
                self.data_dir / "exchange" / "keys" / "watchdog.json"
            ),
            "TOUCHSTONE_WATCHDOG_VENUE_URL": f"http://{LOOPBACK}:{self.ports.paper_exchange}",
            "TOUCHSTONE_WATCHDOG_GATEWAY_URL": f"http://{LOOPBACK}:{self.ports.order_gateway}",
            **self.extra_environment,
        }

    async def _wait_until_healthy(self, running: Running) -> None:
        part, started = running.part, time.monotonic()
        async with probing_client() as client:
            while True:
                code = running.process.returncode
                if code is not None:
                    raise Unavailable(f"{part.name} did not start: {last_line(running.log)}")
                health = await probe(client, part, self.ports)
                seconds = time.monotonic() - started
                if health.ok:
                    self.report(part.name, f"{health.detail} after {seconds:.1f} s")
                    return
                if seconds > START_TIMEOUT_SECONDS:
                    raise Unavailable(
                        f"{part.name} is not healthy after {START_TIMEOUT_SECONDS:.0f} s: "
                        f"{health.detail}; its log: {running.log}",
                    )
                await asyncio.sleep(0.05)

    def _take_lock(self) -> None:
        # Open until the stack stops: the kernel frees the lock however this process ends.
        self._lock = lock_file(self.data_dir).open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise Conflict(
                f"a stack already runs below {self.data_dir}; see `./touchstone status`",
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _write_run_file(self) -> None:
        document = {
            "ports": self.ports.environment(),
            "redis_url": self.redis_url or f"redis://{LOOPBACK}:{self.ports.redis}/0",
            "parts": {
                name: {"pid": running.process.pid, "address": running.part.address}
                for name, running in self.running.items()
            },
        }
        target = run_file(self.data_dir)
        temporary = target.with_suffix(".tmp")
        temporary.touch(mode=0o600)  # an address of Redis may hold a password
        temporary.write_text(json.dumps(document, indent=2) + "\n")
        temporary.replace(target)


def run_file(data_dir: Path) -> Path:
    """Return the file that says which stack runs below `data_dir`."""
    return data_dir / "stack.json"


def past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps a proxy of the environment out of the way between our own parts."""
    found = environment.get("no_proxy") or environment.get("NO_PROXY")
    names = ",".join(filter(None, (found, LOOPBACK, "localhost")))
    return {"no_proxy": names, "NO_PROXY": names}


def lock_file(data_dir: Path) -> Path:
    """Return the file that a running stack keeps locked; it holds the supervisor's pid."""
    return data_dir / "stack.lock"


def supervisor_pid(data_dir: Path) -> int | None:
    """Return the pid of the supervisor that runs below `data_dir`, if there is one.

    Only one that holds its lock counts: after a `kill -9` its pid may be another process's.
    """
    try:
        with lock_file(data_dir).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read())
    except (OSError, ValueError):
        pass
    return None


def service_part(name: str, ports: Ports) -> Part:
    """Return the part for one of our services."""
    address = f"{LOOPBACK}:{getattr(ports, name)}"
    health_port = ports.simulator_metrics if name == "simulator" else getattr(ports, name)
    return Part(
        name=name,
        command=(sys.executable, "-m", MODULES.get(name, f"services.{name}")),
        address=address if name == "simulator" else f"http://{address}",
        health_url=f"http://{LOOPBACK}:{health_port}/readyz",
    )


def redis_part(ports: Ports, data_dir: Path) -> Part:
    """Return the part for the embedded Redis-compatible server.

    Raises:
        Unavailable: neither a server on PATH nor the packaged one exists.
    """
    from touchstone.kit.redis_server import server_command  # noqa: PLC0415 - only where embedded

    folder = data_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    return Part(
        name="redis",
        command=tuple(server_command(port=ports.redis, data_dir=folder)),
        address=f"redis://{LOOPBACK}:{ports.redis}",
        health_url=None,
    )


def probing_client() -> httpx.AsyncClient:
    """Return a client for our own parts on loopback, which no proxy of the environment reaches."""
    return httpx.AsyncClient(timeout=PROBE_TIMEOUT_SECONDS, trust_env=False)


async def probe(client: httpx.AsyncClient, part: Part, ports: Ports) -> Health:
    """Return what the part says of itself now."""
    if part.health_url is None:
        return await _probe_redis(ports.redis)
    try:
        response = await client.get(part.health_url)
        body = response.json()
    except (httpx.HTTPError, ValueError) as error:
        return Health(ok=False, detail=f"no answer ({type(error).__name__})")
    status = str(body.get("status", response.status_code))
    poor = {
        name: f"{name}: {check['detail']}"
        for name, check in body.get("checks", {}).items()
        if not check["ok"]
    }
    detail = f"{status} ({'; '.join(poor.values())})" if poor else status
    return Health(ok=response.is_success, detail=detail, state=" ".join([status, *poor]))


async def _probe_redis(port: int) -> Health:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
    except (OSError, TimeoutError) as error:
        return Health(ok=False, detail=f"no answer ({type(error).__name__})")
    if answer.strip() != b"+PONG":
        return Health(ok=False, detail=answer.decode(errors="replace").strip())
    return Health(ok=True, detail="ready")


def redis_client(url: str) -> Redis:
    """Return a client that has not connected yet; ConfigError where `url` is no address."""
    try:
        return Redis.from_url(url, socket_timeout=PROBE_TIMEOUT_SECONDS)
    except ValueError as error:
        raise ConfigError(
            f"environment TOUCHSTONE_REDIS_URL: {without_password(url)!r}: {error}"
        ) from None


async def require_redis(url: str) -> None:
    """Raise Unavailable unless a server answers at `url`, ConfigError where that is no address."""
    client = redis_client(url)
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            await client.ping()
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(
            f"no Redis answers at {without_password(url)} ({error or type(error).__name__}); "
            "start it, or unset TOUCHSTONE_REDIS_URL for the embedded one",
        ) from None
    finally:
        await client.aclose()


def how_it_ended(code: int) -> str:
    """Return a process's return code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def last_line(log: Path) -> str:
    """Return the last line of a log that is no JSON: what the service said when it gave up."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    plain = [line for line in lines if not line.startswith("{")]
    return (plain or lines or [f"nothing in {log}"])[-1]


async def _terminate(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
