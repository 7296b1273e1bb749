"""`touchstone calibrate` fits a file, writes what the simulator loads, refuses what is small."""

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from execution_providers import BarData, MarketState, Order, create_execution_provider
from lob.calibration.moments import draw_flow
from lob.clustered_flow import load_profile
from lob.config import L3ExecutionConfig
from lob.feeds.arrays import TapeFeed
from lob.feeds.writers import convert
from lob.types import AssetClass, Instrument, Side
from touchstone.cli import calibrate

app = typer.Typer(pretty_exceptions_enable=False)
app.command("calibrate")(calibrate.calibrate)
runner = CliRunner()
SHARE = Instrument(
    symbol="MADE", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
AAPL = "lobster/AAPL_2012-06-21_34200000_37800000_message_50.csv"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight minutes of synthetic flow as Databento's messages, received 200 us later on average."""
    profile = replace(load_profile(), warm_up_seconds=30.0)
    drawn = draw_flow(profile, SHARE, seconds=480.0, mid_ticks=50_000, seed=3)
    path = tmp_path_factory.mktemp("market") / "MADE.mbo.csv"
    drawn.feed["ts_event_ns"] += 1_700_000_000_000_000_000
    late = np.random.default_rng(1).gamma(4.0, 50_000.0, len(drawn.feed)).astype(np.int64)
    feed = TapeFeed(drawn.feed, SHARE, ts_recv_ns=drawn.feed["ts_event_ns"] + late)
    convert(feed, path)
    return path


def asked(*arguments: object, code: int = 0) -> dict[str, Any]:
    """Run the command with --json and return its document."""
    result = runner.invoke(app, [*map(str, arguments), "--json"])
    assert code == result.exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def options() -> list[str]:
    """Return what the file does not say of its scale, and no search."""
    return ["--tick-size", "0.01", "--lot-size", "1", "--symbol", "MADE", "--evaluations", "0"]


def test_the_document_has_every_fit_with_its_goodness(market: Path) -> None:
    """Rates and their tests, excitation, impact with errors, latency, and what is not known."""
    found = asked(market, *options())

    assert {"value", "error", "r2", "n"} == set(found["impact"]["gamma"])
    assert found["rates"]["limits"]["poisson_test"]["p_value"] < 0.01
    assert 0 < found["arrivals"]["limits"]["residual_test"]["statistic"] < 1
    assert 0 < found["generator"]["branching_ratio"] < 1
    assert 200.0 == pytest.approx(found["latency"]["feed_us"], rel=0.05)
    assert 0.5 == pytest.approx(found["latency"]["cv"], rel=0.1)
    assert "gamma" == found["latency"]["distribution"]
    assert found["hidden"] is None
    assert "hidden_liquidity.parameters" in found["unknown"]
    assert "latency.order_us, exchange_us, fill_us" in found["unknown"]
    assert {} == found["written"]


def test_the_file_written_loads_and_is_written_back_the_same(market: Path, tmp_path: Path) -> None:
    """Load, write, load: equal; and it has what the document says."""
    path, again = tmp_path / "calibrated.yaml", tmp_path / "again.yaml"
    found = asked(market, "--out", path, *options())

    loaded = L3ExecutionConfig.from_yaml(path)
    loaded.to_yaml(again)
    assert loaded == L3ExecutionConfig.from_yaml(again)
    assert found["config"] == loaded.model_dump(mode="json")
    rate = found["rates"]["limits"]["per_second"]
    assert rate == pytest.approx(loaded.lob_data.limits_per_second, rel=1e-5)
    assert found["latency"]["feed_us"] == pytest.approx(loaded.latency.feed_us, rel=1e-5)
    assert {"config": str(path)} == found["written"]


def executed(config: L3ExecutionConfig) -> Mapping[str, object]:
    """Return the attribution of one order under a configuration."""
    provider = create_execution_provider("EQUITY", level="L3", config=config, seed=5)
    market = MarketState(
        timestamp_ms=1,
        bids=((Decimal("499.98"), Decimal(300)), (Decimal("499.95"), Decimal(500))),
        asks=((Decimal("500.02"), Decimal(300)), (Decimal("500.05"), Decimal(500))),
    )
    bar = BarData(
        open=Decimal(500),
        high=Decimal(501),
        low=Decimal(499),
        close=Decimal(500),
        volume=Decimal(20_000),
        duration_ms=60_000,
    )
    order = Order("MADE", Side.BUY, Decimal(400))
    fill = provider.execute(order, market, bar)
    assert fill is not None
    return {"fill": str(fill)}


def test_the_loaded_configuration_changes_what_the_provider_does(
    market: Path, tmp_path: Path
) -> None:
    """The same order and seed cost something else than with the preset it came from."""
    path = tmp_path / "calibrated.yaml"
    asked(market, "--out", path, *options())

    loaded = L3ExecutionConfig.from_yaml(path)
    assert executed(loaded) == executed(L3ExecutionConfig.from_yaml(path))
    assert executed(L3ExecutionConfig()) != executed(loaded)


def test_the_profile_written_is_the_generators(market: Path, tmp_path: Path) -> None:
    """It loads, and another seed of the search is another profile."""
    profiles = []
    for seed in (1, 2):
        path = tmp_path / f"{seed}.json"
        asked(market, "--profile", path, *options()[:-1], "2", "--seed", seed)
        profiles.append(load_profile(path))
    assert profiles[0] != load_profile()
    assert profiles[0].branching_ratio < 1


def test_the_text_says_the_same(market: Path) -> None:
    """Lines for a person: rates, impact, what is not to be known."""
    result = runner.invoke(app, [str(market), *options()])

    assert 0 == result.exit_code, result.output
    for part in ("limit orders", "gamma", "R2", "KS", "not to be known", "latency: feed"):
        assert part in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "/none/there.yaml"], "allowed: a file in a folder that exists"),
        (["--preset", "none"], "preset: 'none'; allowed: equity"),
        (["--day-hours", "0"], "0.01"),
    ],
)
def test_what_cannot_be_is_refused(market: Path, arguments: list[str], said: str) -> None:
    """Exit code 2 and one line."""
    result = runner.invoke(app, [str(market), *options(), *arguments])
    assert 2 == result.exit_code
    assert said in result.output


def test_a_preset_that_is_not_known_is_refused_before_the_fits(
    market: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits minutes for that."""
    monkeypatch.setattr(calibrate, "_fitted", lambda *_: pytest.fail("it was fitted first"))
    result = runner.invoke(app, [str(market), *options(), "--preset", "none"])
    assert 2 == result.exit_code, result.output


def test_a_lobster_file_has_the_symbol_and_the_tick_that_are_told(tmp_path: Path) -> None:
    """Half the tick is twice the distance; the name is the one asked for."""
    profile = replace(load_profile(), warm_up_seconds=30.0)
    drawn = draw_flow(profile, SHARE, seconds=400.0, mid_ticks=50_000, seed=3)
    path = tmp_path / "MADE_message.csv"
    convert(TapeFeed(drawn.feed, SHARE), path, format="lobster")
    own = asked(path, "--evaluations", "0")
    told = asked(path, "--evaluations", "0", "--symbol", "OTHER", "--tick-size", "0.005")
    assert own["market"].startswith("MADE ")
    assert told["market"].startswith("OTHER ")
    distances = [one["rates"]["distance_ticks"] for one in (own, told)]
    assert 2 * distances[0] == pytest.approx(distances[1])


def test_a_market_too_small_says_what_is_missing(tmp_path: Path) -> None:
    """A handful of orders is no market to fit."""
    path = tmp_path / "AAPL_m.csv"
    path.write_text("1,1,7,3,1010000,-1\n50,1,100,5,1000000,1\n90,4,7,1,1010000,-1\n")
    result = runner.invoke(app, [str(path), "--json"])
    assert 2 == result.exit_code
    assert "allowed: " in result.output
    assert "cancels" in result.output or "limit orders" in result.output


def test_the_aapl_hour_is_calibrated(market_data: Path, tmp_path: Path) -> None:
    """Rates as counted, hidden orders as the feed names them, significant impact."""
    path = tmp_path / "calibrated.yaml"
    found = asked(market_data / AAPL, "--out", path, "--evaluations", "0")

    assert 12.24 == pytest.approx(found["rates"]["limits"]["per_second"], abs=0.01)
    assert 0.34 == pytest.approx(found["hidden"]["share_of_lots"], abs=0.01)
    assert found["hidden"]["brier"] < found["hidden"]["brier_constant"]
    assert 2 * found["impact"]["gamma"]["error"] < found["impact"]["gamma"]["value"]
    loaded = L3ExecutionConfig.from_yaml(path)
    assert loaded.hidden_liquidity.enabled
    assert loaded.market_impact.enabled
