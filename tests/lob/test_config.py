"""The configuration file loads, round-trips, and refuses in one clear line."""

from pathlib import Path

import pytest

from lob.book import OrderBook
from lob.clock import ManualClock
from lob.config import L3ExecutionConfig, create_l3_config
from lob.errors import ConfigError, InvalidInput, Overloaded
from lob.flow import FlowProfile
from lob.latency import Component
from lob.types import Side, Submit


def test_the_shipped_file_is_the_defaults(root: Path) -> None:
    """configs/execution_l3.yaml loads, and says what the code would do without it."""
    shipped = L3ExecutionConfig.from_yaml(root / "configs" / "execution_l3.yaml")

    assert L3ExecutionConfig() == shipped
    assert FlowProfile() == shipped.lob_data.profile()


@pytest.mark.parametrize("preset", ["equity", "equity_hft", "equity_retail", "crypto", "minimal"])
def test_every_preset_goes_to_yaml_and_back(tmp_path: Path, preset: str) -> None:
    """What is written is read back equal."""
    config = create_l3_config(preset)
    config.to_yaml(tmp_path / "l3.yaml")

    assert config == L3ExecutionConfig.from_yaml(tmp_path / "l3.yaml")


def test_the_guides_settings_work() -> None:
    """The assignments of the deployment guide are taken and checked."""
    config = create_l3_config("equity")

    config.queue_tracking.max_tracked_orders = 5000
    config.dark_pools.max_history_size = 500
    config.latency.enabled = False

    assert 5000 == config.queue_tracking.max_tracked_orders
    assert 0 == config.latency.model(seed=1).round_trip_ns()


def test_overrides_are_deep() -> None:
    """An override changes its own key and leaves its neighbours."""
    config = create_l3_config("equity_hft", latency={"cv": 0.1}, enabled=False)

    assert ("colocated", 0.1) == (config.latency.profile, config.latency.cv)
    assert not config.enabled


def test_every_latency_key_is_read() -> None:
    """Each key of the section reaches the model."""
    config = create_l3_config(
        "equity",
        latency={
            "profile": "retail",
            "distribution": "constant",
            "spike_probability": 1.0,
            "spike_multiplier": 2.0,
            "hour_multipliers": [1.0] * 9 + [3.0] + [1.0] * 14,
            "volatility_sensitivity": 1.0,
            "max_us": 50_000.0,
            "min_us": 40_000.0,
        },
    )
    model = config.latency.model(seed=1)

    assert 40_000_000 == model.draw_ns(Component.ORDER)
    assert 50_000_000 == model.draw_ns(Component.ORDER, 9 * 3_600_000_000_000)
    assert 50_000_000 == model.draw_ns(Component.ORDER, 0, volatility_ratio=3.0)


def test_the_engines_limits_are_read() -> None:
    """max_tracked_orders and max_events bound the engine that the config builds."""
    config = create_l3_config(
        "minimal", queue_tracking={"max_tracked_orders": 1}, event_scheduling={"max_events": 2}
    )
    engine = config.engine(OrderBook(), ManualClock(), seed=1)
    engine.send(Submit(1, Side.BUY, 1, 99))

    with pytest.raises(Overloaded, match="tracked orders: full with 1"):
        engine.send(Submit(2, Side.BUY, 1, 99))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"market_impact": {"enabled": True}},
            "market_impact.enabled: True is not implemented in this version; allowed: false",
        ),
        (
            {"dark_pools": {"enabled": True}},
            "dark_pools.enabled: True is not implemented in this version; allowed: false",
        ),
        ({"latency": {"foo": 1}}, "latency.foo: unknown key"),
        ({"foo": 1}, "foo: unknown key"),
        (
            {"latency": {"profile": "moon"}},
            "latency.profile: 'moon'; allowed: colocated, proximity, institutional, retail",
        ),
        (
            {"queue_tracking": {"max_tracked_orders": 0}},
            "queue_tracking.max_tracked_orders: 0; input should be greater than or equal to 1",
        ),
        (
            {"latency": {"hour_multipliers": [1.0]}},
            "latency.hour_multipliers: 1 values; allowed: 24",
        ),
        ({"latency": {"cv": float("nan")}}, "latency.cv: nan; "),
        ({"latency": {"distribution": "uniform", "cv": 0.9}}, "latency.cv: 0.9; allowed: at most"),
        ({"latency": 3}, "latency: 3; "),
    ],
)
def test_mistakes_are_one_line(overrides: dict[str, object], message: str) -> None:
    """Key, value and what is allowed, in one line."""
    with pytest.raises(ConfigError) as caught:
        create_l3_config("equity", **overrides)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_refused_assignment_changes_nothing() -> None:
    """Assignments are checked like files, and an unknown name is refused."""
    config = create_l3_config("equity")

    with pytest.raises(ConfigError, match=r"^market_impact\.enabled: True is not implemented"):
        config.market_impact.enabled = True
    with pytest.raises(ConfigError, match=r"^latency\.hour_multipliers: 1 values"):
        config.latency.hour_multipliers = (1.0,)
    with pytest.raises(ConfigError, match=r"^latency\.typo: unknown key"):
        config.latency.typo = 1
    assert create_l3_config("equity") == config


def test_an_unknown_preset_lists_the_known() -> None:
    """The error names them all."""
    with pytest.raises(ConfigError, match="'x'; allowed: equity, equity_hft, equity_retail"):
        create_l3_config("x")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- 1\n",
        "",
        "enabled: true\nenabled: false\n",
        "1: 2\n",
        "latency: {profil: retail}\n",
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    """Broken YAML, another shape, duplicate keys and unknown keys name the file in one line."""
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        L3ExecutionConfig.from_yaml(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that is not there is a ConfigError, which is an InvalidInput."""
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml"):
        L3ExecutionConfig.from_yaml(tmp_path / "nowhere.yaml")
