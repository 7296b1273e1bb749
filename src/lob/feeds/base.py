"""What every reader of a venue's file gives, and what it says of what it could not use.

A reader streams: it holds one block of rows at a time, whatever the file's size. What cannot be a
record of its format is `InvalidInput` with the file and the position; what is a record but says
nothing of a book is counted in `FeedSummary.unusable` under its reason. Contradictions between
records (an unknown order, an id added twice) are not the reader's: the book finds them.
"""

import stat
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.messages import Array
from lob.types import Instrument

Progress = Callable[[int, int], None]
"""What is told how far a reading is: bytes done, of how many."""

BLOCK_ROWS: Final = 65_536
MAX_REPORTED: Final = 20


def file_size(path: Path) -> int:
    """Return how many bytes a file has.

    Raises:
        InvalidInput: it is not there, cannot be looked at, or is no file: readers read more than
            once, and what has come out of a pipe does not come again.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error
    if stat.S_ISDIR(found.st_mode):
        raise InvalidInput(f"{path}: is a folder; allowed: a file")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"{path}: is a pipe or a device; allowed: a file")
    return found.st_size


class FeedBlock(NamedTuple):
    """Some messages in order, and of each: where it stands, when it was received, its sequence.

    `messages` is an array of `MESSAGE_DTYPE`; the others are int64 arrays of the same length.
    `positions` count lines or records of the file from 1 (several messages may share one);
    `ts_recv_ns` and `sequences` are 0 where the format has none.
    """

    messages: Array
    positions: NDArray[np.int64]
    ts_recv_ns: NDArray[np.int64]
    sequences: NDArray[np.int64]


class Gap(NamedTuple):
    """A break in the venue's sequence: where it was found, what was expected, what was there."""

    position: int
    expected: int
    found: int


@dataclass(slots=True)
class FeedSummary:
    """What a reader has seen so far.

    `unusable` counts by reason, `first_unusable` says where each reason was met first. `gaps` holds
    the first `MAX_REPORTED`, `gap_count` counts all.
    """

    records: int = 0
    messages: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)
    first_unusable: dict[str, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    gap_count: int = 0

    def note_unusable(self, reason: str, position: int, count: int = 1) -> None:
        """Count records that say nothing of a book, the first of them at `position`."""
        if count:
            self.unusable[reason] += count
            self.first_unusable.setdefault(reason, position)

    def note_gap(self, gap: Gap) -> None:
        """Count a gap, and keep it while there are few."""
        self.gap_count += 1
        if len(self.gaps) < MAX_REPORTED:
            self.gaps.append(gap)


class Feed(ABC):
    """Read one file of one format, for one instrument.

    `summary` is complete once the last block has been taken; reading again starts it anew.
    `bytes_done` of `bytes_total` say how far the reading is (of the compressed file, where it is).
    """

    format: ClassVar[str]

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:  # noqa: ARG003 - readers look at them
        """Say whether a file of this name, with these first bytes as they lie, is of this format.

        `head` is at most 64 KiB, still compressed where the file is.
        """
        return False

    @classmethod
    def default_instrument(cls, path: Path) -> Instrument | None:  # noqa: ARG003 - as above
        """Return the instrument where the format or the file itself says its scale, else None."""
        return None

    def __init__(
        self, path: str | Path, instrument: Instrument, *, block_rows: int = BLOCK_ROWS
    ) -> None:
        self.path = Path(path)
        self.instrument = instrument
        self.block_rows = block_rows
        self.summary = FeedSummary()
        self.bytes_done = 0
        self.bytes_total = 0

    def restart(self) -> None:
        """Forget what was counted: `blocks` calls it where a reading begins.

        Raises:
            InvalidInput: the file is not there, or none that can be read twice.
        """
        self.summary = FeedSummary()
        self.bytes_done = 0
        self.bytes_total = file_size(self.path)

    @abstractmethod
    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the file's messages from its start, at most `block_rows` records a block."""
