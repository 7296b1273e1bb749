"""LOBSTER files are read line by line, and every line that cannot be used is accounted for."""

from pathlib import Path

import pytest

from lob.errors import InvalidInput
from lob.feeds.lobster import LobsterReader, MessageType, count_lines, read_book_rows
from lob.types import Level, Side


def written(path: Path, *lines: str) -> Path:
    """Write lines to a file and return it."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_messages_are_exact(tmp_path: Path) -> None:
    """Times are whole nanoseconds, prices ticks, and the direction is the resting order's side."""
    path = written(
        tmp_path / "m.csv", "34200.004241176,1,11,18,5853300,1", "34200.1,4,12,5,5853400,-1"
    )

    first, second = LobsterReader(path)

    assert (1, 34_200_004_241_176, MessageType.ADD, 11, 18, 58533, Side.BUY) == first
    assert (2, 34_200_100_000_000, MessageType.EXECUTE, 12, 5, 58534, Side.SELL) == second


def test_what_says_nothing_of_the_book_is_counted(tmp_path: Path) -> None:
    """Hidden executions, crosses and halts are yielded and counted by reason."""
    path = written(
        tmp_path / "m.csv",
        "1,5,0,18,5853350,1",
        "2,6,0,18,5853300,-1",
        "3,7,0,0,-1,-1",
        "4,7,0,0,1,-1",
    )
    reader = LobsterReader(path)

    assert 4 == len(list(reader))
    assert {"hidden_execution": 1, "cross_trade": 1, "trading_halt": 2} == dict(reader.unusable)
    assert {"EXECUTE_HIDDEN": 1, "CROSS": 1, "HALT": 2} == dict(reader.by_type)
    assert 4 == len(list(reader))
    assert 2 == reader.unusable["trading_halt"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1,11,18,5853300", "5 fields"),
        ("1,9,11,18,5853300,1", "type: '9'"),
        ("x,1,11,18,5853300,1", "time: 'x'"),
        ("-1,1,11,18,5853300,1", "time: '-1'"),
        ("1,1,11,18,5853350,1", "price: 5853350"),
        ("1,1,11,18,0,1", "price: 0"),
        ("1,1,0,18,5853300,1", "order id: 0"),
        ("1,1,11,-3,5853300,1", "size: -3"),
        ("1,1,11,18,5853300,2", "direction: 2"),
        ("1,1,11,1.5,5853300,1", "invalid literal"),
        ("0.5,1,11,18,5853300,1", "time: 500000000 ns; allowed: 600000000 or later"),
        ("1,1,11,18,5853300,\xe9", "not ASCII"),
        ("1" * 70_000, "longer than"),
        ("", "1 fields"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    """File, line and field are in the fault."""
    path = written(tmp_path / "m.csv", "0.6,1,10,18,5853300,1", line)

    with pytest.raises(InvalidInput) as caught:
        list(LobsterReader(path))

    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that is not there is InvalidInput for every reader."""
    path = tmp_path / "nowhere.csv"

    for read in (lambda: list(LobsterReader(path)), lambda: count_lines(path)):
        with pytest.raises(InvalidInput, match=r"nowhere\.csv"):
            read()


def test_book_rows_leave_out_levels_that_are_not_there(tmp_path: Path) -> None:
    """Dummy prices stand for no level."""
    path = written(
        tmp_path / "o.csv", "10100,5,10000,4,9999999999,0,9900,1", "10100,5,10000,4,10200,1,9900,1"
    )

    first, second = read_book_rows(path)

    assert (Level(101, 5, 0),) == first.asks
    assert (Level(100, 4, 0), Level(99, 1, 0)) == first.bids
    assert (2, 2) == (second.line, len(second.asks))


@pytest.mark.parametrize("line", ["1,2,3", "a,b,c,d", "10150,5,10000,4", "10100,0,10000,4"])
def test_a_bad_row_is_named(tmp_path: Path, line: str) -> None:
    """A row with the wrong number of values, or no whole ticks and lots, names file and line."""
    path = written(tmp_path / "o.csv", line)

    with pytest.raises(InvalidInput, match=r"o\.csv:1: "):
        list(read_book_rows(path))


def test_lines_are_counted_with_and_without_a_last_line_feed(tmp_path: Path) -> None:
    """The last line counts either way; an empty file has none."""
    path = tmp_path / "x"

    for text, lines in (("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2)):
        path.write_text(text, encoding="utf-8")
        assert lines == count_lines(path)
