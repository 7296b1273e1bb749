"""`touchstone replay` and `touchstone simulate` answer in text, in JSON, and by exit code."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lob.feeds.databento_write import dbn_metadata
from tests.lob.feeds import coinbase_venue, databento_venue
from tests.lob.feeds.test_coinbase import BTC_USD
from touchstone.cli import replay

app = typer.Typer(pretty_exceptions_enable=False)
app.command("replay")(replay.replay)
app.command("simulate")(replay.simulate)
runner = CliRunner()

MESSAGES = "1,1,10,5,1000000,1\n2,1,11,7,1010000,-1\n3,5,0,1,1005000,1\n"
ROWS = "9999999999,0,1000000,5\n1010000,7,1000000,5\n1010000,7,1000000,5\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A message file and the orderbook file that agrees with it."""
    messages, rows = tmp_path / "messages.csv", tmp_path / "rows.csv"
    messages.write_text(MESSAGES, encoding="utf-8")
    rows.write_text(ROWS, encoding="utf-8")
    return str(messages), str(rows)


def test_agreement_is_exit_code_0_and_one_json_document(files: tuple[str, str]) -> None:
    """JSON goes to stdout alone, with the counts, the touch and the hash."""
    result = runner.invoke(app, ["replay", files[0], "--orderbook", files[1], "--json"])

    document = json.loads(result.stdout)
    assert 0 == result.exit_code
    assert 3 == document["messages"]
    assert {"hidden_execution": 1} == document["unusable"]
    assert {"price_ticks": 10100, "quantity_lots": 7, "order_count": 1} == document["best_ask"]
    assert (3, 3) == (document["comparison"]["rows"], document["comparison"]["agreeing"])
    assert 32 == len(document["state_hash"])


def test_text_says_the_same(files: tuple[str, str]) -> None:
    """Without --json a person reads it."""
    result = runner.invoke(app, ["replay", files[0], "--orderbook", files[1], "--quiet"])

    assert 0 == result.exit_code
    assert "3 of 3 rows at depth 1" in result.stdout
    assert "hidden_execution 1" in result.stdout
    assert "7 @ 10,100 ticks in 1 orders" in result.stdout


def test_a_mismatch_is_exit_code_1(files: tuple[str, str], tmp_path: Path) -> None:
    """A book that differs fails the check and shows both sides."""
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(ROWS.replace("1010000,7", "1010000,8"), encoding="utf-8")

    result = runner.invoke(app, ["replay", files[0], "--orderbook", str(wrong), "--quiet"])

    assert 1 == result.exit_code
    assert "line 2, row 2: ask 1: venue 8 @ 10,100, ours 7 @ 10,100" in result.stdout


@pytest.mark.parametrize("levels", [1, 10])
@pytest.mark.parametrize("style", ["cme", "xnas"])
def test_a_databento_book_is_held_against_the_venue_s_depth(
    tmp_path: Path, style: str, levels: int
) -> None:
    """Every record agrees, and one that is changed is exit code 1 with both sides."""
    venue = databento_venue.run(style, 5, 400, depth_levels=levels)
    orders, depth = tmp_path / "x.mbo.dbn", tmp_path / "x.mbp.dbn"
    orders.write_bytes(dbn_metadata("mbo", "ESM4", 5602) + venue.mbo_rows().tobytes())
    rows = venue.mbp_rows()
    depth.write_bytes(dbn_metadata(f"mbp-{levels}", "ESM4", 5602) + rows.tobytes())
    command = ["replay", str(orders), "--orderbook", str(depth), "--tick-size", "0.25"]

    agreed = json.loads(runner.invoke(app, [*command, "--json"]).stdout)["comparison"]
    assert levels == agreed["depth"]
    assert 50 < agreed["agreeing"] == agreed["rows"]
    assert (0, 0) == (agreed["without_event"], agreed["unannounced"])
    assert [agreed["rows"]] * levels == agreed["agreeing_to_level"]
    assert ["ts_recv", "sequence", "ts_event"] == agreed["aligned_by"]
    assert len(rows) == agreed["records"] == agreed["rows"] + agreed["within_events"]

    changed = len(rows) - 1 - int(np.argmax(rows["levels"]["bid_sz"][::-1, 0] > 0))
    rows["levels"]["bid_sz"][changed, 0] += 1
    depth.write_bytes(dbn_metadata(f"mbp-{levels}", "ESM4", 5602) + rows.tobytes())
    result = runner.invoke(app, command)
    assert 1 == result.exit_code
    assert f"{agreed['rows'] - 1:,} of {agreed['rows']:,} records" in result.stdout
    assert f"record {changed + 1:,}: bid 1: venue" in result.stdout
    assert f"  in part            {agreed['rows'] - 1:,} to level 1" in result.stdout


def test_a_depth_file_of_another_day_is_exit_code_1(tmp_path: Path) -> None:
    """Where nothing could be compared nothing agrees, and the counts say why."""
    venue = databento_venue.run("cme", 5, 100)
    orders, depth = tmp_path / "x.mbo.dbn", tmp_path / "x.mbp.dbn"
    orders.write_bytes(dbn_metadata("mbo", "ESM4", 5602) + venue.mbo_rows().tobytes())
    rows = venue.mbp_rows()
    rows["ts_recv"] -= np.uint64(86_400 * 10**9)
    depth.write_bytes(dbn_metadata("mbp-10", "ESM4", 5602) + rows.tobytes())

    result = runner.invoke(app, ["replay", str(orders), "--orderbook", str(depth)])

    assert 1 == result.exit_code
    assert "0 of 0 records at depth 10" in result.stdout
    assert f"{len(rows):,} before the first message" in result.stdout


def test_a_tiny_lot_is_written_in_full(tmp_path: Path) -> None:
    """A hundred-millionth reads as a number, not as a power."""
    path = tmp_path / "btc-usd-book.json"
    order = ["64934.31", "0.0536205", "60de12d8-f80b-4848-adbc-2b17375a9216"]
    path.write_text(json.dumps({"sequence": 7, "bids": [order], "asks": []}), encoding="utf-8")

    document = json.loads(runner.invoke(app, ["replay", str(path), "--json"]).stdout)

    assert "0.00000001" == document["lot_size"]


def test_a_replay_starts_from_a_snapshot(tmp_path: Path, files: tuple[str, str]) -> None:
    """Without what rested before, a feed's later messages would find no orders."""
    venue = coinbase_venue.Venue(BTC_USD, seed=3)
    venue.run(60)
    snapshot, feed = tmp_path / "book.json", tmp_path / "full.jsonl"
    snapshot.write_text(venue.snapshot(), encoding="utf-8")
    begin = len(venue.messages)
    venue.run(60)
    feed.write_text(venue.lines(begin), encoding="utf-8")

    command = ["replay", str(feed), "--snapshot", str(snapshot), "--json"]
    document = json.loads(runner.invoke(app, command).stdout)

    assert len(venue.book) == document["resting_orders"]
    assert "unknown_order" not in document["unusable"]
    refused = runner.invoke(app, ["replay", files[0], "--snapshot", str(snapshot)])
    assert 2 == refused.exit_code
    assert "snapshot: not an option of the lobster reader" in refused.stderr


@pytest.mark.parametrize("text", ["nonsense\n", None])
def test_bad_input_is_exit_code_2_and_one_line(tmp_path: Path, text: str | None) -> None:
    """A file that cannot be read or used is named on stderr."""
    path = tmp_path / "bad.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")

    result = runner.invoke(app, ["replay", str(path)])

    assert 2 == result.exit_code
    assert "" == result.stdout
    assert result.stderr.startswith(f"touchstone: {path}")
    assert 1 == len(result.stderr.splitlines())


def test_simulate_runs_the_rulebook(root: Path) -> None:
    """Every scenario file holds."""
    files = [str(path) for path in sorted((root / "tests" / "scenarios").glob("*.book"))]

    result = runner.invoke(app, ["simulate", *files, "--json"])

    assert 0 == result.exit_code
    assert [] == json.loads(result.stdout)["failed"]


def test_a_scenario_that_fails_is_exit_code_1(tmp_path: Path) -> None:
    """The failure shows the line and both pictures."""
    path = tmp_path / "wrong.book"
    path.write_text("scenario A\nwhen o1 BUY 1 @5\nthen o1 filled\n", encoding="utf-8")

    result = runner.invoke(app, ["simulate", str(path)])

    assert 1 == result.exit_code
    assert f"{path}:3" in result.stdout
    assert "o1 rests 1" in result.stdout
    assert "0 of 1 scenarios hold" in result.stdout
    path.write_text("nonsense\n", encoding="utf-8")
    assert 2 == runner.invoke(app, ["simulate", str(path)]).exit_code
