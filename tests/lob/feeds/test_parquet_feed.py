"""Our Parquet files are read whatever else wrote them, and what is not ours is named."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob.errors import ConfigError, InvalidInput
from lob.feeds import open_feed
from lob.feeds.parquet import ParquetFeed
from lob.messages import Action
from tests.lob.feeds.tapes import SHARE

# Neither has type hints.
pa: Any = importlib.import_module("pyarrow")
pq: Any = importlib.import_module("pyarrow.parquet")

COLUMNS: dict[str, list[Any]] = {
    "ts_event_ns": [10, 20],
    "ts_recv_ns": [11, 21],
    "action": ["FEED_ADD", "FEED_DELETE"],
    "side": ["SELL", None],
    "price_ticks": [100, 0],
    "quantity_lots": [5, 0],
    "order_id": [7, 7],
    "seq": [1, 2],
}


def written(path: Path, **changes: list[Any] | None) -> ParquetFeed:
    """Write the columns with some changed (None: left out) and return the file's reader."""
    columns = {name: values for name, values in (COLUMNS | changes).items() if values is not None}
    pq.write_table(pa.table(columns), path)
    return ParquetFeed(path, SHARE)


def test_words_and_numbers_are_read_alike(tmp_path: Path) -> None:
    """Actions and sides may be words, categories or numbers; optional columns may be missing."""
    words = written(tmp_path / "words.parquet", ts_recv_ns=None, seq=None)
    numbers = written(tmp_path / "numbers.parquet", action=[4, 5], side=[-1, 0])

    (first,) = words.blocks()
    (second,) = numbers.blocks()

    assert first.messages.tolist() == second.messages.tolist()
    assert [Action.FEED_ADD, Action.FEED_DELETE] == first.messages["action"].tolist()
    assert [-1, 0] == first.messages["side"].tolist()
    assert ([0, 0], [11, 21]) == (first.ts_recv_ns.tolist(), second.ts_recv_ns.tolist())
    assert ([1, 2], [1, 2]) == (second.sequences.tolist(), second.positions.tolist())
    assert {"FEED_ADD": 1, "FEED_DELETE": 1} == dict(words.summary.by_type)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price_ticks": None}, "no column 'price_ticks'"),
        ({"price_ticks": [1.5, 2.0]}, "price_ticks: column of double; allowed: int64"),
        ({"price_ticks": [1, None]}, ":2: price_ticks: None"),
        ({"action": ["FEED_ADD", "BUY"]}, ":2: action: 'BUY'; allowed: SUBMIT"),
        ({"action": ["FEED_ADD", None]}, ":2: action: None"),
        ({"action": [4, 10]}, ":2: action: 10; allowed: 0..9"),
        ({"action": [4, 300]}, ":2: action: 300; allowed: 0..255"),
        ({"side": ["UP", None]}, ":1: side: 'UP'; allowed: BUY, SELL"),
        ({"side": [None, None]}, ":1: side: 0; allowed: 1, -1"),
        ({"side": [1, 257]}, ":2: side: 257; allowed: -1..1"),
        ({"ts_event_ns": [10, -1]}, ":2: ts_event_ns: -1; allowed: 0 or later"),
        ({"order_id": pa.array([1, 2**64 - 1], pa.uint64())}, ":1: order_id: "),
        ({"flags": [0, 256]}, ":2: flags: 256; allowed: 0..255"),
    ],
)
def test_what_is_no_message_is_named(
    tmp_path: Path, changes: dict[str, list[Any] | None], message: str
) -> None:
    """File, row, column and value are in the fault."""
    feed = written(tmp_path / "x.parquet", **changes)

    with pytest.raises(InvalidInput) as caught:
        list(feed.blocks())

    assert str(feed.path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("length", [4, 50, 400])
def test_a_truncated_file_is_named(tmp_path: Path, length: int) -> None:
    """A file cut short is one line, not a traceback."""
    path = written(tmp_path / "x.parquet").path
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(InvalidInput, match=r"x\.parquet"):
        open_feed(path)


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b'{"symbol": "A"}', b'{"symbol": "A", "asset_class": "X"}']
)
def test_a_bad_instrument_is_named(tmp_path: Path, text: bytes) -> None:
    """Metadata that is no instrument is a fault of the file."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(COLUMNS).replace_schema_metadata({"touchstone.instrument": text}), path)

    with pytest.raises(InvalidInput, match=r"x\.parquet: touchstone\.instrument: "):
        open_feed(path)


def test_large_files_come_in_blocks(tmp_path: Path) -> None:
    """No block has more rows than asked for, and none is lost."""
    count = 1_000
    columns = {name: np.arange(1, count + 1) for name in ("ts_event_ns", "order_id", "seq")}
    table = pa.table(
        columns
        | {"action": [4] * count, "side": [1] * count}
        | {"price_ticks": [5] * count, "quantity_lots": [5] * count}
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=300)
    feed = ParquetFeed(tmp_path / "x.parquet", SHARE, block_rows=128)

    blocks = list(feed.blocks())

    assert max(len(block.messages) for block in blocks) <= 128
    assert list(range(1, count + 1)) == [int(at) for block in blocks for at in block.positions]
    assert feed.bytes_total == feed.bytes_done


def test_without_pyarrow_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing optional package is named, not traced."""
    path = written(tmp_path / "x.parquet").path

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pyarrow: not installed"):
        open_feed(path)
