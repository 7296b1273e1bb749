"""A rebuilt book against the depth records of a venue that published both."""

import importlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob.book import OrderBook
from lob.books import available_books
from lob.errors import InvalidInput
from lob.feeds.databento import DatabentoFeed
from lob.feeds.databento_write import dbn_metadata
from lob.feeds.dbn import UNDEF_PRICE
from lob.feeds.depth import DepthComparison, DepthFile, Difference, compare_depth
from lob.messages import Array, Flag
from lob.types import AssetClass, Instrument, Level
from tests.lob.feeds.databento_venue import TICK, Venue, run

FUTURE = Instrument(
    symbol="X", asset_class=AssetClass.FUTURES, tick_size=Decimal("0.25"), lot_size=Decimal(1)
)
official: Any = importlib.import_module("databento_dbn")


@pytest.fixture(params=available_books(), autouse=True)
def either_book(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare by the plain book, which is asked after each event, and by the native one."""
    monkeypatch.setitem(globals(), "OrderBook", request.param)


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
    comparison = DepthComparison(depth)
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


def test_a_depth_file_of_a_longer_time_is_compared_where_both_speak(tmp_path: Path) -> None:
    """Records of before the first order record and of after the last are counted, no more."""
    venue = run("xnas", 2, 400)
    rows, depth_rows = venue.mbo_rows(), venue.mbp_rows()
    cut = int(np.flatnonzero(rows["flags"] & 128)[-120]) + 1
    early = depth_rows[:3].copy()
    early["ts_recv"] = early["ts_event"] = rows["ts_recv"][0] - np.array([30, 20, 10], np.uint64)
    early["levels"]["bid_sz"] += 7
    feed, depth = files(tmp_path, venue, mbo=rows[:cut], mbp=np.concatenate((early, depth_rows)))
    found = compare_depth(feed, depth, OrderBook())
    last = int(rows["ts_recv"][cut - 1])
    later = int((depth_rows["ts_recv"] > last).sum())
    assert (3, later) == (found.before_feed, found.after_feed)
    assert found.compared == found.agreeing > 60
    assert len(depth_rows) + 3 == found.records
    assert found.records == found.compared + found.within_events + 3 + later
    assert (0, 0) == (found.without_event, found.unannounced)


def test_a_depth_file_of_another_time_agrees_with_nothing(tmp_path: Path) -> None:
    """Where the files have no time in common, nothing is compared."""
    venue = run("cme", 2, 60)
    for shift in (-(10**15), 10**15):
        depth_rows = venue.mbp_rows()
        for name in ("ts_recv", "ts_event"):
            depth_rows[name] = depth_rows[name].astype(np.int64) + shift
        feed, depth = files(tmp_path, venue, mbp=depth_rows)
        found = compare_depth(feed, depth, OrderBook())
        assert 0 == found.compared
        assert len(depth_rows) == found.before_feed + found.after_feed


def test_a_depth_file_that_begins_later_agrees(tmp_path: Path) -> None:
    """What changed before its first record is not missed in it."""
    venue = run("cme", 5, 300)
    depth_rows = venue.mbp_rows()[90:]
    feed, depth = files(tmp_path, venue, mbp=depth_rows)
    found = compare_depth(feed, depth, OrderBook())
    assert len(depth_rows) == found.compared == found.agreeing
    assert 0 == found.unannounced


def test_agreement_is_told_by_level(tmp_path: Path) -> None:
    """A difference on the third level leaves the first two."""
    venue = run("cme", 3, 100)
    rows = venue.mbp_rows()
    rows["levels"]["bid_sz"][20, 2] += 1
    feed, depth = files(tmp_path, venue, mbp=rows)
    found = compare_depth(feed, depth, OrderBook())
    assert [len(rows)] * 2 + [len(rows) - 1] * 8 == found.agreeing_to


def test_a_record_within_an_event_of_none_of_ours_is_counted(tmp_path: Path) -> None:
    """A change of the venue's levels that no order record explains is told, event's end or not."""
    venue = run("cme", 3, 100)
    rows = venue.mbp_rows()
    stray = rows[40:41].copy()
    stray["sequence"] += 1
    stray["flags"] = 0
    feed, depth = files(tmp_path, venue, mbp=np.concatenate((rows[:41], stray, rows[41:])))
    found = compare_depth(feed, depth, OrderBook())
    assert [42] == found.first_without_event
    assert (1, 1) == (found.without_event, found.within_events)
    assert len(rows) == found.compared == found.agreeing


def test_several_trades_of_no_order_are_all_compared(tmp_path: Path) -> None:
    """Hidden trades one after another are each held against the book, also in the next block."""
    venue = run("xnas", 4, 200)
    for _ in range(5):
        venue._begin()
        venue._hidden_trade()
    for _ in range(200):
        venue.step()
    wrong = venue.mbp_rows()
    hidden = np.flatnonzero((wrong["action"] == ord("T")) & (wrong["flags"] == 128))
    wrong["levels"]["ask_ct"][hidden, 0] += 1
    for rows in (101, 7):
        feed, depth = files(tmp_path, venue, mbp=wrong)
        feed.block_rows = rows
        found = compare_depth(feed, depth, OrderBook())
        assert len(hidden) == found.compared - found.agreeing
        assert 0 == found.unannounced


@pytest.mark.parametrize("block_rows", [31, 50])
def test_events_of_one_packet_stay_together_in_a_block(tmp_path: Path, block_rows: int) -> None:
    """Where a block would end between events that only the later's record tells of, it does not."""
    venue = run("cme", 6, 300)
    rows, depth_rows = venue.mbo_rows(), venue.mbp_rows()
    pairs = range(10, len(depth_rows) - 1, 3)
    for at in pairs:
        for name in ("ts_recv", "ts_event", "sequence"):
            old, new = depth_rows[name][at], depth_rows[name][at + 1]
            if name == "sequence":
                mine = (rows["sequence"] >= old) & (rows["sequence"] <= new)
                for other in ("ts_recv", "ts_event"):
                    rows[other][mine] = depth_rows[other][at + 1]
                rows["sequence"][mine] = new
    kept = np.delete(depth_rows, list(pairs))
    feed, depth = files(tmp_path, venue, mbo=rows, mbp=kept)
    feed.block_rows = block_rows
    found = compare_depth(feed, depth, OrderBook())
    assert len(kept) == found.compared == found.agreeing
    assert (0, 0) == (found.without_event, found.unannounced)


def test_events_beyond_the_levels_are_applied_together(tmp_path: Path) -> None:
    """The book is not looked at after what cannot show, and ends as it would otherwise."""
    venue = run("xnas", 7, 600, depth_levels=1)
    feed, depth = files(tmp_path, venue)

    class Counting(OrderBook):
        looks = 0

        def depth(self, levels: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
            self.looks += 1
            return super().depth(levels)

    book, whole = Counting(), OrderBook()
    found = compare_depth(feed, depth, book)
    events = 0
    for block in feed.blocks():
        whole.apply(block.messages, strict=False)
        events += int(np.count_nonzero(block.messages["flags"] & Flag.LAST))
    assert book.looks < events / 2
    assert found.compared == found.agreeing
    assert whole.state_hash() == book.state_hash()


@pytest.mark.parametrize("missing", ["ts_recv", "sequence"])
@pytest.mark.parametrize("lacking", ["orders", "depth"])
def test_files_are_aligned_by_what_both_have(tmp_path: Path, missing: str, lacking: str) -> None:
    """Where one file lacks a column (as CSV may), the others tell the events."""
    venue = run("cme", 3, 300)
    rows, depth_rows = venue.mbo_rows(), venue.mbp_rows()
    (rows if lacking == "orders" else depth_rows)[missing] = 0
    feed, depth = files(tmp_path, venue, mbo=rows, mbp=depth_rows)
    found = compare_depth(feed, depth, OrderBook())
    assert missing not in found.aligned_by
    assert 2 == len(found.aligned_by)
    assert len(depth_rows) == found.compared == found.agreeing
    assert (0, 0) == (found.without_event, found.unannounced)


@pytest.mark.parametrize("style", ["cme", "xnas"])
def test_an_event_may_end_with_a_record_of_its_own_time(tmp_path: Path, style: str) -> None:
    """Where a record without action ends an event later, and depth has its key, all agrees."""
    venue = run(style, 3, 600)
    depth_rows, rows = venue.mbp_rows(), []
    for at, row in enumerate(venue.mbo_rows()):
        rows.append(row)
        if at % 2 or not row["flags"] & 128 or row["flags"] & 32:
            continue
        end = row.copy()
        row["flags"] &= 127
        end["action"] = end["side"] = ord("N")
        end["price"], end["size"], end["order_id"] = UNDEF_PRICE, 0, 0
        its_own = (depth_rows["ts_recv"] == row["ts_recv"]) & (depth_rows["flags"] == 128)
        end["ts_recv"] += 100
        depth_rows["ts_recv"][its_own & (depth_rows["action"] != ord("T"))] += np.uint64(100)
        rows.append(end)
    feed, depth = files(tmp_path, venue, mbo=np.array(rows), mbp=depth_rows)
    found = compare_depth(feed, depth, OrderBook())
    assert found.compared == found.agreeing > 200
    assert len(depth_rows) == found.compared + found.within_events + found.after_feed


def test_an_emptied_book_agrees_with_a_depth_of_nothing(tmp_path: Path) -> None:
    """A clear at a file's start and one in a session's middle have records without levels."""
    venue = run("cme", 5, 200)
    rows, depth_rows = venue.mbo_rows(), venue.mbp_rows()
    clear = rows[:1].copy()
    clear["flags"] = 128
    none = depth_rows[:1].copy()
    none["action"] = ord("R")
    for name in ("bid", "ask"):
        none["levels"][f"{name}_px"] = UNDEF_PRICE
        none["levels"][f"{name}_sz"] = none["levels"][f"{name}_ct"] = 0
    clears: list[Array] = []
    nones: list[Array] = []
    for time in (int(rows["ts_recv"][0]) - 10, int(rows["ts_recv"][-1]) + 10):
        for record, found in ((clear, clears), (none, nones)):
            record["ts_recv"] = record["ts_event"] = time
            record["sequence"] = 5
            found.append(record.copy())
    feed, depth = files(
        tmp_path,
        venue,
        mbo=np.concatenate((clears[0], rows, clears[1])),
        mbp=np.concatenate((nones[0], depth_rows, nones[1])),
    )
    book = OrderBook()
    found_there = compare_depth(feed, depth, book)
    assert len(depth_rows) + 2 == found_there.compared == found_there.agreeing
    assert (0, 0) == (found_there.without_event, found_there.unannounced)
    assert 0 == len(book)
