"""Read the L3 configuration again, at SIGHUP and when the control state asks for it.

What is under way ends under the configuration it began with, and what comes next has the new one:
nothing waits and nothing is refused meanwhile. A file that is wrong, or whose providers do not pass
the check, changes nothing; nor does one that says what is in force already.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from lob.errors import Fault, InvariantViolation
from services.simulator.configured import Configured, read
from services.simulator.executions import Executions
from services.simulator.metrics import SimulatorMetrics
from services.simulator.self_check import expected_answers, problem_of
from touchstone.kit.control import SIMULATOR_SCOPE, ControlReader, ControlStore, ControlView

POLL_SECONDS: Final = 1.0

_LOG: Final = structlog.get_logger("services.simulator")


class Reloads:
    """Take over what the file at `path` says, whenever it is asked for."""

    def __init__(
        self, path: Path, seed: int, executions: Executions, metrics: SimulatorMetrics
    ) -> None:
        self._path = path
        self._seed = seed
        self._executions = executions
        self._metrics = metrics
        self._reading = asyncio.Lock()
        self._asked = asyncio.Event()
        self._why = ""
        self._generation = 0

    def ask(self, why: str) -> None:
        """Have the file read again soon; asking twice before that is asking once."""
        self._why = why
        self._asked.set()

    async def work(self) -> None:
        """Read the file each time somebody asks, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.reload(self._why)

    async def reload(self, why: str) -> Fault | None:
        """Read the file now and return why it was not taken over; None where it was."""
        async with self._reading:
            before = self._executions.current
            try:
                made = await asyncio.to_thread(self._read, before.version + 1)
            except Fault as fault:
                _LOG.error("config_not_reloaded", asked_by=why, why=str(fault), kept=before.digest)
                self._metrics.count_reload(applied=False)
                return fault
            except Exception as error:  # noqa: BLE001 - logged; the old one stays in force
                _LOG.exception("config_not_reloaded", asked_by=why, kept=before.digest)
                self._metrics.count_reload(applied=False)
                return InvariantViolation(f"{type(error).__name__}: {error}")
            if made.digest != before.digest:
                self._executions.current = made
            else:
                made = before
        self._metrics.note_config(made.digest, made.version, enabled=made.config.enabled)
        self._metrics.count_reload(applied=True)
        _LOG.warning(
            "config_reloaded",
            asked_by=why,
            config=made.digest,
            version=made.version,
            before=before.digest,
        )
        return None

    def _read(self, version: int) -> Configured:
        made = read(self._path, self._seed, version)
        problem = problem_of(made, expected_answers(made))
        if problem:
            raise InvariantViolation(
                f"{self._path}: its providers do not pass the check: {problem}"
            )
        return made

    def follow(self, view: ControlView) -> None:
        """Look at the control state: a generation above those that were seen asks for a read.

        So does the first that is seen: it may have been written since this process read its file.
        """
        record = view.record
        if view.known and record is not None and record.generation > self._generation:
            self._generation = record.generation
            self.ask(f"{record.actor}: {record.reason} (generation {record.generation})")


@asynccontextmanager
async def following(reloads: Reloads, redis_url: str | None) -> AsyncIterator[None]:
    """Follow the control state in Redis during the block; None follows nothing.

    A Redis that is away harms nothing: it is asked again until it answers.
    """
    if redis_url is None:
        yield
        return
    async with (
        ControlStore(redis_url) as store,
        ControlReader(store, SIMULATOR_SCOPE, poll_seconds=POLL_SECONDS) as reader,
    ):
        listener: Callable[[ControlView], None] = reloads.follow
        reader.subscribe(listener)
        yield
