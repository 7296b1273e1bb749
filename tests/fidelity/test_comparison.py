"""The same orders go through L2 and L3, at moments of a market that are what they say."""

import itertools
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from execution_providers import AssetClass
from lob.errors import InvalidInput
from lob.messages import MESSAGE_DTYPE, Action
from lob.types import Instrument
from touchstone.cli import report
from touchstone.fidelity.comparison import KINDS, SIZES, compare
from touchstone.fidelity.comparison_page import figures, html_page, lines_of
from touchstone.fidelity.market import Market, make_market
from touchstone.fidelity.scenes import BAR_SECONDS, LEVELS, generated_scenes, market_scenes

app = typer.Typer(pretty_exceptions_enable=False)
app.command("report")(report.report)
runner = CliRunner()

SECOND = 1_000_000_000


def silent(_: str) -> None:
    """Show no progress."""


def small_market(seconds: int = 100) -> Market:
    """Return a market of two deep sides where, every second, one lot trades at the ask."""
    rows = [(0, Action.FEED_ADD, -1, 100 + level, 1_000, 1 + level) for level in range(12)]
    rows += [(0, Action.FEED_ADD, 1, 99 - level, 1_000, 101 + level) for level in range(12)]
    rows += [(t * SECOND, Action.FEED_EXECUTE, -1, 100, 1, 1) for t in range(1, seconds)]
    messages = np.zeros(len(rows), MESSAGE_DTYPE)
    for place, (time, action, side, price, lots, order_id) in enumerate(rows):
        messages[place]["ts_event_ns"] = time
        messages[place]["action"] = action
        messages[place]["side"] = side
        messages[place]["price_ticks"] = price
        messages[place]["quantity_lots"] = lots
        messages[place]["order_id"] = order_id
    share = Instrument(
        symbol="AAA",
        asset_class=AssetClass.EQUITY,
        tick_size=Decimal("0.01"),
        lot_size=Decimal(1),
    )
    return make_market("AAA", share, messages)


def test_generated_scenes_repeat() -> None:
    """The same seed gives the same scenes, another gives others, each with two sides."""
    found = generated_scenes(20, seed=3)
    assert found == generated_scenes(20, seed=3)
    assert found != generated_scenes(20, seed=4)
    assert 20 == len(found.scenes)
    for scene in found.scenes:
        assert scene.market.bids[0][0] < scene.market.asks[0][0]
        assert len(scene.market.bids) <= LEVELS
        assert scene.bar.low <= scene.bar.close <= scene.bar.high


def test_scenes_of_a_market_have_its_volume() -> None:
    """One lot a second trades: every bar of ten seconds has ten."""
    found = market_scenes(small_market(), 4, silent)
    assert 4 == len(found.scenes)
    assert [Decimal(10)] * 4 == [scene.bar.volume for scene in found.scenes]
    times = [scene.market.timestamp_ms for scene in found.scenes]
    assert all(after - before >= BAR_SECONDS * 1_000 for before, after in itertools.pairwise(times))
    assert {Decimal("0.995")} == {scene.market.last_price for scene in found.scenes}


def test_a_market_too_short_is_refused() -> None:
    """Less than one bar is no market to try orders on."""
    with pytest.raises(InvalidInput, match=r"^market: .* s; allowed: above 10 s"):
        market_scenes(small_market(8), 4, silent)


def test_both_levels_get_the_same_orders() -> None:
    """Every scene tries each kind and size once; figures are of the orders they name."""
    found = compare(generated_scenes(12, seed=1), progress=silent, seed=1, clock=lambda: 0.0)

    assert 12 * len(KINDS) * len(SIZES) == len(found.tried)
    assert len(KINDS) * len(SIZES) == len(found.groups)
    for group in found.groups:
        own = [one for one in found.tried if (one.kind, one.size) == (group.kind, group.size)]
        assert 12 == group.orders == len(own)
        assert group.fill_rate[1] == pytest.approx(sum(one.filled[1] for one in own) / 12)
        gaps = [
            one.slippage_bps[1] - one.slippage_bps[0]
            for one in own
            if one.slippage_bps[0] is not None and one.slippage_bps[1] is not None
        ]
        assert group.both_filled == len(gaps)
        if gaps:
            rmse = (sum(gap**2 for gap in gaps) / len(gaps)) ** 0.5
            assert group.rmse_bps == pytest.approx(rmse)
    assert {"BUY", "SELL"} == {one.side for one in found.tried}
    again = compare(generated_scenes(12, seed=1), progress=silent, seed=1, clock=lambda: 0.0)
    assert found == again


def test_the_page_and_the_lines() -> None:
    """The page has every plot and the examples' attribution; the lines have every group."""
    found = compare(generated_scenes(10), progress=silent)
    text = html_page(found)
    assert len(figures(found)) == text.count("<svg ")
    assert "reference_price" in text
    assert "<script" not in text
    assert len(found.groups) + 3 == len(list(lines_of(found)))
    json.dumps(found.to_json(), default=str, allow_nan=False)


def test_the_command(tmp_path: Path) -> None:
    """A page and JSON of generated flow; a folder without a market is refused."""
    page = tmp_path / "report.html"
    done = runner.invoke(app, ["--scenes", "6", "--json", "--out", str(page)])
    assert 0 == done.exit_code
    document = json.loads(done.stdout)
    assert (6, 36) == (document["scenes"], document["orders"])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert 2 == runner.invoke(app, ["--data", str(tmp_path)]).exit_code
    assert 2 == runner.invoke(app, ["--data", str(tmp_path / "none.csv")]).exit_code
    assert 2 == runner.invoke(app, ["--scenes", "0"]).exit_code


def test_a_real_hour(market_data: Path) -> None:
    """Orders are tried at moments of a real market: market orders fill and cost."""
    name = "AAPL_2012-06-21_34200000_37800000_message_50.csv"
    done = runner.invoke(
        app, ["--data", str(market_data / "lobster" / name), "--scenes", "5", "--json"]
    )
    assert 0 == done.exit_code
    groups = json.loads(done.stdout)["groups"]
    small = next(group for group in groups if group["type"] == "MARKET" and group["size"] == 0.5)
    assert {"L2": 1.0, "L3": 1.0} == small["fill_rate"]
    assert small["slippage_bps"]["L3"]["mean"] > 0
