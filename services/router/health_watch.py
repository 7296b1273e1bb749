"""Ask the simulator every second whether it serves, while L3 may answer.

Orders find out by themselves that a simulator is dead; this finds one that is dead, or refuses to
serve, while no orders come. Only in a live phase: a router may start without a simulator, and a
shadow comparison that stands still harms nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

HEALTH_SECONDS: Final = 1.0
CHECK_SECONDS_MAX: Final = 0.5

_log = structlog.get_logger("touchstone.router")


class HealthWatch:
    """Count each check of the candidate as passed or failed."""

    def __init__(
        self,
        check: Callable[[], Awaitable[object]],
        *,
        live: Callable[[], bool],
        count: Callable[[bool], None],
    ) -> None:
        self._check = check
        self._live = live
        self._count = count
        self._passing = True

    async def work(self) -> None:
        """Check once a second, until cancelled."""
        while True:
            try:
                if self._live():
                    self._count(not await self.passes())
            except Exception:  # noqa: BLE001 - logged with its trace; the watch must not end
                _log.exception("health_watch_failed")
            await asyncio.sleep(HEALTH_SECONDS)

    async def passes(self) -> bool:
        """Return whether the candidate says that it serves, within half a second."""
        why = ""
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                await self._check()
        except TimeoutError:
            why = f"no answer within {CHECK_SECONDS_MAX} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, it does not serve
            why = str(error) or type(error).__name__
        if self._passing and why:
            _log.warning("simulator_health_check_failed", why=why)
        self._passing = not why
        return self._passing
