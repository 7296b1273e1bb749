"""Background tasks, and how to be sure that they have ended."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import structlog

CANCEL_AGAIN_SECONDS: Final = 0.1
STOP_SECONDS_MAX: Final = 5.0

_log = structlog.get_logger("touchstone.tasks")


async def stop_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and return when they have ended, at most 5 s later.

    A library may take a cancellation for its own time-out and go on; so it is asked again. What a
    task failed with is logged, for nobody else awaits it.
    """
    pending = set(tasks)
    for _ in range(round(STOP_SECONDS_MAX / CANCEL_AGAIN_SECONDS)):
        for task in pending:
            task.cancel()
        if not pending:
            return
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("task_failed", task=task.get_name(), exc_info=error)
    _log.error("tasks_not_stopped", tasks=[task.get_name() for task in pending])
