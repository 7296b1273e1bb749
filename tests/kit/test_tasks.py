"""Stopping background tasks for certain."""

import asyncio

import pytest

from touchstone.kit import tasks as tasks_module
from touchstone.kit.tasks import start_task, stop_tasks


async def test_a_task_that_swallows_a_cancellation_is_asked_again() -> None:
    """Neither one that goes on, nor one that failed, nor one that ended keeps the stop waiting."""
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    async def failing() -> None:
        raise ValueError

    async def ended() -> None:
        return

    tasks = [asyncio.create_task(work) for work in (stubborn(), failing(), ended())]
    await asyncio.sleep(0)
    async with asyncio.timeout(2.0):
        await stop_tasks(tasks)
    assert all(task.done() for task in tasks)
    assert swallowed == 2


async def test_a_task_that_ends_with_an_error_is_in_the_log_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not only when the process stops; one that is cancelled, or just ends, is no news."""
    told: list[BaseException] = []

    class Log:
        def critical(self, _event: str, *, task: str, exc_info: BaseException) -> None:
            assert "failing" in task
            told.append(exc_info)

    async def failing() -> None:
        raise ValueError("odd")

    async def ended() -> None:
        return

    async def running() -> None:
        await asyncio.sleep(30)

    # How the process writes its log is whatever was configured last.
    monkeypatch.setattr(tasks_module, "_log", Log())
    tasks = [start_task(work) for work in (failing(), ended(), running())]
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert ["odd"] == [str(error) for error in told]
