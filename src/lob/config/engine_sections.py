"""Sections of the engine: the background market, latency, and what bounds the work."""

from enum import StrEnum
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from lob.config.section import Section
from lob.engine import DEFAULT_MAX_EVENTS, DEFAULT_MAX_TRACKED_ORDERS
from lob.errors import InvalidInput
from lob.flow import FlowProfile
from lob.latency import HOURS_PER_DAY, PROFILES_US, Component, Conditions, LatencyModel, Shape
from lob.latency.distributions import matched
from lob.queue_estimators import DEFAULT, QueueTracker, queue_tracker


class LobDataConfig(Section):
    """How the background market behaves; read by `profile`, and by what executions assume of it.

    An execution takes volume and range from its bar, and from here how many cancels come to a
    trade. Where it has no bar, fill forecasts take the rates of trades and cancels from here.
    """

    path: ClassVar[str] = "lob_data"

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


class LatencyConfig(Section):
    """How long messages take, in microseconds; read by `model`.

    `enabled: false` means that nothing takes any time. A leg's own mean (`order_us`, ..) replaces
    the profile's. `normal_volatility` is the daily volatility at which `volatility_sensitivity`
    leaves a draw as it is.
    """

    path: ClassVar[str] = "latency"

    enabled: bool = True
    profile: str = "institutional"
    distribution: Shape = Shape.LOGNORMAL
    cv: float = Field(default=0.3, gt=0, le=10)
    feed_us: float | None = Field(default=None, ge=0)
    order_us: float | None = Field(default=None, ge=0)
    exchange_us: float | None = Field(default=None, ge=0)
    fill_us: float | None = Field(default=None, ge=0)
    spike_probability: float = Field(default=0.0, ge=0, le=1)
    spike_multiplier: float = Field(default=10.0, ge=1)
    min_us: float = Field(default=0.0, ge=0)
    max_us: float = Field(default=1_000_000.0, gt=0)
    hour_multipliers: tuple[float, ...] = (1.0,) * HOURS_PER_DAY
    volatility_sensitivity: float = Field(default=0.0, ge=0)
    normal_volatility: float = Field(default=0.02, gt=0)

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
        means_us = dict(PROFILES_US[self.profile])
        for leg in Component:
            own_mean_us = getattr(self, f"{leg.value}_us")
            if own_mean_us is not None:
                means_us[leg] = own_mean_us
        legs = {leg: matched(self.distribution, mean, self.cv) for leg, mean in means_us.items()}
        return LatencyModel(legs, seed, conditions)


class QueueEstimatorKind(StrEnum):
    """The estimators of a queue position; `lob.queue_estimators` has them and their sources."""

    INFERRED = "inferred"
    RISK_AVERSE = "risk-averse"
    OPTIMISTIC = "optimistic"
    LOG = "log"
    LOG2 = "log2"
    POWER_1 = "power n=1"
    POWER_2 = "power n=2"
    POWER_3 = "power n=3"
    POWER2_2 = "power2 n=2"
    POWER2_3 = "power2 n=3"
    POWER3_2 = "power3 n=2"
    POWER3_3 = "power3 n=3"


class QueueTrackingConfig(Section):
    """How many of a client's live orders are followed at once, and how where orders do not show.

    Where a book is built of orders (the engine's, an execution's) every queue position is exact.
    `tracker` is for market data of levels alone, from one depth to the next.
    """

    path: ClassVar[str] = "queue_tracking"

    max_tracked_orders: int = Field(default=DEFAULT_MAX_TRACKED_ORDERS, ge=1, le=10_000_000)
    estimator: QueueEstimatorKind = QueueEstimatorKind(DEFAULT)

    def tracker(self) -> QueueTracker:
        """Return what follows orders through level-only market data, by the estimator chosen."""
        return queue_tracker(self.estimator.value, max_tracked_orders=self.max_tracked_orders)


class EventSchedulingConfig(Section):
    """How many events may wait in the engine's queue; read by `engine`."""

    path: ClassVar[str] = "event_scheduling"

    max_events: int = Field(default=DEFAULT_MAX_EVENTS, ge=2, le=100_000_000)
