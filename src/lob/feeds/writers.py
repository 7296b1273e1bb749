"""Write any feed in another format: `convert`, and the registry of writers.

A writer is a module's `write(path, feed)`; it returns how often it could not say something, by
reason. What it writes appears under its name only when it is whole.
"""

import importlib
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lob.errors import Conflict, InvalidInput
from lob.feeds.base import Feed, FeedBlock, FeedSummary, Progress, file_size

WRITERS: Final[dict[str, str]] = {
    "parquet": "lob.feeds.parquet",
    "arrays": "lob.feeds.arrays",
    "hftbacktest": "lob.feeds.hftbacktest",
    "lobster": "lob.feeds.lobster_feed",
    "databento": "lob.feeds.databento",
    "itch": "lob.feeds.itch",
}
"""The module with the `write` of each format that can be written."""

_BY_ENDING: Final = (
    (".parquet", "parquet"),
    (".npy", "arrays"),
    (".npz", "hftbacktest"),
    (".mbo.csv", "databento"),
    (".dbn", "databento"),
    (".dbn.zst", "databento"),
    (".csv.zst", "databento"),
    (".csv", "lobster"),
    (".itch", "itch"),
    (".itch.gz", "itch"),
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was read and written: the reader's summary, and what could not be said, by reason."""

    source: FeedSummary
    format: str
    bytes_written: int
    left_out: Counter[str] = field(default_factory=Counter)


def writer_format(path: str | Path) -> str:
    """Return the format that a file's name asks for; `InvalidInput` where it says none."""
    name = Path(path).name.lower()
    for ending, known in _BY_ENDING:
        if name.endswith(ending):
            return known
    endings = ", ".join(ending for ending, _ in _BY_ENDING)
    raise InvalidInput(f"{path}: of no known ending ({endings}); allowed: --to {_names()}")


def convert(
    source: Feed,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - the word every user would look for
    force: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Write all that `source` reads to `path`, in the format named or that its ending says.

    `progress(done, total)` is told after each block, in bytes of the source.

    Raises:
        Conflict: there is such a file already, and `force` is not set.
        InvalidInput: no such format; what the source raises; a folder that cannot be written to;
            `path` is a folder or a device.
    """
    path = Path(path)
    name = writer_format(path) if format is None else format
    if name not in WRITERS:
        raise InvalidInput(f"format: {name!r}; allowed: {_names()}")
    write = importlib.import_module(WRITERS[name]).write
    if path.exists() and not force:
        raise Conflict(f"{path}: exists; --force replaces it")
    if path.exists():
        file_size(path)  # what is written takes its place: of a folder or a device, never
    if path.exists() and source.path.exists() and path.samefile(source.path):
        raise InvalidInput(f"{path}: is the file that is read; allowed: another name")
    with _in_place_of(path) as unfinished:
        left_out = write(unfinished, _Watched(source, progress))
        size = unfinished.stat().st_size
    return Conversion(source.summary, name, size, Counter(left_out or ()))


class _Watched(Feed):
    """A feed that tells how far it has been read."""

    format = "watched"

    def __init__(self, source: Feed, progress: Progress | None) -> None:
        super().__init__(source.path, source.instrument, block_rows=source.block_rows)
        self._source = source
        self._progress = progress

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the source's blocks."""
        source = self._source
        for block in source.blocks():
            yield block
            if self._progress is not None:
                self._progress(source.bytes_done, source.bytes_total)
        self.summary = source.summary


@contextmanager
def _in_place_of(path: Path) -> Iterator[Path]:
    """Give a name to write under, and put the file in its place when it is whole."""
    # The ending stays: some writers go by it.
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _names() -> str:
    return ", ".join(WRITERS)
