"""Waiting for the disk beside the event loop, natively and in a thread of Python's."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

import lob
from touchstone.kit.disk import Disk, NativeDisk, PythonDisk, open_disk

pytestmark = pytest.mark.parametrize("make", [open_disk, PythonDisk])


@pytest.fixture
def disk(make: Callable[[], Disk]) -> Iterator[Disk]:
    """A disk of each kind."""
    opened = make()
    yield opened
    opened.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A file with something in it."""
    opened = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    os.write(opened, b"something")
    yield opened
    os.close(opened)


async def synced(disk: Disk, file: int) -> OSError | None:
    """Return what a sync came to."""
    over: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
    disk.begin(file, over.set_result)
    async with asyncio.timeout(30):
        return await over


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_one_file_after_another_in_one_loop_after_another(
    disk: Disk, file: int, run: Callable[..., list[OSError | None]]
) -> None:
    """Each is over, and nothing is left behind of a loop that is gone."""

    async def several() -> list[OSError | None]:
        return [await synced(disk, file) for _ in range(20)]

    assert [None] * 20 == run(several())
    assert [None] * 20 == run(several())


async def test_what_cannot_be_synced_says_why(disk: Disk, file: int) -> None:
    """The system's own number and words; the next file is none the worse for it."""
    reading, writing = os.pipe()
    error = await synced(disk, writing)
    os.close(reading)
    os.close(writing)
    assert isinstance(error, OSError)
    assert "Invalid argument" == error.strerror
    assert await synced(disk, file) is None


async def test_closing_waits_and_tells_nobody(disk: Disk, file: int) -> None:
    """What is under way is on the disk then; twice is as once."""
    told: list[OSError | None] = []
    disk.begin(file, told.append)
    disk.close()
    disk.close()
    await asyncio.sleep(0.05)
    assert [] == told
    with pytest.raises(RuntimeError):
        disk.begin(file, told.append)


def test_it_is_native_where_the_book_is(disk: Disk, make: Callable[[], Disk]) -> None:
    """On Linux; elsewhere Python's thread does the same."""
    native = lob.backend() == "native" and sys.platform == "linux" and make is open_disk
    assert native == isinstance(disk, NativeDisk)
