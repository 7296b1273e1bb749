"""What is no file is refused in one line: a pipe gives its bytes once, and readers read twice."""

import os
from pathlib import Path
from typing import Any

import pytest

from lob.errors import InvalidInput
from lob.feeds import READERS, detect_format, open_feed, reader_class
from lob.feeds.arrays import TapeFeed
from lob.feeds.lobster import count_levels, count_lines
from lob.feeds.streams import open_stream
from lob.feeds.writers import WRITERS, convert
from lob.flow import ZeroIntelligence, record
from lob.types import Instrument
from tests.lob.feeds.tapes import SHARE


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe to which nobody writes: whoever opens it waits for ever."""
    path = tmp_path / "feed.csv"
    os.mkfifo(path)
    return path


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_pipe(pipe: Path, name: str) -> None:
    """Each says at once that it is none of its files."""
    with pytest.raises(InvalidInput, match=r"feed\.csv: is a pipe or a device; allowed: a file"):
        open_feed(pipe, format=name)
    with pytest.raises(InvalidInput, match="is a pipe or a device"):
        list(reader_class(name)(pipe, SHARE).blocks())


@pytest.mark.timeout(20)
def test_nothing_else_waits_for_a_pipe(pipe: Path) -> None:
    """Neither who looks for a format, nor who reads a depth file beside a feed."""
    uses: tuple[Any, ...] = (detect_format, count_lines, count_levels)
    for use in uses:
        with pytest.raises(InvalidInput, match="is a pipe or a device"):
            use(pipe)
    with pytest.raises(InvalidInput, match="is a pipe or a device"), open_stream(pipe):
        pass


def test_a_pipe_of_a_shell_is_not_read_in_part(tmp_path: Path) -> None:
    """What a format was found by would be missing from what is read: it is refused instead."""
    rows = b"34200.1,1,5,100,1000000,1\n" * 10
    begin, end = os.pipe()
    os.write(end, rows)
    os.close(end)
    try:
        with pytest.raises(InvalidInput, match="is a pipe or a device"):
            open_feed(f"/dev/fd/{begin}")
        assert rows == os.read(begin, len(rows) + 1)
    finally:
        os.close(begin)
    with pytest.raises(InvalidInput, match="is a folder; allowed: a file"):
        open_feed(tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_no_file_is_never_replaced(pipe: Path, name: str) -> None:
    """A device, a pipe or a folder stays what it is, `force` or not."""
    folder = pipe.parent / "folder"
    folder.mkdir()
    share: Instrument = SHARE
    feed = record(ZeroIntelligence(share, seed=7, mid_ticks=10_000), 20).feed
    for path in (pipe, folder):
        with pytest.raises(InvalidInput, match=r"is a (pipe or a device|folder); allowed: a file"):
            convert(TapeFeed(feed, share), path, format=name, force=True)
    assert pipe.is_fifo()
    assert folder.is_dir()
    assert sorted(pipe.parent.iterdir()) == [pipe, folder]
