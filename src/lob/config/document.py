"""The whole configuration: from a mapping, a file, the environment, or a preset with changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lob.book import OrderBook
from lob.clock import ManualClock
from lob.config.engine_sections import (
    EventSchedulingConfig,
    LatencyConfig,
    LobDataConfig,
    QueueTrackingConfig,
)
from lob.config.forecast_sections import FillProbabilityConfig, QueueValueConfig
from lob.config.impact_section import MarketImpactConfig
from lob.config.liquidity_sections import DarkPoolsConfig, HiddenLiquidityConfig
from lob.config.section import Section, one_line
from lob.engine import Background, MatchingEngine
from lob.errors import ConfigError

ENVIRONMENT_PREFIX: Final = "TOUCHSTONE_L3__"
"""What the name of a variable starts with that overrides a key: `TOUCHSTONE_L3__LATENCY__CV`."""
_BETWEEN_KEYS: Final = "__"


class L3ExecutionConfig(Section):
    """Configure the L3 simulator; with `enabled: false` at the root it refuses to act.

    >>> config = create_l3_config("minimal", queue_tracking={"max_tracked_orders": 5000})
    >>> config.latency.enabled, config.queue_tracking.max_tracked_orders
    (False, 5000)
    """

    enabled: bool = True
    lob_data: LobDataConfig = Field(default_factory=LobDataConfig)
    latency: LatencyConfig = Field(default_factory=LatencyConfig)
    fill_probability: FillProbabilityConfig = Field(default_factory=FillProbabilityConfig)
    queue_value: QueueValueConfig = Field(default_factory=QueueValueConfig)
    market_impact: MarketImpactConfig = Field(default_factory=MarketImpactConfig)
    hidden_liquidity: HiddenLiquidityConfig = Field(default_factory=HiddenLiquidityConfig)
    dark_pools: DarkPoolsConfig = Field(default_factory=DarkPoolsConfig)
    queue_tracking: QueueTrackingConfig = Field(default_factory=QueueTrackingConfig)
    event_scheduling: EventSchedulingConfig = Field(default_factory=EventSchedulingConfig)

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any]) -> "L3ExecutionConfig":
        """Return the configuration in a mapping of plain values."""
        try:
            return cls.model_validate(dict(document))
        except ValidationError as error:
            raise ConfigError(one_line(error)) from error

    @classmethod
    def from_yaml(
        cls, path: str | Path, environ: Mapping[str, str] | None = None
    ) -> "L3ExecutionConfig":
        """Return the configuration in a YAML file; `ConfigError` names the file and the key.

        `environ` overrides what the file says, as `overridden` does.
        """
        try:
            document = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise ConfigError(f"{path}: {error}") from error
        if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
            raise ConfigError(f"{path}: {type(document).__name__}; allowed: a mapping of keys")
        try:
            found = cls.from_mapping(document)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        return found if environ is None else found.overridden(environ)

    def overridden(self, environ: Mapping[str, str]) -> "L3ExecutionConfig":
        """Return this configuration with the keys that variables of `environ` name.

        `TOUCHSTONE_L3__LATENCY__PROFILE=retail` is `latency.profile`; the text is read as a value
        of YAML, so that `[..]` and `{..}` make lists and mappings. Other variables are left alone,
        and this configuration stays as it is.

        Raises:
            ConfigError: a key that is not there or a value that is not right; it names the
                variable.

        >>> config = L3ExecutionConfig().overridden({"TOUCHSTONE_L3__LATENCY__PROFILE": "retail"})
        >>> config.latency.profile
        'retail'
        """
        document = self.model_dump(mode="json")
        for name in sorted(environ):
            if not name.startswith(ENVIRONMENT_PREFIX):
                continue
            keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split(_BETWEEN_KEYS)
            try:
                value = YAML(typ="safe").load(environ[name])
                document = merged(document, _nested(keys, value))
                # One by one, so that a refusal names the variable that is wrong.
                type(self).from_mapping(document)
            except (ConfigError, YAMLError) as error:
                raise ConfigError(f"{name}: {error}") from error
        return type(self).from_mapping(document)

    def to_yaml(self, path: str | Path) -> None:
        """Write every key to a YAML file that `from_yaml` reads back as an equal value."""
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        try:
            with Path(path).open("w", encoding="utf-8") as file:
                yaml.dump(self.model_dump(mode="json"), file)
        except OSError as error:
            raise ConfigError(f"{path}: {error}") from error

    def engine(
        self,
        book: OrderBook,
        clock: ManualClock,
        seed: int,
        background: Background | None = None,
    ) -> MatchingEngine:
        """Return a matching engine with this latency and these limits."""
        return MatchingEngine(
            book,
            self.latency.model(seed),
            clock,
            background,
            max_events=self.event_scheduling.max_events,
            max_tracked_orders=self.queue_tracking.max_tracked_orders,
        )


_CRYPTO_IMPACT: Final = {"eta": 0.10, "gamma": 0.05, "tau_s": 60.0, "beta": 1.2, "sigma": 0.05}
# Most crypto venues take no hidden orders, but icebergs.
_CRYPTO_HIDDEN: Final = {"probability": 0.02, "size_ratio": 1.0}
_ON: Final = {"enabled": True}

_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "equity": {"latency": {"profile": "institutional"}},
    "equity_hft": {"latency": {"profile": "colocated"}},
    "equity_retail": {"latency": {"profile": "retail"}},
    "crypto": {
        "latency": {"profile": "proximity", "distribution": "gamma", "cv": 0.5},
        "market_impact": _CRYPTO_IMPACT,
        "hidden_liquidity": _CRYPTO_HIDDEN,
    },
    "minimal": {"latency": {"enabled": False}},
    "full": {
        "latency": {"volatility_sensitivity": 0.5},
        "fill_probability": _ON,
        "queue_value": _ON,
        "market_impact": _ON,
        "hidden_liquidity": _ON,
        "dark_pools": _ON,
    },
}


def create_l3_config(preset: str = "equity", **overrides: Any) -> L3ExecutionConfig:
    """Return a preset, with sections overridden key by key.

    Presets: equity, equity_hft, equity_retail, crypto (latency, crypto's coefficients of impact and
    few hidden orders), minimal (no latency), full (equity with every model on). An override of a
    section is a mapping and changes only the keys it has.
    """
    if preset not in _PRESETS:
        raise ConfigError(f"preset: {preset!r}; allowed: {', '.join(_PRESETS)}")
    return L3ExecutionConfig.from_mapping(merged(_PRESETS[preset], overrides))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the keys of `over`, mappings within mappings key by key."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return value  # type: ignore[no-any-return]
