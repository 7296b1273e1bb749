"""The L3 simulator's configuration: one file, every key read by something, nothing unknown.

Every mistake is a `ConfigError` of one line that names the key, the value and what is allowed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lob.book import OrderBook
from lob.clock import ManualClock
from lob.engine import (
    DEFAULT_MAX_EVENTS,
    DEFAULT_MAX_TRACKED_ORDERS,
    Background,
    MatchingEngine,
)
from lob.errors import ConfigError, InvalidInput
from lob.flow import FlowProfile
from lob.latency import HOURS_PER_DAY, PROFILES_US, Conditions, LatencyModel, Shape


def _one_line(error: ValidationError, prefix: str = "") -> str:
    """Return the first mistake as `key: value; what is allowed`."""
    first = error.errors(include_url=False)[0]
    key = ".".join([*([prefix] if prefix else []), *(str(part) for part in first["loc"])])
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] in ("extra_forbidden", "no_such_attribute"):
        return f"{key}: unknown key"
    if message.startswith("!"):  # the validator has written the whole sentence
        return f"{key}{': ' if first['loc'] else '.'}{message[1:]}"
    return f"{key or 'config'}: {first['input']!r}; {message[0].lower()}{message[1:]}"


class _Section(BaseModel):
    """Refuse unknown keys, check every assignment, and raise `ConfigError` for either."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_one_line(error, _SECTION_NAMES.get(type(self), ""))) from error

    def __setattr__(self, name: str, value: Any) -> None:
        before = dict(self.__dict__)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            # A check of the whole section runs after the value is in: a refusal takes it out again.
            self.__dict__.update(before)
            raise ConfigError(_one_line(error, _SECTION_NAMES.get(type(self), ""))) from error


class LobDataConfig(_Section):
    """How the background market behaves; read by `profile`."""

    limits_per_second: float = Field(default=FlowProfile().limits_per_second, gt=0)
    cancels_per_second: float = Field(default=FlowProfile().cancels_per_second, gt=0)
    markets_per_second: float = Field(default=FlowProfile().markets_per_second, gt=0)
    resting_orders: int = Field(default=FlowProfile().resting_orders, ge=2, le=1_000_000)
    distance_ticks: float = Field(default=FlowProfile().distance_ticks, ge=1)
    order_lots: float = Field(default=FlowProfile().order_lots, ge=1)
    round_lots: int = Field(default=FlowProfile().round_lots, ge=1)
    round_share: float = Field(default=FlowProfile().round_share, gt=0, le=1)

    def profile(self) -> FlowProfile:
        """Return the synthetic flow's rates and sizes."""
        return FlowProfile(**self.model_dump())


class LatencyConfig(_Section):
    """How long messages take, in microseconds; read by `model`.

    `enabled: false` means that nothing takes any time.
    """

    enabled: bool = True
    profile: str = "institutional"
    distribution: Shape = Shape.LOGNORMAL
    cv: float = Field(default=0.3, gt=0, le=10)
    spike_probability: float = Field(default=0.0, ge=0, le=1)
    spike_multiplier: float = Field(default=10.0, ge=1)
    min_us: float = Field(default=0.0, ge=0)
    max_us: float = Field(default=1_000_000.0, gt=0)
    hour_multipliers: tuple[float, ...] = (1.0,) * HOURS_PER_DAY
    volatility_sensitivity: float = Field(default=0.0, ge=0)

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, name: str) -> str:
        if name not in PROFILES_US:
            raise ValueError(f"!{name!r}; allowed: {', '.join(PROFILES_US)}")
        return name

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        try:
            self.model(seed=0)
        except InvalidInput as fault:
            raise ValueError(f"!{fault}") from fault
        return self

    def model(self, seed: int) -> LatencyModel:
        """Return the latency model of this section with its own seeded streams."""
        if not self.enabled:
            return LatencyModel.zero()
        conditions = Conditions(
            spike_probability=self.spike_probability,
            spike_multiplier=self.spike_multiplier,
            min_us=self.min_us,
            max_us=self.max_us,
            hour_multipliers=self.hour_multipliers,
            volatility_sensitivity=self.volatility_sensitivity,
        )
        return LatencyModel.profile(
            self.profile, seed, shape=self.distribution, cv=self.cv, conditions=conditions
        )


class NotYetConfig(_Section):
    """A model that this version does not have: it can only be off."""

    enabled: bool = False

    @field_validator("enabled")
    @classmethod
    def _off(cls, enabled: bool) -> bool:
        if enabled:
            raise ValueError("!True is not implemented in this version; allowed: false")
        return enabled


class FillProbabilityConfig(NotYetConfig):
    """The fill-probability models: not in this version."""


class QueueValueConfig(NotYetConfig):
    """The queue-value model: not in this version."""


class MarketImpactConfig(NotYetConfig):
    """The market-impact models: not in this version."""


class HiddenLiquidityConfig(NotYetConfig):
    """Hidden-liquidity detection: not in this version."""


class DarkPoolsConfig(NotYetConfig):
    """The dark-pool simulation: not in this version.

    `max_history_size` is a key of the deployment guide; it is checked, and nothing reads it while
    there are no dark pools.
    """

    max_history_size: int = Field(default=1_000, ge=1, le=10_000_000)


class QueueTrackingConfig(_Section):
    """How many of a client's live orders the engine follows at once; read by `engine`."""

    max_tracked_orders: int = Field(default=DEFAULT_MAX_TRACKED_ORDERS, ge=1, le=10_000_000)


class EventSchedulingConfig(_Section):
    """How many events may wait in the engine's queue; read by `engine`."""

    max_events: int = Field(default=DEFAULT_MAX_EVENTS, ge=2, le=100_000_000)


class L3ExecutionConfig(_Section):
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
            raise ConfigError(_one_line(error)) from error

    @classmethod
    def from_yaml(cls, path: str | Path) -> "L3ExecutionConfig":
        """Return the configuration in a YAML file; `ConfigError` names the file and the key."""
        try:
            document = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise ConfigError(f"{path}: {error}") from error
        if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
            raise ConfigError(f"{path}: {type(document).__name__}; allowed: a mapping of keys")
        try:
            return cls.from_mapping(document)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

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


_SECTION_NAMES: Final[dict[type, str]] = {
    field.annotation: name
    for name, field in L3ExecutionConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, _Section)
}

_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "equity": {"latency": {"profile": "institutional"}},
    "equity_hft": {"latency": {"profile": "colocated"}},
    "equity_retail": {"latency": {"profile": "retail"}},
    "crypto": {"latency": {"profile": "proximity", "distribution": "gamma", "cv": 0.5}},
    "minimal": {"latency": {"enabled": False}},
}


def create_l3_config(preset: str = "equity", **overrides: Any) -> L3ExecutionConfig:
    """Return a preset, with sections overridden key by key.

    Presets: equity, equity_hft, equity_retail, crypto, minimal (no latency). An override of a
    section is a mapping and changes only the keys it has.
    """
    if preset not in _PRESETS:
        raise ConfigError(f"preset: {preset!r}; allowed: {', '.join(_PRESETS)}")
    return L3ExecutionConfig.from_mapping(_merged(_PRESETS[preset], overrides))


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return result
