"""Run the candidate in a process of its own, and let nothing that it does reach the loop.

The router looks at the process some times a second (four to a hundred, by how many orders are to be
mirrored), and nothing that the process does wakes it: each time it reads at most 64 KiB, settles
pairs in slices of 0.1 ms with a rest of 3 ms in between, and sends some orders. No call here waits.

The process is started when the shadow phase is entered and killed when it is left. One that ends,
hangs or says what is not in the protocol is killed and started again, after a pause that doubles;
orders that it had been given are then errors of the candidate, so that none can avoid a comparison
by taking the process down. One that has computed more than its share (`shadow_share`) is given no
orders, and not started again, until the time has paid for it.
"""

import asyncio
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import structlog

from lob.errors import DeadlineExceeded, Unavailable
from services.router.metrics import ProcessMetrics
from services.router.shadow import Mirror, ShadowRunner
from services.router.shadow_frames import (
    REQUEST_BYTES_MAX,
    Garbage,
    Outcome,
    one_line,
    order_frame,
    outcome_of,
    take_message,
)
from services.router.shadow_process import Task
from services.router.shadow_share import ProcessorAccount
from services.router.shadow_work import inputs_digest
from touchstone.kit.codec import request_bytes
from touchstone.kit.processor_time import computed_seconds, waits_for_processor

TICK_SECONDS_MIN: Final = 0.01
TICK_SECONDS_MAX: Final = 0.5
SLICE_SECONDS: Final = 0.0001
REST_SECONDS_MIN: Final = 0.001
"""What a loop's timers can tell from nothing."""
REST_SECONDS_MAX: Final = 0.003
"""Between slices: one after the other, they would keep requests waiting like one long one."""
HEAVY_SECONDS: Final = 0.001
"""A fill with a long attribution costs half of it on a slow machine, and there are thousands."""
DEAF_FACTOR: Final = 2000
"""After a message that cost more than that, none is heard for so many times its cost: what stands
still for a hundredth of the time is the p99."""
DEAF_SECONDS_MAX: Final = 10.0
"""No longer than that, where it was the collector of garbage that cost it."""
IDLE_SECONDS: Final = 0.05
WINDOW: Final = 64
"""The most orders that the process has and has not answered."""
READ_BYTES: Final = 65_536
START_SECONDS_MAX: Final = 60.0
START_COMPUTED_MAX: Final = 15.0
GRACE_SECONDS: Final = 1.0
STARVED_SECONDS_MAX: Final = 60.0
PAUSE_SECONDS: Final = 0.1
PAUSE_SECONDS_MAX: Final = 10.0
HEALTHY_SECONDS: Final = 10.0
"""A life of so long takes the pause before the next one back to the shortest."""
RESTLESS_SECONDS: Final = 0.25
"""What it may compute without an order while it owes: it is to rest then."""
MODULE: Final = "services.router.shadow_process"

_log = structlog.get_logger("touchstone.router")


@dataclass(slots=True)
class _Given:
    """An order that the process has been given, and when."""

    mirror: Mirror
    at: float


@dataclass(slots=True)
class _Life:
    """One process, from its start to its end; `again` when another had ended in this phase."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    again: bool
    started_at: float
    progress_at: float
    computed: float = 0.0
    computed_at_progress: float = 0.0
    ready: bool = False
    unsent: bytes = b""
    received: bytearray = field(default_factory=bytearray)
    given: dict[int, _Given] = field(default_factory=dict)


class ProcessLane:
    """Start the shadow process, feed it, believe only what can be true, and end it."""

    def __init__(
        self,
        task: Task,
        *,
        per_second_max: int,
        order_seconds: float,
        metrics: ProcessMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._task = task
        # Seldom and several at a time: what a processor has not done for a while, it does slowly.
        tick = min(max(WINDOW / 2 / per_second_max, TICK_SECONDS_MIN), TICK_SECONDS_MAX)
        self._tick_seconds = tick
        # Faster than orders are taken, so that after a stall none waits for long.
        self._per_tick = max(1, round(2 * per_second_max * tick))
        rest = min(REST_SECONDS_MAX, tick / (2 * self._per_tick))
        self._rest_seconds = rest if rest >= REST_SECONDS_MIN else 0.0
        self._account = ProcessorAccount(min(1.0, per_second_max * order_seconds), clock)
        self._order_computed_max = max(task.deadline_seconds, GRACE_SECONDS)
        self._metrics = metrics
        self._clock = clock
        self._life: _Life | None = None
        self._again = False
        self._number = 0
        self._pauses = 0
        self._start_at = 0.0
        self._trouble = ""
        self._wanted = False
        self._deaf_until = 0.0
        self._dead: list[subprocess.Popen[bytes]] = []
        # The kernel ends a process when the thread that started it ends: this one lasts.
        self._starter = ThreadPoolExecutor(1, "shadow-starter")

    @property
    def pid(self) -> int | None:
        """Return the process id of the shadow process; None while there is none."""
        return None if self._life is None else self._life.process.pid

    def affords(self) -> bool:
        """Return whether the process may be given more orders: it has not overspent its share."""
        return self._account.balance >= 0.0

    async def check(self) -> str:
        """Return what the shadow process does.

        Raises:
            Unavailable: it is to run and does not.
        """
        life = self._life
        if not self._wanted:
            return "not in the shadow phase"
        owing = ""
        if not self.affords():
            share, paid_in = 100 * self._account.share, math.ceil(self._account.paid_in)
            owing = f"; it computed more than {share:.2g} % of a processor: goes on in {paid_in} s"
        if life is None or not life.ready:
            raise Unavailable(f"shadow process: {self._trouble or 'starting'}{owing}")
        return f"process {life.process.pid}{owing}"

    def work(self, shadow: ShadowRunner) -> list[Coroutine[Any, Any, None]]:
        """Return what keeps the process alive in the shadow phase, and feeds it."""
        return [self._work(shadow)]

    async def _work(self, shadow: ShadowRunner) -> None:
        """Keep the process alive while in the shadow phase, and feed it; runs until cancelled."""
        try:
            while True:
                self._wanted = shadow.in_shadow()
                if not self._wanted:
                    self._leave(shadow)
                    await asyncio.sleep(IDLE_SECONDS)
                    continue
                try:
                    await self._tick(shadow)
                except Garbage as error:
                    await self._end(shadow, "garbage", f"said what is not in the protocol: {error}")
                except Exception:  # noqa: BLE001 - the comparison goes on with another process
                    _log.exception("shadow_lane_failed")
                    await self._end(shadow, "garbage", "a defect; see the log")
                ready = self._life is not None and self._life.ready
                await asyncio.sleep(self._tick_seconds if ready else TICK_SECONDS_MIN)
        finally:
            self._kill()
            self._starter.shutdown(wait=False)
            self._reap(wait_seconds=1.0)

    async def _tick(self, shadow: ShadowRunner) -> None:
        self._reap()
        if self._life is None:
            if self._clock() >= self._start_at and self.affords():
                await self._start()
            return
        life = self._life
        self._charge(life)
        alive = await self._receive(life, shadow)
        if alive and life.ready:
            await self._send(life, shadow)
        if not alive:
            await self._end(shadow, "exit" if life.ready else "not_started", "ended")
        elif (reason := self._hangs(life)) is not None:
            await self._end(shadow, "hung" if life.ready else "not_started", reason)
        elif self._overspends(life):
            await self._end(shadow, "overspent", "computes without the time for it")

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            task = replace(self._task, descriptor=theirs.fileno(), parent=os.getpid())
            loop = asyncio.get_running_loop()
            starting = loop.run_in_executor(self._starter, _spawn, task)
            try:
                process = await asyncio.shield(starting)
            except asyncio.CancelledError:
                # The thread may be past the point of no return: what it starts ends at once.
                starting.add_done_callback(_kill_started)
                ours.close()
                raise
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                ours.close()
                self._metrics.endings["not_started"].inc()
                self._pause(f"cannot start: {one_line(str(error))}")
                return
        now = self._clock()
        self._life = _Life(process, ours, self._again, now, now)
        self._again = True

    def _charge(self, life: _Life) -> None:
        """Take what the process has computed since the last look from its account.

        The start that entering the phase brings is free: no fault of the candidate's.
        """
        computed = max(life.computed, computed_seconds(life.process.pid))
        if life.ready or life.again:
            self._account.spend(computed - life.computed)
        life.computed = computed

    async def _send(self, life: _Life, shadow: ShadowRunner) -> None:
        """Send what was left over, or else a few orders more; never waits for the process."""
        frames = [life.unsent] if life.unsent else []
        holds = life.unsent or not self.affords() or self._is_deaf()
        room = 0 if holds else min(self._per_tick, WINDOW - len(life.given))
        started = time.perf_counter()
        for _ in range(room):
            mirror = shadow.take_now()
            if mirror is None:
                break
            encoded = request_bytes(mirror.request)
            if len(encoded) > REQUEST_BYTES_MAX:
                shadow.drop("too_large")
                continue
            now = self._clock()
            if not life.given:
                life.progress_at, life.computed_at_progress = now, life.computed
            self._number += 1
            life.given[self._number] = _Given(mirror, now)
            frames.append(order_frame(self._number, mirror.seed, encoded))
            started = await self._rest_after(started)
        if frames:
            joined = b"".join(frames)
            with contextlib.suppress(BlockingIOError, InterruptedError, ConnectionError):
                joined = joined[life.connection.send(joined) :]
            life.unsent = joined

    async def _receive(self, life: _Life, shadow: ShadowRunner) -> bool:
        """Settle what the process has said; return False when it has ended.

        The loop cannot go on while one message is looked at, and that may have a thousand parts,
        each of which is checked. So there may be few such: a twentieth of a percent of the time.
        """
        if self._is_deaf():
            # What it answers now is none of its silence.
            life.computed_at_progress = life.computed
            return True
        # What was left when it became too much, before anything more.
        if await self._hear_all(life, shadow):
            return True
        try:
            read = life.connection.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not read:
            return False
        life.received += read
        await self._hear_all(life, shadow)
        return True

    async def _hear_all(self, life: _Life, shadow: ShadowRunner) -> bool:
        """Act on the messages that are there; return True where they cost too much to go on."""
        started = time.perf_counter()
        while True:
            busy, before = time.thread_time(), len(life.received)
            message = take_message(life.received)
            if message is None:
                return False
            self._hear(life, message, shadow, before - len(life.received))
            if (cost := time.thread_time() - busy) > HEAVY_SECONDS:
                # Nobody hangs who is not listened to.
                deaf = min(DEAF_FACTOR * cost, DEAF_SECONDS_MAX)
                life.progress_at = self._deaf_until = self._clock() + deaf
                for given in life.given.values():
                    given.at += deaf
                return True
            started = await self._rest_after(started)

    def _is_deaf(self) -> bool:
        return self._clock() < self._deaf_until

    async def _rest_after(self, started: float) -> float:
        """Let the requests that came meanwhile go first, once a slice is over; return its start."""
        if time.perf_counter() - started < SLICE_SECONDS:
            return started
        await asyncio.sleep(self._rest_seconds)
        return time.perf_counter()

    def _hear(self, life: _Life, message: list[Any], shadow: ShadowRunner, size: int) -> None:
        """Act on one message; `Garbage` where it is none of the protocol."""
        kind = message[0]
        if kind == "outcome" and life.ready and len(message) > 1:
            number = message[1]
            given = life.given.get(number) if type(number) is int else None
            if given is None:
                raise Garbage("an outcome of no order")
            outcome = outcome_of(message, given.mirror.request.order.quantity)
            del life.given[number]
            life.progress_at, life.computed_at_progress = self._clock(), life.computed
            shadow.settle(given.mirror, outcome, size)
        elif kind == "ready" and not life.ready:
            life.ready, life.computed_at_progress = True, life.computed
            self._trouble = ""
            self._metrics.up.set(1)
            lacking = [one_line(name) for name in message[1][:8]] if len(message) > 1 else []
            _log.info("shadow_process_ready", pid=life.process.pid, not_confined_by=lacking)
        elif kind == "failed" and not life.ready and len(message) > 1:
            self._trouble = f"candidate: {one_line(message[1])}"
        else:
            raise Garbage(f"a message {one_line(kind)!r}")

    def _hangs(self, life: _Life) -> str | None:
        """Say why the process is taken to hang; None where it is not.

        One that has been given no processor has not had its time yet.
        """
        now, deadline = self._clock(), self._task.deadline_seconds
        limit = deadline + GRACE_SECONDS
        if not life.ready:
            if life.computed > START_COMPUTED_MAX:
                return f"not ready after {START_COMPUTED_MAX:g} s of processor time"
            late = now - life.started_at > START_SECONDS_MAX
            return f"not ready within {START_SECONDS_MAX:g} s" if late else None
        silent = now - life.progress_at
        if not life.given:
            return None
        oldest = next(iter(life.given.values())).at
        turns = -(-WINDOW // self._task.workers)
        if now - oldest > turns * limit + STARVED_SECONDS_MAX:
            return "an order without an answer"
        computed = life.computed - life.computed_at_progress
        at_a_time = min(self._task.workers, len(life.given))
        if computed > self._order_computed_max * at_a_time:
            return f"computed for {computed:.1f} s without an answer"
        starved = silent <= STARVED_SECONDS_MAX and waits_for_processor(life.process.pid)
        return f"no answer for {silent:.1f} s" if silent > limit and not starved else None

    def _overspends(self, life: _Life) -> bool:
        """Return whether the process computes on without the time for it: idle, or far too much."""
        if not life.ready or self.affords():
            return False
        restless = life.computed - life.computed_at_progress > RESTLESS_SECONDS
        owed_max = self._task.workers * self._order_computed_max + GRACE_SECONDS
        return (restless and not life.given) or self._account.balance < -owed_max

    async def _end(self, shadow: ShadowRunner, reason: str, text: str) -> None:
        """Kill the process for a reason of its own; what it had been given has failed."""
        life = self._life
        self._kill()
        self._metrics.endings[reason].inc()
        if life is None:
            return
        lasted = self._clock() - life.started_at
        if lasted >= HEALTHY_SECONDS:
            self._pauses = 0
        self._pause(self._trouble if reason == "not_started" and self._trouble else text)
        code = DeadlineExceeded.code if reason == "hung" else Unavailable.code
        now = self._clock()
        for given in life.given.values():
            request = given.mirror.request
            seconds = max(0.0, now - given.at)
            shadow.settle(given.mirror, Outcome(None, code, seconds, inputs_digest(request)))
            await asyncio.sleep(0)
        _log.warning(
            "shadow_process_ended", reason=reason, detail=self._trouble, after_seconds=lasted
        )

    def _pause(self, trouble: str) -> None:
        self._trouble = trouble
        pause = min(PAUSE_SECONDS * 2.0**self._pauses, PAUSE_SECONDS_MAX)
        self._pauses = min(self._pauses + 1, 10)
        self._start_at = self._clock() + pause

    def _leave(self, shadow: ShadowRunner) -> None:
        """End the process because the phase is over; no order of the past is of use."""
        life = self._life
        if life is not None:
            self._kill()
            for _ in life.given:
                shadow.drop("not_in_shadow")
            self._trouble, self._start_at, self._pauses = "", 0.0, 0
        self._again = False
        shadow.let_go()
        self._reap()

    def _kill(self) -> None:
        life, self._life = self._life, None
        self._metrics.up.set(0)
        if life is not None:
            self._charge(life)
            life.connection.close()
            _kill(life.process)
            self._dead.append(life.process)

    def _reap(self, wait_seconds: float = 0.0) -> None:
        """Take the exit codes of processes that have been killed."""
        until = time.monotonic() + wait_seconds
        while self._dead:
            self._dead = [process for process in self._dead if process.poll() is None]
            if time.monotonic() >= until:
                return
            time.sleep(0.001)


def _spawn(task: Task) -> subprocess.Popen[bytes]:
    """Start a shadow process, with the least priority from the start.

    It gets no environment but where to import from and no descriptor but its socket. It stays in
    the router's session: Linux shares the processors out between sessions before it looks at the
    priorities within one (`CONFIG_SCHED_AUTOGROUP`), and in a session of its own the least priority
    would have half of a processor by right.
    """
    environment = {
        "PYTHONPATH": os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "MALLOC_ARENA_MAX": "2",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "GRPC_VERBOSITY": "NONE",
    }
    environment |= {
        name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TZ") if name in os.environ
    }
    process = subprocess.Popen(  # noqa: S603 - this interpreter, our module
        [sys.executable, "-m", MODULE, task.to_text()],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(task.descriptor,),
        process_group=0,
    )
    # It does this itself too, some 20 ms later.
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and whatever belongs to its session."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _kill_started(starting: "asyncio.Future[subprocess.Popen[bytes]]") -> None:
    if not starting.cancelled() and starting.exception() is None:
        _kill(starting.result())
