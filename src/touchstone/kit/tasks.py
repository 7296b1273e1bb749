"""Background tasks, and how to be sure that they have ended."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

import structlog

CANCEL_AGAIN_SECONDS: Final = 0.1
STOP_SECONDS_MAX: Final = 5.0

_log = structlog.get_logger("touchstone.tasks")


def start_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start what has to run until cancelled; where it ends with an error, the log says so at once.

    A task keeps its error until somebody awaits it, which is when the process stops.
    """
    task = asyncio.create_task(work, name=getattr(work, "__qualname__", None))
    task.add_done_callback(_complain)
    return task


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("background_task_ended", task=task.get_name(), exc_info=error)


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
