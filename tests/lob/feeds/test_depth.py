"""A rebuilt book against the depth records of a venue that published both."""

import importlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob.book import OrderBook
from lob.errors import InvalidInput
from lob.feeds.databento import DatabentoFeed
from lob.feeds.databento_write import dbn_metadata
from lob.feeds.dbn import UNDEF_PRICE
from lob.feeds.depth import DepthComparison, DepthFile, Difference, compare_depth
from lob.messages import Array
from lob.types import AssetClass, Instrument
from tests.lob.feeds.databento_venue import TICK, Venue, run

FUTURE = Instrument(
    symbol="X", asset_class=AssetClass.FUTURES, tick_size=Decimal("0.25"), lot_size=Decimal(1)
)
official: Any = importlib.import_module("databento_dbn")


def files(
    folder: Path, venue: Venue, *, mbo: Array | None = None, mbp: Array | None = None
) -> tuple[DatabentoFeed, DepthFile]:
    """Write what a venue published, or a changed version of it, and return both readers."""
    orders, depth = folder / "orders.dbn", folder / "depth.dbn"
    rows = venue.mbo_rows() if mbo is None else mbo
    orders.write_bytes(dbn_metadata("mbo") + rows.tobytes())
    rows = venue.mbp_rows() if mbp is None else mbp
    depth.write_bytes(dbn_metadata(f"mbp-{venue.depth_levels}") + rows.tobytes())
    return DatabentoFeed(orders, FUTURE, block_rows=101), DepthFile(depth, FUTURE)


@pytest.mark.parametrize("levels", [1, 10])
@pytest.mark.parametrize("style", ["cme", "xnas"])
@pytest.mark.parametrize("seed", range(3))
def test_every_record_agrees(tmp_path: Path, style: str, levels: int, seed: int) -> None:
    """Levels, sizes and order counts are the venue's after every event it has a record for."""
    venue = run(style, seed, 400, depth_levels=levels)
    feed, depth = files(tmp_path, venue)
    found = compare_depth(feed, depth, OrderBook())
    assert levels == found.levels == depth.levels
    assert len(venue.mbp) == found.records
    assert found.records == found.compared + found.within_events
    assert found.compared == found.agreeing > 60
    assert [] == found.differences
    assert (0, 0) == (found.without_event, found.unannounced)
    assert (style == "xnas") == (found.within_events > 0)


def test_an_order_that_is_lost_is_found_with_its_places(tmp_path: Path) -> None:
    """Where one add is missing, the first difference names both records and the level."""
    venue = run("xnas", 1, 300)
    rows = venue.mbo_rows()
    bids, _ = venue.depth(10)
    lost = next(
        at
        for at in range(len(rows) - 40, 0, -1)
        if chr(rows["action"][at]) == "A"
        and chr(rows["side"][at]) == "B"
        and rows["price"][at] >= bids[3][0] * TICK
        and (rows["sequence"] == rows["sequence"][at]).sum() == 1
    )
    kept = np.delete(rows, lost)
    feed, depth = files(tmp_path, venue, mbo=kept)
    found = compare_depth(feed, depth, OrderBook())
    assert found.agreeing < found.compared
    first = found.differences[0]
    assert isinstance(first, Difference)
    sequence = venue.mbp_rows()["sequence"][first.depth_position - 1]
    assert sequence == rows["sequence"][lost]
    assert "bid" == first.side
    assert first.ours != first.theirs
    assert found.first_without_event[0] == first.depth_position


def test_a_record_that_is_lost_is_counted(tmp_path: Path) -> None:
    """An event that changes the levels without a record of the venue is named by its position."""
    venue = run("cme", 2, 200)
    rows = venue.mbp_rows()
    feed, depth = files(tmp_path, venue, mbp=np.delete(rows, 50))
    found = compare_depth(feed, depth, OrderBook())
    assert found.compared == found.agreeing == len(rows) - 1
    assert 1 == found.unannounced
    where = found.first_unannounced[0] - 1
    assert venue.mbo_rows()["sequence"][where] == rows["sequence"][50]


def test_a_wrong_size_or_count_is_a_difference(tmp_path: Path) -> None:
    """One lot or one order too many on one level of one record is seen."""
    venue = run("cme", 3, 100)
    for field in ("bid_sz", "ask_ct"):
        rows = venue.mbp_rows()
        rows["levels"][field][20, 2] += 1
        feed, depth = files(tmp_path, venue, mbp=rows)
        found = compare_depth(feed, depth, OrderBook())
        assert found.compared - 1 == found.agreeing
        (difference,) = found.differences
        assert (21, field[:3], 3) == (
            difference.depth_position,
            difference.side,
            difference.level,
        )


def test_trades_of_no_order_are_held_against_the_book_as_it_stands(tmp_path: Path) -> None:
    """A hidden trade after the last order has a record too; it changes nothing."""
    venue = run("xnas", 5, 60)
    before = len(venue.mbp)
    venue._begin()
    venue._hidden_trade()
    feed, depth = files(tmp_path, venue)
    found = compare_depth(feed, depth, OrderBook())
    assert before + 1 == found.records
    assert found.compared == found.agreeing
    assert 0 == found.without_event


def test_events_of_one_packet_and_time_are_one_to_the_depth(tmp_path: Path) -> None:
    """Two events that share times and sequence are held against the record of the later."""
    venue = run("cme", 6, 120)
    rows, depth_rows = venue.mbo_rows(), venue.mbp_rows()
    for name in ("ts_recv", "ts_event", "sequence"):
        for table in (rows, depth_rows):
            at = table["sequence"] == depth_rows["sequence"][40]
            table[name][at] = depth_rows[name][41]
    feed, depth = files(tmp_path, venue, mbo=rows, mbp=np.delete(depth_rows, 40))
    found = compare_depth(feed, depth, OrderBook())
    assert found.compared == found.agreeing == len(depth_rows) - 1
    assert 0 == found.unannounced


def test_what_apply_says_is_put_together(tmp_path: Path) -> None:
    """Applied event by event, a block's trades and refusals are those of one call."""
    venue = run("cme", 4, 300)
    rows = venue.mbo_rows()
    broken = np.delete(rows, slice(2, 20))
    feed, depth = files(tmp_path, venue, mbo=broken)
    whole, stepped = OrderBook(), OrderBook()
    comparison = DepthComparison(iter(depth), depth.levels)
    refused = 0
    for block in feed.blocks():
        trades = whole.apply(block.messages, strict=False)
        applied = comparison.apply(stepped, block)
        assert trades.tolist() == applied.trades.tolist()
        assert whole.last_apply.refusals.tolist() == applied.refusals.tolist()
        refused += len(applied.refusals)
    assert refused > 0
    assert whole.state_hash() == stepped.state_hash()


@pytest.mark.parametrize("pretty", [True, False])
def test_csv_says_what_dbn_says(tmp_path: Path, pretty: bool) -> None:
    """Databento's own CSV of depth records gives the same records."""
    _, depth = files(tmp_path, run("xnas", 3, 100))
    path = tmp_path / "depth.csv"
    with path.open("wb") as file:
        encoder = official.Transcoder(
            file,
            official.Encoding.CSV,
            official.Compression.NONE,
            pretty_px=pretty,
            pretty_ts=pretty,
        )
        encoder.write(depth.path.read_bytes())
        encoder.flush()
    text = DepthFile(path, FUTURE)
    assert 10 == text.levels
    assert [record._replace(position=0) for record in depth] == [
        record._replace(position=0) for record in text
    ]
    assert DepthFile.sniff(path)
    assert DepthFile.sniff(depth.path)


def test_what_is_no_depth_is_refused(tmp_path: Path) -> None:
    """Orders are no depth; prices off the tick and a cut record are told."""
    venue = run("cme", 1, 30)
    feed, depth = files(tmp_path, venue)
    assert not DepthFile.sniff(feed.path)
    with pytest.raises(InvalidInput, match="schema mbo; allowed: mbp-1, mbp-10"):
        DepthFile(feed.path, FUTURE)
    rows = venue.mbp_rows()
    rows["levels"]["bid_px"][3, 0] += 1
    rows["levels"]["ask_px"][4, 9] = -TICK
    rows["levels"]["ask_sz"][4, 9] = 1
    _, depth = files(tmp_path, venue, mbp=rows)
    assert len(rows) - 2 == len(list(depth))
    assert {"price off the tick": 1, "price not above 0": 1} == depth.unusable
    rows["levels"]["bid_px"][:] = UNDEF_PRICE
    _, depth = files(tmp_path, venue, mbp=rows[:1])
    assert () == next(iter(depth)).bids
    depth.path.write_bytes(depth.path.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match="the last record is cut short: 367 bytes"):
        list(depth)
