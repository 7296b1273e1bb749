"""What the drill runs on: its own Redis, workers, a sink and a proxy; all ended by their pid."""

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

from lob.errors import Fault, Unavailable
from touchstone.cli.drill.proxy import Proxy
from touchstone.cli.drill.ring import OrderRing, monotonic_ns
from touchstone.cli.drill.worker import WorkerConfig
from touchstone.kit.control import KILL_SCOPE, ControlRecord, ControlStore
from touchstone.kit.lifecycle import die_with_parent
from touchstone.kit.membership import (
    SETTLED_SECONDS,
    Acknowledgement,
    take_census,
    wait_for_acks,
)
from touchstone.kit.redis_server import start_redis
from touchstone.perps.kill import TradingState

START_SECONDS_MAX: Final = 30.0
ARM_SECONDS_MAX: Final = 10.0
STOP_SECONDS_MAX: Final = 5.0
LATE_MS_MAX: Final = 100.0
_ACTOR: Final = "touchstone drill"
T = TypeVar("T")


@dataclass(slots=True)
class Worker:
    """One worker: how it is started, what it has begun, its present process."""

    config: WorkerConfig
    ring: OrderRing
    process: asyncio.subprocess.Process | None = None


@dataclass
class Stage:
    """The whole setting below one folder; use as an async context manager.

    `history` is what this drill wrote, oldest first, as far as Redis should still have it. Workers
    with an odd number reach Redis through the proxy. `written_ns` is when Redis had taken the
    newest kill. `late_ms_max` is how much longer than lease and drain the call of a kill may take:
    the caller waits as long by its protocol, and the rest is how busy this machine is.
    """

    folder: Path
    processes: int
    late_ms_max: float = LATE_MS_MAX
    workers: list[Worker] = field(default_factory=list)
    history: list[ControlRecord] = field(default_factory=list)
    highest_generation: int = 0
    may_be_missing: int = 0
    written_ns: int = 0
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def __aenter__(self) -> Self:
        self.redis = start_redis(self.folder / "redis", death_signal=signal.SIGKILL)
        self._stack.callback(self._stop_redis)
        try:
            self.store = await self._stack.enter_async_context(
                ControlStore(self.redis.url, write_timeout_seconds=1.0)
            )
            # Raises where a halt could be lost: then the drill would prove nothing.
            await self.store.check()
            self.proxy = await self._stack.enter_async_context(Proxy(self.redis.port))
            await self._start_sink()
            await self._start_workers()
            await self._settle()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        # A stopped or killed server must not hold up the end.
        with contextlib.suppress(ProcessLookupError):
            self.redis.process.send_signal(signal.SIGCONT)
        self.proxy.mend()
        await self._stack.aclose()

    @property
    def rings(self) -> list[OrderRing]:
        """Return the rings of all workers."""
        return [worker.ring for worker in self.workers]

    @property
    def behind_proxy(self) -> list[Worker]:
        """Return the workers that a cut of the proxy parts from Redis."""
        return [worker for worker in self.workers if worker.config.number % 2]

    async def arm(self) -> ControlRecord:
        """Set ACTIVE, and return once every worker begins orders under it."""
        present = await patiently(lambda: self.store.read(KILL_SCOPE))
        record = await self._write(TradingState.ACTIVE, present.generation if present else 0)
        before = [ring.count for ring in self.rings]
        await until(
            lambda: all(
                ring.generation == record.generation and ring.count > count
                for ring, count in zip(self.rings, before, strict=True)
            ),
            "every worker begins orders",
            ARM_SECONDS_MAX,
        )
        return record

    async def kill(self) -> Acknowledgement:
        """Set HALTED and wait for everybody, as every caller of a kill does.

        Raises:
            Fault: Redis did not take it.
        """
        started = time.monotonic()
        record = await self._write(TradingState.HALTED, None)
        self.written_ns = monotonic_ns()
        return await wait_for_acks(self.store, KILL_SCOPE, record.generation, since=started)

    async def start_worker(self, worker: Worker) -> None:
        """Start a worker's process and return once it has asked Redis, or waited for it a second.

        Raises:
            Unavailable: it ended instead, with the last line of its log.
        """
        log = self.folder / f"worker-{worker.config.number}.log"
        worker.process = await self._spawn(worker.config.command(), log)
        process, ring = worker.process, worker.ring
        started = time.monotonic()
        while ring.pid != process.pid or not ring.answered:
            if process.returncode is not None:
                raise Unavailable(f"worker {worker.config.number} ended: {_last_line(log)}")
            seconds = time.monotonic() - started
            if seconds > START_SECONDS_MAX:
                raise Unavailable(f"worker {worker.config.number} does not start: {log}")
            if ring.pid == process.pid and ring.refused and seconds > 1.0:
                return
            await asyncio.sleep(0.005)

    async def stop_worker(self, worker: Worker, number: signal.Signals = signal.SIGTERM) -> None:
        """End a worker's process."""
        process = worker.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill_redis(self) -> None:
        """End the server with SIGKILL."""
        self.redis.process.kill()
        self.redis.process.wait()

    async def start_redis_again(self) -> None:
        """Start a server on the same port over what is in the data folder."""
        self.redis = start_redis(self.redis.data_dir, self.redis.port, death_signal=signal.SIGKILL)
        await patiently(lambda: self.store.read(KILL_SCOPE))

    def back_up(self) -> tuple[Path, int]:
        """Copy the server's append-only files; return the copy and the length of the history."""
        copy = self.folder / "backup"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.redis.data_dir, copy, ignore=shutil.ignore_patterns("redis.log"))
        return copy, len(self.history)

    def restore(self, backup: tuple[Path, int]) -> None:
        """Put a copy in the place of the data of a server that is not running."""
        copy, length = backup
        shutil.rmtree(self.redis.data_dir)
        shutil.copytree(copy, self.redis.data_dir)
        del self.history[length:]

    async def flush(self) -> None:
        """Empty the server."""
        script = "return redis.call('FLUSHALL')"
        await self.store.run_script(script, (), (), "FLUSHALL", patient=True)
        self.history.clear()

    async def audit_problem(self) -> str:
        """Return how audit, state and what was written differ; '' when they do not."""
        audit = [entry.record for entry in await self.store.audit(KILL_SCOPE, 100_000)]
        state = await self.store.read(KILL_SCOPE)
        if audit[::-1] != self.history:
            told = [record.generation for record in audit[::-1]]
            return f"audit {told} is not {[record.generation for record in self.history]}"
        if state != (self.history[-1] if self.history else None):
            return f"state {state} is not the last one written"
        return ""

    def _stop_redis(self) -> None:
        self.redis.stop()

    async def _write(self, state: TradingState, expected: int | None) -> ControlRecord:
        record = await self.store.write(
            KILL_SCOPE,
            state=state.value,
            document={},
            actor=_ACTOR,
            reason=f"drill: {state}",
            expected_generation=expected,
            floor_generation=self.highest_generation,
        )
        self.highest_generation = record.generation
        self.history.append(record)
        return record

    async def _start_sink(self) -> None:
        path = self.folder / "sink.ring"
        self.sink = OrderRing.create(path)
        self._stack.callback(self.sink.close)
        command = [sys.executable, "-m", "touchstone.cli.drill.sink", str(path)]
        process = await self._spawn(command, self.folder / "sink.log", piped=True)
        self._stack.push_async_callback(_end, process)
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        async with asyncio.timeout(START_SECONDS_MAX):
            line = await process.stdout.readline()
        if not line.strip().isdigit():
            raise Unavailable(f"the sink does not start: {_last_line(self.folder / 'sink.log')}")
        self.sink_port = int(line)

    async def _start_workers(self) -> None:
        for number in range(self.processes):
            port = self.proxy.port if number % 2 else self.redis.port
            url = f"redis://127.0.0.1:{port}/0"
            config = WorkerConfig(number, url, self.sink_port, str(self.folder))
            ring = OrderRing.create(config.ring_path)
            self._stack.callback(ring.close)
            worker = Worker(config, ring)
            self.workers.append(worker)
            self._stack.push_async_callback(self.stop_worker, worker)
        await asyncio.gather(*(self.start_worker(worker) for worker in self.workers))

    async def _settle(self) -> None:
        """Wait until the census is old enough to be trusted; else each kill waits a whole lease."""
        census = await take_census(self.store, KILL_SCOPE)
        age_seconds = (census.now_ms - census.founded_ms) / 1000
        await asyncio.sleep(max(0.0, SETTLED_SECONDS - age_seconds))

    async def _spawn(
        self, command: Iterable[str], log: Path, *, piped: bool = False
    ) -> asyncio.subprocess.Process:
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *command,
                # Set before it runs, so that no moment is left in which it would stay behind.
                preexec_fn=functools.partial(die_with_parent, signal.SIGKILL),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if piped else output,
                stderr=output,
                # Where this process found its modules, its children do.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )


async def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Return once `condition()` holds; `Unavailable` where it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.002)


async def patiently(call: Callable[[], Awaitable[T]], seconds: float = 5.0) -> T:
    """Return what a call to Redis returns, repeated while the server comes up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except Fault:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.02)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"nothing in {log}"
