"""Reading and writing hold a block at a time, however long the file is."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action
from lob.feeds import open_feed
from lob.feeds.base import Feed, FeedBlock
from lob.feeds.writers import convert
from tests.conftest import ROOT
from tests.lob.feeds.tapes import SHARE

SMALL, LARGE = 40_000, 300_000
BLOCK_ROWS = 4_096
GROWTH_KIB = 10_000
"""Less than half of what the larger file's blocks would take together."""

PROGRAM = """
import resource, sys
from pathlib import Path
from tests.lob.feeds.test_memory import LARGE, SMALL, there_and_back

for rows in (SMALL, LARGE):
    there_and_back(Path(sys.argv[1]), rows)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Long(Feed):
    """Add and delete order after order, made a block at a time."""

    format = "long"
    rows = 0

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield `rows` messages."""
        for first in range(0, self.rows, BLOCK_ROWS):
            index = np.arange(first, min(first + BLOCK_ROWS, self.rows), dtype=np.int64)
            messages = np.zeros(len(index), MESSAGE_DTYPE)
            messages["ts_event_ns"] = index
            messages["order_id"] = 1 + index // 2
            messages["action"] = np.where(index % 2 == 0, Action.FEED_ADD, Action.FEED_DELETE)
            messages["side"], messages["price_ticks"], messages["quantity_lots"] = 1, 10_000, 5
            yield FeedBlock(messages, index + 1, index, index)


def there_and_back(path: Path, rows: int) -> None:
    """Write so many messages, and read them all."""
    source = Long(path.with_name("none"), SHARE)
    source.rows = rows
    convert(source, path, force=True)
    feed = open_feed(path, instrument=SHARE, block_rows=BLOCK_ROWS)
    assert rows == sum(len(block.messages) for block in feed.blocks())


@pytest.mark.parametrize("ending", [".csv", ".npz", ".npy", ".parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str) -> None:
    """Ten times the messages take no more than a few blocks more."""
    assert LARGE * (MESSAGE_DTYPE.itemsize + 3 * 8) > 2 * GROWTH_KIB * 1_024

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / f"a{ending}")],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )

    small, large = map(int, done.stdout.split())
    assert large - small < GROWTH_KIB
