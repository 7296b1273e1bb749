"""What `touchstone up` does while it runs: tell of deaths and of health, start again what died."""

import asyncio
import time
from typing import Any, Final

from touchstone.cli.console import complain, print_json
from touchstone.cli.stack import PROMISES, Health, Stack, how_it_ended

HEALTH_INTERVAL_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.5
PAUSE_SECONDS_MAX: Final = 30.0
STEADY_SECONDS: Final = 10.0
"""Who lived so long begins anew with the shortest pause."""


class Watch:
    """Report each part that dies and each change of health; start what died again, if asked to."""

    def __init__(self, stack: Stack, *, restart: bool, json_output: bool) -> None:
        self._stack = stack
        self._restart = restart
        self._json_output = json_output
        self._last: dict[str, Health] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._stack.running:
                group.create_task(self._keep(name))
            group.create_task(self._follow_health())

    async def _keep(self, name: str) -> None:
        """Start a part again after each end of it, later each time that it did not live long."""
        pause = PAUSE_SECONDS
        while True:
            began = time.monotonic()
            code = await self._stack.running[name].process.wait()
            if time.monotonic() - began >= STEADY_SECONDS:
                pause = PAUSE_SECONDS
            # What it answered before is no longer so: only its coming back is news.
            self._last[name] = Health(ok=False, detail="away")
            self._tell_of_death(name, how_it_ended(code), pause)
            if not self._restart:
                return
            started = False
            while not started:
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
                started = await self._start_again(name, pause)

    def _tell_of_death(self, name: str, how: str, pause: float) -> None:
        again = f"is started again in {pause:g} s"
        then = again if self._restart else "stays away until `down` and `up`"
        log = self._stack.running[name].log
        complain(f"{name} {how} and {then}; meanwhile {PROMISES[name]}. Its log: {log}")
        self._event("died", name, how=how, restarts_in_seconds=pause if self._restart else None)

    async def _start_again(self, name: str, pause: float) -> bool:
        """Return whether the part could be started; the system may have no room for it yet."""
        try:
            running = await self._stack.restart(name)
        except OSError as error:
            why = error.strerror or error
            if self._stack.has_ended(name):
                complain(f"{name} could not be started again: {why}; next try in {pause:g} s")
                return False
            complain(f"the run file does not tell of {name}'s new process: {why}")
            running = self._stack.running[name]
        complain(f"{name} was started again (pid {running.process.pid})")
        self._event("restarted", name, pid=running.process.pid)
        return True

    async def _follow_health(self) -> None:
        while True:
            now = await self._stack.health()
            for name, health in now.items():
                if self._stack.has_ended(name):
                    continue
                if name in self._last and is_news(self._last[name], health):
                    complain(f"{name} is now {health.detail}")
                    self._event("health", name, detail=health.detail)
                self._last[name] = health
            await asyncio.sleep(HEALTH_INTERVAL_SECONDS)

    def _event(self, event: str, part: str, **more: Any) -> None:
        if self._json_output:
            print_json({"event": event, "part": part, **more})


def is_news(before: Health, now: Health) -> bool:
    """Return whether health changed in kind; an age that counts on is no news."""
    return (before.ok, before.state) != (now.ok, now.state)
