"""The configuration file loads, round-trips, and refuses in one clear line."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lob.book import OrderBook
from lob.clock import ManualClock
from lob.config import Decay, ImpactKind, L3ExecutionConfig, create_l3_config
from lob.errors import ConfigError, InvalidInput, Overloaded
from lob.flow import FlowProfile
from lob.impact import ImpactMarket
from lob.latency import Component
from lob.types import Side, Submit


def test_the_shipped_file_is_the_defaults(root: Path) -> None:
    """configs/execution_l3.yaml loads, and says what the code would do without it."""
    shipped = L3ExecutionConfig.from_yaml(root / "configs" / "execution_l3.yaml")

    assert L3ExecutionConfig() == shipped
    assert FlowProfile() == shipped.lob_data.profile()


def test_the_shipped_file_has_every_key(root: Path) -> None:
    """Nothing is left to a default that the file does not show, down to each venue's keys."""
    text = (root / "configs" / "execution_l3.yaml").read_text("utf-8")
    shown = YAML(typ="safe").load(text)
    everything = L3ExecutionConfig().model_dump(mode="json")

    assert _keys(everything) == _keys(shown)


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _keys(below) for name, below in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_keys(below) for below in value]
    return None


@pytest.mark.parametrize(
    "preset", ["equity", "equity_hft", "equity_retail", "crypto", "minimal", "full"]
)
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


def test_a_legs_own_mean_takes_the_profiles_place() -> None:
    """order_us is the order's leg, and the others stay what the profile says."""
    config = create_l3_config("equity", latency={"distribution": "constant", "order_us": 7.0})
    model = config.latency.model(seed=1)

    assert (7_000, 100_000) == (
        model.draw_ns(Component.ORDER),
        model.draw_ns(Component.EXCHANGE),
    )


def test_variables_of_the_environment_override_keys() -> None:
    """A variable names a key by its sections; what is no key of ours is left alone."""
    config = create_l3_config("crypto")
    changed = config.overridden(
        {
            "TOUCHSTONE_L3__LATENCY__PROFILE": "retail",
            "TOUCHSTONE_L3__ENABLED": "false",
            "TOUCHSTONE_L3__DARK_POOLS__VENUES": "[{name: A, type: BLOCK_POOL}]",
            "TOUCHSTONE_SIMULATOR_PORT": "1",
        }
    )

    assert ("retail", False) == (changed.latency.profile, changed.enabled)
    assert [("A", 100_000.0)] == [(v.name, v.max_quantity) for v in changed.dark_pools.venues]
    assert "gamma" == changed.latency.distribution
    assert create_l3_config("crypto") == config


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TOUCHSTONE_L3__DARK", "1", "TOUCHSTONE_L3__DARK: dark: unknown key"),
        ("TOUCHSTONE_L3__LATENCY__CV", "x", "TOUCHSTONE_L3__LATENCY__CV: latency.cv: 'x'; "),
        ("TOUCHSTONE_L3__LATENCY", "[", "TOUCHSTONE_L3__LATENCY: "),
        ("TOUCHSTONE_L3__LATENCY__CV__X", "1", "TOUCHSTONE_L3__LATENCY__CV__X: latency.cv: "),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, message: str) -> None:
    """The refusal starts with the variable, in one line."""
    with pytest.raises(ConfigError) as caught:
        create_l3_config("equity").overridden({name: value})

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_file_is_overridden_by_the_environment(root: Path) -> None:
    """The mapping is given, never looked up: without it the file alone counts."""
    path = root / "configs" / "execution_l3.yaml"
    variables = {"TOUCHSTONE_L3__MARKET_IMPACT__ENABLED": "true"}

    assert L3ExecutionConfig.from_yaml(path, variables).market_impact.enabled
    assert not L3ExecutionConfig.from_yaml(path).market_impact.enabled


def test_a_venue_is_what_is_usual_for_its_type() -> None:
    """What an entry leaves out its type says; what it has stays."""
    made = create_l3_config(
        "minimal", dark_pools={"venues": [{"name": "A", "type": "BLOCK_POOL", "latency_us": 3}]}
    )
    (venue,) = made.dark_pools.venues

    assert (1_000.0, 100_000.0, 3.0) == (venue.min_quantity, venue.max_quantity, venue.latency_us)


def test_every_impact_model_can_be_had() -> None:
    """Each model is made with the section's coefficients, and fades as the section says."""
    for kind in ImpactKind:
        section = create_l3_config(
            "crypto", market_impact={"model": kind, "kyle_lambda": 0.1, "book_density": 9.0}
        ).market_impact
        about = ImpactMarket(adv_quantity=1e6, volatility=0.02, mid_price=100.0)
        assert section.impact_model().impact(1_000.0, about).total_bps > 0
        assert 1.0 == pytest.approx(float(section.kernel().value(0.0)))
    section.decay = Decay.POWER_LAW
    assert 2**-1.2 == pytest.approx(float(section.kernel().value(60.0)))


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
            {"market_impact": {"model": "kyle"}},
            "market_impact.kyle_lambda: None; allowed with the model kyle: a number above 0",
        ),
        (
            {"market_impact": {"composite_weights": {"composite": 1.0}}},
            "market_impact.composite_weights: 'composite'; allowed: almgren_chriss, ",
        ),
        (
            {"dark_pools": {"venues": [{"name": "A"}, {"name": "A"}]}},
            "dark_pools.venues: 'A' twice; allowed: names that differ",
        ),
        ({"dark_pools": {"venues": [{"name": "A", "size": 1}]}}, "dark_pools.venues.size: unknown"),
        (
            {"dark_pools": {"venues": [{"name": "A", "max_quantity": 0.5}]}},
            "dark_pools.venues.max_quantity: 0.5; allowed: min_quantity 1 or more",
        ),
        (
            {"hidden_liquidity": {"refill_within_s": 90.0}},
            "hidden_liquidity.refill_within_s, in nanoseconds: 90000000000; allowed: a whole",
        ),
        ({"fill_probability": {"model": "hazard"}}, "fill_probability.parameters.hazard: no key"),
        (
            {"fill_probability": {"parameters": {"speed": 1}}},
            "fill_probability.parameters.poisson: 'speed'; allowed: ",
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

    with pytest.raises(ConfigError, match=r"^market_impact\.kyle_lambda: None; allowed with"):
        config.market_impact.model = ImpactKind.KYLE
    with pytest.raises(ConfigError, match=r"^dark_pools\.venues\.max_quantity: 0\.1; allowed"):
        config.dark_pools.venues[0].max_quantity = 0.1
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
