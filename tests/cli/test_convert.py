"""`touchstone convert` writes, counts and refuses, and `touchstone replay` reads what it wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lob.feeds.dbn import MBO_DTYPE
from touchstone.cli import convert, replay

app = typer.Typer(pretty_exceptions_enable=False)
app.command("convert")(convert.convert_file)
app.command("replay")(replay.replay)
runner = CliRunner()

LINES = "1,4,7,3,1010000,-1\n2,1,100,5,1000000,1\n3,5,0,1,1005000,1\n4,1,101,7,1010000,-1\n"


@pytest.fixture
def lobster(tmp_path: Path) -> Path:
    """A small LOBSTER message file."""
    path = tmp_path / "AAPL_m.csv"
    path.write_text(LINES, encoding="ascii")
    return path


def asked(*arguments: object, code: int = 0) -> dict[str, Any]:
    """Run a command with --json and return its document."""
    result = runner.invoke(app, [*map(str, arguments), "--json"])
    assert code == result.exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.mark.parametrize(
    ("name", "to", "options"),
    [
        ("a.parquet", "parquet", ()),
        ("a.npy", "arrays", ("--tick-size", "0.01", "--lot-size", "1")),
        ("a.npz", "hftbacktest", ("--tick-size", "0.01", "--lot-size", "1", "--symbol", "AAPL")),
        ("a.csv", "lobster", ()),
        ("a.dbn", "databento", ("--tick-size", "0.01")),
        ("a.mbo.csv", "databento", ("--tick-size", "0.01")),
        ("a.itch", "itch", ("--tick-size", "0.01")),
    ],
)
def test_every_format_replays_to_the_same_book(
    lobster: Path, tmp_path: Path, name: str, to: str, options: tuple[str, ...]
) -> None:
    """What is written is found, read, and leads to the book of the original."""
    path = tmp_path / name
    first = asked("replay", lobster)
    made = asked("convert", lobster, path)
    again = asked("replay", path, *options)

    assert ("lobster", to, 4, {"hidden_execution": 1}, {}) == (
        made["from"],
        made["to"],
        made["messages"],
        made["unusable"],
        made["left_out"],
    )
    assert path.stat().st_size == made["bytes_written"]
    assert to == again["format"]
    for key in ("best_bid", "best_ask", "resting_orders", "state_hash", "tick_size"):
        assert first[key] == again[key]


def test_text_says_what_was_read_and_written(lobster: Path, tmp_path: Path) -> None:
    """Without --json a person reads it, of a conversion and of a replay of any feed."""
    path = tmp_path / "a.parquet"
    made = runner.invoke(app, ["convert", str(lobster), str(path), "--quiet"])
    seen = runner.invoke(app, ["replay", str(path), "--quiet"])

    assert (0, 0) == (made.exit_code, seen.exit_code)
    assert "4 of 4 records" in made.stdout
    assert "hidden_execution 1" in made.stdout
    assert "(parquet, AAPL, tick 0.01, lot 1)" in seen.stdout
    assert "FEED_ADD 3, FEED_EXECUTE 1" in seen.stdout
    assert "refused by the book  none" in seen.stdout
    assert "7 @ 10,100 ticks in 1 orders" in seen.stdout


def test_positions_of_what_does_not_fit_are_shown(tmp_path: Path) -> None:
    """Refusals, crossings and unusable records have their places in text and JSON."""
    source, path = tmp_path / "m.csv", tmp_path / "a.parquet"
    source.write_text(
        "1,1,100,5,1000000,1\n2,1,100,5,1000000,1\n3,1,101,5,990000,-1\n", encoding="ascii"
    )
    asked("convert", source, path)

    document = asked("replay", path)
    text = runner.invoke(app, ["replay", str(path)]).stdout

    assert {"duplicate_order_id": [2]} == document["first_refused"]
    assert {"messages": 1, "stretches": 1, "first_lines": [3]} == document["crossed"]
    assert "duplicate_order_id 1" in text
    assert "2: duplicate_order_id" in text
    assert "1 messages, first at lines [3]" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("convert", "{m}", "{m}"), 1, "exists; --force"),
        (("convert", "{m}", "{m}", "--force"), 2, "is the file that is read"),
        (("convert", "{m}", "{d}/x.xyz"), 2, "of no known ending"),
        (("convert", "{m}", "{d}/x", "--to", "fix"), 2, "format: 'fix'"),
        (("convert", "{m}", "{d}/x.npy", "--from", "fix"), 2, "format: 'fix'"),
        (("convert", "{m}", "{d}/x.npy", "--tick-size", "0"), 2, "--tick-size: '0'"),
        (("convert", "{m}", "{d}/x.npy", "--lot-size", "one"), 2, "--lot-size: 'one'"),
        (("convert", "{d}/none", "{d}/x.npy"), 2, "none: No such file"),
        (("convert", "{m}", "{d}/no/x.npy"), 2, "no/x.npy: No such file"),
        (("replay", "{d}/a.npy"), 2, "--tick-size: {d}/a.npy (arrays) does not say it"),
        (("replay", "{d}/a.npy", "--tick-size", "1"), 2, "--lot-size: {d}/a.npy (arrays)"),
        (("replay", "{d}/a.npy", "--orderbook", "{m}"), 2, "--tick-size"),
        (("replay", "{m}", "--format", "parquet"), 2, "AAPL_m.csv"),
        (("replay", "{m}", "--tick-size", "0.00001"), 2, "multiple of 0.0001"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    lobster: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Exit codes are stable, stdout stays empty, and nothing is left behind."""
    asked("convert", lobster, tmp_path / "a.npy")
    before = sorted(tmp_path.iterdir())
    names = {"m": str(lobster), "d": str(tmp_path)}

    result = runner.invoke(app, [word.format(**names) for word in arguments])

    assert (code, "") == (result.exit_code, result.stdout)
    assert message.format(**names) in result.stderr
    assert 1 == len(result.stderr.splitlines())
    assert before == sorted(tmp_path.iterdir())


def test_a_finer_tick_is_honoured(lobster: Path) -> None:
    """LOBSTER's prices are read in the tick that is asked for."""
    document = asked("replay", lobster, "--tick-size", "0.0001", "--symbol", "X")

    assert ("X", "0.0001", 1_000_000) == (
        document["symbol"],
        document["tick_size"],
        document["best_bid"]["price_ticks"],
    )


def test_one_of_several_publishers_is_read(lobster: Path, tmp_path: Path) -> None:
    """`--publisher` chooses among a Databento file's, and is refused where there are none."""
    path = tmp_path / "two.dbn"
    runner.invoke(app, ["convert", str(lobster), str(path), "--quiet"])
    whole = asked("replay", path)
    other = np.frombuffer(path.read_bytes()[-MBO_DTYPE.itemsize :], MBO_DTYPE).copy()
    first = int(other["publisher_id"][0])
    other["publisher_id"] += 1
    with path.open("ab") as file:
        file.write(other.tobytes())
    refused = runner.invoke(app, ["replay", str(path), "--quiet"])
    assert 2 == refused.exit_code
    assert f"several publishers; allowed (publisher_id=, --publisher): {first}" in refused.stderr
    found = asked("replay", path, "--publisher", first)
    assert whole["state_hash"] == found["state_hash"]
    assert 1 == found["unusable"]["other publisher"]
    refused = runner.invoke(app, ["replay", str(lobster), "--publisher", "1", "--quiet"])
    assert 2 == refused.exit_code
    assert "--publisher:" in refused.stderr
