"""Every figure of a tape made by hand is the one that a person would work out."""

import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lob.calibration.measures import (
    aggressors,
    autocorrelation,
    fano,
    flatten,
    interarrivals,
    measure,
    mids,
)
from lob.calibration.tape import Kind, Tape, make_tape
from lob.errors import InvalidInput
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.recording import HIDDEN_DTYPE
from lob.types import AssetClass, Instrument
from touchstone.fidelity.market import load_market

SECOND = 1_000_000_000
SHARE = Instrument(
    symbol="MADE", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
AAPL = "lobster/AAPL_2012-06-21_34200000_37800000_message_50.csv"


def row(
    at_s: float, order_id: int, action: Action, lots: int, price: int = 0, side: int = 0
) -> tuple[int, int, int, int, int, int, int, int, int]:
    """Return one feed message."""
    return (
        *(round(at_s * SECOND), order_id, price, lots, 0, action.value, side, 0),
        Flag.LAST.value,
    )


def tape_by_hand() -> Tape:
    """Return ten seconds: two quotes, orders that come and go, three buyers, one hidden order."""
    add, execute, delete = Action.FEED_ADD, Action.FEED_EXECUTE, Action.FEED_DELETE
    rows = [
        row(100.0, 1, add, 10, 98, 1),
        row(100.0, 2, add, 20, 102, -1),
        row(101.0, 3, add, 30, 100, 1),  # two ticks inside its side
        row(103.0, 4, add, 40, 103, -1),  # one tick behind
        row(104.0, 2, execute, 5),
        row(104.0, 2, execute, 15),  # the same buyer
        row(106.0, 3, delete, 0),
        row(107.0, 4, execute, 1),
        row(110.0, 5, add, 20, 97, 1),
    ]
    hidden = np.array([(108 * SECOND, 100.5, 7, -1, 8)], HIDDEN_DTYPE)
    return make_tape(np.array(rows, MESSAGE_DTYPE), SHARE, hidden, skip_seconds=0.0)


def test_a_tape_has_every_event_with_its_age_and_place() -> None:
    """Adds, a cancel, executions and a hidden one, each with what it met."""
    tape = tape_by_hand()

    assert 10.0 == tape.duration
    assert [0, 0, 0, 0, 2, 2, 1, 2, 3, 0] == tape.kind.tolist()
    ages = tape.age[[4, 5, 6, 7]].tolist()
    assert [4.0, 4.0, 5.0, 4.0] == ages
    assert [-2.0, 1.0] == tape.placed[[2, 3]].tolist()
    assert [False, True, True] == tape.ended[[4, 5, 6]].tolist()


def test_executions_of_one_time_and_side_are_one_aggressor() -> None:
    """Three buyers, of 20, 1 and 7 lots, the last of them hidden."""
    took = aggressors(tape_by_hand())

    assert [1.0, 1.0, 1.0] == took.sign.tolist()
    assert [20.0, 1.0, 7.0] == took.lots.tolist()
    assert [0.0, 0.0, 7.0] == took.hidden_lots.tolist()


def test_figures_of_the_tape() -> None:
    """Rates, spread, lifetimes, places and sizes as counted by hand."""
    found = flatten(measure(tape_by_hand()))

    assert 0.5 == found["events_per_s.add"]
    assert 0.1 == found["events_per_s.cancel"]
    assert 0.3 == found["events_per_s.exec"]
    assert 0.1 == found["events_per_s.hidden_exec"]
    assert 0.2 == found["cancel_to_add"]
    assert 0.3 == found["aggressive_orders_per_s"]
    # 4 ticks for 1 s, 2 for 3 s, 3 for 2 s, and 5 for 4 s
    assert (4 + 6 + 6 + 20) / 10 == pytest.approx(found["spread_ticks_timeweighted.mean"])
    assert 0.3 == pytest.approx(found["spread_ticks_timeweighted.p2"])
    assert 5.0 == found["lifetime_cancel_s.0.5"]
    assert 4.0 == found["lifetime_fill_s.0.5"]
    assert 0.2 == found["add_distance_from_own_best.inside(<0)"]
    assert 20.0 == found["order_size.0.5"]
    assert 0.4 == found["order_size_mode_share"]


def test_mids_are_those_in_force() -> None:
    """After the order inside, after the ask went, after that order was cancelled."""
    tape = tape_by_hand()
    at = np.array([0.5, 1.0, 4.0, 6.0, 10.0])

    assert [100.0, 101.0, 101.5, 100.5, 100.5] == mids(tape, at).tolist()


def test_autocorrelation_waits_and_counts() -> None:
    """Of an alternating series -1; of even waits no variation; of one burst its counts' Fano."""
    assert -1.0 == autocorrelation(np.array([1.0, -1.0] * 4), 1)
    assert math.isnan(autocorrelation(np.ones(5), 1))
    assert 0.0 == interarrivals(np.arange(5.0))["cv"]
    # counts 4, 0, 0, 0: variance 3, mean 1
    assert 3.0 == fano(np.full(4, 0.5), 4.0)


def test_what_cannot_be_measured_is_refused() -> None:
    """No trades, and messages that are no feed."""
    quiet = [row(1.0, 1, Action.FEED_ADD, 1, 9, 1), row(1.0, 2, Action.FEED_ADD, 1, 11, -1)]
    quiet.append(row(2.0, 3, Action.FEED_ADD, 1, 8, 1))
    tape = make_tape(np.array(quiet, MESSAGE_DTYPE), SHARE, skip_seconds=0.0)
    with pytest.raises(InvalidInput, match="0 aggressive orders"):
        measure(tape)
    command = np.array([row(1.0, 1, Action.SUBMIT, 1, 9, 1)], MESSAGE_DTYPE)
    with pytest.raises(InvalidInput, match="allowed: feed messages"):
        make_tape(command, SHARE)


def test_orders_of_a_snapshot_have_no_age() -> None:
    """They were there before; how long is not known."""
    first = np.array(
        [row(1.0, 1, Action.FEED_ADD, 5, 9, 1), row(1.0, 2, Action.FEED_ADD, 5, 11, -1)],
        MESSAGE_DTYPE,
    )
    first["flags"] |= Flag.SNAPSHOT.value
    later = np.array(
        [row(2.0, 3, Action.FEED_ADD, 5, 8, 1), row(3.0, 1, Action.FEED_DELETE, 0)], MESSAGE_DTYPE
    )
    tape = make_tape(np.concatenate([first, later]), SHARE, skip_seconds=0.0)

    assert [Kind.ADD, Kind.CANCEL] == tape.kind.tolist()
    assert math.isnan(tape.age[1])


def test_the_measures_of_the_market_are_the_targets(market_data: Path) -> None:
    """Of the AAPL hour all but the book's shape, the depth and one estimator agree within 1 %."""
    wanted = flatten(json.loads((market_data / "fidelity_targets.json").read_text())["AAPL"])
    market = load_market(market_data / AAPL, progress=lambda _: None)
    found = flatten(measure(make_tape(market.messages, market.instrument, market.hidden)))

    shape = ("book_shape", "ofi_10s.avg", "ofi_10s.inv", "mid_return.1.acf1")
    for name, value in wanted.items():
        loose = 0.15 if name.startswith(shape) else 0.01
        assert value == pytest.approx(found[name], rel=loose, abs=1e-6), name
