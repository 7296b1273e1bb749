"""A file's reader is found by its content, its scale by itself, and what is unknown is named."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action
from lob.errors import Conflict, InvalidInput
from lob.feeds import READERS, detect_format, open_feed, own_instrument, reader_class
from lob.feeds.arrays import TapeFeed
from lob.feeds.base import Feed
from lob.feeds.writers import WRITERS, convert, writer_format
from lob.flow import ZeroIntelligence, record
from lob.replay import FeedReplay
from lob.types import AssetClass, Instrument

SHARE = Instrument(
    symbol="AAPL", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)


def tape() -> TapeFeed:
    """Two adds and a delete."""
    messages = np.zeros(3, MESSAGE_DTYPE)
    messages["ts_event_ns"] = (1_000, 2_000, 3_000)
    messages["action"] = (Action.FEED_ADD, Action.FEED_ADD, Action.FEED_DELETE)
    messages["order_id"] = (1, 2, 1)
    messages["side"] = (1, -1, 0)
    messages["price_ticks"] = (100, 101, 0)
    messages["quantity_lots"] = (5, 7, 0)
    return TapeFeed(messages, SHARE)


@pytest.mark.parametrize("name", READERS)
def test_every_reader_is_what_the_registry_says(name: str) -> None:
    """Each format has a reader of that name, which can be asked whether a file is its own."""
    reader = reader_class(name)

    assert issubclass(reader, Feed)
    assert name == reader.format
    assert not reader.sniff(Path("x"), b"no such format")


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.parquet", "parquet"), ("a.npy", "arrays"), ("a.npz", "hftbacktest"), ("a.csv", "lobster")],
)
def test_what_is_written_is_found_again_whatever_its_name(
    tmp_path: Path, file: str, name: str
) -> None:
    """The ending says what to write; the content says what it is."""
    convert(tape(), tmp_path / file)
    (tmp_path / file).rename(tmp_path / "nameless")

    assert name == writer_format(file)
    assert name == detect_format(tmp_path / "nameless")
    feed = open_feed(tmp_path / "nameless", instrument=SHARE)
    assert 3 == sum(len(block.messages) for block in feed.blocks())


def test_the_file_says_its_scale_where_it_can(tmp_path: Path) -> None:
    """Parquet keeps the instrument, LOBSTER has one scale, hftbacktest says none."""
    for ending in (".parquet", ".csv", ".npz"):
        convert(tape(), tmp_path / f"AAPL{ending}")

    assert SHARE == open_feed(tmp_path / "AAPL.parquet").instrument
    assert SHARE == open_feed(tmp_path / "AAPL.csv").instrument
    assert "MSFT" == open_feed(tmp_path / "AAPL.csv", symbol="MSFT").instrument.symbol
    assert own_instrument(tmp_path / "AAPL.npz", "hftbacktest") is None
    with pytest.raises(InvalidInput, match=r"AAPL\.npz \(hftbacktest\) does not say"):
        open_feed(tmp_path / "AAPL.npz")


def test_a_feed_goes_through_every_format(tmp_path: Path) -> None:
    """Each format is written from what was read of the one before; the book stays the same."""
    recorded = record(ZeroIntelligence(SHARE, 7, 10_000), 400)
    feed: Feed = TapeFeed(recorded.feed, SHARE)
    expected = recorded.book.depth(100)
    endings = {
        ".parquet": "parquet",
        ".npz": "hftbacktest",
        ".csv": "lobster",
        ".dbn": "databento",
        ".dbn.zst": "databento",
        ".mbo.csv": "databento",
        ".itch": "itch",
        ".npy": "arrays",
    }
    assert set(WRITERS) == set(endings.values())

    for ending, name in endings.items():
        path = tmp_path / f"a{ending}"
        done = convert(feed, path)
        feed = open_feed(path, instrument=SHARE)
        replay = FeedReplay(feed)
        replay.run()

        assert (name, name, {}) == (done.format, feed.format, dict(done.left_out))
        assert expected == replay.book.depth(100)
        assert recorded.book.trade_count == replay.book.trade_count


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello", f"allowed \\(--format\\): {', '.join(READERS)}"),
        (None, "No such file"),
    ],
)
def test_what_is_no_feed_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """An empty, unknown or missing file is one line with its name."""
    path = tmp_path / "x.bin"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InvalidInput, match=rf"x\.bin: .*{message}"):
        open_feed(path)


def test_unknown_formats_and_options_are_named(tmp_path: Path) -> None:
    """Formats to read and write are listed; an option the reader does not have is refused."""
    path = tmp_path / "a.npy"
    convert(tape(), path)

    with pytest.raises(InvalidInput, match="format: 'fix'; allowed: parquet"):
        open_feed(path, format="fix")
    with pytest.raises(InvalidInput, match="speed: not an option of the arrays reader"):
        open_feed(path, instrument=SHARE, speed=3)
    with pytest.raises(InvalidInput, match=f"allowed: {', '.join(WRITERS)}"):
        convert(tape(), tmp_path / "b", format="fix")
    with pytest.raises(InvalidInput, match=r"b\.xyz: of no known ending"):
        convert(tape(), tmp_path / "b.xyz")


def test_a_file_that_exists_stays_unless_forced(tmp_path: Path) -> None:
    """Nothing is replaced by accident, nor read while it is written over."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"precious")

    with pytest.raises(Conflict, match=r"a\.parquet: exists"):
        convert(tape(), path)
    assert b"precious" == path.read_bytes()
    convert(tape(), path, force=True)
    with pytest.raises(InvalidInput, match="is the file that is read"):
        convert(open_feed(path), path, force=True)
    assert 3 == sum(len(block.messages) for block in open_feed(path).blocks())


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A half-written file never appears, nor anything of it."""
    source = tmp_path / "in.csv"
    source.write_text("1,1,10,5,1000000,1\n2,1,11,bad,1000000,1\n", encoding="ascii")

    for ending in ("parquet", "npy", "npz", "csv"):
        with pytest.raises(InvalidInput, match=r"in\.csv:2: "):
            convert(open_feed(source, format="lobster"), tmp_path / f"out.{ending}")
    with pytest.raises(InvalidInput, match="nowhere"):
        convert(tape(), tmp_path / "nowhere" / "a.npy")

    assert [source] == list(tmp_path.iterdir())


def test_progress_ends_with_everything(tmp_path: Path) -> None:
    """The last call says that all bytes of the source have been read."""
    source = tmp_path / "in.csv"
    source.write_text("1,1,10,5,1000000,1\n" * 3, encoding="ascii")
    calls: list[tuple[int, int]] = []
    feed = open_feed(source, block_rows=1)

    done = convert(feed, tmp_path / "a.npy", progress=lambda *at: calls.append(at))

    assert (57, 57) == calls[-1]
    assert 3 == done.source.messages
    assert (tmp_path / "a.npy").stat().st_size == done.bytes_written
