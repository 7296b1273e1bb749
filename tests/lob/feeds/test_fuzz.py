"""Every reader, over files broken in every way: blocks, or one clear line; never anything else.

`TOUCHSTONE_FUZZ_ROUNDS` makes it longer (1 by default).
"""

import gzip
import importlib
import os
import re
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

from lob.books import available_books
from lob.errors import InvalidInput
from lob.feeds import READERS, Feed, FeedBlock, open_feed, reader_class
from lob.feeds.bitstamp import HEADER
from lob.feeds.bitstamp_trades import HEADER as TRADES_HEADER
from lob.feeds.bitstamp_trades import read_trades
from lob.feeds.databento_csv import MBO_COLUMNS, mbp_columns
from lob.feeds.databento_write import dbn_metadata
from lob.feeds.depth import DepthFile
from lob.feeds.lobster import count_levels, count_lines, read_book_rows
from lob.feeds.writers import WRITERS
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.types import AssetClass, Instrument
from tests.lob.feeds import databento_venue
from tests.lob.feeds.coinbase_venue import PRODUCT, Venue
from tests.lob.feeds.mutations import PREFIXED, broken

ROUNDS: Final = int(os.environ.get("TOUCHSTONE_FUZZ_ROUNDS", "1"))
SECONDS_MAX: Final = 5.0
BYTES_MAX: Final = 160 << 20

SHARE = Instrument(
    symbol="AAPL", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
COIN = Instrument(
    symbol=PRODUCT,
    asset_class=AssetClass.CRYPTO,
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00000001"),
)
FUTURE = Instrument(
    symbol="X", asset_class=AssetClass.FUTURES, tick_size=Decimal("0.25"), lot_size=Decimal(1)
)


class Given(Feed):
    """A feed of a few messages of each kind that every format can say, for the writers."""

    format = "given"

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield one block."""
        begin, last = 1_700_000_000_000_000_000, int(Flag.LAST)
        rows = []
        for number in range(1, 13):
            side = 1 if number % 2 else -1
            price = 10_000 - side * number
            rows.append((Action.FEED_ADD, 100 + number, price, 10 * number, side))
        rows += [
            (Action.FEED_EXECUTE, 101, 9_999, 4, 1),
            (Action.FEED_REDUCE, 102, 10_002, 5, -1),
            (Action.FEED_EXECUTE, 103, 9_997, 30, 1),
            (Action.FEED_DELETE, 104, 10_004, 40, -1),
            (Action.FEED_ADD, 113, 9_990, 7, 1),
            (Action.FEED_DELETE, 113, 9_990, 7, 1),
        ]
        messages = np.array(
            [
                (begin + 1000 * at, order, price, lots, 0, action, side, 0, last)
                for at, (action, order, price, lots, side) in enumerate(rows)
            ],
            dtype=MESSAGE_DTYPE,
        )
        numbers = np.arange(1, len(messages) + 1, dtype=np.int64)
        self.summary.records = self.summary.messages = len(messages)
        yield FeedBlock(messages, numbers, messages["ts_event_ns"] + 500, numbers)


class Sample(NamedTuple):
    """A small valid file of a format: how to make it, and the length of its records."""

    format: str
    ending: str
    instrument: Instrument
    make: Callable[[Path], None]
    record_bytes: int | None = None


def by_writer(name: str) -> Callable[[Path], None]:
    """Make a file with the format's own writer."""

    def make(path: Path) -> None:
        write: Any = importlib.import_module(WRITERS[name]).write
        # What a writer is given is only a name: nothing is read from it.
        write(path, Given(path.parent, SHARE))

    return make


def by_text(text: Callable[[], str], *, packed: bool = False) -> Callable[[Path], None]:
    """Make a file of text, a gzip of it where `packed`."""

    def make(path: Path) -> None:
        content = text().encode()
        path.write_bytes(gzip.compress(content) if packed else content)

    return make


def published(schema: str, style: str) -> Any:
    """What a venue with icebergs, fills and a snapshot has published."""
    levels, steps = (1, 60) if schema == "mbp-1" else (10, 12)
    happened = databento_venue.run(style, 3, steps, warm=8, depth_levels=levels)
    return happened.mbo_rows() if schema == "mbo" else happened.mbp_rows()


def by_records(schema: str, style: str) -> Callable[[Path], None]:
    """Make a DBN file of what a venue of that style has published."""

    def make(path: Path) -> None:
        path.write_bytes(dbn_metadata(schema) + published(schema, style).tobytes())

    return make


def by_table(schema: str, style: str) -> Callable[[Path], None]:
    """Make a CSV file of the same."""

    def make(path: Path) -> None:
        rows = published(schema, style)
        columns = MBO_COLUMNS if schema == "mbo" else mbp_columns(10 if schema == "mbp-10" else 1)
        values = []
        for column in columns:
            field = rows if column.level is None else rows["levels"][:, column.level]
            numbers = field[column.field].tolist()
            values.append(map(chr if column.kind == "letter" else str, numbers))
        lines = [",".join(column.name for column in columns)]
        lines += [",".join(fields) for fields in zip(*values, strict=True)]
        path.write_text("\n".join(lines) + "\n", encoding="ascii")

    return make


def venue() -> Venue:
    """A venue that has traded a little."""
    traded = Venue(COIN, 5)
    traded.run(40)
    return traded


def bitstamp_csv() -> str:
    """A trade, a market order, and events of each kind."""
    return f"""{HEADER}
7,6,1,100.0,0.5,created,ask
3,6,1,100.0,0.3,created,ask
5,7,2,105.0,0.9,created,bid
5,7,2,100.0,0.4,changed,bid
7,7,2,100.0,0.0,deleted,ask
8,7,2,999999999.0,0.0,created,bid
8,7,2,100.0,0.0,changed,bid
3,7,2,100.0,7.18e-06,changed,ask
8,7,2,100.0,0.0,deleted,bid
5,8,3,105.0,0.4,deleted,bid
9,9,4,99.0,1.5,created,bid
9,9,4,98.5,2.5,changed,bid
"""


def bitstamp_json() -> str:
    """Some messages of the websocket."""
    order = (
        '{"data":{"id":%d,"id_str":"%d","order_type":%d,"microtimestamp":"17776893832010%02d",'
        '"amount_str":"0.%d","price_str":"7831%d"},"channel":"live_orders_btcusd","event":"%s"}\n'
    )
    lines = ['{"event":"bts:subscription_succeeded","channel":"live_orders_btcusd","data":{}}\n']
    for number in range(1, 7):
        name = "order_created" if number < 5 else "order_deleted"
        lines.append(order % (number, number, number % 2, number, 9, number, name))
    return "".join(lines)


LOBSTER_LINES: Final = """34200.004241176,1,16113575,18,5853300,1
34200.025551909,1,16113584,18,5853400,-1
34200.025579546,1,16113594,18,5853100,1
34200.025613151,2,16113594,8,5853100,1
34200.201781,4,16113575,10,5853300,1
34200.205573,5,0,1,5853350,-1
34200.207,3,16113584,18,5853400,-1
34201.1,7,0,0,-1,-1
"""

SAMPLES: Final = {
    "parquet": Sample("parquet", ".parquet", SHARE, by_writer("parquet"), 0),
    "arrays": Sample("arrays", ".npy", SHARE, by_writer("arrays"), MESSAGE_DTYPE.itemsize),
    "hftbacktest": Sample("hftbacktest", ".npz", SHARE, by_writer("hftbacktest"), 0),
    "lobster": Sample("lobster", ".csv", SHARE, by_text(lambda: LOBSTER_LINES)),
    "lobster written": Sample("lobster", ".csv", SHARE, by_writer("lobster")),
    "databento csv": Sample("databento", ".mbo.csv", SHARE, by_writer("databento")),
    "databento dbn": Sample("databento", ".dbn", SHARE, by_writer("databento"), 56),
    "databento cme": Sample("databento", ".dbn", FUTURE, by_records("mbo", "cme"), 56),
    "databento xnas": Sample("databento", ".csv", FUTURE, by_table("mbo", "xnas")),
    "databento zst": Sample("databento", ".dbn.zst", SHARE, by_writer("databento"), 0),
    "itch": Sample("itch", ".itch", SHARE, by_writer("itch"), PREFIXED),
    "itch gz": Sample("itch", ".itch.gz", SHARE, by_writer("itch"), PREFIXED),
    "coinbase": Sample("coinbase", ".jsonl", COIN, by_text(lambda: venue().lines())),
    "coinbase level3": Sample(
        "coinbase", ".jsonl.gz", COIN, by_text(lambda: venue().compact_lines(), packed=True)
    ),
    "coinbase snapshot": Sample(
        "coinbase-snapshot", ".json", COIN, by_text(lambda: venue().snapshot())
    ),
    "coinbase snapshot gz": Sample(
        "coinbase-snapshot", ".json.gz", COIN, by_text(lambda: venue().snapshot(), packed=True)
    ),
    "bitstamp": Sample("bitstamp", ".csv", COIN, by_text(bitstamp_csv)),
    "bitstamp gz": Sample("bitstamp", ".csv.gz", COIN, by_text(bitstamp_csv, packed=True)),
    "bitstamp json": Sample("bitstamp", ".jsonl", COIN, by_text(bitstamp_json)),
}


def replayed(feed: Feed) -> int:
    """Apply all that a reader gives to each kind of book, and return how many messages it was."""
    books = [book(feed.instrument) for book in available_books()]
    total = 0
    for block in feed.blocks():
        count = len(block.messages)
        assert MESSAGE_DTYPE == block.messages.dtype
        assert [count] * 3 == [len(block.positions), len(block.ts_recv_ns), len(block.sequences)]
        assert (block.positions > 0).all()
        assert (block.messages["ts_event_ns"] >= 0).all()
        for book in books:
            book.apply(block.messages, strict=False)
            book.check(crossed_allowed=True)
        total += count
    assert 1 == len({book.state_hash() for book in books})
    assert total == feed.summary.messages
    assert feed.summary.unusable.total() <= feed.summary.records
    return total


def read(path: Path, sample: Sample) -> int | str:
    """Read a file as a user would: messages, or the fault, which names the file.

    First as whatever it is found to be, with a scale of its own; then as what it was.
    """
    found_or_told(path, lambda: replayed(open_feed(path)))
    return found_or_told(
        path, lambda: replayed(reader_class(sample.format)(path, sample.instrument))
    )


def found_or_told(path: Path, attempt: Callable[[], int]) -> int | str:
    """Return what a reading gave, or the one line that it was refused with."""
    try:
        return attempt()
    except InvalidInput as fault:
        message = str(fault)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 600
    return message


def test_every_reader_has_a_sample() -> None:
    """A format that is registered is broken here too."""
    assert set(READERS) == {sample.format for sample in SAMPLES.values()}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_whole(tmp_path: Path, name: str) -> None:
    """What is broken below is read to its end as it is, by name and by content."""
    sample = SAMPLES[name]
    path = tmp_path / f"sample{sample.ending}"
    sample.make(path)

    found = read(path, sample)

    assert isinstance(found, int), found
    assert found > 5
    assert sample.format == open_feed(path, instrument=sample.instrument).format


@pytest.mark.parametrize("name", SAMPLES)
def test_a_broken_file_gives_blocks_or_one_clear_line(tmp_path: Path, name: str) -> None:
    """Cut, flipped, shuffled, absurd, huge, of another encoding: whatever it is."""
    sample = SAMPLES[name]
    whole = tmp_path / f"whole{sample.ending}"
    sample.make(whole)
    refused = tried = 0
    for how, content in broken(
        whole.read_bytes(), sample.record_bytes, zlib.crc32(name.encode()), ROUNDS
    ):
        path = tmp_path / f"broken{sample.ending}"
        path.write_bytes(content)
        begin = time.process_time()
        try:
            found = read(path, sample)
        except Exception as error:
            error.add_note(f"{name}: {how}")
            raise
        assert time.process_time() - begin < SECONDS_MAX, how
        tried += 1
        refused += isinstance(found, str)
    assert 0 < refused < tried


class Beside(NamedTuple):
    """A small valid file that is no feed, and what reads it: how many records it has."""

    ending: str
    make: Callable[[Path], None]
    count: Callable[[Path], int]
    record_bytes: int | None = None


def count_depth(path: Path) -> int:
    """Read a file of the venue's own depth."""
    return sum(1 for record in DepthFile(path, FUTURE) if len(record.bids) <= 10)


def count_book_rows(path: Path) -> int:
    """Read a LOBSTER orderbook file; what is asked of it first never fails otherwise."""
    assert count_levels(path) <= count_lines(path) * (1 << 16)
    return sum(1 for _ in read_book_rows(path))


ORDERBOOK: Final = "5854000,200,5853300,18,5854100,5,5853000,150\n" * 12
TRADES: Final = f"{TRADES_HEADER}\n" + "1,6,5,100.0,0.25,12,13,buy\n2,6,5,101.5,1,14,13,sell\n" * 5

BESIDE: Final = {
    "mbp-1 dbn": Beside(".dbn", by_records("mbp-1", "xnas"), count_depth, 80),
    "mbp-10 dbn": Beside(".dbn", by_records("mbp-10", "cme"), count_depth, 368),
    "mbp-1 csv": Beside(".csv", by_table("mbp-1", "cme"), count_depth),
    "mbp-10 csv": Beside(".csv", by_table("mbp-10", "xnas"), count_depth),
    "lobster orderbook": Beside(".csv", by_text(lambda: ORDERBOOK), count_book_rows),
    "bitstamp trades": Beside(
        ".csv", by_text(lambda: TRADES), lambda path: len(read_trades(path, COIN))
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_broken_file_beside_a_feed_is_read_or_told_too(tmp_path: Path, name: str) -> None:
    """Depth, orderbook and trades files give records, or one clear line."""
    beside = BESIDE[name]
    whole = tmp_path / f"whole{beside.ending}"
    beside.make(whole)
    assert beside.count(whole) >= 10
    refused = tried = 0
    for how, content in broken(
        whole.read_bytes(), beside.record_bytes, zlib.crc32(name.encode()), ROUNDS
    ):
        path = tmp_path / f"broken{beside.ending}"
        path.write_bytes(content)
        begin = time.process_time()
        try:
            found = found_or_told(path, lambda path=path: beside.count(path))  # type: ignore[misc]
        except Exception as error:
            error.add_note(f"{name}: {how}")
            raise
        assert time.process_time() - begin < SECONDS_MAX, how
        tried += 1
        refused += isinstance(found, str)
    assert 0 < refused < tried


TEXT_SAMPLES: Final = [name for name in SAMPLES if SAMPLES[name].record_bytes is None]


@pytest.mark.parametrize("name", TEXT_SAMPLES)
def test_a_bad_line_has_its_position(tmp_path: Path, name: str) -> None:
    """What is wrong in one line is told with the file and the number of that line."""
    sample = SAMPLES[name]
    path = tmp_path / f"sample{sample.ending}"
    sample.make(path)
    content = path.read_bytes()
    packed = content.startswith(b"\x1f\x8b")
    lines = (gzip.decompress(content) if packed else content).splitlines()
    lines[len(lines) // 2] = b"?"
    text = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(text) if packed else text)

    with pytest.raises(InvalidInput) as caught:
        replayed(reader_class(sample.format)(path, sample.instrument))

    number = len(lines) // 2 + 1
    assert re.search(rf"{re.escape(str(path))}:{number}: ", str(caught.value))


@pytest.mark.parametrize(
    "name", ["coinbase", "coinbase snapshot", "bitstamp", "databento csv", "itch"]
)
def test_a_bomb_does_not_fill_the_memory(tmp_path: Path, name: str) -> None:
    """A gzip of 200 MB of one line is refused with little of it in memory."""
    sample = SAMPLES[name]
    path = tmp_path / f"bomb{sample.ending}.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(200):
            file.write(b" " * (1 << 20))

    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=r"bomb"):
            replayed(reader_class(sample.format)(path, sample.instrument))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < BYTES_MAX
