"""Stopping background tasks for certain."""

import asyncio

from touchstone.kit.tasks import stop_tasks


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
