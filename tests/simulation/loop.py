"""Virtual time: a world whose events outlive any process, and an event loop that lives in it.

Nothing here waits. When no callback is ready, time jumps to the next timer of the loop or the next
event of the world. Callbacks run first in, first out, as asyncio promises; what a seed varies is
when things arrive from outside, how long callbacks take, and at which callback the process dies.
"""

import asyncio
import contextvars
import heapq
import itertools
import time
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

CALLBACK_SECONDS: Final = 5e-6
"""How long one callback takes, unless a stall is injected: enough for time to pass at all."""

START_NS: Final = 1_750_000_000_000_000_000


class World:
    """The one clock, and what is due in it whoever lives: the network, the venue, Redis."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        """Have something happen after so many seconds."""
        entry = (self.now + max(0.0, seconds), next(self._numbers), act, arguments)
        heapq.heappush(self._due, entry)

    def next_due(self) -> float:
        """Return when the next event is due; infinite where there is none."""
        return self._due[0][0] if self._due else float("inf")

    def run_due(self) -> None:
        """Let everything happen that is due by now, in order of time."""
        while self._due and self._due[0][0] <= self.now:
            _, _, act, arguments = heapq.heappop(self._due)
            act(*arguments)

    def run_until(self, moment: float) -> None:
        """Let time pass without any process."""
        while self.next_due() <= moment:
            self.now = max(self.now, self.next_due())
            self.run_due()
        self.now = max(self.now, moment)

    def time_ns(self) -> int:
        """Return the true time in nanoseconds since 1970."""
        return START_NS + int(self.now * 1e9)


class VirtualLoop(asyncio.AbstractEventLoop):
    """Run one process in the world until it is stopped, which may be in the middle of anything.

    `crash_at` is the number of the callback after which the process is gone. `cost` returns how
    long a callback takes. `sync` is called with what goes to an executor: here that is the disk.
    """

    def __init__(
        self,
        world: World,
        *,
        crash_at: int | None = None,
        cost: Callable[[], float] | None = None,
        sync: Callable[..., "asyncio.Future[Any]"] | None = None,
    ) -> None:
        self.world = world
        self.steps = 0
        self.crash_at = crash_at
        self.crashed = False
        self.failures: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._cost = cost
        self._sync = sync
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._stopped = False

    # ---------------------------------------------------------------- running

    def run(self) -> None:
        """Run until stopped or crashed; a loop with nothing left to do is a defect of the test."""
        world, ready = self.world, self._ready
        self._stopped = False
        events._set_running_loop(self)
        try:
            while not self._stopped:
                world.run_due()
                self._wake()
                if not ready:
                    self._jump()
                    continue
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if handle._cancelled:
                        continue
                    handle._run()
                    world.now += CALLBACK_SECONDS if self._cost is None else self._cost()
                    self.steps += 1
                    if self.steps == self.crash_at:
                        self.crash()
                    if self._stopped:
                        return
        finally:
            events._set_running_loop(None)

    def run_task(self, coroutine: Any) -> Any:
        """Run until a coroutine is done and return its result; None where the process died."""
        task = self.create_task(coroutine)
        task.add_done_callback(lambda _: self.stop())
        self.run()
        return task.result() if task.done() and not self.crashed else None

    def stop(self) -> None:
        """Stop after the present callback."""
        self._stopped = True

    def crash(self) -> None:
        """End the process: nothing of it runs any more."""
        self.crashed = True
        self._stopped = True

    def bury(self) -> None:
        """Let go of a dead process without a word; what its coroutines clean up reaches nobody.

        They are closed one by one: left to the garbage collector in the middle of an await, with
        the C tasks around them, they can take the interpreter down.
        """
        events._set_running_loop(self)
        try:
            for task in self.tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                if not task.done():
                    _close(task.get_coro())
        finally:
            events._set_running_loop(None)
        self._ready.clear()
        self._timers.clear()
        self.tasks.clear()

    def _wake(self) -> None:
        now, timers = self.world.now, self._timers
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[2]
            handle._scheduled = False  # type: ignore[attr-defined]
            if not handle._cancelled:
                self._ready.append(handle)

    def _jump(self) -> None:
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)
        timer = self._timers[0][0] if self._timers else float("inf")
        moment = min(timer, self.world.next_due())
        if moment == float("inf"):
            raise RuntimeError("the simulation stands still: nobody waits for anything")
        self.world.now = max(self.world.now, moment)

    # ---------------------------------------------------------------- what asyncio asks for

    def time(self) -> float:
        """Return the virtual monotonic time in seconds."""
        return self.world.now

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Have a callback run with the next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have a callback run after `delay` seconds."""
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have a callback run at a time of this loop."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        handle._scheduled = True  # type: ignore[attr-defined]
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: cancelled timers are skipped when they are due."""

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> "asyncio.Task[Any]":
        """Return a task of this loop; it is kept, so that a crash does not run its `finally`."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        if len(self.tasks) > _TASKS_KEPT:
            self.tasks = [kept for kept in self.tasks if not kept.done()]
        return task

    def run_in_executor(  # type: ignore[override]
        self,
        executor: Any,  # noqa: ARG002 - there is one disk
        func: Callable[..., Any],
        *args: Any,
    ) -> "asyncio.Future[Any]":
        """Hand work that waits for the disk to the simulated one; there are no threads."""
        if self._sync is None:
            raise RuntimeError(f"{func}: the simulation has no threads")
        return self._sync(func, *args)

    def get_debug(self) -> bool:
        """Say that debugging is off."""
        return False

    def is_running(self) -> bool:
        """Say that it runs: nothing asks at any other time."""
        return True

    def is_closed(self) -> bool:
        """Say that it is open."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what nobody caught."""
        self.failures.append(context)

    default_exception_handler = call_exception_handler


_TASKS_KEPT: Final = 5_000
_CLOSINGS_MAX: Final = 50


def _close(coroutine: Any) -> None:
    """Close a coroutine, however many awaits its `finally` blocks still have."""
    for _ in range(_CLOSINGS_MAX):
        try:
            coroutine.close()
        except RuntimeError:
            # It awaits something while it cleans up: that is closed next.
            continue
        except BaseException:  # noqa: BLE001 - whatever it says, it is gone
            return
        return


@contextmanager
def virtual_clocks(world: World, skew: Callable[[], float]) -> Iterator[None]:
    """Have the `time` module tell the world's time to whoever reads it directly.

    `skew` is how far the process's wall clock is off, in seconds. Most of the gateway takes its
    clocks as arguments; this is for what has none.
    """

    def wall() -> int:
        return world.time_ns() + int(skew() * 1e9)

    replaced: dict[str, Callable[[], Any]] = {
        "time_ns": wall,
        "time": lambda: wall() / 1e9,
        "monotonic": lambda: world.now,
        "monotonic_ns": lambda: int(world.now * 1e9),
    }
    kept = {name: getattr(time, name) for name in replaced}
    for name, clock in replaced.items():
        setattr(time, name, clock)
    try:
        yield
    finally:
        for name, clock in kept.items():
            setattr(time, name, clock)
