"""The part of realism: targets are read and checked, every figure is compared, none is hidden."""

import json
import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from lob.calibration.measures import flatten, measure
from lob.calibration.moments import draw_flow
from lob.calibration.tape import make_tape
from lob.clustered_flow import load_profile
from lob.errors import InvalidInput
from lob.types import AssetClass, Instrument
from touchstone.fidelity import realism
from touchstone.fidelity.market import Market, make_market
from touchstone.fidelity.realism import Compared, read_targets, standard_errors

SHARE = Instrument(
    symbol="MADE", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)


@pytest.fixture(scope="module")
def market() -> Market:
    """Seven minutes of the shipped profile's flow as a market."""
    profile = replace(load_profile(), warm_up_seconds=30.0)
    drawn = draw_flow(profile, SHARE, seconds=420.0, mid_ticks=50_000, seed=2)
    return make_market("made", SHARE, drawn.feed, drawn.hidden)


def quiet(_: str) -> None:
    """Say nothing of the progress."""


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the generator be tuned and drawn for a moment only."""
    monkeypatch.setattr(realism, "EVALUATIONS", 2)
    monkeypatch.setattr(realism, "HALF_EVALUATIONS", 1)
    monkeypatch.setattr(realism, "_HALF_SPAN", 30.0)
    monkeypatch.setattr(realism, "_FLOW_SECONDS", 120.0)


def test_every_target_is_in_the_table(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own figures as targets the first check holds, and the table has all of them."""
    few(monkeypatch)
    tape = make_tape(market.messages, SHARE, market.hidden)
    figures = measure(tape)
    (tmp_path / realism.FILE).write_text(json.dumps({"MADE": figures}))

    found = realism.measure([market], tmp_path, progress=quiet)

    assert found.checks[0].holds
    table = next(one for one in found.tables if "against targets" in one.title)
    assert list(flatten(figures)) == [line[0] for line in table.rows]
    met = sum(line[4] == "yes" for line in table.rows)
    assert met == found.checks[1].measured
    assert any("first half" in one.title for one in found.tables)
    assert 4 == len(found.figures)
    json.dumps(found.to_json(), allow_nan=False)


def test_targets_that_are_not_ours_fail(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure that the file does not have is named with both values."""
    few(monkeypatch)
    figures = measure(make_tape(market.messages, SHARE, market.hidden))
    figures["cancel_to_add"] *= 1.5
    (tmp_path / realism.FILE).write_text(json.dumps({"MADE": figures}))

    found = realism.measure([market], tmp_path, progress=quiet)

    assert not found.checks[0].holds
    assert 1 == found.checks[0].measured
    assert ["cancel_to_add"] == [line[0] for line in found.tables[0].rows]


def test_a_ratio_is_met_within_a_quarter() -> None:
    """On both sides; a target of 0 never; noise is said apart."""
    assert Compared("a", 4.0, 5.0, math.nan).met
    assert not Compared("a", 4.0, 5.1, math.nan).met
    assert Compared("a", 4.0, 3.0, math.nan).met
    assert not Compared("a", 0.0, 0.1, 0.01).met
    assert Compared("a", 0.0, 0.1, 0.06).within_noise
    assert not Compared("a", 0.0, 0.1, math.nan).within_noise


def test_errors_are_those_of_as_many_returns(market: Market) -> None:
    """1/sqrt(n) of autocorrelations, sqrt(24/n) of kurtosis."""
    tape = make_tape(market.messages, SHARE, market.hidden)
    errors = standard_errors(tape)
    count = tape.duration / 10
    assert 1 / math.sqrt(count) == pytest.approx(errors["mid_return.10.acf1"])
    assert math.sqrt(24 / count) == pytest.approx(errors["mid_return.10.ex_kurt"])


def test_targets_are_read_or_refused(tmp_path: Path) -> None:
    """No file, no targets; a file that says none is an error that names it."""
    assert {} == read_targets(None)
    assert {} == read_targets(tmp_path)
    for text in ("{", '["AAPL"]', '{"AAPL": 1}'):
        (tmp_path / realism.FILE).write_text(text)
        with pytest.raises(InvalidInput, match=r"fidelity_targets\.json"):
            read_targets(tmp_path)


def test_a_market_of_nothing_is_said_to_be_unmeasured(market: Market) -> None:
    """Too few orders are no realism; alone they are an error."""
    small = make_market("small", SHARE, market.messages[:200])
    with pytest.raises(InvalidInput, match="none that a generator can be fitted to"):
        realism.measure([small], progress=quiet)
